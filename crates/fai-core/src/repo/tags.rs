//! Tags: names of commits that stay, with or without a message. The message stands in the database of this repository alone
//! and does not travel.

use super::branches::{check_new_ref, moved};
use super::{Error, Repository};
pub use crate::database::TagMessage;
use crate::object::{CommitId, Time};

const TAGS: &str = "refs/tags/";

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its short name.
    pub name: String,
    /// Where it stands.
    pub commit: CommitId,
    /// What was said of it here.
    pub message: Option<TagMessage>,
}

impl Repository {
    /// All tags by name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn tags(&self) -> Result<Vec<Tag>, Error> {
        let mut tags = Vec::new();
        for (full, commit) in self.refs()? {
            if let Some(name) = full.strip_prefix(TAGS) {
                tags.push(Tag {
                    name: name.to_owned(),
                    commit,
                    message: self.database().tag_message(&full, commit)?,
                });
            }
        }
        Ok(tags)
    }

    /// Makes a tag; with `force` one that exists moves.
    ///
    /// # Errors
    /// When the name is none, taken, or part of another one.
    pub fn create_tag(
        &self,
        name: &str,
        commit: CommitId,
        message: Option<&TagMessage>,
        force: bool,
        time: Time,
    ) -> Result<(), Error> {
        let full = format!("{TAGS}{name}");
        check_new_ref(&full)?;
        self.database().transaction(|writer| {
            let before = writer.read_ref(&full)?;
            if before.is_some() && force {
                writer.move_ref(&full, before, Some(commit))?;
            } else {
                writer.create_ref(&full, commit, None)?;
            }
            writer.set_tag_message(&full, commit, message)?;
            let command = format!("tag: {}", commit.short());
            Ok(writer.log_operation(&moved(&full, before, Some(commit), time, command))?)
        })
    }

    /// Deletes a tag and returns where it stood.
    ///
    /// # Errors
    /// [`Error::NoSuchRef`].
    pub fn delete_tag(&self, name: &str, time: Time) -> Result<CommitId, Error> {
        let full = format!("{TAGS}{name}");
        self.database().transaction(|writer| {
            let Some(commit) = writer.read_ref(&full)? else {
                return Err(Error::NoSuchRef {
                    kind: "tag",
                    name: name.to_owned(),
                });
            };
            writer.move_ref(&full, Some(commit), None)?;
            writer.log_operation(&moved(&full, Some(commit), None, time, "tag: deleted".into()))?;
            Ok(commit)
        })
    }
}
