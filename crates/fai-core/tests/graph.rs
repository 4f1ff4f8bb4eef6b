//! What leads to what: against definitions that are slow and plain, on random histories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use fai_core::Repository;
use fai_core::object::{Author, Commit, CommitId, Kind, Object, Time, Tree};
use fai_core::repo::InitOptions;
use proptest::prelude::*;

/// Commits, of which each has the parents that the list says, by number.
fn history(repository: &Repository, parents: &[Vec<usize>]) -> Vec<CommitId> {
    let tree = Tree::default();
    let mut ids: Vec<CommitId> = Vec::new();
    let stored = repository.store().write(1, &|_| (), |feeder| {
        feeder.object(Kind::Tree, tree.encode())?;
        for (number, parents) in parents.iter().enumerate() {
            let commit = Commit {
                tree: tree.id(),
                parents: parents.iter().map(|parent| ids[*parent]).collect(),
                author: Author {
                    name: "A".into(),
                    email: String::new(),
                },
                // Clocks say nothing of the order.
                time: Time {
                    seconds: (number as i64 * 7919) % 1000,
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

fn ancestors(parents: &[Vec<usize>], of: usize) -> BTreeSet<usize> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![of]);
    while let Some(next) = waiting.pop() {
        if found.insert(next) {
            waiting.extend(&parents[next]);
        }
    }
    found
}

fn check(repository: &Repository, parents: &[Vec<usize>], ids: &[CommitId], one: usize, other: usize) {
    let (mine, theirs) = (ancestors(parents, one), ancestors(parents, other));
    let common: BTreeSet<usize> = mine.intersection(&theirs).copied().collect();
    let best = common.iter().filter(|candidate| {
        let leads = |from: &&usize| **from != **candidate && ancestors(parents, **from).contains(candidate);
        !common.iter().any(|from| leads(&from))
    });
    let best: BTreeSet<CommitId> = best.map(|number| ids[*number]).collect();
    let found = repository.merge_bases(ids[one], ids[other]).unwrap();
    assert_eq!(found.len(), best.len(), "none is named twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), best);
    let distance = repository.distance(ids[one], ids[other]).unwrap();
    assert_eq!(distance.ahead as usize, mine.difference(&theirs).count());
    assert_eq!(distance.behind as usize, theirs.difference(&mine).count());
    assert_eq!(
        repository.is_ancestor(ids[other], ids[one]).unwrap(),
        mine.contains(&other)
    );
}

/// Histories of up to 24 commits with up to three parents each.
fn histories() -> impl Strategy<Value = Vec<Vec<usize>>> {
    proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..=3), 1..24).prop_map(|drawn| {
        let pick = |(number, picks): (usize, Vec<prop::sample::Index>)| match number {
            0 => Vec::new(),
            _ => {
                let picked: BTreeSet<usize> = picks.iter().map(|pick| pick.index(number)).collect();
                picked.into_iter().collect()
            }
        };
        drawn.into_iter().enumerate().map(pick).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bases_and_distances_are_as_defined(parents in histories(), pairs in proptest::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 8)) {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init(folder.path(), InitOptions::default()).unwrap().0;
        let ids = history(&repository, &parents);
        for (one, other) in pairs {
            check(&repository, &parents, &ids, one.index(parents.len()), other.index(parents.len()));
        }
    }
}

#[test]
fn histories_merged_into_each_other_have_two_bases() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init(folder.path(), InitOptions::default()).unwrap().0;
    let parents = [vec![], vec![0], vec![0], vec![1, 2], vec![2, 1]];
    let ids = history(&repository, &parents);
    let found = repository.merge_bases(ids[3], ids[4]).unwrap();
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        [ids[1], ids[2]].into_iter().collect()
    );
}

#[test]
fn a_long_history_costs_no_stack_and_is_learnt_once() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init(folder.path(), InitOptions::default()).unwrap().0;
    let mut parents: Vec<Vec<usize>> = (0..20_000)
        .map(|number: usize| number.checked_sub(1).into_iter().collect())
        .collect();
    parents.push(vec![19_000]);
    let ids = history(&repository, &parents);
    assert_eq!(repository.merge_bases(ids[19_999], ids[20_000]).unwrap(), [ids[19_000]]);
    let again = Repository::open(folder.path()).unwrap();
    let distance = again.distance(ids[19_999], ids[20_000]).unwrap();
    assert_eq!((distance.ahead, distance.behind), (999, 1));
}

#[test]
fn a_log_reads_only_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
    let tree = Tree::default();
    // Far back a commit is missing: whoever walks there fails.
    let mut newest = <CommitId as fai_core::object::Id>::of(b"nowhere");
    let stored = repository.store().write(1, &|_| (), |feeder| {
        feeder.object(Kind::Tree, tree.encode())?;
        for number in 0..60 {
            let commit = Commit {
                tree: tree.id(),
                parents: vec![newest],
                author: Author {
                    name: "A".into(),
                    email: String::new(),
                },
                time: Time {
                    seconds: number,
                    offset_minutes: 0,
                },
                message: String::new(),
                metadata: Default::default(),
                signature: None,
            };
            newest = commit.id();
            feeder.object(Kind::Commit, commit.encode())?;
        }
        Ok(())
    });
    stored.unwrap();
    repository.create_branch("main", newest, None, Time::default()).unwrap();
    for mut history in [
        repository.history(newest, None).unwrap(),
        repository.whole_history(None).unwrap(),
    ] {
        assert_eq!(history.by_ref().take(20).filter(Result::is_ok).count(), 20);
        assert!(
            history.any(|commit| commit.is_err()),
            "the end of the history is missing"
        );
    }
}
