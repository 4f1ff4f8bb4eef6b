//! `fai gc` and `fai repack` beside everything else that goes on in a repository: real processes, again and again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fai_testkit::noise;

use crate::support::Sandbox;
use crate::support::peers::{Cloner, Server};

const ROUNDS: u64 = 6;

/// Collects and repacks a repository over and over while `work` runs. Returns how often it was.
fn while_collecting(sandbox: &Sandbox, work: impl FnOnce()) -> usize {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sandbox.json(&["gc", "--prune=now"]);
                sandbox.json(&["repack"]);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = Stop(&stop);
        work();
    });
    count.into_inner()
}

#[test]
fn adds_commits_and_checkouts_are_not_disturbed() {
    let sandbox = Sandbox::with(&[("start", b"0")]);
    let count = while_collecting(&sandbox, || {
        for round in 0..ROUNDS {
            let name = format!("file{}", round % 3);
            // What was added and dropped is what the collection looks for, and the next round stores it again.
            sandbox.write("dropped", noise(100, 700_000));
            sandbox.ok(&["add", "dropped"]);
            sandbox.ok(&["rm", "--cached", "dropped"]);
            sandbox.write(&name, [noise(round, 400_000), noise(50, 300_000)].concat());
            sandbox.ok(&["add", &name]);
            sandbox.ok(&["commit", "-m", "round"]);
            let amended = noise(round + 10, 300_000);
            sandbox.write(&name, &amended);
            sandbox.ok(&["add", &name]);
            sandbox.ok(&["commit", "--amend", "-m", "amended"]);
            assert!(sandbox.bytes(&["cat", &name]) == amended, "{name}");
            sandbox.remove(&name);
            sandbox.ok(&["restore", &name]);
            assert!(sandbox.read(&name) == amended, "{name}");
            sandbox.ok(&["checkout", "HEAD~1"]);
            sandbox.ok(&["checkout", "main"]);
        }
    });
    assert!(count > 0);
    sandbox.assert_sound();
    assert_eq!(
        sandbox.json(&["log"])["commits"].as_array().unwrap().len() as u64,
        ROUNDS + 1
    );
    sandbox.remove("dropped");
    sandbox.assert_clean();
}

#[test]
fn those_who_clone_from_it_get_everything() {
    let sandbox = Sandbox::new();
    for round in 0..ROUNDS {
        sandbox.write("model", [noise(round, 600_000), noise(50, 600_000)].concat());
        sandbox.commit("round");
    }
    sandbox.write("dropped", noise(100, 700_000));
    sandbox.ok(&["add", "dropped"]);
    sandbox.ok(&["rm", "--cached", "dropped"]);
    let server = Server::start(&sandbox, &[]);
    while_collecting(&sandbox, || {
        for _ in 0..3 {
            let cloner = Cloner::new();
            assert_eq!(cloner.clone_from(&server.ticket)["commits"], ROUNDS);
            cloner.assert_sound();
        }
    });
    sandbox.assert_sound();
}

#[test]
fn those_who_push_to_it_lose_nothing() {
    let sandbox = Sandbox::with(&[("start", b"0")]);
    let server = Server::start(&sandbox, &["--write", "all"]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    let count = while_collecting(&sandbox, || {
        for round in 0..ROUNDS {
            cloner.write("model", &[noise(round, 400_000), noise(50, 400_000)].concat());
            cloner.commit("round");
            cloner.ok(&["push"]);
            // The replaced commit is of no use there from now on, most of its chunks are.
            cloner.write("model", &[noise(round + 10, 400_000), noise(50, 400_000)].concat());
            cloner.ok(&["add", "-A"]);
            cloner.ok(&["commit", "--amend", "-m", "amended"]);
            cloner.ok(&["push", "--force-with-lease"]);
        }
    });
    assert!(count > 0);
    sandbox.assert_sound();
    sandbox.assert_clean();
    assert!(sandbox.read("model") == [noise(ROUNDS + 9, 400_000), noise(50, 400_000)].concat());
}
