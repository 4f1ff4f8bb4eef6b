-- The newest tensor of every name, dtype and shape of a row: what the next one like it is probably close to. Can be
-- rebuilt from the packs.
CREATE TABLE newest_tensors (
    name       TEXT    NOT NULL,
    row        TEXT    NOT NULL,
    dtype      TEXT    NOT NULL,
    file       BLOB    NOT NULL,
    PRIMARY KEY (name, row, dtype)
) STRICT, WITHOUT ROWID;
