//! Small files that must survive a power cut: written aside, synced, renamed.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::Error;
use crate::storage::sync_folder;

/// Replaces `path` by `bytes`, wholly or not at all.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.as_file().sync_all().map_err(Error::io("sync", path))?;
    file.persist(path)
        .map_err(|error| Error::io("write", path)(error.error))?;
    Ok(sync_folder(folder)?)
}

/// The file at `path` under a lock that ends when the file is dropped or the process dies.
pub(super) fn lock(path: &Path, shared: bool) -> Result<File, Error> {
    let take = || {
        let file = open(path)?;
        if shared {
            file.lock_shared()?
        } else {
            file.lock()?
        }
        Ok(file)
    };
    take().map_err(Error::io("lock", path))
}

/// The same, exclusively, unless somebody else holds it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, Error> {
    let take = || {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    take().map_err(Error::io("lock", path))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).read(true).open(path)
}
