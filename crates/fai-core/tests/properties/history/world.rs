//! A repository with a history, and a model of what it must hold. Which steps are taken is not here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use fai_core::Repository;
use fai_core::object::{Author, Commit, CommitId, Hash, Id, Kind, Manifest, Object, Page, RepoPath, Time, Tree};
use fai_core::repo::{
    AddOptions, CheckoutOptions, CommitRequest, Error, FsckOptions, GcOptions, Head, InitOptions, RepackOptions, Silent,
};
use fai_core::storage::{LONGEST_CHAIN, pack_path};

use super::content::{FILES, content, name};

pub const DAY: i64 = 86_400;

/// How long to wait for others, of whom there are none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a commit holds.
type Files = BTreeMap<String, Vec<u8>>;

pub struct World {
    folder: tempfile::TempDir,
    pub repository: Repository,
    pub now: i64,
    commits: BTreeMap<CommitId, Files>,
    parents: BTreeMap<CommitId, Vec<CommitId>>,
    /// Commits that no collection so far may have taken anything from.
    safe: BTreeSet<CommitId>,
    /// What the next commit holds.
    next: Files,
}

fn time(seconds: i64) -> Time {
    Time {
        seconds,
        offset_minutes: 0,
    }
}

fn author() -> Author {
    Author {
        name: "Ada".into(),
        email: String::new(),
    }
}

fn path(name: &str) -> RepoPath {
    RepoPath::parse(name).unwrap()
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
        Self {
            folder,
            repository: repository.with_threads(2),
            now: 1_700_000_000,
            commits: BTreeMap::new(),
            parents: BTreeMap::new(),
            safe: BTreeSet::new(),
            next: Files::new(),
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.root().join(".fai/db.sqlite")).unwrap()
    }

    fn sql(&self, statement: &str, values: impl rusqlite::Params) {
        self.database().execute(statement, values).unwrap();
    }

    fn head(&self) -> Option<CommitId> {
        self.repository.head_commit().unwrap()
    }

    /// Writes versions of files and adds them at once. Evicted ones go from the worktree again.
    pub fn add(&mut self, files: &[(u8, u8)], evict: bool) {
        let mut paths = BTreeSet::new();
        for (file, version) in files {
            let (name, bytes) = (name(*file), content(*file, *version));
            fs::create_dir_all(self.root().join("models")).unwrap();
            fs::write(self.root().join(&name), &bytes).unwrap();
            paths.insert(path(&name));
            self.next.insert(name, bytes);
        }
        let paths: Vec<RepoPath> = paths.into_iter().collect();
        let options = AddOptions {
            evict,
            ..AddOptions::default()
        };
        let report = self.repository.add(&paths, options, &Silent).unwrap();
        assert!(report.refused.is_empty(), "{:?}", report.refused);
        let here = |path: &RepoPath| path.below(self.root()).exists();
        assert!(!evict || !paths.iter().any(here), "an evicted file is still there");
    }

    pub fn remove(&mut self, file: u8) {
        let name = name(file % FILES);
        if self.next.remove(&name).is_some() {
            let removed = self.repository.remove(&[path(&name)], false, false, true).unwrap();
            assert_eq!(removed.len(), 1);
        }
    }

    pub fn unstage(&mut self) {
        self.sql("DELETE FROM staging", []);
        let files = self.head().map(|head| self.commits[&head].clone());
        self.next = files.unwrap_or_default();
    }

    pub fn commit(&mut self, amend: bool) {
        self.now += 60;
        let amended = self.head().filter(|_| amend);
        let request = CommitRequest {
            message: Some("one more".into()),
            author: Some(author()),
            time: time(self.now),
            amend: amended.is_some(),
            ..CommitRequest::default()
        };
        match self.repository.commit(&request) {
            Ok(report) => self.made(report.id, &report.commit),
            Err(Error::NothingToCommit) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn made(&mut self, id: CommitId, commit: &Commit) {
        self.commits.insert(id, self.next.clone());
        self.parents.insert(id, commit.parents.clone());
        self.safe.insert(id);
    }

    /// A commit that follows the current one and that of a branch, with the files of the current one.
    pub fn merge(&mut self, choice: u8) {
        let (Some(head), Some((_, other))) = (self.head(), self.branch(choice)) else {
            return;
        };
        if head == other {
            return;
        }
        self.unstage();
        self.now += 60;
        let commit = Commit {
            parents: vec![head, other],
            time: time(self.now),
            message: "both".into(),
            ..self.repository.store().get::<Commit>(head).unwrap()
        };
        let store = self.repository.store();
        let stored = store.write(1, &|_| {}, |feeder| Ok(feeder.object(Kind::Commit, commit.encode())?));
        assert_eq!(stored.unwrap().0, *commit.id().hash());
        self.made(commit.id(), &commit);
        self.move_current(commit.id());
    }

    /// The current branch, or a detached `HEAD`, goes to a commit, as somebody who edits refs would have it.
    fn move_current(&mut self, commit: CommitId) {
        match self.repository.head().unwrap() {
            Head::Branch(name) => {
                let values = rusqlite::params![name, commit.as_bytes().to_vec()];
                self.sql("INSERT OR REPLACE INTO refs VALUES (?1, ?2)", values);
            }
            Head::Detached(_) => {
                let path = self.repository.directory().join("HEAD");
                fs::write(path, format!("{commit}\n")).unwrap();
            }
        }
        self.unstage();
    }

    /// A branch other than the current one.
    fn branch(&self, choice: u8) -> Option<(String, CommitId)> {
        let current = self.repository.head().unwrap();
        let mut refs = self.repository.refs().unwrap();
        refs.retain(|(name, _)| Head::Branch(name.clone()) != current);
        let index = usize::from(choice) % refs.len().max(1);
        refs.into_iter().nth(index)
    }

    /// Makes a branch at the current commit, unless it is the current one.
    pub fn make_branch(&mut self, number: u8) {
        let name = format!("refs/heads/b{}", number % 4);
        if let (Some(head), true) = (
            self.head(),
            self.repository.head().unwrap() != Head::Branch(name.clone()),
        ) {
            let values = rusqlite::params![name, head.as_bytes().to_vec()];
            self.sql("INSERT OR REPLACE INTO refs VALUES (?1, ?2)", values);
        }
    }

    pub fn delete_branch(&mut self, choice: u8) {
        if let Some((name, _)) = self.branch(choice) {
            self.sql("DELETE FROM refs WHERE name = ?1", [name]);
        }
    }

    pub fn reset(&mut self, choice: u8) {
        if let Some((_, commit)) = self.branch(choice) {
            self.move_current(commit);
        }
    }

    /// Checks out a branch, or the commit that it names.
    pub fn switch(&mut self, choice: u8, detach: bool) {
        let Some((name, _)) = self.branch(choice) else { return };
        self.unstage();
        self.now += 60;
        let options = CheckoutOptions {
            force: true,
            detach,
            time: time(self.now),
        };
        let name = name.strip_prefix("refs/heads/").unwrap();
        self.repository.checkout(name, options, &Silent).unwrap();
        self.unstage();
    }

    /// The current branch goes back to a commit that it, or another one, once named.
    pub fn undo(&mut self, choice: u8) {
        let index = usize::from(choice) % self.safe.len().max(1);
        if let Some(commit) = self.safe.iter().nth(index) {
            self.move_current(*commit);
        }
    }

    /// All that these commits lead to.
    fn with_ancestors(&self, commits: impl IntoIterator<Item = CommitId>) -> BTreeSet<CommitId> {
        let (mut found, mut waiting) = (BTreeSet::new(), Vec::from_iter(commits));
        while let Some(commit) = waiting.pop() {
            if found.insert(commit) {
                waiting.extend(&self.parents[&commit]);
            }
        }
        found
    }

    fn tips(&self) -> Vec<CommitId> {
        let refs = self.repository.refs().unwrap().into_iter().map(|(_, tip)| tip);
        refs.chain(self.head()).collect()
    }

    /// Commits that were named by operations later than `time`.
    fn named_since(&self, time: i64) -> Vec<CommitId> {
        let database = self.database();
        let sql = "SELECT before FROM operations WHERE time > ?1 UNION SELECT after FROM operations WHERE time > ?1";
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement
            .query_map([time], |row| row.get::<_, Option<Vec<u8>>>(0))
            .unwrap();
        let hashes = rows.filter_map(|row| Hash::from_slice(&row.unwrap()?));
        hashes.map(CommitId::from_hash).collect()
    }

    pub fn collect(&mut self, age: Option<Duration>) {
        let options = GcOptions {
            now: self.now,
            age,
            dry_run: false,
            patience: PATIENCE,
        };
        let report = self.repository.gc(&options, &Silent).unwrap();
        assert_eq!((report.kept, report.shortage), (Vec::new(), None));
        let recent = age.map(|age| self.named_since(self.now - age.as_secs() as i64));
        let recent = recent.into_iter().flatten().filter(|commit| self.safe.contains(commit));
        self.safe = self.with_ancestors(recent.chain(self.tips()).collect::<Vec<_>>());
    }

    pub fn repack(&mut self, max: bool) {
        let options = RepackOptions {
            max,
            dry_run: false,
            patience: PATIENCE,
        };
        let report = self.repository.repack(&options, &Silent).unwrap();
        assert_eq!((report.kept, report.shortage), (Vec::new(), None));
    }

    /// Fails unless `fsck --full` finds nothing.
    pub fn assert_sound(&self, rebuild: bool) {
        let options = FsckOptions {
            full: true,
            rebuild,
            patience: std::time::Duration::from_millis(500),
        };
        assert_eq!(self.repository.fsck(&options, &Silent).unwrap().problems, []);
    }

    /// Fails unless everything that refs, `HEAD`, staging and recent operations lead to is what it was.
    pub fn assert_kept(&self) {
        let tips = self.with_ancestors(self.tips());
        assert!(tips.is_subset(&self.safe));
        for commit in &self.safe {
            let stored: Commit = self.repository.store().get(*commit).unwrap();
            assert_eq!(stored.parents, self.parents[commit]);
            self.compare(Some(*commit), &self.commits[commit]);
        }
        self.compare(None, &self.next);
    }

    fn compare(&self, commit: Option<CommitId>, expected: &Files) {
        let listed = self.repository.list(commit, &RepoPath::root()).unwrap();
        assert_eq!(listed.len(), expected.len(), "{commit:?}");
        for file in listed {
            let mut bytes = Vec::new();
            let open = self.repository.open_file(file.file).unwrap();
            open.reader().read_to_end(&mut bytes).unwrap();
            assert!(bytes == expected[file.path.as_str()], "{} of {commit:?}", file.path);
        }
    }

    /// The records in the index.
    pub fn records(&self) -> HashSet<Hash> {
        let database = self.database();
        let mut statement = database.prepare("SELECT hash FROM records").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        rows.map(|row| Hash::from_slice(&row.unwrap()).unwrap()).collect()
    }

    /// The records that refs, `HEAD` and staging lead to, found by a walk of our own, with the bases of chunks.
    pub fn reached(&self) -> HashSet<Hash> {
        let store = self.repository.store();
        let mut waiting: Vec<(Kind, Hash)> = self.tips().iter().map(|tip| (Kind::Commit, *tip.hash())).collect();
        let next = self.repository.list(None, &RepoPath::root()).unwrap();
        waiting.extend(next.iter().map(|file| (Kind::Manifest, *file.file.hash())));
        let (mut found, mut buffer) = (HashSet::new(), Vec::new());
        while let Some((kind, hash)) = waiting.pop() {
            if !found.insert(hash) {
                continue;
            }
            let below = |level: u8| if level == 0 { Kind::Chunk } else { Kind::Page };
            match kind {
                Kind::Commit => {
                    let commit: Commit = store.get(CommitId::from_hash(hash)).unwrap();
                    waiting.push((Kind::Tree, *commit.tree.hash()));
                    waiting.extend(commit.parents.iter().map(|parent| (Kind::Commit, *parent.hash())));
                }
                Kind::Tree => {
                    let tree: Tree = store.get(Id::from_hash(hash)).unwrap();
                    waiting.extend(tree.entries().iter().map(|entry| match entry.tree_id() {
                        Some(_) => (Kind::Tree, entry.hash),
                        None => (Kind::Manifest, entry.hash),
                    }));
                }
                Kind::Manifest => {
                    let manifest: Manifest = store.get(Id::from_hash(hash)).unwrap();
                    let kind = below(manifest.level);
                    waiting.extend(manifest.entries.iter().map(|entry| (kind, entry.hash)));
                }
                Kind::Page => {
                    let page: Page = store.get(Id::from_hash(hash)).unwrap();
                    let kind = below(page.level);
                    waiting.extend(page.entries.iter().map(|entry| (kind, entry.hash)));
                }
                Kind::Chunk => {
                    let header = store.record(&hash, &mut buffer).unwrap().unwrap();
                    waiting.extend(header.base.map(|base| (Kind::Chunk, base)));
                }
            }
        }
        found
    }

    /// Fails unless the packs hold exactly the indexed records, once each, and chains end within what readers follow.
    pub fn assert_packs_hold(&self, expected: &HashSet<Hash>) {
        let folder = self.repository.directory().join("objects");
        let (names, others) = fai_core::storage::list_packs(&folder).unwrap();
        assert_eq!(others, 0);
        let (mut held, mut bases) = (HashSet::new(), BTreeMap::new());
        for name in names {
            let index = self.repository.store().packs().index(&name).unwrap();
            assert!(!index.entries.is_empty(), "an empty pack");
            let records: u64 = index.entries.iter().map(|entry| entry.header.record_len()).sum();
            let index_len: u64 = index
                .entries
                .iter()
                .map(|entry| 8 + entry.header.header_len() as u64)
                .sum();
            let len = pack_path(&folder, &name).metadata().unwrap().len();
            assert_eq!(len, 16 + records + index_len + 52, "room that nothing takes");
            for entry in index.entries {
                assert!(held.insert(entry.header.hash), "{} is stored twice", entry.header.hash);
                bases.extend(entry.header.base.map(|base| (entry.header.hash, base)));
            }
        }
        assert!(
            held == *expected,
            "{} records in packs, {} wanted",
            held.len(),
            expected.len()
        );
        for chunk in bases.keys() {
            let links = std::iter::successors(bases.get(chunk), |base| bases.get(base));
            assert!(links.take(LONGEST_CHAIN + 1).count() <= LONGEST_CHAIN);
        }
        let left = fs::read_dir(self.repository.directory().join("incoming"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "temporary files");
    }
}
