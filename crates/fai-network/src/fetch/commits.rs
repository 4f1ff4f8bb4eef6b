//! Which commits are missing: from the refs backwards, until everything is here.

use std::collections::{HashSet, VecDeque};

use fai_core::object::{Commit, CommitId, Id, Kind, Object, TreeId};
use fai_core::repo::{Repository, Store};
use fai_core::storage::Feeder;

use super::Remote;
use crate::Error;

/// Most commits named in one request.
const ASK: usize = 1024;

/// Fetches the commits that `wants` lead to and that are not in the repository. Returns how many there were, and hands
/// their root trees to `root`.
pub(super) fn fetch(
    runtime: &tokio::runtime::Handle,
    repository: &Repository,
    store: &Store,
    remote: &mut Remote,
    wants: &[CommitId],
    feeder: &mut Feeder<'_>,
    mut root: impl FnMut(TreeId),
) -> Result<u64, Error> {
    let have: Vec<CommitId> = repository
        .refs()?
        .into_iter()
        .map(|(_, commit)| commit)
        .take(ASK)
        .collect();
    let mut met: HashSet<CommitId> = HashSet::new();
    let mut missing: VecDeque<CommitId> = VecDeque::new();
    let mut count = 0;
    // Looked at: a commit in the repository is complete, one in quarantine leads on, others are missing.
    let mut waiting: Vec<CommitId> = wants.to_vec();
    loop {
        while let Some(id) = waiting.pop() {
            if repository.store().has(id.hash())? || !met.insert(id) {
                continue;
            }
            if store.has_here(id.hash())? {
                let commit: Commit = store.get(id)?;
                count += 1;
                root(commit.tree);
                waiting.extend(commit.parents);
            } else {
                missing.push_back(id);
            }
        }
        if missing.is_empty() {
            return Ok(count);
        }
        let ask: Vec<CommitId> = missing.drain(..missing.len().min(ASK)).collect();
        let commits = runtime.block_on(remote.commits(&ask, &have))?;
        if commits.is_empty() {
            let hash = ask
                .first()
                .map(|id| *id.hash())
                .unwrap_or_else(|| Kind::Commit.hash(b""));
            return Err(Error::Nowhere {
                kind: Kind::Commit.name(),
                hash,
            });
        }
        let came: HashSet<CommitId> = commits.iter().map(|(id, _)| *id).collect();
        missing.extend(ask.into_iter().filter(|id| !came.contains(id)));
        missing.retain(|id| !came.contains(id));
        for (id, commit) in commits {
            let fresh = met.insert(id) || !repository.store().has(id.hash())?;
            if fresh {
                feeder
                    .object(Kind::Commit, commit.encode())
                    .map_err(fai_core::repo::Error::from)?;
                count += 1;
                root(commit.tree);
            }
            waiting.extend(commit.parents.into_iter().filter(|parent| !came.contains(parent)));
        }
    }
}
