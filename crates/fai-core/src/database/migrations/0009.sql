-- Commits as experiments, parents before children, and what they say of their runs. Can be rebuilt from the packs; filled
-- when somebody asks.
CREATE TABLE experiments (
    id         INTEGER PRIMARY KEY,
    "commit"   BLOB    NOT NULL UNIQUE,
    time       INTEGER NOT NULL,
    offset     INTEGER NOT NULL,
    author     TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    labels     TEXT    NOT NULL,
    parents    BLOB    NOT NULL,
    cut        INTEGER NOT NULL,
    entries    INTEGER NOT NULL
) STRICT;
CREATE INDEX experiments_cut ON experiments (id) WHERE cut = 1;

CREATE TABLE experiment_keys (
    id         INTEGER PRIMARY KEY,
    kind       INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    UNIQUE (kind, name)
) STRICT;

CREATE TABLE experiment_values (
    key        INTEGER NOT NULL,
    experiment INTEGER NOT NULL,
    value      ANY,
    PRIMARY KEY (key, experiment)
) STRICT, WITHOUT ROWID;
CREATE INDEX experiment_values_by_experiment ON experiment_values (experiment);

-- What the search finds, each once, with the newest commit that brought it or that it was last seen in. Can be rebuilt from
-- the packs.
CREATE TABLE search_paths (
    id         INTEGER PRIMARY KEY,
    path       TEXT    NOT NULL UNIQUE,
    experiment INTEGER NOT NULL
) STRICT;

CREATE TABLE search_models (
    id           INTEGER PRIMARY KEY,
    path         TEXT    NOT NULL,
    format       TEXT    NOT NULL,
    architecture TEXT    NOT NULL,
    parameters   INTEGER NOT NULL,
    names        BLOB    NOT NULL,
    experiment   INTEGER NOT NULL,
    UNIQUE (path, format, architecture, parameters, names)
) STRICT;
CREATE INDEX search_models_by_names ON search_models (names);

CREATE TABLE search_tensors (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE
) STRICT;

-- Which sets of tensor names a name is in; a set is known by a hash of its names.
CREATE TABLE search_tensor_sets (
    tensor     INTEGER NOT NULL,
    names      BLOB    NOT NULL,
    PRIMARY KEY (tensor, names)
) STRICT, WITHOUT ROWID;

-- The words. A row's number is eight times the number of what it describes, and its kind.
CREATE VIRTUAL TABLE search_words USING fts5 (
    body, content = '', columnsize = 1, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3 4'
);
