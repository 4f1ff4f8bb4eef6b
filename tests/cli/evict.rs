//! `fai add --evict`: files leave the worktree when the packs hold them, stay tracked, and come back when they are named.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fai_testkit::noise;
use serde_json::{Value, json};

use crate::support::{Sandbox, files_below, text};

const SIZE: usize = 300_000;

/// Two models evicted and a text that stays, all committed.
fn archive() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("models/a.bin", noise(1, SIZE));
    sandbox.write("models/b.bin", noise(2, SIZE));
    sandbox.ok(&["add", "--evict", "models"]);
    sandbox.write("readme.md", "# Models\n");
    sandbox.commit("first");
    sandbox
}

fn present(sandbox: &Sandbox) -> Vec<String> {
    files_below(&sandbox.root()).into_iter().map(|(path, _)| path).collect()
}

#[track_caller]
fn assert_quiet(sandbox: &Sandbox, evicted: &[&str]) {
    let status = sandbox.json(&["status"]);
    for list in ["staged", "modified", "deleted", "untracked", "absent"] {
        assert_eq!(status[list], json!([]), "{list}: {status}");
    }
    assert_eq!(sandbox.status("evicted"), evicted);
}

#[test]
fn a_file_goes_and_nothing_takes_its_place() {
    let sandbox = Sandbox::new();
    let content = noise(1, SIZE);
    sandbox.write("models/a.bin", &content);
    sandbox.write("notes.txt", "stays");
    let report = sandbox.json(&["add", "--evict", "models/a.bin"]);
    let file = &report["files"][0];
    assert_eq!(
        (&file["path"], &file["evicted"], &file["staged"]),
        (&json!("models/a.bin"), &json!(true), &json!(true))
    );
    assert_eq!(present(&sandbox), ["notes.txt"]);
    let status = sandbox.json(&["status"]);
    assert_eq!(
        status["evicted"],
        json!([{ "path": "models/a.bin", "id": file["id"], "size": SIZE }])
    );
    assert_eq!((&status["deleted"], &status["modified"]), (&json!([]), &json!([])));
    assert_eq!(sandbox.staged(), ["added models/a.bin"]);
    let shown = sandbox.ok(&["status"]);
    assert!(
        shown.contains("Evicted") && shown.contains("  models/a.bin (300KB)"),
        "{shown}"
    );

    sandbox.ok(&["commit", "-m", "first"]);
    for name in ["models/a.bin", "HEAD:models/a.bin"] {
        assert!(sandbox.bytes(&["cat", name]) == content, "{name}");
    }
    assert_eq!(sandbox.listed(&[]), ["models/a.bin"]);
    sandbox.ok(&["info", "models/a.bin"]);
    sandbox.ok(&["chunks", "models/a.bin"]);
    assert_eq!(sandbox.json(&["diff"])["removed"], json!([]));
    sandbox.assert_sound();
}

#[test]
fn an_unchanged_file_is_only_evicted() {
    let sandbox = Sandbox::with(&[("a.bin", &noise(1, SIZE)), ("b.txt", b"b")]);
    let report = sandbox.json(&["add", "--evict", "a.bin"]);
    let file = &report["files"][0];
    assert_eq!(
        (&file["evicted"], &file["staged"], &file["new_chunks"]),
        (&json!(true), &json!(false), &json!(0))
    );
    assert_eq!(present(&sandbox), ["b.txt"]);
    assert_quiet(&sandbox, &["a.bin"]);
    // Once more is no error, and says so.
    let again = sandbox.json(&["add", "--evict", "a.bin"]);
    assert_eq!((&again["files"], &again["absent"]), (&json!([]), &json!(["a.bin"])));
    assert!(sandbox.ok(&["add", "a.bin"]).contains("a.bin is not here on purpose"));
}

#[test]
fn an_absence_is_no_change() {
    let sandbox = archive();
    assert_quiet(&sandbox, &["models/a.bin", "models/b.bin"]);
    assert_eq!(sandbox.json(&["add", "-A"])["removed"], json!([]));
    sandbox.fails(&["commit", "-m", "nothing"]).is("nothing_to_commit", &[]);
    assert_eq!(sandbox.json(&["diff"])["summary"]["removed"], 0);
    sandbox.write("readme.md", "# More\n");
    sandbox.commit("second");
    assert_eq!(sandbox.listed(&[]), ["models/a.bin", "models/b.bin", "readme.md"]);
    sandbox.ok(&["restore", "."]);
    assert_eq!(present(&sandbox), ["readme.md"], "the root names nothing");
}

#[test]
fn what_is_named_comes_back() {
    let sandbox = archive();
    sandbox.ok(&["checkout", "models/a.bin"]);
    assert!(sandbox.read("models/a.bin") == noise(1, SIZE));
    assert_quiet(&sandbox, &["models/b.bin"]);
    sandbox.remove("models/a.bin");
    assert_eq!(sandbox.status("deleted"), ["models/a.bin"], "the eviction has ended");
    sandbox.ok(&["restore", "models"]);
    assert_quiet(&sandbox, &[]);
    assert_eq!(present(&sandbox), ["models/a.bin", "models/b.bin", "readme.md"]);
}

#[test]
fn other_commits_leave_it_away() {
    let sandbox = Sandbox::with(&[("a.bin", b"one"), ("b.txt", b"b")]);
    sandbox.write("a.bin", "two");
    sandbox.ok(&["add", "--evict", "a.bin"]);
    sandbox.ok(&["commit", "-m", "second"]);
    sandbox.write("b.txt", "bb");
    sandbox.ok(&["rm", "a.bin"]);
    sandbox.commit("third");
    assert_quiet(&sandbox, &[]);
    sandbox.ok(&["checkout", "HEAD~1"]);
    assert_eq!(sandbox.read("a.bin"), b"two", "removing it ended the eviction");

    sandbox.ok(&["add", "--evict", "a.bin"]);
    for (revision, content) in [("HEAD~1", &b"one"[..]), ("main~1", b"two"), ("main", b"")] {
        sandbox.ok(&["checkout", revision]);
        assert_eq!(present(&sandbox), ["b.txt"], "{revision}");
        match content {
            b"" => assert_quiet(&sandbox, &[]),
            _ => {
                assert_quiet(&sandbox, &["a.bin"]);
                assert_eq!(sandbox.bytes(&["cat", "a.bin"]), content);
            }
        }
    }
    sandbox.ok(&["checkout", "main~2"]);
    sandbox.ok(&["checkout", "a.bin"]);
    assert_eq!(sandbox.read("a.bin"), b"one");
    sandbox.assert_sound();
}

#[test]
fn a_new_file_in_its_place_is_a_change_like_any_other() {
    let sandbox = archive();
    sandbox.write("models/a.bin", "trained on");
    let status = sandbox.json(&["status"]);
    assert_eq!(status["modified"], json!(["models/a.bin"]));
    assert_eq!(sandbox.status("evicted"), ["models/b.bin"]);
    sandbox.ok(&["add", "models/a.bin"]);
    sandbox.ok(&["commit", "-m", "second"]);
    sandbox.remove("models/a.bin");
    assert_eq!(sandbox.status("deleted"), ["models/a.bin"]);
    assert_eq!(sandbox.json(&["add", "-A"])["removed"], json!(["models/a.bin"]));
}

#[test]
fn removing_and_moving() {
    let sandbox = archive();
    sandbox.ok(&["mv", "models/a.bin", "models/c.bin"]);
    assert_eq!(sandbox.status("evicted"), ["models/b.bin", "models/c.bin"]);
    sandbox
        .fails(&["mv", "models/b.bin", "models/c.bin"])
        .is("local_changes", &["models/c.bin"]);
    sandbox.ok(&["mv", "models", "kept"]);
    assert_eq!(sandbox.status("evicted"), ["kept/b.bin", "kept/c.bin"]);
    sandbox.ok(&["commit", "-m", "moved"]);
    assert_quiet(&sandbox, &["kept/b.bin", "kept/c.bin"]);
    assert!(sandbox.bytes(&["cat", "kept/c.bin"]) == noise(1, SIZE));

    sandbox.ok(&["rm", "kept/b.bin"]);
    assert_eq!(sandbox.staged(), ["removed kept/b.bin"]);
    sandbox.ok(&["commit", "-m", "removed"]);
    assert_quiet(&sandbox, &["kept/c.bin"]);
    assert_eq!(sandbox.listed(&[]), ["kept/c.bin", "readme.md"]);
}

#[test]
fn what_is_only_staged_is_not_lost_by_unstaging() {
    let sandbox = Sandbox::with(&[("a.bin", b"committed")]);
    sandbox.write("a.bin", noise(1, SIZE));
    sandbox.write("new.bin", noise(2, SIZE));
    sandbox.ok(&["add", "--evict", "."]);
    for command in [
        &["restore", "--staged", "."][..],
        &["rm", "--cached", "a.bin", "new.bin"],
    ] {
        sandbox
            .fails(command)
            .is("only_staged", &["a.bin", "new.bin"])
            .hints("fai commit");
    }
    sandbox.fails(&["rm", "new.bin"]).is("local_changes", &["new.bin"]);
    // Not even by force, as what is staged would be nowhere else.
    sandbox.ok(&["checkout", "--force", "main"]);
    assert_eq!(sandbox.staged(), ["modified a.bin", "added new.bin"]);
    assert!(sandbox.bytes(&["cat", "new.bin"]) == noise(2, SIZE));

    sandbox.ok(&["rm", "--force", "new.bin"]);
    sandbox.ok(&["checkout", "a.bin"]);
    assert!(sandbox.read("a.bin") == noise(1, SIZE));
    sandbox.ok(&["restore", "--staged", "a.bin"]);
    assert_eq!(sandbox.status("modified"), ["a.bin"]);
    assert_eq!(sandbox.staged(), [""; 0]);
}

#[test]
fn a_checkout_that_would_bury_what_is_staged_is_refused() {
    let sandbox = Sandbox::with(&[("a.bin", b"one")]);
    sandbox.write("a.bin", "two");
    sandbox.commit("second");
    sandbox.write("a.bin", "three");
    sandbox.ok(&["add", "--evict", "a.bin"]);
    sandbox.fails(&["checkout", "HEAD~1"]).is("local_changes", &["a.bin"]);
    assert_eq!(sandbox.staged(), ["modified a.bin"]);
    sandbox.ok(&["commit", "-m", "third"]);
    sandbox.ok(&["checkout", "HEAD~1"]);
    assert_quiet(&sandbox, &["a.bin"]);
}

#[test]
fn what_cannot_be_read_back_stays() {
    let content = noise(4, SIZE);
    let sandbox = Sandbox::with(&[("a.bin", &content), ("b.txt", b"fine")]);
    for pack in fs::read_dir(sandbox.path(".fai/objects")).unwrap() {
        let pack = pack.unwrap().path();
        let mut bytes = fs::read(&pack).unwrap();
        // Noise lies in the pack as it is; one byte of it changes.
        if let Some(at) = bytes.windows(64).position(|window| window == &content[1000..1064]) {
            bytes[at] ^= 1;
            fs::write(&pack, bytes).unwrap();
        }
    }
    let output = sandbox.run(&["add", "--evict", ".", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["refused"][0]["kind"], "not_evicted", "{report}");
    let message = text(&report["refused"][0]["message"]);
    assert!(message.contains("a.bin") && message.contains("read back"), "{message}");
    assert_eq!(present(&sandbox), ["a.bin"]);
    assert_eq!(sandbox.status("evicted"), ["b.txt"]);
    assert!(sandbox.read("a.bin") == content);
}

#[test]
fn what_one_group_frees_is_there_for_the_next() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", "small");
    // A hole costs neither room nor time, and fills a group.
    sandbox.write("b.hole", "");
    let hole = fs::File::options().write(true).open(sandbox.path("b.hole")).unwrap();
    hole.set_len(1_100_000_000).unwrap();
    let content = noise(5, 20_000_000);
    sandbox.write("c.bin", &content);
    // No file may grow beyond eight megabytes: the second group fails.
    let script = "trap '' XFSZ; ulimit -f 16000; exec \"$FAI\" add --evict . --json";
    let output = sandbox.shell(script).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(sandbox.status("evicted"), ["a.txt", "b.hole"]);
    assert_eq!(sandbox.staged(), ["added a.txt", "added b.hole"]);
    assert_eq!(sandbox.status("untracked"), ["c.bin"]);
    assert!(sandbox.read("c.bin") == content);
    sandbox.ok(&["add", "--evict", "."]);
    assert_eq!(present(&sandbox), [""; 0]);
    assert!(sandbox.bytes(&["cat", "c.bin"]) == content);
}

#[test]
fn a_kill_leaves_every_file_somewhere() {
    const FILES: usize = 2000;
    let sandbox = Sandbox::new();
    let content = |number: usize| format!("{number} {}", "x".repeat(number % 700));
    let name = |number: usize| format!("part{}/{number:04}.txt", number % 7);
    (0..FILES).for_each(|number| sandbox.write(&name(number), content(number)));
    let expected: BTreeSet<String> = (0..FILES).map(name).collect();
    let mut kills = 0;
    for part in (0..7).cycle().take(21) {
        let mut child = sandbox
            .command(&["add", "--evict", "."])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed as soon as a file of that folder is gone, if any still stands there.
        let count = || fs::read_dir(sandbox.path(&format!("part{part}"))).unwrap().count();
        let (before, started) = (count(), Instant::now());
        while before > 0 && count() == before && started.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());

        // It may also say that something was interrupted.
        let (status, _) = sandbox.warned(&["status", "--json"]);
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!((&status["deleted"], &status["modified"]), (&json!([]), &json!([])));
        let evicted = status["evicted"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| text(&file["path"]));
        let there: BTreeSet<String> = present(&sandbox).into_iter().chain(evicted).collect();
        assert_eq!(there, expected);
    }
    assert!(kills > 0, "no process was killed in time");
    sandbox.write("last.txt", "one more");
    let expected_files = FILES + 1;
    // Once more, and nobody speaks of what was interrupted any longer.
    sandbox.warned(&["add", "--evict", "."]);
    assert_eq!(present(&sandbox), [""; 0]);
    let left = fs::read_dir(sandbox.path(".fai/tmp")).unwrap();
    let left: Vec<_> = left
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "clock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    sandbox.ok(&["commit", "-m", "all"]);
    sandbox.ok(&["checkout", "HEAD", "--to", "../out"]);
    let found = files_below(&sandbox.outside().join("out"));
    assert_eq!(found.len(), expected_files);
    for (path, bytes) in found.into_iter().filter(|(path, _)| path != "last.txt") {
        let number: usize = path.rsplit('/').next().unwrap()[..4].parse().unwrap();
        assert!(path == name(number) && bytes == content(number).as_bytes(), "{path}");
    }
    sandbox.assert_sound();
}

#[test]
fn what_a_killed_process_took_aside_is_looked_at_before_it_goes() {
    let sandbox = archive();
    let id = text(&sandbox.json(&["ls"])["files"][0]["id"]);
    let (same, other) = (format!(".fai/tmp/evicted-{id}-0"), format!(".fai/tmp/evicted-{id}-1"));
    sandbox.write(&same, noise(1, SIZE));
    sandbox.write(&other, "changed in the last moment");
    sandbox.ok(&["checkout", "--force", "main"]);
    assert!(sandbox.exists(&same) && sandbox.exists(&other));
    let (_, complaints) = sandbox.warned(&["add", "--evict", "readme.md"]);
    assert!(
        complaints.contains(&other) && !complaints.contains(&same),
        "{complaints}"
    );
    assert!(!sandbox.exists(&same) && sandbox.exists(&other));
}

#[test]
fn a_damaged_database_keeps_what_was_evicted() {
    let sandbox = archive();
    sandbox.ok(&["fsck", "--rebuild"]);
    assert_quiet(&sandbox, &["models/a.bin", "models/b.bin"]);
    // The page of the index that knows where a chunk lies.
    let file = text(&sandbox.json(&["ls", "models/a.bin"])["files"][0]["id"]);
    let chunk = text(&sandbox.json(&["chunks", &file])["chunks"][0]["id"]);
    let chunk: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&chunk[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let path = sandbox.path(".fai/db.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.windows(32).position(|window| window == chunk).unwrap();
    let page = place / 4096 * 4096;
    bytes[page..page + 4096].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    let report = sandbox.json(&["fsck", "--rebuild"]);
    assert!(
        report["recovered"].to_string().contains("database was damaged"),
        "{report}"
    );
    assert_quiet(&sandbox, &["models/a.bin", "models/b.bin"]);
    assert!(sandbox.bytes(&["cat", "models/a.bin"]) == noise(1, SIZE));
}

#[test]
fn a_bare_repository_has_nothing_to_evict() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["init", "--bare", "bare.fai"]);
    sandbox
        .fails(&["-C", "bare.fai", "add", "--evict", "."])
        .is("bare_repository", &[]);
}
