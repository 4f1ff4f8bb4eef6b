//! `fai commit`

use crate::support::{DATE, Sandbox, assert_fields, short, text};
use serde_json::json;

fn staged() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    sandbox.ok(&["add", "a"]);
    sandbox
}

#[test]
fn it_names_the_commit() {
    let sandbox = staged();
    let said = sandbox.ok(&["commit", "-m", "Initial ResNet-50 model"]);
    let id = text(&sandbox.json(&["log"])["commits"][0]["id"]);
    assert_eq!(said, format!("Created commit {}\n", short(&id)));
    sandbox.assert_clean();
}

#[test]
fn json_describes_the_commit() {
    let sandbox = staged();
    let first = sandbox.json(&["commit", "-m", "one"]);
    assert_fields(&first, &["id", "tree", "parents", "message"]);
    assert_eq!((&first["message"], &first["parents"]), (&json!("one"), &json!([])));
    assert_eq!(
        first["author"],
        json!({ "name": "Ada Lovelace", "email": "ada@example.org" })
    );
    assert_eq!(first["time"], DATE);
    assert_eq!(text(&first["id"]).len(), 64);
    sandbox.write("a", "2");
    sandbox.ok(&["add", "a"]);
    let second = sandbox.json(&["commit", "-m", "two"]);
    assert_eq!(second["parents"], json!([first["id"]]));
    assert_ne!(second["tree"], first["tree"]);
}

#[test]
fn the_same_work_makes_the_same_commit() {
    let ids: Vec<String> = (0..2)
        .map(|_| text(&staged().json(&["commit", "-m", "one"])["id"]))
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn nothing_staged_is_no_commit() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("a", "changed, not staged");
    let problem = sandbox.fails(&["commit", "-m", "nothing"]);
    problem.is("nothing_to_commit", &["nothing to commit"]).hints("fai add");
    assert_eq!(sandbox.json(&["log"])["commits"].as_array().unwrap().len(), 1);
}

#[test]
fn a_message_is_needed() {
    let sandbox = staged();
    assert!(sandbox.misused(&["commit"]).contains("--message"));
    for empty in ["", " \n"] {
        let problem = sandbox.fails_with(2, &["commit", "-m", empty]);
        problem.is("usage", &["the message is empty"]).hints("what changed");
    }
    assert_eq!(sandbox.staged(), ["added a"]);
}

#[test]
fn several_messages_make_paragraphs() {
    let sandbox = staged();
    let commit = sandbox.json(&["commit", "-m", "Title", "-m", "Body"]);
    assert_eq!(commit["message"], "Title\n\nBody");
}

#[test]
fn only_what_is_staged_is_committed() {
    let sandbox = staged();
    sandbox.write("a", "newer");
    sandbox.write("b", "not staged");
    sandbox.ok(&["commit", "-m", "one"]);
    assert_eq!(sandbox.bytes(&["cat", "HEAD:a"]), b"1");
    assert_eq!(sandbox.listed(&["HEAD"]), ["a"]);
    assert_eq!(sandbox.status("modified"), ["a"]);
}

#[test]
fn the_author_can_be_named() {
    let sandbox = staged();
    let commit = sandbox.json(&["commit", "-m", "one", "--author", "Grace Hopper <grace@example.org>"]);
    assert_eq!(
        commit["author"],
        json!({ "name": "Grace Hopper", "email": "grace@example.org" })
    );
    sandbox.write("a", "2");
    sandbox.ok(&["add", "a"]);
    let problem = sandbox.fails_with(2, &["commit", "-m", "two", "--author", "<nobody"]);
    problem
        .is("usage", &["<nobody"])
        .hints("Ada Lovelace <ada@example.org>");
}

#[test]
fn settings_name_the_author_when_the_environment_does_not() {
    let sandbox = staged();
    sandbox.ok(&["config", "--global", "user.name", "Global"]);
    sandbox.ok(&["config", "--global", "user.email", "global@example.org"]);
    sandbox.ok(&["config", "user.name", "Local"]);
    let output = sandbox
        .command(&["commit", "-m", "one", "--json"])
        .env_remove("FAI_AUTHOR_NAME")
        .env_remove("FAI_AUTHOR_EMAIL")
        .output()
        .unwrap();
    let commit: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        commit["author"],
        json!({ "name": "Local", "email": "global@example.org" })
    );
}

#[test]
fn a_wrong_clock_is_an_error() {
    let sandbox = staged();
    let output = sandbox
        .command(&["commit", "-m", "x"])
        .env("FAI_DATE", "yesterday")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: FAI_DATE is \"yesterday\", which is no date"),
        "{said}"
    );
}

#[test]
fn amending_replaces_the_newest_commit() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let first = text(&sandbox.json(&["log"])["commits"][0]["id"]);
    sandbox.write("b", "2");
    let second = sandbox.commit("wrogn");
    let amended = sandbox.json(&["commit", "--amend", "-m", "right"]);
    assert_eq!(amended["parents"], json!([first]));
    assert_eq!(sandbox.listed(&["HEAD"]), ["a", "b"]);
    // Without a message the old one stays, and staged files join.
    sandbox.write("c", "3");
    sandbox.ok(&["add", "c"]);
    let again = sandbox.json(&["commit", "--amend"]);
    assert_eq!(again["message"], "right");
    assert_eq!(sandbox.listed(&["HEAD"]), ["a", "b", "c"]);
    let log = sandbox.json(&["log"])["commits"].clone();
    assert_eq!(log.as_array().unwrap().len(), 2);
    // What was replaced is still there for those who know its id.
    assert_eq!(sandbox.listed(&[&second]), ["a", "b"]);
}

#[test]
fn amending_needs_a_commit() {
    let sandbox = staged();
    sandbox.fails(&["commit", "--amend"]).is("no_commits", &["main"]);
}

#[test]
fn parameters_and_metrics_keep_their_types() {
    let sandbox = staged();
    sandbox.ok(&[
        "commit",
        "-m",
        "run",
        "--param",
        "lr=1e-4",
        "--param",
        "epochs=3",
        "--param",
        "name=a=b",
        "--param",
        "fp16=true",
        "--metric",
        "accuracy=0.931",
        "--metric",
        "step=-7",
        "--metric",
        "loss=nan",
        "--tag-with",
        "baseline",
    ]);
    let commit = sandbox.json(&["log"])["commits"][0].clone();
    assert_eq!(
        commit["params"],
        json!({ "epochs": 3, "fp16": true, "lr": 1e-4, "name": "a=b" })
    );
    assert_eq!(
        commit["metrics"],
        json!({ "accuracy": 0.931, "loss": "NaN", "step": -7 })
    );
    assert_eq!(commit["labels"], json!(["baseline"]));
    assert!(commit["params"]["epochs"].is_i64() && commit["params"]["lr"].is_f64());
    let said = sandbox.ok(&["log"]);
    for line in [
        "    params: epochs=3 fp16=true lr=0.0001 name=a=b",
        "    metrics: accuracy=0.931 loss=NaN step=-7",
        "    labels: baseline",
    ] {
        assert!(said.lines().any(|found| found == line), "no line {line:?} in {said}");
    }
}

#[test]
fn a_parameter_without_a_value_is_wrong_usage() {
    let sandbox = staged();
    for arguments in [["--param", "lr"], ["--metric", "=1"]] {
        let problem = sandbox.fails_with(2, &["commit", "-m", "x", arguments[0], arguments[1]]);
        problem.is("usage", &[arguments[1]]).hints("accuracy=0.93");
    }
    assert_eq!(sandbox.staged(), ["added a"]);
}

#[test]
fn metrics_and_parameters_are_read_from_their_files() {
    let sandbox = staged();
    sandbox.write(
        "metrics.json",
        r#"{"accuracy": 0.5, "eval": {"loss": 2, "name": "x"}, "gone": null}"#,
    );
    sandbox.write("dvclive/metrics.json", r#"{"step": 12}"#);
    sandbox.write("params.yaml", "lr: 0.1\nmodel:\n  layers: [2, 3]\n  bias: true\n");
    sandbox.write("params.json", r#"{"seed": 7}"#);
    sandbox.write("sub/metrics.json", r#"{"elsewhere": 1}"#);
    sandbox.ok(&["add", "-A"]);
    let commit = sandbox.json(&["commit", "-m", "run", "--metric", "accuracy=0.9"]);
    // What was typed wins.
    assert_eq!(
        commit["metrics"],
        json!({ "accuracy": 0.9, "eval.loss": 2, "eval.name": "x", "step": 12 })
    );
    assert_eq!(
        commit["params"],
        json!({ "lr": 0.1, "model.bias": true, "model.layers": [2, 3], "seed": 7 })
    );
    // Only when they are staged: the next commit does not have them.
    sandbox.write("a", "2");
    sandbox.ok(&["add", "a"]);
    assert_eq!(sandbox.json(&["commit", "-m", "next"])["metrics"], json!({}));
}

#[test]
fn metrics_are_read_as_they_are_staged() {
    let sandbox = Sandbox::new();
    sandbox.write("metrics.json", r#"{"accuracy": 1}"#);
    sandbox.ok(&["add", "-A"]);
    sandbox.write("metrics.json", r#"{"accuracy": 2}"#);
    assert_eq!(
        sandbox.json(&["commit", "-m", "run"])["metrics"],
        json!({ "accuracy": 1 })
    );
}

#[test]
fn broken_metrics_are_warned_of_and_committed() {
    for broken in ["{\"accuracy\": ", "[1, 2]", "\u{1}"] {
        let sandbox = Sandbox::new();
        sandbox.write("metrics.json", broken);
        sandbox.ok(&["add", "-A"]);
        let (said, warning) = sandbox.warned(&["commit", "-m", "run"]);
        assert!(said.starts_with("Created commit "), "{said}");
        assert!(
            warning.starts_with("warning: metrics.json holds no usable values: "),
            "{warning}"
        );
        assert_eq!(sandbox.bytes(&["cat", "HEAD:metrics.json"]), broken.as_bytes());
        assert_eq!(sandbox.json(&["log"])["commits"][0]["metrics"], json!({}));
    }
}

#[test]
fn committing_on_a_detached_head_leaves_the_branch() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let main = text(&sandbox.json(&["log"])["commits"][0]["id"]);
    sandbox.ok(&["checkout", "--detach"]);
    sandbox.write("a", "2");
    let detached = sandbox.commit("aside");
    assert_eq!(sandbox.json(&["status"])["head"], json!(detached));
    let log = sandbox.json(&["log", "main"])["commits"].clone();
    assert_eq!((log.as_array().unwrap().len(), &log[0]["id"]), (1, &json!(main)));
    sandbox.ok(&["checkout", "main"]);
    assert_eq!(sandbox.read("a"), b"1");
    assert_eq!(sandbox.bytes(&["cat", &format!("{detached}:a")]), b"2");
}
