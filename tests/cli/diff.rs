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

#[test]
fn settings_are_compared_key_by_key() {
    let before = json!({"hidden_size": 768, "rope": {"theta": 1e4, "factors": [1, 2]}, "old": true});
    let after = json!({"hidden_size": 1024, "rope": {"theta": 1e4, "factors": [1, 3]}, "new": "x\u{1b}"});
    let sandbox = Sandbox::with(&[
        ("config.json", before.to_string().as_bytes()),
        ("params.yaml", b"lr: 0.1\nlayers:\n- 1\n"),
        ("broken.json", b"{\"a\": 1}\n"),
        ("spaces.json", b"{\"a\": 1}\n"),
    ]);
    sandbox.write("config.json", after.to_string());
    sandbox.write("params.yaml", "layers: [1, 2]\nlr: 0.01\n");
    sandbox.write("broken.json", "{\"a\": 2\n");
    sandbox.write("spaces.json", "{\"a\":  1}\n");
    let shown = sandbox.ok(&["diff"]);
    for line in [
        "--- config.json\n+++ config.json\n  hidden_size: 768 -> 1024\n  rope.factors[1]: 2 -> 3\n- old: true\n+ new: \"x\\u001b\"\n",
        "  lr: 0.1 -> 0.01\n+ layers[1]: 2\n",
        "-{\"a\": 1}\n+{\"a\": 2\n",
        "-{\"a\": 1}\n+{\"a\":  1}\n",
    ] {
        assert!(shown.contains(line), "{line} is missing from:\n{shown}");
    }
}

#[test]
fn data_sets_are_compared_by_columns_and_rows() {
    let long = |rows: usize| format!("id,text\n{}", "1,\"two\nlines\"\n".repeat(rows));
    let sandbox = Sandbox::with(&[("a.csv", b"id,text\n1,x\n"), ("long.csv", long(100_000).as_bytes())]);
    sandbox.write("a.csv", "id,text,label\n1,x,0\n2,y,1\n");
    sandbox.write("long.csv", long(100_001));
    let shown = sandbox.ok(&["diff"]);
    for line in [
        "1 -> 2 rows, 2 -> 3 columns",
        "+ columns label",
        "100000 -> 100001 rows, the same 2 columns",
    ] {
        assert!(shown.contains(line), "{line} is missing from:\n{shown}");
    }
    let document = sandbox.json(&["diff"]);
    assert_eq!(
        document["modified"][0]["table"]["new"],
        json!({"columns": ["id", "text", "label"], "rows": 2})
    );
}

#[test]
fn other_files_tell_how_much_stayed() {
    let old = [fai_testkit::noise(1, 2 << 20), fai_testkit::noise(2, 1 << 20)].concat();
    let new = [fai_testkit::noise(1, 2 << 20), fai_testkit::noise(3, 1 << 20)].concat();
    let sandbox = Sandbox::with(&[("blob.bin", &old), ("notes.txt", b"1\n2\n")]);
    sandbox.write("blob.bin", new);
    sandbox.write("notes.txt", "1\n3\n4\n");
    sandbox.ok(&["add", "-A"]);
    let shown = sandbox.ok(&["diff", "--staged"]);
    assert!(
        shown.contains("      as before: ") && shown.contains(" chunks\n"),
        "{shown}"
    );
    let document = sandbox.json(&["diff", "--staged"]);
    let shared = document["modified"][0]["shared_bytes"].as_u64().unwrap();
    assert!(((1 << 20)..=(2 << 20)).contains(&shared), "{shared}");
    let stat = sandbox.ok(&["diff", "--staged", "--stat"]);
    assert_eq!(
        stat,
        " blob.bin  | Bin 3.1MB -> 3.1MB\n notes.txt | 3 ++-\nSummary: Modified: 2 files, Size: +2B\n"
    );
}
