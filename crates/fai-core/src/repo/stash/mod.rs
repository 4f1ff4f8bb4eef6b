//! `stash`: what is staged and changed is put aside and brought back later, here or on another branch.
//!
//! A stash is a commit of the worktree. Its first parent is the commit that `HEAD` stood on, its second one a commit of what
//! was staged. So it is stored, kept, compared and merged like any other commit. A ref below `refs/stash/` leads to it, which
//! is nobody's branch: no listing shows it and no peer gets it. Putting aside is in `push`, bringing back in `apply`.

mod apply;
mod look;
mod push;

pub use apply::{Applied, ApplyOptions};
pub use push::{StashOptions, StashReport};

use super::branches::moved;
use super::{Error, Repository};
use crate::object::{Commit, CommitId, Time};

/// What the names of stashes begin with; a number follows that rises.
pub(super) const STASHES: &str = "refs/stash/";

/// The key of a commit's metadata that says which part of a stash it is.
const KEY: &str = "stash";

/// Something that was put aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Stash {
    /// How many newer ones there are.
    pub number: usize,
    /// The ref that keeps it.
    pub reference: String,
    /// The commit of the worktree.
    pub id: CommitId,
    /// The same, read.
    pub commit: Commit,
}

impl Stash {
    /// How people name it: `stash@{0}` is the newest.
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// The commit that `HEAD` stood on.
    ///
    /// # Errors
    /// [`Error::NoParent`] when it was not made by a stash.
    pub fn base(&self) -> Result<CommitId, Error> {
        self.parent(1)
    }

    /// The commit of what was staged.
    ///
    /// # Errors
    /// As [`Stash::base`].
    pub fn staged(&self) -> Result<CommitId, Error> {
        self.parent(2)
    }

    fn parent(&self, number: usize) -> Result<CommitId, Error> {
        let commit = self.id;
        let parent = self.commit.parents.get(number - 1);
        parent.copied().ok_or(Error::NoParent { commit, number })
    }
}

/// What a commit holds that belongs to a stash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The worktree: this is what a ref leads to.
    Worktree,
    /// What was staged.
    Staged,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Part::Worktree => "worktree",
            Part::Staged => "staged",
        }
    }
}

/// Which part of a stash a commit is.
pub(super) fn part_of_stash(commit: &Commit) -> Option<Part> {
    let said = commit.metadata.get(KEY)?.as_text()?;
    match commit.parents.len() {
        2 if said == Part::Worktree.name() => Some(Part::Worktree),
        1 if said == Part::Staged.name() => Some(Part::Staged),
        _ => None,
    }
}

impl Repository {
    /// Everything that was put aside, the newest first.
    ///
    /// # Errors
    /// When the database fails or a commit cannot be read.
    pub fn stashes(&self) -> Result<Vec<Stash>, Error> {
        let refs = self.stash_refs()?.into_iter().enumerate();
        refs.map(|(number, (_, reference, id))| self.read_stash(number, reference, id))
            .collect()
    }

    /// The stash that `text` names: `stash@{1}`, or just `1`; `stash` for the newest.
    ///
    /// # Errors
    /// [`Error::NoSuchStash`].
    pub fn stash_named(&self, text: &str) -> Result<Stash, Error> {
        let short = text.strip_prefix("refs/").unwrap_or(text);
        let inner = short.strip_prefix("stash@{").and_then(|rest| rest.strip_suffix('}'));
        let number = match inner.unwrap_or(short) {
            "stash" => Some(0),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        let refs = self.stash_refs()?;
        let found = number.and_then(|number: usize| Some((number, refs.get(number)?)));
        let (number, (_, reference, id)) = found.ok_or_else(|| Error::NoSuchStash {
            name: number.map_or_else(|| format!("stash {text:?}"), name),
            count: refs.len(),
        })?;
        self.read_stash(number, reference.clone(), *id)
    }

    /// Forgets a stash. `undo` brings it back.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when somebody else did meanwhile.
    pub fn stash_drop(&self, stash: &Stash, time: Time) -> Result<(), Error> {
        self.delete_ref(&stash.reference, stash.id, time, "stash: dropped")
    }

    /// Forgets all of them at once, and returns what is forgotten.
    ///
    /// # Errors
    /// As [`Repository::stash_drop`].
    pub fn stash_clear(&self, time: Time) -> Result<Vec<Stash>, Error> {
        let stashes = self.stashes()?;
        self.database().transaction(|writer| {
            for Stash { reference, id, .. } in &stashes {
                if !writer.move_ref(reference, Some(*id), None)? {
                    return Err(Error::RefMoved(reference.clone()));
                }
                writer.log_operation(&moved(reference, Some(*id), None, time, "stash: cleared".into()))?;
            }
            Ok(())
        })?;
        Ok(stashes)
    }

    /// The ref and the commit of the stash with this number.
    pub(super) fn stash_numbered(&self, number: usize) -> Result<(String, CommitId), Error> {
        let refs = self.stash_refs()?;
        let found = refs.get(number).map(|(_, reference, id)| (reference.clone(), *id));
        found.ok_or_else(|| Error::NoSuchStash {
            name: name(number),
            count: refs.len(),
        })
    }

    /// The number of the ref that the next stash gets.
    pub(super) fn next_stash(&self) -> Result<u64, Error> {
        Ok(self.stash_refs()?.first().map_or(1, |(number, ..)| number + 1))
    }

    /// The refs of stashes with their numbers, the newest first.
    fn stash_refs(&self) -> Result<Vec<(u64, String, CommitId)>, Error> {
        let numbered = |(name, id): (String, CommitId)| {
            let number = name.strip_prefix(STASHES)?.parse::<u64>().ok()?;
            Some((number, name, id))
        };
        let mut refs: Vec<_> = self.database().refs()?.into_iter().filter_map(numbered).collect();
        refs.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
        Ok(refs)
    }

    fn read_stash(&self, number: usize, reference: String, id: CommitId) -> Result<Stash, Error> {
        Ok(Stash {
            number,
            reference,
            id,
            commit: self.store.get(id)?,
        })
    }
}

fn name(number: usize) -> String {
    format!("stash@{{{number}}}")
}
