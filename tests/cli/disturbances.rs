//! Processes that are killed and disks that fill up: what was there stays, and the next command goes on.

use crate::support::{Sandbox, text};
use fai_testkit::noise;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_killed_add_can_be_repeated() {
    let sandbox = Sandbox::with(&[("before", b"safe")]);
    // Large enough for several packs: some are sealed and some half written when the process dies.
    let content = noise(1, 200_000_000);
    sandbox.write("large", &content);
    for moment in [15, 60, 140, 260, 420, 700] {
        let mut child = sandbox
            .command(&["add", "large"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        assert_eq!(sandbox.listed(&[]), ["before"], "after {moment} ms");
        assert_eq!(sandbox.bytes(&["cat", "before"]), b"safe", "after {moment} ms");
    }
    sandbox.ok(&["add", "large"]);
    assert!(sandbox.bytes(&["cat", "large"]) == content);
    sandbox.ok(&["commit", "-m", "large"]);
    sandbox.assert_clean();
    sandbox.assert_sound();
    // Nothing half-written is left behind.
    assert_eq!(fs::read_dir(sandbox.path(".fai/incoming")).unwrap().count(), 0);
}

#[test]
fn work_of_a_killed_add_is_not_lost() {
    let sandbox = Sandbox::new();
    sandbox.write("large", noise(2, 150_000_000));
    let mut child = sandbox
        .command(&["add", "large"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Killed once some of it is on disk.
    let started = Instant::now();
    let written = || -> u64 {
        let folder = fs::read_dir(sandbox.path(".fai/incoming")).unwrap();
        folder
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum()
    };
    while written() < 5_000_000 && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "killed too late to test anything");
    let document = sandbox.json(&["add", "large"]);
    let file = &document["files"][0];
    assert!(
        file["new_chunks"].as_u64().unwrap() < file["chunks"].as_u64().unwrap(),
        "everything was stored again: {file}"
    );
}

#[test]
fn a_killed_checkout_can_be_repeated() {
    let sandbox = Sandbox::new();
    let versions = [noise(1, 40_000_000), noise(2, 40_000_000)];
    let ids = [0, 1].map(|index| {
        sandbox.write("large", &versions[index]);
        sandbox.write("small", index.to_string());
        sandbox.commit("version")
    });
    for moment in [10, 40, 90] {
        let mut child = sandbox
            .command(&["checkout", &ids[0]])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        // A file under its own name is always whole.
        let found = sandbox.read("large");
        assert!(versions.contains(&found), "a torn file after {moment} ms");
    }
    sandbox.ok(&["checkout", "--force", &ids[0]]);
    assert!(sandbox.read("large") == versions[0]);
    sandbox.assert_clean();
    let left: Vec<_> = fs::read_dir(sandbox.path(".fai/tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "clock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs `fai ARGUMENTS --json` where no file may grow beyond `blocks` times 512 bytes: writing fails half-way, as on
/// a full disk.
fn limited(sandbox: &Sandbox, blocks: usize, arguments: &str) -> std::process::Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$FAI\" {arguments} --json");
    sandbox.shell(&script).output().unwrap()
}

#[test]
fn a_disk_that_fills_up_stages_nothing() {
    let sandbox = Sandbox::with(&[("before", b"safe")]);
    let content = noise(3, 30_000_000);
    sandbox.write("large", &content);
    let output = limited(&sandbox, 16_000, "add large");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(document["error"]["kind"], "io");
    assert!(
        text(&document["error"]["message"]).contains("cannot write"),
        "{document}"
    );
    assert_eq!(sandbox.staged(), [""; 0]);
    assert_eq!(sandbox.status("untracked"), ["large"]);
    sandbox.ok(&["add", "large"]);
    assert!(sandbox.bytes(&["cat", "large"]) == content);
    sandbox.assert_sound();
}

#[test]
fn a_disk_that_fills_up_leaves_the_worktree_alone() {
    let sandbox = Sandbox::new();
    let content = noise(4, 20_000_000);
    sandbox.write("large", &content);
    sandbox.write("small", "1");
    let first = sandbox.commit("large");
    sandbox.write("large", "replaced");
    sandbox.write("small", "2");
    sandbox.commit("small");
    let output = limited(&sandbox, 16_000, &format!("checkout {first}"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        (sandbox.read("large"), sandbox.read("small")),
        (b"replaced".to_vec(), b"2".to_vec())
    );
    sandbox.assert_clean();
    assert_eq!(sandbox.json(&["status"])["branch"], "main");
    sandbox.ok(&["checkout", &first]);
    assert!(sandbox.read("large") == content);
}
