//! Who keeps collections out, and who may collect.
//!
//! Whoever stores something, or relies on something being stored that nothing leads to yet, holds `gc.lock` shared from
//! its first question until what it stored is referenced. A collection holds it exclusively while it changes the
//! index and removes packs. It is taken before `lock` and `commit.lock`, never after them: otherwise two processes
//! could wait for each other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::repo::durable::{lock, try_lock};
use crate::repo::progress::{Event, Progress};
use crate::repo::{Error, Repository, Store};

const WRITERS: &str = "gc.lock";
const COLLECTORS: &str = "repack.lock";
const WORKTREE: &str = "lock";
const COMMITS: &str = "commit.lock";

/// Between two attempts to take a lock.
const PAUSE: Duration = Duration::from_millis(10);

/// The name of a lock, who holds it, and the error when they do not end.
type Refusal<'a> = (&'a str, &'a str, fn(PathBuf) -> Error);

impl Store {
    /// While this is held nothing is collected here.
    pub(in crate::repo) fn pin(&self) -> Result<File, Error> {
        lock(&self.directory().join(WRITERS), true)
    }
}

impl Repository {
    /// While this is held nothing is collected here. Taken before any other lock.
    pub(in crate::repo) fn pin(&self) -> Result<File, Error> {
        self.store.pin()
    }

    /// While this is held nobody stores anything, nor begins to. Waits for those who do, but gives up when they take longer
    /// than `patience`.
    pub(super) fn without_writers(&self, patience: Duration) -> Result<File, Error> {
        let path = self.directory.join(WRITERS);
        taken(&path, patience)?.ok_or(Error::BeingWritten(path))
    }

    /// While this is held no other collection or repacking begins.
    pub(super) fn only_collector(&self, patience: Duration) -> Result<File, Error> {
        let path = self.directory.join(COLLECTORS);
        taken(&path, patience)?.ok_or(Error::BeingCollected(path))
    }
}

/// All locks of the repository at `directory`: while they are held nobody else is at work there. Tells `progress` whom it
/// waits for.
///
/// # Errors
/// [`Error::BeingCollected`] and [`Error::BeingWritten`] when one of them is held by others for all of `patience`.
pub(in crate::repo) fn alone(
    directory: &Path,
    patience: Duration,
    progress: &dyn Progress,
) -> Result<Vec<File>, Error> {
    let kinds: [Refusal<'_>; 4] = [
        (COLLECTORS, "a gc or repack", Error::BeingCollected),
        (WRITERS, "an add, a commit or a transfer", Error::BeingWritten),
        (WORKTREE, "a command that changes the folder", Error::BeingWritten),
        (COMMITS, "a commit", Error::BeingWritten),
    ];
    let mut held = Vec::new();
    for (name, who, error) in kinds {
        let path = directory.join(name);
        let mut found = taken(&path, Duration::ZERO)?;
        if found.is_none() {
            let seconds = patience.as_secs();
            let text = format!(
                "waiting up to {seconds} seconds for {who} to end ({} is held)",
                path.display()
            );
            progress.on(Event::Warning(&text));
            found = taken(&path, patience)?;
        }
        held.push(found.ok_or_else(|| error(path))?);
    }
    Ok(held)
}

/// The lock at `path`, unless somebody holds it for all of `patience`.
fn taken(path: &Path, patience: Duration) -> Result<Option<File>, Error> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = try_lock(path)? {
            return Ok(Some(lock));
        }
        if waited >= patience {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
}
