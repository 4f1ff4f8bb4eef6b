//! Repositories in folders of this machine, as others clone from, pull from and push to them: with the checks and rules
//! that hold between peers, but for permissions, which are those of the file system.

use std::path::{Path, PathBuf};

use fai_core::Repository;
use fai_core::object::{CommitId, Time};
use fai_core::repo::{Head, Progress, RefMove, RepositoryId, check_ref_name};

use crate::Error;
use crate::fetch::{FetchReport, fetch_from};
use crate::receive::{Push, Wanted, receive};
use crate::wire::message::Reason;

/// A repository in another folder.
#[derive(Debug)]
pub struct Folder {
    /// The repository.
    pub repository: Repository,
    /// Its worktree, or the bare repository itself; absolute.
    pub path: PathBuf,
}

impl Folder {
    /// Opens the repository whose worktree or bare folder is `path`.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(Error::io("open", path))?;
        let repository = Repository::open(&path)?;
        Ok(Self { repository, path })
    }

    /// What a peer would serve it under: the folder's name.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| "repository".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// All branches and tags, with names that are good here, too.
    ///
    /// # Errors
    /// When they cannot be read, or a name is not one.
    pub fn refs(&self) -> Result<Vec<(String, CommitId)>, Error> {
        let refs = self.repository.refs()?;
        for (name, _) in &refs {
            check_ref_name(name)?;
        }
        Ok(refs)
    }

    /// Its current branch.
    ///
    /// # Errors
    /// When `HEAD` cannot be read.
    pub fn head(&self) -> Result<Option<String>, Error> {
        Ok(match self.repository.head()? {
            Head::Branch(name) => Some(name),
            Head::Detached(_) => None,
        })
    }

    /// Fails unless it is a copy of the repository with this id.
    ///
    /// # Errors
    /// [`Error::OtherFolder`] when it is another one.
    pub fn must_be(&self, id: RepositoryId) -> Result<(), Error> {
        if self.repository.id()? == id {
            return Ok(());
        }
        Err(Error::OtherFolder(self.path.clone()))
    }

    /// Copies what `moves` lead to from `source` and moves the refs there, all of them or none; with `force` also where
    /// that loses commits. Files of a worktree follow when the branch is checked out. A repository without any refs
    /// becomes a copy of `source`.
    ///
    /// # Errors
    /// [`Error::FolderRefuses`] with the reason; when `source` is damaged or this folder cannot be written.
    pub fn push(
        &self,
        source: &Repository,
        moves: &[RefMove],
        force: bool,
        time: Time,
        progress: &dyn Progress,
    ) -> Result<FetchReport, Error> {
        let empty = self.refs()?.is_empty();
        if !empty {
            self.must_be(source.id()?)?;
        }
        let mut wanted = Vec::new();
        for moved in moves {
            check_ref_name(&moved.name)?;
            if let Some(after) = moved.after {
                let moved = moved.clone();
                wanted.push(Wanted { moved, after, force });
            }
        }
        let command = pushed_from(source);
        // What arrives there is an operation of that repository.
        self.repository.begin(time, &command)?;
        let push = Push {
            time,
            command: &command,
            progress,
            refuse: &|reason, message| Error::FolderRefuses {
                path: self.path.clone(),
                reason,
                message,
            },
        };
        let (_, report) = receive(&self.repository, &wanted, &push, |wants, worktree| {
            fetch_from(source, &self.repository, wants, worktree, progress)
        })?;
        if empty {
            // Otherwise the next push would find another repository here.
            self.repository.become_copy_of(source.id()?)?;
        }
        Ok(report)
    }

    /// Deletes a branch or tag, by its full name, that stands on `commit` there.
    ///
    /// # Errors
    /// [`Error::FolderRefuses`] when it is the current branch there or has moved.
    pub fn delete(&self, source: &Repository, name: &str, commit: CommitId, time: Time) -> Result<(), Error> {
        let refuse = |reason, message: &str| Error::FolderRefuses {
            path: self.path.clone(),
            reason,
            message: message.to_owned(),
        };
        if self.head()?.as_deref() == Some(name) {
            return Err(refuse(Reason::Unclean, "it is the current branch there"));
        }
        let command = pushed_from(source);
        self.repository.begin(time, &command)?;
        match self.repository.delete_ref(name, commit, time, &command) {
            Err(fai_core::repo::Error::RefMoved(_)) => {
                Err(refuse(Reason::NotForward, "it has moved there meanwhile: pull first"))
            }
            other => Ok(other?),
        }
    }
}

fn pushed_from(source: &Repository) -> String {
    let from = source.worktree().unwrap_or(source.directory());
    format!("push from {}", from.display())
}
