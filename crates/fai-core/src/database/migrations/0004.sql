-- Records that nothing led to when a collection looked, and since when. Can be lost: they wait anew.
CREATE TABLE condemned (
    hash  BLOB    PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many records a pack holds that a collection took out of the index.
ALTER TABLE packs ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
