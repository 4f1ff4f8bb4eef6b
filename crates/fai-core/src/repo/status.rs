//! `status`: what is staged, what differs in the worktree, what is unknown there.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::progress::{Event, Progress};
use super::snapshot::{Entry, Snapshot, overlay};
use super::walk::{Found, Walk};
use super::worktree::{Looker, hash_file};
use super::{Error, Head, Repository};
use crate::database::{CachedStat, Staged};
use crate::object::{CommitId, Manifest, RepoPath};

/// Where the worktree stands.
#[derive(Debug)]
pub struct Status {
    /// Where `HEAD` is.
    pub head: Head,
    /// The commit there, if any.
    pub commit: Option<CommitId>,
    /// What the next commit changes.
    pub staged: Vec<StatusEntry>,
    /// Tracked files whose content or executable bit differs from what is staged or committed.
    pub modified: Vec<RepoPath>,
    /// Tracked files that are gone.
    pub deleted: Vec<RepoPath>,
    /// Files that are neither tracked nor ignored.
    pub untracked: Vec<RepoPath>,
    /// Symbolic links, which are never tracked.
    pub symlinks: Vec<RepoPath>,
    /// Names and folders that could not be looked at.
    pub refused: Vec<Error>,
}

/// A staged change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// The path.
    pub path: RepoPath,
    /// `added`, `modified` or `removed`.
    pub change: &'static str,
    /// The file that will be there; for a removal, the one that was.
    pub entry: Entry,
}

impl Repository {
    /// Compares `HEAD`, staging and worktree. Reads only files that the stat cache cannot vouch for.
    ///
    /// # Errors
    /// When the repository is bare or cannot be read.
    pub fn status(&self, progress: &dyn Progress) -> Result<Status, Error> {
        self.need_worktree("status")?;
        let (head, commit) = (self.head()?, self.head_commit()?);
        // The walk waits for the file system, the rest for the database: they go on side by side.
        let (walk, known) = std::thread::scope(|scope| {
            let walk = scope.spawn(|| self.walk(&[], false));
            let known = self.committed_and_staged(commit);
            (
                walk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                known,
            )
        });
        let (walk, (committed, staging, cache)) = (walk?, known?);
        let staged = staged_changes(&committed, &staging);
        let mut expected = committed;
        overlay(&mut expected, &staging);

        let Sides {
            mut both,
            untracked,
            unmet,
        } = join(&walk.files, &expected);
        // Tracked files that an ignore rule hides are looked at one by one.
        let (hidden, deleted) = self.look_at(&unmet);
        both.extend(
            hidden
                .iter()
                .filter_map(|file| Some((file, *expected.get(&file.path)?))),
        );
        let modified = self.modified(&cache, both, progress)?;
        let Walk { symlinks, refused, .. } = walk;
        Ok(Status {
            head,
            commit,
            staged,
            modified,
            deleted,
            untracked,
            symlinks,
            refused,
        })
    }

    /// Which of `expected`'s paths hold something else than they should, or nothing. Reads what it must.
    pub(super) fn changed_locally(&self, expected: &Snapshot) -> Result<Vec<RepoPath>, Error> {
        let paths: Vec<&RepoPath> = expected.keys().collect();
        let (found, _) = self.look_at(&paths);
        let pairs = found.iter().filter_map(|file| Some((file, *expected.get(&file.path)?)));
        self.modified(&self.stat_cache()?, pairs.collect(), &super::Silent)
    }

    /// Stats paths one by one: which are regular files, and which are not there or something else. A path that may
    /// not be looked at is neither.
    pub(super) fn look_at(&self, paths: &[&RepoPath]) -> (Vec<Found>, Vec<RepoPath>) {
        let root = self.worktree.clone().unwrap_or_default();
        let mut looker = Looker::new(&root);
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for path in paths {
            match looker.look(path) {
                Ok(metadata) if metadata.is_file() => {
                    let (stat, executable) = (
                        super::worktree::file_stat(&metadata),
                        super::worktree::is_executable(&metadata),
                    );
                    found.push(Found {
                        path: (*path).clone(),
                        stat,
                        executable,
                    });
                }
                Ok(_) => missing.push((*path).clone()),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    missing.push((*path).clone());
                }
                Err(_) => {}
            }
        }
        (found, missing)
    }

    fn committed_and_staged(&self, commit: Option<CommitId>) -> Result<(Snapshot, Staging, StatCache), Error> {
        Ok((self.snapshot(commit)?, self.database().staging()?, self.stat_cache()?))
    }

    pub(super) fn stat_cache(&self) -> Result<StatCache, Error> {
        Ok(self.database().stat_cache()?)
    }

    /// The files that differ from their entries; the stat cache learns of those that were read and do not.
    pub(super) fn modified(
        &self,
        cache: &StatCache,
        files: Vec<(&Found, Entry)>,
        progress: &dyn Progress,
    ) -> Result<Vec<RepoPath>, Error> {
        let (mut modified, mut unsure) = (Vec::new(), Vec::new());
        for (file, entry) in files {
            let cached = cache.get(file.path.as_str()).filter(|cached| cached.proves(&file.stat));
            let same = cached.map(|cached| cached.file == entry.file);
            if file.stat.size != entry.size || file.executable != entry.executable || same == Some(false) {
                modified.push(file.path.clone());
            } else if same.is_none() {
                unsure.push((file, entry));
            }
        }
        if !unsure.is_empty() {
            let bytes = unsure.iter().map(|(file, _)| file.stat.size).sum();
            progress.on(Event::Total {
                files: unsure.len() as u64,
                bytes,
            });
            self.compare_contents(&unsure, &mut modified, progress)?;
        }
        modified.sort();
        Ok(modified)
    }

    /// Reads files and compares their content hashes, on all cores.
    fn compare_contents(
        &self,
        files: &[(&Found, Entry)],
        modified: &mut Vec<RepoPath>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let recorded = self.file_system_clock()?;
        let root = self.worktree.clone().unwrap_or_default();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.min(files.len()) {
                scope.spawn(|| {
                    while let Some((found, entry)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let same = self.holds(&found.path.below(&root), entry, progress);
                        results
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push((*found, *entry, same));
                        progress.on(Event::FileDone);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut same = Vec::new();
        for (found, entry, result) in results {
            if result? {
                same.push((
                    found,
                    CachedStat {
                        stat: found.stat,
                        file: entry.file,
                        recorded,
                    },
                ));
            } else {
                modified.push(found.path.clone());
            }
        }
        self.database().transaction(|writer| {
            same.iter()
                .try_for_each(|(found, cached)| Ok(writer.remember_stat(&found.path, cached)?))
        })
    }

    /// True when the file at `path` has the content of `entry`.
    fn holds(&self, path: &std::path::Path, entry: &Entry, progress: &dyn Progress) -> Result<bool, Error> {
        let content = self.store.get::<Manifest>(entry.file)?.content;
        match hash_file(path, progress) {
            Ok((_, found)) => Ok(found == content),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }
}

type Staging = BTreeMap<RepoPath, Staged>;
type StatCache = HashMap<String, CachedStat>;

/// Files of the worktree beside what is expected there.
struct Sides<'a> {
    both: Vec<(&'a Found, Entry)>,
    untracked: Vec<RepoPath>,
    unmet: Vec<&'a RepoPath>,
}

/// Walks two sorted lists side by side.
fn join<'a>(found: &'a [Found], expected: &'a Snapshot) -> Sides<'a> {
    let mut sides = Sides {
        both: Vec::new(),
        untracked: Vec::new(),
        unmet: Vec::new(),
    };
    let mut expected = expected.iter().peekable();
    for file in found {
        while let Some((path, _)) = expected.next_if(|(path, _)| **path < file.path) {
            sides.unmet.push(path);
        }
        match expected.next_if(|(path, _)| **path == file.path) {
            Some((_, entry)) => sides.both.push((file, *entry)),
            None => sides.untracked.push(file.path.clone()),
        }
    }
    sides.unmet.extend(expected.map(|(path, _)| path));
    sides
}

/// What `staging` changes against what is committed. An entry that restores what is committed changes nothing.
pub(super) fn staged_changes(committed: &Snapshot, staging: &Staging) -> Vec<StatusEntry> {
    let change = |(path, staged): (&RepoPath, &Staged)| {
        let before = committed.get(path);
        let (change, entry) = match (*staged, before) {
            (Staged::File { file, size, executable }, before) => {
                let entry = Entry { file, size, executable };
                match before {
                    Some(before) if *before == entry => return None,
                    Some(_) => ("modified", entry),
                    None => ("added", entry),
                }
            }
            (Staged::Removed, Some(before)) => ("removed", *before),
            (Staged::Removed, None) => return None,
        };
        Some(StatusEntry {
            path: path.clone(),
            change,
            entry,
        })
    };
    staging.iter().filter_map(change).collect()
}
