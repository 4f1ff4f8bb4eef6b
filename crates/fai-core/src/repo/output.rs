//! A file of the worktree while it is written: under a temporary name, its chunks in any order, zeros as holes.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use tempfile::{NamedTempFile, TempPath};

use super::Error;
use crate::chunking::all_zero;

/// After so many bytes of one file its write-back is started, so that the sync at the end is short.
const WRITE_BACK: u64 = 64 << 20;

/// A file being written. It is closed when the last owner lets go of it.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    temporary: Mutex<Option<TempPath>>,
    size: u64,
    /// Bytes that nobody has written yet.
    remaining: AtomicU64,
    /// The last chunk was zeros and not written, so that writing alone did not give the file its length.
    ends_in_hole: AtomicBool,
    writing: Mutex<()>,
    /// Written bytes did not reach the disk.
    lost: AtomicBool,
}

/// How far a file is after some of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// It is time to push to the disk what was written.
    pub write_back: bool,
    /// Everything is written.
    pub all: bool,
}

impl Output {
    /// An empty file of `size` bytes to come, in the folder `temporary`.
    pub fn create(temporary: &Path, size: u64, executable: bool) -> Result<Self, Error> {
        // The umask takes away what the user does not want to grant.
        let mode = if executable { 0o777 } else { 0o666 };
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(temporary)
            .map_err(Error::io("create a file in", temporary))?;
        let (file, path) = NamedTempFile::into_parts(file);
        Ok(Self {
            file,
            temporary: Mutex::new(Some(path)),
            size,
            remaining: AtomicU64::new(size),
            ends_in_hole: AtomicBool::new(false),
            writing: Mutex::default(),
            lost: AtomicBool::new(false),
        })
    }

    /// Writes bytes to their place. One thread at a time: systems let no two of them write to one file at once, and would
    /// have the others wait busily. The file is all holes at first: zeros need no writing, and sparse files stay sparse.
    /// True when they were zeros.
    pub fn write(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        if all_zero(bytes) {
            self.skip(offset, bytes.len() as u64);
            return Ok(true);
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_all_at(bytes, offset).map(|()| false)
    }

    /// Leaves a hole where zeros would be.
    pub fn skip(&self, offset: u64, len: u64) {
        if offset + len == self.size {
            self.ends_in_hole.store(true, Ordering::Relaxed);
        }
    }

    /// Counts `len` bytes as written, that were not counted before.
    pub fn count(&self, len: u64) -> Written {
        let before = self.remaining.fetch_sub(len, Ordering::AcqRel);
        let after = before.saturating_sub(len);
        Written {
            write_back: before / WRITE_BACK != after / WRITE_BACK,
            all: before == len,
        }
    }

    /// True when written bytes are known not to have reached the disk: the file is of no use.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Bytes that were not counted yet.
    pub fn remaining(&self) -> u64 {
        self.remaining.load(Ordering::Acquire)
    }

    /// Gives the file its length, and makes it durable if `sync` says so. Its temporary name, which is given once.
    pub fn finish(&self, sync: bool) -> Result<Option<TempPath>, Error> {
        if self.ends_in_hole.load(Ordering::Relaxed) {
            self.file.set_len(self.size).map_err(self.failed("write"))?;
        }
        if sync {
            self.file.sync_all().map_err(self.failed("sync"))?;
        }
        Ok(self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    /// It will not be finished: gives back its room on the disk, which others may need before this goes.
    pub fn give_up(&self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(%error, "a file that was given up still takes its room");
        }
    }

    /// Its temporary path, for as long as it has one.
    pub fn path(&self) -> PathBuf {
        let path = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        path.as_ref().map(|path| path.to_path_buf()).unwrap_or_default()
    }

    /// Makes an error of one of the system's.
    pub fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            operation,
            path: self.path(),
            source,
        }
    }
}

/// A thread that pushes written bytes to the disk while others are on their way.
#[derive(Debug)]
pub(super) struct WriteBack {
    outputs: Sender<Arc<Output>>,
    /// `None` when the system gave none: then the sync at the end has more to do.
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl WriteBack {
    /// Starts it.
    pub fn start() -> Self {
        let (sender, outputs) = bounded::<Arc<Output>>(1);
        let push = move || {
            let mut result = Ok(());
            for output in outputs {
                if let Err(error) = output.file.sync_data().map_err(output.failed("sync")) {
                    // The system says so once: the next sync would succeed.
                    output.lost.store(true, Ordering::Relaxed);
                    result = result.and(Err(error));
                }
            }
            result
        };
        let thread = std::thread::Builder::new().name("write-back".into()).spawn(push);
        Self {
            outputs: sender,
            thread: thread.ok(),
        }
    }

    /// Has a file written back, unless the thread is busy with another one.
    pub fn push(&self, output: &Arc<Output>) {
        let _ = self.outputs.try_send(Arc::clone(output));
    }

    /// Waits for it. From here on it is known which files were lost; the error is that of the first one.
    pub fn end(self) -> Result<(), Error> {
        drop(self.outputs);
        match self.thread {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }
}
