//! `HEAD`: the current branch, or a commit when detached. The only place that says so.

use std::fs;

use super::durable::replace_file;
use super::{Error, Repository};
use crate::object::CommitId;

/// Where the repository stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// On a branch, named in full (`refs/heads/main`), which may have no commit yet.
    Branch(String),
    /// On a commit.
    Detached(CommitId),
}

impl Head {
    /// The branch's short name, or `None` when detached.
    pub fn branch(&self) -> Option<&str> {
        match self {
            Head::Branch(name) => Some(name.strip_prefix("refs/heads/").unwrap_or(name)),
            Head::Detached(_) => None,
        }
    }
}

impl Repository {
    /// Reads `HEAD`.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn head(&self) -> Result<Head, Error> {
        let path = self.directory.join("HEAD");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let text = text.trim_end();
        match text.strip_prefix("ref: ") {
            Some(name) if name.starts_with("refs/heads/") => Ok(Head::Branch(name.to_owned())),
            _ => text.parse().map(Head::Detached).map_err(|_| Error::BadHead(path)),
        }
    }

    /// The commit that `HEAD` stands on, or `None` on a branch without commits.
    ///
    /// # Errors
    /// As [`Repository::head`], or when the database fails.
    pub fn head_commit(&self) -> Result<Option<CommitId>, Error> {
        match self.head()? {
            Head::Branch(name) => Ok(self.database().read_ref(&name)?),
            Head::Detached(commit) => Ok(Some(commit)),
        }
    }

    pub(super) fn write_head(&self, head: &Head) -> Result<(), Error> {
        let text = match head {
            Head::Branch(name) => format!("ref: {name}\n"),
            Head::Detached(commit) => format!("{commit}\n"),
        };
        replace_file(&self.directory.join("HEAD"), text.as_bytes())
    }
}
