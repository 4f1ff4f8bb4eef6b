//! What is to be transferred: a commit's tree with files and chunks of plausible sizes. Chunks are names and lengths only,
//! for whoever schedules them looks at nothing else.

use std::collections::HashMap;
use std::convert::Infallible;

use fai_core::object::{ContentHash, Extent, FileId, Hash, Id, Kind, Manifest, Object, Tree, TreeEntry, TreeId};
use fai_network::session::plan::Local;

/// Random numbers that a seed repeats (splitmix64, Steele, Lea and Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from `range`.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.within(0..count) == 0
    }
}

/// Everything that the root leads to.
pub struct World {
    pub root: TreeId,
    /// Objects by hash, with their bytes; chunks have none.
    pub records: HashMap<Hash, Vec<u8>>,
    pub bytes: u64,
    /// The chunks of every file, in the order of the files' names.
    pub files: Vec<Vec<Extent>>,
}

impl World {
    /// `files` files of up to `chunks` chunks of up to `len` bytes each, some of which stand in several files.
    pub fn new(dice: &mut Dice, files: u64, chunks: u64, len: u64) -> Self {
        let (mut records, mut bytes, mut all) = (HashMap::new(), 0, Vec::new());
        let mut shared: Vec<Extent> = Vec::new();
        for file in 0..files {
            let mut extents = Vec::new();
            for chunk in 0..dice.within(1..chunks + 1) {
                let fresh = shared.is_empty() || !dice.one_in(10);
                let extent = if fresh {
                    named(&format!("{file}/{chunk}"), dice.within(len / 2..len) + 1)
                } else {
                    shared[dice.within(0..shared.len() as u64) as usize]
                };
                if fresh {
                    bytes += extent.len;
                    records.insert(extent.hash, Vec::new());
                    shared.push(extent);
                }
                extents.push(extent);
            }
            all.push(extents);
        }
        Self::of(all, records, bytes)
    }

    /// So many versions of a model, of which every chunk is new in each.
    pub fn versions(versions: u64, chunks: u64, len: u64) -> Self {
        let version = |version| (0..chunks).map(move |chunk| named(&format!("{version}/{chunk}"), len));
        let files: Vec<Vec<Extent>> = (0..versions).map(|number| version(number).collect()).collect();
        let records = files.iter().flatten().map(|extent| (extent.hash, Vec::new()));
        let records = records.collect();
        Self::of(files, records, versions * chunks * len)
    }

    fn of(files: Vec<Vec<Extent>>, mut records: HashMap<Hash, Vec<u8>>, bytes: u64) -> Self {
        let mut entries = Vec::new();
        for (number, extents) in files.iter().enumerate() {
            let manifest = Manifest {
                size: extents.iter().map(|extent| extent.len).sum(),
                content: ContentHash::from_hash(Kind::Chunk.hash(&number.to_le_bytes())),
                level: 0,
                entries: extents.clone(),
            };
            let encoded = manifest.encode();
            let id = FileId::from_hash(Kind::Manifest.hash(&encoded));
            records.insert(*id.hash(), encoded);
            entries.push(TreeEntry::file(format!("file{number:05}"), id, manifest.size, false));
        }
        let tree = Tree::new(entries).unwrap();
        let root = tree.id();
        records.insert(*root.hash(), tree.encode());
        Self {
            root,
            records,
            bytes,
            files,
        }
    }

    /// Every chunk with its length, once.
    pub fn chunks(&self) -> HashMap<Hash, u64> {
        let extents = self.files.iter().flatten();
        extents.map(|extent| (extent.hash, extent.len)).collect()
    }
}

fn named(name: &str, len: u64) -> Extent {
    let hash = Kind::Chunk.hash(name.as_bytes());
    Extent { hash, len }
}

/// What this side has: chunks of the repository, and what has come so far.
#[derive(Default)]
pub struct Here {
    /// Chunks that can be read, and how many deltas lead to each.
    pub readable: HashMap<Hash, usize>,
    /// Those that are written and cannot be read yet.
    pub written: HashMap<Hash, usize>,
}

impl Here {
    /// What was written can be read now.
    pub fn seal(&mut self) {
        self.readable.extend(self.written.drain());
    }
}

impl Local for Here {
    type Error = Infallible;

    fn complete(&self, _: Kind, _: &Hash) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn quarantined(&self, _: Kind, _: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }

    fn object(&self, _: Kind, _: &Hash) -> Result<Vec<u8>, Infallible> {
        unreachable!("what is fetched is everything, from its root down")
    }

    fn has_chunk(&self, hash: &Hash) -> Result<bool, Infallible> {
        Ok(self.readable.contains_key(hash) || self.written.contains_key(hash))
    }

    fn depth(&self, chunk: &Hash) -> Result<Option<usize>, Infallible> {
        Ok(self.readable.get(chunk).copied())
    }
}

/// Bytes of an object on the wire.
pub const OBJECT: u64 = 4096;
