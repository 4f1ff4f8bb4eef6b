//! What there is to put aside: three versions of what is in scope, all of it stored.

use std::collections::BTreeMap;

use crate::database::{CachedStat, Staged};
use crate::object::{CommitId, RepoPath};
use crate::repo::add::Stored;
use crate::repo::bases::Bases;
use crate::repo::local_changes::{Verdict, judge};
use crate::repo::progress::{Event, Progress};
use crate::repo::snapshot::{Entry, Snapshot, in_scope};
use crate::repo::walk::Found;
use crate::repo::{Error, Repository};

/// Three versions of the files in scope.
#[derive(Debug)]
pub(super) struct Seen {
    /// What is committed.
    pub head: Snapshot,
    /// What the next commit would hold.
    pub index: Snapshot,
    /// What the worktree holds.
    pub worktree: Snapshot,
    /// What is staged of it.
    pub staging: BTreeMap<RepoPath, Staged>,
    /// Staged paths that are not in the worktree on purpose. They stay staged: no file says what would come back.
    pub left: Vec<RepoPath>,
    /// What of the untracked files could not be looked at.
    pub refused: Vec<Error>,
}

impl Seen {
    /// True when there is nothing to put aside.
    pub(super) fn is_clean(&self) -> bool {
        self.index == self.head && self.worktree == self.head
    }
}

impl Repository {
    /// Looks at everything at and below `paths`. What the worktree holds is durable when this returns.
    pub(super) fn see(
        &self,
        head: CommitId,
        paths: &[RepoPath],
        untracked: bool,
        progress: &dyn Progress,
    ) -> Result<Seen, Error> {
        let head = self.snapshot_within(Some(head), paths)?;
        let (mut index, mut staging) = self.expected(paths)?;
        staging.retain(|path, _| in_scope(path, paths));
        // What was removed from the next commit alone still stands in the worktree.
        let mut tracked = head.clone();
        tracked.extend(index.iter().map(|(path, entry)| (path.clone(), *entry)));
        let (found, mut missing) = self.look_at(&tracked.keys().collect::<Vec<_>>());
        let absent = self.absences()?.take(&mut missing);

        let mut worktree = tracked.clone();
        for path in &missing {
            worktree.remove(path);
        }
        let mut left = Vec::new();
        for path in absent {
            for version in [&mut index, &mut worktree] {
                match head.get(&path) {
                    Some(entry) => version.insert(path.clone(), *entry),
                    None => version.remove(&path),
                };
            }
            if staging.remove(&path).is_some() {
                left.push(path);
            }
        }

        // As `add` does: what might have changed is stored at once, instead of being read to know whether it did.
        let cache = self.stat_cache()?;
        let mut to_store: Vec<Found> = found;
        to_store.retain(|file| {
            let (entry, cached) = (tracked.get(&file.path), cache.get(file.path.as_str()));
            entry.is_none_or(|entry| judge(&file.stat, file.executable, entry, cached) != Verdict::Same)
        });
        let mut refused = Vec::new();
        if untracked {
            let walk = self.walk(paths, false)?;
            let unknown = walk.files.into_iter().filter(|file| !tracked.contains_key(&file.path));
            to_store.extend(unknown);
            refused = walk.passed.refused;
        }
        for scope in paths.iter().filter(|scope| !scope.is_root()) {
            let mut known = tracked.keys().chain(to_store.iter().map(|file| &file.path));
            if !known.any(|path| path.is_within(scope)) {
                return Err(Error::NoSuchPath(scope.as_str().into()));
            }
        }
        worktree.extend(self.store_seen(&to_store, &tracked, progress)?);
        Ok(Seen {
            head,
            index,
            worktree,
            staging,
            left,
            refused,
        })
    }

    /// Stores files as `add` would, without staging them.
    fn store_seen(&self, files: &[Found], near: &Snapshot, progress: &dyn Progress) -> Result<Snapshot, Error> {
        if files.is_empty() {
            return Ok(Snapshot::new());
        }
        progress.on(Event::Total {
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.stat.size).sum(),
        });
        let recorded = self.file_system_clock()?;
        // One that cannot be read stops everything: it could not be brought back.
        let named: Vec<RepoPath> = files.iter().map(|file| file.path.clone()).collect();
        let mut bases = Bases::new(self, near, Vec::new());
        let stored = self.store_files(files, recorded, progress, &mut Vec::new(), &named, &mut bases)?;
        self.database().transaction(|writer| -> Result<Snapshot, Error> {
            let mut entries = Snapshot::new();
            for Stored {
                found,
                file,
                summary,
                known,
            } in stored
            {
                if let (Some(summary), Some(known)) = (summary, known) {
                    let record = known.record(summary.file, summary.content, summary.size);
                    writer.insert_file(&record, &known.tensors)?;
                }
                // Whoever keeps what is about to be overwritten need not read it again.
                let stat = found.stat;
                writer.remember_stat(&found.path, &CachedStat { stat, file, recorded })?;
                let (size, executable) = (stat.size, found.executable);
                entries.insert(found.path, Entry { file, size, executable });
            }
            Ok(entries)
        })
    }
}
