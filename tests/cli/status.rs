//! `fai status`

use crate::support::{Sandbox, assert_fields, short, text};
use serde_json::json;

#[test]
fn staged_files_are_shown_with_id_and_size() {
    let sandbox = Sandbox::new();
    sandbox.write("models/bert-base.pt", vec![7; 420_000]);
    sandbox.ok(&["add", "models"]);
    let id = text(&sandbox.json(&["status"])["staged"][0]["id"]);
    let expected = format!(
        "On branch main, without commits yet\nChanges to be committed:\n  models/bert-base.pt ({} - 420KB)\n",
        short(&id)
    );
    assert_eq!(sandbox.ok(&["status"]), expected);
}

#[test]
fn every_kind_of_change_has_its_place() {
    let sandbox = Sandbox::with(&[
        ("changed", b"1"),
        ("deleted", b"2"),
        ("restaged", b"3"),
        ("dropped", b"4"),
        ("same", b"5"),
    ]);
    sandbox.write("changed", "one");
    sandbox.remove("deleted");
    sandbox.write("restaged", "three");
    sandbox.remove("dropped");
    sandbox.ok(&["add", "restaged", "dropped"]);
    sandbox.write("new", "6");
    let document = sandbox.json(&["status"]);
    assert_fields(
        &document,
        &[
            "branch",
            "head",
            "staged",
            "modified",
            "deleted",
            "untracked",
            "conflicts",
        ],
    );
    assert_fields(&document["staged"][0], &["path", "change", "id", "size"]);
    assert_eq!(document["branch"], "main");
    assert_eq!(document["head"], sandbox.json(&["log"])["commits"][0]["id"]);
    assert_eq!(document["modified"], json!(["changed"]));
    assert_eq!(document["deleted"], json!(["deleted"]));
    assert_eq!(document["untracked"], json!(["new"]));
    assert_eq!(document["conflicts"], json!([]));
    assert_eq!(sandbox.staged(), ["removed dropped", "modified restaged"]);

    let said = sandbox.ok(&["status"]);
    for line in [
        "On branch main",
        "Changes to be committed:",
        "Changes not staged (fai add PATH):",
        "  modified: changed",
        "  deleted: deleted",
        "Untracked files (fai add PATH):",
        "  new",
    ] {
        assert!(said.lines().any(|found| found == line), "no line {line:?} in {said}");
    }
    assert!(
        said.contains("  removed: dropped (") && said.contains("  modified: restaged ("),
        "{said}"
    );
}

#[test]
fn a_clean_worktree_says_so() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    assert_eq!(
        sandbox.ok(&["status"]),
        "On branch main\nNothing to commit, worktree clean\n"
    );
    // The same content written again is no change.
    sandbox.write("a", "1");
    sandbox.assert_clean();
}

#[test]
fn an_empty_repository_is_clean() {
    let sandbox = Sandbox::new();
    let document = sandbox.json(&["status"]);
    assert_eq!((&document["branch"], &document["head"]), (&json!("main"), &json!(null)));
    sandbox.assert_clean();
}

#[test]
fn a_detached_head_is_shown() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let id = text(&sandbox.json(&["log"])["commits"][0]["id"]);
    sandbox.ok(&["checkout", "--detach", "main"]);
    assert_eq!(sandbox.json(&["status"])["branch"], json!(null));
    let first = format!("HEAD is detached at {}", short(&id));
    assert_eq!(sandbox.ok(&["status"]).lines().next(), Some(first.as_str()));
}

#[test]
fn a_file_staged_and_changed_again_is_in_both_lists() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("a", "two");
    sandbox.ok(&["add", "a"]);
    sandbox.write("a", "three");
    assert_eq!(sandbox.staged(), ["modified a"]);
    assert_eq!(sandbox.status("modified"), ["a"]);
}

#[test]
fn it_sees_the_whole_repository_from_any_folder() {
    let sandbox = Sandbox::with(&[("a/b", b"1")]);
    sandbox.write("c", "2");
    let document = sandbox.json(&["-C", "a", "status"]);
    assert_eq!(document["untracked"], json!(["c"]));
}
