//! `ls`: the files of a commit.

use super::snapshot::Entry;
use super::{Error, Repository};
use crate::object::{CommitId, ContentHash, FileId, Manifest, RepoPath};

/// A file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path.
    pub path: RepoPath,
    /// Its id.
    pub file: FileId,
    /// BLAKE3 of its content.
    pub content: ContentHash,
    /// Its size in bytes.
    pub size: u64,
    /// Its executable bit.
    pub executable: bool,
    /// Name of its tensor format, if it has one.
    pub format: Option<String>,
    /// Number of its parameters, if it has tensors.
    pub parameters: Option<u64>,
}

impl Repository {
    /// The files at and below `path` in a commit, by path. `None` for the commit stands for what the next commit
    /// will hold: `HEAD` with what is staged.
    ///
    /// # Errors
    /// When nothing is at that path, or objects are missing.
    pub fn list(&self, commit: Option<CommitId>, path: &RepoPath) -> Result<Vec<ListedFile>, Error> {
        let files = match commit {
            Some(commit) => self.snapshot_within(Some(commit), std::slice::from_ref(path))?,
            None => self.expected(std::slice::from_ref(path))?.0,
        };
        if files.is_empty() && !path.is_root() {
            let revision = commit.map_or_else(|| "the index".to_owned(), |commit| commit.short());
            return Err(Error::NotInRevision {
                path: path.clone(),
                revision,
            });
        }
        files
            .into_iter()
            .map(|(path, entry)| self.listed(path, entry))
            .collect()
    }

    fn listed(&self, path: RepoPath, entry: Entry) -> Result<ListedFile, Error> {
        let Entry { file, size, executable } = entry;
        let known = self.database().file(file)?;
        let (content, format, parameters) = match known {
            Some(known) => (known.content, known.format, known.parameters),
            None => (self.store.get::<Manifest>(file)?.content, None, None),
        };
        Ok(ListedFile {
            path,
            file,
            content,
            size,
            executable,
            format,
            parameters,
        })
    }
}
