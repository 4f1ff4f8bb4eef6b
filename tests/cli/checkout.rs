//! `fai checkout`

use crate::support::{Sandbox, files_below, short};
use fai_testkit::{DType, Tensor, gguf, noise, normal, safetensors};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Two commits: `a` changes, `old` goes, `new/b` comes, `same` stays.
fn two() -> (Sandbox, [String; 2]) {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    sandbox.write("old", "old");
    sandbox.write("same", "same");
    let first = sandbox.commit("first");
    sandbox.write("a", "2");
    sandbox.remove("old");
    sandbox.write("new/b", "b");
    let second = sandbox.commit("second");
    (sandbox, [first, second])
}

#[test]
fn the_worktree_becomes_the_commit() {
    let (sandbox, [first, second]) = two();
    let said = sandbox.ok(&["checkout", short(&first)]);
    assert_eq!(
        said,
        format!(
            "Checked out commit {}: 2 files written (4B), 1 removed\n",
            short(&first)
        )
    );
    assert_eq!(sandbox.read("a"), b"1");
    assert_eq!(sandbox.read("old"), b"old");
    assert!(!sandbox.exists("new"));
    sandbox.assert_clean();
    assert_eq!(sandbox.json(&["status"])["branch"], json!(null));

    let document = sandbox.json(&["checkout", "main"]);
    assert_eq!(
        document,
        json!({ "commit": second, "branch": "main", "written": 2, "removed": 1, "bytes": 2 })
    );
    assert_eq!(
        (sandbox.read("a"), sandbox.read("new/b")),
        (b"2".to_vec(), b"b".to_vec())
    );
    assert!(!sandbox.exists("old"));
    sandbox.assert_clean();
}

#[test]
fn the_branch_stays_or_is_left() {
    let (sandbox, [_, second]) = two();
    for (arguments, branch) in [
        (&["checkout", "main"][..], json!("main")),
        (&["checkout", "HEAD"], json!("main")),
        (&["checkout", "--detach", "main"], json!(null)),
        (&["checkout", "main"], json!("main")),
        (&["checkout", &second], json!(null)),
        (&["checkout", "HEAD"], json!(null)),
    ] {
        assert_eq!(sandbox.json(arguments)["branch"], branch, "{arguments:?}");
    }
}

#[test]
fn local_changes_are_not_overwritten() {
    let (sandbox, [first, _]) = two();
    sandbox.write("a", "mine");
    let problem = sandbox.fails(&["checkout", &first]);
    problem
        .is("local_changes", &["local changes would be overwritten: a"])
        .hints("--force");
    assert_eq!(sandbox.read("a"), b"mine");
    assert!(sandbox.exists("new/b") && !sandbox.exists("old"));
    assert_eq!(sandbox.json(&["status"])["branch"], "main");
    // Staged changes are as precious.
    sandbox.ok(&["add", "a"]);
    sandbox.fails(&["checkout", &first]).is("local_changes", &["a"]);

    sandbox.ok(&["checkout", "--force", &first]);
    assert_eq!(sandbox.read("a"), b"1");
    sandbox.assert_clean();
}

#[test]
fn all_files_in_danger_are_named() {
    let (sandbox, [first, _]) = two();
    sandbox.write("a", "mine");
    sandbox.write("new/b", "mine too");
    sandbox.write("old", "in the way");
    let problem = sandbox.fails(&["checkout", &first]);
    problem.is("local_changes", &["a, new/b, old"]);
}

#[test]
fn changes_to_other_files_come_along() {
    let (sandbox, [first, _]) = two();
    sandbox.write("same", "mine");
    sandbox.write("untracked", "mine as well");
    sandbox.ok(&["checkout", &first]);
    assert_eq!(sandbox.read("same"), b"mine");
    assert_eq!(sandbox.status("modified"), ["same"]);
    assert_eq!(sandbox.status("untracked"), ["untracked"]);
    sandbox.ok(&["add", "same"]);
    sandbox.ok(&["checkout", "main"]);
    assert_eq!(sandbox.staged(), ["modified same"]);
    assert_eq!(sandbox.read("same"), b"mine");
}

#[test]
fn an_untracked_file_is_in_the_way() {
    let (sandbox, [first, _]) = two();
    sandbox.write("old", "untracked");
    let problem = sandbox.fails(&["checkout", &first]);
    problem.is("local_changes", &["old"]);
    assert_eq!(sandbox.read("old"), b"untracked");
    // Unless it is what would be written anyway.
    sandbox.write("old", "old");
    sandbox.ok(&["checkout", &first]);
    sandbox.assert_clean();
}

#[test]
fn a_missing_file_comes_back() {
    let (sandbox, _) = two();
    sandbox.remove("same");
    fs::remove_dir_all(sandbox.path("new")).unwrap();
    sandbox.ok(&["checkout", "main"]);
    assert_eq!(
        (sandbox.read("same"), sandbox.read("new/b")),
        (b"same".to_vec(), b"b".to_vec())
    );
    sandbox.assert_clean();
}

#[test]
fn a_file_turns_into_a_folder_and_back() {
    let sandbox = Sandbox::with(&[("thing", b"a file")]);
    sandbox.remove("thing");
    sandbox.write("thing/deep/inside", "a folder");
    sandbox.commit("folder");
    sandbox.ok(&["checkout", "HEAD~1"]);
    assert_eq!(sandbox.read("thing"), b"a file");
    sandbox.assert_clean();
    sandbox.ok(&["checkout", "main"]);
    assert_eq!(sandbox.read("thing/deep/inside"), b"a folder");
    sandbox.assert_clean();
}

#[test]
fn a_folder_with_untracked_files_is_not_replaced_by_a_file() {
    let sandbox = Sandbox::with(&[("thing", b"a file")]);
    sandbox.remove("thing");
    sandbox.write("thing/inside", "a folder");
    sandbox.commit("folder");
    sandbox.write("thing/mine", "precious");
    sandbox.fails(&["checkout", "HEAD~1"]).is("local_changes", &["thing"]);
    assert_eq!(sandbox.read("thing/mine"), b"precious");
    assert_eq!(sandbox.read("thing/inside"), b"a folder");
}

#[test]
fn an_untracked_file_where_a_folder_is_needed() {
    let sandbox = Sandbox::with(&[("dir/a", b"1"), ("b", b"2")]);
    sandbox.ok(&["rm", "dir/a"]);
    sandbox.ok(&["commit", "-m", "less"]);
    sandbox.write("dir", "mine");
    sandbox.fails(&["checkout", "HEAD~1"]).is("local_changes", &["dir"]);
    assert_eq!(sandbox.read("dir"), b"mine");
}

#[test]
fn only_empty_folders_make_way_for_files() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"2")]);
    for path in ["a", "b"] {
        sandbox.remove(path);
        fs::create_dir(sandbox.path(path)).unwrap();
    }
    sandbox.write("b/mine", "precious");
    assert_eq!(sandbox.status("deleted"), ["a", "b"]);
    sandbox.ok(&["restore", "a"]);
    assert_eq!(sandbox.read("a"), b"1");
    sandbox.fails(&["restore", "b"]).is("io", &["cannot write", "b"]);
    assert_eq!(sandbox.read("b/mine"), b"precious");
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_overwritten() {
    let (sandbox, [first, _]) = two();
    sandbox.remove("a");
    symlink("same", sandbox.path("a")).unwrap();
    sandbox.fails(&["checkout", &first]).is("local_changes", &["a"]);
    assert!(sandbox.path("a").is_symlink());
    sandbox.ok(&["checkout", "--force", &first]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("same")),
        (b"1".to_vec(), b"same".to_vec())
    );
}

#[test]
fn another_folder_gets_identical_files() {
    let tensors = [
        Tensor::new("weight", DType::Bf16, &[700, 1000], 1),
        Tensor::new("bias", DType::F32, &[1000], 2),
    ];
    let sandbox = Sandbox::new();
    sandbox.write("models/a.safetensors", safetensors::write(&tensors));
    sandbox.write("models/a.gguf", gguf::write("llama", &tensors));
    sandbox.write("noise", noise(1, 1_000_003));
    sandbox.write("empty", "");
    sandbox.write("run.sh", "#!/bin/sh\n");
    sandbox.set_executable("run.sh", true);
    let expected = files_below(&sandbox.root());
    sandbox.commit("all");
    sandbox.write("noise", "changed");
    let out = sandbox.outside().join("out");
    let said = sandbox.ok(&["checkout", "HEAD", "--to", "../out"]);
    assert!(
        said.starts_with("Wrote commit ") && said.contains("5 files written ("),
        "{said}"
    );
    assert!(files_below(&out) == expected);
    assert!(out.join("run.sh").metadata().unwrap().permissions().mode() & 0o100 != 0);
    // The worktree, staging and HEAD stay as they are.
    assert_eq!(sandbox.read("noise"), b"changed");
    assert_eq!(sandbox.json(&["status"])["branch"], "main");

    fs::write(out.join("empty"), "not any more").unwrap();
    let problem = sandbox.fails(&["checkout", "HEAD", "--to", "../out"]);
    problem.is("local_changes", &["empty"]);
    assert_eq!(fs::read(out.join("empty")).unwrap(), b"not any more");
    sandbox.ok(&["checkout", "HEAD", "--to", "../out", "--force"]);
    assert!(files_below(&out) == expected);
}

#[test]
fn versions_that_stand_on_each_other_are_written_side_by_side() {
    let sandbox = Sandbox::new();
    // Six megabytes each, every one a step further from the first: each is stored against the one before.
    let mut values = normal(1, 1_500_000);
    for step in 0..4usize {
        for (index, value) in values.iter_mut().enumerate().filter(|(index, _)| index % 3 == step % 3) {
            *value *= 1.0 + (index % 16) as f32 * 1e-4;
        }
        let model = safetensors::write(&[Tensor::of("w", DType::F32, &[1_500_000], &values)]);
        sandbox.write(&format!("run/step-{step}/model.safetensors"), model);
        sandbox.write(
            &format!("run/step-{step}/log.bin"),
            noise(step as u64, 5_000_000 + 10 * step),
        );
        sandbox.commit("a step");
    }
    let stats = sandbox.json(&["stats"]);
    assert!(stats["encodings"].to_string().contains("delta"), "{stats}");
    let expected = files_below(&sandbox.root());
    for threads in ["1", "4"] {
        let out = sandbox.outside().join(threads);
        let to = format!("../{threads}");
        let output = sandbox
            .command(&["checkout", "HEAD", "--to", &to])
            .env("FAI_THREADS", threads)
            .output();
        assert!(output.unwrap().status.success());
        assert!(files_below(&out) == expected);
    }
}

#[test]
fn parts_of_a_commit_into_another_folder() {
    let (sandbox, _) = two();
    let document = sandbox.json(&["checkout", "HEAD", "new", "a", "--to", "../part"]);
    assert_eq!((&document["written"], &document["bytes"]), (&json!(2), &json!(2)));
    let found = files_below(&sandbox.outside().join("part"));
    assert_eq!(found, [("a".into(), b"2".to_vec()), ("new/b".into(), b"b".to_vec())]);
    sandbox
        .fails(&["checkout", "HEAD", "old", "--to", "../none"])
        .is("not_found", &["old"]);
}

#[test]
fn single_files_are_taken_from_a_commit() {
    let (sandbox, _) = two();
    assert_eq!(sandbox.ok(&["checkout", "HEAD~1", "a"]), "Restored 1 file\n");
    assert_eq!(sandbox.read("a"), b"1");
    assert_eq!(sandbox.staged(), ["modified a"]);
    assert_eq!(sandbox.json(&["status"])["branch"], "main");
    sandbox.write("a", "mine");
    sandbox.fails(&["checkout", "HEAD", "a"]).is("local_changes", &["a"]);
    sandbox.ok(&["checkout", "--force", "HEAD", "a"]);
    assert_eq!(sandbox.read("a"), b"2");
    sandbox.assert_clean();
}

#[test]
fn a_path_alone_is_understood() {
    let (sandbox, _) = two();
    sandbox.remove("same");
    sandbox.ok(&["checkout", "same"]);
    assert_eq!(sandbox.read("same"), b"same");
}

#[test]
fn what_it_does_not_know_is_named() {
    let (sandbox, _) = two();
    sandbox
        .fails(&["checkout", "nosuch"])
        .is("unknown_revision", &["nosuch"]);
    sandbox
        .fails(&["checkout", "HEAD", "nosuch"])
        .is("not_found", &["nosuch"]);
    Sandbox::new().fails(&["checkout", "HEAD"]).is("no_commits", &["main"]);
}
