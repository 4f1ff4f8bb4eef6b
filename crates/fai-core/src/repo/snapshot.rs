//! A tree as a flat list of files, and trees from such lists.

use std::collections::BTreeMap;

use super::error::Error;
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
    /// The root tree of a commit; the empty tree for `None`.
    pub(super) fn tree_of(&self, commit: Option<CommitId>) -> Result<Tree, Error> {
        match commit {
            Some(commit) => self.store.get(self.store.get::<Commit>(commit)?.tree),
            None => Ok(Tree::default()),
        }
    }

    /// All files of a commit.
    pub(super) fn snapshot(&self, commit: Option<CommitId>) -> Result<Snapshot, Error> {
        let mut files = Snapshot::new();
        collect(&self.store, &self.tree_of(commit)?, &RepoPath::root(), &mut files)?;
        Ok(files)
    }

    /// `HEAD` and what is staged on top of it: what the worktree should hold.
    pub(super) fn expected(&self) -> Result<(Snapshot, BTreeMap<RepoPath, Staged>), Error> {
        let mut files = self.snapshot(self.head_commit()?)?;
        let staging = self.database().staging()?;
        overlay(&mut files, &staging);
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

/// Adds all files below `tree`, which stands at `folder`.
pub(super) fn collect(store: &Store, tree: &Tree, folder: &RepoPath, files: &mut Snapshot) -> Result<(), Error> {
    for entry in tree.entries() {
        let path = folder.join(&entry.name);
        if path.as_str().len() > MAX_PATH_LEN {
            // Also what bounds this recursion: every level adds two bytes or more.
            return Err(PathError::TooLong(path.as_str().chars().take(60).collect()).into());
        }
        match (entry.tree_id(), entry.file_id()) {
            (Some(id), _) => collect(store, &store.get(id)?, &path, files)?,
            (None, Some(file)) => {
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
            (None, None) => {}
        }
    }
    Ok(())
}

/// Changes below one folder: those of its own entries, and those of its subfolders.
#[derive(Default)]
struct Changes<'a> {
    files: BTreeMap<&'a str, &'a Staged>,
    folders: BTreeMap<&'a str, Changes<'a>>,
}

/// Applies `staging` to `base` and stores every tree that changed; folders without changes are not even read.
pub(super) fn write_tree(
    store: &Store,
    feeder: &mut Feeder<'_>,
    base: &Tree,
    staging: &BTreeMap<RepoPath, Staged>,
) -> Result<TreeId, Error> {
    let mut changes = Changes::default();
    for (path, staged) in staging {
        let mut folder = &mut changes;
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                folder.files.insert(name, staged);
            } else {
                folder = folder.folders.entry(name).or_default();
            }
        }
    }
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
