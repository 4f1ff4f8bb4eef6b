//! `fai init`

use crate::support::{Sandbox, assert_fields, text};
use std::fs;

#[test]
fn a_folder_becomes_a_repository() {
    let sandbox = Sandbox::empty();
    assert_eq!(sandbox.ok(&["init"]), "Initialized FAI repository in .fai/\n");
    assert_eq!(
        fs::read_to_string(sandbox.path(".fai/HEAD")).unwrap(),
        "ref: refs/heads/main\n"
    );
    assert_eq!(
        sandbox.ok(&["init"]),
        ".fai/ is a FAI repository already; nothing was changed\n"
    );
}

#[test]
fn the_folder_is_created_when_needed() {
    let sandbox = Sandbox::empty();
    assert_eq!(
        sandbox.ok(&["init", "a/b"]),
        "Initialized FAI repository in a/b/.fai/\n"
    );
    assert_eq!(sandbox.ok(&["-C", "a/b", "ls"]), "");
    // A repository inside of another one is its own.
    sandbox.ok(&["init"]);
    sandbox.write("a/b/file", "inner");
    sandbox.write("outer", "outer");
    assert_eq!(sandbox.status("untracked"), ["a/b/file", "outer"]);
}

#[test]
fn repeating_it_keeps_what_is_there() {
    let sandbox = Sandbox::with(&[("a.txt", b"one")]);
    let document = sandbox.json(&["init"]);
    assert_eq!(document["created"], false);
    assert_eq!(sandbox.listed(&["HEAD"]), ["a.txt"]);
}

#[test]
fn json_says_where() {
    let sandbox = Sandbox::empty();
    let document = sandbox.json(&["init"]);
    assert_fields(&document, &["directory", "worktree", "bare", "created"]);
    assert_eq!(text(&document["directory"]), sandbox.path(".fai").to_str().unwrap());
    assert_eq!(text(&document["worktree"]), sandbox.root().to_str().unwrap());
    assert_eq!((&document["bare"], &document["created"]), (&false.into(), &true.into()));
}

#[test]
fn a_bare_repository_has_no_worktree() {
    let sandbox = Sandbox::empty();
    assert_eq!(
        sandbox.ok(&["init", "--bare", "store.fai"]),
        "Initialized bare FAI repository in store.fai/\n"
    );
    for arguments in [
        &["-C", "store.fai", "add", "-A"][..],
        &["-C", "store.fai", "status"],
        &["-C", "store.fai", "restore", "a"],
        &["-C", "store.fai", "rm", "a"],
        &["-C", "store.fai", "mv", "a", "b"],
    ] {
        let problem = sandbox.fails(arguments);
        problem
            .is("bare_repository", &["needs a worktree", "store.fai"])
            .hints("bare repository");
    }
    assert_eq!(
        sandbox.json(&["init", "--bare", "other"])["worktree"],
        serde_json::Value::Null
    );
}

#[test]
fn a_file_in_the_way_is_named() {
    let sandbox = Sandbox::empty();
    sandbox.write("taken", "a file");
    sandbox.fails(&["init", "taken"]).is("io", &["cannot create", "taken"]);
    assert_eq!(sandbox.read("taken"), b"a file");
}
