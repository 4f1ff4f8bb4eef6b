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

/// Answers to the first of `hashes`, until `room` bytes are full; how many of them are records, and how many hashes they
/// answer.
pub(super) fn records(repository: &Repository, hashes: &[Hash], room: usize) -> Result<(Vec<u8>, u64, usize), Error> {
    let (mut out, mut count, mut answered, mut record) = (Vec::with_capacity(room), 0, 0, Vec::new());
    for hash in hashes {
        match repository.store().record(hash, &mut record)? {
            Some(_) => {
                out.extend_from_slice(&record);
                count += 1;
            }
            None => crate::wire::records::write_absent(hash, &mut out),
        }
        answered += 1;
        if out.len() >= room {
            break;
        }
    }
    Ok((out, count, answered))
}
