//! What killed writers leave: nothing that was said to be stored is lost, nothing stands in anybody's way, and what
//! they had written is used.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{CHECK, FULL, Fixture, everything, kinds, noise};
use fai_core::object::RepoPath;
use fai_core::repo::{AddOptions, Repository, Silent};

/// Names the repository that the child process writes to.
const SWITCH: &str = "FAI_TEST_CRASHING_WRITER";

/// The child's life: adds a file again and again, each time with new content at its end, until it is killed.
#[test]
fn crashing_writer() {
    let Some(root) = std::env::var_os(SWITCH) else { return };
    let root = std::path::PathBuf::from(root);
    let repository = Repository::open(&root).unwrap().with_threads(2);
    let mut content = large();
    for round in 0u64.. {
        content.extend_from_slice(&noise(1000 + round, 300_000));
        fs::write(root.join("large.bin"), &content).unwrap();
        repository
            .add(&[path("large.bin")], AddOptions::default(), &Silent)
            .unwrap();
        fs::write(root.join("added"), round.to_string()).unwrap();
    }
}

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn large() -> Vec<u8> {
    noise(77, 24 << 20)
}

fn writer(fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crashing_writer", "--exact", "--nocapture"])
        .env(SWITCH, fixture.root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the writer as soon as `moment` has come.
fn kill_when(mut writer: Child, moment: impl Fn() -> bool) {
    let start = Instant::now();
    while !moment() {
        assert!(start.elapsed() < Duration::from_secs(20), "the moment never came");
        assert!(writer.try_wait().unwrap().is_none(), "the writer ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}

/// Length of the longest pack being written.
fn incoming(fixture: &Fixture) -> u64 {
    let Ok(listing) = fs::read_dir(fixture.root().join(".fai/incoming")) else {
        return 0;
    };
    let lengths = listing.flatten().filter_map(|entry| entry.metadata().ok());
    lengths.map(|metadata| metadata.len()).max().unwrap_or(0)
}

#[test]
fn a_half_written_pack_is_counted_and_then_used() {
    let mut fixture = Fixture::with_history();
    let before = everything(&fixture.open());
    kill_when(writer(&fixture), || incoming(&fixture) > 8 << 20);
    let _ = fs::remove_file(fixture.root().join("large.bin"));

    let report = fixture.fsck(FULL);
    assert_eq!(report.problems, []);
    assert_eq!(report.checked["half_written"], 1);
    assert_eq!(everything(&fixture.open()), before, "a dead writer changes nothing");

    fixture.write("large.bin", &large());
    let added = fixture.add();
    let file = added.files.iter().find(|file| file.path == path("large.bin")).unwrap();
    assert!(
        file.new_chunks > 0 && file.new_chunks < file.chunks * 3 / 4,
        "{} of {} chunks were stored again",
        file.new_chunks,
        file.chunks
    );
    let report = fixture.fsck(FULL);
    assert_eq!(report.problems, []);
    assert_eq!(report.checked["half_written"], 0);
    assert_eq!(fixture.errors_when_read(), 0);
    fixture.commit("after the crash");
    assert_eq!(fixture.fsck(FULL).problems, []);
}

#[test]
fn writers_killed_at_any_moment_leave_a_sound_repository() {
    let fixture = Fixture::with_history();
    for delay in [0, 3, 11, 24, 47, 90, 150] {
        let child = writer(&fixture);
        // The child has begun once something of it is there; then its moment comes at any time.
        let added = fixture.root().join("added");
        let _ = fs::remove_file(&added);
        let first = std::cell::Cell::new(None);
        kill_when(child, || {
            if first.get().is_none() && (incoming(&fixture) > 0 || added.exists()) {
                first.set(Some(Instant::now()));
            }
            let waited = |since: Instant| since.elapsed() >= Duration::from_millis(delay);
            first.get().is_some_and(waited)
        });
        let mut report = fixture.fsck(CHECK);
        report.problems.retain(|problem| problem.kind != "unindexed_pack");
        assert_eq!(report.problems, [], "killed after {delay} ms");
        let content = noise(delay, 200_000);
        fixture.write("own.bin", &content);
        // What the dead writer left in the worktree is half a file at worst, and that is what is added.
        fixture.add();
        let report = fixture.fsck(FULL);
        assert_eq!(report.problems, [], "killed after {delay} ms");
        assert_eq!(report.checked["half_written"], 0);
        assert_eq!(fixture.errors_when_read(), 0, "killed after {delay} ms");
        fs::remove_file(&added).ok();
    }
}

#[test]
fn what_was_said_to_be_added_is_there_after_a_kill() {
    let fixture = Fixture::new();
    let added = fixture.root().join("added");
    kill_when(writer(&fixture), || {
        fs::read_to_string(&added).is_ok_and(|round| round == "2")
    });
    let staged = fixture.open().list(None, &path("large.bin")).unwrap();
    let least = large().len() as u64 + 3 * 300_000;
    assert!(staged[0].size >= least, "{} bytes are staged", staged[0].size);
    assert!(fixture.fsck(FULL).ok());
}

#[test]
fn a_check_beside_a_living_writer_finds_nothing_wrong() {
    let fixture = Fixture::with_history();
    let added = fixture.root().join("added");
    let checks = std::cell::Cell::new(0);
    kill_when(writer(&fixture), || {
        assert_eq!(fixture.fsck(CHECK).problems, []);
        checks.set(checks.get() + 1);
        fs::read_to_string(&added).is_ok_and(|round| round.parse().is_ok_and(|round: u64| round >= 3))
    });
    assert!(checks.get() > 5, "the writer was too fast to be watched");
}

#[test]
fn a_pack_that_nobody_indexed_is_taken_in_by_the_next_writer() {
    let fixture = Fixture::with_history();
    let (pack, _) = fixture.pack_with(&noise(4, 2000));
    let name = pack.file_stem().unwrap().to_string_lossy().to_uppercase();
    // As if the writer had died between renaming the pack and indexing it.
    fixture.sql(&format!(
        "DELETE FROM records WHERE pack = (SELECT id FROM packs WHERE hex(name) = '{name}');
         DELETE FROM packs WHERE hex(name) = '{name}'; DELETE FROM stat_cache; DELETE FROM staging;"
    ));
    assert_eq!(kinds(&fixture.fsck(CHECK)), ["unindexed_pack"]);
    let report = fixture.add();
    let added = report
        .files
        .iter()
        .find(|file| file.path == path("staged.bin"))
        .unwrap();
    assert_eq!((added.chunks, added.new_chunks), (1, 0));
    assert_eq!(fixture.fsck(FULL).problems, []);

    // One that cannot be read does not keep anybody from writing.
    fs::write(pack.with_file_name(format!("{}.pack", "0".repeat(64))), b"nonsense").unwrap();
    fixture.write("more.bin", &noise(9, 500));
    fixture.add();
    assert_eq!(kinds(&fixture.fsck(CHECK)), ["damaged_pack"]);
    assert_eq!(fixture.fsck(common::REBUILD).problems, []);
}

#[test]
fn an_orphan_that_holds_nothing_new_is_removed() {
    let mut fixture = Fixture::new();
    fixture.write("a.bin", &noise(1, 5000));
    fixture.commit("a");
    fixture.write("b.bin", &noise(2, 500));
    fixture.commit("b");
    // The same content, stored by a writer that was faster with both files at once.
    let other = Fixture::new();
    other.write("a.bin", &noise(1, 5000));
    other.write("b.bin", &noise(2, 500));
    other.add();
    let orphan = &other.packs()[0];
    let target = fixture.packs()[0].with_file_name(orphan.file_name().unwrap());
    assert!(!target.exists());
    fs::copy(orphan, &target).unwrap();
    fixture.write("c.bin", &noise(3, 500));
    fixture.add();
    assert!(!target.exists());
    assert_eq!(fixture.fsck(FULL).problems, []);
}
