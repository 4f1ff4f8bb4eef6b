//! What happens on a disk that is full, or fills up: the command says so and what to do, nothing is lost, and with room it
//! works. The disk is a small file system in memory, in a mount namespace of its own. Skipped, with the reason printed,
//! where the kernel allows none.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use fai_testkit::noise;
use serde_json::Value;

use crate::support::network::or_skip;
use crate::support::{Sandbox, text};

const MIB: usize = 1 << 20;

/// What the disk is filled up with.
const FILLER: &str = ".fai/filler";

/// A repository on a disk of its own, mounted for as long as its holder lives.
struct Disk {
    sandbox: Sandbox,
    holder: Child,
    /// The worktree, as seen from here.
    root: PathBuf,
}

impl Disk {
    /// With so many bytes and files, and a new repository.
    fn of(bytes: usize, files: usize) -> Result<Self, String> {
        let sandbox = Sandbox::empty();
        let options = format!("size={bytes},nr_inodes={files},mode=700");
        // The holder ends with its standard input, so it never outlives this process.
        let script = r#"mount -t tmpfs -o "$1" none "$0" && echo mounted && cat"#;
        let mut command = std::process::Command::new("unshare");
        command
            .args(["-Urm", "sh", "-c", script])
            .arg(sandbox.root())
            .arg(options);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut holder = command.spawn().map_err(|error| error.to_string())?;
        let mut line = String::new();
        let said = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
        let root = PathBuf::from(format!("/proc/{}/root{}", holder.id(), sandbox.root().display()));
        let disk = Self { sandbox, holder, root };
        match said {
            Ok(_) if line == "mounted\n" => {
                disk.document(&["init"]);
                Ok(disk)
            }
            _ => Err("no file system can be mounted here".to_owned()),
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let quoted: String = arguments.iter().map(|argument| format!(" '{argument}'")).collect();
        let inside = format!("nsenter -t {} -U --preserve-credentials -m", self.holder.id());
        let script = format!(
            r#"exec timeout 120 {inside} sh -c 'cd "$0" && exec "$FAI" "$@"' '{}'{quoted}"#,
            self.sandbox.root().display()
        );
        self.sandbox.shell(&script).output().unwrap()
    }

    /// The document of a command that must succeed.
    #[track_caller]
    fn document(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A command that must fail for want of room, and say so to people and scripts.
    #[track_caller]
    fn has_no_room_for(&self, arguments: &[&str]) {
        let (plain, json) = (self.run(arguments), self.run(&[arguments, &["--json"]].concat()));
        for output in [&plain, &json] {
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        }
        let document: Value = serde_json::from_slice(&json.stderr).unwrap();
        let (error, said) = (&document["error"], String::from_utf8(plain.stderr).unwrap());
        assert_eq!(error["kind"], "no_space", "{arguments:?}: {said}");
        let place = self.sandbox.root();
        assert!(
            said.contains(place.to_str().unwrap()),
            "it does not name the disk: {said}"
        );
        assert!(
            said.contains("hint: free some space and run the command again"),
            "{said}"
        );
    }

    /// A command that does its work, or says that it has no room for it.
    #[track_caller]
    fn works_or_has_no_room(&self, arguments: &[&str]) -> bool {
        let output = self.run(&[arguments, &["--json"]].concat());
        if output.status.code() == Some(0) {
            return true;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let document: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
        assert_eq!(document["error"]["kind"], "no_space", "{arguments:?}: {said}");
        assert!(text(&document["error"]["hint"]).contains("free some space"), "{said}");
        false
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.root.join(path), bytes).unwrap();
    }

    fn add(&self, path: &str, bytes: &[u8]) {
        self.write(path, bytes);
        self.document(&["add", path]);
    }

    /// Bytes that are free.
    fn free(&self) -> usize {
        let output = std::process::Command::new("stat")
            .args(["-f", "-c", "%a %S"])
            .arg(&self.root)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.split_whitespace()
            .map(|number| number.parse::<usize>().unwrap())
            .product()
    }

    /// Fills the disk up but for so many bytes.
    fn fill(&self, left: usize) {
        self.make_room();
        let mut filler = fs::File::create(self.root.join(FILLER)).unwrap();
        let block = vec![1; MIB];
        while self.free() > left {
            let some = (self.free() - left).min(MIB);
            if filler.write_all(&block[..some]).is_err() {
                break;
            }
        }
    }

    fn make_room(&self) {
        let _ = fs::remove_file(self.root.join(FILLER));
    }

    /// Fails unless nothing is wrong, and the file is what it was.
    #[track_caller]
    fn assert_holds(&self, revision: &str, content: &[u8]) {
        let report = self.document(&["fsck", "--full"]);
        assert_eq!(report["problems"], serde_json::json!([]), "{report}");
        let output = self.run(&["cat", revision]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout == content, "{revision} is not what it was");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Without its standard input it ends by itself, and the disk with it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

#[test]
fn add_stops_where_the_disk_ends_and_goes_on_with_room() {
    let Some(disk) = or_skip(Disk::of(300 * MIB, 10_000)) else {
        return;
    };
    let first = noise(1, MIB);
    disk.add("first.bin", &first);
    disk.document(&["commit", "-m", "first"]);
    // One full pack fits, a second one does not.
    let large = noise(2, 90 * MIB);
    disk.write("large.bin", &large);
    disk.fill(120 * MIB);
    disk.has_no_room_for(&["add", "large.bin"]);
    disk.assert_holds("HEAD:first.bin", &first);
    assert_eq!(
        disk.document(&["status"])["staged"],
        serde_json::json!([]),
        "half a file was staged"
    );
    // Not even one.
    disk.fill(40 * MIB);
    disk.has_no_room_for(&["add", "large.bin"]);
    disk.make_room();
    let added = disk.document(&["add", "large.bin"]);
    let stored = added["files"][0]["stored_bytes"].as_u64().unwrap() as usize;
    assert!(stored < 40 * MIB, "what was stored before was stored again: {added}");
    disk.document(&["commit", "-m", "large"]);
    disk.assert_holds("HEAD:large.bin", &large);
}

#[test]
fn a_disk_without_room_for_another_file_is_full_too() {
    let Some(disk) = or_skip(Disk::of(200 * MIB, 60)) else {
        return;
    };
    let first = noise(1, MIB);
    disk.add("first.bin", &first);
    disk.document(&["commit", "-m", "first"]);
    disk.write("second.bin", &noise(2, MIB));
    let names = (0..100).map(|number| disk.root.join(format!(".fai/tmp/filler{number}")));
    let fillers: Vec<PathBuf> = names.take_while(|name| fs::write(name, b"").is_ok()).collect();
    assert!(fillers.len() < 60, "the disk has no end");
    disk.has_no_room_for(&["add", "second.bin"]);
    fillers.iter().for_each(|name| fs::remove_file(name).unwrap());
    disk.assert_holds("HEAD:first.bin", &first);
    disk.document(&["add", "second.bin"]);
    disk.document(&["commit", "-m", "second"]);
    disk.assert_holds("HEAD:second.bin", &noise(2, MIB));
}

#[test]
fn a_database_that_cannot_grow_reads_as_a_full_disk() {
    let Some(disk) = or_skip(Disk::of(120 * MIB, 10_000)) else {
        return;
    };
    let first = noise(1, MIB);
    disk.add("first.bin", &first);
    disk.document(&["commit", "-m", "first"]);
    disk.fill(0);
    // What is stored can still be read.
    disk.assert_holds("HEAD:first.bin", &first);
    disk.has_no_room_for(&["rm", "--cached", "first.bin"]);
    let mut worked = Vec::new();
    for left in [0, 16, 32, 40, 48, 64, 80, 96, 128, 192, 256, 512] {
        disk.fill(left << 10);
        if disk.works_or_has_no_room(&["rm", "--cached", "first.bin"]) {
            worked.push(left);
            disk.make_room();
            disk.document(&["restore", "--staged", "first.bin"]);
        }
        disk.assert_holds("HEAD:first.bin", &first);
    }
    assert!(
        worked.contains(&512) && !worked.contains(&0),
        "it worked with so many KiB: {worked:?}"
    );
    disk.make_room();
    disk.document(&["rm", "--cached", "first.bin"]);
    assert_eq!(disk.document(&["status"])["staged"][0]["change"], "removed");
}

/// With what an amended commit left behind, in packs with what is needed.
fn with_garbage() -> Option<(Disk, Vec<u8>)> {
    let disk = or_skip(Disk::of(140 * MIB, 10_000))?;
    let kept = noise(1, 3 * MIB);
    disk.write("kept.bin", &kept);
    disk.write("large.bin", &noise(2, 6 * MIB));
    disk.document(&["add", "kept.bin", "large.bin"]);
    disk.document(&["commit", "-m", "first"]);
    disk.document(&["rm", "--cached", "large.bin"]);
    fs::remove_file(disk.root.join("large.bin")).unwrap();
    disk.document(&["commit", "--amend", "-m", "without"]);
    Some((disk, kept))
}

#[test]
fn a_collection_loses_nothing_wherever_the_disk_ends() {
    let Some((disk, kept)) = with_garbage() else { return };
    let mut short = 0;
    for left in [0, 8, 32, 48, 64, 96, 128, 256, 1024, 3 * 1024, 10 * 1024] {
        disk.fill(left << 10);
        let arguments = ["gc", "--prune=now"];
        if disk.works_or_has_no_room(&arguments) {
            let again = disk.document(&arguments);
            short += usize::from(!again["shortage"].is_null());
        } else {
            short += 1;
        }
        disk.assert_holds("HEAD:kept.bin", &kept);
    }
    assert!(short > 0, "the disk was never full");
    disk.make_room();
    let before = disk.free();
    let done = disk.document(&["gc", "--prune=now"]);
    assert!(done["shortage"].is_null() && disk.free() > before + 5 * MIB, "{done}");
    disk.assert_holds("HEAD:kept.bin", &kept);
}

#[test]
fn a_repacking_loses_nothing_wherever_the_disk_ends() {
    let Some(disk) = or_skip(Disk::of(140 * MIB, 10_000)) else {
        return;
    };
    let contents: Vec<Vec<u8>> = (1..5).map(|seed| noise(seed, 2 * MIB)).collect();
    for (number, content) in contents.iter().enumerate() {
        disk.add(&format!("{number}.bin"), content);
        disk.document(&["commit", "-m", "one more"]);
    }
    let packs = || fs::read_dir(disk.root.join(".fai/objects")).unwrap().count();
    let before = packs();
    let mut short = 0;
    for left in [0, 8, 32, 64, 128, 1024, 4 * 1024, 8 * 1024, 20 * 1024] {
        disk.fill(left << 10);
        if disk.works_or_has_no_room(&["repack"]) {
            let again = disk.document(&["repack"]);
            short += usize::from(!again["shortage"].is_null());
        } else {
            short += 1;
        }
        disk.assert_holds("HEAD:0.bin", &contents[0]);
    }
    assert!(short > 0 && packs() == before, "the disk was never full");
    disk.make_room();
    disk.document(&["repack"]);
    assert!(packs() < before, "{before} packs");
    for (number, content) in contents.iter().enumerate() {
        disk.assert_holds(&format!("HEAD:{number}.bin"), content);
    }
}
