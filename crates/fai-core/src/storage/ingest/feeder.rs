//! The reading end: the caller's thread.

use crossbeam_channel::{Receiver, Sender};

use super::{Action, IngestError, Job, Slot, Step};
use crate::chunking::{Chunker, Span};
use crate::object::{ContentHash, Hash, Kind};
use crate::storage::Received;
use crate::tensor::ReadAt;

/// Hands files and objects to the stages behind it.
pub struct Feeder<'a> {
    progress: &'a (dyn Fn(u64) + Sync),
    workers: Sender<Job>,
    collector: Sender<Step>,
    slots: Receiver<Slot>,
    sequence: u64,
}

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
        }
    }

    /// Reads `source`, cut as `spans` say, and returns the hash of its content. The caller then decides, by
    /// [`Feeder::end_file`] or [`Feeder::abandon`], whether what was read is a file.
    ///
    /// # Errors
    /// When reading fails (the caller must then abandon the file), or another stage has failed.
    pub fn chunks(&mut self, source: &dyn ReadAt, spans: Vec<Span>) -> Result<ContentHash, IngestError> {
        let mut hasher = blake3::Hasher::new();
        let mut chunker = Chunker::new(source, spans);
        loop {
            let mut slot = self.slots.recv().map_err(|_| IngestError::Stopped)?;
            let buffer = std::mem::take(&mut slot.raw);
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
            let job = Job {
                sequence: self.next(),
                element: chunk.element,
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

    fn step(&mut self, action: Action) -> Result<(), IngestError> {
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
