//! `init`: a new repository.

use std::fs;
use std::path::Path;

use super::durable::replace_file;
use super::{DEFAULT_BRANCH, DIRECTORY, Error, Repository, RepositoryId, is_repository};
use crate::storage::sync_folder;

/// How to create a repository.
#[derive(Debug, Clone, Copy, Default)]
pub struct InitOptions {
    /// Without a worktree: the folder itself becomes the repository.
    pub bare: bool,
    /// The id of the repository that this becomes a copy of; `None` makes a new one.
    pub id: Option<RepositoryId>,
}

impl Repository {
    /// Creates a repository in `path`, which is created too when it does not exist. An existing repository there is
    /// opened and left as it is; the flag says which of the two happened (`true`: new).
    ///
    /// # Errors
    /// When folders or files cannot be created.
    pub fn init(path: &Path, options: InitOptions) -> Result<(Self, bool), Error> {
        let directory = if options.bare {
            path.to_owned()
        } else {
            path.join(DIRECTORY)
        };
        let fresh = !is_repository(&directory);
        if fresh {
            for folder in ["objects", "incoming", "tmp"] {
                let folder = directory.join(folder);
                fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            }
            let id = options.id.map_or_else(RepositoryId::random, Ok)?;
            replace_file(&directory.join("id"), format!("{id}\n").as_bytes())?;
            // HEAD comes last: without it the folder is no repository, and a killed init can be repeated.
            crate::database::Database::open(&directory.join("db.sqlite"))?;
            replace_file(&directory.join("HEAD"), format!("ref: {DEFAULT_BRANCH}\n").as_bytes())?;
            if let Some(parent) = directory.parent() {
                sync_folder(parent)?;
            }
        }
        let absolute = path.canonicalize().map_err(Error::io("open", path))?;
        Ok((Self::open(&absolute)?, fresh))
    }
}
