//! What is received from elsewhere: out of sight until it is accepted, and not lost or half there after a kill.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use fai_core::Repository;
use fai_core::object::{FileId, Hash, Id, Kind, Object, Tree, TreeEntry};
use fai_core::repo::{InitOptions, Quarantine};

fn repository(folder: &Path) -> Repository {
    Repository::init(folder, InitOptions::default()).unwrap().0
}

/// A tree that nothing else leads to.
fn tree(name: &str) -> Tree {
    let file = FileId::of(name.as_bytes());
    Tree::new(vec![TreeEntry::file(name, file, 3, false)]).unwrap()
}

fn put(quarantine: &Quarantine, trees: &[&Tree]) {
    let stored = quarantine.store().write(1, &|_| (), |feeder| {
        for tree in trees {
            feeder.object(Kind::Tree, tree.encode())?;
        }
        Ok(())
    });
    stored.unwrap();
}

fn has(repository: &Repository, tree: &Tree) -> bool {
    repository.store().has(tree.id().hash()).unwrap()
}

#[test]
fn what_an_interrupted_transfer_left_is_found_again_and_out_of_sight() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let one = tree("one");
    put(&repository.quarantine().unwrap(), &[&one]);
    assert!(!has(&repository, &one));
    let again = repository.quarantine().unwrap();
    assert!(again.store().has_here(Kind::Tree, one.id().hash()).unwrap());
}

#[test]
fn packs_that_were_being_moved_when_the_process_died_are_the_repositorys() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let slot = folder.path().join(".fai/quarantine/0");
    let (one, two) = (tree("one"), tree("two"));
    put(&repository.quarantine().unwrap(), &[&one]);
    fs::write(slot.join("moving"), b"").unwrap();

    // The next transfer takes over the same place: what it brings must not be taken for what was accepted.
    let next = repository.quarantine().unwrap();
    assert!(has(&repository, &one), "it need not be fetched again");
    assert!(!slot.join("moving").exists());
    put(&next, &[&two]);
    drop(next);
    repository.store().adopt_orphans().unwrap();
    assert!(!has(&repository, &two));
}

#[test]
fn leftovers_of_another_transfer_do_not_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let (wanted, leftover) = (tree("wanted"), tree("leftover"));
    put(&repository.quarantine().unwrap(), &[&leftover]);
    let quarantine = repository.quarantine().unwrap();
    put(&quarantine, &[&wanted]);
    let met: HashSet<Hash> = [*wanted.id().hash()].into();
    quarantine.retain_objects(&met).unwrap();
    let time = fai_core::object::Time::default();
    repository
        .accept(quarantine, &[], time, "pull", &fai_core::repo::Silent)
        .unwrap();
    assert!(has(&repository, &wanted) && !has(&repository, &leftover));
    assert!(!folder.path().join(".fai/quarantine/0/moving").exists());
}
