//! `fai restore`

use crate::support::Sandbox;
use serde_json::json;

#[test]
fn the_worktree_is_brought_back() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("sub/b", b"2")]);
    sandbox.write("a", "changed");
    sandbox.remove("sub/b");
    assert_eq!(sandbox.ok(&["restore", "a"]), "Restored a\n");
    assert_eq!(sandbox.read("a"), b"1");
    assert!(!sandbox.exists("sub/b"));
    assert_eq!(sandbox.json(&["restore", "."]), json!({ "restored": ["sub/b"] }));
    assert_eq!(sandbox.read("sub/b"), b"2");
    sandbox.assert_clean();
}

#[test]
fn what_is_staged_is_what_comes_back() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("a", "staged");
    sandbox.ok(&["add", "a"]);
    sandbox.write("a", "later");
    sandbox.ok(&["restore", "a"]);
    assert_eq!(sandbox.read("a"), b"staged");
    assert_eq!(sandbox.staged(), ["modified a"]);
}

#[test]
fn staging_is_undone_without_touching_the_worktree() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("gone", b"2")]);
    sandbox.write("a", "changed");
    sandbox.write("new", "3");
    sandbox.remove("gone");
    sandbox.ok(&["add", "-A"]);
    sandbox.ok(&["restore", "--staged", "."]);
    assert_eq!(sandbox.staged(), [""; 0]);
    assert_eq!(sandbox.status("modified"), ["a"]);
    assert_eq!(sandbox.status("deleted"), ["gone"]);
    assert_eq!(sandbox.status("untracked"), ["new"]);
    assert_eq!(sandbox.read("a"), b"changed");
}

#[test]
fn both_at_once() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("a", "changed");
    sandbox.ok(&["add", "a"]);
    sandbox.ok(&["restore", "--staged", "--worktree", "a"]);
    sandbox.assert_clean();
    assert_eq!(sandbox.read("a"), b"1");
}

#[test]
fn from_an_older_version() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"old")]);
    sandbox.write("a", "2");
    sandbox.commit("second");
    sandbox.ok(&["restore", "--source", "HEAD~1", "a"]);
    assert_eq!(sandbox.read("a"), b"1");
    assert_eq!(sandbox.status("modified"), ["a"]);
    sandbox.ok(&["restore", "--source", "HEAD~1", "--staged", "a"]);
    assert_eq!(sandbox.staged(), ["modified a"]);
    assert_eq!(sandbox.bytes(&["cat", "a"]), b"1");
}

#[test]
fn files_that_the_source_does_not_have_are_removed() {
    let sandbox = Sandbox::with(&[("dir/a", b"1")]);
    sandbox.write("dir/b", "2");
    sandbox.commit("second");
    sandbox.ok(&["restore", "--source", "HEAD~1", "dir"]);
    assert!(sandbox.exists("dir/a") && !sandbox.exists("dir/b"));
    sandbox.ok(&["restore", "dir"]);
    assert_eq!(sandbox.read("dir/b"), b"2");
    sandbox.assert_clean();
}

#[test]
fn untracked_files_are_never_touched() {
    let sandbox = Sandbox::with(&[("dir/a", b"1")]);
    sandbox.write("dir/mine", "precious");
    sandbox.remove("dir/a");
    sandbox.ok(&["restore", "dir"]);
    assert_eq!(
        (sandbox.read("dir/a"), sandbox.read("dir/mine")),
        (b"1".to_vec(), b"precious".to_vec())
    );
}

#[test]
fn what_it_cannot_find_is_named() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("untracked", "x");
    sandbox.fails(&["restore", "untracked"]).is("not_found", &["untracked"]);
    sandbox
        .fails(&["restore", "--source", "nosuch", "a"])
        .is("unknown_revision", &["nosuch"]);
    sandbox.misused(&["restore"]);
    assert_eq!(sandbox.read("untracked"), b"x");
}
