-- A merge, cherry-pick or revert that is under way. Cannot be rebuilt.
CREATE TABLE pending (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    kind       TEXT    NOT NULL,
    draft      BLOB    NOT NULL,
    head       BLOB    NOT NULL,
    other      BLOB    NOT NULL,
    message    TEXT    NOT NULL,
    placed     INTEGER NOT NULL
) STRICT;

-- Paths that wait for a decision, and what they are before (0), here (1) and there (2).
CREATE TABLE conflicts (
    path       TEXT    PRIMARY KEY,
    kind       TEXT    NOT NULL,
    detail     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE conflict_sides (
    path       TEXT    NOT NULL,
    side       INTEGER NOT NULL,
    file       BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    PRIMARY KEY (path, side)
) STRICT, WITHOUT ROWID;
