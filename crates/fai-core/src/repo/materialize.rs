//! Writing stored files to disk: decoded and verified on all cores, written aside, synced, then renamed into place.
//! A file under its own name is always whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tempfile::TempPath;

use super::ahead::{Begun, Ready};
use super::content::FileReader;
use super::output::{Output, WriteBack};
use super::progress::{Event, Progress};
use super::snapshot::Entry;
use super::worktree::{file_stat, passes_link};
use super::write_order::groups;
use super::{Error, Repository, Store};
use crate::codec::Codec;
use crate::database::FileStat;
use crate::object::{DecodeError, Extent, Hash, Id, Kind, RepoPath};
use crate::storage::{Recent, free_space, sync_folder};

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

/// Work for a worker. Files are told by their place among the targets.
enum Job<'a> {
    /// A file from beginning to end.
    Whole(usize, &'a Target),
    /// A chunk of a long file, and whether others may stand on it soon.
    Chunk(usize, Arc<Output>, ChunkJob, bool),
}

/// A chunk to decode and write.
struct ChunkJob {
    hash: Hash,
    offset: u64,
    len: u64,
}

impl ChunkJob {
    fn new(offset: u64, extent: &Extent) -> Self {
        Self {
            hash: extent.hash,
            offset,
            len: extent.len,
        }
    }
}

/// What the workers of one checkout share.
struct Writing<'a> {
    store: &'a Store,
    temporary: &'a Path,
    /// What was written before.
    ready: Option<&'a Ready>,
    progress: &'a dyn Progress,
    write_back: WriteBack,
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
    /// later place. What `ready` holds, on the same file system, is taken from there.
    pub(super) fn prepare(
        &self,
        targets: &[Target],
        temporary: &Path,
        ready: Option<&Ready>,
        progress: &dyn Progress,
    ) -> Result<Prepared, Error> {
        let total = targets.iter().map(|target| target.entry.size).sum();
        progress.on(Event::Total {
            files: targets.len() as u64,
            bytes: total,
        });
        self.check_space(targets, temporary, ready)?;
        let writing = Writing {
            store: &self.store,
            temporary,
            ready,
            progress,
            write_back: WriteBack::start(),
            sync_each: targets.len() <= SYNC_EACH,
            recent: Recent::new(RECENT),
            zeros: Mutex::default(),
            stopped: AtomicBool::new(false),
            failure: Mutex::default(),
            done: Mutex::new(targets.iter().map(|_| None).collect()),
        };
        let (to_workers, jobs) = bounded::<Job<'_>>(4 * self.threads);
        std::thread::scope(|scope| {
            let writing = &writing;
            for _ in 0..self.threads {
                let jobs = jobs.clone();
                scope.spawn(move || writing.work(&jobs));
            }
            drop(jobs);
            if let Err(error) = writing.feed(targets, &to_workers) {
                writing.fail(error);
            }
            drop(to_workers);
        });
        let written_back = writing.write_back.end();
        if let Some(error) = writing.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        written_back?;
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
    fn check_space(&self, targets: &[Target], temporary: &Path, ready: Option<&Ready>) -> Result<(), Error> {
        let free = free_space(temporary)?;
        let written = |entry: &Entry| ready.and_then(|ready| ready.written(entry));
        let left = |target: &Target| target.entry.size - written(&target.entry).unwrap_or(0);
        if targets.iter().map(left).sum::<u64>() <= free {
            return Ok(());
        }
        let (mut needed, mut constant) = (0, None);
        for target in targets {
            if written(&target.entry).is_some() {
                needed += left(target);
                continue;
            }
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

impl Writing<'_> {
    /// Hands out short files whole and long ones chunk by chunk.
    fn feed<'t>(&self, targets: &'t [Target], workers: &Sender<Job<'t>>) -> Result<(), Error> {
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
            let hand_out = |jobs: &mut Vec<(usize, Arc<Output>, ChunkJob)>| {
                jobs.sort_by_key(|(_, _, job)| job.offset);
                let mut jobs = jobs.drain(..);
                jobs.try_for_each(|(index, output, job)| {
                    workers.send(Job::Chunk(index, output, job, true)).map_err(stopped)
                })
            };
            for index in group {
                let Some(target) = targets.get(index) else { continue };
                self.progress.on(Event::File(target.path.as_str()));
                if let Some(begun) = self.ready.and_then(|ready| ready.take(&target.entry)) {
                    self.go_on(index, target, begun, workers)?;
                    continue;
                }
                let (reader, output) = self.open(target)?;
                let output = Arc::new(output);
                reader.for_each_chunk(&mut |offset, extent| {
                    let (output, job) = (Arc::clone(&output), ChunkJob::new(offset, extent));
                    if beside {
                        jobs.push((index, output, job));
                        return match jobs.len() < SORTED {
                            true => Ok(()),
                            false => hand_out(&mut jobs),
                        };
                    }
                    workers.send(Job::Chunk(index, output, job, false)).map_err(stopped)
                })?;
            }
            hand_out(&mut jobs)?;
        }
        Ok(())
    }

    /// Hands out what is missing of a file that was begun before.
    fn go_on<'t>(&self, index: usize, target: &Target, begun: Begun, workers: &Sender<Job<'t>>) -> Result<(), Error> {
        let missing: u64 = begun.missing.iter().map(|(_, extent)| extent.len).sum();
        self.progress.on(Event::Bytes(target.entry.size - missing));
        if begun.missing.is_empty() {
            return self.finish(index, &begun.output);
        }
        begun.missing.iter().try_for_each(|(offset, extent)| {
            let job = Job::Chunk(index, Arc::clone(&begun.output), ChunkJob::new(*offset, extent), false);
            workers.send(job).map_err(stopped)
        })
    }

    fn open(&self, target: &Target) -> Result<(FileReader<'_>, Output), Error> {
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
        Ok((reader, Output::create(self.temporary, size, target.entry.executable)?))
    }

    /// Carries out jobs until there are no more, or anything failed.
    fn work(&self, jobs: &Receiver<Job<'_>>) {
        for job in jobs {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let result = match &job {
                Job::Whole(index, target) => self.whole(*index, target),
                Job::Chunk(index, output, job, beside) => self.share(*index, output, job, *beside),
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
        let (reader, output) = self.open(target)?;
        reader.for_each_chunk(&mut |offset, extent| self.write(&output, &ChunkJob::new(offset, extent), false))?;
        self.finish(index, &output)
    }

    fn share(&self, index: usize, output: &Arc<Output>, job: &ChunkJob, beside: bool) -> Result<(), Error> {
        self.write(output, job, beside)?;
        let written = output.count(job.len);
        if written.write_back {
            self.write_back.push(output);
        }
        if written.all {
            self.finish(index, output)?;
        }
        Ok(())
    }

    fn write(&self, output: &Output, job: &ChunkJob, beside: bool) -> Result<(), Error> {
        let chunk = (job.hash, job.len);
        let known = *self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        if known == Some(chunk) {
            output.skip(job.offset, job.len);
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
            if output.write(bytes, job.offset)? {
                *self.zeros.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunk);
            }
            Ok(())
        };
        let written = match beside {
            true => self.store.with_recent(&location, &self.recent, write)?,
            false => self.store.with_location(&location, write)?,
        };
        written.map_err(output.failed("write"))?;
        self.progress.on(Event::Bytes(job.len));
        Ok(())
    }

    /// All chunks of the file are written.
    fn finish(&self, index: usize, output: &Output) -> Result<(), Error> {
        let temporary = output.finish(self.sync_each)?;
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = done.get_mut(index) {
            *place = temporary;
        }
        drop(done);
        self.progress.on(Event::FileDone);
        Ok(())
    }
}

/// Workers go away only after one of them has noted why.
fn stopped<T>(_: T) -> Error {
    Error::Usage("writing was stopped by an earlier error".into())
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
