//! `fai stats`, `fai fsck` and `fai demo`

use std::fs;

use crate::support::{Sandbox, assert_fields};
use fai_testkit::noise;
use serde_json::json;

#[test]
fn stats_tell_what_copies_would_take() {
    let content = noise(1, 300_000);
    let sandbox = Sandbox::with(&[("one", &content), ("two", &content)]);
    let stats = sandbox.json(&["stats"]);
    assert_fields(
        &stats,
        &[
            "logical_bytes",
            "unique_bytes",
            "stored_bytes",
            "savings",
            "files",
            "chunks",
            "packs",
        ],
    );
    assert_eq!(
        (&stats["logical_bytes"], &stats["unique_bytes"]),
        (&json!(600_000), &json!(300_000))
    );
    assert!(stats["savings"].as_f64().unwrap() > 0.45, "{stats}");
    assert!(sandbox.ok(&["stats"]).contains("Saved: "));
}

#[test]
fn fsck_names_a_damaged_byte_and_the_file_that_needs_it() {
    let sandbox = Sandbox::with(&[("weights.bin", &noise(2, 500_000))]);
    sandbox.assert_sound();
    let objects = sandbox.path(".fai/objects");
    let packs = fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().path());
    let largest = packs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    // In the first chunk: what comes before a damaged one may be served.
    bytes[300] ^= 1;
    fs::write(&largest, bytes).unwrap();

    let output = sandbox.run(&["fsck", "--full", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], json!(false));
    assert!(report["problems"].to_string().contains("weights.bin"), "{report}");
    sandbox.fails(&["cat", "HEAD:weights.bin"]).is("damaged", &["damaged"]);
}

#[test]
fn a_lost_database_is_rebuilt_from_the_packs() {
    let sandbox = Sandbox::with(&[("a", b"kept"), ("b/c", b"also kept")]);
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
        let _ = fs::remove_file(sandbox.path(".fai").join(name));
    }
    sandbox.ok(&["fsck", "--rebuild"]);
    assert_eq!(sandbox.bytes(&["cat", "HEAD:b/c"]), b"also kept");
    sandbox.assert_clean();
    sandbox.assert_sound();
}

#[test]
fn the_demo_does_the_main_job() {
    let sandbox = Sandbox::empty();
    let report = sandbox.json(&["demo", "--size", "8"]);
    assert_eq!(
        (&report["identical"], &report["verified"]),
        (&json!(true), &json!(true))
    );
    assert!(report["savings"].as_f64().unwrap() > 0.5, "{report}");
    assert!(sandbox.ok(&["demo", "--size", "2"]).contains("1 of 8 tensors changed"));
}
