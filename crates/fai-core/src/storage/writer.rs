//! Writing packs: records are appended to a temporary file that is locked while its writer lives, then synced and
//! renamed to its final name. Nothing under a final name is ever incomplete.

use std::fs::{File, Permissions};
use std::io::{IoSlice, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::StorageError;
use super::pack::{HEADER, IndexEntry, MAX_RECORDS, PACK_SUFFIX, PACK_TARGET, encode_footer, pack_path};
use super::record::RecordHeader;
use crate::object::Hash;

/// Bytes collected before they are written: fewer system calls, and writes that file systems like.
const BUFFER: usize = 1 << 20;

/// Payloads from this length on are written from where they are: copying them would take longer than the call.
const DIRECT: usize = 64 << 10;

/// Free space that must stay beside the pack being written.
const RESERVE: u64 = 16 << 20;

/// A pack being written.
#[derive(Debug)]
pub struct PackWriter {
    file: NamedTempFile,
    buffer: Vec<u8>,
    /// Length including what is still in `buffer`.
    len: u64,
    entries: Vec<IndexEntry>,
}

/// A pack whose bytes are written but not yet durable.
#[derive(Debug)]
pub struct WrittenPack {
    file: NamedTempFile,
    name: Hash,
    len: u64,
    entries: Vec<IndexEntry>,
}

/// A pack that is durable under its final name, once its folder is synced.
#[derive(Debug, Clone)]
pub struct SealedPack {
    /// Its name.
    pub name: Hash,
    /// Length of the file in bytes.
    pub len: u64,
    /// Its records.
    pub entries: Vec<IndexEntry>,
}

impl PackWriter {
    /// Starts a pack in the folder `incoming`.
    ///
    /// # Errors
    /// When the file cannot be created, or less than [`PACK_TARGET`] and a reserve are free.
    pub fn create(incoming: &Path) -> Result<Self, StorageError> {
        Self::create_for(incoming, PACK_TARGET)
    }

    /// The same for a pack of which it is known that it gets no longer than `len` bytes.
    ///
    /// # Errors
    /// When the file cannot be created, or less than that and a reserve are free.
    pub fn create_for(incoming: &Path, len: u64) -> Result<Self, StorageError> {
        let free = free_space(incoming)?;
        let needed = len.saturating_add(RESERVE);
        if free < needed {
            return Err(StorageError::NoSpace {
                path: incoming.to_owned(),
                needed,
                free,
            });
        }
        let file = locked_temporary(incoming)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        buffer.extend_from_slice(&HEADER);
        Ok(Self {
            file,
            buffer,
            len: HEADER.len() as u64,
            entries: Vec::new(),
        })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// When writing fails; the pack is then of no use and must be dropped.
    pub fn append(&mut self, header: RecordHeader, payload: &[u8]) -> Result<(), StorageError> {
        debug_assert_eq!(header.encoded_len as usize, payload.len());
        self.entries.push(IndexEntry {
            offset: self.len,
            header,
        });
        self.len += header.record_len();
        header.write(&mut self.buffer);
        if payload.len() < DIRECT && self.buffer.len() + payload.len() < BUFFER {
            self.buffer.extend_from_slice(payload);
            return Ok(());
        }
        self.flush(payload)
    }

    /// True when the next record should go to a new pack.
    pub fn is_full(&self) -> bool {
        self.len >= PACK_TARGET || self.entries.len() >= MAX_RECORDS
    }

    /// True when no record was appended.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the index. The pack can now be sealed, by another thread if need be.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<WrittenPack, StorageError> {
        let (footer, name) = encode_footer(self.len, &self.entries);
        self.buffer.extend_from_slice(&footer);
        self.len += footer.len() as u64;
        self.flush(&[])?;
        Ok(WrittenPack {
            file: self.file,
            name,
            len: self.len,
            entries: self.entries,
        })
    }

    /// Writes what was collected and then `payload`, without copying the payload together first.
    fn flush(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        let path = self.file.path().to_owned();
        let file = self.file.as_file_mut();
        let mut write = || {
            let both = &mut [IoSlice::new(&self.buffer), IoSlice::new(payload)];
            let written = file.write_vectored(both)?;
            match written.checked_sub(self.buffer.len()) {
                Some(of_payload) => file.write_all(payload.get(of_payload..).unwrap_or_default()),
                None => {
                    file.write_all(self.buffer.get(written..).unwrap_or_default())?;
                    file.write_all(payload)
                }
            }
        };
        write().map_err(StorageError::io("write", &path))?;
        self.buffer.clear();
        Ok(())
    }
}

impl WrittenPack {
    /// A written pack from a salvaged file.
    pub(super) fn salvaged(file: NamedTempFile, name: Hash, len: u64, entries: Vec<IndexEntry>) -> Self {
        Self {
            file,
            name,
            len,
            entries,
        }
    }

    /// Makes the bytes durable ahead of time, so that sealing takes no longer than a rename.
    ///
    /// # Errors
    /// When syncing fails. Nobody knows then what the disk holds: the pack must be dropped.
    pub fn sync(&self) -> Result<(), StorageError> {
        let synced = self.file.as_file().sync_all();
        synced.map_err(StorageError::io("sync", self.file.path()))
    }

    /// Makes the bytes durable and moves the file to its final name in `folder`. The caller syncs the folder before
    /// it tells anyone.
    ///
    /// # Errors
    /// When syncing or renaming fails. After a failed sync nobody knows what the disk holds: the file is removed.
    pub fn seal(self, folder: &Path) -> Result<SealedPack, StorageError> {
        let path = self.file.path().to_owned();
        self.file
            .as_file()
            .sync_all()
            .map_err(StorageError::io("sync", &path))?;
        let target = pack_path(folder, &self.name);
        self.file
            .persist(&target)
            .map_err(|error| StorageError::io("rename", &target)(error.error))?;
        Ok(SealedPack {
            name: self.name,
            len: self.len,
            entries: self.entries,
        })
    }
}

/// Syncs a folder, so that names created in it survive a power cut.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(StorageError::io("sync", folder))
}

/// Bytes that an ordinary user may still write on the file system of `path`; `u64::MAX` when it does not know.
///
/// # Errors
/// When the file system cannot be asked.
pub fn free_space(path: &Path) -> Result<u64, StorageError> {
    let stat =
        rustix::fs::statvfs(path).map_err(|errno| StorageError::io("ask the free space of", path)(errno.into()))?;
    // File systems in memory and behind FUSE may know no size at all: writing will tell.
    if stat.f_blocks == 0 {
        return Ok(u64::MAX);
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A temporary file in `incoming`, as readable as the umask lets it be, under a lock that ends with this process, however it ends.
fn locked_temporary(incoming: &Path) -> Result<NamedTempFile, StorageError> {
    let suffix = format!(".{PACK_SUFFIX}");
    loop {
        let file = tempfile::Builder::new()
            .suffix(&suffix)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(incoming)
            .map_err(StorageError::io("create a file in", incoming))?;
        let locked = file.as_file().try_lock().is_ok();
        // Between creation and lock a salvager may have taken the file for a dead writer's and removed it.
        let linked = file.as_file().metadata().is_ok_and(|metadata| metadata.nlink() > 0);
        if locked && linked {
            return Ok(file);
        }
    }
}

/// The path of the file, for callers that report it.
impl SealedPack {
    /// Path of this pack below `folder`.
    pub fn path(&self, folder: &Path) -> PathBuf {
        pack_path(folder, &self.name)
    }
}
