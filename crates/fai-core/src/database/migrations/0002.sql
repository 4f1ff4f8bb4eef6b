-- The stat cache by folder: `status` goes folder by folder. What was remembered is learnt again.
DROP TABLE stat_cache;
CREATE TABLE stat_cache (
    folder     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    file       BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    mtime      INTEGER NOT NULL,
    ctime      INTEGER NOT NULL,
    inode      INTEGER NOT NULL,
    recorded   INTEGER NOT NULL,
    PRIMARY KEY (folder, name)
) STRICT, WITHOUT ROWID;
