//! Merges: killed at any step they can be finished or undone, and random ones are what they must be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{FULL, Fixture, noise};
use fai_core::object::{Author, RepoPath, Time};
use fai_core::repo::{
    CheckoutOptions, Error, Event, MergeKind, MergeReport, MergeRequest, Outcome, Progress, Repository, Resolution,
    Silent,
};
use proptest::prelude::*;

const WHEN: Time = Time {
    seconds: 1_800_000_000,
    offset_minutes: 0,
};

type Files = BTreeMap<String, Vec<u8>>;

fn checkout(fixture: &Fixture, revision: &str) {
    let options = CheckoutOptions {
        force: true,
        detach: false,
        time: WHEN,
    };
    fixture.open().checkout(revision, options, &Silent).unwrap();
}

fn request(repository: &Repository, other: &str) -> MergeRequest {
    MergeRequest {
        kind: MergeKind::Merge,
        other: repository.resolve(other).unwrap(),
        name: other.to_owned(),
        message: None,
        author: Author {
            name: "A".into(),
            email: String::new(),
        },
        time: WHEN,
        choice: None,
        no_ff: false,
        ff_only: false,
        unrelated: false,
    }
}

fn merge(fixture: &Fixture, other: &str) -> Result<MergeReport, Error> {
    let repository = fixture.open();
    repository.merge(&request(&repository, other), &Silent)
}

/// The files of the worktree.
fn worktree(root: &Path) -> Files {
    let (mut files, mut folders) = (Files::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".fai") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The worktree becomes `files`, which are then committed.
fn become_and_commit(fixture: &mut Fixture, files: &Files, message: &str) -> String {
    for name in worktree(fixture.root()).keys() {
        fs::remove_file(fixture.root().join(name)).unwrap();
    }
    // One more file, so that no commit is empty.
    fixture.write(&format!("marks/{message}"), message.as_bytes());
    files.iter().for_each(|(name, bytes)| fixture.write(name, bytes));
    let everything = [RepoPath::root()];
    fixture.open().add(&everything, Default::default(), &Silent).unwrap();
    fixture.commit(message)
}

/// Two lines of work: gives the fixture on `main` at ours, and theirs.
fn forked(base: &Files, ours: &Files, theirs: &Files) -> (Fixture, String) {
    let mut fixture = Fixture::new();
    let first = become_and_commit(&mut fixture, base, "base");
    checkout(&fixture, &first);
    let other = become_and_commit(&mut fixture, theirs, "theirs");
    checkout(&fixture, "main");
    become_and_commit(&mut fixture, ours, "ours");
    (fixture, other)
}

fn model(seeds: [u64; 3]) -> Vec<u8> {
    let header = r#"{"a":{"dtype":"F32","shape":[60000],"data_offsets":[0,240000]},"b":{"dtype":"F32","shape":[60000],"data_offsets":[240000,480000]},"c":{"dtype":"F32","shape":[60000],"data_offsets":[480000,720000]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    seeds.iter().for_each(|seed| bytes.extend(noise(*seed, 240_000)));
    bytes
}

fn conflicting() -> (Fixture, String) {
    let files = |seeds, text: &str| {
        Files::from([
            ("model.safetensors".to_owned(), model(seeds)),
            ("notes.txt".to_owned(), text.as_bytes().to_vec()),
            ("other.bin".to_owned(), noise(seeds[0] + 50, 5000)),
        ])
    };
    forked(
        &files([1, 2, 3], "one\ntwo\nthree\n"),
        &files([1, 20, 3], "one\n2\nthree\n"),
        &files([10, 2, 3], "one\nTWO\nthree\n"),
    )
}

const SWITCH: &str = "FAI_TEST_CRASHING_MERGE";

/// Dies without a word after some steps.
struct Dying(AtomicUsize);

impl Progress for Dying {
    fn on(&self, _: Event<'_>) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 0 {
            // As `kill -9` would: nothing is cleaned up.
            std::process::abort();
        }
    }
}

#[test]
fn crashing_merge() {
    let Ok(what) = std::env::var(SWITCH) else { return };
    let (step, rest) = what.split_once(' ').unwrap();
    let (other, root) = rest.split_once(' ').unwrap();
    let repository = Repository::open(Path::new(root)).unwrap().with_threads(1);
    let dying = Dying(AtomicUsize::new(step.parse().unwrap()));
    repository.merge(&request(&repository, other), &dying).unwrap();
}

#[test]
fn a_killed_merge_can_be_finished_and_undone() {
    let (reference, other) = conflicting();
    let before = worktree(reference.root());
    assert_eq!(merge(&reference, &other).unwrap().outcome, Outcome::Conflicts);
    let after = worktree(reference.root());
    assert!(after["model.safetensors"] == model([10, 20, 3]));
    let (mut step, mut interrupted) = (0, 0);
    loop {
        let (fixture, other) = conflicting();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["crashing_merge", "--exact"])
            .env(SWITCH, format!("{step} {other} {}", fixture.root().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(fixture.fsck(FULL).problems, [], "killed at step {step}");
        let underway = fixture.open().underway().unwrap();
        let undo = step % 2 == 0;
        match underway {
            None => assert_eq!(worktree(fixture.root()), before, "killed at step {step}"),
            Some(underway) => {
                interrupted += usize::from(!underway.placed);
                if undo {
                    fixture.open().merge_abort(&Silent).unwrap();
                    assert!(worktree(fixture.root()) == before, "killed at step {step}");
                } else if !underway.placed {
                    let report = fixture.open().merge_continue(WHEN, &Silent).unwrap().unwrap();
                    assert_eq!(report.outcome, Outcome::Conflicts, "killed at step {step}");
                    assert!(worktree(fixture.root()) == after, "killed at step {step}");
                }
            }
        }
        if status.success() {
            break;
        }
        step += 1;
    }
    assert!(
        step >= 8 && interrupted >= 3,
        "{step} steps, {interrupted} with a half-written worktree"
    );
}

#[test]
fn the_end_of_a_merge_is_what_was_decided() {
    let (fixture, other) = conflicting();
    merge(&fixture, &other).unwrap();
    let path = RepoPath::parse("notes.txt").unwrap();
    let repository = fixture.open();
    assert!(matches!(repository.merge_continue(WHEN, &Silent), Err(Error::Undecided(paths)) if paths.contains(&path)));
    for conflict in repository.underway().unwrap().unwrap().conflicts {
        repository
            .resolve_conflict(&conflict.path, Resolution::Theirs, &Silent)
            .unwrap();
    }
    assert!(repository.merge_continue(WHEN, &Silent).unwrap().is_none());
    assert_eq!(
        fs::read(fixture.root().join("notes.txt")).unwrap(),
        b"one\nTWO\nthree\n"
    );
    assert_eq!(fixture.fsck(FULL).problems, []);
}

/// Up to six files of one of four contents each.
fn versions() -> impl Strategy<Value = [Files; 3]> {
    let file = proptest::option::of(0u8..4);
    let version = proptest::collection::vec(file, 6).prop_map(|contents| {
        let names = ["a", "b", "folder/c", "folder/d", "e", "deep/er/f"];
        let file = |(name, content): (&str, Option<u8>)| Some((name.to_owned(), noise(u64::from(content?) + 1, 40)));
        names.into_iter().zip(contents).filter_map(file).collect::<Files>()
    });
    [version.clone(), version.clone(), version]
}

/// What each path must become, where one rule decides; `None` where both sides changed it.
fn expected(base: &Files, ours: &Files, theirs: &Files, name: &str) -> Option<Option<Vec<u8>>> {
    let (before, one, other) = (base.get(name), ours.get(name), theirs.get(name));
    match (one == before, other == before, one == other) {
        (_, true, _) | (_, _, true) => Some(one.cloned()),
        (true, false, _) => Some(other.cloned()),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Files so small have no renames but exact ones, so histories are drawn in which none can be meant.
    #[test]
    fn random_merges_are_as_defined_and_symmetric([base, ours, theirs] in versions()) {
        let moved = |side: &Files| {
            let gone: BTreeSet<&Vec<u8>> = base.iter().filter(|(name, _)| !side.contains_key(*name)).map(|(_, bytes)| bytes).collect();
            side.iter().any(|(name, bytes)| !base.contains_key(name) && gone.contains(bytes))
        };
        prop_assume!(!moved(&ours) && !moved(&theirs));
        let mut results = Vec::new();
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            let (fixture, commit) = forked(&base, one, other);
            let report = merge(&fixture, &commit).unwrap();
            let conflicts: BTreeSet<String> = report.conflicts.iter().map(|conflict| conflict.path.to_string()).collect();
            let mut found = worktree(fixture.root());
            found.retain(|name, _| !name.starts_with("marks/"));
            let names: BTreeSet<&String> = base.keys().chain(one.keys()).chain(other.keys()).collect();
            for name in names {
                match expected(&base, one, other, name) {
                    Some(content) => {
                        prop_assert_eq!(found.get(name), content.as_ref());
                        prop_assert!(!conflicts.contains(name));
                    }
                    None => {
                        prop_assert!(conflicts.contains(name));
                        found.remove(name);
                    }
                }
            }
            prop_assert_eq!(fixture.fsck(FULL).problems, []);
            results.push((found, conflicts));
        }
        prop_assert_eq!(&results[0], &results[1]);
    }
}
