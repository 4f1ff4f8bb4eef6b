//! `fai info`

use crate::support::{Sandbox, assert_fields, text};
use fai_testkit::{DType, Tensor, gguf, noise, numpy, onnx, safetensors, torch};
use serde_json::json;

fn tensors(dtype: DType) -> [Tensor; 2] {
    [
        Tensor::new("encoder.weight", dtype, &[40, 30], 1),
        Tensor::new("encoder.bias", dtype, &[30], 2),
    ]
}

#[test]
fn every_format_is_read() {
    let (single, half) = (tensors(DType::F32), tensors(DType::Bf16));
    let files = [
        ("model.safetensors", "safetensors", safetensors::write(&half), "bf16"),
        ("model.gguf", "gguf", gguf::write("llama", &half), "bf16"),
        ("model.onnx", "onnx", onnx::write(&half), "bf16"),
        ("model.pt", "pytorch", torch::write(&half), "bf16"),
        ("arrays.npz", "npz", numpy::npz(&single), "f32"),
    ];
    let sandbox = Sandbox::new();
    for (path, _, bytes, _) in &files {
        sandbox.write(path, bytes);
    }
    sandbox.commit("models");
    for (path, format, _, dtype) in files {
        // As it lies in the worktree, and as it is stored.
        for name in [path.to_owned(), format!("HEAD:{path}")] {
            let document = sandbox.json(&["info", &name]);
            assert_eq!(document["format"], format, "{name}");
            assert_eq!(document["parameters"], 1230, "{name}");
            assert_eq!(
                document["dtypes"][dtype],
                json!({ "tensors": 2, "parameters": 1230 }),
                "{name}"
            );
            let weight = &document["tensors"][0];
            assert_fields(weight, &["name", "dtype", "shape", "start", "end"]);
            assert_eq!(weight["name"], "encoder.weight", "{name}");
            let bytes = weight["end"].as_u64().unwrap() - weight["start"].as_u64().unwrap();
            assert_eq!(bytes, if dtype == "bf16" { 2400 } else { 4800 }, "{name}");
            assert_eq!(document["note"], json!(null), "{name}");
        }
    }
}

#[test]
fn tensors_lie_where_it_says() {
    let tensors = tensors(DType::F32);
    let sandbox = Sandbox::new();
    for (path, bytes) in [
        ("m.safetensors", safetensors::write(&tensors)),
        ("m.gguf", gguf::write("llama", &tensors)),
        ("m.onnx", onnx::write(&tensors)),
        ("m.pt", torch::write(&tensors)),
        ("m.npz", numpy::npz(&tensors)),
    ] {
        sandbox.write(path, &bytes);
        let document = sandbox.json(&["info", path]);
        for (index, tensor) in tensors.iter().enumerate() {
            let found = &document["tensors"][index];
            let [start, end] = ["start", "end"].map(|side| found[side].as_u64().unwrap() as usize);
            assert_eq!(bytes[start..end], tensor.data, "{} of {path}", tensor.name);
        }
    }
}

#[test]
fn a_single_array() {
    let sandbox = Sandbox::new();
    sandbox.write("array.npy", numpy::npy(&Tensor::new("", DType::F32, &[6, 7], 1)));
    let document = sandbox.json(&["info", "array.npy"]);
    assert_eq!(
        (&document["format"], &document["parameters"]),
        (&json!("npy"), &json!(42))
    );
    assert_eq!(document["tensors"][0]["shape"], json!([6, 7]));
}

#[test]
fn people_see_what_a_model_is() {
    let sandbox = Sandbox::new();
    sandbox.write("model.safetensors", safetensors::write(&tensors(DType::Bf16)));
    sandbox.write(
        "config.json",
        r#"{"architectures": ["BertModel"], "model_type": "bert"}"#,
    );
    sandbox.commit("model");
    let file = sandbox.json(&["ls", "HEAD", "model.safetensors"])["files"][0].clone();
    let said = sandbox.ok(&["info", "HEAD:model.safetensors"]);
    let lines: Vec<&str> = said.lines().map(str::trim_start).collect();
    assert_eq!(lines[0], format!("model.safetensors ({})", &text(&file["id"])[..8]));
    for line in [
        "Format:       safetensors",
        "Architecture: BertModel",
        "Parameters:   1.2K (1230)",
        "Dtypes:       bf16: 1.2K in 2 tensors",
        "Tensors:      2",
        "encoder.weight bf16 [40,30] 2.4KB",
        &format!("BLAKE3:       {}", text(&file["content"])),
    ] {
        assert!(lines.contains(&line), "no line {line:?} in {said}");
    }
    assert_eq!(
        sandbox.json(&["info", "model.safetensors"])["architecture"],
        "BertModel"
    );
}

#[test]
fn long_tables_are_cut() {
    let many: Vec<Tensor> = (0..25)
        .map(|index| Tensor::new(&format!("t{index}"), DType::F32, &[2], index))
        .collect();
    let sandbox = Sandbox::new();
    sandbox.write("m.safetensors", safetensors::write(&many));
    let said = sandbox.ok(&["info", "m.safetensors"]);
    assert!(
        said.contains("... and 15 more (--tensors lists all)") && !said.contains(" t24 "),
        "{said}"
    );
    assert!(sandbox.ok(&["info", "m.safetensors", "--tensors"]).contains(" t24 "));
}

#[test]
fn plain_files_are_plain() {
    let sandbox = Sandbox::with(&[("notes.txt", b"text"), ("noise.bin", &noise(1, 5000)), ("empty", b"")]);
    for path in ["notes.txt", "noise.bin", "empty"] {
        let document = sandbox.json(&["info", path]);
        assert_eq!(
            (&document["format"], &document["note"]),
            (&json!(null), &json!(null)),
            "{path}"
        );
        assert!(sandbox.ok(&["info", path]).contains("Format:       plain bytes"));
    }
}

#[test]
fn a_broken_model_is_stored_as_plain_bytes_with_a_note() {
    let whole = safetensors::write(&tensors(DType::Bf16));
    let cut = &whole[..whole.len() - 100];
    let sandbox = Sandbox::with(&[("cut.safetensors", cut)]);
    let document = sandbox.json(&["info", "HEAD:cut.safetensors"]);
    assert_eq!(document["format"], json!(null));
    assert!(!text(&document["note"]).is_empty());
    assert!(
        sandbox
            .ok(&["info", "cut.safetensors"])
            .contains("stored as plain bytes: ")
    );
    assert_eq!(sandbox.bytes(&["cat", "HEAD:cut.safetensors"]), cut);
}

#[test]
fn what_is_not_there_is_named() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.fails(&["info", "b"]).is("not_found", &["b"]);
    sandbox.fails(&["info", "HEAD:b"]).is("not_found", &["b"]);
}
