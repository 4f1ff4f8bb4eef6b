//! Branches and tags as others see them, the repository's own id, and what leads to what.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;

use super::durable::{lock, replace_file};
use super::{Error, Head, Repository, Store};
use crate::object::{CommitId, Hash, Id};

/// Names a repository wherever its copies are: made by chance at `init`, kept by clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId(Hash);

impl RepositoryId {
    /// Wraps 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hash::from_bytes(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.0.short()
    }

    pub(super) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| Error::io("read", "/dev/urandom".as_ref())(error.into()))?;
        Ok(Self::from_bytes(bytes))
    }
}

impl std::fmt::Display for RepositoryId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl std::str::FromStr for RepositoryId {
    type Err = crate::object::ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Repository {
    /// The repository's id. One that was made before there were ids gets its own now.
    ///
    /// # Errors
    /// When it cannot be read or written, or the file with it is damaged.
    pub fn id(&self) -> Result<RepositoryId, Error> {
        let path = self.directory.join("id");
        let read = || match fs::read_to_string(&path) {
            Ok(text) => text.trim_end().parse().map(Some).map_err(|_| Error::BadConfig {
                path: path.clone(),
                reason: "does not hold a repository's id".into(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        };
        if let Some(id) = read()? {
            return Ok(id);
        }
        let _exclusive = lock(&self.directory.join("commit.lock"), false)?;
        if let Some(id) = read()? {
            return Ok(id);
        }
        let id = RepositoryId::random()?;
        replace_file(&path, format!("{id}\n").as_bytes())?;
        Ok(id)
    }

    /// Gives the repository the id of the one that it is a copy of by now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn become_copy_of(&self, id: RepositoryId) -> Result<(), Error> {
        let _exclusive = lock(&self.directory.join("commit.lock"), false)?;
        replace_file(&self.directory.join("id"), format!("{id}\n").as_bytes())
    }

    /// All branches (`refs/heads/...`) and tags (`refs/tags/...`) by name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn refs(&self) -> Result<Vec<(String, CommitId)>, Error> {
        let mut refs = self.database().refs()?;
        // What peers were seen to have, and what was put aside, is nobody else's business.
        refs.retain(|(name, _)| name.starts_with("refs/heads/") || name.starts_with("refs/tags/"));
        Ok(refs)
    }

    /// All refs but stashes: what is part of the history that people look at.
    pub(super) fn refs_of_history(&self) -> Result<Vec<(String, CommitId)>, Error> {
        let mut refs = self.database().refs()?;
        refs.retain(|(name, _)| !name.starts_with(super::stash::STASHES));
        Ok(refs)
    }

    /// Makes `branch` (its full name) the current one. Nothing in the worktree changes.
    ///
    /// # Errors
    /// When it is no branch's name, or `HEAD` cannot be written.
    pub fn point_head_at(&self, branch: &str) -> Result<(), Error> {
        check_ref_name(branch)?;
        if !branch.starts_with("refs/heads/") {
            return Err(Error::Usage(format!("{branch:?} is no branch")));
        }
        self.write_head(&Head::Branch(branch.to_owned()))
    }
}

impl Store {
    /// The commits that `newer` leads to and that none of `have` leads to. Where history is cut, it ends.
    ///
    /// # Errors
    /// When a commit among them is missing.
    pub fn commits_between(&self, have: &[CommitId], newer: CommitId) -> Result<HashSet<CommitId>, Error> {
        let cuts = self.cuts()?;
        let mut had = HashSet::new();
        let mut waiting = have.to_vec();
        while let Some(id) = waiting.pop() {
            // What is not here leads to nothing that is.
            if self.has(id.hash())? && had.insert(id) {
                waiting.extend(self.parents(&cuts, id, &self.get(id)?)?);
            }
        }
        let mut found = HashSet::new();
        waiting.push(newer);
        while let Some(id) = waiting.pop() {
            if !had.contains(&id) && found.insert(id) {
                waiting.extend(self.parents(&cuts, id, &self.get(id)?)?);
            }
        }
        Ok(found)
    }

    /// True when `older` is `newer` or one of its ancestors, as far as history goes back here.
    ///
    /// # Errors
    /// When a commit between them is missing.
    pub fn is_ancestor(&self, older: CommitId, newer: CommitId) -> Result<bool, Error> {
        let cuts = self.cuts()?;
        let (mut seen, mut waiting) = (HashSet::new(), vec![newer]);
        while let Some(id) = waiting.pop() {
            if id == older {
                return Ok(true);
            }
            if seen.insert(id) {
                waiting.extend(self.parents(&cuts, id, &self.get(id)?)?);
            }
        }
        Ok(false)
    }
}

/// The full names that `name` may stand for, as people type it; the first one that exists is meant.
pub fn ref_candidates(name: &str) -> impl Iterator<Item = String> {
    let prefixes = ["", "refs/", "refs/heads/", "refs/tags/", "refs/remotes/"];
    prefixes.into_iter().map(move |prefix| format!("{prefix}{name}"))
}

/// Checks the full name of a branch or tag, which may come from anyone: `refs/heads/` or `refs/tags/` and one or more
/// names, each valid in a tree.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_ref_name(name: &str) -> Result<(), Error> {
    let short = name
        .strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/tags/"))
        .filter(|short| !short.is_empty() && short.len() <= 255)
        .ok_or_else(|| Error::Usage(format!("{name:?} is no branch and no tag")))?;
    for part in short.split('/') {
        crate::object::check_name(part).map_err(|error| Error::Usage(format!("{name:?}: {error}")))?;
        let special = |c: char| c.is_whitespace() || "~^:?*[@{".contains(c);
        if part.starts_with(['-', '.']) || part.contains(special) {
            return Err(Error::Usage(format!(
                "{name:?} holds characters that mean something else in a revision"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ref_names_are_checked() {
        for good in ["refs/heads/main", "refs/tags/v1.0", "refs/heads/team/fine-tune_2"] {
            assert!(check_ref_name(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "main",
            "refs/heads/",
            "refs/heads/..",
            "refs/heads/a/../b",
            "refs/heads/a b",
            "refs/heads/-x",
            "refs/heads/a//b",
            "refs/heads/HEAD~1",
            "refs/remotes/x",
            "refs/heads/con",
            "refs/heads/a\nb",
        ];
        for bad in bad {
            assert!(check_ref_name(bad).is_err(), "{bad:?}");
        }
    }
}
