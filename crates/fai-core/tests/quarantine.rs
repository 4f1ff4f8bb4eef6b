//! What is received from elsewhere: out of sight until it is accepted, and not lost or half there after a kill.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use common::{FULL, Fixture, REBUILD, everything};
use fai_core::Repository;
use fai_core::codec::{Base, Codec, Encoder};
use fai_core::object::{FileId, Hash, Id, Kind, Object, Time, Tree, TreeEntry};
use fai_core::repo::{Error, FsckOptions, InitOptions, Quarantine, RefMove, Silent, Store};
use fai_core::storage::{Checker, RecordHeader};
use fai_core::tensor::Element;

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
fn a_rebuild_goes_on_with_what_was_being_moved() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let slot = folder.path().join(".fai/quarantine/0");
    let empty = Tree::default();
    put(&repository.quarantine().unwrap(), &[&empty]);
    fs::write(slot.join("moving"), b"").unwrap();
    repository.fsck(&REBUILD, &Silent).unwrap();
    assert!(has(&repository, &empty));
    assert!(!slot.join("moving").exists());
}

#[test]
fn a_set_of_refs_that_cannot_move_changes_no_file() {
    let fixture = Fixture::with_history();
    let repository = fixture.open();
    let before = everything(&repository);
    let newest = repository.resolve("HEAD").unwrap();
    let older = repository.resolve("HEAD~1").unwrap();
    let moved = |name: &str, before, after| RefMove {
        name: name.to_owned(),
        before,
        after: Some(after),
    };
    let main = moved("refs/heads/main", Some(newest), older);
    for (other, kind) in [
        (moved("refs/heads/main/more", None, newest), "in_the_way"),
        (moved("refs/heads/other", Some(older), newest), "ref_moved"),
    ] {
        let quarantine = repository.quarantine().unwrap();
        let refused = repository.accept(quarantine, &[main.clone(), other], Time::default(), "push", &Silent);
        assert_eq!(refused.unwrap_err().kind(), kind);
        assert_eq!(everything(&repository), before);
    }
    let quarantine = repository.quarantine().unwrap();
    repository
        .accept(quarantine, &[main], Time::default(), "push", &Silent)
        .unwrap();
    assert_eq!(repository.resolve("HEAD").unwrap(), older);
    assert_eq!(repository.fsck(&FULL, &Silent).unwrap().problems, []);
    let status = repository.status(&Silent).unwrap();
    assert!(status.modified.is_empty(), "{:?}", status.modified);
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

/// Weights of a base, and of versions of it.
fn version(number: usize) -> Vec<u8> {
    let value = |index: usize| (index as f32 * 0.37).sin() * 0.02 * (1.0 + 0.000_1 * (number * (index % 7)) as f32);
    (0..8000).flat_map(|index| value(index).to_le_bytes()).collect()
}

/// Puts a chunk into a store, as a delta against `base` if there is one.
fn put_chunk(store: &Store, raw: &[u8], base: Option<&[u8]>) {
    let (mut encoder, mut checker, mut payload) = (Encoder::new().unwrap(), Checker::new().unwrap(), Vec::new());
    let element = Element::F32;
    let codec = match base {
        None => encoder.encode(raw, element, &mut payload),
        Some(bytes) => {
            let first = 0;
            encoder.encode_against(raw, element, Base { bytes, element, first }, &mut payload)
        }
    };
    assert_eq!(codec == Codec::Delta, base.is_some());
    let header = RecordHeader {
        kind: Kind::Chunk,
        codec,
        raw_len: raw.len() as u32,
        encoded_len: payload.len() as u32,
        hash: Kind::Chunk.hash(raw),
        base: base.map(|base| Kind::Chunk.hash(base)),
    };
    let checked = match base {
        None => checker.check(&header.hash, header, payload),
        Some(base) => checker.check_against(&header.hash, header, payload, base),
    };
    let received = checked.unwrap().0;
    store
        .write(1, &|_| (), |feeder| Ok(feeder.received(received)?))
        .unwrap();
}

fn depth(store: &Store, raw: &[u8]) -> Option<usize> {
    store.depth(&Kind::Chunk.hash(raw)).unwrap()
}

#[test]
fn deltas_whose_base_is_gone_are_not_here() {
    let [with_base, without] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let repository_with = repository(with_base.path());
    let [base, one, two, other, third] = [0, 1, 2, 3, 4].map(version);
    put_chunk(repository_with.store(), &base, None);
    let quarantine = repository_with.quarantine().unwrap();
    put_chunk(quarantine.store(), &one, Some(&base));
    put_chunk(quarantine.store(), &two, Some(&one));
    put_chunk(quarantine.store(), &other, None);
    put_chunk(quarantine.store(), &third, Some(&other));
    assert_eq!(depth(quarantine.store(), &two), Some(2));
    drop(quarantine);
    // A repository that does not have the base any more.
    let left = with_base.path().join(".fai/quarantine");
    let repository = repository(without.path());
    fs::rename(left, without.path().join(".fai/quarantine")).unwrap();
    let quarantine = repository.quarantine().unwrap();
    let here = [&one, &two, &other, &third].map(|chunk| {
        let hash = Kind::Chunk.hash(chunk);
        quarantine.store().has_here(Kind::Chunk, &hash).unwrap()
    });
    assert_eq!(here, [false, false, true, true]);
    assert_eq!(depth(quarantine.store(), &third), Some(1));
    let read = |raw: &[u8], _: &_| raw == third;
    assert!(
        quarantine
            .store()
            .with(Kind::Chunk, &Kind::Chunk.hash(&third), read)
            .unwrap()
    );
}

#[test]
fn a_base_that_is_gone_at_the_end_keeps_everything_out() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let [base, one] = [0, 1].map(version);
    put_chunk(repository.store(), &base, None);
    let quarantine = repository.quarantine().unwrap();
    put_chunk(quarantine.store(), &one, Some(&base));
    let sealed = fs::read_dir(folder.path().join(".fai/objects"))
        .unwrap()
        .next()
        .unwrap();
    fs::remove_file(sealed.unwrap().path()).unwrap();
    // A rebuild waits for whoever receives, unless a hand took the lock away.
    fs::remove_file(folder.path().join(".fai/gc.lock")).unwrap();
    let options = FsckOptions {
        rebuild: true,
        ..FsckOptions::default()
    };
    repository.fsck(&options, &Silent).unwrap();
    let accepted = repository.accept(quarantine, &[], Time::default(), "pull", &Silent);
    assert!(
        matches!(&accepted, Err(Error::Missing { hash, .. }) if *hash == Kind::Chunk.hash(&base)),
        "{accepted:?}"
    );
    assert!(!repository.store().has(&Kind::Chunk.hash(&one)).unwrap());
}

#[test]
fn chains_that_grew_too_long_elsewhere_are_cut_when_they_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let versions: Vec<Vec<u8>> = (0..40).map(version).collect();
    // Each transfer has a short chain, on what the one before has standing at the end of a chain.
    let quarantines: Vec<Quarantine> = (0..10).map(|_| repository.quarantine().unwrap()).collect();
    for (number, quarantine) in quarantines.iter().enumerate() {
        let at = 4 * number;
        put_chunk(quarantine.store(), &versions[at.saturating_sub(1)], None);
        for next in at.max(1)..at + 4 {
            put_chunk(quarantine.store(), &versions[next], Some(&versions[next - 1]));
        }
    }
    for quarantine in quarantines {
        repository
            .accept(quarantine, &[], Time::default(), "pull", &Silent)
            .unwrap();
    }
    let depths: Vec<usize> = versions
        .iter()
        .map(|raw| depth(repository.store(), raw).unwrap())
        .collect();
    assert!(depths.iter().all(|depth| *depth <= 16), "{depths:?}");
    for raw in &versions {
        let same = |found: &[u8], _: &_| found == raw;
        assert!(
            repository
                .store()
                .with(Kind::Chunk, &Kind::Chunk.hash(raw), same)
                .unwrap()
        );
    }
}
