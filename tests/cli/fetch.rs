//! `fetch`: one file of a peer's repository, and nothing else of it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fai_testkit::noise;
use serde_json::Value;

use crate::peers::damage;
use crate::support::peers::Server;
use crate::support::{Sandbox, assert_fields, files_below, short, text};

const SIZE: usize = 3_000_000;

/// A repository with two versions of a model, and much else.
fn owner() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("models/one.bin", &noise(1, SIZE)),
        ("models/other.bin", &noise(2, 5_000_000)),
        ("run.sh", b"#!/bin/sh\n"),
    ]);
    sandbox.set_executable("run.sh", true);
    let mut tuned = noise(1, SIZE);
    tuned[SIZE - 10..].fill(7);
    sandbox.write("models/one.bin", tuned);
    sandbox.commit("second");
    sandbox
}

/// What the owner knows of a file.
fn known(owner: &Sandbox, revision: &str, path: &str) -> Value {
    let files = owner.json(&["ls", revision]);
    let found = files["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"] == path);
    found.unwrap().clone()
}

/// Somebody without a repository.
fn stranger() -> Sandbox {
    Sandbox::empty()
}

#[test]
fn one_file_comes_by_path_and_nothing_else_crosses_the_wire() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let stranger = stranger();
    let report = stranger.json(&["fetch", &server.ticket, "HEAD~1:models/one.bin", "-o", "taken.bin"]);
    assert_fields(
        &report,
        &[
            "bytes",
            "chunks",
            "chunks_reused",
            "commit",
            "commits",
            "content",
            "files",
            "id",
            "path",
            "seconds",
            "wire_bytes",
        ],
    );
    let expected = known(&owner, "HEAD~1", "models/one.bin");
    assert_eq!(
        (&report["id"], &report["content"]),
        (&expected["id"], &expected["content"])
    );
    assert_eq!((&report["files"], &report["bytes"]), (&1.into(), &SIZE.into()));
    assert_eq!(stranger.read("taken.bin"), noise(1, SIZE));
    assert!(report["wire_bytes"].as_u64().unwrap() < 3_100_000, "{report}");
    assert_eq!(files_below(&stranger.root()).len(), 1, "nothing is left beside it");
}

#[test]
fn revisions_mean_what_they_mean_to_the_peer() {
    let owner = owner();
    owner.write("models/one.bin", b"third");
    let third = owner.commit("third");
    let server = Server::start(&owner, &[]);
    let stranger = stranger();
    let second = text(&owner.json(&["log"])["commits"][1]["id"]);
    let mut tuned = noise(1, SIZE);
    tuned[SIZE - 10..].fill(7);
    let versions: [(&str, &[u8]); 7] = [
        ("HEAD", b"third"),
        ("main", b"third"),
        ("refs/heads/main", b"third"),
        (&third, b"third"),
        (&second, &tuned),
        (short(&second), &tuned),
        ("main~1", &tuned),
    ];
    for (revision, expected) in versions {
        let file = format!("{revision}:models/one.bin");
        stranger.ok(&["fetch", &server.ticket, &file, "--force"]);
        assert!(stranger.read("one.bin") == expected, "{revision}");
    }
    stranger.ok(&["fetch", &server.ticket, "run.sh"]);
    assert!(stranger.is_executable("run.sh"));
    for (file, kind) in [
        ("nothing:models/one.bin", "unknown_revision"),
        ("HEAD~9:models/one.bin", "unknown_revision"),
        ("HEAD:models/none.bin", "not_found"),
        ("HEAD:models", "wrong_kind"),
        ("ffffffff", "not_found"),
    ] {
        stranger.fails(&["fetch", &server.ticket, file]).is(kind, &[]);
    }
    let nowhere = "0".repeat(64);
    stranger
        .fails(&["fetch", &server.ticket, &nowhere, "--quiet"])
        .is("missing", &["0000"]);
    assert_eq!(
        fs::read_dir(stranger.root()).unwrap().count(),
        2,
        "nothing came, and nothing is left of it"
    );
}

#[test]
fn an_id_is_enough() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let stranger = stranger();
    let file = known(&owner, "HEAD", "models/one.bin");
    let id = text(&file["id"]);
    let said = stranger.ok(&["fetch", &server.ticket, short(&id)]);
    let name = format!("fetched_{}.dat", short(&id));
    assert!(said.contains(&format!("Fetching model {}...", short(&id))), "{said}");
    assert!(said.contains("Downloaded 3MB in "), "{said}");
    assert!(said.contains(&format!("Saved to: {name}")), "{said}");
    let expected = owner.read("models/one.bin");
    assert!(stranger.read(&name) == expected);
    stranger
        .fails(&["fetch", &server.ticket, &id])
        .is("exists", &[&name])
        .hints("--force");
    stranger.write(&name, b"mine");
    stranger.ok(&["fetch", &server.ticket, &id, "--force"]);
    assert!(stranger.read(&name) == expected);
}

#[test]
fn what_a_repository_has_is_not_fetched_again() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let mine = Sandbox::with(&[("base.bin", &noise(1, SIZE))]);
    let report = mine.json(&["fetch", &server.ticket, "HEAD:models/one.bin", "-o", "tuned.bin"]);
    assert!(report["chunks_reused"].as_u64().unwrap() > 5, "{report}");
    assert!(report["wire_bytes"].as_u64().unwrap() < 600_000, "{report}");
    assert!(mine.read("tuned.bin") == owner.read("models/one.bin"));
    assert_eq!(mine.status("untracked"), ["tuned.bin"]);
    let quarantine = fs::read_dir(mine.path(".fai/quarantine")).unwrap();
    assert_eq!(quarantine.count(), 0, "what came is in the file");
    mine.assert_sound();
}

fn received(folder: &Path) -> u64 {
    let Ok(listing) = fs::read_dir(folder) else { return 0 };
    let sizes = listing.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        let is_pack = entry.path().components().any(|part| part.as_os_str() == "quarantine");
        Some(match metadata.is_dir() {
            true => received(&entry.path()),
            false if is_pack => metadata.len(),
            false => 0,
        })
    });
    sizes.sum()
}

#[test]
fn a_killed_fetch_goes_on_where_it_was() {
    let large = noise(3, 60_000_000);
    let owner = Sandbox::with(&[("model.bin", &large)]);
    let server = Server::start(&owner, &[]);
    let stranger = stranger();
    let arguments = ["fetch", &server.ticket, "model.bin", "--json"];
    let mut child = stranger.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while received(&stranger.root()) < 10_000_000 && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = received(&stranger.root());
    assert!(kept >= 10_000_000 && !stranger.exists("model.bin"), "{kept}");
    let report = stranger.json(&["fetch", &server.ticket, "model.bin"]);
    let fetched = report["wire_bytes"].as_u64().unwrap();
    assert!(fetched + kept <= 65_000_000, "{fetched} after {kept} were there");
    assert!(files_below(&stranger.root()) == [("model.bin".to_owned(), large)]);
}

#[test]
fn wrong_bytes_are_refused_and_nothing_is_written() {
    let owner = Sandbox::with(&[("model.bin", &noise(1, SIZE))]);
    damage(&owner.root());
    let server = Server::start(&owner, &[]);
    let stranger = stranger();
    for _ in 0..2 {
        let output = stranger.run(&["fetch", &server.ticket, "model.bin", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "false_data", "{error}");
        assert!(text(&error["error"]["message"]).contains(&server.peer), "{error}");
        assert!(!stranger.exists("model.bin"));
    }
}

#[test]
fn a_folder_of_this_machine_will_do() {
    let owner = owner();
    let stranger = stranger();
    let folder = owner.root();
    stranger.ok(&["fetch", folder.to_str().unwrap(), "HEAD~1:models/one.bin"]);
    assert!(stranger.read("one.bin") == noise(1, SIZE));
}
