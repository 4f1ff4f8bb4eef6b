//! `fsck` and `stats` from outside: what is damaged is named and never served, and a rebuild brings back everything
//! that the packs hold. What crashes leave is in `crash.rs`.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use common::{CHECK, FULL, Fixture, PATIENCE, REBUILD, everything, kinds, noise};
use fai_core::repo::{Error, Event, FsckOptions, Problem, Progress, Repository, Silent};

/// Flips a bit of the content of `data/noise.bin` in its pack and returns the pack and where its record begins.
fn damage_noise(fixture: &Fixture) -> (std::path::PathBuf, usize) {
    const HEADER: usize = 52;
    let (pack, at) = fixture.pack_with(&noise(2, 3000));
    let mut bytes = fs::read(&pack).unwrap();
    bytes[at + 1000] ^= 4;
    fs::write(&pack, bytes).unwrap();
    (pack, at - HEADER)
}

#[test]
fn a_sound_repository_is_sound_and_was_looked_at() {
    let fixture = Fixture::with_history();
    let report = fixture.fsck(CHECK);
    assert_eq!(report.problems, []);
    assert!(report.ok() && !report.rebuilt);
    let checked = |what: &str| report.checked.get(what).copied().unwrap_or_default();
    assert_eq!((checked("commits"), checked("files"), checked("bytes")), (2, 5, 0));
    assert!(checked("trees") >= 3 && checked("chunks") >= 5 && checked("records") >= 15);
    assert_eq!(checked("packs"), fixture.packs().len() as u64);
    let full = fixture.fsck(FULL);
    assert_eq!(full.problems, []);
    let stored: u64 = fixture.packs().iter().map(|path| path.metadata().unwrap().len()).sum();
    let bytes = full.checked["bytes"];
    assert!(bytes > stored / 2 && bytes < stored, "{bytes} of {stored}");
}

#[test]
fn an_empty_repository_is_sound() {
    let fixture = Fixture::new();
    assert_eq!(fixture.fsck(FULL).problems, []);
    assert_eq!(fixture.fsck(REBUILD).problems, []);
}

#[test]
fn every_damaged_byte_is_named_and_none_is_served() {
    let mut fixture = Fixture::new();
    fixture.write("a.bin", &noise(7, 70));
    fixture.write("b.txt", "to be or not to be ".repeat(30).as_bytes());
    fixture.commit("all");
    let repository = fixture.open();
    for path in fixture.packs() {
        let whole = fs::read(&path).unwrap();
        let mut unnoticed = Vec::new();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            if repository.fsck(&FULL, &Silent).unwrap().ok() {
                unnoticed.push(at);
                // A decoder skips bits that mean nothing to it: then everything is still what it was.
                assert_eq!(fixture.errors_when_read(), 0, "byte {at} went unnoticed");
            } else if at % 16 == 0 {
                fixture.errors_when_read();
            }
        }
        assert!(unnoticed.len() < 4, "{unnoticed:?} of {} went unnoticed", whole.len());
        fs::write(&path, &whole).unwrap();
    }
    assert!(repository.fsck(&FULL, &Silent).unwrap().ok());
}

#[test]
fn a_damaged_chunk_is_named_with_its_pack_and_paths() {
    let mut fixture = Fixture::with_history();
    fixture.write("copy.bin", &noise(2, 3000));
    let commit = fixture.commit("copied");
    let (pack, at) = damage_noise(&fixture);

    assert!(fixture.fsck(CHECK).ok(), "only a full check reads chunks");
    let report = fixture.fsck(FULL);
    assert_eq!(kinds(&report), ["damaged_record"]);
    let problem = &report.problems[0];
    assert_eq!(
        problem.subject,
        format!("chunk {}", blake3::hash(&noise(2, 3000)).to_hex())
    );
    let place = format!("{} at byte {at}: ", pack.file_name().unwrap().to_string_lossy());
    assert!(problem.detail.starts_with(&place), "{}", problem.detail);
    let paths = ["copy.bin", "data/noise.bin"].map(|path| format!("{path} in commit {commit}"));
    assert_eq!(problem.affected, paths);
    assert_eq!(fixture.errors_when_read(), 2);
}

#[test]
fn what_a_rebuild_had_to_give_up_is_stored_again_by_the_next_add() {
    let fixture = Fixture::with_history();
    let (pack, _) = damage_noise(&fixture);
    let bytes = fs::read(&pack).unwrap();
    let report = fixture.fsck(REBUILD);
    assert_eq!(kinds(&report), ["missing_object"]);
    assert!(report.recovered[0].contains("good records"), "{:?}", report.recovered);
    let aside = format!("{}.damaged", pack.display());
    assert_eq!(fs::read(aside).unwrap(), bytes, "the damaged pack is kept");
    fixture.add();
    assert_eq!(fixture.fsck(FULL).problems, []);
    assert_eq!(fixture.errors_when_read(), 0);
}

#[test]
fn a_missing_pack_is_named_with_what_needed_it() {
    let fixture = Fixture::with_history();
    let (pack, _) = fixture.pack_with(&noise(4, 2000));
    fs::remove_file(&pack).unwrap();
    for options in [CHECK, FULL] {
        let report = fixture.fsck(options);
        assert_eq!(kinds(&report), ["missing_pack"]);
        assert_eq!(report.problems[0].subject, pack.file_name().unwrap().to_string_lossy());
        assert_eq!(report.problems[0].affected, ["staged staged.bin"]);
    }
}

#[test]
fn a_cut_pack_is_named_and_a_rebuild_keeps_what_is_left() {
    let fixture = Fixture::with_history();
    let (pack, at) = fixture.pack_with(&noise(2, 3000));
    let whole = fs::read(&pack).unwrap();
    fs::write(&pack, &whole[..at + 2000]).unwrap();
    let report = fixture.fsck(CHECK);
    assert_eq!(kinds(&report)[0], "damaged_pack");
    let noise_is_lost = |problem: &Problem| {
        let named = |path: &String| path.starts_with("data/noise.bin in commit ");
        problem.kind == "damaged_record" && problem.affected.iter().any(named)
    };
    assert!(report.problems.iter().any(noise_is_lost), "{:?}", report.problems);
    let report = fixture.fsck(REBUILD);
    assert!(!report.ok() && kinds(&report).iter().all(|kind| *kind == "missing_object"));
}

#[test]
fn packs_whose_own_index_is_damaged_lose_nothing() {
    let fixture = Fixture::with_history();
    let before = everything(&fixture.open());
    for pack in fixture.packs() {
        let mut bytes = fs::read(&pack).unwrap();
        let at = bytes.len() - 60;
        bytes[at] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
    let report = fixture.fsck(CHECK);
    assert!(report.problems.len() >= 3 && kinds(&report).iter().all(|kind| *kind == "damaged_pack"));
    assert_eq!(
        everything(&fixture.open()),
        before,
        "records do not need their pack's own index"
    );
    assert_eq!(fixture.fsck(REBUILD).problems, []);
    assert_eq!(everything(&fixture.open()), before);
    assert_eq!(fixture.fsck(FULL).problems, []);
}

#[test]
fn an_emptied_index_comes_back_whole() {
    let fixture = Fixture::with_history();
    let before = everything(&fixture.open());
    fixture.sql("DELETE FROM tensors; DELETE FROM files; DELETE FROM records; DELETE FROM packs;");
    let report = fixture.fsck(CHECK);
    assert!(kinds(&report).contains(&"unindexed_pack") && kinds(&report).contains(&"bad_ref"));
    let report = fixture.fsck(REBUILD);
    assert_eq!(report.problems, []);
    assert!(report.rebuilt);
    assert_eq!(everything(&fixture.open()), before);
    assert_eq!(fixture.fsck(FULL).problems, []);
}

#[test]
fn an_index_that_lies_is_noticed() {
    for (statement, word) in [
        (
            "DELETE FROM records WHERE kind = 1 AND raw_len = 2000",
            "not in the index",
        ),
        (
            "UPDATE records SET offset = offset + 1 WHERE raw_len = 2000",
            "are not there",
        ),
        ("UPDATE packs SET bytes = bytes + 1", "the index says"),
        ("UPDATE files SET size = size + 1", "is not what the file is"),
        (
            "UPDATE records SET kind = 77 WHERE raw_len = 2000",
            "damaged row in records",
        ),
    ] {
        let fixture = Fixture::with_history();
        let before = everything(&fixture.open());
        fixture.sql(statement);
        let report = fixture.fsck(CHECK);
        let said = |problem: &Problem| problem.kind == "database" && problem.detail.contains(word);
        assert!(report.problems.iter().any(said), "{statement}: {:?}", report.problems);
        assert_eq!(fixture.fsck(REBUILD).problems, [], "{statement}");
        assert_eq!(everything(&fixture.open()), before, "{statement}");
    }
}

#[test]
fn refs_and_heads_that_lead_nowhere_are_named() {
    let fixture = Fixture::with_history();
    fixture.sql("INSERT INTO refs VALUES ('refs/tags/lost', zeroblob(32))");
    let report = fixture.fsck(CHECK);
    assert_eq!(kinds(&report), ["bad_ref"]);
    assert_eq!(report.problems[0].subject, "refs/tags/lost");
    fixture.sql("DELETE FROM refs WHERE name = 'refs/tags/lost'");

    let head = fixture.root().join(".fai/HEAD");
    fs::write(&head, "0".repeat(64)).unwrap();
    assert_eq!(kinds(&fixture.fsck(CHECK)), ["bad_head"]);
    fs::write(&head, "nonsense").unwrap();
    assert_eq!(kinds(&fixture.fsck(CHECK)), ["bad_head"]);
    assert_eq!(fixture.fsck(REBUILD).problems, []);
    assert_eq!(fs::read_to_string(&head).unwrap(), "ref: refs/heads/main\n");
}

#[test]
fn a_deleted_database_comes_back_with_its_branches() {
    let mut fixture = Fixture::with_history();
    fixture.commit("third");
    let before = everything(&fixture.open());
    // A second line of history, whose tip is not the newest.
    fixture.sql("UPDATE refs SET target = (SELECT before FROM operations WHERE command = 'commit: third')");
    fixture.clock -= 100;
    let side = fixture.commit("side");
    fixture.remove_database();
    let (repository, report) = Repository::fsck_rebuild_at(fixture.root(), Some(2), PATIENCE, &Silent).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.recovered.len(), 2, "{:?}", report.recovered);
    assert!(report.recovered[1].contains(&format!("refs/heads/recovered-{side}")));
    assert_eq!(everything(&repository), before);
    let resolved = repository.resolve(&format!("recovered-{side}")).unwrap();
    assert_eq!(resolved.short(), side);
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let fixture = Fixture::with_history();
    let log = |text: String| -> Vec<String> {
        let commits = text.lines().filter(|line| line.starts_with("CommitId"));
        commits.map(str::to_owned).collect()
    };
    let before = log(everything(&fixture.open()));
    fixture.remove_database();
    fs::write(fixture.database(), noise(1, 5000)).unwrap();
    assert!(matches!(Repository::open(fixture.root()), Err(Error::Database(_))));
    let below = fixture.root().join("data");
    let (repository, report) = Repository::fsck_rebuild_at(&below, None, PATIENCE, &Silent).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(log(everything(&repository)), before);
    let aside = fixture.root().join(".fai/db.sqlite.damaged");
    assert_eq!(fs::read(aside).unwrap(), noise(1, 5000));
}

#[test]
fn refs_and_staging_survive_a_database_with_damaged_pages() {
    const PAGE: usize = 4096;
    let fixture = Fixture::with_history();
    fixture.sql(
        "INSERT INTO refs SELECT 'refs/tags/v1', target FROM refs;
         INSERT INTO tag_messages SELECT 'refs/tags/v1', target, 'first release', 'A', '', 0, 0 FROM refs LIMIT 1;
         INSERT INTO upstreams VALUES ('main', 'origin', 'main');
         INSERT INTO pending SELECT 1, 'merge', target, target, target, 1 FROM refs LIMIT 1;
         INSERT INTO conflicts VALUES ('a', 'binary', '[]');
         PRAGMA wal_checkpoint(TRUNCATE)",
    );
    let before = everything(&fixture.open());
    // The root page of the index of records becomes nonsense.
    let page: u32 = rusqlite::Connection::open(fixture.database())
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'records'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let mut bytes = fs::read(fixture.database()).unwrap();
    bytes[(page as usize - 1) * PAGE..page as usize * PAGE].copy_from_slice(&noise(5, PAGE));
    fs::write(fixture.database(), bytes).unwrap();

    assert!(kinds(&fixture.fsck(CHECK)).contains(&"database"));
    let (repository, report) = Repository::fsck_rebuild_at(fixture.root(), None, PATIENCE, &Silent).unwrap();
    assert_eq!(report.problems, []);
    let kept = "2 refs, 1 staged paths, 2 operations";
    assert!(report.recovered[0].contains(kept), "{:?}", report.recovered);
    assert_eq!(everything(&repository), before);
    assert_eq!(repository.underway().unwrap().unwrap().conflicts.len(), 1);
    assert!(repository.upstream("main").unwrap().is_some());
    assert_eq!(
        repository.tags().unwrap()[0].message.as_ref().unwrap().message,
        "first release"
    );
}

#[test]
fn a_rescue_that_was_killed_goes_on() {
    let fixture = Fixture::with_history();
    let before = everything(&fixture.open());
    fixture.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    // The damaged one is gone, but for its log, and the new one is not in its place.
    let named = |name: &str| fixture.root().join(".fai").join(name);
    fs::rename(fixture.database(), named("db.sqlite.new")).unwrap();
    fs::write(named("db.sqlite-wal"), noise(3, 9000)).unwrap();
    let (repository, report) = Repository::fsck_rebuild_at(fixture.root(), None, PATIENCE, &Silent).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(everything(&repository), before);
    assert!(!named("db.sqlite.new").exists());
    assert_eq!(fs::read(named("db.sqlite.damaged-wal")).unwrap(), noise(3, 9000));
}

#[test]
fn what_a_newer_version_wrote_is_not_rewritten() {
    let fixture = Fixture::with_history();
    let packs = fixture.packs();
    let path = &packs[0];
    let whole = fs::read(path).unwrap();
    // Another version, and an index that this one cannot read.
    let mut newer = whole.clone();
    newer[8] = 2;
    let last = newer.len() - 60;
    newer[last] ^= 1;
    fs::write(path, &newer).unwrap();
    let error = fixture.open().fsck(&REBUILD, &Silent).unwrap_err();
    assert_eq!(error.kind(), "newer_version");
    assert_eq!(fs::read(path).unwrap(), newer);
    // When all else is of this version, it is that byte that is damaged.
    let mut damaged = whole.clone();
    damaged[8] = 2;
    fs::write(path, &damaged).unwrap();
    assert_eq!(fixture.fsck(REBUILD).problems, []);
    assert_eq!(fixture.packs(), packs);
    assert_eq!(fs::read(path).unwrap(), whole);
}

/// Remembers what the user is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn on(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

#[test]
fn a_rebuild_says_whom_it_waits_for_and_does_not_wait_for_ever() {
    let fixture = Fixture::with_history();
    let before = everything(&fixture.open());
    let quick = FsckOptions {
        patience: Duration::from_millis(50),
        ..REBUILD
    };
    for (lock, words) in [
        ("gc.lock", "a transfer"),
        ("repack.lock", "a gc or repack"),
        ("commit.lock", "a commit"),
    ] {
        let held = fs::File::create(fixture.root().join(".fai").join(lock)).unwrap();
        held.lock_shared().unwrap();
        let told = Told::default();
        let error = fixture.open().fsck(&quick, &told).unwrap_err();
        assert!(
            matches!(error, Error::BeingWritten(_) | Error::BeingCollected(_)),
            "{error}"
        );
        assert!(error.to_string().contains(lock), "{error}");
        let told = told.0.into_inner().unwrap();
        assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
        let error = Repository::fsck_rebuild_at(fixture.root(), None, quick.patience, &Silent).unwrap_err();
        assert!(error.to_string().contains(lock), "{error}");
    }
    // Who ends in time is waited for.
    let held = fs::File::create(fixture.root().join(".fai/gc.lock")).unwrap();
    held.lock_shared().unwrap();
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(held);
    });
    let patient = FsckOptions {
        patience: Duration::from_secs(60),
        ..REBUILD
    };
    assert_eq!(fixture.fsck(patient).problems, []);
    ends.join().unwrap();
    assert_eq!(everything(&fixture.open()), before);
}

#[test]
fn a_newer_database_is_left_alone() {
    let fixture = Fixture::with_history();
    let known = fixture.schema();
    fixture.sql("PRAGMA user_version = 1000");
    assert!(Repository::fsck_rebuild_at(fixture.root(), None, PATIENCE, &Silent).is_err());
    fixture.sql(&format!("PRAGMA user_version = {known}"));
    assert_eq!(fixture.fsck(FULL).problems, []);
}

#[test]
fn stats_count_every_version_once_and_add_up() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.open().stats().unwrap().savings(), 0.0);
    let large = noise(1, 400_000);
    fixture.write("a/model.bin", &large);
    fixture.write("b/model.bin", &large);
    fixture.write("zeros.bin", &vec![0; 300_000]);
    fixture.commit("first");
    fixture.write("note.txt", b"a note");
    fixture.commit("second");
    fixture.write("staged.bin", &noise(2, 1000));
    fixture.add();
    let stats = fixture.open().stats().unwrap();
    assert_eq!((stats.commits, stats.files), (2, 5));
    assert_eq!(stats.logical_bytes, 2 * 400_000 + 300_000 + 6 + 1000);
    assert!(stats.unique_bytes > 401_006 && stats.unique_bytes <= 701_006);
    assert_eq!(stats.saved_identical, stats.logical_bytes - stats.unique_bytes);
    assert!(
        stats.by_encoding["constant"].saved() > 100_000,
        "{:?}",
        stats.by_encoding
    );
    let sum = |part: fn(&fai_core::repo::EncodingStats) -> u64| stats.by_encoding.values().map(part).sum::<u64>();
    assert_eq!(sum(|encoding| encoding.raw_bytes), stats.unique_bytes);
    assert_eq!(sum(|encoding| encoding.count), stats.chunks);
    let on_disk: u64 = fixture.packs().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(
        (stats.stored_bytes, stats.packs),
        (on_disk, fixture.packs().len() as u64)
    );
    assert_eq!(stats.overhead_bytes, on_disk - sum(|encoding| encoding.stored_bytes));
    assert!((0.6..0.64).contains(&stats.savings()), "{}", stats.savings());
}
