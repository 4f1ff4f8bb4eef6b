-- Packs and what lies in them. Can be rebuilt from the packs.
CREATE TABLE packs (
    id      INTEGER PRIMARY KEY,
    name    BLOB    NOT NULL UNIQUE,
    bytes   INTEGER NOT NULL
) STRICT;

CREATE TABLE records (
    hash        BLOB    PRIMARY KEY,
    kind        INTEGER NOT NULL,
    codec       INTEGER NOT NULL,
    raw_len     INTEGER NOT NULL,
    encoded_len INTEGER NOT NULL,
    base        BLOB,
    pack        INTEGER NOT NULL REFERENCES packs (id),
    offset      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is known about files. Can be rebuilt from the packs.
CREATE TABLE files (
    file       BLOB    PRIMARY KEY,
    content    BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    format     TEXT,
    parameters INTEGER,
    tensors    INTEGER NOT NULL,
    metadata   TEXT    NOT NULL,
    refusal    TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_content ON files (content);

CREATE TABLE tensors (
    file       BLOB    NOT NULL REFERENCES files (file),
    position   INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    dtype      TEXT    NOT NULL,
    shape      TEXT    NOT NULL,
    start      INTEGER NOT NULL,
    end        INTEGER NOT NULL,
    PRIMARY KEY (file, position)
) STRICT, WITHOUT ROWID;

-- Branches and tags. Cannot be rebuilt.
CREATE TABLE refs (
    name   TEXT PRIMARY KEY,
    target BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What the next commit changes against HEAD; a path without a file is removed. Cannot be rebuilt.
CREATE TABLE staging (
    path       TEXT PRIMARY KEY,
    file       BLOB,
    size       INTEGER NOT NULL,
    executable INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Files whose content is known as long as the operating system says that they did not change.
CREATE TABLE stat_cache (
    path       TEXT PRIMARY KEY,
    file       BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    mtime      INTEGER NOT NULL,
    ctime      INTEGER NOT NULL,
    inode      INTEGER NOT NULL,
    recorded   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every command that moved a ref or HEAD. Cannot be rebuilt.
CREATE TABLE operations (
    id          INTEGER PRIMARY KEY,
    time        INTEGER NOT NULL,
    offset      INTEGER NOT NULL,
    command     TEXT    NOT NULL,
    ref_name    TEXT    NOT NULL,
    before      BLOB,
    after       BLOB
) STRICT;
