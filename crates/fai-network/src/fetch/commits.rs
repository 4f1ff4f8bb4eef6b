//! Which commits are missing: from the refs backwards, until everything is here.

use std::collections::{HashSet, VecDeque};

use fai_core::object::{Commit, CommitId, Id, Kind, Object, TreeId};
use fai_core::repo::{Repository, Store};
use fai_core::storage::Feeder;

use super::Remote;
use crate::Error;

/// Most commits named in one request.
const ASK: usize = 1024;

/// Fetches the commits that `wants` lead to and that are not in the repository. Returns them, and hands their root trees
/// to `root`.
pub(super) fn fetch(
    runtime: &tokio::runtime::Handle,
    repository: &Repository,
    store: &Store,
    remote: &mut Remote,
    wants: &[CommitId],
    feeder: &mut Feeder<'_>,
    mut root: impl FnMut(CommitId, TreeId),
) -> Result<HashSet<CommitId>, Error> {
    let have: Vec<CommitId> = repository
        .refs()?
        .into_iter()
        .map(|(_, commit)| commit)
        .take(ASK)
        .collect();
    // Those that are new here, whether they came now or lie in quarantine from before.
    let mut new: HashSet<CommitId> = HashSet::new();
    // Those that are nowhere here, and the order in which they are asked for; what came by itself is only in the order.
    let (mut missing, mut order): (HashSet<CommitId>, VecDeque<CommitId>) = Default::default();
    // Looked at: a commit in the repository is complete, one in quarantine leads on, others are missing.
    let mut waiting: Vec<CommitId> = wants.to_vec();
    loop {
        while let Some(id) = waiting.pop() {
            if repository.store().has_here(Kind::Commit, id.hash())? || !new.insert(id) {
                continue;
            }
            if store.has_here(Kind::Commit, id.hash())? {
                let commit: Commit = store.get(id)?;
                root(id, commit.tree);
                waiting.extend(commit.parents);
            } else {
                missing.insert(id);
                order.push_back(id);
            }
        }
        let mut ask = Vec::new();
        while ask.len() < ASK
            && let Some(id) = order.pop_front()
        {
            if missing.contains(&id) {
                ask.push(id);
            }
        }
        let Some(first) = ask.first().copied() else {
            return Ok(new);
        };
        for (id, commit) in runtime.block_on(remote.commits(&ask, &have))? {
            // One that is here already, or came before, is of no use.
            let known =
                !missing.remove(&id) && (repository.store().has_here(Kind::Commit, id.hash())? || !new.insert(id));
            if !known {
                feeder
                    .object(Kind::Commit, commit.encode())
                    .map_err(fai_core::repo::Error::from)?;
                root(id, commit.tree);
                waiting.extend(commit.parents);
            }
        }
        // An answer holds the first one that the peer has. Without this, what it names and does not have would pile up.
        if missing.contains(&first) {
            return Err(Error::Nowhere {
                kind: Kind::Commit.name(),
                hash: *first.hash(),
            });
        }
        for id in ask.into_iter().rev().filter(|id| missing.contains(id)) {
            order.push_front(id);
        }
    }
}
