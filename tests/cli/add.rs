//! `fai add`: what it stores, stages and says. Ignore rules, odd paths and races have files of their own.

use crate::support::{Sandbox, assert_fields, fields, short, text};
use fai_testkit::{DType, Tensor, safetensors};
use serde_json::json;

#[test]
fn a_file_is_named_with_its_id() {
    let sandbox = Sandbox::new();
    sandbox.write("models/resnet50.onnx", "weights");
    let said = sandbox.ok(&["add", "models/resnet50.onnx"]);
    let id = text(&sandbox.json(&["ls"])["files"][0]["id"]);
    assert_eq!(said, format!("Added models/resnet50.onnx ({})\n", short(&id)));
    assert_eq!(sandbox.staged(), ["added models/resnet50.onnx"]);
}

#[test]
fn json_tells_what_was_stored() {
    let sandbox = Sandbox::new();
    let model = safetensors::write(&[Tensor::new("w", DType::Bf16, &[1024, 1024], 1)]);
    sandbox.write("model.safetensors", &model);
    let document = sandbox.json(&["add", "model.safetensors"]);
    assert_fields(&document, &["files", "size", "stored_bytes"]);
    let file = &document["files"][0];
    assert_fields(file, &["path", "id", "size", "chunks", "new_chunks", "stored_bytes"]);
    assert_eq!(file["path"], "model.safetensors");
    assert_eq!(file["size"], json!(model.len()));
    assert_eq!(
        (&document["size"], &document["stored_bytes"]),
        (&file["size"], &file["stored_bytes"])
    );
    // The header and two steps of 1 MiB.
    assert_eq!((&file["chunks"], &file["new_chunks"]), (&json!(3), &json!(3)));
    let stored = file["stored_bytes"].as_u64().unwrap() as f64 / model.len() as f64;
    assert!((0.5..0.7).contains(&stored), "bf16 weights take {stored} of their size");
}

#[test]
fn large_files_are_added_with_their_savings() {
    let sandbox = Sandbox::new();
    sandbox.write("zeros.bin", vec![0; 3_000_000]);
    let said = sandbox.ok(&["add", "zeros.bin"]);
    assert!(
        said.starts_with("Added zeros.bin (") && said.contains(" - 3MB stored in "),
        "{said}"
    );
    std::fs::copy(sandbox.path("zeros.bin"), sandbox.path("copy.bin")).unwrap();
    let said = sandbox.ok(&["add", "copy.bin"]);
    assert!(said.ends_with(" - 3MB, all of it stored already\n"), "{said}");
}

#[test]
fn a_copy_stores_nothing_new() {
    let sandbox = Sandbox::with(&[("one.bin", &fai_testkit::noise(1, 300_000))]);
    std::fs::copy(sandbox.path("one.bin"), sandbox.path("two.bin")).unwrap();
    let document = sandbox.json(&["add", "two.bin"]);
    assert_eq!(document["files"][0]["new_chunks"], 0);
    assert_eq!(document["stored_bytes"], 0);
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let sandbox = Sandbox::with(&[("a.bin", &fai_testkit::noise(1, 100_000)), ("b.txt", b"text")]);
    // Past the tick of the file system's clock in which the files were written.
    std::thread::sleep(std::time::Duration::from_millis(30));
    sandbox.json(&["status"]);
    let document = sandbox.json(&["add", "-A"]);
    for file in document["files"].as_array().unwrap() {
        assert_eq!((&file["chunks"], &file["staged"]), (&json!(0), &json!(false)), "{file}");
    }
    assert_eq!(
        sandbox.ok(&["add", "."]),
        "Nothing to add: everything there is committed already\n"
    );
    assert_eq!(sandbox.staged(), [""; 0]);
    sandbox.fails(&["commit", "-m", "nothing"]).is("nothing_to_commit", &[]);
}

#[test]
fn tiny_files_come_back_as_they_were() {
    let files: [(&str, &[u8]); 4] = [("empty", b""), ("one", b"1"), ("two", b"ab"), ("zero", b"\0")];
    let sandbox = Sandbox::with(&files);
    for (path, content) in files {
        assert_eq!(sandbox.bytes(&["cat", path]), content, "{path}");
        sandbox.remove(path);
    }
    sandbox.ok(&["checkout", "HEAD"]);
    for (path, content) in files {
        assert_eq!(sandbox.read(path), content, "{path}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_path_that_is_not_there_stops_everything() {
    let sandbox = Sandbox::new();
    sandbox.write("there", "x");
    let problem = sandbox.fails(&["add", "there", "missing"]);
    problem.is("not_found", &["missing"]).hints("fai status");
    assert_eq!(sandbox.staged(), [""; 0]);
}

#[test]
fn nothing_named_is_wrong_usage() {
    let sandbox = Sandbox::new();
    assert!(sandbox.misused(&["add"]).contains("Usage: fai add"));
    assert_eq!(sandbox.status("untracked"), [""; 0]);
}

#[test]
fn a_file_that_is_gone_is_staged_as_removed() {
    let sandbox = Sandbox::with(&[("keep", b"1"), ("gone", b"2"), ("also/gone", b"3")]);
    sandbox.remove("gone");
    assert_eq!(sandbox.ok(&["add", "gone"]), "Staged the removal of gone\n");
    sandbox.remove("also/gone");
    let document = sandbox.json(&["add", "-A"]);
    assert_eq!(document["removed"], json!(["also/gone", "gone"][..1]));
    assert_eq!(sandbox.staged(), ["removed also/gone", "removed gone"]);
    sandbox.json(&["commit", "-m", "less"]);
    assert_eq!(sandbox.listed(&["HEAD"]), ["keep"]);
    sandbox.assert_clean();
}

#[test]
fn a_staged_file_that_is_gone_is_forgotten() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    sandbox.ok(&["add", "a"]);
    sandbox.remove("a");
    sandbox.ok(&["add", "-A"]);
    assert_eq!(sandbox.staged(), [""; 0]);
    sandbox.assert_clean();
}

#[test]
fn a_file_makes_way_for_a_folder_and_back() {
    let sandbox = Sandbox::with(&[("thing", b"a file")]);
    sandbox.remove("thing");
    sandbox.write("thing/inside", "a folder");
    let second = sandbox.commit("folder");
    assert_eq!(sandbox.listed(&["HEAD"]), ["thing/inside"]);
    sandbox.assert_clean();
    std::fs::remove_dir_all(sandbox.path("thing")).unwrap();
    sandbox.write("thing", "a file again");
    sandbox.commit("file");
    assert_eq!(sandbox.listed(&["HEAD"]), ["thing"]);
    sandbox.assert_clean();
    assert_eq!(sandbox.listed(&[&second]), ["thing/inside"]);
}

#[test]
fn the_executable_bit_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.write("run.sh", "#!/bin/sh\n");
    sandbox.write("data", "x");
    sandbox.set_executable("run.sh", true);
    let first = sandbox.commit("executable");
    let files = sandbox.json(&["ls", "HEAD"])["files"].clone();
    assert_eq!(
        (&files[0]["executable"], &files[1]["executable"]),
        (&json!(false), &json!(true))
    );

    sandbox.set_executable("run.sh", false);
    assert_eq!(sandbox.status("modified"), ["run.sh"]);
    sandbox.commit("not any more");
    sandbox.assert_clean();
    sandbox.ok(&["checkout", &first]);
    assert!(sandbox.is_executable("run.sh") && !sandbox.is_executable("data"));
    sandbox.ok(&["checkout", "main"]);
    assert!(!sandbox.is_executable("run.sh"));
    sandbox.assert_clean();
}

#[test]
fn many_files_are_summed_up() {
    let sandbox = Sandbox::new();
    for index in 0..25 {
        sandbox.write(&format!("data/{index:02}"), vec![index; 1000]);
    }
    let said = sandbox.ok(&["add", "data"]);
    assert!(
        said.starts_with("Added 25 files (25KB, ") && said.lines().count() == 1,
        "{said}"
    );
    let document = sandbox.json(&["add", "data"]);
    assert_eq!(document["files"].as_array().unwrap().len(), 25);
}

#[test]
fn only_what_was_named_is_added() {
    let sandbox = Sandbox::new();
    for path in ["a/1", "a/2", "ab/3", "c"] {
        sandbox.write(path, path);
    }
    sandbox.ok(&["add", "a/"]);
    assert_eq!(sandbox.staged(), ["added a/1", "added a/2"]);
    // Paths are seen from where one stands.
    sandbox.ok(&["-C", "ab", "add", "../c", "3"]);
    assert_eq!(sandbox.staged(), ["added a/1", "added a/2", "added ab/3", "added c"]);
    assert_eq!(sandbox.status("untracked"), [""; 0]);
}

#[test]
fn adding_again_stages_the_newest_content() {
    let sandbox = Sandbox::with(&[("a", b"one")]);
    for content in ["two", "three"] {
        sandbox.write("a", content);
        sandbox.ok(&["add", "a"]);
    }
    assert_eq!(sandbox.bytes(&["cat", "a"]), b"three");
    sandbox.write("a", "one");
    // What is committed already is no change.
    sandbox.ok(&["add", "a"]);
    assert_eq!(sandbox.staged(), [""; 0]);
}

#[test]
fn quiet_says_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    assert_eq!(sandbox.ok(&["--quiet", "add", "a"]), "");
    assert_eq!(sandbox.staged(), ["added a"]);
    assert_eq!(fields(&sandbox.json(&["-q", "add", "a"]))[0], "files");
}
