//! Follows what commits were made from, as a tree. What was recorded without an id (by older versions, or by hand) is
//! resolved now, and may lead anywhere: no commit is entered twice on one way, and no way is endless.

use super::super::{Error, Repository};
use super::record::base_of;
use super::{CodeRevision, Origin};
use crate::object::{Commit, CommitId, RepoPath, Time, Value};

/// Steps of a way at the most.
const MAX_DEPTH: usize = 64;

/// Commits of a tree at the most.
const MAX_COMMITS: usize = 1000;

/// Datasets of a commit that are followed at the most.
const MAX_DATASETS: usize = 256;

/// A commit and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The commit.
    pub commit: CommitId,
    /// When it was made.
    pub time: Time,
    /// The first line of its message.
    pub title: String,
    /// What was fine-tuned.
    pub base: Option<Link>,
    /// What it was trained on.
    pub datasets: Vec<Link>,
    /// With which code.
    pub code: Option<CodeRevision>,
}

/// Something that a commit was made from, and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What was recorded.
    pub origin: Origin,
    /// The commit that made it.
    pub ancestor: Ancestor,
}

/// The commit that made something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ancestor {
    /// Nothing in this repository: the name of something elsewhere.
    Elsewhere,
    /// The commit that it is a part of.
    Same,
    /// Another one.
    Commit(Box<Lineage>),
    /// One that stands in the tree already, or further down than anybody looks.
    Known(CommitId),
    /// One that is not here.
    Missing(CommitId),
}

struct Walk<'a> {
    repository: &'a Repository,
    way: Vec<CommitId>,
    left: usize,
}

impl Repository {
    /// Where the commit `commit` comes from; with `path`, the commit that last changed what is there.
    ///
    /// # Errors
    /// When nothing is at `path`, or the repository cannot be read.
    pub fn lineage(&self, commit: CommitId, path: Option<&RepoPath>) -> Result<Lineage, Error> {
        let start = match path {
            None => commit,
            Some(path) => {
                let held = self.lookup(&self.tree_of(Some(commit))?, path)?;
                let maker = match held {
                    Some(_) => self.maker(commit, path)?,
                    None => None,
                };
                maker.ok_or_else(|| Error::NotInRevision {
                    path: path.clone(),
                    revision: commit.short(),
                })?
            }
        };
        let mut walk = Walk {
            repository: self,
            way: Vec::new(),
            left: MAX_COMMITS,
        };
        walk.lineage(start)
    }

    /// The commit that made what stands at `path` in `commit`.
    fn maker(&self, commit: CommitId, path: &RepoPath) -> Result<Option<CommitId>, Error> {
        let newest = self.history(commit, Some(path.clone()))?.next().transpose()?;
        Ok(newest.map(|logged| logged.id))
    }
}

impl Walk<'_> {
    fn lineage(&mut self, id: CommitId) -> Result<Lineage, Error> {
        let commit: Commit = self.repository.store().get(id)?;
        self.way.push(id);
        self.left = self.left.saturating_sub(1);
        let base = base_of(&commit).map(|origin| self.link(id, origin, true)).transpose()?;
        let recorded = match commit.metadata.get("datasets") {
            Some(Value::List(items)) => items.iter().filter_map(Origin::from_value).take(MAX_DATASETS).collect(),
            _ => Vec::new(),
        };
        let mut datasets = Vec::new();
        for origin in recorded {
            datasets.push(self.link(id, origin, false)?);
        }
        self.way.pop();
        Ok(Lineage {
            commit: id,
            time: commit.time,
            title: commit.title().to_owned(),
            base,
            datasets,
            code: commit.metadata.get("code").and_then(CodeRevision::from_value),
        })
    }

    /// Follows what was recorded in commit `id`.
    fn link(&mut self, id: CommitId, mut origin: Origin, is_base: bool) -> Result<Link, Error> {
        if is_base && origin.file.is_none() && origin.commit.is_none() {
            origin = self.repository.origin(&origin.text)?;
        }
        let Some(path) = origin.path.clone() else {
            let ancestor = Ancestor::Elsewhere;
            return Ok(Link { origin, ancestor });
        };
        let from = origin.commit.unwrap_or(id);
        let maker = match self.repository.maker(from, &path) {
            Ok(maker) => maker.unwrap_or(from),
            Err(Error::Missing { .. } | Error::Cut(_)) => from,
            Err(error) => return Err(error),
        };
        let ancestor = if maker == id {
            Ancestor::Same
        } else if self.way.contains(&maker) || self.way.len() >= MAX_DEPTH || self.left == 0 {
            Ancestor::Known(maker)
        } else {
            match self.lineage(maker) {
                Ok(lineage) => Ancestor::Commit(Box::new(lineage)),
                Err(Error::Missing { .. }) => {
                    self.way.retain(|on_the_way| *on_the_way != maker);
                    Ancestor::Missing(maker)
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Link { origin, ancestor })
    }
}
