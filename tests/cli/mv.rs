//! `fai mv`

use crate::support::Sandbox;
use serde_json::json;

#[test]
fn a_file_gets_a_new_name() {
    let sandbox = Sandbox::with(&[("model.pt", b"weights")]);
    assert_eq!(
        sandbox.ok(&["mv", "model.pt", "models/base.pt"]),
        "Renamed model.pt to models/base.pt\n"
    );
    assert!(!sandbox.exists("model.pt"));
    assert_eq!(sandbox.read("models/base.pt"), b"weights");
    assert_eq!(sandbox.staged(), ["removed model.pt", "added models/base.pt"]);
    sandbox.ok(&["commit", "-m", "renamed"]);
    assert_eq!(sandbox.listed(&["HEAD"]), ["models/base.pt"]);
    sandbox.assert_clean();
}

#[test]
fn a_folder_moves_with_everything_in_it() {
    let sandbox = Sandbox::with(&[("old/a", b"1"), ("old/deep/b", b"2")]);
    sandbox.write("old/untracked", "3");
    let document = sandbox.json(&["mv", "old", "new"]);
    assert_eq!(
        document,
        json!({ "renamed": [
            { "from": "old/a", "to": "new/a" },
            { "from": "old/deep/b", "to": "new/deep/b" },
        ] })
    );
    assert_eq!(sandbox.read("new/untracked"), b"3");
    assert!(!sandbox.exists("old"));
    sandbox.ok(&["commit", "-m", "renamed"]);
    assert_eq!(sandbox.listed(&["HEAD"]), ["new/a", "new/deep/b"]);
}

#[test]
fn into_a_folder_that_is_there() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("dir/b", b"2"), ("other/c", b"3")]);
    sandbox.ok(&["mv", "a", "dir"]);
    assert_eq!(sandbox.read("dir/a"), b"1");
    sandbox.ok(&["mv", "other", "dir/"]);
    assert_eq!(sandbox.read("dir/other/c"), b"3");
    assert_eq!(sandbox.listed(&[]), ["dir/a", "dir/b", "dir/other/c"]);
}

#[test]
fn back_again_is_no_change() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.ok(&["mv", "a", "b"]);
    sandbox.ok(&["mv", "b", "a"]);
    sandbox.assert_clean();
}

#[test]
fn changes_move_along_unstaged() {
    let sandbox = Sandbox::with(&[("a", b"one")]);
    sandbox.write("a", "two");
    sandbox.ok(&["mv", "a", "b"]);
    assert_eq!(sandbox.read("b"), b"two");
    assert_eq!(sandbox.status("modified"), ["b"]);
    assert_eq!(sandbox.bytes(&["cat", "b"]), b"one");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"2")]);
    sandbox
        .fails(&["mv", "a", "b"])
        .is("local_changes", &["b"])
        .hints("--force");
    sandbox.write("untracked", "3");
    sandbox
        .fails(&["mv", "a", "untracked"])
        .is("local_changes", &["untracked"]);
    assert_eq!((sandbox.read("a"), sandbox.read("b")), (b"1".to_vec(), b"2".to_vec()));
    sandbox.ok(&["mv", "--force", "a", "b"]);
    assert_eq!(sandbox.read("b"), b"1");
    assert_eq!(sandbox.listed(&[]), ["b"]);
}

#[test]
fn what_is_evicted_stays_away_where_something_stood() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"2")]);
    sandbox.ok(&["add", "--evict", "a"]);
    sandbox.ok(&["mv", "--force", "a", "b"]);
    assert!(!sandbox.exists("a") && !sandbox.exists("b"));
    assert_eq!(sandbox.bytes(&["cat", "b"]), b"1");
    assert_eq!(
        (sandbox.status("modified").len(), sandbox.status("deleted").len()),
        (0, 0)
    );
    sandbox.ok(&["undo"]);
    assert_eq!(sandbox.read("b"), b"2");
    sandbox.ok(&["redo"]);
    assert!(!sandbox.exists("b"));
    sandbox.ok(&["restore", "b"]);
    assert_eq!(sandbox.read("b"), b"1");
    sandbox.assert_sound();
}

#[test]
fn what_cannot_be_moved_is_named() {
    let sandbox = Sandbox::with(&[("dir/a", b"1")]);
    sandbox.write("untracked", "x");
    sandbox.fails(&["mv", "untracked", "b"]).is("not_found", &["untracked"]);
    sandbox.fails(&["mv", "nosuch", "b"]).is("not_found", &["nosuch"]);
    sandbox
        .fails(&["mv", "dir/a", "../out"])
        .is("bad_path", &["../out", "outside"]);
    sandbox.fails(&["mv", "dir/a", "con"]).is("bad_path", &["con"]);
    sandbox
        .fails_with(2, &["mv", "dir", "dir/inside"])
        .is("usage", &["dir cannot be moved into itself"]);
    assert_eq!(sandbox.read("dir/a"), b"1");
    sandbox.assert_clean_but_for("untracked");
}

impl Sandbox {
    #[track_caller]
    fn assert_clean_but_for(&self, untracked: &str) {
        assert_eq!(self.status("untracked"), [untracked]);
        assert_eq!((self.staged().len(), self.status("modified").len()), (0, 0));
        assert_eq!(self.status("deleted").len(), 0);
    }
}
