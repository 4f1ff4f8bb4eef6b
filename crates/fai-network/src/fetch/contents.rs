//! The thread that hashes whole files while their chunks come in, and how others reach it.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use fai_core::object::{FileId, Hash, Manifest};
use fai_core::repo::{Arriving, Prefixes};
use fai_core::storage::Checker;

/// Chunks that wait to be hashed.
const QUEUE: usize = 8;

/// What is told.
enum Told {
    File(FileId, Manifest),
    Chunk(Hash, Vec<u8>),
}

/// The way there, and memory that comes back.
#[derive(Clone)]
pub(super) struct Contents {
    told: Sender<Told>,
    free: Receiver<Vec<u8>>,
}

/// The thread's end.
pub(super) struct Listener {
    told: Receiver<Told>,
    free: Sender<Vec<u8>>,
}

impl Contents {
    /// Both ends.
    pub fn new() -> (Self, Listener) {
        let (tell, told) = bounded(QUEUE);
        let (give, free) = unbounded();
        (Self { told: tell, free }, Listener { told, free: give })
    }

    /// The chunks of a file will come. To be said before they are asked for.
    pub fn file(&self, id: FileId, manifest: Manifest) {
        let _ = self.told.send(Told::File(id, manifest));
    }

    /// A chunk came: its bytes are those that `checker` has just checked.
    pub fn chunk(&self, hash: Hash, checker: &mut Checker) {
        let bytes = checker.take_raw(self.free.try_recv().unwrap_or_default());
        let _ = self.told.send(Told::Chunk(hash, bytes));
    }
}

impl Listener {
    /// Hashes until everybody who could tell something is gone.
    pub fn run(self) -> Prefixes {
        let mut arriving = Arriving::default();
        for told in self.told {
            match told {
                Told::File(id, manifest) => arriving.expect(id, manifest),
                Told::Chunk(hash, bytes) => {
                    if let Some(bytes) = arriving.came(hash, bytes) {
                        let _ = self.free.send(bytes);
                    }
                }
            }
        }
        arriving.finish()
    }
}
