//! A tree as a flat list of files, and trees from such lists.

use std::collections::BTreeMap;

use super::error::Error;
use super::expected::Changes;
use super::{Repository, Store};
use crate::database::Staged;
use crate::object::{
    Commit, CommitId, EntryKind, FileId, Kind, MAX_PATH_LEN, Object, PathError, RepoPath, Tree, TreeEntry, TreeId,
};
use crate::storage::Feeder;

/// A file of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The file.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Its executable bit.
    pub executable: bool,
}

impl From<Entry> for Staged {
    fn from(entry: Entry) -> Self {
        Staged::File {
            file: entry.file,
            size: entry.size,
            executable: entry.executable,
        }
    }
}

/// All files of a snapshot by path.
pub(super) type Snapshot = BTreeMap<RepoPath, Entry>;

impl Repository {
    /// The id of a commit's root tree.
    pub(super) fn tree_id_of(&self, commit: Option<CommitId>) -> Result<Option<TreeId>, Error> {
        let commit = commit.map(|commit| self.store.get::<Commit>(commit)).transpose()?;
        Ok(commit.map(|commit| commit.tree))
    }

    /// The root tree of a commit; the empty tree for `None`.
    pub(super) fn tree_of(&self, commit: Option<CommitId>) -> Result<Tree, Error> {
        match self.tree_id_of(commit)? {
            Some(tree) => self.store.get(tree),
            None => Ok(Tree::default()),
        }
    }

    /// All files of a commit.
    pub(super) fn snapshot(&self, commit: Option<CommitId>) -> Result<Snapshot, Error> {
        self.snapshot_within(commit, &[])
    }

    /// The files of a commit at and below `scopes`; all of them when there are none. Reads no folder outside.
    pub(super) fn snapshot_within(&self, commit: Option<CommitId>, scopes: &[RepoPath]) -> Result<Snapshot, Error> {
        let mut files = Snapshot::new();
        collect(
            &self.store,
            &self.tree_of(commit)?,
            &RepoPath::root(),
            scopes,
            &mut files,
        )?;
        Ok(files)
    }

    /// `HEAD` and what is staged on top of it, what the worktree should hold, at and below `scopes`; and all that is
    /// staged.
    pub(super) fn expected(&self, scopes: &[RepoPath]) -> Result<(Snapshot, BTreeMap<RepoPath, Staged>), Error> {
        let mut files = self.snapshot_within(self.head_commit()?, scopes)?;
        let staging = self.database().staging()?;
        overlay(&mut files, &staging);
        files.retain(|path, _| in_scope(path, scopes));
        Ok((files, staging))
    }

    /// The file or folder at `path` below `tree`.
    pub(super) fn lookup(&self, tree: &Tree, path: &RepoPath) -> Result<Option<TreeEntry>, Error> {
        let mut names = path.names().peekable();
        let mut current = std::borrow::Cow::Borrowed(tree);
        while let Some(name) = names.next() {
            let Some(entry) = current.get(name) else {
                return Ok(None);
            };
            match entry.tree_id() {
                _ if names.peek().is_none() => return Ok(Some(entry.clone())),
                Some(id) => current = std::borrow::Cow::Owned(self.store.get(id)?),
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Applies staged changes to a snapshot.
pub(super) fn overlay(files: &mut Snapshot, staging: &BTreeMap<RepoPath, Staged>) {
    for (path, staged) in staging {
        match *staged {
            Staged::File { file, size, executable } => {
                files.insert(path.clone(), Entry { file, size, executable });
            }
            Staged::Removed => {
                files.remove(path);
            }
        }
    }
}

/// True when `path` is at or below one of `scopes`, or there are none.
pub(super) fn in_scope(path: &RepoPath, scopes: &[RepoPath]) -> bool {
    scopes.is_empty() || scopes.iter().any(|scope| path.is_within(scope))
}

/// True when something below `folder` is in scope.
pub(super) fn leads_into(folder: &RepoPath, scopes: &[RepoPath]) -> bool {
    in_scope(folder, scopes) || scopes.iter().any(|scope| scope.is_within(folder))
}

/// Adds the files below `tree`, which stands at `folder`, that are in scope.
fn collect(
    store: &Store,
    tree: &Tree,
    folder: &RepoPath,
    scopes: &[RepoPath],
    files: &mut Snapshot,
) -> Result<(), Error> {
    for entry in tree.entries() {
        let path = folder.join(&entry.name);
        if path.as_str().len() > MAX_PATH_LEN {
            // Also what bounds this recursion: every level adds two bytes or more.
            return Err(PathError::TooLong(path.as_str().chars().take(60).collect()).into());
        }
        match (entry.tree_id(), entry.file_id()) {
            (Some(id), _) if leads_into(&path, scopes) => collect(store, &store.get(id)?, &path, scopes, files)?,
            (None, Some(file)) if in_scope(&path, scopes) => {
                let executable = entry.kind == EntryKind::Executable;
                files.insert(
                    path,
                    Entry {
                        file,
                        size: entry.size,
                        executable,
                    },
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Applies `staging` to `base` and stores every tree that changed; folders without changes are not even read.
pub(super) fn write_tree(
    store: &Store,
    feeder: &mut Feeder<'_>,
    base: &Tree,
    staging: &BTreeMap<RepoPath, Staged>,
) -> Result<TreeId, Error> {
    let changes = Changes::of(staging);
    let tree = apply(store, feeder, base, &changes, &RepoPath::root())?;
    let bytes = tree.encode();
    feeder.object(Kind::Tree, bytes)?;
    Ok(tree.id())
}

fn apply(
    store: &Store,
    feeder: &mut Feeder<'_>,
    base: &Tree,
    changes: &Changes<'_>,
    at: &RepoPath,
) -> Result<Tree, Error> {
    let mut entries: BTreeMap<String, TreeEntry> = base
        .entries()
        .iter()
        .map(|entry| (entry.name.clone(), entry.clone()))
        .collect();
    // Removals first: a file may make way for a folder of its name, and the other way round.
    for (name, staged) in &changes.files {
        if **staged == Staged::Removed && entries.get(*name).is_some_and(|entry| entry.tree_id().is_none()) {
            entries.remove(*name);
        }
    }
    for (name, below) in &changes.folders {
        let folder = match entries.get(*name).and_then(TreeEntry::tree_id) {
            Some(id) => store.get(id)?,
            None => Tree::default(),
        };
        let tree = apply(store, feeder, &folder, below, &at.join(name))?;
        if tree.entries().is_empty() {
            if entries.get(*name).is_some_and(|entry| entry.tree_id().is_some()) {
                entries.remove(*name);
            }
        } else {
            let entry = TreeEntry::folder(*name, tree.id(), tree.size());
            feeder.object(Kind::Tree, tree.encode())?;
            entries.insert((*name).to_owned(), entry);
        }
    }
    for (name, staged) in &changes.files {
        if let Staged::File { file, size, executable } = **staged {
            entries.insert((*name).to_owned(), TreeEntry::file(*name, file, size, executable));
        }
    }
    Tree::new(entries.into_values().collect()).map_err(|source| Error::BadTree {
        folder: at.clone(),
        source,
    })
}
