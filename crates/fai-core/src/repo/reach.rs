//! What is reachable: every commit, folder and file that refs, `HEAD` and staging lead to, each met once.
//!
//! A folder that did not change from one version to the next is not entered again, so a long history costs what
//! changed in it. Nothing is recursive: neither a long history nor deep folders use up the stack.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::snapshot::Entry;
use super::{Error, Head, Repository};
use crate::database::Staged;
use crate::object::{Commit, CommitId, EntryKind, FileId, Hash, Id, Kind, RepoPath, Tree, TreeId};

/// Where walks begin.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Commits and what names them: a ref, or `HEAD` when it is detached.
    pub commits: Vec<(String, CommitId)>,
    /// What is staged.
    pub staging: BTreeMap<RepoPath, Staged>,
}

/// What leads to an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum NeededBy<'a> {
    /// A ref or `HEAD`.
    Root(&'a str),
    /// The commit whose parent it is.
    Child(CommitId),
    /// A path in a commit; the root folder has the empty path.
    Path(&'a RepoPath, CommitId),
    /// A staged path.
    Staged(&'a RepoPath),
}

impl fmt::Display for NeededBy<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NeededBy::Root(name) => out.write_str(name),
            NeededBy::Child(commit) => write!(out, "parent of commit {}", commit.short()),
            NeededBy::Path(path, commit) if path.is_root() => write!(out, "all files in commit {}", commit.short()),
            NeededBy::Path(path, commit) => write!(out, "{path} in commit {}", commit.short()),
            NeededBy::Staged(path) => write!(out, "staged {path}"),
        }
    }
}

/// Hears what a walk meets. Its errors end the walk.
pub(super) trait Visit {
    /// A commit.
    fn commit(&mut self, _id: CommitId, _commit: &Commit) {}

    /// A folder; one that stands at several paths comes once for each.
    fn tree(&mut self, _id: TreeId) {}

    /// A path with a file; every distinct pair comes once.
    fn file(&mut self, from: NeededBy<'_>, entry: Entry) -> Result<(), Error>;

    /// An object that cannot be read; the walk goes on without it if this returns `Ok`.
    fn broken(&mut self, from: NeededBy<'_>, kind: Kind, hash: Hash, error: Error) -> Result<(), Error>;
}

impl Repository {
    /// Everything that keeps objects alive.
    pub(super) fn roots(&self) -> Result<Roots, Error> {
        let mut commits = self.database().refs()?;
        if let Head::Detached(commit) = self.head()? {
            commits.push(("HEAD".to_owned(), commit));
        }
        commits.extend(self.pending_roots()?);
        let staging = self.database().staging()?;
        Ok(Roots { commits, staging })
    }

    /// Visits everything reachable from `roots`: newer commits first where history is a line.
    pub(super) fn walk_reachable(&self, roots: &Roots, visit: &mut impl Visit) -> Result<(), Error> {
        let mut seen: HashSet<CommitId> = HashSet::new();
        let mut met: HashSet<Hash> = HashSet::new();
        let mut waiting = Vec::new();
        let cuts = self.store().cuts()?;
        for (name, id) in roots.commits.iter().rev() {
            match self.store().get::<Commit>(*id) {
                Ok(commit) if seen.insert(*id) => waiting.push((*id, commit)),
                Ok(_) => {}
                Err(error) => visit.broken(NeededBy::Root(name), Kind::Commit, *id.hash(), error)?,
            }
        }
        while let Some((id, commit)) = waiting.pop() {
            visit.commit(id, &commit);
            self.walk_tree(id, commit.tree, &mut met, visit)?;
            for parent in self.store().parents(&cuts, id, &commit)?.into_iter().rev() {
                if !seen.insert(parent) {
                    continue;
                }
                match self.store().get::<Commit>(parent) {
                    Ok(commit) => waiting.push((parent, commit)),
                    Err(error) => visit.broken(NeededBy::Child(id), Kind::Commit, *parent.hash(), error)?,
                }
            }
        }
        for (path, staged) in &roots.staging {
            if let Staged::File { file, size, executable } = *staged {
                visit.file(NeededBy::Staged(path), Entry { file, size, executable })?;
            }
        }
        Ok(())
    }

    /// Visits the folders and files of a commit that were not met before at the same path.
    fn walk_tree(
        &self,
        commit: CommitId,
        root: TreeId,
        met: &mut HashSet<Hash>,
        visit: &mut impl Visit,
    ) -> Result<(), Error> {
        let mut waiting = vec![(RepoPath::root(), root)];
        while let Some((folder, id)) = waiting.pop() {
            if !met.insert(place(&folder, id.hash())) {
                continue;
            }
            let tree: Tree = match self.store().get(id) {
                Ok(tree) => tree,
                Err(error) => {
                    visit.broken(NeededBy::Path(&folder, commit), Kind::Tree, *id.hash(), error)?;
                    continue;
                }
            };
            visit.tree(id);
            for entry in tree.entries() {
                let path = folder.join(&entry.name);
                if path.as_str().len() > crate::object::MAX_PATH_LEN {
                    let source = crate::object::DecodeError::Invalid {
                        object: "tree",
                        reason: format!("the path of {:?} is too long", entry.name),
                    };
                    let (kind, hash) = (Kind::Tree, *id.hash());
                    let error = Error::Invalid { kind, hash, source };
                    visit.broken(NeededBy::Path(&folder, commit), kind, hash, error)?;
                } else if let Some(below) = entry.tree_id() {
                    waiting.push((path, below));
                } else if met.insert(place(&path, &entry.hash)) {
                    let entry = Entry {
                        file: FileId::from_hash(entry.hash),
                        size: entry.size,
                        executable: entry.kind == EntryKind::Executable,
                    };
                    visit.file(NeededBy::Path(&path, commit), entry)?;
                }
            }
        }
        Ok(())
    }
}

/// One hash for a path and what stands there: 32 bytes in a set, however long the path is.
pub(super) fn place(path: &RepoPath, hash: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(hash.as_bytes()).update(path.as_str().as_bytes());
    Hash::from_bytes(*hasher.finalize().as_bytes())
}
