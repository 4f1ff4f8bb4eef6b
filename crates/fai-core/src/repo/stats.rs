//! `stats`: what is stored, what the same files would take as dated copies, and where the difference comes from.

use std::collections::BTreeMap;

use super::reach::{NeededBy, Visit};
use super::snapshot::Entry;
use super::{Error, Repository};
use crate::codec::Codec;
use crate::object::{Commit, CommitId, Hash, Kind};
use crate::storage::{list_packs, pack_path};

/// Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Every distinct pair of path and file that refs, `HEAD` and staging lead to: what dated copies would take.
    pub logical_bytes: u64,
    /// Raw lengths of all distinct chunks stored.
    pub unique_bytes: u64,
    /// All pack files together, as long as they are on disk.
    pub stored_bytes: u64,
    /// Distinct pairs of path and file.
    pub files: u64,
    /// Commits that refs and `HEAD` lead to.
    pub commits: u64,
    /// Distinct chunks stored.
    pub chunks: u64,
    /// Pack files.
    pub packs: u64,
    /// The chunks by their encoding's name.
    pub by_encoding: BTreeMap<&'static str, EncodingStats>,
    /// What is saved as equal bytes are stored once: `logical_bytes - unique_bytes`, or 0 when more is stored than is
    /// reachable.
    pub saved_identical: u64,
    /// What packs hold besides the chunks' payloads: objects, record headers, indexes.
    pub overhead_bytes: u64,
    /// By how much more than `logical_bytes` is stored, raw: chunks that nothing leads to any more.
    pub unreferenced_bytes: u64,
    /// Deltas by the number of deltas that it takes to decode them; the first entry counts those of one.
    pub delta_depths: Vec<u64>,
}

/// Encodings that make chunks shorter, in the order in which people are told of them.
const SHORTENING: [Codec; 4] = [Codec::Delta, Codec::Planes, Codec::Zstd, Codec::Constant];

/// Chunks of one encoding. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodingStats {
    /// Number of chunks.
    pub count: u64,
    /// Their length as they were read.
    pub raw_bytes: u64,
    /// Their length as they are stored.
    pub stored_bytes: u64,
}

impl EncodingStats {
    /// What the encoding saves; it never costs.
    pub fn saved(&self) -> u64 {
        self.raw_bytes.saturating_sub(self.stored_bytes)
    }
}

impl Stats {
    /// The part of `logical_bytes` that need not be stored: `1 - stored / logical`. 0 when nothing is stored, below 0
    /// when packs take more than the files would, as they do for a few tiny files.
    pub fn savings(&self) -> f64 {
        if self.logical_bytes == 0 {
            return 0.0;
        }
        1.0 - self.stored_bytes as f64 / self.logical_bytes as f64
    }

    /// What is saved, in bytes, by each cause: equal chunks stored once (`identical`), and the encodings by their names.
    /// `logical_bytes + unreferenced_bytes`, less all of these, plus `overhead_bytes`, is `stored_bytes`.
    pub fn savings_by_cause(&self) -> Vec<(&'static str, u64)> {
        saved_by_encoding(self.saved_identical, &self.by_encoding)
    }

    /// `bytes` as a part of `logical_bytes`; 0 when those are none.
    pub fn share(&self, bytes: u64) -> f64 {
        match self.logical_bytes {
            0 => 0.0,
            logical => bytes as f64 / logical as f64,
        }
    }
}

/// What is saved by equal chunks and by each encoding.
pub(super) fn saved_by_encoding(
    identical: u64,
    by_encoding: &BTreeMap<&'static str, EncodingStats>,
) -> Vec<(&'static str, u64)> {
    let encoded = SHORTENING.map(|codec| {
        let name = codec.name();
        (name, by_encoding.get(name).map_or(0, EncodingStats::saved))
    });
    std::iter::once(("identical", identical)).chain(encoded).collect()
}

impl Repository {
    /// Sums over the repository. Reads commits and folders, no chunks.
    ///
    /// # Errors
    /// When the database or an object cannot be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        self.walk_reachable(&self.roots()?, &mut stats)?;
        for totals in self.store().index().record_totals()? {
            if totals.kind == Kind::Chunk {
                let encoding = EncodingStats {
                    count: totals.count,
                    raw_bytes: totals.raw_bytes,
                    stored_bytes: totals.encoded_bytes,
                };
                stats.chunks += encoding.count;
                stats.unique_bytes += encoding.raw_bytes;
                stats.by_encoding.insert(totals.codec.name(), encoding);
            }
        }
        let folder = self.store().packs().folder();
        let (names, _) = list_packs(folder)?;
        for name in &names {
            let path = pack_path(folder, name);
            stats.stored_bytes += path.metadata().map_err(Error::io("read", &path))?.len();
        }
        stats.packs = names.len() as u64;
        stats.saved_identical = stats.logical_bytes.saturating_sub(stats.unique_bytes);
        stats.unreferenced_bytes = stats.unique_bytes.saturating_sub(stats.logical_bytes);
        stats.delta_depths = self.store().index().delta_depths()?;
        let payloads = stats.by_encoding.values().map(|encoding| encoding.stored_bytes).sum();
        stats.overhead_bytes = stats.stored_bytes.saturating_sub(payloads);
        Ok(stats)
    }
}

impl Visit for Stats {
    fn commit(&mut self, _: CommitId, _: &Commit) {
        self.commits += 1;
    }

    fn file(&mut self, _: NeededBy<'_>, entry: Entry) -> Result<(), Error> {
        self.files += 1;
        self.logical_bytes = self.logical_bytes.saturating_add(entry.size);
        Ok(())
    }

    fn broken(&mut self, _: NeededBy<'_>, _: Kind, _: Hash, error: Error) -> Result<(), Error> {
        Err(error)
    }
}
