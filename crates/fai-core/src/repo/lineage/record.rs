//! What a commit records of where it comes from: names are resolved when it is made, because `HEAD~1` is another commit
//! the day after.

use std::path::Path;

use super::super::{Error, Repository};
use super::Origin;
use crate::object::{Commit, RepoPath, Value};

impl Repository {
    /// A dataset as somebody in the folder `current` names it: a path in what the next commit will hold, `REV:PATH`, the id
    /// of a file, or else just text.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn dataset(&self, text: &str, current: &Path) -> Result<Origin, Error> {
        let typed = Origin {
            text: text.to_owned(),
            ..Origin::default()
        };
        if self.worktree().is_some()
            && let Ok(path) = self.repo_path(current, Path::new(text))
            && !path.is_root()
        {
            let (files, _) = self.expected(std::slice::from_ref(&path))?;
            if let Some(entry) = files.get(&path) {
                return Ok(Origin {
                    path: Some(path),
                    file: Some(entry.file),
                    ..typed
                });
            }
            if !files.is_empty() {
                return Ok(Origin {
                    path: Some(path),
                    ..typed
                });
            }
        }
        self.origin(text)
    }

    /// A model or dataset that is named as `REV:PATH` or by the id of a file. Text that names nothing here is kept as text.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn origin(&self, text: &str) -> Result<Origin, Error> {
        let typed = Origin {
            text: text.to_owned(),
            ..Origin::default()
        };
        let named = match text.split_once(':') {
            Some((revision, path)) => self.origin_in(revision, path),
            None => self.file_with_id(text).map(|file| Origin {
                file,
                ..Origin::default()
            }),
        };
        match named {
            Ok(found) => Ok(Origin {
                text: typed.text,
                ..found
            }),
            // A URL, a name of a hub, a path of another machine: it is what somebody typed.
            Err(error) if error.kind() == "database" || error.kind() == "io" => Err(error),
            Err(_) => Ok(typed),
        }
    }

    fn origin_in(&self, revision: &str, path: &str) -> Result<Origin, Error> {
        let commit = self.resolve(revision)?;
        let path = RepoPath::parse(path)?;
        let entry = self.lookup(&self.tree_of(Some(commit))?, &path)?;
        let entry = entry.ok_or_else(|| Error::NoSuchPath(path.as_str().into()))?;
        Ok(Origin {
            text: String::new(),
            path: Some(path),
            file: entry.file_id(),
            commit: Some(commit),
        })
    }
}

/// What a commit was fine-tuned from, as it was recorded.
pub(in crate::repo) fn base_of(commit: &Commit) -> Option<Origin> {
    let text = commit.metadata.get("base_model").and_then(Value::as_text);
    let recorded = commit.metadata.get("base").and_then(Origin::from_value);
    match (recorded, text) {
        (Some(recorded), _) => Some(recorded),
        (None, Some(text)) => Some(Origin {
            text: text.to_owned(),
            ..Origin::default()
        }),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{CommitId, FileId, Id};

    #[test]
    fn what_is_recorded_is_read_back() {
        let origin = Origin {
            text: "HEAD~1:a/b.bin".into(),
            path: Some(RepoPath::parse("a/b.bin").unwrap()),
            file: Some(FileId::of(b"file")),
            commit: Some(CommitId::of(b"commit")),
        };
        assert_eq!(Origin::from_value(&origin.to_value()), Some(origin));
        assert_eq!(Origin::from_value(&Value::Int(1)), None);
    }
}
