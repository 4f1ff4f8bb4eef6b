//! The paths at which two versions differ, and what is there in each of them. What that means for people (renames,
//! tensors, sums) is not here.

use std::collections::BTreeMap;

use super::diff::{Side, Version};
use super::snapshot::{Entry, Snapshot, in_scope, leads_into};
use super::{Error, Progress, Repository};
use crate::object::{Commit, CommitId, EntryKind, RepoPath, Tree, TreeEntry, TreeId};

/// The files of a version by path.
type Files = BTreeMap<RepoPath, Side>;

/// A path and what is there in the old and in the new version.
pub(super) type Difference = (RepoPath, Option<Side>, Option<Side>);

impl Repository {
    /// The differing paths at and below `scopes`, or everywhere when there are none, in order.
    pub(super) fn differences(
        &self,
        old: Version,
        new: Version,
        scopes: &[RepoPath],
        progress: &dyn Progress,
    ) -> Result<Vec<Difference>, Error> {
        Ok(match (old, new) {
            (old, new) if old == new => Vec::new(),
            (Version::Commit(old), Version::Commit(new)) => self.tree_differences(old, new, scopes)?,
            (Version::Worktree, new) => {
                let after = self.stored_files(new, scopes)?;
                differing(self.worktree_files(&after, scopes, progress)?, after)
            }
            (old, Version::Worktree) => {
                let before = self.stored_files(old, scopes)?;
                let after = self.worktree_files(&before, scopes, progress)?;
                differing(before, after)
            }
            (old, new) => differing(self.stored_files(old, scopes)?, self.stored_files(new, scopes)?),
        })
    }

    /// Walks two commits' trees together. Folders that are the same in both are not read.
    fn tree_differences(&self, old: CommitId, new: CommitId, scopes: &[RepoPath]) -> Result<Vec<Difference>, Error> {
        let root = |commit| -> Result<TreeId, Error> { Ok(self.store().get::<Commit>(commit)?.tree) };
        let read = |tree: Option<TreeId>| -> Result<Vec<TreeEntry>, Error> {
            let tree = tree.map(|tree| self.store().get::<Tree>(tree)).transpose()?;
            Ok(tree.map(Tree::into_entries).unwrap_or_default())
        };
        let mut differences = Vec::new();
        let mut pending = Vec::new();
        let roots = (root(old)?, root(new)?);
        if roots.0 != roots.1 {
            pending.push((RepoPath::root(), Some(roots.0), Some(roots.1)));
        }
        while let Some((folder, before, after)) = pending.pop() {
            let named = |entries: Vec<TreeEntry>| entries.into_iter().map(|entry| (entry.name.clone(), entry));
            for (name, before, after) in paired(named(read(before)?), named(read(after)?)) {
                let path = folder.join(&name);
                let tree = |entry: &Option<TreeEntry>| entry.as_ref().and_then(TreeEntry::tree_id);
                let trees = (tree(&before), tree(&after));
                let sides = (before.as_ref().and_then(side), after.as_ref().and_then(side));
                if trees.0 != trees.1 && leads_into(&path, scopes) {
                    pending.push((path.clone(), trees.0, trees.1));
                }
                if sides.0 != sides.1 && in_scope(&path, scopes) {
                    differences.push((path, sides.0, sides.1));
                }
            }
        }
        differences.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(differences)
    }

    /// The files of a commit, or of the index, which is also what the worktree is compared with first.
    fn stored_files(&self, version: Version, scopes: &[RepoPath]) -> Result<Files, Error> {
        let files = match version {
            Version::Empty => Default::default(),
            Version::Commit(commit) => self.snapshot_within(Some(commit), scopes)?,
            Version::Index | Version::Worktree => self.expected(scopes)?.0,
        };
        Ok(files.into_iter().map(|(path, entry)| (path, entry.into())).collect())
    }

    /// The tracked files that are in the worktree. Those that hold what the index says, or what `other` says of
    /// their path, have its id. Reads what the stat cache cannot vouch for.
    fn worktree_files(&self, other: &Files, scopes: &[RepoPath], progress: &dyn Progress) -> Result<Files, Error> {
        self.need_worktree("diff")?;
        let tracked = self.stored_files(Version::Index, scopes)?;
        let (found, mut missing) = self.look_at(&tracked.keys().collect::<Vec<_>>());
        let absent = self.absences()?.take(&mut missing);
        let on_disk = found.iter().map(|found| {
            let (size, executable) = (found.stat.size, found.executable);
            let side = Side {
                file: None,
                size,
                executable,
            };
            (found.path.clone(), side)
        });
        let mut files: Files = on_disk.collect();
        // What is not here on purpose was not changed.
        files.extend(
            absent
                .into_iter()
                .filter_map(|path| Some((path.clone(), *tracked.get(&path)?))),
        );
        for (known, refuted) in [(&tracked, None), (other, Some(&tracked))] {
            // The executable bit is taken from the disk, so that it does not hide what is known of the content. A file
            // that was just found not to be what the index says need not be compared with the same thing again.
            let asked: Snapshot = files
                .iter()
                .filter(|(_, side)| side.file.is_none())
                .filter_map(|(path, side)| {
                    let known_side = known.get(path).filter(|known| known.size == side.size)?;
                    let refuted = refuted.and_then(|files| files.get(path)?.file);
                    let file = known_side.file.filter(|file| Some(*file) != refuted)?;
                    let (size, executable) = (side.size, side.executable);
                    Some((path.clone(), Entry { file, size, executable }))
                })
                .collect();
            if asked.is_empty() {
                continue;
            }
            let pairs = found.iter().filter_map(|found| Some((found, *asked.get(&found.path)?)));
            let modified = self.modified(&self.stat_cache()?, pairs.collect(), progress)?;
            for (path, entry) in asked {
                if modified.binary_search(&path).is_err() {
                    files.insert(path, entry.into());
                }
            }
        }
        Ok(files)
    }
}

/// What an entry of a tree is, unless it is a folder.
fn side(entry: &TreeEntry) -> Option<Side> {
    Some(Side {
        file: Some(entry.file_id()?),
        size: entry.size,
        executable: entry.kind == EntryKind::Executable,
    })
}

/// The paths that differ. Content that is only on disk differs from everything.
fn differing(old: Files, new: Files) -> Vec<Difference> {
    let pairs = paired(old.into_iter(), new.into_iter());
    pairs.into_iter().filter(|(_, old, new)| old != new).collect()
}

/// Merges two lists that are sorted by key.
fn paired<K: Ord, V>(
    old: impl Iterator<Item = (K, V)>,
    new: impl Iterator<Item = (K, V)>,
) -> Vec<(K, Option<V>, Option<V>)> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return pairs,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let (old_key, before) = before.unzip();
        let (new_key, after) = after.unzip();
        pairs.extend(old_key.or(new_key).map(|key| (key, before, after)));
    }
}
