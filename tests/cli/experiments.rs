//! `fai exp`, `fai best` and `fai metrics`

use std::process::Output;

use crate::support::{Sandbox, assert_fields, text};
use serde_json::{Value, json};

/// Commits a run with these params and metrics; gives the commit's id.
#[track_caller]
pub fn run(sandbox: &Sandbox, message: &str, params: &[&str], metrics: &[&str]) -> String {
    sandbox.write("model.bin", message);
    sandbox.ok(&["add", "-A"]);
    let mut arguments = vec!["commit", "-m", message];
    params.iter().for_each(|pair| arguments.extend(["--param", pair]));
    metrics.iter().for_each(|pair| arguments.extend(["--metric", pair]));
    text(&sandbox.json(&arguments)["id"])
}

/// Five commits: four runs and one without values.
fn runs() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let mut ids = vec![
        run(
            &sandbox,
            "baseline",
            &["lr=0.1", "optimizer=sgd", "seed=7"],
            &["accuracy=0.81", "loss=0.9"],
        ),
        run(
            &sandbox,
            "lower rate",
            &["lr=1e-3", "optimizer=adamw", "seed=7"],
            &["accuracy=0.93", "loss=0.25"],
        ),
        run(
            &sandbox,
            "diverged",
            &["lr=10", "optimizer=adamw", "seed=7"],
            &["accuracy=nan", "loss=inf"],
        ),
    ];
    sandbox.write("README.md", "notes");
    ids.push(sandbox.commit("notes"));
    ids.push(run(&sandbox, "only loss", &["lr=5e-4", "seed=7"], &["loss=0.3"]));
    (sandbox, ids)
}

#[track_caller]
fn messages(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let document = sandbox.json(&[&["exp"], arguments].concat());
    let found = document["experiments"].as_array().unwrap().iter();
    found.map(|experiment| text(&experiment["message"])).collect()
}

fn narrow(sandbox: &Sandbox, columns: &str, arguments: &[&str]) -> Output {
    sandbox.command(arguments).env("COLUMNS", columns).output().unwrap()
}

#[test]
fn experiments_are_a_table_with_what_varies_first() {
    let (sandbox, _) = runs();
    insta::assert_snapshot!(sandbox.ok(&["exp"]));
}

#[test]
fn columns_without_room_are_counted() {
    let (sandbox, _) = runs();
    let output = narrow(&sandbox, "60", &["exp", "-n", "2"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.lines().all(|line| line.len() <= 60), "{table}");
    assert!(!table.contains("seed"), "{table}");
    let aside = String::from_utf8(output.stderr).unwrap();
    assert!(aside.contains("more column"), "{aside}");
}

#[test]
fn they_are_sorted_by_a_metric_or_param() {
    let (sandbox, _) = runs();
    assert_eq!(
        messages(&sandbox, &[]),
        ["only loss", "diverged", "lower rate", "baseline"]
    );
    // What has no number comes last, whichever way.
    assert_eq!(
        messages(&sandbox, &["--sort", "accuracy"]),
        ["baseline", "lower rate", "diverged", "only loss"]
    );
    assert_eq!(
        messages(&sandbox, &["--sort", "-accuracy"]),
        ["lower rate", "baseline", "diverged", "only loss"]
    );
    assert_eq!(
        messages(&sandbox, &["--sort=-params.lr", "-n", "2"]),
        ["diverged", "baseline"]
    );
    assert_eq!(
        messages(&sandbox, &["--sort", "optimizer"]),
        ["diverged", "lower rate", "baseline", "only loss"]
    );
}

#[test]
fn filters_choose() {
    let (sandbox, _) = runs();
    assert_eq!(messages(&sandbox, &["--filter", "lr<1e-3"]), ["only loss"]);
    assert_eq!(
        messages(&sandbox, &["--filter", "lr<=1e-3 and optimizer=adamw"]),
        ["lower rate"]
    );
    assert_eq!(
        messages(&sandbox, &["--filter", "lr<=0.1", "--filter", "metrics.loss>0.25"]),
        ["only loss", "baseline"]
    );
    assert_eq!(messages(&sandbox, &["--filter", "optimizer!=adamw"]), ["baseline"]);
    assert_eq!(messages(&sandbox, &["--filter", "loss>1e300"]), ["diverged"]);
    assert_eq!(
        messages(&sandbox, &["--filter", "accuracy>0"]),
        ["lower rate", "baseline"],
        "NaN is no number"
    );
}

#[test]
fn nonsense_in_filters_is_shown_where_it_stands() {
    let (sandbox, _) = runs();
    for (filter, found) in [
        ("", "the end at character 1, where the name"),
        ("lr", "the end at character 3, where one of"),
        ("lr<", "the end at character 4, where a value"),
        ("lr<<1", "'<' at character 4, where a value"),
        ("<1", "'<' at character 1, where the name"),
        ("lr<1 or loss<2", "'o' at character 6, where \"and\""),
        ("lr<\"1", "the end at character 6, where a closing \""),
        ("é<1 and ü", "the end at character 10, where one of"),
        ("lr<1 and", "the end at character 9, where the name"),
    ] {
        let problem = sandbox.fails_with(2, &["exp", "--filter", filter]);
        problem.is("usage", &[found]).hints("accuracy>=0.9");
    }
    sandbox
        .fails_with(2, &["exp", "--filter", &"x".repeat(20_000)])
        .is("usage", &["longer"]);
}

#[test]
fn unknown_names_are_errors_that_name_some() {
    let (sandbox, _) = runs();
    for arguments in [
        ["exp", "--sort", "acuracy"],
        ["exp", "--filter", "acuracy>1"],
        ["best", "acuracy", "--max"],
    ] {
        let problem = sandbox.fails(&arguments);
        problem
            .is("not_found", &["\"acuracy\"", "there are accuracy, loss, lr"])
            .hints("fai exp --all");
    }
}

#[test]
fn revisions_and_branches_choose_commits() {
    let (sandbox, ids) = runs();
    // Named ones are shown whether they have values or not, in their order.
    assert_eq!(messages(&sandbox, &["HEAD~4", "HEAD~1"]), ["baseline", "notes"]);
    sandbox.ok(&["checkout", &ids[1]]);
    let aside = run(&sandbox, "aside", &["lr=0.2"], &["accuracy=0.99"]);
    assert_eq!(messages(&sandbox, &[]), ["aside", "lower rate", "baseline"]);
    assert_eq!(messages(&sandbox, &["--branch", "main"]).len(), 4);
    assert_eq!(messages(&sandbox, &["--all"]).len(), 5);
    assert_eq!(sandbox.ok(&["best", "accuracy"]).trim(), aside);
    assert_eq!(sandbox.ok(&["best", "accuracy", "--branch", "main"]).trim(), ids[1]);
    sandbox
        .fails_with(2, &["exp", "--branch", "nosuch"])
        .is("usage", &["nosuch"]);
    sandbox.fails_with(2, &["exp", "HEAD", "--all"]).is("usage", &["--all"]);
    sandbox.fails(&["exp", "nosuch"]).is("unknown_revision", &["nosuch"]);
}

#[test]
fn amended_commits_are_gone() {
    let (sandbox, _) = runs();
    assert_eq!(messages(&sandbox, &["-n1"]), ["only loss"]);
    sandbox.ok(&["commit", "--amend", "-m", "amended"]);
    assert_eq!(messages(&sandbox, &["--all", "-n2"]), ["amended", "diverged"]);
}

#[test]
fn csv_and_json_have_everything() {
    let (sandbox, ids) = runs();
    run(&sandbox, "odd, \"quoted\"", &["note=a,b"], &["big=9007199254740993"]);
    let csv = sandbox.ok(&["exp", "--csv"]);
    let head = "commit,branches,tags,time,author,message,metrics.accuracy,metrics.big,metrics.loss,params.lr,params.note,\
                params.optimizer,params.seed";
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), (head, 6));
    assert!(
        lines[1].contains("\"odd, \"\"quoted\"\"\",,9007199254740993,,,\"a,b\",,"),
        "{}",
        lines[1]
    );
    assert!(lines[3].contains("diverged,NaN,,inf,10,,adamw,7"), "{}", lines[3]);
    let document = sandbox.json(&["exp"]);
    let experiment = &document["experiments"][3];
    let fields = [
        "commit", "branches", "tags", "time", "author", "message", "labels", "params", "metrics",
    ];
    assert_fields(experiment, &fields);
    assert_eq!(experiment["commit"], json!(ids[1]));
    assert_eq!(
        experiment["params"],
        json!({ "lr": 1e-3, "optimizer": "adamw", "seed": 7 })
    );
    assert_eq!(document["experiments"][0]["branches"], json!(["main"]));
    sandbox.misused(&["exp", "--csv", "--json"]);
}

#[test]
fn the_best_commit_can_be_checked_out() {
    let (sandbox, ids) = runs();
    assert_eq!(sandbox.ok(&["best", "accuracy"]), format!("{}\n", ids[1]));
    assert_eq!(sandbox.ok(&["best", "loss"]).trim(), ids[1]);
    assert_eq!(
        sandbox.ok(&["best", "loss", "--max", "--filter", "lr<1"]).trim(),
        ids[0]
    );
    assert_eq!(sandbox.ok(&["best", "lr", "--min"]).trim(), ids[4]);
    let document = sandbox.json(&["best", "accuracy"]);
    assert_eq!(
        (&document["direction"], &document["best"]["value"]),
        (&json!("max"), &json!(0.93))
    );
    let output = sandbox
        .shell("\"$FAI\" checkout $(\"$FAI\" best accuracy)")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sandbox.read("model.bin"), b"lower rate");
}

#[test]
fn names_that_tell_no_direction_need_one() {
    let (sandbox, _) = runs();
    let problem = sandbox.fails_with(2, &["best", "lr"]);
    problem.is("usage", &["\"lr\""]).hints("--max or --min");
    sandbox.misused(&["best", "lr", "--min", "--max"]);
    sandbox
        .fails(&["best", "optimizer", "--max"])
        .is("not_found", &["\"optimizer\""]);
}

#[test]
fn equal_values_go_to_the_newest_and_nan_never_wins() {
    let sandbox = Sandbox::new();
    run(&sandbox, "a", &[], &["loss=nan"]);
    sandbox.fails(&["best", "loss"]).is("not_found", &["\"loss\""]);
    run(&sandbox, "b", &[], &["loss=1"]);
    let newest = run(&sandbox, "c", &[], &["loss=1.0"]);
    run(&sandbox, "d", &[], &["loss=nan"]);
    assert_eq!(sandbox.ok(&["best", "loss"]).trim(), newest);
}

#[test]
fn an_empty_repository_has_no_experiments() {
    let sandbox = Sandbox::new();
    sandbox.fails(&["exp"]).is("no_commits", &["main"]);
    sandbox.write("a", "1");
    sandbox.commit("nothing measured");
    assert!(sandbox.ok(&["exp"]).starts_with("No experiments: "));
    assert_eq!(sandbox.json(&["exp"])["experiments"], json!([]));
}

#[test]
fn metrics_of_a_commit_and_what_differs() {
    let (sandbox, _) = runs();
    insta::assert_snapshot!("metrics_of_a_commit", sandbox.ok(&["metrics", "HEAD~3"]));
    insta::assert_snapshot!(
        "metrics_that_differ",
        sandbox.ok(&["metrics", "--diff", "HEAD~4", "HEAD~3"])
    );
    let document = sandbox.json(&["metrics", "--diff", "HEAD~2", "HEAD"]);
    let loss = document["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "loss")
        .unwrap();
    assert_eq!(
        (&loss["before"], &loss["after"], &loss["percent"]),
        (&json!("inf"), &json!(0.3), &Value::Null)
    );
    assert_eq!(sandbox.json(&["metrics", "HEAD~1"])["metrics"], json!({}));
    let same = sandbox.ok(&["metrics", "--diff", "HEAD", "HEAD"]);
    assert!(same.contains("have the same metrics and params"), "{same}");
    sandbox.misused(&["metrics", "--diff", "HEAD"]);
}

#[test]
fn what_is_pulled_is_there_and_a_new_index_is_the_same() {
    let (sandbox, ids) = runs();
    let before = sandbox.json(&["exp", "--all"]);
    let other = Sandbox::empty();
    let source = sandbox.root().display().to_string();
    other.ok(&["clone", &source, &other.path("copy").display().to_string()]);
    let copy = other.path("copy").display().to_string();
    assert_eq!(other.json(&["-C", &copy, "exp", "--all"]), before);
    run(&sandbox, "later", &[], &["accuracy=0.95"]);
    other.ok(&["-C", &copy, "pull"]);
    assert_ne!(other.ok(&["-C", &copy, "best", "accuracy"]).trim(), ids[1]);
    let now = sandbox.json(&["exp"]);
    sandbox.json(&["fsck", "--rebuild"]);
    assert_eq!(sandbox.json(&["exp"]), now);
    sandbox.ok(&["gc", "--prune", "now"]);
    assert_eq!(sandbox.json(&["exp"]), now);
}

#[test]
fn names_and_values_cannot_command_the_terminal() {
    let sandbox = Sandbox::new();
    run(&sandbox, "x", &["evil\u{1b}[2J=\u{1b}[31m"], &["loss=1"]);
    for arguments in [&["exp"][..], &["metrics"]] {
        let said = sandbox.ok(arguments);
        assert!(said.contains("\\u{1b}"), "{said}");
    }
}
