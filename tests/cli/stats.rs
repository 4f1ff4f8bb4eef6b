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

/// Some weights a little larger.
fn tuned(base: &[u8]) -> Vec<u8> {
    let nudge = |(at, byte): (usize, &u8)| byte.wrapping_add(u8::from(at % 14 == 0));
    base.iter().enumerate().map(nudge).collect()
}

#[test]
fn a_fine_tune_is_told_what_it_costs() {
    let sandbox = Sandbox::new();
    let weights = weights(1, 400_000);
    let config = noise(3, 70_000);
    sandbox.write("base/model.safetensors", model(&weights));
    sandbox.write("base/config.bin", &config);
    sandbox.commit("base");
    sandbox.write("tuned/model.safetensors", model(&tuned(&weights)));
    sandbox.write("tuned/config.bin", &config);
    sandbox.commit("fine-tune");
    let stats = sandbox.json(&["stats", "tuned/"]);
    let field = |name: &str| number(&stats[name]);
    let len = model(&weights).len() as u64 + config.len() as u64;
    assert_eq!((field("files"), field("logical_bytes")), (2, len), "{stats}");
    assert_eq!(
        field("unique_bytes"),
        field("shared_bytes") + field("own_bytes"),
        "{stats}"
    );
    assert_eq!(
        field("stored_bytes"),
        field("shared_stored_bytes") + field("own_stored_bytes")
    );
    assert!(
        field("shared_bytes") >= config.len() as u64 && field("own_bytes") >= 790_000,
        "{stats}"
    );
    assert!(field("own_stored_bytes") < field("own_bytes") / 4, "{stats}");
    // Nothing is counted twice, and nothing left out.
    let causes = stats["savings_by_cause"].as_object().unwrap();
    let saved: u64 = causes.values().map(|cause| number(&cause["bytes"])).sum();
    assert_eq!(field("stored_bytes"), len - saved + field("overhead_bytes"), "{stats}");
    assert_eq!(
        (&stats["longest_chain"], &stats["deltas_by_depth"]),
        (&json!(1), &json!([1]))
    );
    let bases = stats["bases"].as_array().unwrap();
    assert_eq!(bases.len(), 1, "{stats}");
    assert_eq!(
        (&bases[0]["path"], &bases[0]["chunks"]),
        (&json!("base/model.safetensors"), &json!(1))
    );

    // The base shares its other file, and stands on nothing.
    let base = sandbox.json(&["stats", "HEAD~1:base/model.safetensors", "HEAD:base/config.bin"]);
    assert_eq!((&base["bases"], &base["files"]), (&json!([]), &json!(2)), "{base}");
    assert_eq!(base["shared_bytes"], stats["shared_bytes"]);
    let said = sandbox.ok(&["stats", "tuned/model.safetensors"]);
    assert!(
        said.contains("stand on") && said.contains("base/model.safetensors"),
        "{said}"
    );
    assert!(said.contains("only for it"), "{said}");
    let all = sandbox.json(&["stats", "HEAD:"]);
    assert_eq!((&all["shared_bytes"], &all["files"]), (&json!(0), &json!(4)), "{all}");
    for nowhere in ["nowhere", "HEAD:nowhere", "HEAD~9:base"] {
        assert_eq!(sandbox.run(&["stats", nowhere]).status.code(), Some(1), "{nowhere}");
    }
}
