//! Sparse files: holes cost no more than hashing zeros, change nothing about what is stored, and come back as holes.

use crate::support::{Sandbox, text};
use fai_testkit::{DType, Tensor, noise, safetensors};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A new file of `len` bytes that is all hole but for `parts`, each with the offset where it lies.
fn write_sparse(path: &Path, len: u64, parts: &[(u64, &[u8])]) {
    let file = File::create(path).unwrap();
    file.set_len(len).unwrap();
    for (offset, bytes) in parts {
        file.write_all_at(bytes, *offset).unwrap();
    }
}

fn allocated(path: &Path) -> u64 {
    path.metadata().unwrap().blocks() * 512
}

/// Waits for a child, and gives the most memory that it was seen to have, in KiB; 0 where systems do not tell.
fn watched(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let found = fs::read_to_string(&status).unwrap_or_default();
        let line = found.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn holes_cost_no_more_than_hashing_them() {
    const SIZE: u64 = 4 << 30;
    let sandbox = Sandbox::new();
    let data = noise(1, 300_000);
    let middle = SIZE / 2 + 12_345;
    write_sparse(&sandbox.path("sparse"), SIZE, &[(middle, &data)]);
    if allocated(&sandbox.path("sparse")) >= SIZE {
        return; // This file system has no holes.
    }
    // Seconds of processor time, several times of what it takes: cutting zeros like other data would take 20 and more.
    let limited = |command: &str| {
        let mut shell = sandbox.shell(&format!("ulimit -t 10; exec \"$FAI\" {command}"));
        watched(shell.stdout(Stdio::null()).spawn().unwrap())
    };
    let peak = limited("add sparse");
    assert!(peak < 128 << 10, "{peak} KiB of memory");
    sandbox.ok(&["commit", "-m", "sparse"]);
    sandbox.assert_clean();
    let stored = sandbox.json(&["stats"])["stored_bytes"].as_u64().unwrap();
    assert!(stored < 4_000_000, "{stored} bytes");

    let copy = sandbox.outside().join("copy");
    let peak = limited(&format!("checkout --to {} main", copy.display()));
    assert!(peak < 128 << 10, "{peak} KiB of memory");
    let copied = copy.join("sparse");
    assert_eq!(copied.metadata().unwrap().len(), SIZE);
    // What is no hole lies around the data, and holds it and zeros.
    assert!(allocated(&copied) < 2 << 20, "{} bytes", allocated(&copied));
    let mut around = vec![1; 4 << 20];
    let from = middle - (2 << 20);
    File::open(&copied).unwrap().read_exact_at(&mut around, from).unwrap();
    let (before, rest) = around.split_at(2 << 20);
    let (found, after) = rest.split_at(data.len());
    assert!(found == data && [before, after].concat().iter().all(|byte| *byte == 0));
}

#[test]
fn holes_and_written_zeros_are_the_same_file() {
    let sandbox = Sandbox::new();
    let model = safetensors::write(&[
        Tensor::of("a", DType::F32, &[1500, 1000], &vec![0.0; 1_500_000]),
        Tensor::new("b", DType::F32, &[100, 100], 1),
        Tensor::of("c", DType::F32, &[700, 1000], &vec![0.0; 700_000]),
    ]);
    let (one, other) = (noise(1, 200_000), noise(2, 5));
    let plain = {
        let mut bytes = vec![0; 20_000_003];
        bytes[5_000_000..5_200_000].copy_from_slice(&one);
        bytes[19_999_000..19_999_005].copy_from_slice(&other);
        bytes
    };
    for (name, bytes) in [("plain", &plain), ("model.safetensors", &model)] {
        fs::create_dir(sandbox.path(name)).unwrap();
        let (dense, sparse) = (format!("{name}/dense"), format!("{name}/sparse"));
        sandbox.write(&dense, bytes);
        // In pieces of one page, so that every page of zeros may become a hole.
        let pieces = bytes.chunks(4096).enumerate();
        let parts: Vec<(u64, &[u8])> = pieces
            .filter(|(_, piece)| piece.iter().any(|byte| *byte != 0))
            .map(|(index, piece)| (4096 * index as u64, piece))
            .collect();
        write_sparse(&sandbox.path(&sparse), bytes.len() as u64, &parts);
        let ids = [&sparse, &dense].map(|path| text(&sandbox.json(&["add", path])["files"][0]["id"]));
        assert_eq!(ids[0], ids[1]);
        for path in [&dense, &sparse] {
            assert!(sandbox.bytes(&["cat", path]) == *bytes, "{path}");
        }
    }
    sandbox.ok(&["commit", "-m", "all"]);
    // Read again, as the stat cache cannot know: holes are hashed as zeros.
    for path in ["plain/dense", "plain/sparse", "model.safetensors/sparse"] {
        let file = File::options().write(true).open(sandbox.path(path)).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }
    sandbox.assert_clean();
    sandbox.assert_sound();
    // A change in the middle of a hole.
    let file = File::options().write(true).open(sandbox.path("plain/sparse")).unwrap();
    file.write_all_at(&[1], 12_000_000).unwrap();
    assert_eq!(sandbox.json(&["status"])["modified"], json!(["plain/sparse"]));
}
