//! `stats PATH...`: what some files of a commit cost. Which of their bytes other files hold, too, which are stored for
//! them alone, and what these are differences to. Sums over the whole repository are in `stats`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::reach::{NeededBy, Visit};
use super::snapshot::Entry;
use super::stats::{EncodingStats, saved_by_encoding};
use super::{Error, Repository};
use crate::object::{CommitId, FileId, Hash, Kind, RepoPath};

/// What files cost. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsBelow {
    /// Distinct pairs of path and file.
    pub files: u64,
    /// The files as separate copies.
    pub logical_bytes: u64,
    /// Their distinct chunks.
    pub chunks: u64,
    /// Raw lengths of those.
    pub unique_bytes: u64,
    /// What those take in packs, record headers included.
    pub stored_bytes: u64,
    /// Raw lengths of the chunks that others hold, too: files of any commit or staged, with other content or at other paths.
    pub shared_bytes: u64,
    /// What those take in packs.
    pub shared_stored_bytes: u64,
    /// Raw lengths of the chunks that no other file holds.
    pub own_bytes: u64,
    /// What those take in packs: what would not be stored without these files, unless others are encoded against them.
    pub own_stored_bytes: u64,
    /// Raw lengths of chunks that are not here, as they are in a repository that holds a part.
    pub absent_bytes: u64,
    /// The chunks that are here, by their encoding's name.
    pub by_encoding: BTreeMap<&'static str, EncodingStats>,
    /// Headers of their records.
    pub overhead_bytes: u64,
    /// Deltas by the number of deltas that it takes to decode them; the first entry counts those of one.
    pub delta_depths: Vec<u64>,
    /// The files that hold what the deltas are differences to, those with the most of it first.
    pub bases: Vec<BaseFile>,
}

/// A file that others are encoded against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFile {
    /// Its path.
    pub path: RepoPath,
    /// A commit that has it there; `None` when it is staged only.
    pub commit: Option<CommitId>,
    /// Its id.
    pub file: FileId,
    /// Chunks that are encoded against chunks of it. One that several files hold counts for the file with the most.
    pub chunks: u64,
    /// Raw length of those.
    pub bytes: u64,
}

impl StatsBelow {
    /// What is saved because equal chunks among these files are stored once.
    pub fn saved_identical(&self) -> u64 {
        self.logical_bytes.saturating_sub(self.unique_bytes)
    }

    /// As [`Stats::savings_by_cause`](super::Stats::savings_by_cause): `logical_bytes` less all of these and
    /// `absent_bytes`, plus `overhead_bytes`, is `stored_bytes`.
    pub fn savings_by_cause(&self) -> Vec<(&'static str, u64)> {
        saved_by_encoding(self.saved_identical(), &self.by_encoding)
    }

    /// `bytes` as a part of `logical_bytes`; 0 when those are none.
    pub fn share(&self, bytes: u64) -> f64 {
        match self.logical_bytes {
            0 => 0.0,
            logical => bytes as f64 / logical as f64,
        }
    }
}

/// A chunk of the files in question.
struct Chunk {
    raw: u64,
    shared: bool,
}

/// What is known of a base chunk: how many chunks are encoded against it, and their raw length.
#[derive(Default)]
struct Above {
    chunks: u64,
    bytes: u64,
}

/// Looks for the chunks in question in all other files.
struct Others<'a> {
    repository: &'a Repository,
    chosen: BTreeSet<(RepoPath, FileId)>,
    chunks: HashMap<Hash, Chunk>,
    bases: HashMap<Hash, Above>,
    /// Files that were looked at, and whether as one of the others.
    seen: HashSet<(FileId, bool)>,
    holders: Vec<(BaseFile, Vec<Hash>)>,
}

impl Repository {
    /// What the files at and below `paths` cost, each in its commit. Reads the manifests of all files that refs, `HEAD`
    /// and staging lead to, no chunks.
    ///
    /// # Errors
    /// [`Error::NotInRevision`] when nothing is at a path; when the database or an object cannot be read.
    pub fn stats_below(&self, paths: &[(CommitId, RepoPath)]) -> Result<StatsBelow, Error> {
        let mut stats = StatsBelow::default();
        let mut chosen: BTreeSet<(RepoPath, FileId)> = BTreeSet::new();
        for (commit, path) in paths {
            let files = self.snapshot_within(Some(*commit), std::slice::from_ref(path))?;
            if files.is_empty() && !path.is_root() {
                return Err(Error::NotInRevision {
                    path: path.clone(),
                    revision: commit.short(),
                });
            }
            for (path, entry) in files {
                if chosen.insert((path, entry.file)) {
                    stats.files += 1;
                    stats.logical_bytes = stats.logical_bytes.saturating_add(entry.size);
                }
            }
        }
        let files: HashSet<FileId> = chosen.iter().map(|(_, file)| *file).collect();
        let mut others = Others {
            repository: self,
            chunks: self.chunks_of(&files)?,
            chosen,
            bases: HashMap::new(),
            seen: HashSet::new(),
            holders: Vec::new(),
        };
        self.count_stored(&mut others, &mut stats)?;
        self.walk_reachable(&self.roots()?, &mut others)?;
        for (hash, chunk) in &others.chunks {
            let stored = self
                .database()
                .locate(hash)?
                .map_or(0, |found| found.header.record_len());
            let (raw, packed) = match chunk.shared {
                true => (&mut stats.shared_bytes, &mut stats.shared_stored_bytes),
                false => (&mut stats.own_bytes, &mut stats.own_stored_bytes),
            };
            *raw += chunk.raw;
            *packed += stored;
        }
        stats.bases = others.bases_by_use();
        Ok(stats)
    }

    /// The distinct chunks of files.
    fn chunks_of(&self, files: &HashSet<FileId>) -> Result<HashMap<Hash, Chunk>, Error> {
        let mut chunks = HashMap::new();
        for file in files {
            self.open_file(*file)?.for_each_chunk(&mut |_, extent| {
                let (raw, shared) = (extent.len, false);
                chunks.entry(extent.hash).or_insert(Chunk { raw, shared });
                Ok::<_, Error>(())
            })?;
        }
        Ok(chunks)
    }

    /// Counts how the chunks are stored, and notes what they are encoded against.
    fn count_stored(&self, others: &mut Others<'_>, stats: &mut StatsBelow) -> Result<(), Error> {
        for (hash, chunk) in &others.chunks {
            stats.chunks += 1;
            stats.unique_bytes += chunk.raw;
            let found = self.database().locate(hash)?;
            let Some(header) = found
                .map(|found| found.header)
                .filter(|header| header.kind == Kind::Chunk)
            else {
                stats.absent_bytes += chunk.raw;
                continue;
            };
            stats.stored_bytes += header.record_len();
            stats.overhead_bytes += header.header_len() as u64;
            let encoding = stats.by_encoding.entry(header.codec.name()).or_default();
            encoding.count += 1;
            encoding.raw_bytes += u64::from(header.raw_len);
            encoding.stored_bytes += u64::from(header.encoded_len);
            let Some(base) = header.base else { continue };
            let above = others.bases.entry(base).or_default();
            above.chunks += 1;
            above.bytes += chunk.raw;
            // A chain that leads to what is not here counts as one.
            let depth = self.store().depth(hash)?.unwrap_or(1).max(1);
            if stats.delta_depths.len() < depth {
                stats.delta_depths.resize(depth, 0);
            }
            if let Some(count) = stats.delta_depths.get_mut(depth - 1) {
                *count += 1;
            }
        }
        Ok(())
    }
}

impl Others<'_> {
    /// The files that hold the bases: always that which holds the most of those that are left.
    fn bases_by_use(mut self) -> Vec<BaseFile> {
        let mut found = Vec::new();
        loop {
            let bases = &self.bases;
            let held = |hashes: &[Hash]| -> (u64, u64) {
                let above = hashes.iter().filter_map(|hash| bases.get(hash));
                above.fold((0, 0), |sum, above| (sum.0 + above.chunks, sum.1 + above.bytes))
            };
            // Of equals the first: what was met first is newest.
            let counted = self.holders.iter().map(|(file, hashes)| (file, hashes, held(hashes)));
            let best = counted.rev().max_by_key(|(_, _, (_, bytes))| *bytes);
            let Some((file, hashes, (chunks, bytes))) = best.filter(|(_, _, (chunks, _))| *chunks > 0) else {
                return found;
            };
            let (file, hashes) = (file.clone(), hashes.clone());
            found.push(BaseFile { chunks, bytes, ..file });
            for hash in hashes {
                self.bases.remove(&hash);
            }
        }
    }
}

impl Visit for Others<'_> {
    fn file(&mut self, from: NeededBy<'_>, entry: Entry) -> Result<(), Error> {
        let (path, commit) = match from {
            NeededBy::Path(path, commit) => (path, Some(commit)),
            NeededBy::Staged(path) => (path, None),
            NeededBy::Root(_) | NeededBy::Child(_) => return Ok(()),
        };
        // The same file at another path is another one: without these it would still be stored.
        let other = !self.chosen.contains(&(path.clone(), entry.file));
        if !self.seen.insert((entry.file, other)) {
            return Ok(());
        }
        let mut held = Vec::new();
        self.repository
            .open_file(entry.file)?
            .for_each_chunk(&mut |_, extent| {
                if let Some(chunk) = self.chunks.get_mut(&extent.hash).filter(|_| other) {
                    chunk.shared = true;
                }
                if self.bases.contains_key(&extent.hash) {
                    held.push(extent.hash);
                }
                Ok::<_, Error>(())
            })?;
        if !held.is_empty() {
            // One that the file holds twice counts once.
            held.sort_unstable();
            held.dedup();
            let file = BaseFile {
                path: path.clone(),
                commit,
                file: entry.file,
                chunks: 0,
                bytes: 0,
            };
            self.holders.push((file, held));
        }
        Ok(())
    }

    fn broken(&mut self, _: NeededBy<'_>, _: Kind, _: Hash, error: Error) -> Result<(), Error> {
        Err(error)
    }
}
