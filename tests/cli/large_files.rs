//! Files above 4 MiB, which are written into the worktree while they come: every byte, mode and hole is that of the owner,
//! whatever of them was here before, and nothing is left lying about.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fai_testkit::noise;

use crate::support::peers::{Cloner, Server};
use crate::support::{Sandbox, files_below};

const MIB: usize = 1 << 20;

/// An empty stretch in the middle of noise.
fn sparse() -> Vec<u8> {
    let mut bytes = noise(3, 24 * MIB);
    bytes[4 * MIB..20 * MIB].fill(0);
    bytes
}

fn owner() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("model.bin", &noise(1, 9 * MIB)),
        ("copy/of/model.bin", &noise(1, 9 * MIB)),
        ("tool", &noise(2, 5 * MIB)),
        ("sparse.bin", &sparse()),
        ("small", b"small"),
    ]);
    sandbox.set_executable("tool", true);
    sandbox.commit("modes");
    sandbox
}

/// Nothing but what belongs there.
fn assert_tidy(folder: &Path) {
    let listed = |path: &str| -> Vec<String> {
        let Ok(listing) = fs::read_dir(folder.join(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = listing
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(listed(".fai/tmp"), ["clock"]);
    assert_eq!(listed(".fai/quarantine/0"), ["lock"]);
}

fn assert_same(cloner: &Cloner, owner: &Sandbox) {
    assert!(files_below(&cloner.folder()) == files_below(&owner.root()));
    let tool = fs::metadata(cloner.folder().join("tool")).unwrap();
    assert_eq!(tool.mode() & 0o100, 0o100);
    assert_eq!(cloner.ok(&["status"])["modified"], serde_json::json!([]));
    assert_tidy(&cloner.folder());
    cloner.assert_sound();
}

#[test]
fn a_clone_of_large_files_is_whole_from_a_peer_and_from_a_folder() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    for source in [server.ticket.clone(), owner.root().to_str().unwrap().to_owned()] {
        let cloner = Cloner::new();
        cloner.clone_from(&source);
        assert_same(&cloner, &owner);
        let sparse = fs::metadata(cloner.folder().join("sparse.bin")).unwrap();
        assert!(sparse.blocks() * 512 < 12 * MIB as u64, "holes stay holes");
    }
}

#[test]
fn a_pull_writes_the_parts_that_came_and_those_that_were_here() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    // Of one file a little changes, of another most, one shrinks, one comes that consists of what is there.
    let mut model = noise(1, 9 * MIB);
    model[5 * MIB] ^= 1;
    owner.write("model.bin", &model);
    let mut most = noise(7, 9 * MIB);
    most[8 * MIB..].copy_from_slice(&noise(1, 9 * MIB)[8 * MIB..]);
    owner.write("copy/of/model.bin", &most);
    owner.write("sparse.bin", &sparse()[..20 * MIB]);
    owner.write("again.bin", [noise(2, 5 * MIB), noise(2, 5 * MIB)].concat());
    owner.commit("changes");
    assert_eq!(cloner.ok(&["pull"])["commits"], 1);
    assert_same(&cloner, &owner);
}

#[test]
fn of_a_part_the_files_that_were_chosen_are_written() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner
        .sandbox
        .json(&["clone", &server.ticket, "clone", "--include", "*.bin"]);
    for path in ["model.bin", "copy/of/model.bin", "sparse.bin"] {
        assert!(
            fs::read(cloner.folder().join(path)).unwrap() == owner.read(path),
            "{path}"
        );
    }
    assert!(!cloner.folder().join("tool").exists());
    assert_tidy(&cloner.folder());
    cloner.assert_sound();
}

#[test]
fn a_push_into_a_worktree_writes_large_files() {
    let owner = owner();
    let cloner = Cloner::new();
    let peer = cloner.sandbox.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
    owner.ok(&["access", "allow", &peer, "--write"]);
    let server = Server::start(&owner, &[]);
    cloner.clone_from(&server.ticket);
    fs::write(cloner.folder().join("model.bin"), noise(11, 12 * MIB)).unwrap();
    cloner.ok(&["add", "-A"]);
    cloner.ok(&["commit", "-m", "from elsewhere"]);
    cloner.ok(&["push"]);
    assert!(owner.read("model.bin") == noise(11, 12 * MIB));
    owner.assert_clean();
    owner.assert_sound();
    assert_tidy(&owner.root());
}

#[test]
fn what_a_killed_transfer_wrote_is_gone_with_the_next_one() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    let ahead = cloner.folder().join(".fai/quarantine/0/ahead");
    fs::create_dir_all(&ahead).unwrap();
    fs::write(ahead.join(".tmpLeft"), noise(1, 100)).unwrap();
    owner.write("model.bin", noise(12, 6 * MIB));
    owner.commit("next");
    cloner.ok(&["pull"]);
    assert_same(&cloner, &owner);
}
