//! What the stat cache must never be fooled by.

use crate::support::Sandbox;
use std::fs::File;
use std::time::{Duration, SystemTime};

fn set_modified(sandbox: &Sandbox, path: &str, time: SystemTime) {
    let file = File::options().write(true).open(sandbox.path(path)).unwrap();
    file.set_modified(time).unwrap();
}

/// A command's name, and what runs it.
type Way = (&'static str, fn(&Sandbox));

#[test]
fn a_change_in_the_same_tick_is_seen() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "one");
    sandbox.ok(&["add", "a"]);
    let before = sandbox.path("a").metadata().unwrap().modified().unwrap();
    // Written again at once, as long as before, and with the time of the first writing.
    sandbox.write("a", "two");
    set_modified(&sandbox, "a", before);
    assert_eq!(sandbox.status("modified"), ["a"]);
    sandbox.ok(&["add", "a"]);
    assert_eq!(sandbox.bytes(&["cat", "a"]), b"two");
}

#[test]
fn a_change_after_each_command_that_writes_is_seen() {
    // Each command leaves `a` with the content "one" and knows so.
    let ways: [Way; 4] = [
        ("checkout", |sandbox| drop(sandbox.ok(&["checkout", "HEAD~1"]))),
        ("restore", |sandbox| {
            drop(sandbox.ok(&["restore", "--source", "HEAD~1", "a"]))
        }),
        ("status", |sandbox| {
            sandbox.write("a", "one");
            sandbox.ok(&["restore", "--source", "HEAD~1", "--staged", "a"]);
            sandbox.ok(&["status"]);
        }),
        ("mv", |sandbox| {
            sandbox.ok(&["checkout", "HEAD~1"]);
            sandbox.ok(&["mv", "a", "b"]);
            sandbox.ok(&["mv", "b", "a"]);
        }),
    ];
    for (name, way) in ways {
        let sandbox = Sandbox::with(&[("a", b"one")]);
        sandbox.write("a", "1+1");
        sandbox.commit("second");
        way(&sandbox);
        assert_eq!(sandbox.read("a"), b"one", "{name}");
        let before = sandbox.path("a").metadata().unwrap().modified().unwrap();
        sandbox.write("a", "two");
        set_modified(&sandbox, "a", before);
        assert_eq!(sandbox.status("modified"), ["a"], "{name}");
    }
}

#[test]
fn another_file_under_the_same_name_is_seen() {
    let sandbox = Sandbox::with(&[("a", b"one")]);
    let before = sandbox.path("a").metadata().unwrap().modified().unwrap();
    sandbox.write("b", "two");
    set_modified(&sandbox, "b", before);
    std::fs::rename(sandbox.path("b"), sandbox.path("a")).unwrap();
    assert_eq!(sandbox.status("modified"), ["a"]);
}

#[test]
fn a_touched_file_is_not_modified() {
    let sandbox = Sandbox::with(&[("a", b"one")]);
    let later = SystemTime::now() + Duration::from_secs(3600);
    // A time in the future proves nothing, and does no harm.
    for _ in 0..2 {
        set_modified(&sandbox, "a", later);
        sandbox.assert_clean();
    }
    sandbox.write("a", "two");
    set_modified(&sandbox, "a", later);
    assert_eq!(sandbox.status("modified"), ["a"]);
}

#[test]
fn a_change_before_a_rename_moves_along() {
    let sandbox = Sandbox::with(&[("a", b"one")]);
    sandbox.assert_clean();
    let before = sandbox.path("a").metadata().unwrap().modified().unwrap();
    sandbox.write("a", "two");
    set_modified(&sandbox, "a", before);
    sandbox.ok(&["mv", "a", "b"]);
    assert_eq!(sandbox.status("modified"), ["b"]);
}
