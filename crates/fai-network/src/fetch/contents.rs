//! What happens to the raw bytes that come: a thread hashes whole files, and files of the worktree are written.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use fai_core::object::{CommitId, FileId, Hash, Id, Kind, Manifest, Object, TreeId};
use fai_core::repo::{Arriving, Prefixes};
use fai_core::storage::Checker;

use super::early::Early;

/// Chunks that wait to be hashed.
const QUEUE: usize = 8;

/// What is told.
enum Told {
    File(FileId, Manifest),
    Chunk(Hash, Vec<u8>),
}

/// The way there, and memory that comes back.
#[derive(Clone)]
pub(super) struct Contents<'a> {
    told: Sender<Told>,
    free: Receiver<Vec<u8>>,
    early: &'a Early<'a>,
}

/// The thread's end.
pub(super) struct Listener {
    told: Receiver<Told>,
    free: Sender<Vec<u8>>,
}

impl<'a> Contents<'a> {
    /// Both ends.
    pub fn new(early: &'a Early<'a>) -> (Self, Listener) {
        let (told, listened) = bounded(QUEUE);
        let (give, free) = unbounded();
        let contents = Self { told, free, early };
        let listener = Listener {
            told: listened,
            free: give,
        };
        (contents, listener)
    }

    /// A commit that is new here has this tree.
    pub fn root(&self, commit: CommitId, tree: TreeId) {
        self.early.root(commit, tree);
    }

    /// An object came, or was here. If it is a file, its chunks will come: to be said before they are asked for.
    pub fn object(&self, kind: Kind, hash: Hash, raw: &[u8]) {
        match kind {
            Kind::Tree => self.early.tree(hash, raw),
            Kind::Manifest => {
                if let Ok(manifest) = Manifest::decode(raw) {
                    let file = FileId::from_hash(hash);
                    self.early.file(file, &manifest);
                    let _ = self.told.send(Told::File(file, manifest));
                }
            }
            _ => {}
        }
    }

    /// A record came: its bytes are those that `checker` has just checked. A chunk's are hashed; of an object's, which lead
    /// on, a copy is given back: they are short, and the memory is a chunk's.
    pub fn take(&self, kind: Kind, hash: Hash, checker: &mut Checker) -> Vec<u8> {
        if kind != Kind::Chunk {
            return checker.raw().to_vec();
        }
        self.early.chunk(&hash, checker.raw());
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
