//! `HEAD`: the current branch, or a commit when detached. The only place that says so.

use std::fs;

use super::durable::replace_file;
use super::{Error, Repository};
use crate::database::{Effect, Operation, State, What};
use crate::object::{CommitId, Time};

/// Where the repository stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// On a branch, named in full (`refs/heads/main`), which may have no commit yet.
    Branch(String),
    /// On a commit.
    Detached(CommitId),
}

impl Head {
    /// What stands in the file.
    pub(super) fn text(&self) -> String {
        match self {
            Head::Branch(name) => format!("ref: {name}"),
            Head::Detached(commit) => commit.to_string(),
        }
    }

    /// What such a text says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end();
        match text.strip_prefix("ref: ") {
            Some(name) if name.starts_with("refs/heads/") => Some(Head::Branch(name.to_owned())),
            _ => text.parse().ok().map(Head::Detached),
        }
    }

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
        Head::parse(&text).ok_or(Error::BadHead(path))
    }

    /// The commit that `HEAD` stands on, or `None` on a branch without commits.
    ///
    /// # Errors
    /// As [`Repository::head`], or when the database fails.
    pub fn head_commit(&self) -> Result<Option<CommitId>, Error> {
        self.commit_of(&self.head()?)
    }

    /// The commit that a `HEAD` like this stands on.
    pub(super) fn commit_of(&self, head: &Head) -> Result<Option<CommitId>, Error> {
        match head {
            Head::Branch(name) => Ok(self.database().read_ref(name)?),
            Head::Detached(commit) => Ok(Some(*commit)),
        }
    }

    /// Makes `HEAD` say something else, as part of the command that runs, and logs the move as `command`. Nothing happens
    /// when it says that already.
    ///
    /// The log comes first: what it says of a move that a crash prevented does no harm, while nobody could take back one
    /// that it does not know.
    pub(super) fn move_head(&self, head: &Head, time: Time, command: &str) -> Result<(), Error> {
        let old = match self.head() {
            Ok(old) => Some(old),
            Err(Error::BadHead(_)) => None,
            Err(error) => return Err(error),
        };
        if old.as_ref() == Some(head) {
            return Ok(());
        }
        let before = old.as_ref().map(|old| self.commit_of(old)).transpose()?.flatten();
        let moved = Operation {
            time,
            command: command.to_owned(),
            name: "HEAD".to_owned(),
            before,
            after: self.commit_of(head)?,
        };
        let text = old.as_ref().map(Head::text);
        let state = |text: Option<String>| text.map_or(State::Nothing, State::Head);
        self.database().transaction(|writer| {
            writer.log_head_move(&moved, text.as_deref(), &head.text())?;
            writer.note_effect(&Effect {
                what: What::Head,
                name: "HEAD".to_owned(),
                before: state(text),
                after: state(Some(head.text())),
            })
        })?;
        self.write_head(head)
    }

    pub(super) fn write_head(&self, head: &Head) -> Result<(), Error> {
        replace_file(&self.directory.join("HEAD"), format!("{}\n", head.text()).as_bytes())
    }
}
