//! `log`: commits from newest to oldest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};

use super::shallow::Cuts;
use super::{Error, Repository};
use crate::object::{Commit, CommitId, RepoPath, TreeEntry};

/// A commit of the log.
#[derive(Debug, Clone)]
pub struct LoggedCommit {
    /// Its id.
    pub id: CommitId,
    /// The commit.
    pub commit: Commit,
    /// Short names of the branches that stand on it.
    pub branches: Vec<String>,
    /// Short names of the tags that stand on it.
    pub tags: Vec<String>,
    /// Branches of remembered peers that were last seen there (`origin/main`).
    pub remotes: Vec<String>,
    /// True when `HEAD` stands on it.
    pub head: bool,
    /// History is cut behind it: it has parents that are not here.
    pub cut: bool,
}

/// Short names of the refs that stand on a commit.
#[derive(Default)]
pub(super) struct Names {
    pub branches: Vec<String>,
    pub tags: Vec<String>,
    pub remotes: Vec<String>,
}

/// Walks the ancestors of commits, newest first. A commit never comes before its descendants as long as clocks
/// do not run backwards between them.
pub struct History<'a> {
    repository: &'a Repository,
    path: Option<RepoPath>,
    cuts: Cuts,
    is_cut: bool,
    names: BTreeMap<CommitId, Names>,
    head: Option<CommitId>,
    seen: HashSet<CommitId>,
    // Among commits of one second the one found first comes first: a parent never overtakes its child.
    queue: BinaryHeap<(i64, Reverse<u64>, CommitId)>,
    commits: BTreeMap<CommitId, Commit>,
    found: u64,
}

impl Repository {
    /// The history of `start`, of all commits or of those that change something at or below `path` against their
    /// first parent.
    ///
    /// # Errors
    /// When `start` or the refs cannot be read.
    pub fn history(&self, start: CommitId, path: Option<RepoPath>) -> Result<History<'_>, Error> {
        self.history_of(&[start], path)
    }

    /// The history of everything that a branch, tag, remembered peer or `HEAD` stands on.
    ///
    /// # Errors
    /// As [`Repository::history`].
    pub fn whole_history(&self, path: Option<RepoPath>) -> Result<History<'_>, Error> {
        let mut starts: Vec<CommitId> = self.refs_of_history()?.into_iter().map(|(_, commit)| commit).collect();
        starts.extend(self.head_commit()?);
        self.history_of(&starts, path)
    }

    fn history_of(&self, starts: &[CommitId], path: Option<RepoPath>) -> Result<History<'_>, Error> {
        let mut history = History {
            repository: self,
            path,
            cuts: self.store.cuts()?,
            is_cut: false,
            names: self.names_of_commits()?,
            // A damaged HEAD is no reason to show nothing.
            head: self.head_commit().ok().flatten(),
            seen: HashSet::new(),
            queue: BinaryHeap::new(),
            commits: BTreeMap::new(),
            found: 0,
        };
        starts.iter().try_for_each(|start| history.enqueue(*start))?;
        Ok(history)
    }

    /// Short names of what stands on commits.
    pub(super) fn names_of_commits(&self) -> Result<BTreeMap<CommitId, Names>, Error> {
        let mut all: BTreeMap<CommitId, Names> = BTreeMap::new();
        for (name, commit) in self.refs_of_history()? {
            let names = all.entry(commit).or_default();
            if let Some(branch) = name.strip_prefix("refs/heads/") {
                names.branches.push(branch.to_owned());
            } else if let Some(tag) = name.strip_prefix("refs/tags/") {
                names.tags.push(tag.to_owned());
            } else if let Some(branch) = name.strip_prefix("refs/remotes/") {
                names.remotes.push(branch.to_owned());
            }
        }
        Ok(all)
    }
}

impl History<'_> {
    /// True when history was met to be cut so far.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn enqueue(&mut self, id: CommitId) -> Result<(), Error> {
        if self.seen.insert(id) {
            let commit: Commit = self.repository.store.get(id)?;
            self.queue.push((commit.time.seconds, Reverse(self.found), id));
            self.found += 1;
            self.commits.insert(id, commit);
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<LoggedCommit>, Error> {
        while let Some((_, _, id)) = self.queue.pop() {
            let Some(commit) = self.commits.remove(&id) else {
                continue;
            };
            let parents = self.repository.store.parents(&self.cuts, id, &commit)?;
            for parent in &parents {
                self.enqueue(*parent)?;
            }
            let cut = parents.len() < commit.parents.len();
            self.is_cut |= cut;
            if self.touches(&commit, &parents)? {
                let Names {
                    branches,
                    tags,
                    remotes,
                } = self.names.remove(&id).unwrap_or_default();
                return Ok(Some(LoggedCommit {
                    id,
                    commit,
                    branches,
                    tags,
                    remotes,
                    head: self.head == Some(id),
                    cut,
                }));
            }
        }
        Ok(None)
    }

    /// True when the commit changes the path of interest against its first parent.
    fn touches(&self, commit: &Commit, parents: &[CommitId]) -> Result<bool, Error> {
        let Some(path) = &self.path else { return Ok(true) };
        let at = |commit: &Commit| -> Result<Option<TreeEntry>, Error> {
            self.repository.lookup(&self.repository.store.get(commit.tree)?, path)
        };
        let before = match parents.first() {
            Some(parent) => at(&self.repository.store.get(*parent)?)?,
            None => None,
        };
        let same = |one: &TreeEntry, other: &TreeEntry| one.hash == other.hash && one.kind == other.kind;
        Ok(match (before, at(commit)?) {
            (None, None) => false,
            (Some(one), Some(other)) => !same(&one, &other),
            _ => true,
        })
    }
}

impl Iterator for History<'_> {
    type Item = Result<LoggedCommit, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
