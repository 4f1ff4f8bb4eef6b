-- Every command that changed refs, HEAD, staging, evicted paths or files of the worktree. Cannot be rebuilt.
-- kind: 0 a command, 1 one that took back the command `reverts`, 2 one that did it again.
-- finished: 0 while its files may be half changed.
CREATE TABLE commands (
    id         INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    "offset"   INTEGER NOT NULL,
    command    TEXT    NOT NULL,
    kind       INTEGER NOT NULL,
    reverts    INTEGER,
    finished   INTEGER NOT NULL
) STRICT;
CREATE INDEX commands_unfinished ON commands (id) WHERE finished = 0;

-- What a command changed, before and after it. Goes when the command is too old to be undone.
-- what: 0 staging, 1 a file of the worktree, 2 an evicted path, 3 a ref, 4 HEAD.
-- kinds: 0 nothing, 1 a file, 2 an executable file, 3 a staged removal, 4 a commit, 5 HEAD's text, 6 evicted,
-- 7 something that was not kept.
CREATE TABLE effects (
    command     INTEGER NOT NULL,
    what        INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    before_kind INTEGER NOT NULL,
    before      BLOB,
    before_size INTEGER NOT NULL,
    after_kind  INTEGER NOT NULL,
    after       BLOB,
    after_size  INTEGER NOT NULL,
    PRIMARY KEY (command, what, name)
) STRICT, WITHOUT ROWID;

-- What HEAD said before and after a move of HEAD itself, and a way to the moves of one ref.
ALTER TABLE operations ADD COLUMN head_before TEXT;
ALTER TABLE operations ADD COLUMN head_after TEXT;
CREATE INDEX operations_by_ref ON operations (ref_name, id);

-- What was said of a tag when it was made. It holds as long as the tag stands on that commit.
CREATE TABLE tag_messages (
    name       TEXT    NOT NULL,
    target     BLOB    NOT NULL,
    message    TEXT    NOT NULL,
    author     TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    time       INTEGER NOT NULL,
    "offset"   INTEGER NOT NULL,
    PRIMARY KEY (name, target)
) STRICT, WITHOUT ROWID;

-- Which branch of which remembered peer a branch follows.
CREATE TABLE upstreams (
    branch     TEXT    PRIMARY KEY,
    remote     TEXT    NOT NULL,
    theirs     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
