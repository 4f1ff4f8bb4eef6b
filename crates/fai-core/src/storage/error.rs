//! What can go wrong with packs.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::CodecError;

/// An error of the pack storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was attempted: "write", "read", "sync" and so on.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A record's bytes are not what they were.
    #[error("{} is damaged at byte {offset}: {reason}", pack.display())]
    Damaged {
        /// The pack.
        pack: PathBuf,
        /// Offset of the record.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// A whole file is not a pack, or its index is damaged.
    #[error("{} is not a readable pack: {reason}", path.display())]
    NotAPack {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A pack in a format that a later version has.
    #[error("a newer version of fai wrote {}", .0.display())]
    Newer(PathBuf),
    /// Too little room to go on.
    #[error("not enough free space below {}: {needed} bytes are needed, {free} are free", path.display())]
    NoSpace {
        /// A folder on the full file system.
        path: PathBuf,
        /// Bytes needed for the next step.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Encoding or decoding could not be set up.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl StorageError {
    /// Adapter for `map_err`: names the operation and its subject.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| StorageError::Io {
            operation,
            path,
            source,
        }
    }
}
