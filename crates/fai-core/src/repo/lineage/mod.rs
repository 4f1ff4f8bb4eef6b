//! Where a commit comes from: what was fine-tuned, on which data, with which code. Recorded at `commit`, followed by
//! `lineage` from commit to commit.

mod record;
mod walk;

use std::collections::BTreeMap;

use crate::object::{CommitId, FileId, RepoPath, Value};

pub(super) use record::base_of;
pub use walk::{Ancestor, Lineage, Link};

/// The revision of the code that made a commit's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRevision {
    /// The git commit, in hexadecimal digits.
    pub commit: String,
    /// True when tracked files differed from it; `None` when that could not be found out.
    pub dirty: Option<bool>,
    /// Where the code can be had, without a password in it.
    pub remote: Option<String>,
}

/// Data or a model that a commit was made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// As it was typed.
    pub text: String,
    /// Its path in the repository, if it is a file or folder there.
    pub path: Option<RepoPath>,
    /// The file, if it is one.
    pub file: Option<FileId>,
    /// The commit that it was named in, if it was named in another one.
    pub commit: Option<CommitId>,
}

impl CodeRevision {
    pub(super) fn to_value(&self) -> Value {
        let mut map = BTreeMap::from([("git".to_owned(), Value::Text(self.commit.clone()))]);
        map.extend(self.dirty.map(|dirty| ("dirty".to_owned(), Value::Bool(dirty))));
        map.extend(
            self.remote
                .clone()
                .map(|remote| ("remote".to_owned(), Value::Text(remote))),
        );
        Value::Map(map)
    }

    /// What a commit's metadata say; `None` when they say something else.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        Some(Self {
            commit: map.get("git")?.as_text()?.to_owned(),
            dirty: match map.get("dirty") {
                Some(Value::Bool(dirty)) => Some(*dirty),
                _ => None,
            },
            remote: map.get("remote").and_then(Value::as_text).map(str::to_owned),
        })
    }
}

impl Origin {
    pub(super) fn to_value(&self) -> Value {
        let text = |text: String| Value::Text(text);
        let mut map = BTreeMap::from([("text".to_owned(), text(self.text.clone()))]);
        map.extend(
            self.path
                .as_ref()
                .map(|path| ("path".to_owned(), text(path.to_string()))),
        );
        map.extend(self.file.map(|file| ("file".to_owned(), text(file.to_string()))));
        map.extend(
            self.commit
                .map(|commit| ("commit".to_owned(), text(commit.to_string()))),
        );
        Value::Map(map)
    }

    /// What a commit's metadata say; `None` when they say something else.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        let text = |name: &str| map.get(name).and_then(Value::as_text);
        Some(Self {
            text: text("text")?.to_owned(),
            path: text("path").and_then(|path| RepoPath::parse(path).ok()),
            file: text("file").and_then(|id| id.parse().ok()),
            commit: text("commit").and_then(|id| id.parse().ok()),
        })
    }
}
