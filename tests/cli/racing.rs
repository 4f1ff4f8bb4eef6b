//! Several processes in one repository, and files that change under the reader.

use crate::support::Sandbox;
use fai_testkit::noise;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LARGE: usize = 20_000_000;

fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn finish(child: Child) -> Value {
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn two_adds_of_one_file_share_its_chunks() {
    let sandbox = Sandbox::new();
    let content = noise(1, LARGE);
    sandbox.write("large", &content);
    let both = [0, 1].map(|_| start(&sandbox, &["add", "large", "--json"])).map(finish);
    assert_eq!(both[0]["files"][0]["id"], both[1]["files"][0]["id"]);
    assert!(sandbox.bytes(&["cat", "large"]) == content);
    sandbox.ok(&["commit", "-m", "large"]);
    sandbox.assert_clean();
    sandbox.assert_sound();
}

#[test]
fn adds_of_different_files_all_count() {
    let sandbox = Sandbox::new();
    let names = ["a", "b", "c", "d"];
    // All begin alike, so that they race for the same chunks.
    let common = noise(1, LARGE / 4);
    for (seed, name) in names.iter().enumerate() {
        sandbox.write(name, [common.clone(), noise(seed as u64 + 2, LARGE / 10)].concat());
    }
    let children = names.map(|name| start(&sandbox, &["add", name, "--json"]));
    children.into_iter().map(finish).for_each(drop);
    assert_eq!(sandbox.listed(&[]), names);
    for name in names {
        assert!(sandbox.bytes(&["cat", name]) == sandbox.read(name), "{name}");
    }
    sandbox.ok(&["commit", "-m", "all"]);
    sandbox.assert_clean();
    sandbox.assert_sound();
}

#[test]
fn commits_and_adds_at_once_lose_nothing() {
    let sandbox = Sandbox::with(&[("start", b"0")]);
    for round in 0..5 {
        let (one, other) = (format!("one{round}"), format!("other{round}"));
        sandbox.write(&one, &one);
        sandbox.ok(&["add", &one]);
        sandbox.write(&other, &other);
        let commit = start(&sandbox, &["commit", "-m", "round", "--json"]);
        let add = start(&sandbox, &["add", &other, "--json"]);
        finish(commit);
        finish(add);
        let listed = sandbox.listed(&[]);
        assert!(listed.contains(&one) && listed.contains(&other), "{listed:?}");
    }
}

#[test]
fn of_two_commits_each_follows_the_other_or_fails_clearly() {
    let sandbox = Sandbox::with(&[("a", b"0")]);
    sandbox.write("a", "1");
    sandbox.ok(&["add", "a"]);
    let children = [0, 1].map(|_| start(&sandbox, &["commit", "-m", "both", "--json"]));
    let codes = children.map(|child| child.wait_with_output().unwrap().status.code());
    // One takes what is staged; nothing is left for the other.
    assert!(codes == [Some(0), Some(1)] || codes == [Some(1), Some(0)], "{codes:?}");
    assert_eq!(sandbox.json(&["log"])["commits"].as_array().unwrap().len(), 2);
    sandbox.assert_clean();
}

/// A writer that is held up for longer than this leaves a file that lies still, half old and half new.
const HELD_UP: Duration = Duration::from_millis(5);

/// Runs `disturb` over and over on another thread while `work` runs; the other thread ends with it, panic or not.
/// `work` can ask whether the last changes were made without a break.
fn meanwhile(mut disturb: impl FnMut() + Send, work: impl FnOnce(&dyn Fn() -> bool)) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, held_up) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                disturb();
                if started.elapsed() > HELD_UP {
                    held_up.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let _stop = Stop(&stop);
        work(&|| !held_up.swap(false, Ordering::Relaxed));
    });
}

#[test]
fn a_file_that_changes_while_it_is_read_is_never_mixed() {
    let versions = [vec![b'a'; 6_000_000], vec![b'b'; 6_000_000]];
    let sandbox = Sandbox::new();
    sandbox.write("moving", &versions[0]);
    let file = File::options().write(true).open(sandbox.path("moving")).unwrap();
    let mut turn = versions.iter().cycle();
    let change = || file.write_all_at(turn.next().unwrap(), 0).unwrap();
    meanwhile(change, |smooth| {
        for _ in 0..4 {
            let output = sandbox.run(&["add", "moving", "--json"]);
            if output.status.code() == Some(1) {
                let document: Value = serde_json::from_slice(&output.stderr).unwrap();
                assert_eq!(document["error"]["kind"], "unstable_file", "{document}");
                assert!(document["error"]["hint"].as_str().unwrap().contains("wait"));
            } else {
                assert_eq!(output.status.code(), Some(0), "{output:?}");
                let stored = sandbox.bytes(&["cat", "moving"]);
                assert!(versions.contains(&stored) || !smooth(), "a mix was stored");
            }
        }
    });
    // Once it holds still it can be added.
    sandbox.ok(&["add", "moving"]);
    assert!(sandbox.bytes(&["cat", "moving"]) == sandbox.read("moving"));
}

#[test]
fn a_file_that_shrinks_and_grows_is_never_mixed() {
    let sandbox = Sandbox::new();
    let content = |len: usize| vec![(len % 251) as u8; len];
    sandbox.write("moving", content(10));
    let mut lengths = [3_000_000_usize, 0, 700_001, 10].into_iter().cycle();
    let change = || fs::write(sandbox.path("moving"), content(lengths.next().unwrap())).unwrap();
    meanwhile(change, |smooth| {
        for _ in 0..6 {
            if sandbox.run(&["add", "moving"]).status.success() {
                let stored = sandbox.bytes(&["cat", "moving"]);
                // A write in several steps may be caught between two of them: a part of one version.
                let whole = stored.windows(2).all(|pair| pair[0] == pair[1]);
                assert!(whole || !smooth(), "a mix of {} bytes was stored", stored.len());
            }
        }
    });
    sandbox.ok(&["add", "moving"]);
    assert!(sandbox.bytes(&["cat", "moving"]) == sandbox.read("moving"));
}

#[test]
fn changes_within_one_tick_of_the_clock_are_noticed() {
    // Small enough to be written and read in less time than the file system's clock tells apart.
    let versions = [vec![b'a'; 400_000], vec![b'b'; 400_000]];
    let sandbox = Sandbox::new();
    sandbox.write("moving", &versions[0]);
    let file = File::options().write(true).open(sandbox.path("moving")).unwrap();
    let mut turn = versions.iter().cycle();
    let change = || file.write_all_at(turn.next().unwrap(), 0).unwrap();
    meanwhile(change, |smooth| {
        for _ in 0..30 {
            if sandbox.run(&["add", "moving"]).status.success() {
                let stored = sandbox.bytes(&["cat", "moving"]);
                assert!(versions.contains(&stored) || !smooth(), "a mix was stored");
            }
        }
    });
}

/// Runs `fai add ARGUMENTS` while `moving` is rewritten without a break, until that is refused, and checks that the next
/// commit would hold of it what it would have held before. When the writer is held up the file lies still and is added:
/// then again.
#[track_caller]
fn refused_while_moving(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let file = File::options().write(true).open(sandbox.path("moving")).unwrap();
    let mut turn = [b"a", b"b"].into_iter().cycle();
    let change = || file.write_all_at(turn.next().unwrap(), 0).unwrap();
    let mut found = None;
    meanwhile(change, |_| {
        for _ in 0..50 {
            let before = sandbox.bytes(&["cat", "moving"]);
            let output = sandbox.run(&[&["add"], arguments].concat());
            if !output.status.success() {
                assert_eq!(output.status.code(), Some(1), "{output:?}");
                assert_eq!(sandbox.bytes(&["cat", "moving"]), before);
                found = Some(output);
                break;
            }
        }
    });
    found.expect("it was never refused")
}

#[test]
fn a_file_that_does_not_hold_still_is_refused_alone() {
    let sandbox = Sandbox::with(&[("moving", b"first"), ("changed", b"1"), ("gone", b"1")]);
    sandbox.write("changed", "2");
    sandbox.remove("gone");
    sandbox.write("folder/new", "3");
    let message = "moving changes while it is read: nothing was recorded for it";
    let hint = "wait until whatever writes it is done, then add it again";
    let refusal = json!({ "kind": "unstable_file", "message": message, "hint": hint });

    let output = refused_while_moving(&sandbox, &["-A", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["refused"], json!([refusal]));
    let staged = sandbox.staged();
    for line in ["modified changed", "added folder/new", "removed gone"] {
        assert!(staged.iter().any(|found| found == line), "{staged:?}");
    }

    // What was staged of it before stays, too. For people:
    sandbox.write("moving", "staged");
    sandbox.ok(&["add", "moving"]);
    sandbox.write("changed", "4");
    let output = refused_while_moving(&sandbox, &["."]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("warning: {message}\nhint: {hint}\n"));
    assert_eq!(sandbox.bytes(&["cat", "changed"]), b"4");

    // Whoever names it wants this very file.
    sandbox.write("folder/new", "5");
    let output = refused_while_moving(&sandbox, &["moving", "folder", "--json"]);
    assert_eq!(output.stdout, b"");
    let document: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(document["error"], refusal);
    assert_eq!(sandbox.bytes(&["cat", "folder/new"]), b"3");
}
