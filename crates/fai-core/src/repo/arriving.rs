//! Hashing files while their chunks come in, so that they need not be read again to be held against their content hashes.
//!
//! Chunks come roughly in the order in which they were asked for, which is that of their files. One that is next in its file is
//! hashed, one that is early waits, as long as there is room. What cannot be hashed that way (its chunk was here
//! already, or came too early) is left as a prefix, from which [`super::Quarantine::check_files`] goes on.

use std::collections::HashMap;

use crate::object::{ContentHash, Extent, FileId, Hash, Manifest};

/// Bytes of chunks that may wait for those before them.
const ROOM: usize = 64 << 20;

/// Chunks of files that arrive, all lists together.
const MOST_ENTRIES: usize = 1 << 17;

/// The beginning of a file, hashed.
#[derive(Debug, Clone, Default)]
pub struct Prefix {
    /// How many of its chunks.
    pub chunks: usize,
    pub(super) hasher: Box<blake3::Hasher>,
}

/// What was hashed of the files that arrive.
#[derive(Debug, Default)]
pub struct Prefixes {
    files: HashMap<FileId, Prefix>,
    whole: HashMap<FileId, ContentHash>,
}

impl Prefixes {
    /// True when the whole file was hashed, and is what its manifest says.
    pub(super) fn is_checked(&self, id: &FileId, manifest: &Manifest) -> bool {
        self.whole.get(id) == Some(&manifest.content)
    }

    /// The hashed beginning of a file.
    pub(super) fn of(&self, id: &FileId) -> Option<Prefix> {
        self.files.get(id).cloned()
    }
}

/// A file that arrives.
#[derive(Debug)]
struct File {
    id: FileId,
    extents: Vec<Extent>,
    hashed: usize,
    /// Takes 2 KB: most files of many wait for their first chunk.
    hasher: Option<Box<blake3::Hasher>>,
}

/// Files that arrive, chunk by chunk.
#[derive(Debug, Default)]
pub struct Arriving {
    /// Those of which chunks are awaited, by a number.
    files: HashMap<u64, File>,
    last: u64,
    /// Which files go on with a chunk.
    next: HashMap<Hash, Vec<u64>>,
    /// In how many places a chunk is needed further on.
    needed: HashMap<Hash, u32>,
    early: HashMap<Hash, Vec<u8>>,
    /// Bytes in `early`.
    waiting: usize,
    /// Entries in the lists of `files`.
    entries: usize,
    done: Prefixes,
}

impl Arriving {
    /// A file whose chunks will come. One with pages is left to be read afterwards.
    pub fn expect(&mut self, id: FileId, manifest: Manifest) {
        if manifest.level != 0 || manifest.entries.is_empty() {
            return;
        }
        if self.entries + manifest.entries.len() > MOST_ENTRIES {
            self.make_room();
        }
        self.entries += manifest.entries.len();
        for extent in &manifest.entries {
            *self.needed.entry(extent.hash).or_default() += 1;
        }
        self.last += 1;
        let file = File {
            id,
            extents: manifest.entries,
            hashed: 0,
            hasher: None,
        };
        self.files.insert(self.last, file);
        self.go_on(self.last);
    }

    /// A chunk came, and its hash was checked. Returns memory that can be used again.
    pub fn came(&mut self, hash: Hash, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let Some(places) = self.needed.get(&hash) else {
            return Some(bytes);
        };
        if *places > 1 || !self.next.contains_key(&hash) {
            // It may wait: a short chunk in a long one's memory would take more than is counted.
            bytes.shrink_to_fit();
        }
        if !self.next.contains_key(&hash) && self.waiting + bytes.len() > ROOM {
            self.make_room();
            if self.waiting + bytes.len() > ROOM {
                return Some(bytes);
            }
        }
        self.waiting += bytes.len();
        if let Some(same) = self.early.insert(hash, bytes) {
            self.waiting -= same.len();
        }
        let mut last = None;
        for file in self.next.remove(&hash).unwrap_or_default() {
            last = self.go_on(file).or(last);
        }
        last
    }

    /// Hashes what is there of a file from where it stands. Returns memory that is not needed any more.
    fn go_on(&mut self, number: u64) -> Option<Vec<u8>> {
        let mut free = None;
        let file = self.files.get_mut(&number)?;
        while let Some(extent) = file.extents.get(file.hashed) {
            let Some(bytes) = self.early.get(&extent.hash) else {
                self.next.entry(extent.hash).or_default().push(number);
                return free;
            };
            if bytes.len() as u64 != extent.len {
                // Whoever made the manifest lied; reading the file as a whole will say so.
                self.leave(number);
                return free;
            }
            file.hasher.get_or_insert_default().update(bytes);
            file.hashed += 1;
            if let Some(bytes) = no_longer(&mut self.needed, &mut self.early, &extent.hash) {
                self.waiting -= bytes.len();
                free = Some(bytes);
            }
        }
        if let Some(file) = self.files.remove(&number) {
            self.entries -= file.extents.len();
            let hasher = file.hasher.unwrap_or_default();
            let content = Hash::from_bytes(*hasher.finalize().as_bytes());
            self.done.whole.insert(file.id, ContentHash::from_hash(content));
        }
        free
    }

    /// Files that chunks wait for, while what comes before them does not come, are left.
    fn make_room(&mut self) {
        let mut stalled: Vec<u64> = self.next.values().flatten().copied().collect();
        stalled.sort_unstable();
        // The oldest: what comes now belongs to the newest.
        stalled.truncate(stalled.len().saturating_sub(1));
        for number in stalled {
            self.leave(number);
        }
    }

    /// A file is left as it is, and its chunks are not waited for.
    fn leave(&mut self, number: u64) {
        let Some(file) = self.files.remove(&number) else { return };
        self.entries -= file.extents.len();
        let rest = file.extents.get(file.hashed..).unwrap_or_default();
        if let Some(extent) = rest.first()
            && let Some(numbers) = self.next.get_mut(&extent.hash)
        {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.next.remove(&extent.hash);
            }
        }
        for extent in rest {
            if let Some(bytes) = no_longer(&mut self.needed, &mut self.early, &extent.hash) {
                self.waiting -= bytes.len();
            }
        }
        if let Some(hasher) = file.hasher {
            let chunks = file.hashed;
            self.done.files.insert(file.id, Prefix { chunks, hasher });
        }
    }

    /// What was hashed, when nothing more comes.
    pub fn finish(mut self) -> Prefixes {
        let left: Vec<u64> = self.files.keys().copied().collect();
        for number in left {
            self.leave(number);
        }
        self.done
    }
}

/// A chunk is needed in one place fewer; its bytes, when that was the last one.
fn no_longer(needed: &mut HashMap<Hash, u32>, early: &mut HashMap<Hash, Vec<u8>>, hash: &Hash) -> Option<Vec<u8>> {
    let count = needed.get_mut(hash)?;
    *count -= 1;
    if *count > 0 {
        return None;
    }
    needed.remove(hash);
    early.remove(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Id, Kind};
    use proptest::prelude::*;

    /// Chunk number `n`, of some length.
    fn chunk(n: u8) -> Vec<u8> {
        vec![n; 1 + n as usize * 3]
    }

    fn manifest(chunks: &[u8]) -> (FileId, Manifest) {
        let extent = |n: &u8| Extent {
            hash: Kind::Chunk.hash(&chunk(*n)),
            len: chunk(*n).len() as u64,
        };
        let bytes: Vec<u8> = chunks.iter().flat_map(|n| chunk(*n)).collect();
        let manifest = Manifest {
            size: bytes.len() as u64,
            content: ContentHash::from_hash(Kind::Chunk.hash(&bytes)),
            level: 0,
            entries: chunks.iter().map(extent).collect(),
        };
        (FileId::from_hash(Kind::Manifest.hash(chunks)), manifest)
    }

    proptest! {
        #[test]
        fn whatever_the_order_what_is_hashed_is_a_true_prefix(
            files in prop::collection::vec(prop::collection::vec(0u8..12, 1..12), 1..6),
            order in Just((0u8..12).collect::<Vec<u8>>()).prop_shuffle(),
            missing in prop::option::of(0u8..12),
        ) {
            let mut arriving = Arriving::default();
            let manifests: Vec<(FileId, Manifest)> = files.iter().map(|file| manifest(file)).collect();
            for (id, manifest) in &manifests {
                arriving.expect(*id, manifest.clone());
            }
            for n in order.into_iter().filter(|n| Some(*n) != missing) {
                arriving.came(Kind::Chunk.hash(&chunk(n)), chunk(n));
            }
            prop_assert!(arriving.waiting <= 12 * 40);
            let prefixes = arriving.finish();
            for ((id, manifest), chunks) in manifests.iter().zip(&files) {
                let there = chunks.iter().position(|n| Some(*n) == missing);
                prop_assert_eq!(prefixes.is_checked(id, manifest), there.is_none());
                if let (Some(there), Some(prefix)) = (there, prefixes.of(id)) {
                    let bytes: Vec<u8> = chunks[..there].iter().flat_map(|n| chunk(*n)).collect();
                    prop_assert_eq!(prefix.chunks, there);
                    prop_assert_eq!(prefix.hasher.finalize(), blake3::hash(&bytes));
                }
            }
        }
    }

    #[test]
    fn what_waits_holds_no_more_than_it_is_long() {
        let (id, file) = manifest(&[1, 2, 3, 4, 4]);
        let mut arriving = Arriving::default();
        arriving.expect(id, file);
        for n in [4, 3, 2] {
            let mut roomy = Vec::with_capacity(1 << 20);
            roomy.extend_from_slice(&chunk(n));
            arriving.came(Kind::Chunk.hash(&chunk(n)), roomy);
        }
        let held: usize = arriving.early.values().map(Vec::capacity).sum();
        assert!(held < 1000 && arriving.early.len() == 3, "{held}");
    }

    #[test]
    fn what_waits_is_bounded() {
        let big = |n: u8| vec![n; 8 << 20];
        let extent = |n: u8| Extent {
            hash: Kind::Chunk.hash(&big(n)),
            len: 8 << 20,
        };
        let file = |numbers: std::ops::Range<u8>| Manifest {
            size: 0,
            content: ContentHash::from_hash(Kind::Chunk.hash(b"")),
            level: 0,
            entries: numbers.map(extent).collect(),
        };
        let (one, other) = (
            FileId::from_hash(Kind::Manifest.hash(b"1")),
            FileId::from_hash(Kind::Manifest.hash(b"2")),
        );
        let mut arriving = Arriving::default();
        arriving.expect(one, file(0..20));
        arriving.expect(other, file(20..40));
        // Its first chunk does not come.
        for n in 1..20 {
            arriving.came(extent(n).hash, big(n));
            assert!(arriving.waiting <= ROOM);
        }
        for n in 20..40 {
            arriving.came(extent(n).hash, big(n));
            assert!(arriving.waiting <= ROOM);
        }
        let prefixes = arriving.finish();
        assert!(prefixes.of(&one).is_none(), "nothing of it was hashed");
        assert!(
            prefixes.whole.contains_key(&other),
            "one that stalls does not stop another"
        );
    }
}
