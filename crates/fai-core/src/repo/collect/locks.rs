//! Who keeps collections out, and who may collect.
//!
//! Whoever stores something, or relies on something being stored that nothing leads to yet, holds `gc.lock` shared from
//! its first question until what it stored is referenced. A collection holds it exclusively while it changes the
//! index and removes packs. It is taken before `lock` and `commit.lock`, never after them: otherwise two processes
//! could wait for each other.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::repo::durable::{lock, try_lock};
use crate::repo::{Error, Repository, Store};

const WRITERS: &str = "gc.lock";
const COLLECTORS: &str = "repack.lock";

/// Between two attempts to take a lock.
const PAUSE: Duration = Duration::from_millis(10);

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

    /// While this is held nobody stores anything, nor begins to. Waits for those who do.
    pub(in crate::repo) fn keep_writers_out(&self) -> Result<File, Error> {
        lock(&self.directory.join(WRITERS), false)
    }

    /// The same, but gives up when they take longer than `patience`.
    pub(super) fn without_writers(&self, patience: Duration) -> Result<File, Error> {
        let path = self.directory.join(WRITERS);
        taken(&path, patience)?.ok_or(Error::BeingWritten(path))
    }

    /// While this is held no other collection or repacking begins.
    pub(super) fn only_collector(&self, patience: Duration) -> Result<File, Error> {
        let path = self.directory.join(COLLECTORS);
        taken(&path, patience)?.ok_or(Error::BeingCollected(path))
    }

    /// The same; waits for one that runs.
    pub(in crate::repo) fn keep_collectors_out(&self) -> Result<File, Error> {
        lock(&self.directory.join(COLLECTORS), false)
    }
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
