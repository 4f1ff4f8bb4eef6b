//! `status`: what is staged, what differs in the worktree, what is unknown there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::progress::{Event, Progress};
use super::snapshot::{Entry, Snapshot, overlay};
use super::worktree::{Found, Walk, hash_file};
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
        let committed = self.snapshot(commit)?;
        let staging = self.database().staging()?;
        let staged = staged_changes(&committed, &staging);
        let mut expected = committed;
        overlay(&mut expected, &staging);

        let walk = self.walk(&[], false)?;
        let mut found: BTreeMap<&RepoPath, &Found> = BTreeMap::new();
        for file in &walk.files {
            found.insert(&file.path, file);
        }
        let untracked = found
            .keys()
            .filter(|path| !expected.contains_key(**path))
            .map(|path| (*path).clone())
            .collect();
        let unseen: Vec<&RepoPath> = expected.keys().filter(|path| !found.contains_key(*path)).collect();
        // Tracked files that an ignore rule hides are looked at one by one.
        let (hidden, deleted) = self.look_at(&unseen);
        let candidates = found
            .values()
            .copied()
            .filter(|file| expected.contains_key(&file.path))
            .chain(&hidden);
        let modified = self.modified(&expected, candidates.collect(), progress)?;
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
        self.modified(expected, found.iter().collect(), &super::Silent)
    }

    /// Stats paths one by one: what is there, and what is not.
    pub(super) fn look_at(&self, paths: &[&RepoPath]) -> (Vec<Found>, Vec<RepoPath>) {
        let root = self.worktree.clone().unwrap_or_default();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for path in paths {
            match path.below(&root).symlink_metadata() {
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
                _ => missing.push((*path).clone()),
            }
        }
        (found, missing)
    }

    /// The files that differ from what `expected` says of them; the stat cache learns of those that do not.
    pub(super) fn modified(
        &self,
        expected: &Snapshot,
        files: Vec<&Found>,
        progress: &dyn Progress,
    ) -> Result<Vec<RepoPath>, Error> {
        let cache = self.database().stat_cache()?;
        let (mut modified, mut unsure) = (Vec::new(), Vec::new());
        for file in files {
            let Some(entry) = expected.get(&file.path) else {
                continue;
            };
            let cached = cache.get(file.path.as_str()).filter(|cached| cached.proves(&file.stat));
            let same = cached.map(|cached| cached.file == entry.file);
            if file.stat.size != entry.size || file.executable != entry.executable || same == Some(false) {
                modified.push(file.path.clone());
            } else if same.is_none() {
                unsure.push((file, *entry));
            }
        }
        if !unsure.is_empty() {
            let bytes = unsure.iter().map(|(file, _)| file.stat.size).sum();
            progress.on(Event::Total {
                files: unsure.len() as u64,
                bytes,
            });
            self.compare_contents(&unsure, &mut modified, progress)?;
            modified.sort();
        }
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }
}

/// What `staging` changes against what is committed. An entry that restores what is committed changes nothing.
pub(super) fn staged_changes(committed: &Snapshot, staging: &BTreeMap<RepoPath, Staged>) -> Vec<StatusEntry> {
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
