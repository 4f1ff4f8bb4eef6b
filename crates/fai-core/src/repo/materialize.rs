//! Writing stored files to disk: decoded and verified on all cores, written aside, synced, then renamed into place.
//! A file under its own name is always whole.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tempfile::{NamedTempFile, TempPath};

use super::content::FileReader;
use super::progress::{Event, Progress};
use super::snapshot::Entry;
use super::worktree::{file_stat, passes_link};
use super::{Error, Repository, Store};
use crate::codec::Codec;
use crate::database::FileStat;
use crate::object::{DecodeError, Hash, Id, Kind, RepoPath};
use crate::storage::{free_space, sync_folder};

/// After so many bytes of one file its write-back is started, so that the sync at the end is short.
const WRITE_BACK: u64 = 64 << 20;

/// Up to so many files are synced one by one; more are synced together with their file system.
const SYNC_EACH: usize = 16;

/// A file to write.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub path: RepoPath,
    pub entry: Entry,
}

/// A file being written.
struct Output {
    file: File,
    temporary: Mutex<Option<TempPath>>,
    /// Bytes that no worker has written yet.
    remaining: AtomicU64,
    written: AtomicU64,
}

/// A chunk to decode and write.
struct Job {
    output: Arc<Output>,
    hash: Hash,
    offset: u64,
    len: u64,
}

/// Files that are written and durable under temporary names.
pub(super) struct Prepared {
    files: Vec<(RepoPath, TempPath)>,
}

impl Repository {
    /// Writes all `targets` aside, verified and durable, in `temporary`, which must be on the file system of their
    /// later place.
    pub(super) fn prepare(
        &self,
        targets: &[Target],
        temporary: &Path,
        progress: &dyn Progress,
    ) -> Result<Prepared, Error> {
        let total = targets.iter().map(|target| target.entry.size).sum();
        progress.on(Event::Total {
            files: targets.len() as u64,
            bytes: total,
        });
        self.check_space(targets, temporary, total)?;
        let (to_workers, jobs) = bounded::<Job>(4 * self.threads);
        let (to_flusher, flushes) = bounded::<Arc<Output>>(1);
        let failure: Mutex<Option<Error>> = Mutex::default();
        let outputs = std::thread::scope(|scope| {
            scope.spawn(|| flush(flushes, &failure));
            for _ in 0..self.threads {
                let (jobs, to_flusher) = (jobs.clone(), to_flusher.clone());
                let (store, failure) = (&self.store, &failure);
                scope.spawn(move || work(store, &jobs, &to_flusher, failure, progress));
            }
            drop((jobs, to_flusher));
            let fed = self.feed(targets, temporary, &to_workers, progress);
            drop(to_workers);
            fed
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut files = Vec::new();
        for (output, target) in outputs?.into_iter().zip(targets) {
            if targets.len() <= SYNC_EACH {
                output
                    .file
                    .sync_all()
                    .map_err(Error::io("sync", &target.path.below(temporary)))?;
            }
            let temporary = output.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
            files.extend(temporary.map(|temporary| (target.path.clone(), temporary)));
        }
        if targets.len() > SYNC_EACH {
            sync_file_system(temporary)?;
        }
        Ok(Prepared { files })
    }

    /// Creates the outputs and hands out their chunks.
    fn feed(
        &self,
        targets: &[Target],
        temporary: &Path,
        workers: &Sender<Job>,
        progress: &dyn Progress,
    ) -> Result<Vec<Arc<Output>>, Error> {
        let mut outputs = Vec::new();
        for target in targets {
            progress.on(Event::File(target.path.as_str()));
            let reader = FileReader::open(&self.store, target.entry.file)?;
            // A tree can come from anyone: one that misstates a size would pad the file or cut it.
            let size = reader.manifest().size;
            if size != target.entry.size {
                let reason = format!("it has {size} bytes, and the tree says {}", target.entry.size);
                return Err(Error::Invalid {
                    kind: Kind::Manifest,
                    hash: *target.entry.file.hash(),
                    source: DecodeError::Invalid { object: "file", reason },
                });
            }
            let output = Arc::new(Output::create(temporary, &target.entry)?);
            reader.for_each_chunk(&mut |offset, extent| {
                let job = Job {
                    output: Arc::clone(&output),
                    hash: extent.hash,
                    offset,
                    len: extent.len,
                };
                // Workers go away only after one of them has noted why.
                workers
                    .send(job)
                    .map_err(|_| Error::Usage("writing was stopped by an earlier error".into()))
            })?;
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// Refuses what cannot fit. Holes of sparse files are not written, so only other chunks count where it is close.
    fn check_space(&self, targets: &[Target], temporary: &Path, total: u64) -> Result<(), Error> {
        let free = free_space(temporary)?;
        if total <= free {
            return Ok(());
        }
        let mut needed = 0;
        for target in targets {
            FileReader::open(&self.store, target.entry.file)?.for_each_chunk(&mut |_, extent| {
                let location = self.store.locate(Kind::Chunk, &extent.hash)?;
                if location.header.codec != Codec::Constant {
                    needed += extent.len;
                }
                Ok::<(), Error>(())
            })?;
        }
        if needed <= free {
            Ok(())
        } else {
            Err(Error::NoSpace {
                path: temporary.to_owned(),
                needed,
                free,
            })
        }
    }
}

impl Output {
    fn create(temporary: &Path, entry: &Entry) -> Result<Self, Error> {
        // The umask takes away what the user does not want to grant.
        let mode = if entry.executable { 0o777 } else { 0o666 };
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(temporary)
            .map_err(Error::io("create a file in", temporary))?;
        let (file, path) = NamedTempFile::into_parts(file);
        file.set_len(entry.size).map_err(Error::io("write", &path))?;
        Ok(Self {
            file,
            temporary: Mutex::new(Some(path)),
            remaining: AtomicU64::new(entry.size),
            written: AtomicU64::new(0),
        })
    }
}

/// Decodes and writes chunks until there are no more, or anything failed.
fn work(
    store: &Store,
    jobs: &Receiver<Job>,
    flusher: &Sender<Arc<Output>>,
    failure: &Mutex<Option<Error>>,
    progress: &dyn Progress,
) {
    for job in jobs {
        if let Err(error) = write_chunk(store, &job) {
            failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            return;
        }
        progress.on(Event::Bytes(job.len));
        let before = job.output.written.fetch_add(job.len, Ordering::Relaxed);
        if before / WRITE_BACK != (before + job.len) / WRITE_BACK {
            let _ = flusher.try_send(Arc::clone(&job.output));
        }
        if job.output.remaining.fetch_sub(job.len, Ordering::AcqRel) == job.len {
            progress.on(Event::FileDone);
        }
    }
}

fn write_chunk(store: &Store, job: &Job) -> Result<(), Error> {
    let location = store.locate(Kind::Chunk, &job.hash)?;
    let file = &job.output.file;
    let write = |bytes: &[u8]| {
        if bytes.len() as u64 != job.len {
            return Err(std::io::Error::other(
                "a chunk has another length than its manifest says",
            ));
        }
        // The file is all holes yet: zeros need no writing, and sparse files stay sparse.
        let zeros = location.header.codec == Codec::Constant && bytes.iter().take(8).all(|byte| *byte == 0);
        if zeros {
            Ok(())
        } else {
            file.write_all_at(bytes, job.offset)
        }
    };
    store.with_location(&location, write)?.map_err(|source| Error::Io {
        operation: "write",
        path: job.output.path(),
        source,
    })
}

impl Output {
    fn path(&self) -> PathBuf {
        let path = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        path.as_ref().map(|path| path.to_path_buf()).unwrap_or_default()
    }
}

/// Pushes written bytes to the disk while others are being decoded.
fn flush(outputs: Receiver<Arc<Output>>, failure: &Mutex<Option<Error>>) {
    for output in outputs {
        if let Err(source) = output.file.sync_data() {
            let error = Error::Io {
                operation: "sync",
                path: output.path(),
                source,
            };
            failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }
}

impl Prepared {
    /// Moves all files to their places below `root` and makes that durable. Returns how they look there.
    pub(super) fn place(self, root: &Path) -> Result<Vec<(RepoPath, FileStat)>, Error> {
        let mut folders = BTreeSet::new();
        let mut placed = Vec::new();
        for (path, temporary) in self.files {
            let destination = path.below(root);
            let folder = ensure_folder(root, &path)?;
            // An empty folder may stand there; one with anything in it makes the next step fail.
            let _ = fs::remove_dir(&destination);
            temporary
                .persist(&destination)
                .map_err(|error| Error::io("write", &destination)(error.error))?;
            let metadata = destination
                .symlink_metadata()
                .map_err(Error::io("read", &destination))?;
            placed.push((path, file_stat(&metadata)));
            folders.insert(folder);
        }
        if folders.len() > SYNC_EACH {
            sync_file_system(root)?;
        } else {
            folders.iter().try_for_each(|folder| sync_folder(folder))?;
        }
        Ok(placed)
    }
}

/// Creates the folders above `path` below `root`. Never goes through a symbolic link, which could lead anywhere.
fn ensure_folder(root: &Path, path: &RepoPath) -> Result<PathBuf, Error> {
    let mut folder = root.to_owned();
    let Some((parent, _)) = path.split_last() else {
        return Ok(folder);
    };
    for name in parent.names() {
        folder.push(name);
        match folder.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(metadata) => {
                let found = if metadata.is_symlink() {
                    "a symbolic link"
                } else {
                    "a file"
                };
                return Err(Error::WrongKind {
                    path: folder.display().to_string(),
                    found,
                    wanted: "a folder",
                });
            }
            Err(_) => fs::create_dir(&folder).map_err(Error::io("create", &folder))?,
        }
    }
    Ok(folder)
}

/// Removes a file and the folders that it leaves empty. Behind a symbolic link there is nothing to remove.
pub(super) fn remove_file(root: &Path, path: &RepoPath) -> Result<(), Error> {
    let target = path.below(root);
    if path.split_last().is_some_and(|(folder, _)| passes_link(root, &folder)) {
        return Ok(());
    }
    match fs::remove_file(&target) {
        Err(error)
            if !matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Err(Error::io("remove", &target)(error));
        }
        _ => {}
    }
    let mut folder = path.split_last().map(|(folder, _)| folder);
    while let Some(path) = folder.filter(|folder| !folder.is_root()) {
        if fs::remove_dir(path.below(root)).is_err() {
            break;
        }
        folder = path.split_last().map(|(folder, _)| folder);
    }
    Ok(())
}

/// Makes everything written so far on the file system of `path` durable, at the cost of one journal commit.
#[cfg(target_os = "linux")]
fn sync_file_system(path: &Path) -> Result<(), Error> {
    let folder = File::open(path).map_err(Error::io("sync", path))?;
    rustix::fs::syncfs(&folder).map_err(|errno| Error::io("sync", path)(errno.into()))
}

/// Elsewhere there is no call for one file system.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &Path) -> Result<(), Error> {
    rustix::fs::sync();
    Ok(())
}
