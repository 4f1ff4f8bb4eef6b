//! `add`: files of the worktree become files of the repository and are staged.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::bases::Bases;
use super::describe::describe_layout;
use super::durable::lock;
use super::evict::{Candidate, groups};
use super::progress::{Event, Progress};
use super::snapshot::{Entry, Snapshot};
use super::walk::{Found, Passed};
use super::worktree::{TICK, TICKS, file_stat, is_executable, open_regular};
use super::{Error, Repository};
use crate::chunking::plan;
use crate::database::{CachedStat, FileRecord, Staged, TensorRecord};
use crate::object::{ContentHash, FileId, Id, RepoPath};
use crate::storage::{Feeder, FileSummary, IngestError};
use crate::tensor::{FileSource, Layout, ReadAt, examine};

/// How often a file that changes while it is read is tried again.
const ATTEMPTS: usize = 3;

/// How long a file must not have changed before it is read, in nanoseconds: as long as the coarsest tick in use.
const REST: i64 = 10_000_000;

/// A change that lies further ahead of the clock than this, in nanoseconds, is none of the last moments.
const AHEAD: i64 = 1_000_000_000;

/// How to add.
#[derive(Debug, Clone, Default)]
pub struct AddOptions {
    /// Also files that ignore rules exclude.
    pub force: bool,
    /// Files that the new ones were made from. They need not be like them.
    pub bases: Vec<FileId>,
    /// Takes the files out of the worktree once they are durable, verified and staged.
    pub evict: bool,
}

/// What an add did.
#[derive(Debug, Default)]
pub struct AddReport {
    /// Files that are now staged or were found to be what is committed already, by path.
    pub files: Vec<AddedFile>,
    /// Tracked files that are gone from the worktree and now staged as removed.
    pub removed: Vec<RepoPath>,
    /// Tracked files that are not in the worktree on purpose, and stay as they are.
    pub absent: Vec<RepoPath>,
    /// Symbolic links that were skipped.
    pub symlinks: Vec<RepoPath>,
    /// Files and folders that could not be added, or not be evicted, and why. Everything else was.
    pub refused: Vec<Error>,
}

/// A file that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedFile {
    /// Its path.
    pub path: RepoPath,
    /// Its id.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Number of its chunks; 0 when the stat cache proved that it did not change and it was not read.
    pub chunks: u64,
    /// Chunks that the repository did not have yet.
    pub new_chunks: u64,
    /// Bytes that those take in packs.
    pub stored_bytes: u64,
    /// True when the next commit changes this path.
    pub staged: bool,
    /// True when the file is no longer in the worktree.
    pub evicted: bool,
}

impl Repository {
    /// Adds the files at and below `paths`; a tracked file that is gone is staged as removed. The repository's root
    /// stands for everything. Stored files are durable when this returns, and all of them are staged at once; when they
    /// are to be evicted, in groups, each of which is gone from the worktree before the next one is read.
    ///
    /// # Errors
    /// When a path matches nothing or is ignored, a file cannot be read or will not hold still, or storing fails; nothing
    /// is staged then, but for groups that were evicted. A file that was not named itself but met in a folder stops
    /// nothing: it is reported in [`AddReport::refused`], and what is tracked or staged of it stays.
    pub fn add(&self, paths: &[RepoPath], options: AddOptions, progress: &dyn Progress) -> Result<AddReport, Error> {
        self.need_worktree("add")?;
        let _pin = self.pin()?;
        // Evicting changes the worktree, so nobody else may.
        let _alone = options.evict.then(|| self.alone()).transpose()?;
        let _shared = match options.evict {
            true => None,
            false => Some(lock(&self.directory.join("lock"), true)?),
        };
        let recorded = self.file_system_clock()?;
        let mut walk = self.walk(paths, options.force)?;
        let (expected, _) = self.expected(paths)?;
        let (hidden, mut removed) = self.unmet(paths, &expected, &walk.files);
        // What is not here on purpose is no removal.
        let absent = self.absences()?.take(&mut removed);
        walk.files.extend(hidden);
        let Passed {
            symlinks,
            refused,
            excluded,
        } = walk.passed;
        let mut report = AddReport {
            removed,
            absent,
            symlinks,
            refused,
            ..AddReport::default()
        };
        self.check_named(paths, &walk.files, &excluded, &report)?;

        let cache = self.database().stat_cache()?;
        let partial = self.selection()?.is_some();
        let (unchanged, to_read): (Vec<_>, Vec<_>) = walk
            .files
            .into_iter()
            .partition(|found| proven(found, &cache, self, partial));
        let known: Vec<Stored> = unchanged
            .into_iter()
            .filter_map(|found| {
                let file = cache.get(found.path.as_str())?.file;
                Some(Stored {
                    found,
                    summary: None,
                    file,
                    known: None,
                })
            })
            .collect();
        let of = |files: &mut dyn Iterator<Item = &Found>| -> u64 { files.map(|found| found.stat.size).sum() };
        let (read, proven) = (
            of(&mut to_read.iter()),
            of(&mut known.iter().map(|stored| &stored.found)),
        );
        let (files, bytes) = match options.evict {
            // What is evicted is read back from the packs before.
            true => (to_read.len() + known.len(), 2 * read + proven),
            false => (to_read.len(), read),
        };
        let files = files as u64;
        progress.on(Event::Total { files, bytes });
        let declared: Vec<FileId> = options.bases.into_iter().chain(self.base_model()).collect();
        if !options.evict {
            let mut bases = Bases::new(self, &expected, declared);
            let mut all = self.store_files(&to_read, recorded, progress, &mut report.refused, paths, &mut bases)?;
            all.extend(known);
            self.stage_all(all, recorded, paths, &mut report)?;
            return Ok(report);
        }
        // What needs no room goes first, and leaves some to the others.
        known.iter().for_each(|_| progress.on(Event::FileDone));
        self.stage_and_evict(known, recorded, paths, &mut report, progress)?;
        for group in groups(to_read) {
            let mut bases = Bases::new(self, &expected, declared.clone());
            let stored = self.store_files(&group, recorded, progress, &mut report.refused, paths, &mut bases)?;
            self.stage_and_evict(stored, recorded, paths, &mut report, progress)?;
        }
        Ok(report)
    }

    /// Stages a group and takes its files out of the worktree.
    fn stage_and_evict(
        &self,
        group: Vec<Stored>,
        recorded: i64,
        paths: &[RepoPath],
        report: &mut AddReport,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let candidate = |Stored { found, file, .. }: &Stored| Candidate {
            path: found.path.clone(),
            file: *file,
            stat: found.stat,
            executable: found.executable,
        };
        let candidates: Vec<Candidate> = group.iter().map(candidate).collect();
        self.stage_all(group, recorded, paths, report)?;
        let (gone, refused) = self.evict(candidates, progress)?;
        let gone: BTreeSet<RepoPath> = gone.into_iter().collect();
        let evicted = report.files.iter_mut().filter(|file| gone.contains(&file.path));
        evicted.for_each(|file| file.evicted = true);
        report.refused.extend(refused);
        Ok(())
    }

    /// Tracked files within `scopes` that the walk did not meet: those that are there (an ignore rule hides them) and
    /// those that are gone.
    fn unmet(&self, scopes: &[RepoPath], expected: &Snapshot, found: &[Found]) -> (Vec<Found>, Vec<RepoPath>) {
        let met: BTreeSet<&RepoPath> = found.iter().map(|found| &found.path).collect();
        let wanted = |path: &RepoPath| scopes.iter().any(|scope| path.is_within(scope));
        let unmet: Vec<&RepoPath> = expected
            .keys()
            .filter(|path| !met.contains(path) && wanted(path))
            .collect();
        self.look_at(&unmet)
    }

    /// Every named path must stand for something: a file met, a tracked file that is gone, a folder.
    fn check_named(
        &self,
        paths: &[RepoPath],
        found: &[Found],
        excluded: &[RepoPath],
        report: &AddReport,
    ) -> Result<(), Error> {
        let root = self.worktree.clone().unwrap_or_default();
        let mut ignored = Vec::new();
        for path in paths {
            let met = found
                .iter()
                .map(|found| &found.path)
                .chain(&report.removed)
                .chain(&report.absent)
                .chain(&report.symlinks);
            if met.into_iter().any(|met| met.is_within(path)) {
                continue;
            }
            match path.below(&root).symlink_metadata() {
                Err(_) => return Err(Error::NoSuchPath(PathBuf::from(path.as_str()))),
                Ok(_) if excluded.iter().any(|excluded| path.is_within(excluded)) => ignored.push(path.clone()),
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    let wanted = "a regular file or a folder";
                    return Err(Error::WrongKind {
                        path: path.to_string(),
                        found: "neither",
                        wanted,
                    });
                }
            }
        }
        if ignored.is_empty() {
            Ok(())
        } else {
            Err(Error::Ignored(ignored))
        }
    }

    /// Stores the content of all files in one pass.
    pub(super) fn store_files(
        &self,
        files: &[Found],
        mut clock: i64,
        progress: &dyn Progress,
        refused: &mut Vec<Error>,
        named: &[RepoPath],
        bases: &mut Bases<'_>,
    ) -> Result<Vec<Stored>, Error> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let advance = |bytes| progress.on(Event::Bytes(bytes));
        let (read, summaries) = self.store.write(self.threads, &advance, |feeder| {
            let mut read = Vec::new();
            for found in files {
                progress.on(Event::File(found.path.as_str()));
                match self.store_file(feeder, found, &mut clock, bases) {
                    Ok(stored) => read.push(stored),
                    // A file that was named must be added; one that was met below a folder is reported.
                    Err(error @ (Error::Io { .. } | Error::Unstable(_))) if !named.contains(&found.path) => {
                        refused.push(error);
                    }
                    Err(error) => return Err(error),
                }
                progress.on(Event::FileDone);
            }
            Ok(read)
        })?;
        let pair = |((found, known), summary): ((Found, Known), FileSummary)| Stored {
            found,
            file: summary.file,
            summary: Some(summary),
            known: Some(known),
        };
        Ok(read.into_iter().zip(summaries).map(pair).collect())
    }

    /// Reads one file, again when it changes meanwhile. What is returned was true of the file at one moment.
    fn store_file(
        &self,
        feeder: &mut Feeder<'_>,
        found: &Found,
        clock: &mut i64,
        bases: &mut Bases<'_>,
    ) -> Result<(Found, Known), Error> {
        let path = found.path.below(self.need_worktree("add")?);
        for _ in 0..ATTEMPTS {
            let file = open_regular(&path).map_err(Error::io("read", &path))?;
            let Some(before) = self.settled(&file, &path, clock)? else {
                break;
            };
            let source = FileSource::new(file).map_err(Error::io("read", &path))?;
            let detected = examine(&source).map_err(Error::io("read", &path))?;
            let layout = detected.as_ref().ok().and_then(Option::as_ref);
            let regions = layout.map(Layout::regions).unwrap_or_default();
            let known = describe_layout(detected);
            let spans = plan(source.len(), &regions);
            let near = bases.of(feeder, &found.path, &regions, &known.tensors, &source)?;
            let mut hints = |offset, len, element| near.hint(self, offset, len, element);
            let content = match feeder.chunks(&source, spans, &mut hints) {
                Ok(content) => content,
                Err(IngestError::Source(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    feeder.abandon()?;
                    continue;
                }
                Err(IngestError::Source(error)) => {
                    feeder.abandon()?;
                    return Err(Error::io("read", &path)(error));
                }
                Err(error) => return Err(error.into()),
            };
            let after = source.file().metadata().map_err(Error::io("read", &path))?;
            let linked = path.symlink_metadata().map_err(Error::io("read", &path))?;
            if same_moment(&before, &after) && file_stat(&linked).inode == file_stat(&after).inode {
                feeder.end_file(content)?;
                bases.ended(&known.tensors);
                let (stat, executable) = (file_stat(&after), is_executable(&after));
                return Ok((
                    Found {
                        path: found.path.clone(),
                        stat,
                        executable,
                    },
                    known,
                ));
            }
            feeder.abandon()?;
        }
        Err(Error::Unstable(found.path.clone()))
    }

    /// What is known of an open file, once it has rested: within one tick of the file system's clock further changes
    /// would leave no trace, and a write under way had its time taken when it began. `clock` is what the clock showed
    /// last; it is asked again only for files younger than that. `None` for a file that does not rest.
    fn settled(&self, file: &File, path: &Path, clock: &mut i64) -> Result<Option<Metadata>, Error> {
        for _ in 0..TICKS {
            let metadata = file.metadata().map_err(Error::io("read", path))?;
            let changed = file_stat(&metadata).ctime;
            // A time well ahead says that the clock was set back: waiting for it would not end.
            let restless = |clock: i64| (-AHEAD..=REST).contains(&clock.saturating_sub(changed));
            if !restless(*clock) {
                return Ok(Some(metadata));
            }
            *clock = self.file_system_clock()?;
            if restless(*clock) {
                std::thread::sleep(TICK);
            }
        }
        Ok(None)
    }

    /// One transaction: what is known about the files, the stat cache, and the staging itself.
    fn stage_all(
        &self,
        files: Vec<Stored>,
        recorded: i64,
        paths: &[RepoPath],
        report: &mut AddReport,
    ) -> Result<(), Error> {
        let head = self.snapshot_within(self.head_commit()?, paths)?;
        let (removed, evicted) = (&report.removed, self.database().evicted()?);
        let added = self.database().transaction(|writer| -> Result<Vec<AddedFile>, Error> {
            let mut added = Vec::new();
            for Stored {
                found,
                summary,
                file,
                known,
            } in files
            {
                let entry = Entry {
                    file,
                    size: found.stat.size,
                    executable: found.executable,
                };
                let staged = head.get(&found.path) != Some(&entry);
                // Whoever adds a file has decided about it.
                writer.end_conflict(&found.path)?;
                if staged {
                    writer.stage(&found.path, &Staged::from(entry))?;
                } else {
                    writer.unstage(&found.path)?;
                }
                if evicted.contains(&found.path) {
                    // It is there again.
                    writer.end_eviction(&found.path)?;
                }
                if let (Some(summary), Some(known)) = (&summary, &known) {
                    writer.insert_file(
                        &known.record(summary.file, summary.content, summary.size),
                        &known.tensors,
                    )?;
                    writer.remember_stat(
                        &found.path,
                        &CachedStat {
                            stat: found.stat,
                            file,
                            recorded,
                        },
                    )?;
                }
                let (chunks, new_chunks, stored_bytes) = summary.map_or((0, 0, 0), |summary| {
                    (summary.chunks, summary.new_chunks, summary.stored_bytes)
                });
                let size = found.stat.size;
                added.push(AddedFile {
                    path: found.path,
                    file,
                    size,
                    chunks,
                    new_chunks,
                    stored_bytes,
                    staged,
                    evicted: false,
                });
            }
            for path in removed {
                writer.end_conflict(path)?;
                match head.contains_key(path) {
                    true => writer.stage(path, &Staged::Removed)?,
                    false => writer.unstage(path)?,
                }
                writer.forget_stat(path)?;
            }
            Ok(added)
        })?;
        report.files.extend(added);
        report.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(())
    }
}

/// A file whose content is in the repository.
pub(super) struct Stored {
    pub found: Found,
    pub file: FileId,
    /// `None` when the stat cache knew it.
    pub summary: Option<FileSummary>,
    pub known: Option<Known>,
}

/// What a file turned out to be while it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub format: Option<String>,
    pub parameters: Option<u64>,
    pub tensors: Vec<TensorRecord>,
    pub metadata: String,
    pub refusal: Option<String>,
}

impl Known {
    pub(super) fn record(&self, file: FileId, content: ContentHash, size: u64) -> FileRecord {
        FileRecord {
            file,
            content,
            size,
            format: self.format.clone(),
            parameters: self.parameters,
            tensors: self.tensors.len() as u64,
            metadata: self.metadata.clone(),
            refusal: self.refusal.clone(),
        }
    }
}

/// True when the stat cache proves what the file holds and the repository still has it: of one that holds only a part,
/// its manifest says little.
fn proven(found: &Found, cache: &HashMap<String, CachedStat>, repository: &Repository, partial: bool) -> bool {
    let Some(cached) = cache.get(found.path.as_str()) else {
        return false;
    };
    cached.proves(&found.stat)
        && repository.store.has(cached.file.hash()).unwrap_or(false)
        && (!partial || repository.store.holds(cached.file).unwrap_or(false))
}

/// True when nothing that the operating system tells of the open file changed while it was read.
fn same_moment(before: &std::fs::Metadata, after: &std::fs::Metadata) -> bool {
    file_stat(before) == file_stat(after)
}
