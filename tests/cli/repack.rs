//! `fai repack`

use std::fs;

use fai_testkit::noise;

use crate::support::Sandbox;

fn packs(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.path(".fai/objects")).unwrap().count()
}

fn with_small_packs() -> Sandbox {
    let sandbox = Sandbox::new();
    for round in 0..4 {
        sandbox.write("a.bin", noise(round, 50_000));
        sandbox.commit("round");
    }
    sandbox
}

#[test]
fn small_packs_become_one_and_people_are_told() {
    let sandbox = with_small_packs();
    assert_eq!(packs(&sandbox), 8);
    let dry = sandbox.ok(&["repack", "--dry-run"]);
    assert!(
        dry.starts_with("8 packs (20") && dry.contains("of room at a time"),
        "{dry}"
    );
    assert_eq!((dry.lines().count(), packs(&sandbox)), (1, 8));
    let said = sandbox.ok(&["repack"]);
    assert!(
        said.contains("8 packs became 1\n") && said.contains("Size: -"),
        "{said}"
    );
    assert_eq!(packs(&sandbox), 1);
    sandbox.assert_sound();
    assert!(sandbox.bytes(&["cat", "HEAD~3:a.bin"]) == noise(0, 50_000));
    assert_eq!(sandbox.ok(&["repack"]), "Nothing to repack\n");
}

#[test]
fn scripts_are_told_in_numbers() {
    let sandbox = with_small_packs();
    let dry = sandbox.json(&["repack", "--dry-run"]);
    assert_eq!((&dry["chosen"], &dry["packs_written"]), (&8.into(), &0.into()));
    let done = sandbox.json(&["repack"]);
    assert_eq!((&done["packs_removed"], &done["packs_written"]), (&8.into(), &1.into()));
    assert!(done["written_bytes"].as_u64() < done["removed_bytes"].as_u64());
    assert!(done["written_bytes"].as_u64() <= dry["needed_bytes"].as_u64());
}

#[test]
fn text_is_compressed_harder_when_asked() {
    let sandbox = Sandbox::new();
    let log: String = (0..40_000u64).map(|n| format!("{} steps, ", n * n % 9973)).collect();
    sandbox.write("log.txt", &log);
    sandbox.commit("a log");
    let done = sandbox.json(&["repack", "--max"]);
    assert!(done["recompressed"].as_u64() > Some(0), "{done}");
    assert!(
        done["written_bytes"].as_u64() < done["removed_bytes"].as_u64(),
        "{done}"
    );
    assert!(sandbox.bytes(&["cat", "log.txt"]) == log.as_bytes());
    sandbox.assert_sound();
    let said = sandbox.ok(&["repack", "--max"]);
    assert!(said.ends_with("all packs stay as they are\n"), "{said}");
    let again = sandbox.json(&["repack", "--max"]);
    assert_eq!(
        (&again["packs_removed"], &again["packs_written"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn of_two_at_once_the_second_is_refused() {
    let sandbox = with_small_packs();
    let lock = fs::File::create(sandbox.path(".fai/repack.lock")).unwrap();
    lock.lock().unwrap();
    // A plan needs no lock, and is said before; so only what is said to scripts is one document.
    let output = sandbox.run(&["repack", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("another gc or repack runs") && said.contains("\"busy\""),
        "{said}"
    );
    drop(lock);
    assert_eq!(sandbox.json(&["repack"])["packs_written"], 1);
}
