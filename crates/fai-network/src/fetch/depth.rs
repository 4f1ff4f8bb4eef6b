//! The newest commits only: generation by generation from the wanted ones backwards, as many as are asked for.
//!
//! There is no request for it. Whoever asks for commits gets a piece of history back to where the answerer stopped, at
//! most some 900 KB; what lies deeper than wanted is not kept.

use std::collections::{HashMap, HashSet};

use fai_core::object::{Commit, CommitId, Id, Kind, Object, TreeId};
use fai_core::repo::{Quarantine, Repository};
use fai_core::storage::Feeder;

use super::{Depth, Remote};
use crate::Error;

/// Most commits named in one request.
const ASK: usize = 1024;

/// Fetches the commits that `wants` lead to within `depth` and that are not in the repository. Returns them, hands their
/// root trees to `root`, and tells the quarantine where history is cut.
pub(super) fn fetch(
    runtime: &tokio::runtime::Handle,
    repository: &Repository,
    quarantine: &Quarantine,
    remote: &mut Remote,
    (wants, depth): (&[CommitId], Depth),
    feeder: &mut Feeder<'_>,
    mut root: impl FnMut(CommitId, TreeId),
) -> Result<HashSet<CommitId>, Error> {
    let (own, store) = (repository.store(), quarantine.store());
    let mut came: HashMap<CommitId, Commit> = HashMap::new();
    let mut new: HashMap<CommitId, Vec<CommitId>> = HashMap::new();
    let mut met: HashSet<CommitId> = HashSet::new();
    // With each, whether it lies behind a commit that the repository has: then there is nothing to connect it with.
    let mut level: Vec<(CommitId, bool)> = wants.iter().map(|id| (*id, false)).collect();
    let mut generation = 0;
    while !level.is_empty() {
        generation += 1;
        level.retain(|(id, _)| met.insert(*id));
        let mut missing = Vec::new();
        for (id, _) in &level {
            if !store.has(id.hash())? && !came.contains_key(id) {
                missing.push(*id);
            }
        }
        if !missing.is_empty() {
            // Answers hold more than was asked for; of what a peer sends unasked no more than one answer stays.
            let needed: HashSet<CommitId> = level.iter().map(|(id, _)| *id).collect();
            came.retain(|id, _| needed.contains(id));
        }
        ask(runtime, remote, missing, &mut came)?;
        let mut next = Vec::new();
        for (id, behind) in level {
            let known = own.has_here(Kind::Commit, id.hash())?;
            let commit = match came.remove(&id) {
                Some(commit) => commit,
                None if store.has(id.hash())? => store.get::<Commit>(id)?,
                // The peer's history is cut here, and so will be this one; but not before what was asked for.
                None if generation == 1 => {
                    return Err(Error::Nowhere {
                        kind: Kind::Commit.name(),
                        hash: *id.hash(),
                    });
                }
                None => continue,
            };
            if !known {
                if !store.has_here(Kind::Commit, id.hash())? {
                    let stored = feeder.object(Kind::Commit, commit.encode());
                    stored.map_err(fai_core::repo::Error::from)?;
                }
                root(id, commit.tree);
                new.insert(id, commit.parents.clone());
            }
            let behind = behind || known;
            if generation < depth.commits || (depth.connect && !behind) {
                next.extend(commit.parents.into_iter().map(|parent| (parent, behind)));
            }
        }
        level = next;
    }
    let mut cuts = Vec::new();
    for (id, parents) in &new {
        for parent in parents {
            if !new.contains_key(parent) && !own.has_here(Kind::Commit, parent.hash())? {
                cuts.push(*id);
                break;
            }
        }
    }
    quarantine.cut(cuts)?;
    Ok(new.into_keys().collect())
}

/// Asks for commits until all of them came, or the peer has none of the rest.
fn ask(
    runtime: &tokio::runtime::Handle,
    remote: &mut Remote,
    mut missing: Vec<CommitId>,
    came: &mut HashMap<CommitId, Commit>,
) -> Result<(), Error> {
    while !missing.is_empty() {
        let wanted: Vec<CommitId> = missing.iter().copied().take(ASK).collect();
        // Without `have`: what lies behind it may be just what is missing.
        came.extend(runtime.block_on(remote.commits(&wanted, &[]))?);
        let before = missing.len();
        missing.retain(|id| !came.contains_key(id));
        if missing.len() == before {
            missing.retain(|id| !wanted.contains(id));
        }
    }
    Ok(())
}
