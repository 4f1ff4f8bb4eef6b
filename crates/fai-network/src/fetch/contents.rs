//! The thread that hashes whole files while their chunks come in, and how others reach it.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use fai_core::object::{FileId, Hash, Id, Kind, Manifest, Object};
use fai_core::repo::{Arriving, Prefixes};
use fai_core::storage::Checker;

use crate::session::plan::Want;

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

    /// An object came. If it is a file, its chunks will come: to be said before they are asked for.
    pub fn object(&self, want: &Want, raw: &[u8]) {
        if want.promise.kind() == Kind::Manifest
            && let Ok(manifest) = Manifest::decode(raw)
        {
            let _ = self.told.send(Told::File(FileId::from_hash(want.hash), manifest));
        }
    }

    /// A record came: its bytes are those that `checker` has just checked. A chunk's are hashed; of an object's, which lead
    /// on, a copy is given back: they are short, and the memory is a chunk's.
    pub fn take(&self, kind: Kind, hash: Hash, checker: &mut Checker) -> Vec<u8> {
        if kind != Kind::Chunk {
            return checker.raw().to_vec();
        }
        let bytes = checker.take_raw(self.free.try_recv().unwrap_or_default());
        let _ = self.told.send(Told::Chunk(hash, bytes));
        Vec::new()
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
