-- Paths whose files were taken out of the worktree on purpose, because what is stored of them is enough. Cannot be rebuilt.
CREATE TABLE evicted (
    path       TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
