//! `fai cat`

use crate::support::{Sandbox, text};
use fai_testkit::noise;
use std::fs;

#[test]
fn every_way_to_name_a_file() {
    let content = noise(3, 700_000);
    let sandbox = Sandbox::with(&[("sub/file.bin", &content)]);
    let file = sandbox.json(&["ls"])["files"][0].clone();
    let (id, hash) = (text(&file["id"]), text(&file["content"]));
    sandbox.write("sub/file.bin", "changed since");
    for name in [
        "HEAD:sub/file.bin",
        "@:sub/file.bin",
        "main:sub/file.bin",
        "sub/file.bin",
        &id,
        &id[..10],
        &hash,
    ] {
        assert!(sandbox.bytes(&["cat", name]) == content, "{name}");
    }
    assert!(sandbox.bytes(&["-C", "sub", "cat", "file.bin"]) == content);
}

#[test]
fn older_versions() {
    let sandbox = Sandbox::with(&[("config.json", b"one")]);
    sandbox.write("config.json", "two");
    sandbox.commit("second");
    assert_eq!(sandbox.bytes(&["cat", "HEAD~1:config.json"]), b"one");
    assert_eq!(sandbox.bytes(&["cat", "HEAD:config.json"]), b"two");
}

#[test]
fn what_is_not_there_is_named() {
    let sandbox = Sandbox::with(&[("sub/a", b"1")]);
    sandbox
        .fails(&["cat", "HEAD:b"])
        .is("not_found", &["b is not in HEAD"])
        .hints("fai ls");
    sandbox.fails(&["cat", "nosuch:a"]).is("unknown_revision", &["nosuch"]);
    sandbox.fails(&["cat", "b"]).is("not_found", &["b"]);
    sandbox
        .fails(&["cat", "HEAD:sub"])
        .is("wrong_kind", &["sub is a folder"]);
    sandbox.fails(&["cat", "HEAD:../a"]).is("bad_path", &[".."]);
    sandbox.fails(&["cat", "HEAD:"]).is("wrong_kind", &["a folder"]);
    sandbox.misused(&["cat"]);
}

#[test]
fn damaged_bytes_are_never_served() {
    let content = noise(4, 200_000);
    let sandbox = Sandbox::with(&[("a.bin", &content)]);
    let packs = fs::read_dir(sandbox.path(".fai/objects")).unwrap();
    for pack in packs.map(|entry| entry.unwrap().path()) {
        let mut bytes = fs::read(&pack).unwrap();
        // Incompressible bytes lie in the pack as they are; one of them changes.
        if let Some(at) = bytes.windows(64).position(|window| window == &content[1000..1064]) {
            bytes[at] ^= 1;
            fs::remove_file(&pack).unwrap();
            fs::write(&pack, bytes).unwrap();
        }
    }
    let output = sandbox.run(&["cat", "a.bin"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(content.starts_with(&output.stdout) && output.stdout.len() < content.len());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: ") && said.contains("hint: `fai fsck --full`"),
        "{said}"
    );
    sandbox.remove("a.bin");
    sandbox
        .fails(&["checkout", "HEAD"])
        .is("damaged", &[])
        .hints("fai fsck --full");
    assert!(!sandbox.exists("a.bin"));
}
