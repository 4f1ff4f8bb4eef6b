//! Which files of the worktree differ from what they should hold: by the stat cache where it can vouch for them, by
//! reading them where it cannot.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::progress::{Event, Progress};
use super::snapshot::{Entry, Snapshot};
use super::walk::Found;
use super::worktree::{Looker, hash_file};
use super::{Error, Repository};
use crate::database::{CachedStat, FileStat};
use crate::object::{Manifest, RepoPath};

/// What can be said of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Modified,
    /// Only its content can tell.
    Unsure,
}

/// Judges a file by what it should be and what is remembered of it.
pub(super) fn judge(stat: &FileStat, executable: bool, entry: &Entry, cached: Option<&CachedStat>) -> Verdict {
    if stat.size != entry.size || executable != entry.executable {
        return Verdict::Modified;
    }
    match cached.filter(|cached| cached.proves(stat)) {
        Some(cached) if cached.file == entry.file => Verdict::Same,
        Some(_) => Verdict::Modified,
        None => Verdict::Unsure,
    }
}

impl Repository {
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
            match judge(&file.stat, file.executable, &entry, cache.get(file.path.as_str())) {
                Verdict::Same => {}
                Verdict::Modified => modified.push(file.path.clone()),
                Verdict::Unsure => unsure.push((file, entry)),
            }
        }
        modified.extend(self.unlike(&unsure, progress)?);
        modified.sort();
        Ok(modified)
    }

    /// Reads files, on all cores, and returns those whose content is not that of their entries. The stat cache learns
    /// of the others.
    pub(super) fn unlike(&self, files: &[(&Found, Entry)], progress: &dyn Progress) -> Result<Vec<RepoPath>, Error> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = files.iter().map(|(file, _)| file.stat.size).sum();
        progress.on(Event::Total {
            files: files.len() as u64,
            bytes,
        });
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
        let (mut same, mut modified) = (Vec::new(), Vec::new());
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
                .try_for_each(|(found, cached)| writer.remember_stat(&found.path, cached))
        })?;
        Ok(modified)
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

pub(super) type StatCache = HashMap<String, CachedStat>;
