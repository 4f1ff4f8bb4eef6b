//! Packs: files of self-describing records, append-only while they are written and immutable after.
//!
//! This floor writes packs, reads records back verified, and saves what a killed writer left. It knows no
//! database: where a record lies is told to it, and what it wrote is told back.
//! The bytes are specified in `docs/format.md`, "Packs".

mod chain;
mod error;
mod ingest;
mod pack;
mod reader;
mod received;
mod recent;
mod record;
mod repair;
mod rewrite;
mod salvage;
mod writer;

pub use chain::{LONGEST_CHAIN, MAX_CHAIN, Reading};
pub use error::StorageError;
pub use ingest::{BaseHint, Feeder, FileSummary, Hints, Ingest, IngestError, ingest};
pub use pack::{IndexEntry, MAX_RECORDS, PACK_SUFFIX, PACK_TARGET, PackIndex, list_packs, pack_path};
pub use reader::{Location, PackSet};
pub use received::{Checker, Received, Refusal};
pub use recent::Recent;
pub use record::{HeaderError, RecordHeader, max_raw_len};
pub use repair::copy_good_records;
pub use rewrite::{Copied, Rewrite, Verdict, pack_len, rewrite};
pub use salvage::{BaseOf, Salvaged, salvage};
pub use writer::{PackWriter, SealedPack, WrittenPack, free_space, sync_folder};
