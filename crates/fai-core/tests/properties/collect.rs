//! Collections and repackings on random histories: whatever refs and staging lead to is there afterwards, byte for byte,
//! and nothing is wrong with what is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fai_core::Repository;
use fai_core::object::{Author, CommitId, RepoPath, Time};
use fai_core::repo::{AddOptions, CommitRequest, Error, FsckOptions, GcOptions, InitOptions, RepackOptions, Silent};
use proptest::prelude::*;

use crate::cases;

const DAY: i64 = 86_400;

/// A step of a history. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// Writes and adds a version of a file.
    Add {
        file: u8,
        version: u8,
    },
    /// Drops what is staged.
    Unstage,
    Commit {
        amend: bool,
    },
    /// Makes a branch at the current commit, and goes on elsewhere.
    Branch(u8),
    /// The current branch goes to another commit that a branch names.
    Reset(u8),
    DeleteBranch(u8),
    /// So many days pass, and a collection comes that waits for so many; `None` waits for nothing.
    Collect {
        days: u8,
        age: Option<u8>,
    },
    Repack {
        max: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4u8, 0..6u8).prop_map(|(file, version)| Step::Add { file, version }),
        1 => Just(Step::Unstage),
        4 => prop::bool::weighted(0.3).prop_map(|amend| Step::Commit { amend }),
        2 => any::<u8>().prop_map(Step::Branch),
        1 => any::<u8>().prop_map(Step::Reset),
        2 => any::<u8>().prop_map(Step::DeleteBranch),
        3 => (0..20u8, prop::option::of(0..20u8)).prop_map(|(days, age)| Step::Collect { days, age }),
        1 => any::<bool>().prop_map(|max| Step::Repack { max }),
    ]
}

/// Versions of a model that are close to each other, of a growing text, of bytes, and of a file in pages of zeros.
fn content(file: u8, version: u8) -> Vec<u8> {
    let mix = |index: u32, salt: u32| (index ^ salt << 16).wrapping_mul(2_654_435_761).rotate_left(11);
    match file {
        0 | 1 => {
            let count = 20_000 + 500 * u32::from(file);
            let header = format!(
                r#"{{"w":{{"dtype":"BF16","shape":[{count}],"data_offsets":[0,{}]}}}}"#,
                2 * count
            );
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(header.as_bytes());
            for index in 0..count {
                let nudge = u16::from(mix(index, u32::from(version) + 1) % 9 < u32::from(version));
                let weight = 0x3c00 | (mix(index, 0) & 0x81ff) as u16;
                bytes.extend_from_slice(&weight.wrapping_add(nudge).to_le_bytes());
            }
            bytes
        }
        2 => (0..4000 * (u32::from(version) + 1))
            .flat_map(|n| mix(n, 7).to_le_bytes())
            .collect(),
        _ => vec![version; 300_000],
    }
}

/// A history, and what it holds.
struct World {
    folder: tempfile::TempDir,
    repository: Repository,
    now: i64,
    /// What a commit of any branch holds, by its id.
    commits: BTreeMap<CommitId, BTreeMap<String, Vec<u8>>>,
    /// What the next commit holds.
    next: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init(folder.path(), InitOptions::default())
            .unwrap()
            .0
            .with_threads(2);
        Self {
            folder,
            repository,
            now: 1_700_000_000,
            commits: BTreeMap::new(),
            next: BTreeMap::new(),
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn sql(&self, statement: &str, values: impl rusqlite::Params) {
        let connection = rusqlite::Connection::open(self.root().join(".fai/db.sqlite")).unwrap();
        connection.execute(statement, values).unwrap();
    }

    /// A branch other than the current one.
    fn branch(&self, choice: u8) -> Option<(String, CommitId)> {
        let mut refs = self.repository.refs().unwrap();
        refs.retain(|(name, _)| name != "refs/heads/main");
        let index = usize::from(choice) % refs.len().max(1);
        refs.into_iter().nth(index)
    }

    fn head(&self) -> Option<CommitId> {
        self.repository.head_commit().unwrap()
    }

    /// The worktree's part of a commit is what is expected next.
    fn expect_head(&mut self) {
        let head = self.head().and_then(|head| self.commits.get(&head));
        self.next = head.cloned().unwrap_or_default();
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Add { file, version } => {
                let (name, bytes) = (format!("file{file}"), content(*file, *version));
                fs::write(self.root().join(&name), &bytes).unwrap();
                let path = RepoPath::parse(&name).unwrap();
                self.repository.add(&[path], AddOptions::default(), &Silent).unwrap();
                self.next.insert(name, bytes);
            }
            Step::Unstage => {
                self.sql("DELETE FROM staging", []);
                self.expect_head();
            }
            Step::Commit { amend } => self.commit(*amend && self.head().is_some()),
            Step::Branch(number) => {
                if let Some(head) = self.head() {
                    let name = format!("refs/heads/b{}", number % 4);
                    let hash = head.as_bytes().to_vec();
                    self.sql(
                        "INSERT OR REPLACE INTO refs VALUES (?1, ?2)",
                        rusqlite::params![name, hash],
                    );
                }
            }
            Step::Reset(choice) => {
                if let Some((_, commit)) = self.branch(*choice) {
                    let hash = commit.as_bytes().to_vec();
                    self.sql("INSERT OR REPLACE INTO refs VALUES ('refs/heads/main', ?1)", [hash]);
                    self.sql("DELETE FROM staging", []);
                    self.expect_head();
                }
            }
            Step::DeleteBranch(choice) => {
                if let Some((name, _)) = self.branch(*choice) {
                    self.sql("DELETE FROM refs WHERE name = ?1", [name]);
                }
            }
            Step::Collect { days, age } => {
                self.now += i64::from(*days) * DAY;
                self.collect(age.map(|age| Duration::from_secs(u64::from(age) * DAY as u64)));
            }
            Step::Repack { max } => {
                let options = RepackOptions {
                    max: *max,
                    dry_run: false,
                    patience: Duration::from_secs(10),
                };
                let report = self.repository.repack(&options, &Silent).unwrap();
                assert_eq!(report.kept, []);
            }
        }
    }

    fn commit(&mut self, amend: bool) {
        self.now += 60;
        let request = CommitRequest {
            message: Some("one more".into()),
            author: Some(Author {
                name: "Ada".into(),
                email: String::new(),
            }),
            time: Time {
                seconds: self.now,
                offset_minutes: 0,
            },
            amend,
            ..CommitRequest::default()
        };
        match self.repository.commit(&request) {
            Ok(report) => drop(self.commits.insert(report.id, self.next.clone())),
            Err(Error::NothingToCommit) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn collect(&self, age: Option<Duration>) {
        let options = GcOptions {
            now: self.now,
            age,
            dry_run: false,
            patience: Duration::from_secs(10),
        };
        let report = self.repository.gc(&options, &Silent).unwrap();
        assert_eq!(report.kept, []);
    }

    /// Fails unless everything that refs and staging lead to is what it was, and nothing is wrong anywhere.
    fn check(&self) {
        let check = FsckOptions {
            full: true,
            rebuild: false,
            patience: Duration::ZERO,
        };
        assert_eq!(self.repository.fsck(&check, &Silent).unwrap().problems, []);
        for (name, tip) in self.repository.refs().unwrap() {
            for logged in self.repository.history(tip, None).unwrap() {
                let id = logged.unwrap().id;
                self.compare(Some(id), &self.commits[&id], &name);
            }
        }
        self.compare(None, &self.next, "what is staged");
    }

    fn compare(&self, commit: Option<CommitId>, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
        let listed = self.repository.list(commit, &RepoPath::root()).unwrap();
        assert_eq!(listed.len(), expected.len(), "{what}");
        for file in listed {
            let mut bytes = Vec::new();
            let open = self.repository.open_file(file.file).unwrap();
            std::io::Read::read_to_end(&mut open.reader(), &mut bytes).unwrap();
            assert!(bytes == expected[file.path.as_str()], "{} of {what}", file.path);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn what_something_leads_to_stays(steps in prop::collection::vec(any_step(), 4..24)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            if matches!(step, Step::Collect { .. } | Step::Repack { .. }) {
                world.check();
            }
        }
        world.collect(None);
        world.check();
        // What is left is what is needed: nothing goes a second time, and an index made anew is the same.
        let records = |world: &World| {
            let connection = rusqlite::Connection::open(world.root().join(".fai/db.sqlite")).unwrap();
            let count = "SELECT count(*) FROM records";
            connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let before = records(&world);
        world.collect(None);
        prop_assert_eq!(records(&world), before);
        let rebuild = FsckOptions {
            full: true,
            rebuild: true,
            patience: Duration::from_millis(500),
        };
        let report = world.repository.fsck(&rebuild, &Silent).unwrap();
        prop_assert_eq!(report.problems, []);
        prop_assert_eq!(records(&world), before);
        world.check();
    }
}
