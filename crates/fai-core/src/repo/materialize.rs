//! Writing stored files to disk: decoded and verified on all cores, written aside, synced, then renamed into place.
//! A file under its own name is always whole.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tempfile::{NamedTempFile, TempPath};

use super::content::FileReader;
use super::progress::{Event, Progress};
use super::snapshot::Entry;
use super::worktree::{file_stat, passes_link};
use super::write_order::groups;
use super::{Error, Repository, Store};
use crate::chunking::all_zero;
use crate::codec::Codec;
use crate::database::FileStat;
use crate::object::{DecodeError, Hash, Id, Kind, RepoPath};
use crate::storage::{Recent, free_space, sync_folder};

/// After so many bytes of one file its write-back is started, so that the sync at the end is short.
const WRITE_BACK: u64 = 64 << 20;

/// Chunks of files written side by side that are put in order together, 56 bytes each: hundreds of GB of usual ones. A file can
/// claim to be made of any number of tiny ones.
const SORTED: usize = 1 << 20;

/// Bytes of chunks that are held for those that stand on them.
const RECENT: usize = 64 << 20;

/// Up to so many files are synced one by one; more are synced together with their file system.
const SYNC_EACH: usize = 16;

/// A file to write.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub path: RepoPath,
    pub entry: Entry,
}

/// A file up to this length is written by one worker; chunks of longer ones are shared among all.
const WHOLE: u64 = 4 << 20;

/// A file being written. It is closed when its last chunk is: however many files there are, few are open.
struct Output {
    /// Which of the targets it is.
    index: usize,
    file: File,
    temporary: Mutex<Option<TempPath>>,
    size: u64,
    /// Bytes that no worker has written yet.
    remaining: AtomicU64,
    /// The last chunk was zeros and not written, so that writing alone did not give the file its length.
    ends_in_hole: AtomicBool,
    written: AtomicU64,
}

/// Work for a worker.
enum Job<'a> {
    /// A file from beginning to end.
    Whole(usize, &'a Target),
    /// A chunk of a long file, and whether others may stand on it soon.
    Chunk(Arc<Output>, ChunkJob, bool),
}

/// A chunk to decode and write.
struct ChunkJob {
    hash: Hash,
    offset: u64,
    len: u64,
}

/// What the workers of one checkout share.
struct Writing<'a> {
    store: &'a Store,
    temporary: &'a Path,
    progress: &'a dyn Progress,
    sync_each: bool,
    /// Chunks of files that are written side by side.
    recent: Recent,
    /// Hash and length of a chunk that was read and held nothing but zeros: mostly the next such chunk is the same.
    zeros: Mutex<Option<(Hash, u64)>>,
    /// Set with the first failure: everybody stops.
    stopped: AtomicBool,
    failure: Mutex<Option<Error>>,
    done: Mutex<Vec<Option<TempPath>>>,
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
        let writing = Writing {
            store: &self.store,
            temporary,
            progress,
            sync_each: targets.len() <= SYNC_EACH,
            recent: Recent::new(RECENT),
            zeros: Mutex::default(),
            stopped: AtomicBool::new(false),
            failure: Mutex::default(),
            done: Mutex::new(targets.iter().map(|_| None).collect()),
        };
        let (to_workers, jobs) = bounded::<Job<'_>>(4 * self.threads);
        let (to_flusher, flushes) = bounded::<Arc<Output>>(1);
        std::thread::scope(|scope| {
            let writing = &writing;
            scope.spawn(move || writing.flush(&flushes));
            for _ in 0..self.threads {
                let (jobs, to_flusher) = (jobs.clone(), to_flusher.clone());
                scope.spawn(move || writing.work(&jobs, &to_flusher));
            }
            drop((jobs, to_flusher));
            if let Err(error) = writing.feed(targets, &to_workers) {
                writing.fail(error);
            }
            drop(to_workers);
        });
        if let Some(error) = writing.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if !writing.sync_each {
            sync_file_system(temporary)?;
        }
        let done = writing.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let named = targets
            .iter()
            .zip(done)
            .filter_map(|(target, file)| Some((target.path.clone(), file?)));
        Ok(Prepared { files: named.collect() })
    }

    /// Refuses what cannot fit. Holes of sparse files are not written, so only other chunks count where it is close.
    fn check_space(&self, targets: &[Target], temporary: &Path, total: u64) -> Result<(), Error> {
        let free = free_space(temporary)?;
        if total <= free {
            return Ok(());
        }
        let (mut needed, mut constant) = (0, None);
        for target in targets {
            FileReader::open(&self.store, target.entry.file)?.for_each_chunk(&mut |_, extent| {
                if constant != Some(extent.hash) {
                    if self.store.locate(Kind::Chunk, &extent.hash)?.header.codec == Codec::Constant {
                        constant = Some(extent.hash);
                    } else {
                        needed += extent.len;
                    }
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
    fn create(index: usize, temporary: &Path, entry: &Entry) -> Result<Self, Error> {
        // The umask takes away what the user does not want to grant.
        let mode = if entry.executable { 0o777 } else { 0o666 };
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(temporary)
            .map_err(Error::io("create a file in", temporary))?;
        let (file, path) = NamedTempFile::into_parts(file);
        Ok(Self {
            index,
            file,
            temporary: Mutex::new(Some(path)),
            size: entry.size,
            remaining: AtomicU64::new(entry.size),
            written: AtomicU64::new(0),
            ends_in_hole: AtomicBool::new(false),
        })
    }

    /// Leaves a hole where a chunk of zeros would be.
    fn skip(&self, job: &ChunkJob) {
        if job.offset + job.len == self.size {
            self.ends_in_hole.store(true, Ordering::Relaxed);
        }
    }

    fn path(&self) -> PathBuf {
        let path = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        path.as_ref().map(|path| path.to_path_buf()).unwrap_or_default()
    }
}

impl Writing<'_> {
    /// Hands out short files whole and long ones chunk by chunk.
    fn feed<'t>(&self, targets: &'t [Target], workers: &Sender<Job<'t>>) -> Result<(), Error> {
        // Workers go away only after one of them has noted why.
        let stopped = |_| Error::Usage("writing was stopped by an earlier error".into());
        let numbered = || targets.iter().enumerate();
        for (index, target) in numbered().filter(|(_, target)| target.entry.size <= WHOLE) {
            self.progress.on(Event::File(target.path.as_str()));
            workers.send(Job::Whole(index, target)).map_err(stopped)?;
        }
        let long: Vec<usize> = numbered()
            .filter(|(_, target)| target.entry.size > WHOLE)
            .map(|(index, _)| index)
            .collect();
        for group in groups(self.store, targets, &long) {
            let beside = group.len() > 1;
            let mut jobs = Vec::new();
            // Stable: at one offset files keep their order, in which the older ones mostly come first.
            let hand_out = |jobs: &mut Vec<(Arc<Output>, ChunkJob)>| {
                jobs.sort_by_key(|(_, job)| job.offset);
                let mut jobs = jobs.drain(..);
                jobs.try_for_each(|(output, job)| workers.send(Job::Chunk(output, job, true)).map_err(stopped))
            };
            for index in group {
                let Some(target) = targets.get(index) else { continue };
                self.progress.on(Event::File(target.path.as_str()));
                let (reader, output) = self.open(index, target)?;
                let output = Arc::new(output);
                reader.for_each_chunk(&mut |offset, extent| {
                    let job = ChunkJob {
                        hash: extent.hash,
                        offset,
                        len: extent.len,
                    };
                    if beside {
                        jobs.push((Arc::clone(&output), job));
                        return match jobs.len() < SORTED {
                            true => Ok(()),
                            false => hand_out(&mut jobs),
                        };
                    }
                    let job = Job::Chunk(Arc::clone(&output), job, false);
                    workers.send(job).map_err(stopped)
                })?;
            }
            hand_out(&mut jobs)?;
        }
        Ok(())
    }

    fn open(&self, index: usize, target: &Target) -> Result<(FileReader<'_>, Output), Error> {
        let reader = FileReader::open(self.store, target.entry.file)?;
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
        Ok((reader, Output::create(index, self.temporary, &target.entry)?))
    }

    /// Carries out jobs until there are no more, or anything failed.
    fn work(&self, jobs: &Receiver<Job<'_>>, flusher: &Sender<Arc<Output>>) {
        for job in jobs {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let result = match &job {
                Job::Whole(index, target) => self.whole(*index, target),
                Job::Chunk(output, job, beside) => self.share(output, job, *beside, flusher),
            };
            if let Err(error) = result {
                return self.fail(error);
            }
        }
    }

    fn fail(&self, error: Error) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn whole(&self, index: usize, target: &Target) -> Result<(), Error> {
        let (reader, output) = self.open(index, target)?;
        reader.for_each_chunk(&mut |offset, extent| {
            self.write(
                &output,
                &ChunkJob {
                    hash: extent.hash,
                    offset,
                    len: extent.len,
                },
                false,
            )
        })?;
        self.finish(&output)
    }

    fn share(
        &self,
        output: &Arc<Output>,
        job: &ChunkJob,
        beside: bool,
        flusher: &Sender<Arc<Output>>,
    ) -> Result<(), Error> {
        self.write(output, job, beside)?;
        let before = output.written.fetch_add(job.len, Ordering::Relaxed);
        if before / WRITE_BACK != (before + job.len) / WRITE_BACK {
            let _ = flusher.try_send(Arc::clone(output));
        }
        if output.remaining.fetch_sub(job.len, Ordering::AcqRel) == job.len {
            self.finish(output)?;
        }
        Ok(())
    }

    fn write(&self, output: &Output, job: &ChunkJob, beside: bool) -> Result<(), Error> {
        let chunk = (job.hash, job.len);
        let known = *self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        if known == Some(chunk) {
            output.skip(job);
            self.progress.on(Event::Bytes(job.len));
            return Ok(());
        }
        let location = self.store.locate(Kind::Chunk, &job.hash)?;
        let write = |bytes: &[u8]| {
            if bytes.len() as u64 != job.len {
                return Err(std::io::Error::other(
                    "a chunk has another length than its manifest says",
                ));
            }
            // The file is all holes yet: zeros need no writing, and sparse files stay sparse.
            if all_zero(bytes) {
                *self.zeros.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunk);
                output.skip(job);
                Ok(())
            } else {
                output.file.write_all_at(bytes, job.offset)
            }
        };
        let failed = |source| Error::Io {
            operation: "write",
            path: output.path(),
            source,
        };
        let written = match beside {
            true => self.store.with_recent(&location, &self.recent, write)?,
            false => self.store.with_location(&location, write)?,
        };
        written.map_err(failed)?;
        self.progress.on(Event::Bytes(job.len));
        Ok(())
    }

    /// All chunks of the file are written.
    fn finish(&self, output: &Output) -> Result<(), Error> {
        let failed = |operation| {
            move |source| Error::Io {
                operation,
                path: output.path(),
                source,
            }
        };
        if output.ends_in_hole.load(Ordering::Relaxed) {
            output.file.set_len(output.size).map_err(failed("write"))?;
        }
        if self.sync_each {
            output.file.sync_all().map_err(failed("sync"))?;
        }
        let temporary = output.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(place) = self
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(output.index)
        {
            *place = temporary;
        }
        self.progress.on(Event::FileDone);
        Ok(())
    }

    /// Pushes written bytes to the disk while others are being decoded.
    fn flush(&self, outputs: &Receiver<Arc<Output>>) {
        for output in outputs {
            if let Err(source) = output.file.sync_data() {
                self.fail(Error::Io {
                    operation: "sync",
                    path: output.path(),
                    source,
                });
            }
        }
    }
}

impl Prepared {
    /// Moves all files to their places below `root` and makes that durable. Returns how they look there.
    pub(super) fn place(self, root: &Path) -> Result<Vec<(RepoPath, FileStat)>, Error> {
        let mut folders = BTreeSet::new();
        let mut placed = Vec::new();
        let mut current = None;
        for (path, temporary) in self.files {
            let destination = path.below(root);
            let above = path.split_last().map(|(above, _)| above);
            // Files come sorted: most lie in the folder of the one before.
            if current != Some(above.clone()) {
                ensure_folder(root, &path, &mut folders)?;
                current = Some(above);
            }
            let placing = temporary.persist(&destination).or_else(|refused| {
                // An empty folder may stand there; one with anything in it stays.
                match fs::remove_dir(&destination) {
                    Ok(()) => refused.path.persist(&destination),
                    Err(_) => Err(refused),
                }
            });
            placing.map_err(|error| Error::io("write", &destination)(error.error))?;
            let metadata = destination
                .symlink_metadata()
                .map_err(Error::io("read", &destination))?;
            placed.push((path, file_stat(&metadata)));
        }
        if folders.len() > SYNC_EACH {
            sync_file_system(root)?;
        } else {
            folders.iter().try_for_each(|folder| sync_folder(folder))?;
        }
        Ok(placed)
    }
}

/// Creates the folders above `path` below `root`. Never goes through a symbolic link, which could lead anywhere. Adds to
/// `changed` the folder that the file comes into, and those in which folders were created.
fn ensure_folder(root: &Path, path: &RepoPath, changed: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let mut folder = root.to_owned();
    for name in path.split_last().iter().flat_map(|(parent, _)| parent.names()) {
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
            Err(_) => {
                fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
                changed.extend(folder.parent().map(Path::to_owned));
            }
        }
    }
    changed.insert(folder);
    Ok(())
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
