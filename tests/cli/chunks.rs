//! `fai chunks`

use crate::support::{Sandbox, assert_fields, short, text};
use fai_testkit::{DType, Tensor, safetensors};
use serde_json::{Value, json};

fn model() -> Sandbox {
    let tensors = [
        Tensor::new("layer.weight", DType::Bf16, &[1024, 1024], 1),
        Tensor::of("layer.zeros", DType::F32, &[300_000], &[0.0; 300_000]),
    ];
    Sandbox::with(&[("model.safetensors", &safetensors::write(&tensors))])
}

#[test]
fn json_covers_the_whole_file() {
    let sandbox = model();
    let file = sandbox.json(&["ls"])["files"][0].clone();
    let document = sandbox.json(&["chunks", "model.safetensors"]);
    assert_fields(&document, &["id", "size", "stored_bytes", "chunks"]);
    assert_eq!((&document["id"], &document["size"]), (&file["id"], &file["size"]));
    let chunks = document["chunks"].as_array().unwrap();
    let mut end = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        assert_fields(
            chunk,
            &["index", "id", "offset", "size", "stored_bytes", "encoding", "tensor"],
        );
        assert_eq!((&chunk["index"], &chunk["offset"]), (&json!(index), &json!(end)));
        end += chunk["size"].as_u64().unwrap();
    }
    assert_eq!(json!(end), file["size"]);
    // Tensors are cut at their borders and every 1 MiB, and each knows its name.
    let of = |name: &str| -> Vec<&Value> { chunks.iter().filter(|chunk| chunk["tensor"] == name).collect() };
    let weight = of("layer.weight");
    assert_eq!(weight.len(), 2);
    for chunk in weight {
        assert_eq!(
            (&chunk["size"], &chunk["encoding"]),
            (&json!(1 << 20), &json!("planes"))
        );
    }
    assert_eq!(of("layer.zeros")[0]["encoding"], "constant");
    let sum: u64 = chunks.iter().map(|chunk| chunk["stored_bytes"].as_u64().unwrap()).sum();
    assert_eq!(document["stored_bytes"], json!(sum));
}

#[test]
fn people_see_a_line_a_chunk() {
    let sandbox = model();
    let document = sandbox.json(&["chunks", "model.safetensors"]);
    let id = text(&document["id"]);
    let said = sandbox.ok(&["chunks", &id]);
    let lines: Vec<&str> = said.lines().collect();
    let count = document["chunks"].as_array().unwrap().len();
    assert_eq!(lines.len(), count + 3);
    assert_eq!(lines[0], format!("File: multi-chunk file (manifest: {})", &id[..12]));
    assert_eq!(lines[1], "Chunks:");
    let first = text(&document["chunks"][0]["id"]);
    assert!(lines[2].starts_with(&format!("  0: {} (", short(&first))), "{said}");
    assert!(
        lines[3].contains("(1MB) planes ") && lines[3].ends_with("  layer.weight"),
        "{said}"
    );
    let total = format!("Total: {count} chunks, ");
    assert!(
        lines[count + 2].starts_with(&total) && lines[count + 2].ends_with(" stored (3.3MB original)"),
        "{said}"
    );
}

#[test]
fn small_files_have_few_chunks() {
    let sandbox = Sandbox::with(&[("empty", b""), ("one", b"1")]);
    assert!(
        sandbox
            .ok(&["chunks", "empty"])
            .starts_with("File: empty file (manifest: ")
    );
    assert!(
        sandbox
            .ok(&["chunks", "HEAD:one"])
            .starts_with("File: single-chunk file (manifest: ")
    );
    assert_eq!(sandbox.json(&["chunks", "empty"])["chunks"], json!([]));
}

#[test]
fn what_is_not_stored_has_none() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("new", "2");
    sandbox.fails(&["chunks", "new"]).is("not_found", &["new"]);
    sandbox.fails(&["chunks", "HEAD:new"]).is("not_found", &["new"]);
    sandbox
        .fails(&["chunks", "0123456789abcdef"])
        .is("not_found", &["0123456789abcdef"]);
}
