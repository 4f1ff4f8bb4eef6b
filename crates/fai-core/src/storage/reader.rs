//! Reading records where they lie. What is made of them, and checked, is in `chain`.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::StorageError;
use super::pack::{PackIndex, pack_path};
use super::record::RecordHeader;
use crate::codec::{Codec, Decoder};
use crate::object::Hash;

/// Packs kept open at once.
const OPEN_PACKS: usize = 64;

/// Where a record lies and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Name of the pack.
    pub pack: Hash,
    /// Offset of the record's header.
    pub offset: u64,
    /// The header that is expected there.
    pub header: RecordHeader,
}

/// The packs of a folder, opened as they are needed. Shared by threads.
#[derive(Debug)]
pub struct PackSet {
    folder: PathBuf,
    open: Mutex<HashMap<Hash, Arc<File>>>,
}

impl PackSet {
    /// The packs in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            open: Mutex::default(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads and decodes the record at `location` into `raw` (resized to fit), without comparing it with its hash.
    /// `base` is the content of its base, if it has one; `payload` is scratch memory.
    pub(super) fn decode(
        &self,
        location: &Location,
        base: &[u8],
        decoder: &mut Decoder,
        payload: &mut Vec<u8>,
        raw: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let header = &location.header;
        let encoded = self.payload(location, payload)?;
        raw.resize(header.raw_len as usize, 0);
        let decoded = match header.codec {
            Codec::Delta => decoder.decode_against(encoded, base, raw),
            codec => decoder.decode(codec, encoded, raw),
        };
        decoded.map_err(|error| self.damaged(location, error.to_string()))
    }

    /// Compares the raw bytes of the record at `location` with its hash.
    pub(super) fn check(&self, location: &Location, raw: &[u8]) -> Result<(), StorageError> {
        let header = &location.header;
        if header.kind.hash(raw) == header.hash {
            return Ok(());
        }
        let (kind, hash) = (header.kind.name(), header.hash.short());
        Err(self.damaged(location, format!("{kind} {hash} has other content than its id")))
    }

    /// The record at `location` is not what it was.
    pub(super) fn damaged(&self, location: &Location, reason: String) -> StorageError {
        StorageError::Damaged {
            pack: pack_path(&self.folder, &location.pack),
            offset: location.offset,
            reason,
        }
    }

    /// The payload of the record at `location` as it is stored: its header is checked, its content is not.
    ///
    /// # Errors
    /// `Damaged` when another record, or none, lies there.
    pub fn payload<'b>(&self, location: &Location, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], StorageError> {
        let path = pack_path(&self.folder, &location.pack);
        let damaged = |reason: &str| self.damaged(location, reason.to_owned());
        let file = self.file(&location.pack)?;
        buffer.resize(location.header.record_len() as usize, 0);
        match file.read_exact_at(buffer, location.offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the file ends before this record does"));
            }
            other => other.map_err(StorageError::io("read", &path))?,
        }
        let found = RecordHeader::read(buffer).map_err(|error| damaged(&error.to_string()))?;
        if found != location.header {
            return Err(damaged("another record than the index says"));
        }
        Ok(buffer.get(found.header_len()..).unwrap_or_default())
    }

    /// The index of the pack of that name.
    ///
    /// # Errors
    /// When the pack is missing or damaged.
    pub fn index(&self, name: &Hash) -> Result<PackIndex, StorageError> {
        PackIndex::read(&*self.file(name)?, &pack_path(&self.folder, name))
    }

    /// Closes all packs: their files may have been replaced.
    pub fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn file(&self, name: &Hash) -> Result<Arc<File>, StorageError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let path = pack_path(&self.folder, name);
        let file = Arc::new(File::open(&path).map_err(StorageError::io("open", &path))?);
        if open.len() >= OPEN_PACKS {
            open.clear();
        }
        // A pack that was removed takes up its room until nobody has it open any more.
        open.retain(|_, file| file.metadata().is_ok_and(|metadata| metadata.nlink() > 0));
        open.insert(*name, Arc::clone(&file));
        Ok(file)
    }
}
