//! What branches follow: remembered peers, `fai fetch`, ahead and behind, pushes of several branches.

use crate::support::{Sandbox, short, text};
use serde_json::{Value, json};

/// A repository with `main` and `side`, and a clone beside it.
fn cloned() -> Sandbox {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.ok(&["branch", "side"]);
    sandbox.ok(&["tag", "v1"]);
    sandbox.ok(&["clone", ".", "../clone"]);
    sandbox
}

#[track_caller]
fn inside(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    sandbox.json(&[&["-C", "../clone"], arguments].concat())
}

#[track_caller]
fn says(sandbox: &Sandbox, arguments: &[&str]) -> String {
    sandbox.ok(&[&["-C", "../clone"], arguments].concat())
}

fn commit_inside(sandbox: &Sandbox, path: &str) -> String {
    std::fs::write(sandbox.outside().join("clone").join(path), path).unwrap();
    inside(sandbox, &["add", "-A"]);
    text(&inside(sandbox, &["commit", "-m", path])["id"])
}

fn upstream(sandbox: &Sandbox) -> Value {
    let upstream = inside(sandbox, &["status"])["upstream"].clone();
    json!([upstream["name"], upstream["ahead"], upstream["behind"]])
}

#[test]
fn a_clone_has_every_branch_and_follows_them() {
    let sandbox = cloned();
    assert_eq!(upstream(&sandbox), json!(["origin/main", 0, 0]));
    assert!(says(&sandbox, &["status"]).starts_with("On branch main\nYour branch is up to date with origin/main\n"));
    assert_eq!(
        says(&sandbox, &["branch", "--all"]),
        "* main\n  side\n  origin/main\n  origin/side\n"
    );
    assert_eq!(says(&sandbox, &["tag"]), "v1\n");
    assert_eq!(sandbox.json(&["status"])["upstream"], Value::Null);
    let refs = sandbox.json(&["branch", "--all"]);
    assert_eq!(refs["remotes"], json!([]));
    assert!(sandbox.fails(&["ls", "origin/main"]).kind == "unknown_revision");
    sandbox.ok(&["clone", "../clone", "../third"]);
    let third = sandbox.json(&["-C", "../third", "branch", "--all"]);
    let names: Vec<String> = third["remotes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["name"]))
        .collect();
    assert_eq!(
        names,
        ["origin/main", "origin/side"],
        "what a clone remembers is not handed on"
    );
}

#[test]
fn status_counts_what_is_here_and_there_alone() {
    let sandbox = cloned();
    let ours = commit_inside(&sandbox, "ours");
    commit_inside(&sandbox, "more");
    assert_eq!(upstream(&sandbox), json!(["origin/main", 2, 0]));
    assert!(says(&sandbox, &["status"]).contains("Your branch is 2 commits ahead of origin/main\n"));
    sandbox.write("theirs", "theirs");
    let theirs = sandbox.commit("theirs");
    let said = says(&sandbox, &["fetch"]);
    assert!(said.contains("origin/main") && said.contains(short(&theirs)), "{said}");
    assert_eq!(upstream(&sandbox), json!(["origin/main", 2, 1]));
    assert!(says(&sandbox, &["status"]).contains("Your branch and origin/main have parted: 2 and 1 commits\n"));
    assert_eq!(says(&sandbox, &["fetch"]), "Nothing new at origin\n");
    assert_eq!(
        inside(&sandbox, &["log", "-n", "1", "@{u}"])["commits"][0]["id"],
        json!(theirs)
    );
    assert_eq!(
        inside(&sandbox, &["log", "-n", "1", "origin/main"])["commits"][0]["id"],
        json!(theirs)
    );
    inside(&sandbox, &["reset", "--hard", "@{upstream}"]);
    assert_eq!(upstream(&sandbox), json!(["origin/main", 0, 0]));
    inside(&sandbox, &["reset", "--hard", "HEAD~1"]);
    assert!(says(&sandbox, &["status"]).contains("Your branch is 1 commit behind origin/main (fai pull)\n"));
    assert_eq!(inside(&sandbox, &["pull"])["commits"], 1);
    assert_eq!(upstream(&sandbox), json!(["origin/main", 0, 0]));
    // A pull is one operation; what was learnt of the peer stays.
    inside(&sandbox, &["undo"]);
    assert_eq!(upstream(&sandbox), json!(["origin/main", 0, 1]));
    assert!(inside(&sandbox, &["branch", "-v"])["branches"][0]["upstream"]["behind"] == 1);
    let _ = ours;
}

#[test]
fn branches_that_only_a_peer_has() {
    let sandbox = cloned();
    sandbox.ok(&["switch", "-c", "new"]);
    sandbox.write("b", "b");
    let new = sandbox.commit("new");
    sandbox.ok(&["tag", "v2"]);
    sandbox.ok(&["branch", "-D", "side"]);
    let said = says(&sandbox, &["remote", "update"]);
    assert!(
        said.contains("origin/new  new ") && said.contains("origin/side  is gone there"),
        "{said}"
    );
    assert_eq!(says(&sandbox, &["tag"]), "v1\nv2\n");
    assert_eq!(
        says(&sandbox, &["switch", "new"]),
        "Switched to a new branch new, which follows origin/new\n"
    );
    assert_eq!(upstream(&sandbox), json!(["origin/new", 0, 0]));
    assert_eq!(inside(&sandbox, &["status"])["head"], json!(new));
    says(&sandbox, &["switch", "side"]);
    assert!(says(&sandbox, &["status"]).contains("origin/side, which is gone"));
    sandbox.ok(&["init", "../other", "--bare"]);
    inside(&sandbox, &["remote", "add", "nas", "../other"]);
    inside(&sandbox, &["branch", "-u", "origin/main", "new"]);
    inside(&sandbox, &["branch", "--unset-upstream"]);
    assert_eq!(inside(&sandbox, &["status"])["upstream"], Value::Null);
    inside(&sandbox, &["remote", "rename", "origin", "home"]);
    assert_eq!(
        inside(&sandbox, &["branch"])["branches"][1]["upstream"]["name"],
        json!("home/main")
    );
    inside(&sandbox, &["remote", "remove", "home"]);
    assert_eq!(inside(&sandbox, &["branch", "--all"])["remotes"], json!([]));
    sandbox
        .fails_with(2, &["-C", "../clone", "fetch", "home"])
        .is("usage", &["home"])
        .hints("fai remote add");
    sandbox
        .fails(&["-C", "../clone", "branch", "-u", "home/main"])
        .is("unknown_revision", &[]);
}

#[test]
fn a_push_gives_what_is_asked_for() {
    let sandbox = cloned();
    inside(&sandbox, &["switch", "-c", "one"]);
    let one = commit_inside(&sandbox, "one");
    inside(&sandbox, &["switch", "-c", "two"]);
    let two = commit_inside(&sandbox, "two");
    inside(&sandbox, &["tag", "v3"]);
    let pushed = inside(&sandbox, &["push", "origin", "one"]);
    assert_eq!(
        (&pushed["branch"], &pushed["commits"], &pushed["refs"]),
        (&json!("one"), &json!(1), &json!(["refs/heads/one"]))
    );
    let at = |name: &str| sandbox.json(&["log", "-n", "1", name])["commits"][0]["id"].clone();
    assert_eq!(at("one"), json!(one));
    assert!(sandbox.fails(&["ls", "two"]).kind == "unknown_revision");
    let operations = inside(&sandbox, &["op", "log", "-n", "1"]);
    assert_eq!(
        operations["operations"][0]["command"],
        json!("fai -C ../clone tag v3"),
        "a push changes nothing here"
    );
    let there = sandbox.json(&["op", "log", "-n", "1"]);
    assert!(
        text(&there["operations"][0]["command"]).starts_with("push from "),
        "{there}"
    );
    inside(&sandbox, &["push", "--all", "--tags"]);
    assert_eq!((at("two"), at("v3")), (json!(two.clone()), json!(two)));
    assert_eq!(upstream(&sandbox), json!(["origin/two", 0, 0]));
    assert_eq!(inside(&sandbox, &["push", "--all"])["commits"], 0);
    // What was pushed can be taken back there.
    sandbox.ok(&["undo"]);
    assert!(sandbox.fails(&["ls", "two"]).kind == "unknown_revision");
    sandbox.ok(&["redo"]);
    inside(&sandbox, &["push", "--delete", "one"]);
    assert!(sandbox.fails(&["ls", "one"]).kind == "unknown_revision");
    let gone = inside(&sandbox, &["branch", "--all"])["remotes"]
        .as_array()
        .unwrap()
        .iter()
        .any(|it| it["name"] == "origin/one");
    assert!(!gone);
    sandbox
        .fails(&["-C", "../clone", "push", "--delete", "one"])
        .is("not_found", &["one"]);
    sandbox
        .fails(&["-C", "../clone", "push", "origin", "nosuch"])
        .is("not_found", &["nosuch"]);
    let refused = sandbox.run(&["-C", "../clone", "push", "--delete", "main"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("current branch there"));
    sandbox.misused(&["push", "--all", "origin", "one"]);
    sandbox.assert_sound();
}
