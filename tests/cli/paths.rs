//! Paths and names that lead out, that other systems would misread, or that cannot be read.

use crate::support::{Sandbox, text};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn paths_outside_are_refused() {
    let sandbox = Sandbox::with(&[("dir/a", b"1")]);
    let out = sandbox.outside().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("x"), "outside").unwrap();
    symlink(&out, sandbox.path("way")).unwrap();
    let absolute = out.join("x").to_str().unwrap().to_owned();
    for path in ["../out/x", "dir/../../out/x", "..", &absolute, "/", "way/x", "way/new"] {
        let problem = sandbox.fails(&["add", path]);
        problem
            .is("bad_path", &["is outside the repository", path])
            .hints("inside the repository");
        sandbox.fails(&["restore", path]).is("bad_path", &[path]);
        sandbox.fails(&["rm", path]).is("bad_path", &[path]);
    }
    // Nothing at all is no name for everything.
    sandbox.misused(&["add", ""]);
    let inside = sandbox.path("dir/a").to_str().unwrap().to_owned();
    sandbox.write("dir/a", "changed");
    for path in ["dir/../dir/a", &inside, "./dir//a"] {
        sandbox.ok(&["add", path]);
    }
    assert_eq!(sandbox.staged(), ["modified dir/a"]);
}

#[test]
fn symbolic_links_are_reported_and_skipped() {
    let sandbox = Sandbox::new();
    sandbox.write("real", "1");
    symlink("real", sandbox.path("link")).unwrap();
    symlink("/etc", sandbox.path("folder")).unwrap();
    symlink("nowhere", sandbox.path("broken")).unwrap();
    let (said, warnings) = sandbox.warned(&["add", "-A"]);
    assert!(said.starts_with("Added real ("), "{said}");
    let mut lines: Vec<&str> = warnings.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["broken", "folder", "link"].map(|name| format!("warning: {name} is a symbolic link and was skipped"))
    );
    assert_eq!(sandbox.listed(&[]), ["real"]);
    let mut symlinks = sandbox.status("symlinks");
    symlinks.sort();
    assert_eq!(symlinks, ["broken", "folder", "link"]);
}

#[test]
fn a_file_that_became_a_link_is_gone() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"2")]);
    sandbox.remove("a");
    symlink("b", sandbox.path("a")).unwrap();
    assert_eq!(sandbox.status("deleted"), ["a"]);
    sandbox.warned(&["add", "-A"]);
    assert_eq!(sandbox.staged(), ["removed a"]);
    // The link was not followed when the file comes back in its place.
    sandbox.ok(&["restore", "--staged", "a"]);
    sandbox.ok(&["restore", "a"]);
    assert_eq!((sandbox.read("a"), sandbox.read("b")), (b"1".to_vec(), b"2".to_vec()));
    assert!(!sandbox.path("a").is_symlink());
}

/// A folder that was moved to a larger disk and linked back.
fn moved_away() -> Sandbox {
    let sandbox = Sandbox::with(&[("top", b"0")]);
    sandbox.write("models/a", "1");
    sandbox.write("models/b", "2");
    sandbox.commit("models");
    let large = sandbox.outside().join("large");
    fs::rename(sandbox.path("models"), &large).unwrap();
    symlink(&large, sandbox.path("models")).unwrap();
    sandbox
}

#[test]
fn nothing_is_seen_or_removed_through_a_link() {
    let sandbox = moved_away();
    let large = sandbox.outside().join("large");
    assert_eq!(sandbox.status("deleted"), ["models/a", "models/b"]);
    for arguments in [
        &["checkout", "HEAD~1"][..],
        &["checkout", "--force", "main"],
        &["rm", "-r", "models"],
        &["rm", "-rf", "models"],
        &["restore", "models"],
        &["restore", "--source", "HEAD~1", "models"],
    ] {
        let _ = sandbox.run(arguments);
        assert_eq!(fs::read(large.join("a")).unwrap(), b"1", "{arguments:?}");
        assert_eq!(fs::read(large.join("b")).unwrap(), b"2", "{arguments:?}");
        assert_eq!(fs::read_dir(&large).unwrap().count(), 2, "{arguments:?}");
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let sandbox = moved_away();
    let large = sandbox.outside().join("large");
    for name in ["a", "b"] {
        fs::remove_file(large.join(name)).unwrap();
    }
    let problem = sandbox.fails(&["restore", "models"]);
    problem.is("wrong_kind", &["models is a symbolic link"]);
    sandbox
        .fails(&["checkout", "HEAD"])
        .is("wrong_kind", &["models is a symbolic link"]);
    assert_eq!(fs::read_dir(&large).unwrap().count(), 0);
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("good", "1");
    let bad = sandbox.root().join(OsStr::from_bytes(b"b\xffd"));
    fs::write(&bad, "2").unwrap();
    let output = sandbox.run(&["add", "-A"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is not valid UTF-8"), "{said}");
    // Everything else was added.
    assert_eq!(sandbox.staged_quietly(), ["added good"]);
    let named = sandbox
        .command(&["add"])
        .arg(OsStr::from_bytes(b"b\xffd"))
        .output()
        .unwrap();
    assert_eq!(named.status.code(), Some(1));
    let said = String::from_utf8(named.stderr).unwrap();
    assert!(said.starts_with("error: ") && said.contains("is not valid UTF-8") && said.contains("hint: rename it"));
}

#[test]
fn names_that_other_systems_misread_are_refused() {
    for name in [
        "con.txt",
        "NUL",
        "trailing.",
        "space ",
        "back\\slash",
        "tab\t",
        ".GIT",
        "git~1",
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("good", "1");
        sandbox.write(name, "2");
        let problem = sandbox.fails(&["add", name]);
        problem.is("bad_path", &["is refused: it "]).hints("rename");
        let output = sandbox.run(&["add", "-A", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["files"][0]["path"], "good");
        assert_eq!(document["refused"].as_array().unwrap().len(), 1, "{document}");
        let refusal = &document["refused"][0];
        assert_eq!(refusal["kind"], "bad_path");
        assert!(text(&refusal["message"]).contains("is refused: it "), "{document}");
        assert!(text(&refusal["hint"]).contains("rename"), "{document}");
        assert_eq!(sandbox.staged_quietly(), ["added good"]);
    }
}

#[test]
fn a_refused_folder_is_named_once() {
    let sandbox = Sandbox::new();
    for index in 0..10 {
        sandbox.write(&format!("aux/{index}"), "x");
    }
    let output = sandbox.run(&["add", "."]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("warning: ").count(), 1, "{said}");
}

#[test]
fn names_that_fall_together_elsewhere_are_refused() {
    let sandbox = Sandbox::new();
    for name in ["Readme", "README"] {
        sandbox.write(name, name);
    }
    if sandbox.read("Readme") == b"README" {
        return; // This file system folds names itself: there is only one.
    }
    sandbox.ok(&["add", "-A"]);
    let problem = sandbox.fails(&["commit", "-m", "both"]);
    problem
        .is("bad_path", &["Readme", "the same name on some systems"])
        .hints("rename");
    sandbox.ok(&["rm", "--cached", "README"]);
    sandbox.ok(&["commit", "-m", "one"]);
}

#[test]
fn the_repositorys_own_files_are_out_of_reach() {
    let sandbox = Sandbox::new();
    for path in [".fai/HEAD", ".fai", ".fai/objects"] {
        sandbox.fails(&["add", "--force", path]).is("bad_path", &["reserved"]);
    }
    assert_eq!(sandbox.json(&["add", "-A", "--force"])["files"], json!([]));
}

#[test]
fn unreadable_files_are_named_and_the_others_added() {
    let sandbox = Sandbox::new();
    for path in ["good", "locked", "dir/inside"] {
        sandbox.write(path, path);
    }
    let lock = |path: &str, mode| fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(mode)).unwrap();
    lock("locked", 0);
    if fs::read(sandbox.path("locked")).is_ok() {
        return; // The superuser reads everything.
    }
    lock("dir", 0);
    let output = sandbox.run(&["add", "."]);
    lock("dir", 0o755);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("locked") && said.contains("dir") && said.contains("denied"),
        "{said}"
    );
    assert_eq!(sandbox.staged(), ["added good"]);
    sandbox
        .fails(&["add", "locked"])
        .is("io", &["cannot read", "locked", "denied"]);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.write("good", "1");
    let status = std::process::Command::new("mkfifo")
        .arg(sandbox.path("pipe"))
        .status()
        .unwrap();
    assert!(status.success());
    sandbox.ok(&["add", "-A"]);
    assert_eq!(sandbox.listed(&[]), ["good"]);
    sandbox.fails(&["add", "pipe"]).is("wrong_kind", &["pipe"]);
}

impl Sandbox {
    /// Staged changes where `status` has something to warn of.
    #[track_caller]
    fn staged_quietly(&self) -> Vec<String> {
        let (out, _) = self.warned(&["status", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let staged = document["staged"].as_array().unwrap().iter();
        staged
            .map(|entry| format!("{} {}", text(&entry["change"]), text(&entry["path"])))
            .collect()
    }
}
