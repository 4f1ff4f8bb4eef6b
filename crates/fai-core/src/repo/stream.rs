//! Reading a stored file once, from its beginning to its end: chunks are read, decoded and verified ahead, on several
//! threads, and handed out in their order. Reading at any offset is in `content`, writing whole worktrees in `materialize`.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::content::FileReader;
use super::{Error, Repository, Store};
use crate::object::{ContentHash, Extent, FileId, Hash, Kind};

/// More threads than this would only wait for whoever takes the bytes.
const MOST_THREADS: usize = 8;

/// A chunk to read, and who waits for it.
struct Job {
    extent: Extent,
    reply: Sender<Result<Vec<u8>, Error>>,
}

impl Store {
    /// Hands the bytes of a file to `visit`, chunk by chunk and in order, each verified before. Up to `threads` threads
    /// read ahead; memory is bounded by their number, whatever the file's size. An error of `visit` ends the reading.
    ///
    /// # Errors
    /// When the manifest, a page or a chunk is missing or damaged, or the error of `visit`. What was handed out before
    /// is right all the same.
    pub fn stream<E: From<Error>>(
        &self,
        file: FileId,
        threads: usize,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = FileReader::open(self, file)?;
        let manifest = reader.manifest();
        if manifest.level == 0 && manifest.entries.len() <= 1 {
            return manifest.entries.iter().try_for_each(|extent| {
                let bytes = self.chunk_of(file, extent, Vec::new())?;
                visit(&bytes)
            });
        }
        let threads = threads.clamp(1, MOST_THREADS);
        let ahead = 2 * threads + 2;
        let (to_workers, jobs) = bounded::<Job>(ahead);
        let (to_caller, pieces) = bounded::<Receiver<Result<Vec<u8>, Error>>>(ahead);
        let (used, spare) = bounded::<Vec<u8>>(ahead);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (jobs, spare) = (jobs.clone(), spare.clone());
                scope.spawn(move || {
                    for Job { extent, reply } in jobs {
                        // Nobody listens any more when `visit` failed.
                        let _ = reply.send(self.chunk_of(file, &extent, spare.try_recv().unwrap_or_default()));
                    }
                });
            }
            let reader = &reader;
            let walker = scope.spawn(move || {
                let stopped = || Error::Usage("reading was stopped by an earlier error".into());
                reader.for_each_chunk(&mut |_, extent| {
                    let (reply, piece) = bounded(1);
                    to_caller.send(piece).map_err(|_| stopped())?;
                    let job = Job { extent: *extent, reply };
                    to_workers.send(job).map_err(|_| stopped())
                })
            });
            // Takes `pieces` along, so that the walker ends when this does.
            let taken = take(pieces, &used, &mut visit);
            let walked = walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            taken?;
            Ok(walked?)
        })
    }

    /// The bytes of a chunk of `file`, in `buffer`.
    fn chunk_of(&self, file: FileId, extent: &Extent, mut buffer: Vec<u8>) -> Result<Vec<u8>, Error> {
        buffer.clear();
        self.with(Kind::Chunk, &extent.hash, |bytes, _| buffer.extend_from_slice(bytes))?;
        if buffer.len() as u64 == extent.len {
            Ok(buffer)
        } else {
            Err(Error::FalseFile(file))
        }
    }

    /// Reads a whole file back and holds it against its content hash. `progress` is told the length of every chunk.
    ///
    /// # Errors
    /// [`Error::FalseFile`] when its chunks are not its content; when one is missing or damaged.
    pub fn verify(&self, file: FileId, threads: usize, progress: &dyn Fn(u64)) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        self.stream(file, threads, |bytes| {
            hasher.update(bytes);
            progress(bytes.len() as u64);
            Ok::<(), Error>(())
        })?;
        let found = ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes()));
        if found == self.get::<crate::object::Manifest>(file)?.content {
            Ok(())
        } else {
            Err(Error::FalseFile(file))
        }
    }
}

impl Repository {
    /// Hands the bytes of a file to `visit`: see [`Store::stream`].
    ///
    /// # Errors
    /// As [`Store::stream`].
    pub fn stream<E: From<Error>>(&self, file: FileId, visit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.store.stream(file, self.threads, visit)
    }
}

/// Hands out the pieces in their order.
fn take<E: From<Error>>(
    pieces: Receiver<Receiver<Result<Vec<u8>, Error>>>,
    used: &Sender<Vec<u8>>,
    visit: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for piece in pieces {
        // A worker always answers; a chunk without an answer has none any more because its worker panicked.
        let Ok(bytes) = piece.recv() else { break };
        let bytes = bytes?;
        visit(&bytes)?;
        let _ = used.try_send(bytes);
    }
    Ok(())
}
