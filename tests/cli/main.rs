//! What the program does for the person in front of it: one file a command, and files for what crosses commands.
//! Everything goes through the binary; how it does its work is tested in the crates.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod add;
mod bases;
mod branch;
mod care;
mod cat;
mod checkout;
mod chunks;
mod collecting;
mod commit;
mod completions;
mod config;
mod deltas;
mod diff;
mod diff_models;
mod disturbances;
mod evict;
mod experiments;
mod fetch;
mod folders;
mod full_disk;
mod gc;
mod global;
mod ignore_rules;
mod info;
mod init;
mod known_peers;
mod large_files;
mod lineage;
mod log;
mod ls;
mod merge;
mod mv;
mod namespaces;
mod partial;
mod paths;
mod peers;
mod racing;
mod relay;
mod repack;
mod restore;
mod returning;
mod revisions;
mod rm;
mod search;
mod series;
mod shallow;
mod sparse;
mod stash;
mod stat_cache;
mod stats;
mod status;
mod told;
mod undo;
mod upstream;
mod version;
