//! `fai lineage`, and what `commit` records for it

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Sandbox, text};
use serde_json::json;

/// A base model, and a fine-tune of it on tracked data.
fn tuned() -> (Sandbox, String, String) {
    let sandbox = Sandbox::new();
    sandbox.write("base.bin", "weights");
    sandbox.ok(&["add", "-A"]);
    let arguments = ["commit", "-m", "Base model", "--dataset", "https://example.org/corpus"];
    let base = text(&sandbox.json(&arguments)["id"]);
    sandbox.write("data/train.txt", "words");
    sandbox.commit("Data");
    sandbox.write("tuned.bin", "weights and more");
    sandbox.ok(&["add", "-A"]);
    let arguments = [
        "commit",
        "-m",
        "Fine-tune",
        "--base-model",
        "HEAD~1:base.bin",
        "--dataset",
        "data/train.txt",
        "--dataset",
        "data",
    ];
    let tuned = text(&sandbox.json(&arguments)["id"]);
    (sandbox, base, tuned)
}

#[test]
fn a_tree_of_bases_and_data() {
    let (sandbox, base, tuned) = tuned();
    insta::assert_snapshot!(sandbox.ok(&["lineage"]));
    let document = sandbox.json(&["lineage"]);
    assert_eq!(document["commit"], json!(tuned));
    assert_eq!(document["base_model"]["lineage"]["commit"], json!(base));
    assert_eq!(
        document["base_model"]["lineage"]["datasets"][0]["text"],
        "https://example.org/corpus"
    );
    assert_eq!(document["datasets"][0]["path"], "data/train.txt");
    // Names mean what they meant when the commit was made.
    sandbox.write("other", "1");
    sandbox.commit("Later");
    assert_eq!(sandbox.json(&["lineage", "HEAD~1"]), document);
    assert_eq!(sandbox.json(&["lineage", "HEAD", "tuned.bin"]), document);
    assert_eq!(sandbox.json(&["lineage", "HEAD", "base.bin"])["commit"], json!(base));
    sandbox
        .fails(&["lineage", "HEAD", "nosuch"])
        .is("not_found", &["nosuch"]);
}

#[test]
fn ascii_where_nothing_else_is_shown() {
    let (sandbox, ..) = tuned();
    let output = sandbox.command(&["lineage"]).env("LANG", "C").output().unwrap();
    assert!(output.stdout.is_ascii());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("|- base model: HEAD~1:base.bin")
    );
}

#[test]
fn free_text_stays_text_and_circles_end() {
    let sandbox = Sandbox::new();
    sandbox.write("m.bin", "1");
    sandbox.ok(&["add", "-A"]);
    sandbox.ok(&["commit", "-m", "one", "--base-model", "main:m.bin"]);
    // It names nothing yet, and itself from now on.
    let document = sandbox.json(&["lineage"]);
    assert_eq!(document["base_model"]["from"], "same_commit");
    sandbox.write("m.bin", "2");
    sandbox.ok(&["add", "-A"]);
    sandbox.ok(&[
        "commit",
        "-m",
        "two",
        "--base-model",
        "org/model-7B",
        "--dataset",
        "no such: path",
    ]);
    let document = sandbox.json(&["lineage"]);
    assert_eq!(
        (&document["base_model"]["from"], &document["base_model"]["text"]),
        (&json!("elsewhere"), &json!("org/model-7B"))
    );
    assert_eq!(document["datasets"][0]["text"], "no such: path");
    // Now the first one's base is the second commit: still an end.
    assert_eq!(sandbox.json(&["lineage", "HEAD~1"])["base_model"]["from"], "commit");
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .output()
        .ok()?;
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[track_caller]
fn code_of_a_commit(sandbox: &Sandbox, content: &str) -> serde_json::Value {
    sandbox.write("m.bin", content);
    sandbox.ok(&["add", "m.bin"]);
    sandbox.json(&["commit", "-m", content])["code"].clone()
}

#[test]
fn the_commit_of_a_git_repository_is_recorded() {
    let sandbox = Sandbox::new();
    assert_eq!(code_of_a_commit(&sandbox, "0"), json!(null));
    let root = sandbox.outside();
    if git(&root, &["init", "-q", "-b", "trunk"]).is_none() {
        return; // There is no git on this machine.
    }
    assert_eq!(code_of_a_commit(&sandbox, "1"), json!(null), "it has no commit yet");
    fs::write(root.join("train.py"), "print(1)").unwrap();
    git(&root, &["add", "train.py"]).unwrap();
    git(&root, &["commit", "-qm", "code"]).unwrap();
    let commit = git(&root, &["rev-parse", "HEAD"]).unwrap();
    git(
        &root,
        &["remote", "add", "origin", "https://ada:secret@example.org/code.git"],
    )
    .unwrap();
    let expected = json!({ "dirty": false, "git": commit, "remote": "https://example.org/code.git" });
    assert_eq!(code_of_a_commit(&sandbox, "2"), expected);
    fs::write(root.join("train.py"), "print(2)").unwrap();
    assert_eq!(code_of_a_commit(&sandbox, "3")["dirty"], json!(true));
    git(&root, &["pack-refs", "--all"]).unwrap();
    assert_eq!(code_of_a_commit(&sandbox, "4")["git"], json!(commit));
    let said = sandbox.ok(&["lineage"]);
    let line = format!(
        "code: git {} of https://example.org/code.git, with changes that are in no commit",
        &commit[..12]
    );
    assert!(said.contains(&line), "{said}");
    sandbox.ok(&["config", "commit.code", "false"]);
    assert_eq!(code_of_a_commit(&sandbox, "5"), json!(null));
}

#[test]
fn settings_of_git_cannot_run_anything() {
    let sandbox = Sandbox::new();
    let root = sandbox.outside();
    if git(&root, &["init", "-q", "-b", "trunk"]).is_none() {
        return; // There is no git on this machine.
    }
    fs::write(root.join("train.py"), "print(1)").unwrap();
    fs::write(root.join(".gitattributes"), "*.py filter=evil\n").unwrap();
    git(&root, &["add", "."]).unwrap_or_default();
    git(&root, &["commit", "-qm", "code"]).unwrap();
    let marker = root.join("marker");
    let run = format!("touch {}", marker.display());
    git(&root, &["config", "core.fsmonitor", &run]).unwrap();
    git(&root, &["config", "filter.evil.clean", &run]).unwrap();
    fs::write(root.join("train.py"), "print(2)").unwrap();
    let code = code_of_a_commit(&sandbox, "1");
    assert!(code["git"].is_string() && code["dirty"].is_null(), "{code}");
    git(&root, &["config", "--remove-section", "filter.evil"]).unwrap();
    let _ = fs::remove_file(&marker);
    assert_eq!(code_of_a_commit(&sandbox, "2")["dirty"], json!(true));
    assert!(!marker.exists());
}

#[test]
fn a_broken_git_repository_is_no_obstacle() {
    for head in [
        "",
        "ref: ",
        "ref: refs/heads/../../../etc/passwd",
        "ref: refs/heads/a",
        "zzz",
        "\u{0}",
    ] {
        let sandbox = Sandbox::new();
        let git = sandbox.outside().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::write(git.join("HEAD"), head).unwrap();
        fs::write(git.join("refs/heads/a"), "ref: refs/heads/a").unwrap();
        assert_eq!(code_of_a_commit(&sandbox, "1"), json!(null), "{head:?}");
    }
    // A pipe, at which reading would wait for ever.
    let sandbox = Sandbox::new();
    let made = Command::new("mkfifo").arg(sandbox.outside().join(".git")).status();
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(code_of_a_commit(&sandbox, "1"), json!(null));
    }
}
