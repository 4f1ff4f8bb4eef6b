//! Files of the worktree that are written while their chunks come: which files those are is known when the trees of the
//! commit have come, before the first file does. Writing them is the core's (`repo/ahead`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use fai_core::object::{
    Commit, CommitId, EntryKind, FileId, Hash, Id, Manifest, Object, RepoPath, Tree, TreeEntry, TreeId,
};
use fai_core::repo::{Ahead, Entry, Quarantine, Repository, WORTH_IT};

/// Most trees and entries of trees that are kept until the files are known; the files of larger commits are written afterwards.
const MOST_ENTRIES: usize = 1 << 18;

/// The files of one commit.
pub(super) struct Early<'a> {
    repository: &'a Repository,
    quarantine: &'a Quarantine,
    commit: Option<CommitId>,
    trees: Mutex<Trees>,
    ahead: OnceLock<Option<Ahead>>,
}

#[derive(Default)]
struct Trees {
    root: Option<TreeId>,
    /// Entries that lead to files that are worth it.
    met: HashMap<TreeId, Vec<TreeEntry>>,
    entries: usize,
}

impl<'a> Early<'a> {
    /// For the files of `commit`, which the worktree will hold; for none without it.
    pub fn new(repository: &'a Repository, quarantine: &'a Quarantine, commit: Option<CommitId>) -> Self {
        Self {
            repository,
            quarantine,
            commit: commit.filter(|_| repository.worktree().is_some()),
            trees: Mutex::default(),
            ahead: OnceLock::new(),
        }
    }

    /// The root tree of a commit.
    pub fn root(&self, commit: CommitId, tree: TreeId) {
        if self.commit == Some(commit) {
            self.trees().root = Some(tree);
        }
    }

    /// A tree came, or was here.
    pub fn tree(&self, hash: Hash, raw: &[u8]) {
        // Once the first file is here, what is looked at is known.
        if self.commit.is_some()
            && self.ahead.get().is_none()
            && let Ok(tree) = Tree::decode(raw)
        {
            self.trees().meet(hash, &tree);
        }
    }

    /// A file came, or was here, and its chunks will come.
    pub fn file(&self, file: FileId, manifest: &Manifest) {
        if let Some(ahead) = self.ahead() {
            ahead.expect(file, manifest);
        }
    }

    /// A chunk came, and was checked.
    pub fn chunk(&self, hash: &Hash, bytes: &[u8]) {
        if let Some(Some(ahead)) = self.ahead.get() {
            ahead.came(hash, bytes);
        }
    }

    /// Nothing more comes: what was written is for whoever writes the worktree.
    pub fn finish(self) {
        if let Some(ahead) = self.ahead.into_inner().flatten() {
            ahead.finish(self.repository);
        }
    }

    fn trees(&self) -> MutexGuard<'_, Trees> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> Option<&Ahead> {
        let begin = || {
            let files = self.files(self.commit?);
            match files.is_empty() {
                true => None,
                false => self.quarantine.ahead(self.repository, files),
            }
        };
        self.ahead.get_or_init(begin).as_ref()
    }

    /// The files of a commit that are worth it, as far as its trees have come or can be read.
    fn files(&self, commit: CommitId) -> BTreeMap<RepoPath, Entry> {
        let (trees, store) = (std::mem::take(&mut *self.trees()), self.quarantine.store());
        let root = trees.root.or_else(|| Some(store.get::<Commit>(commit).ok()?.tree));
        let (mut files, mut folders) = (
            BTreeMap::new(),
            Vec::from_iter(root.map(|root| (RepoPath::root(), root))),
        );
        while let Some((path, tree)) = folders.pop() {
            let entries = match trees.met.get(&tree) {
                Some(entries) => entries.clone(),
                None => store.get(tree).map(|tree: Tree| worth_it(&tree)).unwrap_or_default(),
            };
            for entry in entries {
                let below = path.join(&entry.name);
                match (entry.tree_id(), entry.file_id()) {
                    (Some(tree), _) => folders.push((below, tree)),
                    (_, Some(file)) => {
                        let (size, executable) = (entry.size, entry.kind == EntryKind::Executable);
                        files.insert(below, Entry { file, size, executable });
                    }
                    _ => {}
                }
            }
            // Trees may name each other so often that no machine could list their paths.
            if files.len() + folders.len() > MOST_ENTRIES {
                return BTreeMap::new();
            }
        }
        files
    }
}

impl Trees {
    fn meet(&mut self, hash: Hash, tree: &Tree) {
        let entries = worth_it(tree);
        self.entries += 1 + entries.len();
        if self.entries <= MOST_ENTRIES {
            self.met.insert(TreeId::from_hash(hash), entries);
        }
    }
}

/// The entries that lead to files that are worth it.
fn worth_it(tree: &Tree) -> Vec<TreeEntry> {
    let entries = tree.entries().iter();
    entries.filter(|entry| entry.size > WORTH_IT).cloned().collect()
}
