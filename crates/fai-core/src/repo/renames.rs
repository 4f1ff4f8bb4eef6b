//! Which removed and added files are one file at two paths: by id, then by how many bytes lie in common chunks.

use std::collections::{HashMap, VecDeque};

use super::diff::Side;
use super::same_bytes::too_many_chunks;
use super::{Error, FileReader, Repository};
use crate::object::{FileId, Hash, RepoPath};

/// Smaller files are renamed only when they are exactly the same: they have no chunks to tell.
const SMALLEST: u64 = 4 << 10;

/// With more candidates than this on a side, nobody could check what a comparison of all pairs finds.
const MOST_CANDIDATES: usize = 200;

/// The least share of content that makes two files one, in percent.
const LEAST_SHARE: u8 = 50;

/// Chunks that stand for a file at the most: a sample of them for files beyond 4 GiB. Bounds memory to 70 MB in all.
const SKETCH: usize = 4096;

/// A removed or added file.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub path: RepoPath,
    pub side: Side,
}

/// A removed and an added file, by their places in the lists, that are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rename {
    pub removed: usize,
    pub added: usize,
    /// In percent; 100 for exactly the same content.
    pub similarity: u8,
}

impl Repository {
    /// Pairs removed with added files, none of them twice. Only stored files are paired.
    pub(super) fn find_renames(&self, removed: &[Candidate], added: &[Candidate]) -> Result<Vec<Rename>, Error> {
        let mut pairs = Pairs {
            removed: vec![false; removed.len()],
            added: vec![false; added.len()],
            renames: Vec::new(),
        };
        pairs.exact(removed, added, |file, candidate| (file, name(candidate).to_owned()));
        pairs.exact(removed, added, |file, _| file);
        let left = |files: &[Candidate], used: &[bool]| -> Vec<(usize, FileId, u64)> {
            let unused = files.iter().zip(used).enumerate().filter(|(_, (_, used))| !**used);
            let large = unused.filter(|(_, (file, _))| file.side.size >= SMALLEST);
            large
                .filter_map(|(index, (file, _))| Some((index, file.side.file?, file.side.size)))
                .collect()
        };
        let old = left(removed, &pairs.removed);
        let new = left(added, &pairs.added);
        if old.len() <= MOST_CANDIDATES && new.len() <= MOST_CANDIDATES {
            for (similarity, one, other) in self.similar(removed, added, &old, &new)? {
                pairs.take(one, other, similarity);
            }
        }
        Ok(pairs.renames)
    }

    /// All pairs that are similar enough, the most similar first; among equals those of the same name, then in order.
    fn similar(
        &self,
        removed: &[Candidate],
        added: &[Candidate],
        old: &[(usize, FileId, u64)],
        new: &[(usize, FileId, u64)],
    ) -> Result<Vec<(u8, usize, usize)>, Error> {
        // A file more than twice as long cannot share half of itself; who has no partner by size is not even read.
        let fits = |one: u64, other: u64| one.min(other).saturating_mul(2) >= one.max(other);
        let sketches = |these: &[(usize, FileId, u64)], those: &[(usize, FileId, u64)]| {
            let sketch = |(_, file, size): &(usize, FileId, u64)| {
                let wanted = those.iter().any(|(_, _, other)| fits(*size, *other));
                if !wanted {
                    return Ok(None);
                }
                let reader = self.open_file(*file)?;
                (!too_many_chunks(reader.manifest()))
                    .then(|| Sketch::of(&reader))
                    .transpose()
            };
            these.iter().map(sketch).collect::<Result<Vec<Option<Sketch>>, Error>>()
        };
        let (old_sketches, new_sketches) = (sketches(old, new)?, sketches(new, old)?);
        let mut pairs = Vec::new();
        for ((one, _, old_size), old_sketch) in old.iter().zip(&old_sketches) {
            for ((other, _, new_size), new_sketch) in new.iter().zip(&new_sketches) {
                if let (Some(before), Some(after)) = (old_sketch, new_sketch)
                    && fits(*old_size, *new_size)
                {
                    let share = before.share(after);
                    if share >= LEAST_SHARE {
                        pairs.push((share, *one, *other));
                    }
                }
            }
        }
        pairs.sort_by_cached_key(|(share, one, other)| {
            let same_name = removed.get(*one).map(name) == added.get(*other).map(name);
            (std::cmp::Reverse(*share), !same_name, *other, *one)
        });
        Ok(pairs)
    }
}

/// The pairs so far, and who is in one.
struct Pairs {
    removed: Vec<bool>,
    added: Vec<bool>,
    renames: Vec<Rename>,
}

impl Pairs {
    /// Makes a pair unless one of the two is in one.
    fn take(&mut self, removed: usize, added: usize, similarity: u8) {
        if let (Some(one @ false), Some(other @ false)) = (self.removed.get_mut(removed), self.added.get_mut(added)) {
            (*one, *other) = (true, true);
            self.renames.push(Rename {
                removed,
                added,
                similarity,
            });
        }
    }

    /// Pairs files that have the same key, in order.
    fn exact<K: std::hash::Hash + Eq>(
        &mut self,
        removed: &[Candidate],
        added: &[Candidate],
        key: impl Fn(FileId, &Candidate) -> K,
    ) {
        let key = |candidate: &Candidate| candidate.side.file.map(|file| key(file, candidate));
        let mut sources: HashMap<K, VecDeque<usize>> = HashMap::new();
        for (index, (candidate, used)) in removed.iter().zip(&self.removed).enumerate() {
            if !used && let Some(key) = key(candidate) {
                sources.entry(key).or_default().push_back(index);
            }
        }
        for (index, candidate) in added.iter().enumerate() {
            if self.added.get(index) == Some(&false)
                && let Some(source) = key(candidate).and_then(|key| sources.get_mut(&key)?.pop_front())
            {
                self.take(source, index, 100);
            }
        }
    }
}

fn name(candidate: &Candidate) -> &str {
    let path = candidate.path.as_str();
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The chunks of a file, or those whose hashes start with some zero bits when there are too many.
#[derive(Debug)]
struct Sketch {
    /// Number of zero bits.
    zeros: u32,
    /// Hashes in order, with the bytes that all occurrences in the file cover.
    chunks: Vec<(Hash, u64)>,
}

impl Sketch {
    fn of(file: &FileReader<'_>) -> Result<Self, Error> {
        let mut sketch = Self {
            zeros: 0,
            chunks: Vec::new(),
        };
        file.for_each_chunk(&mut |_, extent| -> Result<(), Error> {
            sketch.push(extent.hash, extent.len);
            Ok(())
        })?;
        sketch.shrink();
        Ok(sketch)
    }

    fn push(&mut self, hash: Hash, len: u64) {
        if passes(&hash, self.zeros) {
            self.chunks.push((hash, len));
        }
        if self.chunks.len() >= 2 * SKETCH {
            self.shrink();
        }
    }

    /// Merges occurrences of one chunk, and drops chunks until no more than [`SKETCH`] are left.
    fn shrink(&mut self) {
        self.chunks.sort_unstable_by_key(|(hash, _)| *hash);
        self.chunks.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        while self.chunks.len() > SKETCH && self.zeros < u64::BITS {
            self.zeros += 1;
            self.chunks.retain(|(hash, _)| passes(hash, self.zeros));
        }
    }

    /// The chunks that a sketch with so many zero bits keeps, in order.
    fn sample(&self, zeros: u32) -> impl Iterator<Item = &(Hash, u64)> {
        self.chunks.iter().filter(move |(hash, _)| passes(hash, zeros))
    }

    /// Bytes in common chunks against the larger of the two, in percent, at most 99: the same chunks in another order
    /// are not the same file.
    fn share(&self, other: &Self) -> u8 {
        let zeros = self.zeros.max(other.zeros);
        let sum = |sketch: &Self| -> u128 { sketch.sample(zeros).map(|(_, len)| u128::from(*len)).sum() };
        let larger = sum(self).max(sum(other));
        let (mut common, mut theirs) = (0u128, other.sample(zeros).peekable());
        for (hash, len) in self.sample(zeros) {
            while theirs.next_if(|(their_hash, _)| their_hash < hash).is_some() {}
            if let Some((_, their_len)) = theirs.next_if(|(their_hash, _)| their_hash == hash) {
                common += u128::from(*len.min(their_len));
            }
        }
        let percent = (common * 100).checked_div(larger).unwrap_or(0);
        u8::try_from(percent).unwrap_or(99).min(99)
    }
}

/// True when the hash starts with that many zero bits.
fn passes(hash: &Hash, zeros: u32) -> bool {
    let first = hash
        .as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    first.leading_zeros() >= zeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ChunkId, Id};

    fn sketch(chunks: impl Iterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch {
            zeros: 0,
            chunks: Vec::new(),
        };
        chunks.for_each(|index| sketch.push(*ChunkId::of(&index.to_le_bytes()).hash(), 1000));
        sketch.shrink();
        sketch
    }

    #[test]
    fn short_lists_are_compared_exactly() {
        let one = sketch(0..1000);
        assert_eq!(one.share(&sketch(400..1000)), 60);
        assert_eq!(one.share(&sketch(400..1400)), 60);
        assert_eq!(one.share(&sketch(1000..2000)), 0);
        assert_eq!(one.share(&sketch((0..1000).rev())), 99);
        assert_eq!(one.share(&sketch(0..0)), 0);
        assert_eq!(sketch(0..0).share(&sketch(0..0)), 0);
    }

    #[test]
    fn occurrences_count_as_often_as_both_have_them() {
        let repeated = |times: usize| sketch([7; 100].into_iter().take(times).chain(0..0));
        assert_eq!(repeated(100).share(&repeated(60)), 60);
    }

    #[test]
    fn long_lists_take_bounded_memory_and_are_compared_nearly() {
        let long = sketch(0..200_000);
        assert!(
            (SKETCH / 4..=SKETCH).contains(&long.chunks.len()),
            "{}",
            long.chunks.len()
        );
        for (other, share) in [
            (sketch(50_000..200_000), 75),
            (sketch(0..100_000), 50),
            (sketch(0..4000), 2),
        ] {
            let found = i32::from(long.share(&other));
            assert!((found - share).abs() <= 4, "{found} instead of {share}");
            assert_eq!(i32::from(other.share(&long)), found);
        }
    }
}
