//! The reading end: the caller's thread.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Action, Hints, IngestError, Job, Slot, Step};
use crate::chunking::{Bytes, Chunker, Span};
use crate::object::{ContentHash, FileId, Hash, Kind};
use crate::storage::Received;
use crate::tensor::ReadAt;

/// Hands files and objects to the stages behind it.
pub struct Feeder<'a> {
    progress: &'a (dyn Fn(u64) + Sync),
    workers: Sender<Job>,
    collector: Sender<Step>,
    slots: Receiver<Slot>,
    sequence: u64,
    zeros: Option<Zeros>,
}

/// The chunk of zeros that was read last, and how often it came again since the collector was told.
struct Zeros {
    hash: Hash,
    len: usize,
    again: u64,
}

/// The collector is told of so many chunks of zeros at once: manifests grow with them while they are read.
const MOST_AGAIN: u64 = 4096;

impl<'a> Feeder<'a> {
    pub(super) fn new(
        progress: &'a (dyn Fn(u64) + Sync),
        workers: Sender<Job>,
        collector: Sender<Step>,
        slots: Receiver<Slot>,
    ) -> Self {
        Self {
            progress,
            workers,
            collector,
            slots,
            sequence: 0,
            zeros: None,
        }
    }

    /// Reads `source`, cut as `spans` say, and returns the hash of its content. The caller then decides, by
    /// [`Feeder::end_file`] or [`Feeder::abandon`], whether what was read is a file. `hints` knows what its chunks may resemble.
    ///
    /// # Errors
    /// When reading fails (the caller must then abandon the file), or another stage has failed.
    pub fn chunks(
        &mut self,
        source: &dyn ReadAt,
        spans: Vec<Span>,
        hints: Hints<'_>,
    ) -> Result<ContentHash, IngestError> {
        let mut hasher = blake3::Hasher::new();
        let mut chunker = Chunker::new(source, spans);
        let mut unused = None;
        loop {
            let mut slot = match unused.take() {
                Some(slot) => slot,
                None => self.slots.recv().map_err(|_| IngestError::Stopped)?,
            };
            let buffer = std::mem::take(&mut slot.raw).into_memory();
            let chunk = match chunker.next(buffer) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    self.give_back(slot)?;
                    break;
                }
                Err(error) => {
                    self.give_back(slot)?;
                    return Err(IngestError::Source(error));
                }
            };
            hasher.update(&chunk.bytes);
            (self.progress)(chunk.bytes.len() as u64);
            slot.raw = chunk.bytes;
            if self.come_again(&slot.raw)? {
                unused = Some(slot);
                continue;
            }
            let job = Job {
                sequence: self.next(),
                element: chunk.element,
                base: hints(chunk.offset, slot.raw.len(), chunk.element),
                slot,
            };
            self.workers.send(job).map_err(|_| IngestError::Stopped)?;
        }
        Ok(ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes())))
    }

    /// Makes a file of the chunks since the last file's end.
    ///
    /// # Errors
    /// When another stage has failed.
    pub fn end_file(&mut self, content: ContentHash) -> Result<(), IngestError> {
        self.step(Action::EndFile(content))
    }

    /// Forgets the chunks since the last file's end: they stay stored, but make no file.
    ///
    /// # Errors
    /// When another stage has failed.
    pub fn abandon(&mut self) -> Result<(), IngestError> {
        self.step(Action::Abandon)
    }

    /// Waits until everything handed over so far is durable and indexed, and returns the files that were ended: what
    /// comes next may stand on them.
    ///
    /// # Errors
    /// When another stage has failed.
    pub fn flush(&mut self) -> Result<Vec<FileId>, IngestError> {
        let (send, done) = bounded(1);
        self.step(Action::Flush(send))?;
        done.recv().map_err(|_| IngestError::Stopped)
    }

    /// Stores an encoded object and returns its hash.
    ///
    /// # Errors
    /// When another stage has failed.
    pub fn object(&mut self, kind: Kind, bytes: Vec<u8>) -> Result<Hash, IngestError> {
        let hash = kind.hash(&bytes);
        self.step(Action::Object(kind, bytes))?;
        Ok(hash)
    }

    /// Stores a record that came from elsewhere, as it came, unless it is stored already.
    ///
    /// # Errors
    /// When another stage has failed.
    pub fn received(&mut self, record: Received) -> Result<(), IngestError> {
        self.step(Action::Received(record))
    }

    /// True for the same zeros as last time, which then need no worker: in holes these are nearly all chunks. They are
    /// stored or will be, and when that fails so does everything.
    fn come_again(&mut self, bytes: &Bytes) -> Result<bool, IngestError> {
        if let Some(zeros) = &mut self.zeros
            && bytes.are_zeros()
            && bytes.len() == zeros.len
        {
            zeros.again += 1;
            if zeros.again >= MOST_AGAIN {
                self.tell_zeros()?;
            }
            return Ok(true);
        }
        self.tell_zeros()?;
        if bytes.are_zeros() {
            let (hash, len) = (Kind::Chunk.hash(bytes), bytes.len());
            self.zeros = Some(Zeros { hash, len, again: 0 });
        }
        Ok(false)
    }

    fn tell_zeros(&mut self) -> Result<(), IngestError> {
        match &mut self.zeros {
            Some(Zeros { hash, len, again }) if *again > 0 => {
                let action = Action::Again {
                    hash: *hash,
                    len: *len,
                    count: std::mem::take(again),
                };
                self.send(action)
            }
            _ => Ok(()),
        }
    }

    /// Has the collector carry out `action` after everything before.
    fn step(&mut self, action: Action) -> Result<(), IngestError> {
        self.tell_zeros()?;
        self.send(action)
    }

    fn send(&mut self, action: Action) -> Result<(), IngestError> {
        let sequence = self.next();
        self.collector
            .send(Step { sequence, action })
            .map_err(|_| IngestError::Stopped)
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    /// Returns a slot that turned out not to be needed. Only the collector holds the pool's sending end, so that the
    /// pool closes when the collector fails.
    fn give_back(&mut self, slot: Slot) -> Result<(), IngestError> {
        self.step(Action::Unused(slot))
    }
}
