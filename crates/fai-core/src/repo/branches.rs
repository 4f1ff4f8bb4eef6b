//! Branches: making, renaming and deleting them, and standing on another one.

use super::checkout::Switching;
use super::progress::Progress;
use super::upstream::Upstream;
use super::{CheckoutReport, Error, Head, Repository, check_ref_name};
use crate::database::{Operation, Writer};
use crate::object::{CommitId, Time};

const HEADS: &str = "refs/heads/";

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its short name.
    pub name: String,
    /// Where it stands.
    pub commit: CommitId,
    /// True when `HEAD` stands on it.
    pub current: bool,
    /// Which branch of a peer it follows.
    pub upstream: Option<Upstream>,
}

/// Where to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchTo {
    /// On a branch, by its short name.
    Branch(String),
    /// On a new branch.
    New {
        /// Its short name.
        name: String,
        /// Where it begins; `HEAD` without it.
        start: Option<CommitId>,
        /// What it follows.
        upstream: Option<Upstream>,
    },
    /// On a commit itself.
    Commit(CommitId),
}

/// Checks the name of a branch or tag that somebody wants to make: what [`check_ref_name`] asks, and what Git asks besides.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_new_ref(full: &str) -> Result<(), Error> {
    let short = short_name(full);
    let bad = |why: &str| {
        Err(Error::Usage(format!(
            "{short:?} cannot be the name of a branch or tag: {why}"
        )))
    };
    if short.is_empty() {
        return bad("it is empty");
    }
    check_ref_name(full)?;
    if short == "HEAD" {
        return bad("HEAD means where you stand");
    }
    if short.contains("..") {
        return bad("two dots mean a range");
    }
    if short
        .split('/')
        .any(|part| part.to_ascii_lowercase().ends_with(".lock"))
    {
        return bad("it ends with .lock");
    }
    Ok(())
}

/// A ref's name as people type it.
pub(super) fn short_name(full: &str) -> &str {
    ["refs/heads/", "refs/tags/", "refs/remotes/"]
        .iter()
        .find_map(|prefix| full.strip_prefix(prefix))
        .unwrap_or(full)
}

impl Writer<'_> {
    /// Makes a ref that must not exist, if no other one's name begins with its name and a slash, nor the other way round.
    pub(super) fn create_ref(&self, name: &str, commit: CommitId, instead_of: Option<&str>) -> Result<(), Error> {
        let other = self
            .ref_in_the_way(name)?
            .filter(|other| Some(other.as_str()) != instead_of);
        if let Some(other) = other {
            return Err(Error::RefInTheWay {
                name: short_name(name).to_owned(),
                other: short_name(&other).to_owned(),
            });
        }
        if self.move_ref(name, None, Some(commit))? {
            return Ok(());
        }
        Err(Error::RefExists {
            kind: if name.starts_with(HEADS) { "branch" } else { "tag" },
            name: short_name(name).to_owned(),
        })
    }
}

impl Repository {
    /// All branches by name.
    ///
    /// # Errors
    /// When the database fails or `HEAD` cannot be read.
    pub fn branches(&self) -> Result<Vec<Branch>, Error> {
        let head = match self.head()? {
            Head::Branch(name) => Some(name),
            Head::Detached(_) => None,
        };
        let mut branches = Vec::new();
        for (full, commit) in self.refs()? {
            if let Some(name) = full.strip_prefix(HEADS) {
                branches.push(Branch {
                    name: name.to_owned(),
                    commit,
                    current: head.as_ref() == Some(&full),
                    upstream: self.upstream(name)?,
                });
            }
        }
        Ok(branches)
    }

    /// Makes a branch. Nothing else changes.
    ///
    /// # Errors
    /// When the name is none, taken, or part of another one.
    pub fn create_branch(
        &self,
        name: &str,
        commit: CommitId,
        upstream: Option<&Upstream>,
        time: Time,
    ) -> Result<(), Error> {
        let full = format!("{HEADS}{name}");
        check_new_ref(&full)?;
        self.database().transaction(|writer| {
            writer.create_ref(&full, commit, None)?;
            writer.set_upstream(name, upstream)?;
            let command = format!("branch: created at {}", commit.short());
            Ok(writer.log_operation(&moved(&full, None, Some(commit), time, command))?)
        })
    }

    /// Moves a branch that is not the current one, wherever it stands.
    ///
    /// # Errors
    /// [`Error::CurrentBranch`], [`Error::NoSuchRef`].
    pub fn move_branch(&self, name: &str, commit: CommitId, time: Time) -> Result<(), Error> {
        let (full, before) = self.branch_at(name)?;
        if self.head()? == Head::Branch(full.clone()) {
            return Err(Error::CurrentBranch(name.to_owned()));
        }
        self.database().transaction(|writer| {
            if !writer.move_ref(&full, Some(before), Some(commit))? {
                return Err(Error::RefMoved(name.to_owned()));
            }
            let command = format!("branch: moved to {}", commit.short());
            Ok(writer.log_operation(&moved(&full, Some(before), Some(commit), time, command))?)
        })
    }

    /// Deletes a branch and returns where it stood.
    ///
    /// # Errors
    /// [`Error::CurrentBranch`]; [`Error::Unmerged`] when commits are on it that neither `HEAD` nor its upstream leads to,
    /// and `force` is not given.
    pub fn delete_branch(&self, name: &str, force: bool, time: Time) -> Result<CommitId, Error> {
        let (full, commit) = self.branch_at(name)?;
        if self.head()? == Head::Branch(full.clone()) {
            return Err(Error::CurrentBranch(name.to_owned()));
        }
        if !force {
            self.check_merged(name, commit)?;
        }
        self.database().transaction(|writer| {
            if !writer.move_ref(&full, Some(commit), None)? {
                return Err(Error::RefMoved(name.to_owned()));
            }
            Ok(writer.log_operation(&moved(&full, Some(commit), None, time, "branch: deleted".into()))?)
        })?;
        Ok(commit)
    }

    /// Deletes a ref, by its full name, that stands on `commit`. `command` is for the log.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when it does not.
    pub fn delete_ref(&self, name: &str, commit: CommitId, time: Time, command: &str) -> Result<(), Error> {
        self.database().transaction(|writer| {
            if !writer.move_ref(name, Some(commit), None)? {
                return Err(Error::RefMoved(name.to_owned()));
            }
            Ok(writer.log_operation(&moved(name, Some(commit), None, time, command.to_owned()))?)
        })
    }

    fn check_merged(&self, name: &str, commit: CommitId) -> Result<(), Error> {
        let upstream = match self.upstream(name)? {
            Some(upstream) => self.database().read_ref(&upstream.tracking())?,
            None => None,
        };
        let others: Vec<CommitId> = self.head_commit()?.into_iter().chain(upstream).collect();
        for other in &others {
            if self.is_ancestor(commit, *other)? {
                return Ok(());
            }
        }
        let commits = match others.first() {
            Some(other) => self.distance(commit, *other)?.ahead,
            None => 1,
        };
        Err(Error::Unmerged {
            branch: name.to_owned(),
            commits,
        })
    }

    /// Gives a branch another name. `HEAD` and its upstream go along. One without commits yet can be renamed when it is
    /// the current one.
    ///
    /// # Errors
    /// When there is no such branch, or the new name is none, taken, or part of another one.
    pub fn rename_branch(&self, old: &str, new: &str, time: Time) -> Result<(), Error> {
        let (from, to) = (format!("{HEADS}{old}"), format!("{HEADS}{new}"));
        check_new_ref(&to)?;
        let _alone = self.alone()?;
        let is_current = self.head()? == Head::Branch(from.clone());
        let command = format!("branch: renamed {old} to {new}");
        let commit = match (self.database().read_ref(&from)?, is_current) {
            (Some(commit), _) => commit,
            (None, true) if self.database().read_ref(&to)?.is_none() => {
                self.move_head(&Head::Branch(to), time, &command)?;
                return Ok(self.database().finish_command()?);
            }
            (None, _) => return Err(no_branch(old)),
        };
        let upstream = self.upstream(old)?;
        self.database().transaction(|writer| {
            writer.create_ref(&to, commit, Some(&from))?;
            writer.set_upstream(new, upstream.as_ref())?;
            Ok::<_, Error>(writer.log_operation(&moved(&to, None, Some(commit), time, command.clone()))?)
        })?;
        // The old one goes last: HEAD never names a branch that is not there.
        if is_current {
            self.move_head(&Head::Branch(to), time, &command)?;
        }
        self.database().transaction(|writer| {
            if !writer.move_ref(&from, Some(commit), None)? {
                return Err(Error::RefMoved(old.to_owned()));
            }
            Ok(writer.log_operation(&moved(&from, Some(commit), None, time, command.clone()))?)
        })?;
        Ok(self.database().finish_command()?)
    }

    /// Stands on a branch or a commit. Only files that differ between it and `HEAD` are touched; local changes to others
    /// stay, and so do removals.
    ///
    /// # Errors
    /// [`Error::LocalChanges`] when uncommitted work would be lost and `force` is not given; nothing is changed then. As
    /// [`Repository::create_branch`].
    pub fn switch(
        &self,
        to: &SwitchTo,
        force: bool,
        time: Time,
        progress: &dyn Progress,
    ) -> Result<CheckoutReport, Error> {
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        self.nothing_underway()?;
        let from = self.head_commit()?;
        let (head, commit, said) = match to {
            SwitchTo::Branch(name) => {
                let (full, commit) = self.branch_at(name)?;
                (Head::Branch(full), Some(commit), name.clone())
            }
            SwitchTo::New { name, start, .. } => {
                let full = format!("{HEADS}{name}");
                check_new_ref(&full)?;
                if self.database().read_ref(&full)?.is_some() {
                    let (kind, name) = ("branch", name.clone());
                    return Err(Error::RefExists { kind, name });
                }
                (Head::Branch(full), start.or(from), name.clone())
            }
            SwitchTo::Commit(commit) => (Head::Detached(*commit), Some(*commit), commit.short()),
        };
        let mut report = CheckoutReport {
            commit: commit.unwrap_or_else(|| crate::object::Id::of(&[])),
            head: head.clone(),
            written: 0,
            removed: 0,
            bytes: 0,
        };
        if let Some(commit) = commit
            && let Some(root) = self.worktree.clone()
            && (from != Some(commit) || force)
        {
            let switching = Switching {
                missing: force,
                ..Switching::forced(force)
            };
            let done = self.switch_files(&root, from, commit, switching, progress)?;
            report = CheckoutReport {
                head: head.clone(),
                ..done
            };
        }
        if let (SwitchTo::New { name, upstream, .. }, Some(commit)) = (to, commit) {
            self.create_branch(name, commit, upstream.as_ref(), time)?;
        }
        self.move_head(&head, time, &format!("switch: {said}"))?;
        Ok(report)
    }

    /// Where to stand for `text`: a branch here, or one that a single remembered peer has, which is then made here and
    /// follows that.
    ///
    /// # Errors
    /// [`Error::NoSuchRef`] when it is neither, [`Error::Ambiguous`] when several peers have it.
    pub fn switch_target(&self, text: &str) -> Result<SwitchTo, Error> {
        if let Some(full) = self.branch_named(text)? {
            return Ok(SwitchTo::Branch(short_name(&full).to_owned()));
        }
        let current = matches!(self.head()?, Head::Branch(name) if short_name(&name) == text);
        let theirs: Vec<(String, CommitId)> = self
            .remote_refs()?
            .into_iter()
            .filter(|(name, _)| Upstream::of_tracking(name).is_some_and(|upstream| upstream.short() == text))
            .collect();
        match theirs.as_slice() {
            [(name, commit)] if !current => Ok(SwitchTo::New {
                name: text.to_owned(),
                start: Some(*commit),
                upstream: Upstream::of_tracking(name),
            }),
            [] | [_] => Err(no_branch(text)),
            several => Err(Error::Ambiguous {
                text: text.to_owned(),
                candidates: several.iter().map(|(name, _)| short_name(name).to_owned()).collect(),
            }),
        }
    }

    fn branch_at(&self, name: &str) -> Result<(String, CommitId), Error> {
        let full = format!("{HEADS}{name}");
        let commit = self.database().read_ref(&full)?.ok_or_else(|| no_branch(name))?;
        Ok((full, commit))
    }
}

fn no_branch(name: &str) -> Error {
    Error::NoSuchRef {
        kind: "branch",
        name: name.to_owned(),
    }
}

/// An entry of the log of moves.
pub(super) fn moved(
    name: &str,
    before: Option<CommitId>,
    after: Option<CommitId>,
    time: Time,
    command: String,
) -> Operation {
    Operation {
        time,
        command,
        name: name.to_owned(),
        before,
        after,
    }
}
