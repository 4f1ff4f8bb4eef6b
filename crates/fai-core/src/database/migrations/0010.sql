-- The graph by generation, so that a walk reads what comes next at once. It is learnt again when it is needed.
DROP TABLE commit_graph;
CREATE TABLE commit_graph (
    generation INTEGER NOT NULL,
    "commit"   BLOB    NOT NULL,
    parents    BLOB    NOT NULL,
    PRIMARY KEY (generation, "commit")
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX commit_graph_commits ON commit_graph ("commit");

-- The draft says it.
ALTER TABLE pending DROP COLUMN message;
