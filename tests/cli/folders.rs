//! Cloning from, pulling from and pushing to repositories in folders of this machine.

use std::fs;
use std::path::{Path, PathBuf};

use fai_testkit::noise;
use serde_json::Value;

use crate::support::{Sandbox, files_below, text};

fn owner() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("model.bin", &noise(1, 3_000_000)),
        ("docs/readme.md", b"# A model\n"),
        ("empty", b""),
    ]);
    sandbox.set_executable("docs/readme.md", true);
    sandbox.commit("second");
    sandbox
}

/// Clones the sandbox's repository into `clone` beside it.
#[track_caller]
fn cloned(owner: &Sandbox) -> (PathBuf, Value) {
    let folder = owner.outside().join("clone");
    let report = owner.json(&["clone", ".", "../clone"]);
    (folder, report)
}

/// A command inside the clone.
#[track_caller]
fn inside(owner: &Sandbox, arguments: &[&str]) -> Value {
    owner.json(&[&["-C", "../clone"], arguments].concat())
}

/// Runs a command that says that it begins, and then fails: what it says of that.
#[track_caller]
fn fails_midway(owner: &Sandbox, arguments: &[&str], kind: &str) -> (String, String) {
    let output = owner.run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], kind, "{error}");
    let hint = error["error"]["hint"].as_str().unwrap_or_default();
    (text(&error["error"]["message"]), hint.to_owned())
}

#[track_caller]
fn assert_sound(owner: &Sandbox, folder: &str) {
    let report = owner.json(&["-C", folder, "fsck", "--full"]);
    assert_eq!(report["problems"], serde_json::json!([]), "{report}");
}

#[test]
fn a_copy_of_a_folder_has_every_byte_and_remembers_its_origin() {
    let owner = owner();
    let (folder, report) = cloned(&owner);
    assert_eq!(
        (&report["commits"], &report["files"], &report["folder"]),
        (&2.into(), &3.into(), &owner.root().to_str().unwrap().into()),
        "{report}"
    );
    assert!(report["wire_bytes"].as_u64().unwrap() > 3_000_000, "{report}");
    assert_eq!(files_below(&folder), files_below(&owner.root()));
    assert_eq!(
        inside(&owner, &["log"])["commits"][0]["id"],
        owner.json(&["log"])["commits"][0]["id"]
    );
    assert_eq!(inside(&owner, &["status"])["modified"], serde_json::json!([]));
    assert_sound(&owner, "../clone");
    assert_eq!(
        text(&inside(&owner, &["remote", "list"])["remotes"][0]["source"]),
        owner.root().to_str().unwrap()
    );
    // The same folder, however it is written, and wherever one stands.
    owner.write("docs/more.md", b"more\n");
    owner.commit("third");
    assert_eq!(inside(&owner, &["pull"])["commits"], 1);
    owner.write("docs/most.md", b"most\n");
    owner.commit("fourth");
    let pulled = inside(&owner, &["pull", "../repo"]);
    assert_eq!((&pulled["commits"], &pulled["files"]), (&1.into(), &1.into()));
    assert!(
        pulled["wire_bytes"].as_u64().unwrap() < 2_000,
        "only what is missing is copied: {pulled}"
    );
    assert_eq!(files_below(&folder), files_below(&owner.root()));
    assert_eq!(inside(&owner, &["pull"])["commits"], 0);
    assert_sound(&owner, "../clone");
}

#[test]
fn a_bare_folder_takes_pushes_and_gives_them_again() {
    let owner = owner();
    owner.ok(&["init", "--bare", "../shared"]);
    let pushed = owner.json(&["push", "../shared"]);
    assert_eq!(pushed["commits"], 2, "{pushed}");
    assert!(pushed["wire_bytes"].as_u64().unwrap() > 2_000_000, "{pushed}");
    assert!(text(&pushed["folder"]).ends_with("/shared"), "{pushed}");
    let nothing = owner.json(&["push", "../shared"]);
    assert_eq!((&nothing["commits"], &nothing["wire_bytes"]), (&0.into(), &0.into()));
    owner.write("more", b"more");
    owner.commit("third");
    assert_eq!(
        owner.json(&["push", "../shared"])["commits"],
        1,
        "it is a copy by now, and takes more"
    );
    let said = owner.ok(&["clone", "../shared", "../clone"]);
    assert!(
        said.contains("Copied 4 files (3MB)") && said.contains("MB copied"),
        "{said}"
    );
    assert_eq!(files_below(&owner.outside().join("clone")), files_below(&owner.root()));
    for folder in ["../shared", "../clone"] {
        assert_sound(&owner, folder);
    }
}

#[test]
fn a_push_moves_files_of_a_clean_branch_and_refuses_others() {
    let owner = owner();
    let (folder, _) = cloned(&owner);
    fs::write(folder.join("theirs"), b"theirs").unwrap();
    inside(&owner, &["add", "-A"]);
    inside(&owner, &["commit", "-m", "theirs"]);
    owner.write("theirs", b"in the way");
    let (refusal, _) = fails_midway(&owner, &["-C", "../clone", "push"], "unclean");
    assert!(refusal.contains("theirs"), "{refusal}");
    assert_eq!(owner.read("theirs"), b"in the way");
    owner.remove("theirs");
    assert_eq!(inside(&owner, &["push"])["commits"], 1);
    assert_eq!(files_below(&folder), files_below(&owner.root()), "the files follow");
    owner.assert_clean();
    owner.assert_sound();

    owner.write("ours", b"ours");
    let ours = owner.commit("ours");
    fs::write(folder.join("other"), b"other").unwrap();
    inside(&owner, &["add", "-A"]);
    inside(&owner, &["commit", "-m", "other"]);
    owner.fails(&["-C", "../clone", "push"]).is("diverged", &["main"]);
    owner.fails(&["-C", "../clone", "pull"]).is("diverged", &["main"]);
    inside(&owner, &["push", "--force-with-lease"]);
    assert!(owner.exists("other") && !owner.exists("ours"));
    owner.ok(&["show", &ours]);
    owner.assert_sound();
}

#[test]
fn histories_that_have_parted_are_joined_as_the_hint_says() {
    let owner = owner();
    let (folder, _) = cloned(&owner);
    owner.write("ours", b"ours");
    owner.commit("ours");
    fs::write(folder.join("other"), b"other").unwrap();
    inside(&owner, &["add", "-A"]);
    inside(&owner, &["commit", "-m", "other"]);
    let hint = owner.fails(&["-C", "../clone", "pull"]).hint.unwrap();
    let (_, rest) = hint.split_once("`fai merge ").expect(&hint);
    let (id, _) = rest.split_once('`').unwrap();
    inside(&owner, &["merge", id]);
    assert!(folder.join("ours").exists() && folder.join("other").exists());
    inside(&owner, &["push"]);
    assert!(owner.exists("other"));
    assert_eq!(inside(&owner, &["pull"])["commits"], 0);
    owner.assert_sound();
}

/// Flips a byte in the middle of the largest pack, which is inside a chunk.
fn damage(repository: &Path) -> PathBuf {
    let packs = fs::read_dir(repository.join(".fai/objects")).unwrap();
    let packs = packs.map(|entry| entry.unwrap().path());
    let path = packs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_is_damaged_is_not_copied_and_the_damage_is_named() {
    let owner = owner();
    let pack = damage(&owner.root());
    let (message, hint) = fails_midway(&owner, &["clone", ".", "../clone"], "damaged");
    for named in [owner.root().to_str().unwrap(), pack.to_str().unwrap(), "chunk"] {
        assert!(message.contains(named), "{named} in {message}");
    }
    assert!(hint.contains("fsck --full"), "{hint}");
    let clone = owner.outside().join("clone");
    assert_eq!(files_below(&clone), [], "nothing of it appears");
    owner.fails(&["-C", "../clone", "log"]).is("no_commits", &[]);
    assert_sound(&owner, "../clone");

    // What is missing altogether is named, too; and what came before is kept for when the folder is whole again.
    let mut bytes = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    let output = owner.run(&["clone", ".", "../clone", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let (clone, _) = cloned(&owner);
    assert_eq!(files_below(&clone), files_below(&owner.root()));
    assert_sound(&owner, "../clone");
}

#[test]
fn a_damaged_repository_cannot_be_pushed_from() {
    let owner = owner();
    owner.ok(&["init", "--bare", "../shared"]);
    damage(&owner.root());
    let (message, _) = fails_midway(&owner, &["push", "../shared"], "damaged");
    assert!(message.contains("chunk"), "{message}");
    owner.fails(&["-C", "../shared", "log"]).is("no_commits", &[]);
}

#[test]
fn folders_that_are_something_else_are_named() {
    let owner = owner();
    fs::create_dir(owner.outside().join("plain")).unwrap();
    owner
        .fails(&["clone", "../plain", "../clone"])
        .is("not_a_repository", &["plain"]);
    owner.ok(&["init", "../other"]);
    fs::write(owner.outside().join("other/file"), b"other").unwrap();
    owner.ok(&["-C", "../other", "add", "-A"]);
    owner.ok(&["-C", "../other", "commit", "-m", "other"]);
    owner.fails(&["pull", "../other"]).is("other_repository", &["other"]);
    owner.fails(&["push", "../other"]).is("other_repository", &["other"]);
    owner.fails(&["clone", ".", "../other"]);
    // Pulling from and pushing to itself changes nothing.
    assert_eq!(owner.json(&["pull", "."])["commits"], 0);
    assert_eq!(owner.json(&["push", "."])["commits"], 0);
    owner.assert_clean();
    owner.assert_sound();
}

#[test]
fn a_remembered_folder_means_the_same_everywhere() {
    let owner = owner();
    owner.ok(&["init", "--bare", "../shared"]);
    owner.ok(&["remote", "add", "usb", "../shared"]);
    assert_eq!(owner.json(&["-C", "docs", "push", "usb"])["commits"], 2);
    owner.fails(&["remote", "add", "gone", "../nowhere"]);
}
