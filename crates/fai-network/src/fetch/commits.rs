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
    mut root: impl FnMut(TreeId),
) -> Result<HashSet<CommitId>, Error> {
    let have: Vec<CommitId> = repository
        .refs()?
        .into_iter()
        .map(|(_, commit)| commit)
        .take(ASK)
        .collect();
    // Those that are new here, whether they came now or lie in quarantine from before.
    let mut new: HashSet<CommitId> = HashSet::new();
    let mut missing: VecDeque<CommitId> = VecDeque::new();
    // Looked at: a commit in the repository is complete, one in quarantine leads on, others are missing.
    let mut waiting: Vec<CommitId> = wants.to_vec();
    loop {
        while let Some(id) = waiting.pop() {
            if repository.store().has_here(Kind::Commit, id.hash())? || !new.insert(id) {
                continue;
            }
            if store.has_here(Kind::Commit, id.hash())? {
                let commit: Commit = store.get(id)?;
                root(commit.tree);
                waiting.extend(commit.parents);
            } else {
                missing.push_back(id);
            }
        }
        if missing.is_empty() {
            return Ok(new);
        }
        let ask: Vec<CommitId> = missing.drain(..missing.len().min(ASK)).collect();
        let mut wanted: HashSet<CommitId> = ask.iter().chain(&missing).copied().collect();
        let commits = runtime.block_on(remote.commits(&ask, &have))?;
        let mut came = 0;
        for (id, commit) in commits {
            // One that is here already, or came before, is of no use.
            let known =
                !wanted.remove(&id) && (repository.store().has_here(Kind::Commit, id.hash())? || !new.insert(id));
            if !known {
                feeder
                    .object(Kind::Commit, commit.encode())
                    .map_err(fai_core::repo::Error::from)?;
                came += 1;
                root(commit.tree);
                waiting.extend(commit.parents);
            }
        }
        missing = ask
            .into_iter()
            .chain(missing)
            .filter(|id| wanted.contains(id))
            .collect();
        if came == 0 {
            let hash = missing.front().map_or_else(|| Kind::Commit.hash(b""), |id| *id.hash());
            return Err(Error::Nowhere {
                kind: Kind::Commit.name(),
                hash,
            });
        }
    }
}
