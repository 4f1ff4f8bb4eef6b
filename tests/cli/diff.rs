//! `fai diff` and `fai show`

use crate::support::{Sandbox, assert_fields, short, text};
use fai_testkit::{DType, Tensor, safetensors};
use serde_json::json;

/// Two tensors, the second made from `seed`.
fn model(seed: u64) -> Vec<u8> {
    let tensors = [
        Tensor::new("same", DType::Bf16, &[300, 200], 1),
        Tensor::new("tuned", DType::Bf16, &[300, 200], seed),
    ];
    safetensors::write(&tensors)
}

#[test]
fn two_commits_are_compared_by_file_and_tensor() {
    let sandbox = Sandbox::with(&[
        ("model.safetensors", &model(2)),
        ("notes.txt", b"one\n"),
        ("old.txt", b"gone\n"),
    ]);
    sandbox.write("model.safetensors", model(3));
    sandbox.write("new.txt", "fresh, and unlike the others\n");
    sandbox.remove("old.txt");
    sandbox.commit("second");
    let document = sandbox.json(&["diff", "HEAD~1", "HEAD"]);
    assert_fields(&document, &["added", "removed", "modified", "renamed", "summary"]);
    assert_eq!(document["added"][0]["path"], "new.txt");
    assert_eq!(document["removed"][0]["path"], "old.txt");
    let changed = &document["modified"][0];
    assert_eq!(changed["path"], "model.safetensors");
    assert_eq!(
        (&changed["tensors"]["changed"], &changed["tensors"]["unchanged"]),
        (&json!(["tuned"]), &json!(1))
    );
    assert_ne!(changed["old"]["id"], changed["new"]["id"]);

    let shown = sandbox.ok(&["diff", "HEAD~1", "HEAD"]);
    for line in [
        "Comparing commits:",
        "Added files (1):",
        "Removed files (1):",
        "1 of 2 tensors changed",
        "~ tuned",
    ] {
        assert!(shown.contains(line), "{line} is missing from:\n{shown}");
    }
}

#[test]
fn text_is_compared_line_by_line() {
    let sandbox = Sandbox::with(&[("notes.txt", b"one\ntwo\nthree\n")]);
    sandbox.write("notes.txt", "one\n2\nthree\n");
    let shown = sandbox.ok(&["diff"]);
    assert!(shown.contains("-two\n+2\n three\n"), "{shown}");
    sandbox.ok(&["add", "notes.txt"]);
    assert_eq!(sandbox.ok(&["diff"]), "No differences\n");
    assert!(sandbox.ok(&["diff", "--staged"]).contains("+2"));
    assert!(!sandbox.ok(&["diff", "--staged", "--stat"]).contains("+2"));
}

#[test]
fn a_renamed_file_is_one_change() {
    let sandbox = Sandbox::with(&[("model.safetensors", &model(2))]);
    sandbox.ok(&["mv", "model.safetensors", "models/base.safetensors"]);
    let document = sandbox.json(&["diff", "--staged"]);
    let renamed = &document["renamed"][0];
    assert_eq!(
        (&renamed["old_path"], &renamed["path"]),
        (&json!("model.safetensors"), &json!("models/base.safetensors"))
    );
    assert_eq!((&document["added"], &document["removed"]), (&json!([]), &json!([])));
}

#[test]
fn unknown_words_are_named() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.fails(&["diff", "nowhere"]).is("unknown_revision", &["nowhere"]);
    assert_eq!(sandbox.ok(&["diff", "HEAD", "a"]), "No differences\n");
}

#[test]
fn show_tells_who_why_and_what_changed() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("b", "2");
    let id = sandbox.commit("second");
    let shown = sandbox.ok(&["show"]);
    assert!(shown.starts_with(&format!("commit {}", short(&id))), "{shown}");
    assert!(
        shown.contains("second") && shown.contains("Added files (1):") && shown.contains("  b ("),
        "{shown}"
    );
    let first = sandbox.json(&["show", "HEAD~1"]);
    assert_eq!(
        (text(&first["message"]), &first["changes"]["added"][0]["path"]),
        ("first".to_owned(), &json!("a"))
    );
}
