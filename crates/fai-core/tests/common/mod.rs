//! A small repository to damage. Each test binary uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fai_core::object::{Author, RepoPath, Time};
use fai_core::repo::{AddOptions, AddReport, CommitRequest, FsckOptions, FsckReport, InitOptions, Repository, Silent};
use tempfile::TempDir;

/// How long rebuilds wait for others.
pub const PATIENCE: Duration = Duration::from_millis(500);

pub const CHECK: FsckOptions = FsckOptions {
    full: false,
    rebuild: false,
    patience: PATIENCE,
};
pub const FULL: FsckOptions = FsckOptions {
    full: true,
    rebuild: false,
    patience: PATIENCE,
};
pub const REBUILD: FsckOptions = FsckOptions {
    full: false,
    rebuild: true,
    patience: PATIENCE,
};

/// Bytes that no encoding makes shorter.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A model file with one tensor.
pub fn safetensors(seed: u64) -> Vec<u8> {
    let header = br#"{"a":{"dtype":"F32","shape":[300],"data_offsets":[0,1200]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&noise(seed, 1200));
    bytes
}

pub struct Fixture {
    folder: TempDir,
    pub clock: i64,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Repository::init(folder.path(), InitOptions::default()).unwrap();
        Self {
            folder,
            clock: 1_700_000_000,
        }
    }

    /// Two commits and something staged.
    pub fn with_history() -> Self {
        let mut fixture = Self::new();
        fixture.write("model.safetensors", &safetensors(1));
        fixture.write("data/notes.txt", "some words ".repeat(400).as_bytes());
        fixture.write("data/noise.bin", &noise(2, 3000));
        fixture.commit("first");
        fixture.write("model.safetensors", &safetensors(3));
        fixture.commit("second");
        fixture.write("staged.bin", &noise(4, 2000));
        fixture.add();
        fixture
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn open(&self) -> Repository {
        Repository::open(self.root()).unwrap().with_threads(2)
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn add(&self) -> AddReport {
        self.open().add(&[], AddOptions::default(), &Silent).unwrap()
    }

    /// Adds and commits everything, and returns the commit's short id.
    pub fn commit(&mut self, message: &str) -> String {
        self.add();
        self.clock += 60;
        let request = CommitRequest {
            message: Some(message.to_owned()),
            author: Some(Author {
                name: "A".into(),
                email: String::new(),
            }),
            time: Time {
                seconds: self.clock,
                offset_minutes: 0,
            },
            ..CommitRequest::default()
        };
        self.open().commit(&request).unwrap().id.short()
    }

    pub fn fsck(&self, options: FsckOptions) -> FsckReport {
        self.open().fsck(&options, &Silent).unwrap()
    }

    pub fn packs(&self) -> Vec<PathBuf> {
        let listing = fs::read_dir(self.root().join(".fai/objects")).unwrap();
        let mut packs: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
        packs.retain(|path| path.extension().is_some_and(|suffix| suffix == "pack"));
        packs.sort();
        packs
    }

    /// The pack that holds `content` as it is, and where.
    pub fn pack_with(&self, content: &[u8]) -> (PathBuf, usize) {
        let find = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(content.len()).position(|window| window == content)?;
            Some((path, at))
        };
        self.packs().into_iter().find_map(find).unwrap()
    }

    pub fn database(&self) -> PathBuf {
        self.root().join(".fai/db.sqlite")
    }

    pub fn remove_database(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let path = format!("{}{suffix}", self.database().display());
            let _ = fs::remove_file(path);
        }
    }

    /// Runs statements on the database from outside.
    pub fn sql(&self, statements: &str) {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.execute_batch(statements).unwrap();
    }

    /// The version of the database's schema.
    pub fn schema(&self) -> i64 {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap()
    }

    /// Reads all files of `HEAD` and staging: each is what the worktree has, or an error. Returns how many are errors.
    pub fn errors_when_read(&self) -> usize {
        use std::io::Read;
        let repository = self.open();
        let Ok(listed) = repository.list(None, &RepoPath::root()) else {
            return 1;
        };
        let mut errors = 0;
        for listed in listed {
            let expected = fs::read(self.root().join(listed.path.as_str())).unwrap();
            let mut bytes = Vec::new();
            let opened = repository.open_file(listed.file);
            match opened.map(|file| file.reader().read_to_end(&mut bytes).is_ok()) {
                Ok(true) => assert!(bytes == expected, "{} was served with other bytes", listed.path),
                _ => errors += 1,
            }
        }
        errors
    }
}

/// Status, log, listings and the hash of every file of every version, as text.
pub fn everything(repository: &Repository) -> String {
    use std::fmt::Write;
    use std::io::Read;
    let mut text = String::new();
    let status = repository.status(&Silent).unwrap();
    writeln!(text, "{:?} {:?} {:?}", status.head, status.commit, status.staged).unwrap();
    writeln!(text, "{:?} {:?}", status.modified, status.untracked).unwrap();
    let mut commits = vec![None];
    for logged in repository.history(status.commit.unwrap(), None).unwrap() {
        let logged = logged.unwrap();
        writeln!(text, "{:?} {:?} {:?}", logged.id, logged.commit, logged.branches).unwrap();
        commits.push(Some(logged.id));
    }
    for commit in commits {
        for listed in repository.list(commit, &RepoPath::root()).unwrap() {
            let mut bytes = Vec::new();
            let file = repository.open_file(listed.file).unwrap();
            file.reader().read_to_end(&mut bytes).unwrap();
            writeln!(text, "{listed:?} {}", blake3::hash(&bytes)).unwrap();
        }
    }
    text
}

/// The kinds of all problems.
pub fn kinds(report: &FsckReport) -> Vec<&'static str> {
    report.problems.iter().map(|problem| problem.kind).collect()
}
