-- Generation numbers of commits, one more than the highest of the parents that are here, and those parents, 32 bytes each. Can
-- be rebuilt from the packs.
CREATE TABLE commit_graph (
    "commit"   BLOB    PRIMARY KEY,
    generation INTEGER NOT NULL,
    parents    BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
