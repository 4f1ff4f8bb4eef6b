//! `fai search`

use crate::experiments::run;
use crate::support::{Sandbox, text};
use fai_testkit::{DType, Tensor, safetensors};
use serde_json::{Value, json};

fn model(layers: usize, rows: usize) -> Vec<u8> {
    let names: Vec<String> = (0..layers)
        .map(|layer| format!("model.layers.{layer}.mlp.gate_proj.weight"))
        .collect();
    let tensor = |name: &String| Tensor::of(name, DType::F32, &[rows, 4], &vec![0.5; rows * 4]);
    safetensors::write(&names.iter().map(tensor).collect::<Vec<_>>())
}

/// A repository with a model in two versions, one that is gone again, and a run.
fn filled() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    sandbox.write("models/chat/model.safetensors", model(13, 2));
    sandbox.write("models/chat/config.json", "{\"architectures\": [\"LlamaForCausalLM\"]}");
    let mut ids = vec![sandbox.commit("Chat model\n\nwith a Größe nobody expected")];
    sandbox.write("old/other.safetensors", model(2, 100));
    ids.push(sandbox.commit("Other model"));
    sandbox.remove("old/other.safetensors");
    ids.push(sandbox.commit("Without the other"));
    ids.push(run(
        &sandbox,
        "A run",
        &["optimizer=adamw", "lr=1e-3"],
        &["accuracy=0.5"],
    ));
    (sandbox, ids)
}

#[track_caller]
fn hits(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let document = sandbox.json(&[&["search"], arguments].concat());
    document["hits"].as_array().unwrap().clone()
}

#[track_caller]
fn matches(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    hits(sandbox, arguments).iter().map(|hit| text(&hit["match"])).collect()
}

#[test]
fn everything_is_found_and_says_where() {
    let (sandbox, ids) = filled();
    let tensor = &hits(&sandbox, &["layers.12.mlp"])[0];
    assert_eq!(tensor["match"], "model.layers.12.mlp.gate_proj.weight");
    assert_eq!(
        (&tensor["in"], &tensor["path"]),
        (&json!("tensor"), &json!("models/chat/model.safetensors"))
    );
    // The newest commit with it is where we are.
    assert_eq!(tensor["commit"], json!(ids[3]));
    assert_eq!(
        tensor["model"],
        json!({ "format": "safetensors", "architecture": "LlamaForCausalLM", "parameters": 104 })
    );
    // So it is for a tensor that a model has, too, which came later and is gone.
    assert_eq!(hits(&sandbox, &["layers.0.mlp"])[0]["commit"], json!(ids[3]));
    // What is gone was last there before it went.
    let gone = &hits(&sandbox, &["other", "--in", "names"])[0];
    assert_eq!(
        (&gone["path"], &gone["commit"]),
        (&json!("old/other.safetensors"), &json!(ids[1]))
    );
    assert_eq!(matches(&sandbox, &["grösse"]), [""; 0]);
    for text in ["GRÖ", "große", "größe"] {
        assert_eq!(matches(&sandbox, &[text]), ["with a Größe nobody expected"], "{text}");
    }
    assert_eq!(matches(&sandbox, &["adamw"]), ["optimizer=adamw"]);
    assert_eq!(matches(&sandbox, &["accuracy", "--in", "metrics"]), ["accuracy=0.5"]);
    assert_eq!(hits(&sandbox, &["causal"])[0]["in"], "model");
    insta::assert_snapshot!(sandbox.ok(&["search", "model"]));
}

#[test]
fn numbers_are_whole_and_words_may_be_longer() {
    let (sandbox, _) = filled();
    assert_eq!(
        matches(&sandbox, &["layers.1"]),
        ["model.layers.1.mlp.gate_proj.weight"]
    );
    assert_eq!(matches(&sandbox, &["layers.1.ml"]).len(), 1);
    assert_eq!(matches(&sandbox, &["lla", "--in", "models"]), ["LlamaForCausalLM"]);
    assert_eq!(matches(&sandbox, &["run", "nosuch"]), [""; 0]);
    assert_eq!(matches(&sandbox, &["gate_proj", "--in", "names,messages"]), [""; 0]);
}

#[test]
fn models_of_a_size() {
    let (sandbox, _) = filled();
    let paths = |arguments: &[&str]| -> Vec<String> {
        hits(&sandbox, arguments).iter().map(|hit| text(&hit["path"])).collect()
    };
    assert_eq!(paths(&["--parameters", ">104"]), ["old/other.safetensors"]);
    assert_eq!(paths(&["--parameters", "<1k"]).len(), 2);
    assert_eq!(
        paths(&["llama", "--parameters", ">=104"]),
        ["models/chat/model.safetensors"]
    );
    assert_eq!(paths(&["llama", "--parameters", ">1B"]), [""; 0]);
    let problem = sandbox.fails_with(2, &["search", "--parameters", "many"]);
    problem.is("usage", &["\"many\""]).hints(">1B");
}

#[test]
fn no_text_is_a_command() {
    let (sandbox, _) = filled();
    let texts = [
        "\"",
        "a OR b",
        "NEAR(a b)",
        "body:model",
        "model*",
        "^model",
        "(model",
        "model AND",
        "'; DROP",
        "a\"b",
        "\u{7}x",
    ];
    for text in texts {
        let output = sandbox.run(&["search", "--json", "--", text]);
        let empty = !text.contains(char::is_alphanumeric);
        assert_eq!(
            output.status.code(),
            Some(if empty { 2 } else { 0 }),
            "{text}: {output:?}"
        );
    }
    assert!(sandbox.run(&["search", "--", "-model"]).status.success());
    for text in ["", "\"", "* ( )", "."] {
        sandbox.fails_with(2, &["search", text]).is("usage", &["search for"]);
    }
    sandbox.misused(&["search", "x", "--in", "everywhere"]);
}

#[test]
fn the_number_is_limited_and_more_is_told() {
    let (sandbox, _) = filled();
    let document = sandbox.json(&["search", "weight", "-n", "3"]);
    assert_eq!(
        (document["hits"].as_array().unwrap().len(), &document["more"]),
        (3, &json!(true))
    );
    assert!(
        sandbox
            .warned(&["search", "weight", "-n", "3"])
            .1
            .contains("There is more")
    );
    assert_eq!(sandbox.ok(&["search", "nosuchword"]), "Nothing found\n");
}

#[test]
fn what_came_from_elsewhere_is_found_and_what_is_gone_is_not() {
    let (sandbox, _) = filled();
    let other = Sandbox::empty();
    let copy = other.path("copy").display().to_string();
    other.ok(&["clone", &sandbox.root().display().to_string(), &copy]);
    let search = ["search", "layers.12", "llama"];
    assert_eq!(
        other.json(&["-C", &copy, "search", "layers.12"]),
        sandbox.json(&["search", "layers.12"])
    );
    assert_eq!(other.json(&[&["-C", &copy], &search[..]].concat())["hits"], json!([]));
    sandbox.json(&["fsck", "--rebuild"]);
    assert_eq!(hits(&sandbox, &["layers.12"]).len(), 1);
    sandbox.ok(&["commit", "--amend", "-m", "Renamed"]);
    assert_eq!(matches(&sandbox, &["run"]), [""; 0]);
    sandbox.ok(&["gc", "--prune", "now"]);
    assert_eq!(hits(&sandbox, &["layers.12"]).len(), 1);
}
