//! `fai ls`

use crate::support::{Sandbox, assert_fields, short, text};
use fai_testkit::{DType, Tensor, safetensors};
use serde_json::json;

#[test]
fn files_are_listed_with_id_size_and_what_they_are() {
    let sandbox = Sandbox::new();
    let model = safetensors::write(&[Tensor::new("w", DType::Bf16, &[50, 30], 1)]);
    sandbox.write("model.safetensors", &model);
    sandbox.write("run.sh", "#!/bin/sh\n");
    sandbox.set_executable("run.sh", true);
    sandbox.commit("one");
    let document = sandbox.json(&["ls"]);
    let ids: Vec<String> = (0..2).map(|index| text(&document["files"][index]["id"])).collect();
    let expected = format!(
        "{}    3.1KB  model.safetensors  safetensors, 1.5K parameters\n{}      10B  run.sh*\n",
        short(&ids[0]),
        short(&ids[1])
    );
    assert_eq!(sandbox.ok(&["ls"]), expected);
}

#[test]
fn json_tells_content_hashes() {
    let sandbox = Sandbox::with(&[("abc", b"abc"), ("empty", b"")]);
    let document = sandbox.json(&["ls", "HEAD"]);
    let abc = &document["files"][0];
    assert_fields(abc, &["path", "id", "content", "size", "executable"]);
    // As b3sum prints them.
    assert_eq!(
        abc["content"],
        "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    );
    assert_eq!(
        document["files"][1]["content"],
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    );
    assert_eq!((&abc["size"], &abc["executable"]), (&json!(3), &json!(false)));
    assert_ne!(abc["id"], abc["content"]);
}

#[test]
fn without_a_revision_staged_files_count() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"2")]);
    sandbox.write("c", "3");
    sandbox.remove("a");
    sandbox.ok(&["add", "-A"]);
    assert_eq!(sandbox.listed(&[]), ["b", "c"]);
    assert_eq!(sandbox.listed(&["HEAD"]), ["a", "b"]);
}

#[test]
fn a_path_narrows_the_list() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("sub/b", b"2"), ("sub/deep/c", b"3"), ("subway", b"4")]);
    sandbox.remove("a");
    sandbox.commit("less");
    assert_eq!(sandbox.listed(&["sub"]), ["sub/b", "sub/deep/c"]);
    assert_eq!(sandbox.listed(&["HEAD~1", "a"]), ["a"]);
    assert_eq!(sandbox.listed(&["HEAD", "sub/deep/"]), ["sub/deep/c"]);
    assert_eq!(sandbox.listed(&["-C", "sub", "HEAD", "deep"]), ["sub/deep/c"]);
    sandbox
        .fails(&["ls", "HEAD", "a"])
        .is("not_found", &["a"])
        .hints("fai ls");
}

#[test]
fn an_empty_repository_lists_nothing() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ok(&["ls"]), "");
    assert_eq!(sandbox.json(&["ls"]), json!({ "files": [] }));
    sandbox.fails(&["ls", "HEAD"]).is("no_commits", &[]);
    sandbox.fails(&["ls", "nosuch"]).is("unknown_revision", &["nosuch"]);
}
