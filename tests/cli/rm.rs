//! `fai rm`

use crate::support::Sandbox;
use serde_json::json;

#[test]
fn a_file_goes_from_worktree_and_next_commit() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("sub/b", b"2")]);
    assert_eq!(sandbox.ok(&["rm", "sub/b"]), "Removed sub/b\n");
    // The folder that it leaves empty goes as well.
    assert!(!sandbox.exists("sub"));
    assert_eq!(sandbox.staged(), ["removed sub/b"]);
    sandbox.ok(&["commit", "-m", "less"]);
    assert_eq!(sandbox.listed(&["HEAD"]), ["a"]);
    sandbox.assert_clean();
}

#[test]
fn cached_keeps_the_file() {
    let sandbox = Sandbox::with(&[("secret", b"1")]);
    assert_eq!(sandbox.ok(&["rm", "--cached", "secret"]), "Stopped tracking secret\n");
    assert_eq!(sandbox.read("secret"), b"1");
    assert_eq!(sandbox.staged(), ["removed secret"]);
    assert_eq!(sandbox.status("untracked"), ["secret"]);
    // Even with changes: nothing is lost by it.
    let sandbox = Sandbox::with(&[("secret", b"1")]);
    sandbox.write("secret", "2");
    sandbox.ok(&["rm", "--cached", "secret"]);
    assert_eq!(sandbox.read("secret"), b"2");
}

#[test]
fn changes_are_not_thrown_away() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"2")]);
    sandbox.write("a", "changed");
    let problem = sandbox.fails(&["rm", "a", "b"]);
    problem.is("local_changes", &["a"]).hints("--force");
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        (b"changed".to_vec(), b"2".to_vec())
    );
    assert_eq!(sandbox.staged(), [""; 0]);
    // Staged and in no commit is as much in danger.
    sandbox.ok(&["add", "a"]);
    sandbox.fails(&["rm", "a"]).is("local_changes", &["a"]);
    assert_eq!(sandbox.json(&["rm", "--force", "a"]), json!({ "removed": ["a"] }));
    assert!(!sandbox.exists("a"));
}

#[test]
fn folders_need_to_be_meant() {
    let sandbox = Sandbox::with(&[("dir/a", b"1"), ("dir/deep/b", b"2"), ("c", b"3")]);
    sandbox.write("dir/untracked", "mine");
    sandbox
        .fails(&["rm", "dir"])
        .is("wrong_kind", &["dir is a folder", "-r"]);
    assert_eq!(
        sandbox.json(&["rm", "-r", "dir"])["removed"],
        json!(["dir/a", "dir/deep/b"])
    );
    assert_eq!(sandbox.read("dir/untracked"), b"mine");
    assert!(!sandbox.exists("dir/deep"));
}

#[test]
fn a_file_that_is_gone_already_is_only_unstaged() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.remove("a");
    sandbox.ok(&["rm", "a"]);
    assert_eq!(sandbox.staged(), ["removed a"]);
}

#[test]
fn untracked_files_are_left_alone() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("b", "2");
    sandbox.fails(&["rm", "b"]).is("not_found", &["b"]);
    sandbox.fails(&["rm", "--force", "b"]).is("not_found", &["b"]);
    assert_eq!(sandbox.read("b"), b"2");
    sandbox.misused(&["rm"]);
}
