//! One stored file, written wherever somebody wants it: aside, held against its content hash, synced, renamed.
//! The files of a worktree are written in `materialize`.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crossbeam_channel::{Receiver, bounded};
use tempfile::TempPath;

use super::content::FileReader;
use super::progress::{Event, Progress};
use super::quarantine::most_chunks;
use super::{Error, Store};
use crate::chunking::all_zero;
use crate::object::{ContentHash, FileId, Hash, Kind};
use crate::storage::{free_space, sync_folder};

/// Chunks that wait to be written.
const READ_AHEAD: usize = 4;

/// How to save a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct SaveOptions {
    /// Overwrites what is there.
    pub force: bool,
    /// May be executed.
    pub executable: bool,
}

impl Store {
    /// Writes a file to `destination` and returns its content hash. It appears there whole and durable, or not at all.
    ///
    /// # Errors
    /// [`Error::Exists`] when something is there and `force` is not given, [`Error::FalseFile`] when its chunks are not
    /// its content, [`Error::Missing`] when one is not here.
    pub fn save(
        &self,
        file: FileId,
        destination: &Path,
        options: SaveOptions,
        progress: &dyn Progress,
    ) -> Result<ContentHash, Error> {
        let reader = FileReader::open(self, file)?;
        let folder = match destination.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let (size, free) = (reader.manifest().size, free_space(folder)?);
        if size > free {
            let (path, needed) = (folder.to_owned(), size);
            return Err(Error::NoSpace { path, needed, free });
        }
        // The umask takes away what the user does not want to grant.
        let mode = if options.executable { 0o777 } else { 0o666 };
        // Always the same name: what a killed process left makes way and does not stay.
        let aside = folder.join(format!(".fai-fetch-{}.part", file.short()));
        let _ = std::fs::remove_file(&aside);
        let open = File::options().write(true).create_new(true).mode(mode).open(&aside);
        let output = open.map_err(Error::io("create", &aside))?;
        let aside = TempPath::try_from_path(&aside).map_err(Error::io("create", &aside))?;
        let found = self.pour(&reader, &output, &aside, progress)?;
        if found != reader.manifest().content {
            return Err(Error::FalseFile(file));
        }
        output.sync_all().map_err(Error::io("sync", &aside))?;
        let placed = match options.force {
            true => aside.persist(destination),
            false => aside.persist_noclobber(destination),
        };
        placed.map_err(|refused| match refused.error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists(destination.to_owned()),
            _ => Error::io("write", destination)(refused.error),
        })?;
        sync_folder(folder)?;
        Ok(found)
    }

    /// Chunks are read and decoded on one thread, written and hashed in their order on another.
    fn pour(
        &self,
        reader: &FileReader<'_>,
        file: &File,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<ContentHash, Error> {
        std::thread::scope(|scope| {
            let (send, chunks) = bounded::<Vec<u8>>(READ_AHEAD);
            let writing = scope.spawn(move || write_all(file, &chunks, progress));
            let mut room = most_chunks(reader.manifest().size);
            let read = reader.for_each_chunk(&mut |_, extent| {
                room = room.checked_sub(1).ok_or(Error::FalseFile(reader.id()))?;
                let bytes = self.with(Kind::Chunk, &extent.hash, |bytes, _| bytes.to_vec())?;
                if bytes.len() as u64 != extent.len {
                    return Err(Error::FalseFile(reader.id()));
                }
                // When nobody writes any more, the writer says why.
                let full = || Error::Usage("writing was stopped by an earlier error".into());
                send.send(bytes).map_err(|_| full())
            });
            drop(send);
            let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let found = written.map_err(Error::io("write", path))?;
            read.map(|()| found)
        })
    }
}

/// Zeros are left as holes.
fn write_all(file: &File, chunks: &Receiver<Vec<u8>>, progress: &dyn Progress) -> std::io::Result<ContentHash> {
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    for bytes in chunks {
        hasher.update(&bytes);
        if !all_zero(&bytes) {
            file.write_all_at(&bytes, at)?;
        }
        at += bytes.len() as u64;
        progress.on(Event::Bytes(bytes.len() as u64));
    }
    file.set_len(at)?;
    Ok(ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes())))
}
