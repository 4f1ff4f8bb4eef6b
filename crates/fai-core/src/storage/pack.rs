//! The layout of a pack file: header, records, index, trailer.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::record::{HeaderError, PLAIN_LEN, RecordHeader};
use crate::object::Hash;

/// First bytes of every pack: a magic number and the format's version.
pub(super) const HEADER: [u8; 16] = *b"FAI-PACK\x01\0\0\0\0\0\0\0";

/// Length of the magic number in it.
const MAGIC_LEN: usize = 8;

/// Last bytes of every finished pack.
const END: [u8; 8] = *b"FAI-PEND";

/// Index offset, record count, hash of the index, end mark.
pub(super) const TRAILER_LEN: usize = 8 + 4 + Hash::LEN + END.len();

/// A pack is closed when it reaches this length. A single object may make it longer.
pub const PACK_TARGET: u64 = 64 << 20;

/// A pack is closed at this many records, which bounds its index to 6 MiB.
pub const MAX_RECORDS: usize = 65_536;

/// File name ending of packs.
pub const PACK_SUFFIX: &str = "pack";

/// One line of a pack's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of the record's header in the pack.
    pub offset: u64,
    /// The record's header.
    pub header: RecordHeader,
}

/// The index of a finished pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackIndex {
    /// The pack's name: BLAKE3 of the encoded index.
    pub name: Hash,
    /// The records in the order of their offsets.
    pub entries: Vec<IndexEntry>,
}

/// Path of a finished pack below the folder of packs.
pub fn pack_path(folder: &Path, name: &Hash) -> PathBuf {
    folder.join(format!("{name}.{PACK_SUFFIX}"))
}

/// Names of the finished packs in `folder`, and how many other files lie there.
///
/// # Errors
/// When the folder cannot be listed.
pub fn list_packs(folder: &Path) -> Result<(BTreeSet<Hash>, u64), StorageError> {
    let (mut names, mut others) = (BTreeSet::new(), 0);
    for entry in std::fs::read_dir(folder).map_err(StorageError::io("list", folder))? {
        let name = entry.map_err(StorageError::io("list", folder))?.file_name();
        let stem = name
            .to_str()
            .and_then(|name| name.strip_suffix(PACK_SUFFIX)?.strip_suffix('.'));
        // Only what `pack_path` writes: the same name in capitals would be another file.
        match stem.and_then(|stem| stem.parse::<Hash>().ok().filter(|hash| hash.to_string() == stem)) {
            Some(hash) => drop(names.insert(hash)),
            None => others += 1,
        }
    }
    Ok((names, others))
}

/// The index and trailer that end a pack whose records end at `index_offset`, and the pack's name.
pub(super) fn encode_footer(index_offset: u64, entries: &[IndexEntry]) -> (Vec<u8>, Hash) {
    let mut bytes = Vec::with_capacity(entries.len() * (8 + PLAIN_LEN) + TRAILER_LEN);
    for entry in entries {
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        entry.header.write(&mut bytes);
    }
    let name = Hash::from_bytes(*blake3::hash(&bytes).as_bytes());
    bytes.extend_from_slice(&index_offset.to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&END);
    (bytes, name)
}

impl PackIndex {
    /// Reads and checks the index of the finished pack `file`, found at `path`.
    ///
    /// # Errors
    /// When the file is no finished pack or its index is damaged.
    pub fn read(file: &File, path: &Path) -> Result<Self, StorageError> {
        let wrong = |reason: &str| StorageError::NotAPack {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let io = || StorageError::io("read", path);
        let len = file.metadata().map_err(io())?.len();
        let mut header = [0; HEADER.len()];
        let mut trailer = [0; TRAILER_LEN];
        let trailer_at = len
            .checked_sub(TRAILER_LEN as u64)
            .ok_or_else(|| wrong("it is too short"))?;
        file.read_exact_at(&mut header, 0).map_err(io())?;
        file.read_exact_at(&mut trailer, trailer_at).map_err(io())?;
        let (magic, version) = header.split_at(MAGIC_LEN);
        if !HEADER.starts_with(magic) {
            return Err(wrong("its first bytes are not a pack's"));
        }
        // Of another version nothing is known, unless all else is of this one: then it is those bytes that are damaged.
        let other = !HEADER.ends_with(version);
        match Self::read_index(file, path, trailer_at, &trailer) {
            Ok(_) if other => Err(wrong("the version in its first bytes is damaged")),
            Err(StorageError::NotAPack { path, .. }) if other => Err(StorageError::Newer(path)),
            found => found,
        }
    }

    fn read_index(
        file: &File,
        path: &Path,
        trailer_at: u64,
        trailer: &[u8; TRAILER_LEN],
    ) -> Result<Self, StorageError> {
        let wrong = |reason: &str| StorageError::NotAPack {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let (index_offset, count, name) = read_trailer(trailer).ok_or_else(|| wrong("it was never finished"))?;
        let longest = (MAX_RECORDS * (8 + super::record::BASED_LEN)) as u64;
        let index_len = trailer_at.checked_sub(index_offset).filter(|len| *len <= longest);
        let index_len = index_len.ok_or_else(|| wrong("its index has an impossible length"))?;
        let mut index = vec![0; index_len as usize];
        file.read_exact_at(&mut index, index_offset)
            .map_err(StorageError::io("read", path))?;
        if Hash::from_bytes(*blake3::hash(&index).as_bytes()) != name {
            return Err(wrong("its index is damaged"));
        }
        let entries = read_entries(&index, index_offset).map_err(|error| match error {
            // The index is as it was written.
            HeaderError::Unknown(_) => StorageError::Newer(path.to_owned()),
            HeaderError::Broken(reason) => wrong(reason),
        })?;
        if entries.len() != count as usize {
            return Err(wrong("its index has another number of records than it says"));
        }
        Ok(Self { name, entries })
    }
}

fn read_trailer(trailer: &[u8; TRAILER_LEN]) -> Option<(u64, u32, Hash)> {
    let (offset, rest) = trailer.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (name, end) = rest.split_first_chunk::<32>()?;
    (end == END).then(|| {
        (
            u64::from_le_bytes(*offset),
            u32::from_le_bytes(*count),
            Hash::from_bytes(*name),
        )
    })
}

fn read_entries(mut index: &[u8], index_offset: u64) -> Result<Vec<IndexEntry>, HeaderError> {
    let mut entries = Vec::new();
    let mut at = HEADER.len() as u64;
    while !index.is_empty() {
        let (offset, rest) = index
            .split_first_chunk::<8>()
            .ok_or(HeaderError::Broken("its index is cut"))?;
        let header = RecordHeader::read(rest)?;
        let entry = IndexEntry {
            offset: u64::from_le_bytes(*offset),
            header,
        };
        // Records follow each other without gaps: an index that says otherwise was not written by a pack writer.
        if entry.offset != at || entries.len() == MAX_RECORDS {
            return Err(HeaderError::Broken("its index does not fit its records"));
        }
        at += header.record_len();
        entries.push(entry);
        index = rest
            .get(header.header_len()..)
            .ok_or(HeaderError::Broken("its index is cut"))?;
    }
    if at == index_offset {
        Ok(entries)
    } else {
        Err(HeaderError::Broken("its records do not end where its index begins"))
    }
}
