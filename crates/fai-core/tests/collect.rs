//! Collections: what must stay stays, what must go goes, and a kill at any step leaves a sound repository that the next
//! collection brings to the same end.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{CHECK, FULL, Fixture, REBUILD, everything, noise};
use fai_core::object::{Hash, Kind, RepoPath};
use fai_core::repo::{Error, Event, GcOptions, GcReport, Progress, Repository, Silent};

const DAY: i64 = 24 * 60 * 60;

fn now() -> GcOptions {
    GcOptions {
        now: 1_800_000_000,
        age: None,
        dry_run: false,
        patience: Duration::from_millis(100),
    }
}

/// A collection on a day that waits for so many days.
fn waiting(day: i64, days: i64) -> GcOptions {
    GcOptions {
        now: 1_800_000_000 + day * DAY,
        age: Some(Duration::from_secs((days * DAY) as u64)),
        ..now()
    }
}

fn gc(fixture: &Fixture, options: GcOptions) -> GcReport {
    fixture.open().gc(&options, &Silent).unwrap()
}

/// Bytes of all packs.
fn stored(fixture: &Fixture) -> u64 {
    fixture.packs().iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// Fails unless everything is there, is what it was, and the database says nothing else.
#[track_caller]
fn assert_sound(fixture: &Fixture) {
    assert_eq!(fixture.fsck(FULL).problems, []);
}

/// Some history of which a part is needed no more: packs that are all needed, partly, and not at all. Small packs, so
/// that a record more or less is a large part.
fn littered() -> Fixture {
    let mut fixture = Fixture::with_history();
    fixture.write("big.bin", &noise(10, 300_000));
    fixture.write("kept.bin", &noise(11, 200_000));
    fixture.commit("two files in one pack");
    fixture.write("gone.bin", &noise(12, 400_000));
    fixture.commit("a pack of its own");
    // The last commit is forgotten, and the one before loses its larger file.
    fixture.sql(
        "UPDATE refs SET target = (SELECT before FROM operations ORDER BY id DESC LIMIT 1);
         DELETE FROM operations WHERE id = (SELECT max(id) FROM operations);",
    );
    fs::remove_file(fixture.root().join("gone.bin")).unwrap();
    fixture
}

/// Replaces the newest commit by one without `big.bin`.
fn forget_big(fixture: &Fixture) {
    fixture.sql("UPDATE refs SET target = (SELECT before FROM operations ORDER BY id DESC LIMIT 1)");
    fs::remove_file(fixture.root().join("big.bin")).unwrap();
    fixture.add();
}

#[test]
fn what_nothing_leads_to_goes_and_the_rest_is_as_it_was() {
    let fixture = littered();
    forget_big(&fixture);
    let (before, size) = (everything(&fixture.open()), stored(&fixture));
    let report = gc(&fixture, now());
    assert_eq!(everything(&fixture.open()), before);
    assert_sound(&fixture);
    assert_eq!(size - stored(&fixture), report.freed_bytes);
    assert!(report.freed_bytes >= 700_000, "{report:?}");
    assert!(report.packs_rewritten > 0 && report.packs_written > 0, "{report:?}");
    assert_eq!((report.waiting, report.kept.len()), (0, 0));
    // Nothing is left to do.
    let again = gc(&fixture, now());
    assert_eq!((again.removed, again.freed_bytes, again.packs_removed), (0, 0, 0));
    assert_eq!(again.live, report.live);
    // What went can come again.
    fixture.write("big.bin", &noise(10, 300_000));
    let added = fixture.add();
    assert!(
        added
            .files
            .iter()
            .any(|file| file.path.as_str() == "big.bin" && file.new_chunks > 0)
    );
    assert_sound(&fixture);
    assert_eq!(fixture.errors_when_read(), 0);
}

#[test]
fn records_wait_and_come_back_when_they_are_needed_again() {
    let fixture = littered();
    let size = stored(&fixture);
    let first = gc(&fixture, waiting(0, 14));
    assert!(first.condemned > 0 && first.removed == 0 && first.freed_bytes == 0);
    assert_eq!(first.waiting, first.condemned);
    assert_eq!(first.next, Some(1_800_000_000 + 14 * DAY));
    let later = gc(&fixture, waiting(13, 14));
    assert_eq!((later.condemned, later.removed, stored(&fixture)), (0, 0, size));
    // Needed again, and then not once more: the time begins anew.
    fixture.write("gone.bin", &noise(12, 400_000));
    fixture.add();
    let pardoned = gc(&fixture, waiting(14, 14));
    assert!(pardoned.removed < first.condemned, "the commit goes, its file does not");
    assert_sound(&fixture);
    fixture.sql("DELETE FROM staging");
    fs::remove_file(fixture.root().join("gone.bin")).unwrap();
    assert_eq!(gc(&fixture, waiting(20, 14)).removed, 0);
    assert_eq!(gc(&fixture, waiting(33, 14)).removed, 0);
    let last = gc(&fixture, waiting(34, 14));
    assert!(last.removed > 0 && last.freed_bytes >= 400_000, "{last:?}");
    assert_sound(&fixture);
}

#[test]
fn what_a_record_that_waits_leads_to_waits_with_it() {
    let fixture = littered();
    gc(&fixture, waiting(0, 14));
    // Most of the same chunks in a file that is staged and dropped later: its list is new, they are condemned for long.
    fixture.write("longer.bin", &[noise(12, 400_000), noise(13, 5000)].concat());
    let add = || {
        let added = fixture.add();
        added
            .files
            .into_iter()
            .find(|file| file.path.as_str() == "longer.bin")
            .unwrap()
    };
    let first = add();
    assert!(first.new_chunks < first.chunks, "{first:?}");
    fixture.sql("DELETE FROM staging");
    assert!(gc(&fixture, waiting(14, 14)).removed > 0, "the forgotten commit goes");
    // Whoever finds the list finds its chunks.
    assert!(add().staged);
    assert_eq!(fixture.errors_when_read(), 0);
    fixture.sql("DELETE FROM stat_cache");
    assert_eq!(add().new_chunks, 0);
    assert_sound(&fixture);
}

#[test]
fn recent_operations_keep_what_they_moved_from() {
    let mut fixture = Fixture::with_history();
    fixture.commit("third");
    let before = stored(&fixture);
    let third = fixture.open().head_commit().unwrap().unwrap();
    // As an undo would, the branch goes back; the log knows where it was.
    fixture.sql("UPDATE refs SET target = (SELECT before FROM operations ORDER BY id DESC LIMIT 1)");
    let time = fixture.clock;
    let soon = GcOptions {
        now: time + DAY,
        ..waiting(0, 2)
    };
    let report = gc(&fixture, soon);
    assert_eq!((report.condemned, report.waiting, stored(&fixture)), (0, 0, before));
    assert!(fixture.open().list(Some(third), &RepoPath::root()).is_ok());
    let late = GcOptions {
        now: time + 2 * DAY,
        ..soon
    };
    assert!(gc(&fixture, late).condemned > 0);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_go() {
    let fixture = littered();
    let files = || {
        let packs = fixture.packs();
        let contents = packs.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        (packs, contents)
    };
    let before = files();
    let foretold = gc(&fixture, GcOptions { dry_run: true, ..now() });
    assert!(files() == before);
    let waiting_first = gc(
        &fixture,
        GcOptions {
            dry_run: true,
            ..waiting(0, 14)
        },
    );
    assert_eq!((waiting_first.removed, waiting_first.waiting), (0, foretold.removed));
    let done = gc(&fixture, now());
    assert_eq!(
        (foretold.removed, foretold.removed_bytes),
        (done.removed, done.removed_bytes)
    );
    assert_eq!((foretold.live, foretold.waiting), (done.live, 0));
}

/// The rows of a query of one number.
fn number(fixture: &Fixture, sql: &str) -> i64 {
    let connection = rusqlite::Connection::open(fixture.database()).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_known_of_files_that_are_gone_is_forgotten() {
    let fixture = littered();
    let count = |table: &str| {
        number(
            &fixture,
            &format!("SELECT count(*) FROM {table} WHERE file NOT IN (SELECT hash FROM records)"),
        )
    };
    let all = number(&fixture, "SELECT count(*) FROM files");
    gc(&fixture, now());
    assert!(number(&fixture, "SELECT count(*) FROM files") < all);
    for table in ["files", "tensors", "stat_cache"] {
        assert_eq!(count(table), 0, "{table}");
    }
    assert_eq!(number(&fixture, "SELECT count(*) FROM condemned"), 0);
}

#[test]
fn nothing_is_removed_when_something_on_the_way_cannot_be_read() {
    let kinds = [Kind::Commit, Kind::Tree, Kind::Manifest];
    for kind in kinds {
        let fixture = littered();
        // What belongs to the first commit is all needed. Manifests lie in the pack of their chunks.
        let pack = if kind == Kind::Manifest { 1 } else { 2 };
        let kind_and_pack = format!("kind = {} AND pack = {pack}", kind as u8);
        let offset = number(
            &fixture,
            &format!("SELECT offset FROM records WHERE {kind_and_pack} LIMIT 1"),
        );
        let name: String = rusqlite::Connection::open(fixture.database())
            .unwrap()
            .query_row("SELECT lower(hex(name)) FROM packs WHERE id = ?1", [pack], |row| {
                row.get(0)
            })
            .unwrap();
        let path = fixture.root().join(format!(".fai/objects/{name}.pack"));
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset as usize + 52] ^= 1;
        fs::write(&path, bytes).unwrap();
        let size = stored(&fixture);
        let error = fixture.open().gc(&now(), &Silent).unwrap_err();
        assert!(matches!(error, Error::CannotCollect(_)), "{kind:?}: {error}");
        assert_eq!(stored(&fixture), size);
        assert_eq!(number(&fixture, "SELECT count(*) FROM condemned"), 0);
    }
}

#[test]
fn nothing_is_removed_when_a_ref_head_or_chunk_is_missing() {
    let damages: [&dyn Fn(&Fixture); 4] = [
        &|fixture| fixture.sql("INSERT INTO refs VALUES ('refs/heads/lost', zeroblob(32))"),
        &|fixture| fixture.sql("UPDATE refs SET target = x'00'"),
        &|fixture| fs::write(fixture.root().join(".fai/HEAD"), "nonsense").unwrap(),
        &|fixture| fixture.sql("DELETE FROM records WHERE kind = 1 AND pack = 1"),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let fixture = littered();
        damage(&fixture);
        let size = stored(&fixture);
        let error = fixture.open().gc(&now(), &Silent).unwrap_err();
        assert!(matches!(error, Error::CannotCollect(_)), "{number}: {error}");
        assert_eq!(stored(&fixture), size, "{number}");
    }
}

#[test]
fn nothing_is_removed_when_no_root_is_left() {
    let fixture = littered();
    fixture.sql("DELETE FROM refs; DELETE FROM staging");
    let size = stored(&fixture);
    for options in [now(), waiting(0, 14)] {
        let error = fixture.open().gc(&options, &Silent).unwrap_err();
        assert!(matches!(error, Error::NoRoots { commits: 4 }), "{error}");
    }
    assert_eq!(stored(&fixture), size);
    // What was only ever added and dropped has no commits to lose.
    let fixture = Fixture::new();
    fixture.write("a.bin", &noise(1, 50_000));
    fixture.add();
    fixture.sql("DELETE FROM staging");
    assert!(gc(&fixture, now()).freed_bytes >= 50_000);
    assert_eq!(stored(&fixture), 0);
    assert_sound(&fixture);
}

#[test]
fn a_pack_with_a_damaged_record_stays_and_is_named() {
    let fixture = littered();
    forget_big(&fixture);
    let (pack, at) = fixture.pack_with(&noise(11, 200_000)[..1000]);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[at + 500] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let before = fixture.fsck(FULL).problems.len();
    let report = gc(&fixture, now());
    assert_eq!(report.kept.len(), 1, "{report:?}");
    assert_eq!(report.kept[0].name, pack.file_name().unwrap().to_str().unwrap());
    assert!(report.kept[0].reason.contains("damaged"), "{report:?}");
    assert!(pack.exists() && fs::read(&pack).unwrap() == bytes);
    // The pack that nothing needs is gone all the same.
    assert!(report.freed_bytes >= 400_000);
    assert_eq!(fixture.fsck(FULL).problems.len(), before);
    assert_eq!(fixture.errors_when_read(), 1);
}

#[test]
fn a_copy_stays_when_the_other_one_is_damaged() {
    let mut fixture = Fixture::new();
    fixture.write("a.bin", &noise(1, 5000));
    fixture.commit("a");
    let (pack, at) = fixture.pack_with(&noise(1, 5000));
    // Another writer stored the same at the same time, and a record more that nothing needs.
    let other = Fixture::new();
    other.write("a.bin", &noise(1, 5000));
    other.write("more.bin", &noise(2, 500));
    other.add();
    let copy = &other.packs()[0];
    let target = pack.with_file_name(copy.file_name().unwrap());
    fs::copy(copy, &target).unwrap();
    fixture.open().store().adopt_orphans().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[at] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let report = gc(&fixture, now());
    assert!(target.exists(), "{report:?}");
    assert_eq!(report.kept.len(), 1, "{report:?}");
    assert_eq!(fixture.fsck(REBUILD).problems, []);
    assert_eq!(fixture.errors_when_read(), 0);
}

#[test]
fn copies_of_records_are_of_no_use() {
    let mut fixture = Fixture::new();
    fixture.write("a.bin", &noise(1, 50_000));
    fixture.commit("a");
    let other = Fixture::new();
    other.write("a.bin", &noise(1, 50_000));
    other.write("more.bin", &noise(2, 500));
    other.add();
    let copy = &other.packs()[0];
    fs::copy(copy, fixture.packs()[0].with_file_name(copy.file_name().unwrap())).unwrap();
    fixture.write("more.bin", &noise(2, 500));
    fixture.commit("the other pack is in use now");
    let report = gc(&fixture, now());
    assert!(report.freed_bytes >= 50_000, "{report:?}");
    assert_sound(&fixture);
    assert_eq!(fixture.errors_when_read(), 0);
}

#[test]
fn writers_and_other_collections_are_waited_for_but_not_for_ever() {
    let fixture = littered();
    let size = stored(&fixture);
    let repository = fixture.open();
    let quarantine = repository.quarantine().unwrap();
    let error = repository.gc(&now(), &Silent).unwrap_err();
    assert!(matches!(error, Error::BeingWritten(_)), "{error}");
    assert_eq!(stored(&fixture), size);
    drop(quarantine);
    let lock = fs::File::create(fixture.root().join(".fai/repack.lock")).unwrap();
    lock.lock().unwrap();
    let error = repository.gc(&now(), &Silent).unwrap_err();
    assert!(matches!(error, Error::BeingCollected(_)), "{error}");
    drop(lock);
    assert!(repository.gc(&now(), &Silent).unwrap().freed_bytes > 0);
}

/// A store that was opened before a collection, with packs open and places remembered.
#[test]
fn whoever_reads_meanwhile_finds_records_at_their_new_places() {
    let fixture = littered();
    forget_big(&fixture);
    let reader = fixture.open();
    let chunk: Hash = Kind::Chunk.hash(&noise(11, 200_000)[..0]);
    assert!(!reader.store().has(&chunk).unwrap());
    let content = noise(11, 200_000);
    let listed = reader.list(None, &RepoPath::root()).unwrap();
    let file = listed
        .iter()
        .find(|file| file.path.as_str() == "kept.bin")
        .unwrap()
        .file;
    let mut places = Vec::new();
    let open = reader.open_file(file).unwrap();
    open.for_each_chunk(&mut |_, extent| {
        places.push(reader.store().locate(Kind::Chunk, &extent.hash)?);
        Ok::<_, Error>(())
    })
    .unwrap();
    assert!(gc(&fixture, now()).packs_rewritten > 0);
    let mut read = Vec::new();
    for place in &places {
        reader
            .store()
            .with_location(place, |bytes| read.extend_from_slice(bytes))
            .unwrap();
        let mut buffer = Vec::new();
        let header = reader.store().record(&place.header.hash, &mut buffer).unwrap().unwrap();
        assert_eq!(header.hash, place.header.hash);
    }
    assert!(read == content);
}

#[test]
fn interrupted_checkouts_leave_no_files() {
    let fixture = littered();
    fs::write(fixture.root().join(".fai/tmp/.tmpLeft"), noise(1, 10_000)).unwrap();
    let report = gc(&fixture, waiting(0, 14));
    assert_eq!((report.temporary_files, report.freed_bytes), (1, 10_000));
    let left: Vec<_> = fs::read_dir(fixture.root().join(".fai/tmp")).unwrap().collect();
    assert!(left.len() <= 1, "{left:?}");
}

#[test]
fn what_a_killed_eviction_took_aside_goes_only_if_it_is_stored() {
    let mut fixture = Fixture::new();
    fixture.write("model.bin", &noise(7, 5000));
    fixture.commit("a model");
    let listed = fixture.open().list(None, &RepoPath::root()).unwrap();
    let aside = |number: u32| {
        let name = format!(".fai/tmp/evicted-{}-{number}", listed[0].file);
        fixture.root().join(name)
    };
    fs::write(aside(0), noise(7, 5000)).unwrap();
    // Somebody wrote to it between its being stored and its being taken aside: this is all that is left of that.
    fs::write(aside(1), noise(8, 5000)).unwrap();
    gc(&fixture, now());
    assert!(!aside(0).exists());
    assert_eq!(fs::read(aside(1)).unwrap(), noise(8, 5000));
}

/// Names the repository that the child process collects in, and the step at which it dies.
const SWITCH: &str = "FAI_TEST_CRASHING_COLLECTION";

/// Dies at the step of that number.
struct Dying(AtomicUsize);

impl Progress for Dying {
    fn on(&self, event: Event<'_>) {
        if matches!(event, Event::File(_)) && self.0.fetch_sub(1, Ordering::Relaxed) == 0 {
            std::process::abort();
        }
    }
}

#[test]
fn crashing_collection() {
    let Ok(what) = std::env::var(SWITCH) else { return };
    let (step, root) = what.split_once(' ').unwrap();
    let repository = Repository::open(Path::new(root)).unwrap().with_threads(2);
    repository
        .gc(&now(), &Dying(AtomicUsize::new(step.parse().unwrap())))
        .unwrap();
}

/// Collects in a process that dies at a step. False when it came to its end before.
fn dies_at(fixture: &Fixture, step: usize) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["crashing_collection", "--exact"])
        .env(SWITCH, format!("{step} {}", fixture.root().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "step {step}: {status}");
    status.code().is_none()
}

#[test]
fn a_kill_at_any_step_loses_nothing_and_the_next_collection_ends_it() {
    let mut steps = 0;
    let mut end = None;
    loop {
        let fixture = littered();
        forget_big(&fixture);
        let before = everything(&fixture.open());
        let died = dies_at(&fixture, steps);
        let mut report = fixture.fsck(FULL);
        report.problems.retain(|problem| problem.kind != "unindexed_pack");
        assert_eq!(report.problems, [], "killed at step {steps}");
        assert_eq!(everything(&fixture.open()), before, "killed at step {steps}");
        // Half of the time a writer comes first, and stores again what may just have gone.
        if steps % 2 == 1 {
            fixture.write("again.bin", &noise(12, 400_000));
            fixture.add();
            assert_eq!(fixture.errors_when_read(), 0, "killed at step {steps}");
            assert_sound(&fixture);
            fixture.sql("DELETE FROM staging WHERE path = 'again.bin'");
            fs::remove_file(fixture.root().join("again.bin")).unwrap();
        }
        gc(&fixture, now());
        assert_sound(&fixture);
        assert_eq!(everything(&fixture.open()), before, "killed at step {steps}");
        let size = stored(&fixture);
        assert_eq!(*end.get_or_insert(size), size, "killed at step {steps}");
        assert_eq!(fixture.fsck(REBUILD).problems, [], "killed at step {steps}");
        assert_eq!(everything(&fixture.open()), before, "killed at step {steps}");
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 8, "only {steps} steps");
}

#[test]
fn an_index_made_anew_holds_nothing_that_leads_to_what_is_gone() {
    let mut fixture = Fixture::new();
    fixture.write("large.bin", &noise(1, 3_000_000));
    fixture.write("small.bin", &noise(2, 3_000));
    fixture.commit("both");
    fixture.write("dropped.bin", &noise(3, 100_000));
    fixture.commit("one more");
    fixture.sql("UPDATE refs SET target = (SELECT before FROM operations ORDER BY id DESC LIMIT 1)");
    fs::remove_file(fixture.root().join("dropped.bin")).unwrap();
    // The list of chunks lies beside something large that stays; its chunks do not.
    fixture.sql(
        "UPDATE records SET pack = pack WHERE 0;
         DELETE FROM operations WHERE id = (SELECT max(id) FROM operations);",
    );
    gc(&fixture, waiting(0, 14));
    gc(&fixture, waiting(14, 14));
    assert_sound(&fixture);
    let report = fixture.fsck(REBUILD);
    assert_eq!(report.problems, []);
    let check = fixture.fsck(CHECK);
    assert_eq!(check.problems, []);
    fixture.write("dropped.bin", &noise(3, 100_000));
    fixture.add();
    assert_eq!(fixture.errors_when_read(), 0);
    assert_sound(&fixture);
}
