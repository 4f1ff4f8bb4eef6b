//! Answers from a repository, without any network.

use std::collections::{HashSet, VecDeque};

use fai_core::object::{Commit, CommitId, Hash, Id, Kind, Object};
use fai_core::repo::{Error, Repository};

/// Bytes of commits in one answer, which leaves room for what frames them.
const COMMITS_BYTES: usize = 900 << 10;

/// Commits in one answer.
const COMMITS_COUNT: usize = 4096;

/// Ids looked at for one answer, whatever they stand for.
const COMMITS_LOOKED_AT: usize = 4 * COMMITS_COUNT;

/// Bytes of refs in one answer.
const REFS_BYTES: usize = 512 << 10;

/// Encoded commits from `want` backwards, children before parents, without those in `have`: as many as fit.
pub(super) fn commits(repository: &Repository, want: &[Hash], have: &[Hash]) -> Result<Vec<Vec<u8>>, Error> {
    let mut met: HashSet<Hash> = have.iter().copied().collect();
    let mut waiting: VecDeque<Hash> = want.iter().copied().collect();
    let (mut commits, mut bytes) = (Vec::new(), 0);
    for _ in 0..COMMITS_LOOKED_AT {
        let Some(hash) = waiting.pop_front() else { break };
        if !met.insert(hash) {
            continue;
        }
        // What is not here, or is no commit, is left out: who asks will see.
        let raw = match repository.store().with(Kind::Commit, &hash, |raw, _| raw.to_vec()) {
            Ok(raw) => raw,
            Err(Error::Missing { .. }) => continue,
            Err(error) => return Err(error),
        };
        let commit = Commit::decode(&raw).map_err(|source| Error::Invalid {
            kind: Kind::Commit,
            hash,
            source,
        })?;
        bytes += raw.len();
        if !commits.is_empty() && (bytes > COMMITS_BYTES || commits.len() >= COMMITS_COUNT) {
            break;
        }
        waiting.extend(commit.parents.iter().map(|id| *id.hash()));
        commits.push(raw);
    }
    Ok(commits)
}

/// Refs whose names come after `after`, as many as fit.
pub(super) fn refs(repository: &Repository, after: &str) -> Result<Vec<(String, CommitId)>, Error> {
    let mut room = REFS_BYTES;
    let all = repository.refs()?.into_iter().filter(|(name, _)| name.as_str() > after);
    Ok(all
        .take_while(|(name, _)| {
            let needed = name.len() + Hash::LEN + 16;
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
        .collect())
}

/// Answers to the first hashes of a request.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// As they go out.
    pub bytes: Vec<u8>,
    /// How many of them are records.
    pub records: u64,
    /// How many hashes they answer.
    pub hashes: usize,
    /// Nothing is answered, because the first record alone is as long as this.
    pub too_long: Option<u64>,
}

/// Answers to the first of `hashes`, until `room` bytes are full. No more than `most` bytes are in memory at any time,
/// and one record beside them if it is not the first.
pub(super) fn records(repository: &Repository, hashes: &[Hash], room: usize, most: u64) -> Result<Answers, Error> {
    let (mut out, mut record) = (Answers::default(), Vec::new());
    for hash in hashes {
        let left = most.saturating_sub(out.bytes.len() as u64);
        match repository.store().record_within(hash, left, &mut record)? {
            Some(header) if header.record_len() > left => {
                out.too_long = Some(header.record_len()).filter(|_| out.hashes == 0);
                break;
            }
            Some(_) => {
                out.records += 1;
                // Often there is one only, which need not be copied.
                match out.bytes.is_empty() {
                    true => out.bytes = std::mem::take(&mut record),
                    false => out.bytes.extend_from_slice(&record),
                }
            }
            None => crate::wire::records::write_absent(hash, &mut out.bytes),
        }
        out.hashes += 1;
        if out.bytes.len() >= room {
            break;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fai_core::repo::InitOptions;

    #[test]
    fn answers_keep_within_their_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
        let noise = |seed: u64| fai_testkit::noise(seed, 10_000);
        let (hashes, _) = repository
            .store()
            .write(1, &|_| (), |feeder| {
                (0..8).map(|seed| Ok(feeder.object(Kind::Page, noise(seed))?)).collect()
            })
            .unwrap();
        let hashes: Vec<Hash> = hashes;
        let all = records(&repository, &hashes, 1 << 20, 1 << 20).unwrap();
        assert_eq!((all.hashes, all.records, all.too_long), (8, 8, None));
        // As many as there is room for.
        let some = records(&repository, &hashes, 1 << 20, 35_000).unwrap();
        assert_eq!((some.hashes, some.records, some.too_long), (3, 3, None));
        assert!(some.bytes.len() <= 35_000 && all.bytes.starts_with(&some.bytes));
        let one = records(&repository, &hashes, 1, 35_000).unwrap();
        assert_eq!(one.hashes, 1);
        // One that is longer by itself says so, and comes when there is room for it.
        let none = records(&repository, &hashes, 1 << 20, 9000).unwrap();
        let len = none.too_long.unwrap();
        assert_eq!((none.hashes, none.bytes.len(), len), (0, 0, one.bytes.len() as u64));
        let alone = records(&repository, &hashes, 1 << 20, len).unwrap();
        assert_eq!((alone.hashes, alone.bytes), (1, one.bytes));
        // What is absent is told, too, before the one that does not fit.
        let absent = [Kind::Chunk.hash(b"nowhere"), hashes[0]];
        let told = records(&repository, &absent, 1 << 20, 9000).unwrap();
        assert_eq!((told.hashes, told.records, told.too_long), (1, 0, None));
    }
}
