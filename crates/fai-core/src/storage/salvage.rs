//! Saving what a killed writer left: the whole records at the start of its temporary pack.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::chain::MAX_CHAIN;
use super::error::StorageError;
use super::pack::{HEADER, IndexEntry, MAX_RECORDS, PACK_SUFFIX, encode_footer};
use super::record::{BASED_LEN, RecordHeader};
use super::writer::{SealedPack, WrittenPack};
use crate::codec::{Codec, Decoder};
use crate::object::Hash;

/// What was done with the temporary packs of dead writers.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// Packs that now stand under a final name; the caller syncs the folder and indexes them.
    pub packs: Vec<SealedPack>,
    /// Temporary files that held nothing of use and were removed.
    pub removed: Vec<PathBuf>,
}

/// Gives the raw bytes of a stored chunk, for deltas that stand on it.
pub type BaseOf<'a> = &'a dyn Fn(&Hash) -> Option<Vec<u8>>;

/// Finishes every temporary pack in `incoming` whose writer is dead, moving it to `folder`.
/// Packs whose writers live are locked and left alone. `base_of` knows the chunks that are stored already.
///
/// # Errors
/// When a file cannot be read, written or moved. Running it again goes on where it stopped.
pub fn salvage(incoming: &Path, folder: &Path, base_of: BaseOf<'_>) -> Result<Salvaged, StorageError> {
    let mut done = Salvaged::default();
    let listing = fs::read_dir(incoming).map_err(StorageError::io("list", incoming))?;
    for entry in listing {
        let path = entry.map_err(StorageError::io("list", incoming))?.path();
        if path.extension().is_none_or(|suffix| suffix != PACK_SUFFIX) {
            continue;
        }
        let Ok(file) = File::options().read(true).write(true).open(&path) else {
            continue;
        };
        if file.try_lock().is_err() || !still_there(&file, &path) {
            continue;
        }
        let entries = whole_records(&file, &path, base_of)?;
        if entries.is_empty() {
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
            done.removed.push(path);
            continue;
        }
        tracing::info!(path = %path.display(), records = entries.len(), "salvaged a half-written pack");
        done.packs.push(finish(file, path, entries)?.seal(folder)?);
    }
    Ok(done)
}

/// True when the opened file still has this name. A living writer may have moved it to its final one, and let go of the
/// lock with that, between opening and locking here.
fn still_there(file: &File, path: &Path) -> bool {
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (opened, named) = (file.metadata().map(inode), path.symlink_metadata().map(inode));
    matches!((opened, named), (Ok(opened), Ok(named)) if opened == named)
}

/// Cuts the file after its last whole record and writes the index behind it.
fn finish(mut file: File, path: PathBuf, entries: Vec<IndexEntry>) -> Result<WrittenPack, StorageError> {
    let end = entries
        .last()
        .map_or(HEADER.len() as u64, |last| last.offset + last.header.record_len());
    let (footer, name) = encode_footer(end, &entries);
    let mut write = || {
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(&footer)
    };
    write().map_err(StorageError::io("write", &path))?;
    let kept = tempfile::TempPath::try_from_path(&path).map_err(StorageError::io("open", &path))?;
    // Removed when syncing it fails: nobody knows then what the disk holds, and the next sync would not tell.
    let temporary = NamedTempFile::from_parts(file, kept);
    Ok(WrittenPack::salvaged(
        temporary,
        name,
        end + footer.len() as u64,
        entries,
    ))
}

/// The records from the start of the file up to the first that is cut, damaged or not decodable.
fn whole_records(file: &File, path: &Path, base_of: BaseOf<'_>) -> Result<Vec<IndexEntry>, StorageError> {
    let mut reader = std::io::BufReader::with_capacity(1 << 20, file);
    let mut own = Own {
        file,
        decoder: Decoder::new()?,
        records: HashMap::new(),
    };
    let (mut entries, mut offset) = (Vec::new(), HEADER.len() as u64);
    let mut start = [0; HEADER.len()];
    if reader.read_exact(&mut start).is_err() || start != HEADER {
        return Ok(entries);
    }
    let (mut payload, mut raw) = (Vec::new(), Vec::new());
    while entries.len() < MAX_RECORDS {
        let Some(header) = next_header(&mut reader) else { break };
        payload.resize(header.encoded_len as usize, 0);
        raw.resize(header.raw_len as usize, 0);
        if reader.read_exact(&mut payload).is_err() {
            break;
        }
        if own.decode(&header, &payload, &mut raw, base_of, MAX_CHAIN).is_none()
            || header.kind.hash(&raw) != header.hash
        {
            tracing::warn!(path = %path.display(), offset, "a damaged record ends the salvage");
            break;
        }
        own.records.insert(header.hash, IndexEntry { offset, header });
        entries.push(IndexEntry { offset, header });
        offset += header.record_len();
    }
    Ok(entries)
}

/// The records of the pack so far, on which later ones may stand.
struct Own<'a> {
    file: &'a File,
    decoder: Decoder,
    records: HashMap<Hash, IndexEntry>,
}

impl Own<'_> {
    /// Decodes a payload into `raw`, with a base that is stored or stands earlier in the pack, at most `deltas` deep.
    fn decode(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        raw: &mut [u8],
        base_of: BaseOf<'_>,
        deltas: usize,
    ) -> Option<()> {
        let Some(base) = header.base else {
            return self.decoder.decode(header.codec, payload, raw).ok();
        };
        let base = match self.records.get(&base).copied() {
            Some(IndexEntry { offset, header }) => {
                let mut payload = vec![0; header.encoded_len as usize];
                let mut raw = vec![0; header.raw_len as usize];
                let start = offset + header.header_len() as u64;
                self.file.read_exact_at(&mut payload, start).ok()?;
                self.decode(&header, &payload, &mut raw, base_of, deltas.checked_sub(1)?)?;
                raw
            }
            None => base_of(&base)?,
        };
        self.decoder.decode_against(payload, &base, raw).ok()
    }
}

fn next_header(reader: &mut impl Read) -> Option<RecordHeader> {
    let mut bytes = [0; BASED_LEN];
    let fixed = bytes.get_mut(..super::record::PLAIN_LEN)?;
    reader.read_exact(fixed).ok()?;
    if fixed.get(5).copied() == Some(Codec::Delta as u8) {
        reader.read_exact(bytes.get_mut(super::record::PLAIN_LEN..)?).ok()?;
    }
    RecordHeader::read(&bytes).ok()
}
