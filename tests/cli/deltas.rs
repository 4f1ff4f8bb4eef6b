//! A fine-tune between peers and folders: as differences to whoever has what it was made from, standing alone to everybody
//! else.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fai_testkit::{DType, Tensor, normal, safetensors};
use serde_json::Value;

use crate::support::peers::{Cloner, Server};
use crate::support::{Sandbox, files_below, text};

const MODEL: &str = "model.safetensors";

/// A model of six chunks; `step` is how far training went from the base.
fn model(step: f32) -> Vec<u8> {
    const COUNT: usize = 3_000_000;
    let values = normal(1, COUNT).into_iter().zip(normal(2, COUNT));
    let values: Vec<f32> = values.map(|(weight, moved)| weight + weight * moved * step).collect();
    safetensors::write(&[Tensor::of("weights", DType::Bf16, &[COUNT], &values)])
}

/// The base, and so many versions of it, each a commit, the newest first in what is checked out.
fn owner(tuned: usize) -> Sandbox {
    let sandbox = Sandbox::with(&[(MODEL, &model(0.0))]);
    for number in 1..=tuned {
        tune(&sandbox, number);
    }
    sandbox
}

fn tune(sandbox: &Sandbox, number: usize) {
    sandbox.write(MODEL, model(0.02 * number as f32));
    sandbox.commit(&format!("version {number}"));
}

fn number(document: &Value, field: &str) -> f64 {
    document[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field} in {document}"))
}

/// How many chunks are stored in each encoding, and how long they are.
fn encodings(stats: &Value) -> Value {
    let encodings = stats["encodings"].clone();
    assert!(encodings.is_object(), "{stats}");
    encodings
}

fn deltas(stats: &Value) -> u64 {
    stats["encodings"]["delta"]["chunks"].as_u64().unwrap_or_default()
}

#[test]
fn who_has_the_base_gets_a_fine_tune_for_a_fraction() {
    let owner = owner(0);
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    tune(&owner, 1);
    let stored = owner.json(&["stats"]);
    assert!(deltas(&stored) > 0, "{stored}");
    let pulled = cloner.ok(&["pull"]);
    let share = number(&pulled, "wire_bytes") / number(&pulled, "bytes");
    assert!(share < 0.15, "{share}: {pulled}");
    let stats = cloner.ok(&["stats"]);
    assert_eq!(encodings(&stats), encodings(&stored));
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    cloner.assert_sound();
}

#[test]
fn a_clone_of_all_versions_gets_them_as_they_are_stored() {
    let owner = owner(3);
    let stored = owner.json(&["stats"]);
    assert!(deltas(&stored) >= 15, "{stored}");
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let report = cloner.clone_from(&server.ticket);
    let share = number(&report, "wire_bytes") / number(&stored, "stored_bytes");
    assert!(share < 1.01, "{share}: {report}");
    assert_eq!(encodings(&cloner.ok(&["stats"])), encodings(&stored));
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    cloner.assert_sound();
    // And so does whoever clones the clone, from its folder.
    let again = cloner.sandbox.json(&["clone", "clone", "again"]);
    let share = number(&again, "wire_bytes") / number(&stored, "stored_bytes");
    assert!(share < 1.01, "{share}: {again}");
    let stats = cloner.sandbox.json(&["-C", "again", "stats"]);
    assert_eq!(encodings(&stats), encodings(&stored));
    assert_folder_is_sound(&cloner.sandbox, "again");
}

#[test]
fn without_its_base_a_fine_tune_comes_alone() {
    let owner = owner(2);
    let base = {
        let alone = Sandbox::with(&[(MODEL, &model(0.04))]);
        number(&alone.json(&["stats"]), "stored_bytes")
    };
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let report = cloner.sandbox.json(&["clone", "--depth", "1", &server.ticket, "clone"]);
    let share = number(&report, "wire_bytes") / base;
    assert!(share < 1.01, "{share}: {report}");
    assert_eq!(deltas(&cloner.ok(&["stats"])), 0);
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    cloner.assert_sound();
    // What comes later stands on what is here by then.
    tune(&owner, 3);
    let pulled = cloner.ok(&["pull"]);
    let share = number(&pulled, "wire_bytes") / number(&pulled, "bytes");
    assert!(share < 0.15, "{share}: {pulled}");
    cloner.assert_sound();
}

#[test]
fn one_file_alone_is_fetched_without_what_it_stands_on() {
    let owner = owner(1);
    let server = Server::start(&owner, &[]);
    let stranger = Sandbox::empty();
    let report = stranger.json(&["fetch", &server.ticket, &format!("HEAD:{MODEL}"), "-o", "got"]);
    assert!(
        number(&report, "wire_bytes") < 0.8 * number(&report, "bytes"),
        "{report}"
    );
    assert_eq!(stranger.read("got"), owner.read(MODEL));
}

#[test]
fn a_push_sends_what_a_pull_would() {
    let keeper = owner(0);
    let server = Server::start(&keeper, &["--write", "all"]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    cloner.write(MODEL, &model(0.02));
    cloner.commit("version 1");
    cloner.ok(&["push"]);
    let (kept, own) = (keeper.json(&["stats"]), cloner.ok(&["stats"]));
    assert!(deltas(&own) > 0, "{own}");
    assert_eq!(encodings(&kept), encodings(&own));
    assert_eq!(files_below(&cloner.folder()), files_below(&keeper.root()));
    keeper.assert_sound();
}

#[test]
fn a_folder_gives_and_takes_as_a_peer_does() {
    let owner = owner(0);
    owner.json(&["clone", ".", "../clone"]);
    tune(&owner, 1);
    let pulled = owner.json(&["-C", "../clone", "pull"]);
    let share = number(&pulled, "wire_bytes") / number(&pulled, "bytes");
    assert!(share < 0.15, "{share}: {pulled}");
    assert_folder_is_sound(&owner, "../clone");
    fs::write(owner.outside().join("clone").join(MODEL), model(0.04)).unwrap();
    owner.ok(&["-C", "../clone", "add", "-A"]);
    owner.ok(&["-C", "../clone", "commit", "-m", "version 2"]);
    owner.json(&["-C", "../clone", "push"]);
    let (own, other) = (owner.json(&["stats"]), owner.json(&["-C", "../clone", "stats"]));
    assert_eq!(encodings(&own), encodings(&other));
    assert!(deltas(&own) > 6, "{own}");
    owner.assert_sound();
}

/// Bytes that a killed clone has left.
fn left(folder: &Path) -> u64 {
    let below = |part: &str| fs::read_dir(folder.join(".fai/quarantine/0").join(part));
    ["incoming", "objects"]
        .iter()
        .filter_map(|part| below(part).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .sum()
}

#[test]
fn a_clone_that_is_killed_between_its_waves_goes_on() {
    let owner = owner(3);
    let stored = number(&owner.json(&["stats"]), "stored_bytes");
    let server = Server::start(&owner, &[]);
    // Within the base, at its end, and within what stands on it.
    for share in [0.3, 0.7, 0.8, 0.9] {
        let cloner = Cloner::new();
        let mut command = cloner.sandbox.command(&["clone", &server.ticket, "clone"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while (left(&cloner.folder()) as f64) < stored * share && started.elapsed() < Duration::from_secs(30) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        child.wait().unwrap();
        if cloner.folder().join(MODEL).exists() {
            // It was faster.
            continue;
        }
        cloner.clone_from(&server.ticket);
        assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
        cloner.assert_sound();
    }
}

#[test]
fn what_stands_on_a_base_that_is_damaged_here_comes_alone() {
    let owner = owner(0);
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    let pack = largest_pack(&cloner.folder());
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&pack, bytes).unwrap();
    tune(&owner, 1);
    let output = cloner.inside(&["pull", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The new version is whole, though the old one is not.
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    let (code, report) = cloner.json_of(&["fsck", "--full"]);
    assert_eq!(code, Some(1));
    let problems = report["problems"].as_array().unwrap();
    assert!(!problems.is_empty(), "{report}");
}

fn largest_pack(folder: &Path) -> std::path::PathBuf {
    let packs = fs::read_dir(folder.join(".fai/objects")).unwrap();
    let packs = packs.map(|entry| entry.unwrap());
    packs
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap()
        .path()
}

#[track_caller]
fn assert_folder_is_sound(sandbox: &Sandbox, folder: &str) {
    let report = sandbox.json(&["-C", folder, "fsck", "--full"]);
    assert_eq!(report["problems"], serde_json::json!([]), "{report}");
}

#[test]
fn two_sources_that_store_a_version_differently_serve_one_clone() {
    let owner = owner(1);
    let alone = Cloner::new();
    {
        let server = Server::start(&owner, &[]);
        // Its newest version came without what it stands on; the rest came later.
        alone.sandbox.json(&["clone", "--depth", "1", &server.ticket, "clone"]);
        alone.ok(&["pull", "--unshallow"]);
    }
    let (one, other) = (owner.json(&["stats"]), alone.ok(&["stats"]));
    assert!(deltas(&one) > deltas(&other), "{one} {other}");
    for folder in [owner.root(), alone.folder()] {
        let cloner = Cloner::new();
        let server = Server::start_in(&owner, &folder, &[]);
        cloner.clone_from(&server.ticket);
        cloner.assert_sound();
        // Pulled from the other one, nothing is fetched again.
        let elsewhere = if folder == owner.root() {
            alone.folder()
        } else {
            owner.root()
        };
        let pulled = cloner.ok(&["pull", &text(&elsewhere.to_str().unwrap().into())]);
        assert_eq!(pulled["wire_bytes"], 0, "{pulled}");
    }
}
