//! A history of 100,000 commits: its log, merge bases and distances. `cargo bench -p fai-core --bench history`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::time::{Duration, Instant};

use fai_core::Repository;
use fai_core::object::{Author, Commit, CommitId, Kind, Object, Time, Tree};
use fai_core::repo::InitOptions;

const COMMITS: usize = 100_000;
const ROUNDS: usize = 9;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init(folder.path(), InitOptions::default()).unwrap().0;
    let ids = history(&repository);
    let (tip, near, far, root) = (ids[COMMITS - 1], ids[COMMITS], ids[COMMITS + 1], ids[0]);
    let started = Instant::now();
    repository.merge_bases(tip, near).unwrap();
    println!("generation numbers of {COMMITS} commits, once: {:?}", started.elapsed());
    let open = || Repository::open(folder.path()).unwrap();
    measured("log of 20 commits", || {
        let repository = open();
        assert_eq!(repository.history(tip, None).unwrap().take(20).count(), 20);
    });
    measured("merge base 10 commits back", || {
        assert_eq!(open().merge_bases(tip, near).unwrap().len(), 1)
    });
    measured("merge base 1,000 commits back", || {
        assert_eq!(open().merge_bases(tip, far).unwrap().len(), 1)
    });
    measured("merge base with the first commit", || {
        assert_eq!(open().merge_bases(tip, root).unwrap(), [root]);
    });
    measured("distance of 1,000 commits", || {
        assert_eq!(open().distance(tip, far).unwrap().ahead, 999)
    });
}

/// A line of commits, and behind it two that branch off near its end and a thousand commits before.
fn history(repository: &Repository) -> Vec<CommitId> {
    let tree = Tree::default();
    let mut ids: Vec<CommitId> = Vec::new();
    let stored = repository.store().write(2, &|_| (), |feeder| {
        feeder.object(Kind::Tree, tree.encode())?;
        for number in 0..COMMITS + 2 {
            let parent = match number {
                0 => None,
                COMMITS => ids.get(COMMITS - 10),
                number if number == COMMITS + 1 => ids.get(COMMITS - 1_000),
                number => ids.get(number - 1),
            };
            let commit = Commit {
                tree: tree.id(),
                parents: parent.into_iter().copied().collect(),
                author: Author {
                    name: "A".into(),
                    email: String::new(),
                },
                time: Time {
                    seconds: number as i64,
                    offset_minutes: 0,
                },
                message: format!("commit {number}"),
                metadata: Default::default(),
                signature: None,
            };
            ids.push(commit.id());
            feeder.object(Kind::Commit, commit.encode())?;
        }
        Ok(())
    });
    stored.unwrap();
    ids
}

/// Prints the median time of some rounds.
fn measured(what: &str, work: impl Fn()) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        work();
        times.push(started.elapsed());
    }
    times.sort();
    println!("{what}: {:?}", times[ROUNDS / 2]);
}
