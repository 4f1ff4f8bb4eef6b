//! Fine-tunes and checkpoints are stored as distances to what they were made from.

use crate::support::Sandbox;
use fai_testkit::{DType, Tensor, normal, safetensors};
use serde_json::Value;

/// Elements of the tensor in these models: three chunks of bf16.
const ELEMENTS: usize = 1_500_000;

/// A model of one tensor: `seed` makes the base, `step` how far training went from there.
fn model(name: &str, dtype: DType, rows: usize, seed: u64, step: f32) -> Vec<u8> {
    let count = rows * 1000;
    let moved = normal(seed ^ 0xff, count);
    let values: Vec<f32> = normal(seed, count)
        .into_iter()
        .zip(moved)
        .map(|(weight, moved)| weight + moved * step)
        .collect();
    let bias = Tensor::of("bias", dtype, &[100], &values[..100]);
    safetensors::write(&[bias, Tensor::of(name, dtype, &[rows, 1000], &values)])
}

fn base() -> Vec<u8> {
    model("w", DType::Bf16, ELEMENTS / 1000, 1, 0.0)
}

fn tuned(step: f32) -> Vec<u8> {
    model("w", DType::Bf16, ELEMENTS / 1000, 1, step)
}

/// What a file costs of its size.
fn cost(sandbox: &Sandbox, arguments: &[&str]) -> f64 {
    let added = sandbox.json(arguments);
    added["stored_bytes"].as_f64().unwrap() / added["size"].as_f64().unwrap()
}

fn encodings(sandbox: &Sandbox, file: &str) -> Vec<String> {
    let chunks = sandbox.json(&["chunks", file]);
    let encoding = |chunk: &Value| chunk["encoding"].as_str().unwrap().to_owned();
    chunks["chunks"].as_array().unwrap().iter().map(encoding).collect()
}

/// Checks out `path` anew and compares it.
fn comes_back(sandbox: &Sandbox, path: &str, bytes: &[u8]) {
    sandbox.remove(path);
    sandbox.ok(&["restore", path]);
    assert!(sandbox.read(path) == bytes, "{path}");
    sandbox.assert_sound();
}

#[test]
fn the_next_version_of_a_file_stands_on_the_one_before() {
    let sandbox = Sandbox::with(&[("m.safetensors", &base())]);
    let next = tuned(1e-3);
    sandbox.write("m.safetensors", &next);
    let cost = cost(&sandbox, &["add", "m.safetensors"]);
    assert!(cost < 0.2, "{cost}");
    assert!(encodings(&sandbox, "m.safetensors").iter().any(|name| name == "delta"));
    sandbox.commit("tuned");
    comes_back(&sandbox, "m.safetensors", &next);
    assert!(sandbox.bytes(&["cat", "HEAD~1:m.safetensors"]) == base());
}

#[test]
fn the_newest_like_it_is_found_under_any_name() {
    let sandbox = Sandbox::with(&[("base.safetensors", &base())]);
    sandbox.write("tuned.safetensors", tuned(1e-3));
    assert!(cost(&sandbox, &["add", "tuned.safetensors"]) < 0.2);
    sandbox.commit("tuned");
    comes_back(&sandbox, "tuned.safetensors", &tuned(1e-3));
}

#[test]
fn a_family_that_is_added_at_once_stands_on_its_first() {
    let sandbox = Sandbox::new();
    sandbox.write("a.safetensors", base());
    for number in 1..4 {
        sandbox.write(&format!("b{number}.safetensors"), tuned(1e-3 * number as f32));
    }
    let added = sandbox.json(&["add", "."]);
    for file in &added["files"].as_array().unwrap()[1..] {
        let cost = file["stored_bytes"].as_f64().unwrap() / file["size"].as_f64().unwrap();
        assert!(cost < 0.3, "{file}");
    }
    sandbox.commit("family");
    comes_back(&sandbox, "b3.safetensors", &tuned(3e-3));
}

#[test]
fn a_declared_base_helps_where_nothing_else_would() {
    let sandbox = Sandbox::with(&[("old/base.safetensors", &base())]);
    // A newer model with the same names and shapes, and nothing in common.
    sandbox.write("other.safetensors", model("w", DType::Bf16, ELEMENTS / 1000, 9, 0.0));
    sandbox.ok(&["add", "."]);
    sandbox.commit("unrelated");
    sandbox.write("tuned.safetensors", tuned(1e-3));
    let cost = cost(
        &sandbox,
        &["add", "tuned.safetensors", "--base", "HEAD:old/base.safetensors"],
    );
    assert!(cost < 0.2, "{cost}");
    let refused = sandbox.fails(&["add", "tuned.safetensors", "--base", "HEAD:absent"]);
    assert!(refused.message.contains("absent"), "{}", refused.message);
}

#[test]
fn a_grown_vocabulary_costs_its_new_rows() {
    let sandbox = Sandbox::with(&[("m.safetensors", &model("embed", DType::Bf16, 1500, 1, 0.0))]);
    // The first rows are what they were, though not to the bit: normal(seed) gives the same start.
    let grown = model("embed", DType::Bf16, 1600, 1, 1e-3);
    sandbox.write("m.safetensors", &grown);
    let cost = cost(&sandbox, &["add", "m.safetensors"]);
    assert!(cost < 0.25, "{cost}");
    sandbox.commit("grown");
    comes_back(&sandbox, "m.safetensors", &grown);
}

#[test]
fn an_upcast_copy_costs_nearly_nothing() {
    let sandbox = Sandbox::with(&[("m.safetensors", &base())]);
    let bytes = base();
    let start = bytes.len() - 2 * ELEMENTS;
    let wide: Vec<f32> = bytes[start..]
        .chunks_exact(2)
        .map(|pair| f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16))
        .collect();
    let copy = safetensors::write(&[Tensor::of("w", DType::F32, &[ELEMENTS / 1000, 1000], &wide)]);
    sandbox.write("wide.safetensors", &copy);
    let cost = cost(&sandbox, &["add", "wide.safetensors"]);
    assert!(cost < 0.01, "{cost}");
    sandbox.commit("wide");
    comes_back(&sandbox, "wide.safetensors", &copy);
}

#[test]
fn long_rows_of_checkpoints_stay_within_reach() {
    let sandbox = Sandbox::with(&[("m.safetensors", &base())]);
    for number in 1..9 {
        sandbox.write("m.safetensors", tuned(2e-4 * number as f32));
        assert!(cost(&sandbox, &["add", "m.safetensors"]) < 0.3, "checkpoint {number}");
        sandbox.commit(&format!("checkpoint {number}"));
    }
    comes_back(&sandbox, "m.safetensors", &tuned(1.6e-3));
    assert!(sandbox.bytes(&["cat", "HEAD~4:m.safetensors"]) == tuned(8e-4));
}
