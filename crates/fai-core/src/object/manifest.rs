//! Manifests: a file as an ordered list of chunks, in pages when the list is long.
//!
//! Up to [`NODE_ENTRIES`] chunks stand in the manifest itself. A longer list becomes a tree of pages whose
//! nodes all have that capacity, so a 10 TB file never needs more than a few hundred kilobytes at once.

use super::Object;
use super::cbor::{self, DecodeError, Reader, Writer};
use super::id::{ChunkId, ContentHash, FileId, Hash, Id, PageId};

/// Entries that a manifest or page holds at the most.
pub const NODE_ENTRIES: usize = 8192;

/// Longest chunk in bytes.
pub const MAX_CHUNK_LEN: u64 = 2 << 20;

/// Highest level of a manifest: 8192^4 chunks are more than any file has.
pub const MAX_LEVEL: u8 = 3;

/// One entry of a manifest or page: a chunk at level 0, a page below the level otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Hash of the chunk or page.
    pub hash: Hash,
    /// Bytes of the file that it stands for, at least 1.
    pub len: u64,
}

impl Extent {
    /// The chunk's id, for entries of level 0.
    pub fn chunk(&self) -> ChunkId {
        ChunkId::from_hash(self.hash)
    }

    /// The page's id, for entries above level 0.
    pub fn page(&self) -> PageId {
        PageId::from_hash(self.hash)
    }
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Total size in bytes.
    pub size: u64,
    /// BLAKE3 of the whole content.
    pub content: ContentHash,
    /// 0 when `entries` are chunks; otherwise they are pages of level `level - 1`.
    pub level: u8,
    /// At most [`NODE_ENTRIES`]; their lengths add up to `size`.
    pub entries: Vec<Extent>,
}

/// A page of a long manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// 0 when `entries` are chunks; otherwise they are pages of level `level - 1`.
    pub level: u8,
    /// Between 1 and [`NODE_ENTRIES`]; every page but the last of its level is full.
    pub entries: Vec<Extent>,
}

impl Object for Manifest {
    type Id = FileId;

    fn encode(&self) -> Vec<u8> {
        cbor::encode(|out| {
            let _ = out
                .array(4)
                .and_then(|out| out.u64(self.size))
                .and_then(|out| out.bytes(self.content.as_bytes()));
            let _ = out.u8(self.level);
            write_extents(&self.entries, out);
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::decode("manifest", bytes, read_manifest, Object::encode)
    }
}

impl Object for Page {
    type Id = PageId;

    fn encode(&self) -> Vec<u8> {
        cbor::encode(|out| {
            let _ = out.array(2).and_then(|out| out.u8(self.level));
            write_extents(&self.entries, out);
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::decode("page", bytes, read_page, Object::encode)
    }
}

fn write_extents(entries: &[Extent], out: &mut Writer<'_>) {
    let _ = out.array(2 * entries.len() as u64);
    for entry in entries {
        let _ = out.bytes(entry.hash.as_bytes()).and_then(|out| out.u64(entry.len));
    }
}

fn read_manifest(input: &mut Reader<'_>) -> Result<Manifest, DecodeError> {
    input.array_of(4)?;
    let size = input.u64()?;
    let content = ContentHash::from_hash(input.hash()?);
    let level = read_level(input)?;
    let entries = read_extents(input, level)?;
    if level > 0 && entries.len() < 2 {
        return Err(input.invalid("a level above one page"));
    }
    if total(&entries) != Some(size) {
        return Err(input.invalid("lengths that do not add up to the size"));
    }
    Ok(Manifest {
        size,
        content,
        level,
        entries,
    })
}

fn read_page(input: &mut Reader<'_>) -> Result<Page, DecodeError> {
    input.array_of(2)?;
    let level = read_level(input)?;
    let entries = read_extents(input, level)?;
    if entries.is_empty() {
        return Err(input.invalid("no entries"));
    }
    total(&entries).ok_or_else(|| input.invalid("lengths that overflow"))?;
    Ok(Page { level, entries })
}

fn read_level(input: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let level = input.u64()?;
    match u8::try_from(level) {
        Ok(level) if level <= MAX_LEVEL => Ok(level),
        _ => Err(input.invalid(format!("level {level}"))),
    }
}

fn read_extents(input: &mut Reader<'_>, level: u8) -> Result<Vec<Extent>, DecodeError> {
    let items = input.array()?;
    if items % 2 != 0 || items > 2 * NODE_ENTRIES as u64 {
        return Err(input.invalid(format!("{items} items in the list of entries")));
    }
    let mut entries = Vec::with_capacity((items / 2) as usize);
    for _ in 0..items / 2 {
        let extent = Extent {
            hash: input.hash()?,
            len: input.u64()?,
        };
        if extent.len == 0 || (level == 0 && extent.len > MAX_CHUNK_LEN) {
            return Err(input.invalid(format!("an entry of {} bytes", extent.len)));
        }
        entries.push(extent);
    }
    Ok(entries)
}

fn total(entries: &[Extent]) -> Option<u64> {
    entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.len))
}

/// Builds a manifest from chunks as they come, handing out every page as soon as it is full.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    /// The unfinished node of every level, chunks first.
    open: Vec<Vec<Extent>>,
    size: u64,
}

impl ManifestBuilder {
    /// Starts an empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a chunk of `len` bytes, 1 to [`MAX_CHUNK_LEN`]. Pages that are now complete go to `emit`.
    pub fn push<E>(&mut self, chunk: ChunkId, len: u64, emit: &mut impl FnMut(Page) -> Result<(), E>) -> Result<(), E> {
        self.size += len;
        self.append(
            0,
            Extent {
                hash: *chunk.hash(),
                len,
            },
            emit,
        )
    }

    fn append<E>(
        &mut self,
        level: usize,
        extent: Extent,
        emit: &mut impl FnMut(Page) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.open.len() == level {
            self.open.push(Vec::new());
        }
        // A full node is closed only when one more entry arrives: a list that just fits stays inline.
        let full = match self.open.get_mut(level) {
            Some(node) if node.len() < NODE_ENTRIES => {
                node.push(extent);
                return Ok(());
            }
            Some(node) => std::mem::replace(node, vec![extent]),
            None => return Ok(()),
        };
        let parent = close(level, full, emit)?;
        self.append(level + 1, parent, emit)
    }

    /// Ends the file, emitting the last page of every level, and returns its manifest.
    pub fn finish<E>(
        mut self,
        content: ContentHash,
        emit: &mut impl FnMut(Page) -> Result<(), E>,
    ) -> Result<Manifest, E> {
        let mut level = 0;
        while level + 1 < self.open.len() {
            let node = self.open.get_mut(level).map(std::mem::take).unwrap_or_default();
            let parent = close(level, node, emit)?;
            self.append(level + 1, parent, emit)?;
            level += 1;
        }
        let entries = self.open.pop().unwrap_or_default();
        Ok(Manifest {
            size: self.size,
            content,
            level: level as u8,
            entries,
        })
    }
}

/// Emits a node as a page and returns the entry that stands for it one level up.
fn close<E>(level: usize, entries: Vec<Extent>, emit: &mut impl FnMut(Page) -> Result<(), E>) -> Result<Extent, E> {
    let page = Page {
        level: level as u8,
        entries,
    };
    let extent = Extent {
        hash: *page.id().hash(),
        len: total(&page.entries).unwrap_or(u64::MAX),
    };
    emit(page)?;
    Ok(extent)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use super::*;

    /// Builds a manifest of `count` chunks of one byte each, and its pages.
    fn build(count: usize) -> (Manifest, HashMap<Hash, Page>) {
        let mut pages = HashMap::new();
        let mut emit = |page: Page| -> Result<(), Infallible> {
            pages.insert(*page.id().hash(), page);
            Ok(())
        };
        let mut builder = ManifestBuilder::new();
        for index in 0..count {
            builder.push(ChunkId::of(&index.to_le_bytes()), 1, &mut emit).unwrap();
        }
        let content = ContentHash::from_hash(*ChunkId::of(b"content").hash());
        let manifest = builder.finish(content, &mut emit).unwrap();
        (manifest, pages)
    }

    fn leaves(level: u8, entries: &[Extent], pages: &HashMap<Hash, Page>, out: &mut Vec<Extent>) {
        if level == 0 {
            out.extend_from_slice(entries);
            return;
        }
        for entry in entries {
            let page = &pages[&entry.hash];
            assert_eq!(page.level, level - 1);
            leaves(page.level, &page.entries, pages, out);
        }
    }

    #[test]
    fn long_lists_become_pages_and_come_back_in_order() {
        for count in [
            0,
            1,
            NODE_ENTRIES,
            NODE_ENTRIES + 1,
            3 * NODE_ENTRIES,
            3 * NODE_ENTRIES + 7,
        ] {
            let (manifest, pages) = build(count);
            assert_eq!(manifest.level, u8::from(count > NODE_ENTRIES));
            let mut found = Vec::new();
            leaves(manifest.level, &manifest.entries, &pages, &mut found);
            assert_eq!(found.len(), count);
            assert!(
                found
                    .iter()
                    .enumerate()
                    .all(|(i, extent)| extent.chunk() == ChunkId::of(&i.to_le_bytes()))
            );
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
            for page in pages.values() {
                assert_eq!(Page::decode(&page.encode()).as_ref(), Ok(page));
            }
        }
    }

    #[test]
    fn wrong_sums_and_lengths_are_refused() {
        let (good, _) = build(3);
        let mut wrong_size = good.clone();
        wrong_size.size += 1;
        assert!(Manifest::decode(&wrong_size.encode()).is_err());
        let mut empty_chunk = good.clone();
        empty_chunk.entries[0].len = 0;
        empty_chunk.size -= 1;
        assert!(Manifest::decode(&empty_chunk.encode()).is_err());
        let mut huge = good.clone();
        huge.entries[0].len = u64::MAX;
        assert!(Manifest::decode(&huge.encode()).is_err());
        let mut level = good;
        level.level = 9;
        assert!(Manifest::decode(&level.encode()).is_err());
    }

    #[test]
    fn other_encodings_of_the_same_value_are_refused() {
        let (manifest, _) = build(1);
        let bytes = manifest.encode();
        // The size 1 as a two-byte integer: well-formed, not canonical.
        let mut long = bytes.clone();
        long.splice(1..2, [0x18, 0x01]);
        assert_eq!(Manifest::decode(&long), Err(DecodeError::NotCanonical("manifest")));
        let mut tail = bytes;
        tail.push(0);
        assert_eq!(Manifest::decode(&tail), Err(DecodeError::NotCanonical("manifest")));
    }
}
