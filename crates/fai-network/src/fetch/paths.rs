//! How many paths the trees of a commit stand for: trees that name each other again and again can stand for more than any
//! machine could list, though they are few and small. What a single object must be is the plan's to check.

use std::collections::HashMap;

use fai_core::object::{Id, Kind, MAX_PATH_LEN, Tree, TreeId};
use fai_core::repo::Store;

use crate::Error;
use crate::session::plan::{Contradiction, MAX_PATHS};

/// Most bytes of all their paths.
const MAX_PATH_BYTES: u64 = 1 << 30;

/// What lies below a folder.
#[derive(Debug, Clone, Copy, Default)]
struct Below {
    /// Files and folders.
    paths: u64,
    /// Bytes of their paths, from that folder on.
    bytes: u64,
    /// Bytes of the longest one.
    longest: usize,
}

impl Below {
    /// Adds an entry and what lies below it.
    fn add(&mut self, name: &str, below: Below) {
        let step = name.len() + 1;
        let paths = below.paths.saturating_add(1);
        self.paths = self.paths.saturating_add(paths);
        let bytes = paths.saturating_mul(step as u64).saturating_add(below.bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        self.longest = self.longest.max(step.saturating_add(below.longest));
    }

    fn is_too_much(&self) -> bool {
        // Every name brings a separator, the last one of a path too many.
        self.paths > MAX_PATHS as u64 || self.bytes > MAX_PATH_BYTES || self.longest > MAX_PATH_LEN + 1
    }
}

/// A folder that is being gone through.
struct Open {
    id: TreeId,
    tree: Tree,
    at: usize,
    below: Below,
}

/// Refuses root trees that stand for too many or too long paths. All of what they lead to must be in `store`, and each
/// tree of it is read once.
pub(super) fn check(store: &Store, roots: &[TreeId]) -> Result<(), Error> {
    let mut known: HashMap<TreeId, Below> = HashMap::new();
    for root in roots {
        let mut open: Vec<Open> = Vec::new();
        let mut enter = (!known.contains_key(root)).then_some(*root);
        loop {
            if let Some(id) = enter.take() {
                let (tree, at, below) = (store.get(id)?, 0, Below::default());
                open.push(Open { id, tree, at, below });
            }
            let depth = open.len();
            let Some(folder) = open.last_mut() else { break };
            // Every folder on the way is two bytes of a path or more.
            if folder.below.is_too_much() || depth > MAX_PATH_LEN / 2 + 1 {
                let (kind, hash) = (Kind::Tree, *root.hash());
                let reason = "its paths are too many or too long".into();
                return Err(Contradiction { kind, hash, reason }.into());
            }
            let Some(entry) = folder.tree.entries().get(folder.at) else {
                known.insert(folder.id, folder.below);
                open.pop();
                continue;
            };
            let below = match entry.tree_id() {
                None => Some(Below::default()),
                Some(id) => known.get(&id).copied().or_else(|| {
                    enter = Some(id);
                    None
                }),
            };
            if let Some(below) = below {
                folder.below.add(&entry.name, below);
                folder.at += 1;
            }
        }
    }
    Ok(())
}
