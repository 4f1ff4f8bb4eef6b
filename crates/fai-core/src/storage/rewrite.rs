//! Rewriting: records copied from packs into fresh ones, as they are or in another encoding. Which records are worth
//! it, whether they are what they were, and what happens to the old packs is for the caller to say.

use std::path::Path;

use super::error::StorageError;
use super::pack::{HEADER, TRAILER_LEN};
use super::reader::{Location, PackSet};
use super::record::RecordHeader;
use super::writer::{PackWriter, WrittenPack};

/// What to do with a record that was read.
#[derive(Debug)]
pub enum Verdict {
    /// Copy it as it is.
    Keep,
    /// Write this in its place: the same record in another encoding.
    Instead(RecordHeader, Vec<u8>),
    /// It is not what it was, and why.
    Damaged(String),
}

/// A fresh pack and where its records came from, in their order.
#[derive(Debug)]
pub struct Copied {
    /// The pack, not yet under its final name.
    pub pack: WrittenPack,
    /// Where each of its records lay.
    pub from: Vec<Location>,
}

/// What came of a rewrite.
#[derive(Debug)]
pub enum Rewrite {
    /// All records are in these packs, whose bytes are durable.
    Done(Vec<Copied>),
    /// This record cannot be copied, and why. Nothing is left of what was written.
    Damaged(Location, String),
}

/// Length of a pack of `records` records whose headers and payloads take so many bytes.
pub fn pack_len(records: u64, headers: u64, payloads: u64) -> u64 {
    (HEADER.len() + TRAILER_LEN) as u64 + 8 * records + 2 * headers + payloads
}

/// Copies `records`, which lie in `packs`, in their order into fresh packs in `incoming`. `judge` is shown every record
/// with its payload and must have decoded and compared it before it lets it pass.
///
/// # Errors
/// When writing fails or there is no room; or the error of `judge`. What was written is removed then.
pub fn rewrite<E: From<StorageError>>(
    packs: &PackSet,
    incoming: &Path,
    records: &[Location],
    mut judge: impl FnMut(&Location, &[u8]) -> Result<Verdict, E>,
) -> Result<Rewrite, E> {
    let mut done = Vec::new();
    let mut open: Option<(PackWriter, Vec<Location>)> = None;
    let mut buffer = Vec::new();
    for (number, location) in records.iter().enumerate() {
        let payload = match packs.payload(location, &mut buffer) {
            Ok(payload) => payload,
            Err(error) => return Ok(Rewrite::Damaged(*location, reason(&error))),
        };
        let (header, instead) = match judge(location, payload)? {
            Verdict::Keep => (location.header, None),
            Verdict::Instead(header, payload) => (header, Some(payload)),
            Verdict::Damaged(reason) => return Ok(Rewrite::Damaged(*location, reason)),
        };
        let (mut pack, mut from) = match open.take() {
            Some(open) => open,
            None => {
                let room = room(records.get(number..).unwrap_or_default());
                (PackWriter::create_for(incoming, room)?, Vec::new())
            }
        };
        pack.append(header, instead.as_deref().unwrap_or(payload))?;
        from.push(*location);
        if pack.is_full() {
            done.push(finish(pack, from)?);
        } else {
            open = Some((pack, from));
        }
    }
    if let Some((pack, from)) = open {
        done.push(finish(pack, from)?);
    }
    Ok(Rewrite::Done(done))
}

fn finish(pack: PackWriter, from: Vec<Location>) -> Result<Copied, StorageError> {
    let pack = pack.finish()?;
    pack.sync()?;
    Ok(Copied { pack, from })
}

/// The most that the next pack can take of these records.
fn room(records: &[Location]) -> u64 {
    let headers: u64 = records.iter().map(|record| record.header.header_len() as u64).sum();
    let payloads = records.iter().map(|record| u64::from(record.header.encoded_len)).sum();
    pack_len(records.len() as u64, headers, payloads)
}

fn reason(error: &StorageError) -> String {
    match error {
        StorageError::Damaged { reason, .. } => reason.clone(),
        other => match std::error::Error::source(other) {
            Some(cause) => format!("{other}: {cause}"),
            None => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::object::{Hash, Kind};
    use crate::storage::sync_folder;

    fn header(content: &[u8]) -> RecordHeader {
        RecordHeader {
            kind: Kind::Chunk,
            codec: Codec::Raw,
            raw_len: content.len() as u32,
            encoded_len: content.len() as u32,
            hash: Kind::Chunk.hash(content),
            base: None,
        }
    }

    fn pack_of(contents: &[&[u8]], folder: &Path) -> Vec<Location> {
        let mut writer = PackWriter::create(folder).unwrap();
        for content in contents {
            writer.append(header(content), content).unwrap();
        }
        let pack = writer.finish().unwrap().seal(folder).unwrap();
        let located = pack.entries.iter().map(|entry| Location {
            pack: pack.name,
            offset: entry.offset,
            header: entry.header,
        });
        located.collect()
    }

    fn checked(location: &Location, payload: &[u8]) -> Result<Verdict, StorageError> {
        Ok(match Kind::Chunk.hash(payload) == location.header.hash {
            true => Verdict::Keep,
            false => Verdict::Damaged("other bytes".into()),
        })
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn records_of_several_packs_come_together_and_the_length_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let one = pack_of(&[b"a", b"bb", b"ccc"], folder.path());
        let other = pack_of(&[b"dddd", b"eeeee"], folder.path());
        let packs = PackSet::new(folder.path().to_owned());
        let chosen = [one[0], one[2], other[1]];
        let Rewrite::Done(mut done) = rewrite(&packs, folder.path(), &chosen, checked).unwrap() else {
            panic!("nothing is damaged")
        };
        let Copied { pack, from } = done.pop().unwrap();
        assert!(done.is_empty() && from == chosen);
        let pack = pack.seal(folder.path()).unwrap();
        sync_folder(folder.path()).unwrap();
        assert_eq!(pack.len, pack_len(3, 3 * 52, 1 + 3 + 5));
        let hashes: Vec<Hash> = pack.entries.iter().map(|entry| entry.header.hash).collect();
        assert_eq!(hashes, chosen.map(|location| location.header.hash));
    }

    #[test]
    fn a_damaged_record_is_named_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let records = pack_of(&[b"first", b"second", b"third"], folder.path());
        let path = super::super::pack_path(folder.path(), &records[0].pack);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = records[1].offset as usize;
        for (damage, words) in [(at + 52, "other bytes"), (at + 3, "no record starts here")] {
            bytes[damage] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            bytes[damage] ^= 1;
            let packs = PackSet::new(folder.path().to_owned());
            match rewrite(&packs, folder.path(), &records, checked).unwrap() {
                Rewrite::Damaged(location, reason) => {
                    assert_eq!((location, reason.as_str()), (records[1], words));
                }
                Rewrite::Done(_) => panic!("the damage was not seen"),
            }
            assert_eq!(files(folder.path()), 1);
        }
        let lost = PackSet::new(folder.path().join("nowhere"));
        let result = rewrite(&lost, folder.path(), &records, checked).unwrap();
        assert!(matches!(result, Rewrite::Damaged(location, _) if location == records[0]));
    }

    #[test]
    fn another_encoding_takes_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let zeros = [0; 100];
        let records = pack_of(&[&zeros], folder.path());
        let packs = PackSet::new(folder.path().to_owned());
        let constant = RecordHeader {
            codec: Codec::Constant,
            encoded_len: 1,
            ..records[0].header
        };
        let judge = |_: &Location, _: &[u8]| Ok::<_, StorageError>(Verdict::Instead(constant, vec![0]));
        let Rewrite::Done(mut done) = rewrite(&packs, folder.path(), &records, judge).unwrap() else {
            panic!("nothing is damaged")
        };
        let pack = done.pop().unwrap().pack.seal(folder.path()).unwrap();
        let location = Location {
            pack: pack.name,
            offset: pack.entries[0].offset,
            header: constant,
        };
        let mut reading = crate::storage::Reading::new().unwrap();
        reading.read(&packs, location, |_| Ok::<_, StorageError>(None)).unwrap();
        assert_eq!(reading.raw(), zeros);
    }
}
