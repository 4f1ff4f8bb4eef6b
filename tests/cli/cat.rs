//! `fai cat`

use crate::support::{Sandbox, text};
use fai_testkit::noise;
use std::fs;
use std::io::Read;
use std::process::Stdio;

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

#[test]
fn a_long_file_comes_whole_and_a_closed_pipe_is_no_failure() {
    let content = noise(5, 30_000_000);
    let sandbox = Sandbox::with(&[("long.bin", &content), ("empty", b"")]);
    for threads in ["1", "2", "7"] {
        let output = sandbox
            .command(&["cat", "HEAD:long.bin"])
            .env("FAI_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout == content, "{threads} threads");
    }
    assert_eq!(sandbox.bytes(&["cat", "HEAD:empty"]), b"");
    let mut child = sandbox
        .command(&["cat", "HEAD:long.bin"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = vec![0; 1000];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    assert_eq!(start, content[..1000]);
}

#[test]
fn a_pack_that_is_gone_is_named() {
    let sandbox = Sandbox::with(&[("a.bin", &noise(6, 300_000))]);
    let pack = |sandbox: &Sandbox| {
        let packs = fs::read_dir(sandbox.path(".fai/objects")).unwrap();
        packs
            .map(|pack| pack.unwrap().path())
            .max_by_key(|pack| pack.metadata().unwrap().len())
    };
    let largest = pack(&sandbox).unwrap();
    fs::remove_file(&largest).unwrap();
    let name = largest.file_name().unwrap().to_string_lossy().into_owned();
    let problem = sandbox.fails(&["cat", "HEAD:a.bin"]);
    assert!(problem.message.contains(&name[..16]), "{}", problem.message);
    problem.hints("fai fsck");
}
