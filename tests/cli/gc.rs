//! `fai gc`

use std::fs;
use std::path::{Path, PathBuf};

use fai_testkit::noise;
use serde_json::{Value, json};

use crate::support::Sandbox;

/// Bytes of all files below the repository's own folder, but for the database.
fn size(sandbox: &Sandbox) -> u64 {
    let mut folders = vec![sandbox.path(".fai")];
    let mut sum = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let database = entry.file_name().to_string_lossy().starts_with("db.sqlite");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if !database {
                sum += metadata.len();
            }
        }
    }
    sum
}

fn packs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let listing = fs::read_dir(sandbox.path(".fai/objects")).unwrap();
    let mut packs: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    packs.sort();
    packs
}

/// A document of `gc` at a time.
fn gc_at(sandbox: &Sandbox, date: &str, arguments: &[&str]) -> Value {
    let mut command = sandbox.command(&[&["gc", "--json"], arguments].concat());
    let output = command.env("FAI_DATE", date).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// With a large file that an amended commit does not have any more.
fn amended() -> Sandbox {
    let sandbox = Sandbox::with(&[("kept.bin", &noise(1, 200_000))]);
    sandbox.write("large.bin", noise(2, 3_000_000));
    sandbox.write("more.bin", noise(3, 100_000));
    sandbox.commit("with a large file");
    sandbox.ok(&["rm", "--cached", "large.bin"]);
    sandbox.remove("large.bin");
    sandbox.ok(&["commit", "--amend", "-m", "without"]);
    sandbox
}

#[test]
fn there_is_nothing_to_do_where_everything_is_needed() {
    let sandbox = Sandbox::with(&[("a.bin", &noise(1, 100_000))]);
    sandbox.write("staged.bin", noise(2, 100_000));
    sandbox.ok(&["add", "staged.bin"]);
    let before = (size(&sandbox), packs(&sandbox));
    for arguments in [&["gc"][..], &["gc", "--prune=now"], &["gc", "--dry-run"]] {
        let said = sandbox.ok(arguments);
        assert!(said.starts_with("Nothing to remove: 7 records are stored"), "{said}");
        assert_eq!((size(&sandbox), packs(&sandbox)), before);
    }
    let document = sandbox.json(&["gc", "--prune=now"]);
    assert_eq!(document["freed_bytes"], 0);
    assert_eq!(document["live"], 7);
    assert_eq!(document["kept"], json!([]));
    assert_eq!(Sandbox::new().json(&["gc"])["live"], 0);
}

#[test]
fn the_room_of_what_an_amended_commit_left_comes_back() {
    let sandbox = amended();
    let before = size(&sandbox);
    let document = sandbox.json(&["gc", "--prune=now"]);
    let freed = before - size(&sandbox);
    assert_eq!(document["freed_bytes"], freed);
    assert!(freed >= 3_000_000, "{document}");
    sandbox.assert_sound();
    sandbox.assert_clean();
    assert_eq!(sandbox.bytes(&["cat", "more.bin"]), noise(3, 100_000));
    let said = sandbox.ok(&["gc", "--prune=now"]);
    assert!(said.starts_with("Nothing to remove"), "{said}");
    // The file can come again.
    sandbox.write("large.bin", noise(2, 3_000_000));
    sandbox.commit("again");
    assert_eq!(sandbox.bytes(&["cat", "large.bin"]), noise(2, 3_000_000));
    sandbox.assert_sound();
}

#[test]
fn people_are_told_what_went_and_what_waits() {
    let sandbox = amended();
    let said = sandbox.ok(&["gc"]);
    // The operation log names the replaced commit, as an undo would need it.
    assert!(said.starts_with("Nothing to remove"), "{said}");
    let would = sandbox.ok(&["gc", "--prune=now", "--dry-run"]);
    assert!(would.starts_with("Would remove ") && would.contains("(3MB)"), "{would}");
    let mut command = sandbox.command(&["gc"]);
    let output = command.env("FAI_DATE", "2024-02-01T00:00:00+01:00").output().unwrap();
    let waits = String::from_utf8(output.stdout).unwrap();
    assert!(
        waits.contains("are not needed, and stay until 2024-02-15 00:00:00 or later"),
        "{waits}"
    );
    assert!(waits.ends_with("Freed 0B\n"), "{waits}");
    let done = sandbox.ok(&["gc", "--prune=now"]);
    assert!(done.starts_with("Removed ") && done.ends_with("Freed 3MB\n"), "{done}");
}

#[test]
fn what_is_not_needed_waits_for_its_age() {
    let sandbox = amended();
    let before = size(&sandbox);
    let first = gc_at(&sandbox, "2024-02-01T00:00:00Z", &[]);
    assert!(first["condemned"].as_u64() > Some(0));
    assert_eq!((&first["removed"], &first["freed_bytes"]), (&json!(0), &json!(0)));
    let early = gc_at(&sandbox, "2024-02-14T00:00:00Z", &[]);
    assert_eq!(early["waiting"], first["condemned"]);
    assert_eq!(size(&sandbox), before);
    let with_age = gc_at(&sandbox, "2024-02-14T00:00:00Z", &["--prune=12d", "--dry-run"]);
    assert_eq!(with_age["removed"], first["condemned"]);
    let late = gc_at(&sandbox, "2024-02-15T00:00:00Z", &[]);
    assert_eq!((&late["removed"], &late["waiting"]), (&first["condemned"], &json!(0)));
    assert!(before - size(&sandbox) >= 3_000_000);
    sandbox.assert_sound();
}

#[test]
fn an_age_is_a_length_of_time() {
    let sandbox = Sandbox::new();
    for age in ["2w", "3d", "12h", "now", "1w 12h"] {
        sandbox.ok(&["gc", "--prune", age]);
    }
    for wrong in ["", "soon", "14", "-2w"] {
        let said = sandbox.misused(&["gc", &format!("--prune={wrong}")]);
        assert!(said.contains("2w, 3d or 12h"), "{said}");
    }
}

#[test]
fn staged_files_stay() {
    let sandbox = Sandbox::new();
    sandbox.write("a.bin", noise(1, 500_000));
    sandbox.ok(&["add", "a.bin"]);
    assert_eq!(sandbox.json(&["gc", "--prune=now"])["removed"], 0);
    sandbox.ok(&["commit", "-m", "a"]);
    assert_eq!(sandbox.bytes(&["cat", "a.bin"]), noise(1, 500_000));
    sandbox.assert_sound();
}

#[test]
fn a_file_that_was_only_ever_added_goes() {
    let sandbox = Sandbox::new();
    sandbox.write("a.bin", noise(1, 500_000));
    sandbox.ok(&["add", "a.bin"]);
    sandbox.ok(&["rm", "--cached", "a.bin"]);
    assert!(sandbox.json(&["gc", "--prune=now"])["freed_bytes"].as_u64() >= Some(500_000));
    assert_eq!(packs(&sandbox), Vec::<PathBuf>::new());
    // Whatever was remembered of it does not stand for its content.
    sandbox.commit("a");
    assert_eq!(sandbox.bytes(&["cat", "a.bin"]), noise(1, 500_000));
    sandbox.assert_sound();
}

#[test]
fn nothing_is_removed_where_something_is_damaged() {
    let sandbox = amended();
    let pack = sandbox.path(".fai/objects");
    // The commit's own pack: commit and tree.
    let small = fs::read_dir(&pack)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .min_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    damage_all(&pack, &small);
    let before = size(&sandbox);
    let problem = sandbox.fails(&["gc", "--prune=now"]);
    problem
        .is("cannot_collect", &["nothing was removed", "damaged at byte"])
        .hints("fai fsck");
    assert_eq!(size(&sandbox), before);
}

/// Flips a byte in the first record of every pack as short as `small` or not much longer.
fn damage_all(folder: &Path, small: &Path) {
    let limit = 2 * small.metadata().unwrap().len();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.metadata().unwrap().len() < limit {
            let mut bytes = fs::read(&path).unwrap();
            bytes[16 + 52 + 2] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn nothing_is_removed_where_no_branch_is_left() {
    let sandbox = amended();
    let connection = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    connection.execute("DELETE FROM refs", []).unwrap();
    drop(connection);
    sandbox
        .fails(&["gc", "--prune=now"])
        .is("cannot_collect", &["3 commits are stored"])
        .hints("fai fsck --rebuild");
}

#[test]
fn a_pack_that_cannot_be_copied_is_named_and_kept() {
    let sandbox = amended();
    let kept = packs(&sandbox)
        .into_iter()
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&kept).unwrap();
    let needle = &noise(3, 100_000)[..100];
    let at = bytes.windows(100).position(|window| window == needle).unwrap();
    bytes[at + 50] ^= 1;
    fs::write(&kept, bytes).unwrap();
    let (_, complaints) = sandbox.warned(&["gc", "--prune=now"]);
    let name = kept.file_name().unwrap().to_str().unwrap();
    assert!(
        complaints.contains(name) && complaints.contains("stays as it is"),
        "{complaints}"
    );
    assert!(complaints.contains("fai fsck --full"), "{complaints}");
    assert!(kept.exists());
}

#[test]
fn without_room_whole_packs_go_and_the_rest_waits() {
    let sandbox = Sandbox::new();
    // Of one pack all goes, of the other only a part.
    sandbox.write("kept.bin", noise(1, 3_000_000));
    sandbox.write("part.bin", noise(2, 2_000_000));
    sandbox.ok(&["add", "-A"]);
    sandbox.ok(&["rm", "--cached", "part.bin"]);
    sandbox.remove("part.bin");
    sandbox.commit("kept");
    sandbox.write("whole.bin", noise(3, 1_000_000));
    sandbox.ok(&["add", "whole.bin"]);
    sandbox.ok(&["rm", "--cached", "whole.bin"]);
    sandbox.remove("whole.bin");
    let before = size(&sandbox);
    // No file may get longer than 2 MB: the fresh pack would.
    let script = "trap '' XFSZ; ulimit -f 4000; exec \"$FAI\" gc --prune=now --json";
    let output = sandbox.shell(script).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["shortage"]["needed"].as_u64() > Some(3_000_000), "{document}");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("not all packs were rewritten")
    );
    let freed = before - size(&sandbox);
    assert_eq!(document["freed_bytes"], freed);
    assert!((1_000_000..2_000_000).contains(&freed), "{freed}");
    sandbox.assert_sound();
    sandbox.ok(&["fsck", "--rebuild"]);
    sandbox.assert_sound();
    assert!(sandbox.json(&["gc", "--prune=now"])["freed_bytes"].as_u64() >= Some(2_000_000));
    assert!(sandbox.bytes(&["cat", "kept.bin"]) == noise(1, 3_000_000));
    sandbox.assert_sound();
}
