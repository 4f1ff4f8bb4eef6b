//! The way in: one pass over files that hashes, deduplicates, encodes, packs and syncs on all cores.
//!
//! ```text
//! feeder (caller's thread)   reads chunks in order, hashes the whole content
//!    | slots: raw bytes, numbered
//! workers (one a core)       hash the chunk, ask whether it is known, encode it
//!    | slots: payloads, in any order
//! collector                  restores the order, appends to packs, builds manifests
//!    | written packs
//! sealer                     syncs, renames, reports the pack for indexing
//! ```
//!
//! Memory is bounded by the number of slots: a slot returns to the feeder only when the collector is done with it.

mod collector;
mod feeder;
mod sealer;
mod worker;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Sender, bounded};

pub use feeder::Feeder;

use super::error::StorageError;
use super::received::Received;
use super::writer::{SealedPack, WrittenPack};
use crate::chunking::Bytes;
use crate::codec::Codec;
use crate::object::{ContentHash, FileId, Hash, Kind};
use crate::tensor::Element;

/// Callback that says whether a record is already stored.
pub type Known<'a> = &'a (dyn Fn(&Hash) -> bool + Sync);

/// Callback that reads a chunk which a delta may stand on, and says which one it read: another one where the chain of
/// the first would become too long. `None` when there is none.
pub type BaseReader<'a> = &'a (dyn Fn(&Hash, &mut Vec<u8>) -> Option<Hash> + Sync);

/// A chunk that another one probably resembles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseHint {
    /// Its id.
    pub chunk: Hash,
    /// What its bytes are.
    pub element: Element,
    /// The element of it that stands where the other chunk's first one does.
    pub first: u32,
}

/// Callback that knows a base for the chunk at an offset, of a length, with an element.
pub type Hints<'a> = &'a mut dyn FnMut(u64, usize, Element) -> Option<BaseHint>;

/// Callback that indexes a pack that is now durable.
pub type Sealed<'a> = &'a (dyn Fn(&SealedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Sync);

/// Where and how to ingest.
pub struct Ingest<'a> {
    /// Folder of finished packs.
    pub folder: &'a Path,
    /// Folder of packs being written, on the same file system.
    pub incoming: &'a Path,
    /// Encoding threads, at least 1.
    pub threads: usize,
    /// Whether a record is already stored and indexed. Called from all workers.
    pub known: Known<'a>,
    /// Reads bases. Called from all workers.
    pub base: BaseReader<'a>,
    /// Indexes a sealed pack. Called from the sealer's thread, in order.
    pub sealed: Sealed<'a>,
    /// Told the length of every chunk that was read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// A file that was ingested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSummary {
    /// Its id.
    pub file: FileId,
    /// Its content hash.
    pub content: ContentHash,
    /// Its size in bytes.
    pub size: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// Chunks that were not stored before.
    pub new_chunks: u64,
    /// Bytes that its new chunks take in packs, headers included.
    pub stored_bytes: u64,
}

/// Why ingesting ended early.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Reading the source failed.
    #[error("reading failed")]
    Source(#[source] std::io::Error),
    /// Storing failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Indexing a sealed pack failed.
    #[error("the index could not be updated")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another thread failed first; `ingest` returns that thread's error instead.
    #[error("storing was stopped by an earlier error")]
    Stopped,
}

/// Memory for one chunk on its way through.
#[derive(Default)]
struct Slot {
    raw: Bytes,
    payload: Vec<u8>,
}

/// A chunk for the workers.
struct Job {
    sequence: u64,
    element: Element,
    base: Option<BaseHint>,
    slot: Slot,
}

/// How a chunk was encoded, and against which one.
#[derive(Clone, Copy)]
struct Encoding {
    codec: Codec,
    base: Option<Hash>,
}

/// A step for the collector, carried out in the order of the sequence numbers.
struct Step {
    sequence: u64,
    action: Action,
}

/// What the sealer is handed.
enum Sealing {
    /// A pack to make durable.
    Pack(WrittenPack),
    /// Everything handed over before is durable: the answer that somebody waits for.
    Done(Sender<Vec<FileId>>, Vec<FileId>),
}

enum Action {
    /// A chunk; `encoding` is `None` when it is stored already.
    Chunk {
        hash: Hash,
        encoding: Option<Encoding>,
        slot: Slot,
    },
    /// A chunk that came before, so many times again.
    Again { hash: Hash, len: usize, count: u64 },
    /// All chunks of a file have come.
    EndFile(ContentHash),
    /// Forget the chunks since the last file's end.
    Abandon,
    /// A record from elsewhere.
    Received(Received),
    /// An object to store beside the files.
    Object(Kind, Vec<u8>),
    /// A slot that the feeder did not need.
    Unused(Slot),
    /// Seal what there is, and say which files were ended.
    Flush(Sender<Vec<FileId>>),
}

/// Records that this process writes but has not indexed yet: bounded by the packs in flight.
#[derive(Default)]
struct Claims(Mutex<HashSet<Hash>>);

impl Claims {
    /// True when the caller is the first to want to store this record.
    fn claim(&self, hash: &Hash, known: Known<'_>) -> bool {
        !known(hash) && self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*hash)
    }

    fn release(&self, pack: &SealedPack) {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &pack.entries {
            claims.remove(&entry.header.hash);
        }
    }
}

/// Runs `feed` and stores what it hands over. Returns its result and a summary of every file, in the order of
/// their ends. Everything is durable and indexed when this returns.
///
/// # Errors
/// The first error of any stage. Packs that were sealed before it stay, and save work when the caller tries again.
pub fn ingest<T, E: From<IngestError>>(
    settings: &Ingest<'_>,
    feed: impl FnOnce(&mut Feeder<'_>) -> Result<T, E>,
) -> Result<(T, Vec<FileSummary>), E> {
    let threads = settings.threads.max(1);
    let slot_count = (2 * threads + 4).min(48);
    let (to_workers, jobs) = bounded::<Job>(slot_count);
    let (to_collector, steps) = bounded::<Step>(slot_count);
    let (to_feeder, slots) = bounded::<Slot>(slot_count);
    // One pack waits while one is being synced: a slow disk holds the writer back instead of filling memory.
    let (to_sealer, written) = bounded::<Sealing>(1);
    for _ in 0..slot_count {
        let _ = to_feeder.send(Slot::default());
    }
    let claims = Claims::default();

    std::thread::scope(|scope| {
        let sealer = scope.spawn(|| sealer::run(settings, &claims, written));
        let collector = scope.spawn(|| collector::run(settings, &claims, steps, to_feeder, to_sealer));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (jobs, to_collector) = (jobs.clone(), to_collector.clone());
                let claims = &claims;
                scope.spawn(move || worker::run(settings, claims, &jobs, &to_collector))
            })
            .collect();
        drop(jobs);
        let mut feeder = Feeder::new(settings.progress, to_workers, to_collector, slots);
        let fed = feed(&mut feeder);
        drop(feeder);

        let mut first_error = None;
        for worker in workers {
            first_error = first_error.or(joined(worker.join()).err());
        }
        let files = joined(collector.join());
        // The sealer's error stops the collector, and the collector's stops the workers: report the cause.
        let sealed = joined(sealer.join());
        let error = [
            sealed.err(),
            files.as_ref().err().map(|_| IngestError::Stopped),
            first_error,
        ];
        match (fed, files) {
            (Ok(value), Ok(files)) if error.iter().all(Option::is_none) => Ok((value, files)),
            (fed, files) => Err(root_cause(fed.err(), files.err(), error)),
        }
    })
}

/// The error that caused the others: one that is not `Stopped`, and the feeder's own before all.
fn root_cause<E: From<IngestError>>(
    fed: Option<E>,
    collected: Option<IngestError>,
    others: [Option<IngestError>; 3],
) -> E {
    let real = |error: &IngestError| !matches!(error, IngestError::Stopped);
    let staged = others.into_iter().flatten().chain(collected).find(real);
    match (staged, fed) {
        (Some(error), _) => error.into(),
        (None, Some(error)) => error,
        (None, None) => IngestError::Stopped.into(),
    }
}

fn joined<T>(result: std::thread::Result<Result<T, IngestError>>) -> Result<T, IngestError> {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
