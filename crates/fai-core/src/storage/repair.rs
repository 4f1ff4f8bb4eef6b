//! Repair: the records of a damaged pack that are still good, copied into fresh packs.
//!
//! Nothing of the pack is trusted but what proves itself: a header by its checksum, a content by its hash. Sectors
//! that the disk does not give back are stepped over. Putting the damaged file aside is for the caller.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::StorageError;
use super::pack::HEADER;
use super::record::{BASED_LEN, MAGIC, RecordHeader};
use super::salvage::BaseOf;
use super::writer::{PackWriter, WrittenPack};
use crate::codec::Decoder;

/// Bytes looked through at once for the next record.
const WINDOW: usize = 64 << 10;

/// Bytes stepped over where the disk refuses to read.
const SECTOR: u64 = 4096;

/// Copies every record of the pack at `path` that is whole into fresh packs in `incoming`, in their order. None when
/// there is no good record. `base_of` gives the chunks that deltas stand on; one without its base is no good record.
///
/// # Errors
/// When the file cannot be read or the copies not be written.
pub fn copy_good_records(path: &Path, incoming: &Path, base_of: BaseOf<'_>) -> Result<Vec<WrittenPack>, StorageError> {
    let io = || StorageError::io("read", path);
    let file = File::open(path).map_err(io())?;
    let len = file.metadata().map_err(io())?.len();
    let mut decoder = Decoder::new()?;
    let (mut payload, mut raw) = (Vec::new(), Vec::new());
    let mut done = Vec::new();
    let mut open: Option<PackWriter> = None;
    let mut at = HEADER.len() as u64;
    while at < len {
        let header = header_at(&file, at).filter(|header| header.record_len() <= len - at);
        if let Some(header) = header {
            payload.resize(header.encoded_len as usize, 0);
            raw.resize(header.raw_len as usize, 0);
            let read = file.read_exact_at(&mut payload, at + header.header_len() as u64);
            let decoded = match header.base {
                _ if read.is_err() => false,
                Some(base) => {
                    base_of(&base).is_some_and(|base| decoder.decode_against(&payload, &base, &mut raw).is_ok())
                }
                None => decoder.decode(header.codec, &payload, &mut raw).is_ok(),
            };
            if decoded && header.kind.hash(&raw) == header.hash {
                let mut pack = match open.take() {
                    Some(pack) => pack,
                    None => PackWriter::create(incoming)?,
                };
                pack.append(header, &payload)?;
                if pack.is_full() {
                    done.push(pack.finish()?);
                } else {
                    open = Some(pack);
                }
                at += header.record_len();
                continue;
            }
        }
        at = next_magic(&file, at + 1, len);
    }
    if let Some(pack) = open {
        done.push(pack.finish()?);
    }
    Ok(done)
}

/// The header at `at`, if a valid one is there and can be read.
fn header_at(file: &File, at: u64) -> Option<RecordHeader> {
    let mut bytes = [0; BASED_LEN];
    let count = read_up_to(file, &mut bytes, at).ok()?;
    RecordHeader::read(bytes.get(..count)?).ok()
}

/// Where the bytes that begin a record stand next, from `at` on; the file's length when nowhere.
fn next_magic(file: &File, mut at: u64, len: u64) -> u64 {
    let mut window = vec![0; WINDOW];
    while at < len {
        let Ok(count) = read_up_to(file, &mut window, at) else {
            at += SECTOR;
            continue;
        };
        let bytes = window.get(..count).unwrap_or_default();
        if let Some(found) = bytes.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) {
            return at + found as u64;
        }
        // The mark may lie across two windows.
        at += count.saturating_sub(MAGIC.len() - 1).max(1) as u64;
    }
    len
}

/// Fills as much of `buffer` as the file has and the disk gives, and says how much that is.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(target) = buffer.get_mut(filled..).filter(|target| !target.is_empty()) {
        match file.read_at(target, at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if filled == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::super::pack::PackIndex;
    use super::*;
    use crate::codec::Codec;
    use crate::object::Kind;

    fn pack_of(contents: &[Vec<u8>], folder: &Path) -> std::path::PathBuf {
        let mut writer = PackWriter::create(folder).unwrap();
        for content in contents {
            let header = RecordHeader {
                kind: Kind::Chunk,
                codec: Codec::Raw,
                raw_len: content.len() as u32,
                encoded_len: content.len() as u32,
                hash: Kind::Chunk.hash(content),
                base: None,
            };
            writer.append(header, content).unwrap();
        }
        writer.finish().unwrap().seal(folder).unwrap().path(folder)
    }

    /// Raw contents of the packs that a repair of the pack at `path` yields.
    fn repaired(path: &Path, folder: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for pack in copy_good_records(path, folder, &|_| None).unwrap() {
            let pack = pack.seal(folder).unwrap();
            let file = File::open(pack.path(folder)).unwrap();
            for entry in PackIndex::read(&file, path).unwrap().entries {
                let mut bytes = vec![0; entry.header.encoded_len as usize];
                let start = entry.offset + entry.header.header_len() as u64;
                file.read_exact_at(&mut bytes, start).unwrap();
                found.push(bytes);
            }
        }
        found
    }

    #[test]
    fn one_damaged_byte_costs_one_record_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let contents: Vec<Vec<u8>> = (0u8..5).map(|byte| vec![byte; 40 + 7 * byte as usize]).collect();
        let path = pack_of(&contents, folder.path());
        let whole = std::fs::read(&path).unwrap();
        let damaged = folder.path().join("damaged");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&damaged, &bytes).unwrap();
            let found = repaired(&damaged, folder.path());
            assert!(found.len() >= 4, "byte {at} costs {} records", 5 - found.len());
            assert!(found.iter().all(|content| contents.contains(content)), "byte {at}");
        }
        for len in 0..whole.len() {
            std::fs::write(&damaged, &whole[..len]).unwrap();
            let found = repaired(&damaged, folder.path());
            assert_eq!(found, contents[..found.len()], "cut to {len} bytes");
        }
    }

    #[test]
    fn a_hole_in_the_middle_does_not_hide_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let contents: Vec<Vec<u8>> = (0u8..4).map(|byte| vec![byte; 100_000]).collect();
        let path = pack_of(&contents, folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.drain(100_100..150_000);
        let damaged = folder.path().join("damaged");
        std::fs::write(&damaged, &bytes).unwrap();
        let expected = [&contents[0], &contents[2], &contents[3]];
        assert!(repaired(&damaged, folder.path()).iter().eq(expected));
    }
}
