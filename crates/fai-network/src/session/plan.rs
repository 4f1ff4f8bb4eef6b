//! The plan of a transfer: from trees to files to chunks, what is missing and in which order to ask for it.
//!
//! What the repository has is complete: whoever put a tree there put everything below it there first. What lies in
//! quarantine is not, so the plan reads such objects again and goes on below them; a transfer that was cut therefore
//! asks for nothing twice. Memory is bounded: ids of trees and files that were met, and the chunk lists of a few files.
//!
//! A repository that holds only a part is complete in its objects alone. For it two plans follow each other: one of all
//! objects, and one of the chunks of the files that are wanted ([`Reach`]).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use fai_core::object::{
    DecodeError, Extent, FileId, Hash, Id, Kind, MAX_PATH_LEN, Manifest, Object, Page, Tree, TreeId,
};

/// Chunk lists are asked for only while fewer entries than this wait.
const ENOUGH_EXTENTS: usize = 4 * 8192;

/// When so many chunks have come, those that the store's index knows by now are forgotten.
const MANY_ARRIVED: usize = 65_536;

/// Most files and folders in one commit, and most objects that are known by name alone at the same time: names cost whoever
/// sends them little, and memory here.
pub(crate) const MAX_PATHS: usize = 1 << 24;

/// While so many files wait, no more trees are asked for: a long history of many files never comes near [`MAX_PATHS`].
const MANY_FILES: usize = 1 << 20;

/// The longest file that is taken from a peer: 64 TiB, four times what ext4 holds.
const MAX_FILE: u64 = 1 << 46;

/// Stands for a size that nobody has named.
const UNKNOWN: u64 = u64::MAX;

/// What a record must be besides what its hash says: what was said of it by the object that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A folder of files of this size in all, so many names below the root. The root's size is not promised.
    Tree {
        /// Sum of the sizes of all files below.
        size: Option<u64>,
        /// Names on the way to it.
        depth: usize,
    },
    /// A file of this size; of one that was named by its id alone, the size is not promised.
    File {
        /// Size in bytes.
        size: Option<u64>,
    },
    /// A page of this level and length.
    Page {
        /// 0 for a list of chunks.
        level: u8,
        /// Bytes of the file that it stands for.
        len: u64,
    },
    /// A chunk of this length.
    Chunk {
        /// Length in bytes.
        len: u64,
    },
}

impl Promise {
    /// The kind of the record.
    pub const fn kind(&self) -> Kind {
        match self {
            Promise::Tree { .. } => Kind::Tree,
            Promise::File { .. } => Kind::Manifest,
            Promise::Page { .. } => Kind::Page,
            Promise::Chunk { .. } => Kind::Chunk,
        }
    }
}

/// A record to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its hash.
    pub hash: Hash,
    /// What it must be.
    pub promise: Promise,
}

/// How far a plan goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// From trees down to chunks. What the repository has is complete and not entered.
    #[default]
    Everything,
    /// From trees down to the lists of chunks, without chunks. Objects that the repository has lead only to objects
    /// that it has, too.
    Objects,
    /// Whole files, for a repository that may have their objects without their chunks: what it has is read and gone
    /// through.
    Contents,
}

/// Where the plan looks for what need not be asked for.
pub trait Local {
    /// What can go wrong while looking.
    type Error;

    /// True when the repository has the record, of that kind, and with it everything that it leads to, as far as the
    /// plan's [`Reach`] says that it must.
    ///
    /// # Errors
    /// When it cannot be told.
    fn complete(&self, kind: Kind, hash: &Hash) -> Result<bool, Self::Error>;

    /// The raw bytes of an object that the repository has. Asked for only by plans of [`Reach::Contents`].
    ///
    /// # Errors
    /// When it cannot be read.
    fn object(&self, kind: Kind, hash: &Hash) -> Result<Vec<u8>, Self::Error>;

    /// The raw bytes of an object that lies in quarantine.
    ///
    /// # Errors
    /// When it cannot be read.
    fn quarantined(&self, kind: Kind, hash: &Hash) -> Result<Option<Vec<u8>>, Self::Error>;

    /// True when a chunk lies in quarantine.
    ///
    /// # Errors
    /// When it cannot be told.
    fn has_chunk(&self, hash: &Hash) -> Result<bool, Self::Error>;

    /// How many deltas lead to a chunk that can be read, from the repository or from quarantine: 0 for one that stands alone.
    /// `None` when it cannot be read now.
    ///
    /// # Errors
    /// When it cannot be told.
    fn depth(&self, chunk: &Hash) -> Result<Option<usize>, Self::Error>;
}

/// An object that contradicts what led to it. Whoever made the commit lied, not whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {} {} is not valid: {reason}", kind.name(), hash.short())]
pub struct Contradiction {
    /// Its kind.
    pub kind: Kind,
    /// Its hash.
    pub hash: Hash,
    /// What is wrong.
    pub reason: String,
}

/// Why planning ended.
#[derive(Debug, thiserror::Error)]
pub enum PlanError<E> {
    /// The objects make no sense.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// Looking for local records failed.
    #[error(transparent)]
    Local(E),
}

/// What a transfer comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files that were not in the repository.
    pub files: u64,
    /// Their sizes in all.
    pub bytes: u64,
    /// Chunks of those files that need not be asked for, and their lengths in all.
    pub reused_chunks: u64,
    /// See `reused_chunks`.
    pub reused_bytes: u64,
}

/// The plan.
#[derive(Debug)]
pub struct Plan {
    reach: Reach,
    /// Objects that were met, and how many bytes of files each stands for: each is looked at once.
    met: HashMap<Hash, u64>,
    trees: VecDeque<Want>,
    files: VecDeque<Want>,
    /// Lists whose entries are being gone through: files in their order, the pages of one before the next.
    lists: VecDeque<List>,
    waiting_extents: usize,
    /// Asked for, not here yet.
    asked: HashSet<Hash>,
    /// Came, though the store's index may not know them before their pack is sealed.
    arrived: HashSet<Hash>,
    totals: Totals,
    /// Most trees and files that may wait, and the number of files from which on trees wait for them.
    most: usize,
    many: usize,
}

#[derive(Debug)]
struct List {
    level: u8,
    entries: Vec<Extent>,
    at: usize,
}

impl List {
    fn new(level: u8, entries: Vec<Extent>) -> Self {
        Self { level, entries, at: 0 }
    }
}

impl Plan {
    /// A plan that goes so far.
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            met: HashMap::new(),
            trees: VecDeque::new(),
            files: VecDeque::new(),
            lists: VecDeque::new(),
            waiting_extents: 0,
            asked: HashSet::new(),
            arrived: HashSet::new(),
            totals: Totals::default(),
            most: MAX_PATHS,
            many: MANY_FILES,
        }
    }

    /// Adds a file, and the size that is said of it.
    ///
    /// # Errors
    /// When it was added with another size.
    pub fn add_file(&mut self, file: FileId, size: Option<u64>) -> Result<(), Contradiction> {
        let want = Want {
            hash: *file.hash(),
            promise: Promise::File { size },
        };
        if self.meet(&want, size.unwrap_or(UNKNOWN))? {
            self.files.push_back(want);
        }
        Ok(())
    }

    /// Adds a commit's root tree.
    pub fn add_root(&mut self, tree: TreeId) {
        if let Entry::Vacant(entry) = self.met.entry(*tree.hash()) {
            entry.insert(UNKNOWN);
            let promise = Promise::Tree { size: None, depth: 0 };
            let hash = *tree.hash();
            self.trees.push_back(Want { hash, promise });
        }
    }

    /// What it comes to as far as is known.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// True when everything was asked for and has come.
    pub fn is_done(&self) -> bool {
        self.asked.is_empty() && self.trees.is_empty() && self.files.is_empty() && self.lists.is_empty()
    }

    /// The next record to ask for. `None` when nothing can be asked for until more has come, or at the end.
    ///
    /// # Errors
    /// When local objects make no sense or cannot be read.
    pub fn next<L: Local>(&mut self, local: &L) -> Result<Option<Want>, PlanError<L::Error>> {
        if self.arrived.len() >= MANY_ARRIVED {
            let mut unknown = HashSet::new();
            for hash in self.arrived.drain() {
                if !local.has_chunk(&hash).map_err(PlanError::Local)? {
                    unknown.insert(hash);
                }
            }
            self.arrived = unknown;
        }
        loop {
            let want = if self.files.len() < self.many
                && let Some(want) = self.trees.pop_front()
            {
                want
            } else if self.waiting_extents < ENOUGH_EXTENTS && !self.files.is_empty() {
                match self.files.pop_front() {
                    Some(want) => want,
                    None => continue,
                }
            } else {
                match self.next_extent() {
                    Some(want) => want,
                    None => return Ok(None),
                }
            };
            // A list may name a page many times: it is gone through once.
            if let Promise::Page { len, .. } = want.promise
                && !self.meet(&want, len)?
            {
                continue;
            }
            if self.is_missing(&want, local)? {
                self.asked.insert(want.hash);
                return Ok(Some(want));
            }
        }
    }

    /// Takes note of what need not be asked for; what lies in quarantine leads on.
    fn is_missing<L: Local>(&mut self, want: &Want, local: &L) -> Result<bool, PlanError<L::Error>> {
        if let Promise::Chunk { len } = want.promise {
            let here = self.asked.contains(&want.hash)
                || self.arrived.contains(&want.hash)
                || local.complete(Kind::Chunk, &want.hash).map_err(PlanError::Local)?
                || local.has_chunk(&want.hash).map_err(PlanError::Local)?;
            if here {
                self.totals.reused_chunks += 1;
                self.totals.reused_bytes += len;
            }
            return Ok(!here);
        }
        let kind = want.promise.kind();
        if local.complete(kind, &want.hash).map_err(PlanError::Local)? {
            if self.reach == Reach::Contents {
                let bytes = local.object(kind, &want.hash).map_err(PlanError::Local)?;
                self.expand(want, &bytes)?;
            }
            return Ok(false);
        }
        match local.quarantined(kind, &want.hash).map_err(PlanError::Local)? {
            Some(bytes) => {
                self.expand(want, &bytes)?;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Takes in an object whose hash was checked.
    ///
    /// # Errors
    /// When it is not what was promised.
    pub fn arrived(&mut self, want: &Want, raw: &[u8]) -> Result<(), Contradiction> {
        self.asked.remove(&want.hash);
        self.expand(want, raw)
    }

    /// Takes note of a chunk whose hash and length were checked.
    pub fn came(&mut self, want: &Want) {
        self.asked.remove(&want.hash);
        self.arrived.insert(want.hash);
    }

    /// Goes on below an object.
    fn expand(&mut self, want: &Want, raw: &[u8]) -> Result<(), Contradiction> {
        let invalid = |error: DecodeError| contradiction(want, error.to_string());
        match want.promise {
            Promise::Tree { size, depth } => {
                let tree = Tree::decode(raw).map_err(invalid)?;
                if size.is_some_and(|size| size != tree.size()) {
                    return Err(contradiction(
                        want,
                        "its files have another size than its folder says".into(),
                    ));
                }
                if depth > MAX_PATH_LEN / 2 {
                    return Err(contradiction(want, "folders too deep for any path".into()));
                }
                self.expand_tree(&want.hash, &tree, depth)?;
            }
            Promise::File { size } => {
                let manifest = Manifest::decode(raw).map_err(invalid)?;
                if manifest.size > MAX_FILE {
                    return Err(contradiction(
                        want,
                        "it claims to be longer than any file may be".into(),
                    ));
                }
                if size.is_some_and(|size| size != manifest.size) {
                    return Err(contradiction(want, "it has another size than its folder says".into()));
                }
                self.totals.files += 1;
                self.totals.bytes += manifest.size;
                let list = List::new(manifest.level, manifest.entries);
                if self.wants(&list) {
                    self.lists.push_back(list);
                }
            }
            Promise::Page { level, len } => {
                let page = Page::decode(raw).map_err(invalid)?;
                let covered = page
                    .entries
                    .iter()
                    .try_fold(0u64, |sum, entry| sum.checked_add(entry.len));
                if page.level != level || covered != Some(len) {
                    return Err(contradiction(want, "it does not fit the list that names it".into()));
                }
                let list = List::new(level, page.entries);
                if self.wants(&list) {
                    self.lists.push_front(list);
                }
            }
            Promise::Chunk { .. } => {}
        }
        Ok(())
    }

    fn expand_tree(&mut self, id: &Hash, tree: &Tree, depth: usize) -> Result<(), Contradiction> {
        for entry in tree.entries() {
            let (hash, size) = (entry.hash, entry.size);
            let promise = match entry.tree_id() {
                Some(_) => Promise::Tree {
                    size: Some(size),
                    depth: depth + 1,
                },
                None => Promise::File { size: Some(size) },
            };
            let want = Want { hash, promise };
            if self.meet(&want, size)? {
                match promise {
                    Promise::Tree { .. } => self.trees.push_back(want),
                    _ => self.files.push_back(want),
                }
            }
            if self.trees.len() + self.files.len() > self.most {
                let (kind, reason) = (Kind::Tree, "too many files and folders to ask for".into());
                return Err(Contradiction {
                    kind,
                    hash: *id,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// True the first time that an object is met. Later the same must be said of it.
    fn meet(&mut self, want: &Want, size: u64) -> Result<bool, Contradiction> {
        match self.met.entry(want.hash) {
            Entry::Vacant(entry) => {
                entry.insert(size);
                Ok(true)
            }
            Entry::Occupied(entry) if [size, UNKNOWN].contains(entry.get()) || size == UNKNOWN => Ok(false),
            Entry::Occupied(_) => Err(contradiction(want, "two objects name it with different sizes".into())),
        }
    }

    /// The objects that were met: trees, files and pages.
    pub fn met(&self) -> impl Iterator<Item = Hash> {
        self.met.keys().copied()
    }

    /// Whether a list is gone through; then its entries count.
    fn wants(&mut self, list: &List) -> bool {
        let wanted = (list.level > 0 || self.reach != Reach::Objects) && !list.entries.is_empty();
        if wanted {
            self.waiting_extents += list.entries.len();
        }
        wanted
    }

    fn next_extent(&mut self) -> Option<Want> {
        let list = self.lists.front_mut()?;
        let extent = list.entries.get(list.at).copied()?;
        list.at += 1;
        let promise = match list.level.checked_sub(1) {
            Some(level) => Promise::Page { level, len: extent.len },
            None => Promise::Chunk { len: extent.len },
        };
        if list.at == list.entries.len() {
            self.waiting_extents -= list.entries.len();
            self.lists.pop_front();
        }
        let hash = extent.hash;
        Some(Want { hash, promise })
    }
}

fn contradiction(want: &Want, reason: String) -> Contradiction {
    Contradiction {
        kind: want.promise.kind(),
        hash: want.hash,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fai_core::object::TreeEntry;

    /// Nothing is here.
    struct Nowhere;

    impl Local for Nowhere {
        type Error = std::convert::Infallible;

        fn complete(&self, _: Kind, _: &Hash) -> Result<bool, Self::Error> {
            Ok(false)
        }

        fn object(&self, _: Kind, _: &Hash) -> Result<Vec<u8>, Self::Error> {
            unreachable!("nothing is complete")
        }

        fn quarantined(&self, _: Kind, _: &Hash) -> Result<Option<Vec<u8>>, Self::Error> {
            Ok(None)
        }

        fn has_chunk(&self, _: &Hash) -> Result<bool, Self::Error> {
            Ok(false)
        }

        fn depth(&self, _: &Hash) -> Result<Option<usize>, Self::Error> {
            Ok(None)
        }
    }

    /// A tree of so many files and folders, all of them with invented ids, different ones for every `seed`.
    fn tree(seed: u8, files: u8, folders: u8) -> Tree {
        let id = |kind: Kind, number: u8| kind.hash(&[seed, number]);
        let files =
            (0..files).map(|n| TreeEntry::file(format!("f{n}"), FileId::from_hash(id(Kind::Manifest, n)), 1, false));
        let folders = (0..folders).map(|n| TreeEntry::folder(format!("d{n}"), TreeId::from_hash(id(Kind::Tree, n)), 1));
        Tree::new(files.chain(folders).collect()).unwrap()
    }

    fn root(tree: &Tree) -> Want {
        let promise = Promise::Tree { size: None, depth: 0 };
        let hash = *tree.id().hash();
        Want { hash, promise }
    }

    #[test]
    fn no_more_is_waited_for_than_one_commit_may_hold() {
        let mut plan = Plan::new(Reach::Everything);
        plan.most = 100;
        let (first, second) = (tree(1, 40, 20), tree(2, 20, 30));
        plan.arrived(&root(&first), &first.encode()).unwrap();
        // The same once more is nothing new.
        plan.arrived(&root(&first), &first.encode()).unwrap();
        let refused = plan.arrived(&root(&second), &second.encode()).unwrap_err();
        assert_eq!(refused.hash, *second.id().hash(), "{refused}");
        // What was asked for waits no longer.
        let mut plan = Plan::new(Reach::Everything);
        plan.most = 100;
        plan.arrived(&root(&first), &first.encode()).unwrap();
        for _ in 0..10 {
            plan.next(&Nowhere).unwrap().unwrap();
        }
        plan.arrived(&root(&second), &second.encode()).unwrap();
    }

    #[test]
    fn where_many_files_wait_they_are_asked_for_before_more_trees() {
        let mut plan = Plan::new(Reach::Everything);
        plan.many = 30;
        let first = tree(1, 40, 20);
        plan.arrived(&root(&first), &first.encode()).unwrap();
        let mut kinds = Vec::new();
        while let Some(want) = plan.next(&Nowhere).unwrap() {
            kinds.push(want.promise.kind());
        }
        assert_eq!(kinds.len(), 60);
        assert!(kinds[..11].iter().all(|kind| *kind == Kind::Manifest));
        assert!(kinds[11..31].iter().all(|kind| *kind == Kind::Tree));
    }
}
