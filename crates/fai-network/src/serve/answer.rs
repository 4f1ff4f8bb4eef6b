//! Answers from a repository, without any network.

use std::collections::{HashSet, VecDeque};

use fai_core::object::{Commit, CommitId, Hash, Id, Kind, Object};
use fai_core::repo::{Error, Reencoder, Repository};
use fai_core::storage::{RecordHeader, max_raw_len};

use crate::session::bases::{Form, Offer};
use crate::wire::records::{write_absent, write_offer};

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

/// Answers to the first of `asks`, until `room` bytes are full. No more than `most` bytes of them are in memory at any time,
/// and one record beside them if it is not the first. Without `reencoder` none may be asked for that must stand alone.
pub(super) fn records(
    repository: &Repository,
    asks: &[(Hash, Form)],
    room: usize,
    most: u64,
    mut reencoder: Option<&mut Reencoder>,
) -> Result<Answers, Error> {
    let (store, mut out, mut record) = (repository.store(), Answers::default(), Vec::new());
    for (hash, form) in asks {
        let left = most.saturating_sub(out.bytes.len() as u64);
        let mut found = store.record_within(hash, left, &mut record)?;
        if let Some(RecordHeader {
            base: Some(base),
            encoded_len: len,
            kind,
            ..
        }) = found
        {
            if *form == Form::Alone {
                // How long it gets is not known before; it is no longer than it can be.
                let longest = RecordHeader::PLAIN_LEN as u64 + max_raw_len(kind);
                if longest > left {
                    out.too_long = Some(longest).filter(|_| out.hashes == 0);
                    break;
                }
                found = match &mut reencoder {
                    Some(reencoder) => reencoder.record(store, hash, &mut record)?,
                    None => None,
                };
            } else if *form != Form::Against(base) {
                write_offer(hash, &Offer { base, len }, &mut out.bytes);
                out.hashes += 1;
                continue;
            }
        }
        match found {
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
            None => write_absent(hash, &mut out.bytes),
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
        let asks: Vec<(Hash, Form)> = hashes.iter().map(|hash| (*hash, Form::Any)).collect();
        let records = |asks: &[_], room, most| records(&repository, asks, room, most, None).unwrap();
        let all = records(&asks, 1 << 20, 1 << 20);
        assert_eq!((all.hashes, all.records, all.too_long), (8, 8, None));
        // As many as there is room for.
        let some = records(&asks, 1 << 20, 35_000);
        assert_eq!((some.hashes, some.records, some.too_long), (3, 3, None));
        assert!(some.bytes.len() <= 35_000 && all.bytes.starts_with(&some.bytes));
        let one = records(&asks, 1, 35_000);
        assert_eq!(one.hashes, 1);
        // One that is longer by itself says so, and comes when there is room for it.
        let none = records(&asks, 1 << 20, 9000);
        let len = none.too_long.unwrap();
        assert_eq!((none.hashes, none.bytes.len(), len), (0, 0, one.bytes.len() as u64));
        let alone = records(&asks, 1 << 20, len);
        assert_eq!((alone.hashes, alone.bytes), (1, one.bytes));
        // What is absent is told, too, before the one that does not fit.
        let absent = [(Kind::Chunk.hash(b"nowhere"), Form::Any), asks[0]];
        let told = records(&absent, 1 << 20, 9000);
        assert_eq!((told.hashes, told.records, told.too_long), (1, 0, None));
    }
}
