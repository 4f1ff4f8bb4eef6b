//! A peer that vanishes in the middle of a transfer and comes back: whoever waits for it goes on by itself.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fai_testkit::noise;
use serde_json::Value;

use crate::support::peers::{Cloner, Server};
use crate::support::{Sandbox, files_below};

/// Bytes that a clone in `folder` has received so far.
fn received(folder: &Path) -> u64 {
    let below = |part: &str| fs::read_dir(folder.join(".fai/quarantine/0").join(part));
    let listings = ["incoming", "objects"].iter().filter_map(|part| below(part).ok());
    let sizes = listings
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum()
}

#[test]
fn a_clone_outlives_its_peer_and_goes_on_when_it_is_back() {
    let large = noise(21, 80_000_000);
    let owner = Sandbox::with(&[("model.bin", &large)]);
    let stored = owner.json(&["stats"])["stored_bytes"].as_u64().unwrap();
    let server = Server::start(&owner, &[]);
    let (port, ticket) = (server.port, server.ticket.clone());
    let cloner = Cloner::new();
    let mut command = cloner.sandbox.command(&["clone", &ticket, "clone", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while received(&cloner.folder()) < 10_000_000 && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(server);
    assert!(!cloner.folder().join("model.bin").exists(), "it was gone too late");
    let _again = Server::start_at(&owner, &format!("/ip4/127.0.0.1/tcp/{port}"));
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{complaints}");
    assert!(complaints.contains("trying again"), "{complaints}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // What was under way when it vanished comes again, and nothing else.
    let came = report["wire_bytes"].as_u64().unwrap();
    assert!(came <= stored + 40_000_000, "{came} of {stored}");
    assert_eq!(files_below(&cloner.folder()), [("model.bin".to_owned(), large)]);
    cloner.assert_sound();
}

#[test]
fn a_peer_that_refuses_when_it_is_back_is_not_asked_again() {
    let owner = Sandbox::with(&[("model.bin", &noise(22, 80_000_000))]);
    let server = Server::start(&owner, &[]);
    let (port, ticket) = (server.port, server.ticket.clone());
    let cloner = Cloner::new();
    let mut command = cloner.sandbox.command(&["clone", &ticket, "clone", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while received(&cloner.folder()) < 10_000_000 && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(server);
    owner.ok(&["config", "access.read", "listed"]);
    let _again = Server::start_at(&owner, &format!("/ip4/127.0.0.1/tcp/{port}"));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = complaints.lines().last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {complaints}"));
    assert_eq!(error["error"]["kind"], "not_found", "{error}");
    assert_eq!(files_below(&cloner.folder()), [], "nothing of it appears");
}
