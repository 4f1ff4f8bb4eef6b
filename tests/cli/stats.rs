//! `fai stats`: what is saved, and by what. The figures of the core are in `fsck.rs` of its tests.

use fai_testkit::noise;
use serde_json::{Value, json};

use crate::support::Sandbox;

/// Weights like those of a model: exponents close together, mantissas of noise.
fn weights(seed: u64, count: usize) -> Vec<u8> {
    let noise = noise(seed, count);
    noise.iter().flat_map(|byte| [*byte, 0x3c + (byte & 1)]).collect()
}

/// A safetensors file with one tensor.
fn model(data: &[u8]) -> Vec<u8> {
    let shape = data.len() / 2;
    let header = format!(
        r#"{{"w":{{"dtype":"BF16","shape":[{shape}],"data_offsets":[0,{}]}}}}"#,
        data.len()
    );
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn every_cause_has_its_part() {
    let model = model(&weights(1, 2_000_000));
    let words = "the same few words ".repeat(20_000);
    let sandbox = Sandbox::with(&[
        ("one.safetensors", &model),
        ("two.safetensors", &model),
        ("words.txt", words.as_bytes()),
        ("zeros.bin", &vec![0; 3_000_000]),
        ("noise.bin", &noise(2, 500_000)),
    ]);
    let stats = sandbox.json(&["stats"]);
    let causes = &stats["savings_by_cause"];
    let names: Vec<&String> = causes.as_object().unwrap().keys().collect();
    assert_eq!(names, ["identical", "delta", "planes", "zstd", "constant"]);
    let bytes = |name: &str| number(&causes[name]["bytes"]);
    assert!(bytes("identical") >= model.len() as u64, "{stats}");
    for name in ["planes", "zstd", "constant"] {
        assert!(bytes(name) > 100_000, "{name}: {stats}");
    }
    assert_eq!((bytes("delta"), &stats["longest_chain"]), (0, &json!(0)));
    // Nothing is counted twice, and nothing left out.
    let saved: u64 = names.iter().map(|name| bytes(name)).sum();
    let expected = number(&stats["logical_bytes"]) - saved + number(&stats["overhead_bytes"]);
    assert_eq!(number(&stats["stored_bytes"]), expected, "{stats}");
    let share = causes["identical"]["share"].as_f64().unwrap();
    let exact = bytes("identical") as f64 / number(&stats["logical_bytes"]) as f64;
    assert!((share - exact).abs() < 1e-9, "{stats}");
}

#[test]
fn the_table_is_aligned() {
    let sandbox = Sandbox::with(&[
        ("a.txt", "word ".repeat(50_000).as_bytes()),
        ("b.bin", &noise(1, 300_000)),
    ]);
    let shown = sandbox.ok(&["stats"]);
    let rows: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains('%') && line.starts_with("  "))
        .collect();
    assert!(rows.len() >= 6, "{shown}");
    let ends: Vec<usize> = rows.iter().map(|row| row.find('%').unwrap()).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{shown}");
    for word in ["Logical", "Unique", "Stored", "identical", "zstd", "raw", "packs"] {
        assert!(
            rows.iter().any(|row| row.trim_start().starts_with(word)),
            "{word}: {shown}"
        );
    }
}

#[test]
fn an_empty_repository_saves_nothing() {
    let sandbox = Sandbox::new();
    let stats = sandbox.json(&["stats"]);
    assert_eq!(
        stats["savings_by_cause"]["identical"],
        json!({ "bytes": 0, "share": 0.0 })
    );
    assert!(sandbox.ok(&["stats"]).contains("Saved: 0"));
}

#[test]
fn what_nothing_leads_to_is_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.write("a.bin", noise(1, 400_000));
    sandbox.ok(&["add", "."]);
    sandbox.ok(&["rm", "--cached", "a.bin"]);
    let stats = sandbox.json(&["stats"]);
    assert_eq!(
        (&stats["logical_bytes"], &stats["unreferenced_bytes"]),
        (&json!(0), &json!(400_000))
    );
    assert!(sandbox.ok(&["stats"]).contains("unreferenced"));
}
