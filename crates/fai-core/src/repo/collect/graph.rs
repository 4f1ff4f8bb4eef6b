//! Which delta stands on which, for a repacking that changes it: no loop may come of it at any moment, and no long chain.
//!
//! What is changed is on trial until the fresh packs are in the index, all of a batch at once.

use std::collections::HashMap;

use super::mark::start;
use crate::object::Hash;
use crate::repo::{Error, Repository};
use crate::storage::{LONGEST_CHAIN, MAX_CHAIN};

/// Most deltas below a chunk for a while, until all that hangs on it is moved as well. Readers follow twice as many.
const LONG: usize = LONGEST_CHAIN / 2;

/// All deltas and their bases, eight bytes for each hash: what shares them is at worst kept as it is.
#[derive(Debug, Default)]
pub(super) struct Graph {
    bases: HashMap<u64, u64>,
    /// Deltas above a chunk that others stand on, at the most.
    heights: HashMap<u64, usize>,
    /// What the bases were that this batch changes.
    before: Vec<(u64, Option<u64>)>,
}

impl Graph {
    /// Reads it from the index.
    pub fn read(repository: &Repository) -> Result<Self, Error> {
        let mut graph = Self::default();
        repository.database().for_each_delta(|hash, base| {
            graph.bases.insert(start(&hash), start(&base));
            Ok::<_, Error>(())
        })?;
        graph.measure();
        Ok(graph)
    }

    fn measure(&mut self) {
        let mut heights: HashMap<u64, usize> = HashMap::new();
        for chunk in self.bases.keys() {
            for (height, below) in self.below(*chunk).enumerate() {
                let known = heights.entry(below).or_default();
                *known = (*known).max(height + 1);
            }
        }
        self.heights = heights;
    }

    /// What is below a chunk, as far as readers follow.
    fn below(&self, chunk: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(self.bases.get(&chunk).copied(), |base| self.bases.get(base).copied()).take(LONGEST_CHAIN)
    }

    /// Deltas that decoding a chunk takes.
    pub fn depth(&self, chunk: &Hash) -> usize {
        self.below(start(chunk)).count()
    }

    /// True when a chunk may stand on that one.
    pub fn allows(&self, chunk: &Hash, base: &Hash) -> bool {
        let (chunk, base) = (start(chunk), start(base));
        let height = self.heights.get(&chunk).copied().unwrap_or(0);
        let loops = chunk == base || self.below(base).any(|below| below == chunk);
        !loops && self.below(base).count() + 1 + height <= LONG
    }

    /// From now on a chunk stands on that one, or alone.
    pub fn set(&mut self, chunk: &Hash, base: Option<&Hash>) {
        let chunk = start(chunk);
        let before = match base {
            Some(base) => self.bases.insert(chunk, start(base)),
            None => self.bases.remove(&chunk),
        };
        self.before.push((chunk, before));
        let height = self.heights.get(&chunk).copied().unwrap_or(0);
        let raised: Vec<u64> = self.below(chunk).collect();
        for (links, below) in raised.into_iter().enumerate() {
            let known = self.heights.entry(below).or_default();
            *known = (*known).max(height + links + 1);
        }
    }

    /// A batch begins: one before that was not kept did not happen.
    pub fn begin(&mut self) {
        while let Some((chunk, before)) = self.before.pop() {
            match before {
                Some(base) => self.bases.insert(chunk, base),
                None => self.bases.remove(&chunk),
            };
        }
    }

    /// What the batch changed is in the index.
    pub fn keep(&mut self) {
        self.before.clear();
    }

    /// Chunks with longer chains than writers make.
    pub fn too_deep(repository: &Repository) -> Result<Vec<Hash>, Error> {
        let graph = Self::read(repository)?;
        let mut deep = Vec::new();
        repository.database().for_each_delta(|hash, _| {
            if graph.depth(&hash) > MAX_CHAIN {
                deep.push(hash);
            }
            Ok::<_, Error>(())
        })?;
        Ok(deep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;

    fn chunk(number: u8) -> Hash {
        Kind::Chunk.hash(&[number])
    }

    #[test]
    fn loops_and_long_chains_are_refused() {
        let mut graph = Graph::default();
        graph.set(&chunk(1), Some(&chunk(0)));
        graph.set(&chunk(2), Some(&chunk(1)));
        graph.keep();
        assert_eq!([0, 1, 2].map(|n| graph.depth(&chunk(n))), [0, 1, 2]);
        assert!(!graph.allows(&chunk(0), &chunk(2)) && !graph.allows(&chunk(1), &chunk(1)));
        assert!(graph.allows(&chunk(2), &chunk(0)) && graph.allows(&chunk(9), &chunk(2)));
        for next in 3..=LONG as u8 {
            graph.set(&chunk(next), Some(&chunk(next - 1)));
        }
        assert!(!graph.allows(&chunk(100), &chunk(LONG as u8)), "too deep");
        assert!(!graph.allows(&chunk(0), &chunk(100)), "too much above it");
    }

    #[test]
    fn what_a_batch_changed_is_undone_unless_it_is_kept() {
        let mut graph = Graph::default();
        graph.set(&chunk(1), Some(&chunk(0)));
        graph.keep();
        graph.set(&chunk(1), None);
        graph.set(&chunk(0), Some(&chunk(1)));
        assert!(!graph.allows(&chunk(1), &chunk(0)));
        graph.begin();
        assert_eq!([0, 1].map(|n| graph.depth(&chunk(n))), [0, 1]);
        assert!(!graph.allows(&chunk(0), &chunk(1)));
    }
}
