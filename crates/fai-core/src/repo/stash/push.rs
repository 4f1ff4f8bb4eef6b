//! Putting aside: the stash is stored and has its name before anything else changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::look::Seen;
use super::{KEY, Part, STASHES, Stash};
use crate::database::FileStat;
use crate::object::{Author, Commit, CommitId, Id, Kind, Object, RepoPath, Time, TreeId, Value};
use crate::repo::branches::moved;
use crate::repo::checkout::changed_paths;
use crate::repo::durable::lock;
use crate::repo::keep::Unkept;
use crate::repo::materialize::Target;
use crate::repo::progress::Progress;
use crate::repo::reset::staged_between;
use crate::repo::snapshot::{Snapshot, write_tree};
use crate::repo::{Error, Head, Repository};

/// How much of a commit's title stands in the name of what was put aside on it, in characters.
const LONGEST_TITLE: usize = 200;

/// What to put aside, and how to call it.
#[derive(Debug, Clone)]
pub struct StashOptions {
    /// What it is; by default the commit that it was put aside on.
    pub message: Option<String>,
    /// Also files that are neither tracked nor ignored.
    pub untracked: bool,
    /// Who.
    pub author: Author,
    /// When.
    pub time: Time,
}

/// What was put aside.
#[derive(Debug)]
pub struct StashReport {
    /// The stash; `None` when there was nothing.
    pub stash: Option<Stash>,
    /// Files written.
    pub written: u64,
    /// Files removed.
    pub removed: u64,
    /// Staged paths that stay staged, because their files are not in the worktree on purpose.
    pub left: Vec<RepoPath>,
    /// Untracked names and folders that could not be looked at, and stay.
    pub refused: Vec<Error>,
}

impl Repository {
    /// Puts aside what is staged and what is changed at and below `paths`, or everywhere when there are none; worktree and
    /// staging are then as `HEAD` has them.
    ///
    /// # Errors
    /// [`Error::NoCommits`], [`Error::Underway`]; [`Error::NoSuchPath`] for a path without tracked files;
    /// [`Error::LocalChanges`] when something that is not put aside stands where a file of `HEAD` belongs. Nothing is
    /// changed then. When files cannot be written.
    pub fn stash_push(
        &self,
        paths: &[RepoPath],
        options: &StashOptions,
        progress: &dyn Progress,
    ) -> Result<StashReport, Error> {
        let root = self.need_worktree("stash")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let _commits = lock(&self.directory.join("commit.lock"), false)?;
        self.nothing_underway()?;
        let head = self.head()?;
        let Some(base) = self.head_commit()? else {
            return Err(Error::NoCommits(head.branch().unwrap_or("HEAD").to_owned()));
        };
        let mut seen = self.see(base, paths, options.untracked, progress)?;
        let mut report = StashReport {
            stash: None,
            written: 0,
            removed: 0,
            left: std::mem::take(&mut seen.left),
            refused: std::mem::take(&mut seen.refused),
        };
        if seen.is_clean() {
            return Ok(report);
        }
        let changed = changed_paths(&seen.worktree, &seen.head);
        self.refuse_what_stands(&seen, &changed)?;
        let stash = self.write_stash(&head, base, &seen, options)?;
        match self.leave(&root, &seen, &changed, progress) {
            Ok((written, removed)) => (report.written, report.removed) = (written, removed),
            Err(error) => {
                // When all is as it was, it is not put aside either.
                let files = pick(&seen.worktree, &changed);
                if self.differing(&files)?.is_empty() {
                    self.delete_ref(&stash.reference, stash.id, options.time, "stash: given up")?;
                }
                return Err(error);
            }
        }
        report.stash = Some(stash);
        Ok(report)
    }

    /// Refuses when something that was not seen stands where a file of `HEAD` belongs.
    fn refuse_what_stands(&self, seen: &Seen, changed: &BTreeSet<RepoPath>) -> Result<(), Error> {
        let mut blocked = self.blocked_folders(&seen.head, &seen.worktree, changed);
        for path in changed.iter().filter(|path| seen.head.contains_key(*path)) {
            if self.is_in_the_way(path, &seen.worktree, changed)? {
                blocked.push(path.clone());
            }
        }
        blocked.sort();
        blocked.dedup();
        match blocked.is_empty() {
            true => Ok(()),
            false => Err(Error::LocalChanges(blocked)),
        }
    }

    /// Stores both commits, and gives the stash its ref.
    fn write_stash(&self, head: &Head, base: CommitId, seen: &Seen, options: &StashOptions) -> Result<Stash, Error> {
        let on = head.branch().unwrap_or("(no branch)");
        let title: String = self
            .store
            .get::<Commit>(base)?
            .title()
            .chars()
            .take(LONGEST_TITLE)
            .collect();
        let place = format!("{on}: {} {title}", base.short());
        let message = match &options.message {
            Some(text) => format!("On {on}: {text}"),
            None => format!("WIP on {place}"),
        };
        let commit = |part: Part, parents, message| Commit {
            tree: TreeId::of(&[]),
            parents,
            author: options.author.clone(),
            time: options.time,
            message,
            metadata: BTreeMap::from([(KEY.to_owned(), Value::Text(part.name().to_owned()))]),
            signature: None,
        };
        let staged = commit(Part::Staged, vec![base], format!("index on {place}"));
        let worktree = commit(Part::Worktree, Vec::new(), message);
        worktree.validate().map_err(Error::BadCommit)?;
        let tree = self.tree_of(Some(base))?;
        let (in_index, in_worktree) = (
            staged_between(&seen.head, &seen.index),
            staged_between(&seen.head, &seen.worktree),
        );
        let (commit, _) = self.store.write(1, &|_| (), |feeder| {
            let staged = Commit {
                tree: write_tree(&self.store, feeder, &tree, &in_index)?,
                ..staged
            };
            feeder.object(Kind::Commit, staged.encode())?;
            let worktree = Commit {
                tree: write_tree(&self.store, feeder, &tree, &in_worktree)?,
                parents: vec![base, staged.id()],
                ..worktree
            };
            feeder.object(Kind::Commit, worktree.encode())?;
            Ok(worktree)
        })?;
        let (id, reference) = (commit.id(), format!("{STASHES}{}", self.next_stash()?));
        let title = commit.title().to_owned();
        self.database().transaction(|writer| {
            if !writer.move_ref(&reference, None, Some(id))? {
                return Err(Error::RefMoved(reference.clone()));
            }
            let command = format!("stash: {title}");
            Ok(writer.log_operation(&moved(&reference, None, Some(id), options.time, command))?)
        })?;
        self.read_stash(0, reference, id)
    }

    /// Brings worktree and staging back to what `HEAD` has. Returns how many files were written and removed.
    fn leave(
        &self,
        root: &Path,
        seen: &Seen,
        changed: &BTreeSet<RepoPath>,
        progress: &dyn Progress,
    ) -> Result<(u64, u64), Error> {
        let back = pick(&seen.head, changed);
        let targets: Vec<Target> = back
            .iter()
            .map(|(path, entry)| Target {
                path: path.clone(),
                entry: *entry,
            })
            .collect();
        let gone: Vec<RepoPath> = changed
            .iter()
            .filter(|path| !back.contains_key(*path))
            .cloned()
            .collect();
        let placed: Vec<(RepoPath, FileStat)> = self.write_worktree(root, &targets, &gone, Unkept::Refuse, progress)?;
        self.remember(&placed, &back, &gone, &seen.staging, |_| false)?;
        Ok((placed.len() as u64, gone.len() as u64))
    }
}

/// The files of a snapshot at these paths.
pub(super) fn pick(files: &Snapshot, paths: &BTreeSet<RepoPath>) -> Snapshot {
    let entry = |path: &RepoPath| Some((path.clone(), *files.get(path)?));
    paths.iter().filter_map(entry).collect()
}
