//! What the worktree should hold, folder by folder: `HEAD` with staging laid over it.

use std::collections::BTreeMap;

use super::snapshot::Entry;
use super::{Error, Repository, StatusEntry};
use crate::database::Staged;
use crate::object::{EntryKind, MAX_PATH_LEN, PathError, RepoPath, Tree, TreeEntry, TreeId};

/// Staged changes below one folder: those of its own entries, and those of its subfolders.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    pub files: BTreeMap<&'a str, &'a Staged>,
    pub folders: BTreeMap<&'a str, Changes<'a>>,
}

impl<'a> Changes<'a> {
    /// The changes of `staging`, by folder.
    pub(super) fn of(staging: &'a BTreeMap<RepoPath, Staged>) -> Self {
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
        changes
    }
}

/// A folder before it is read: its tree in `HEAD`, and what is staged below it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expected<'a> {
    pub tree: Option<TreeId>,
    pub changes: Option<&'a Changes<'a>>,
}

/// What a folder should hold, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub files: Vec<(String, Entry)>,
    pub folders: Vec<(String, Expected<'a>)>,
}

impl Repository {
    /// What `folder` should hold. What is staged for its own entries is added to `staged`.
    pub(super) fn content_of<'a>(
        &self,
        folder: &RepoPath,
        expected: Expected<'a>,
        staged: &mut Vec<StatusEntry>,
    ) -> Result<Content<'a>, Error> {
        if folder.as_str().len() > MAX_PATH_LEN {
            // Also what bounds every recursion into trees: a level adds two bytes or more.
            return Err(PathError::TooLong(folder.as_str().chars().take(60).collect()).into());
        }
        let tree = match expected.tree {
            Some(id) => self.store.get(id)?,
            None => Tree::default(),
        };
        let mut content = Content::default();
        for entry in tree.into_entries() {
            match (file_entry(&entry), entry.tree_id()) {
                (Some(file), _) => content.files.push((entry.name, file)),
                (None, tree) => content.folders.push((entry.name, Expected { tree, changes: None })),
            }
        }
        Ok(match expected.changes {
            Some(changes) => overlaid(folder, content, changes, staged),
            None => content,
        })
    }

    /// Paths for which something is staged.
    ///
    /// # Errors
    /// When the database fails.
    pub fn staged_paths(&self) -> Result<Vec<RepoPath>, Error> {
        Ok(self.database().staging()?.into_keys().collect())
    }

    /// What `changes` are against the tree that they are staged on. Reads only the folders that have any.
    pub(super) fn staged_changes(&self, expected: Expected<'_>) -> Result<Vec<StatusEntry>, Error> {
        let mut staged = Vec::new();
        let mut waiting = vec![(RepoPath::root(), expected)];
        while let Some((folder, expected)) = waiting.pop() {
            let content = self.content_of(&folder, expected, &mut staged)?;
            let changed = content.folders.into_iter().filter(|(_, below)| below.changes.is_some());
            waiting.extend(changed.map(|(name, below)| (folder.join(&name), below)));
        }
        staged.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(staged)
    }
}

/// `content` with `changes` applied.
fn overlaid<'a>(
    folder: &RepoPath,
    content: Content<'a>,
    changes: &'a Changes<'a>,
    staged: &mut Vec<StatusEntry>,
) -> Content<'a> {
    let mut files: BTreeMap<String, Entry> = content.files.into_iter().collect();
    for (name, change) in &changes.files {
        let change = match **change {
            Staged::File { file, size, executable } => {
                let entry = Entry { file, size, executable };
                let before = files.insert((*name).to_owned(), entry);
                let change = if before.is_some() { "modified" } else { "added" };
                // What restores the committed file changes nothing.
                (before != Some(entry)).then_some((change, entry))
            }
            Staged::Removed => files.remove(*name).map(|before| ("removed", before)),
        };
        staged.extend(change.map(|(change, entry)| StatusEntry {
            path: folder.join(name),
            change,
            entry,
        }));
    }
    let mut folders: BTreeMap<String, Expected<'a>> = content.folders.into_iter().collect();
    for (name, below) in &changes.folders {
        folders.entry((*name).to_owned()).or_default().changes = Some(below);
    }
    Content {
        files: files.into_iter().collect(),
        folders: folders.into_iter().collect(),
    }
}

/// The entry's file, unless it is a folder.
fn file_entry(entry: &TreeEntry) -> Option<Entry> {
    Some(Entry {
        file: entry.file_id()?,
        size: entry.size,
        executable: entry.kind == EntryKind::Executable,
    })
}
