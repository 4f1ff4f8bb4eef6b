//! `fai branch`, `fai switch` and `fai tag`

use std::os::unix::fs::MetadataExt;

use crate::support::{Sandbox, short, text};
use serde_json::{Value, json};

/// `main` with two commits, and `topic` with one more than the first.
fn forked() -> (Sandbox, [String; 3]) {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    sandbox.write("same", "same");
    let first = sandbox.commit("first");
    sandbox.ok(&["branch", "topic"]);
    sandbox.write("a", "2");
    let second = sandbox.commit("second");
    sandbox.ok(&["switch", "topic"]);
    sandbox.write("b", "b");
    let third = sandbox.commit("third");
    (sandbox, [first, second, third])
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let branches = sandbox.json(&["branch"]);
    let branches = branches["branches"].as_array().unwrap().iter();
    branches.map(|branch| text(&branch["name"])).collect()
}

fn current(sandbox: &Sandbox) -> Value {
    sandbox.json(&["status"])["branch"].clone()
}

#[test]
fn branches_part_and_files_follow() {
    let (sandbox, [first, second, third]) = forked();
    assert_eq!(sandbox.ok(&["branch"]), "  main\n* topic\n");
    assert_eq!(
        sandbox.ok(&["branch", "-v"]),
        format!("  main  {} second\n* topic {} third\n", short(&second), short(&third))
    );
    assert_eq!((sandbox.read("a"), sandbox.exists("b")), (b"1".to_vec(), true));
    assert_eq!(sandbox.ok(&["switch", "main"]), "Switched to main\n");
    assert_eq!((sandbox.read("a"), sandbox.exists("b")), (b"2".to_vec(), false));
    sandbox.assert_clean();
    assert_eq!(sandbox.ok(&["switch", "main"]), "Already on main\n");
    assert_eq!(sandbox.ok(&["switch", "-"]), "Switched to topic\n");
    assert_eq!(sandbox.ok(&["switch", "-"]), "Switched to main\n");
    assert_eq!(sandbox.ok(&["switch", "@{-1}"]), "Switched to topic\n");
    assert_eq!(
        sandbox.ok(&["switch", "--detach", "main~1"]),
        format!("HEAD is at {}, on no branch\n", short(&first))
    );
    assert_eq!(current(&sandbox), Value::Null);
    assert!(
        sandbox
            .ok(&["branch"])
            .starts_with(&format!("* (detached at {})\n", short(&first)))
    );
    assert_eq!(
        sandbox.ok(&["switch", "-c", "again", "main"]),
        "Switched to a new branch again\n"
    );
    assert_eq!(sandbox.read("a"), b"2");
    sandbox.assert_clean();
    sandbox.assert_sound();
}

#[test]
fn only_what_differs_is_touched() {
    let (sandbox, _) = forked();
    let stat = |path: &str| {
        let found = sandbox.path(path).metadata().unwrap();
        (found.ino(), found.mtime_nsec(), found.ctime_nsec())
    };
    let before = (stat("same"), stat("a"));
    let report = sandbox.json(&["switch", "main"]);
    assert_eq!((&report["written"], &report["removed"]), (&json!(1), &json!(1)));
    assert_eq!(stat("same"), before.0);
    assert_ne!(stat("a"), before.1);
}

#[test]
fn local_changes_go_along_or_stop_it() {
    let (sandbox, _) = forked();
    sandbox.write("same", "changed");
    sandbox.write("new", "new");
    sandbox.ok(&["add", "new"]);
    sandbox.remove("same");
    sandbox.ok(&["switch", "main"]);
    assert!(!sandbox.exists("same"), "a removal is a local change, too");
    assert_eq!(sandbox.staged(), ["added new"]);
    sandbox.write("a", "mine");
    let problem = sandbox.fails(&["switch", "topic"]);
    problem.is("local_changes", &["a"]).hints("commit");
    assert_eq!(
        (current(&sandbox), sandbox.read("a")),
        (json!("main"), b"mine".to_vec())
    );
    sandbox.write("b", "in the way");
    sandbox.fails(&["switch", "topic"]).is("local_changes", &["a", "b"]);
    sandbox.ok(&["switch", "topic", "--force"]);
    assert_eq!((sandbox.read("a"), sandbox.read("b")), (b"1".to_vec(), b"b".to_vec()));
    sandbox.ok(&["undo"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        (b"mine".to_vec(), b"in the way".to_vec())
    );
    assert_eq!(
        (current(&sandbox), sandbox.staged()),
        (json!("main"), vec!["added new".to_owned()])
    );
}

#[test]
fn names_that_are_none_or_taken() {
    let (sandbox, _) = forked();
    let long = "x".repeat(256);
    for name in [
        "", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "/a", "a/", "a//b", "a/.b", ".a", "a.lock",
        "a.lock/b", "@", "a@{1}", "HEAD", "a.", "con", "tab\t", ".fai", &long,
    ] {
        for command in ["branch", "tag"] {
            let problem = sandbox.fails_with(2, &[command, name]);
            problem.is("usage", &[]);
        }
        sandbox.fails_with(2, &["switch", "-c", name]).is("usage", &[]);
        sandbox.fails_with(2, &["branch", "-m", "main", name]).is("usage", &[]);
    }
    sandbox.misused(&["branch", "-x"]);
    for arguments in [["branch", "main"], ["switch", "-cmain"]] {
        sandbox.fails(&arguments).is("exists", &["main"]).hints("fai switch");
    }
    sandbox
        .fails(&["branch", "-m", "topic", "main"])
        .is("exists", &["main"]);
    sandbox.ok(&["branch", "team/one"]);
    for name in ["team", "team/one/two"] {
        let problem = sandbox.fails(&["branch", name]);
        problem.is("in_the_way", &[name, "team/one"]).hints("choose");
    }
    sandbox.ok(&["branch", "-m", "team/one", "team"]);
    sandbox.ok(&["branch", "-m", "team", "team/one"]);
    sandbox.ok(&["tag", "team"]);
    assert_eq!(names(&sandbox), ["main", "team/one", "topic"]);
    sandbox
        .fails(&["branch", "x", "nosuch"])
        .is("unknown_revision", &["nosuch"]);
    let problem = sandbox.fails(&["switch", "nosuch"]);
    problem.is("not_found", &["nosuch"]).hints("switch -c");
    sandbox
        .fails(&["switch", "team"])
        .is("not_found", &["team"])
        .hints("--detach");
    sandbox
        .fails(&["switch", "HEAD~1"])
        .is("not_found", &[])
        .hints("--detach HEAD~1");
    let fresh = Sandbox::new();
    fresh
        .fails(&["switch", "-"])
        .is("unknown_revision", &[])
        .hints("reflog");
    fresh.fails(&["branch", "x"]).is("no_commits", &["main"]);
}

#[test]
fn deleting_keeps_what_nothing_else_leads_to() {
    let (sandbox, [_, second, third]) = forked();
    let problem = sandbox.fails(&["branch", "-d", "topic"]);
    problem.is("current_branch", &["topic"]).hints("fai switch");
    sandbox.fails(&["branch", "-D", "topic"]).is("current_branch", &[]);
    let problem = sandbox.fails(&["branch", "-d", "main"]);
    problem.is("unmerged", &["main", "1 of its commits"]).hints("-D");
    sandbox.ok(&["branch", "merged", "topic~1"]);
    sandbox.ok(&["branch", "-d", "merged"]);
    let said = sandbox.ok(&["branch", "-D", "main"]);
    assert_eq!(said, format!("Deleted branch main (it stood on {})\n", short(&second)));
    assert_eq!(names(&sandbox), ["topic"]);
    sandbox.fails(&["branch", "-D", "main"]).is("not_found", &["main"]);
    sandbox.ok(&["undo"]);
    assert_eq!(names(&sandbox), ["main", "topic"]);
    sandbox.ok(&["branch", "-f", "main", "topic"]);
    let document = sandbox.json(&["branch"]);
    assert_eq!(document["branches"][0]["commit"], json!(third));
    sandbox
        .fails(&["branch", "-f", "topic", "main"])
        .is("current_branch", &[]);
    sandbox.fails_with(2, &["branch", "-d"]).is("usage", &[]);
}

#[test]
fn a_renamed_branch_stays_the_current_one() {
    let (sandbox, _) = forked();
    assert_eq!(sandbox.ok(&["branch", "-m", "newer"]), "Branch topic is newer now\n");
    assert_eq!(current(&sandbox), json!("newer"));
    sandbox.ok(&["branch", "-m", "main", "trunk"]);
    assert_eq!(names(&sandbox), ["newer", "trunk"]);
    sandbox.assert_clean();
    let fresh = Sandbox::new();
    fresh.ok(&["branch", "-m", "trunk"]);
    assert_eq!(current(&fresh), json!("trunk"));
    fresh.ok(&["switch", "-c", "other"]);
    assert_eq!(current(&fresh), json!("other"));
    fresh.write("a", "1");
    fresh.commit("first");
    assert_eq!(names(&fresh), ["other"]);
}

#[test]
fn tags_stay_and_may_say_why() {
    let (sandbox, [first, second, third]) = forked();
    assert_eq!(
        sandbox.ok(&["tag", "v2"]),
        format!("Tag v2 stands on {}\n", short(&third))
    );
    sandbox.ok(&["tag", "v1", "main~1", "-m", "The base\n\nfor everything"]);
    assert_eq!(sandbox.ok(&["tag"]), "v1  The base\nv2\n");
    let tags = sandbox.json(&["tag", "--list"]);
    assert_eq!(
        (
            &tags["tags"][0]["commit"],
            &tags["tags"][0]["message"],
            &tags["tags"][1]["message"]
        ),
        (&json!(first), &json!("The base\n\nfor everything"), &Value::Null)
    );
    sandbox.fails(&["tag", "v1"]).is("exists", &["v1"]).hints("--force");
    sandbox.ok(&["tag", "-f", "v1", "main"]);
    assert_eq!(sandbox.json(&["tag"])["tags"][0]["commit"], json!(second));
    assert_eq!(
        sandbox.json(&["tag"])["tags"][0]["message"],
        Value::Null,
        "it was said of another commit"
    );
    sandbox.ok(&["undo"]);
    assert_eq!(
        sandbox.json(&["tag"])["tags"][0]["message"],
        json!("The base\n\nfor everything")
    );
    let said = sandbox.ok(&["tag", "-d", "v1"]);
    assert_eq!(said, format!("Deleted tag v1 (it stood on {})\n", short(&first)));
    sandbox
        .fails(&["tag", "-d", "v1"])
        .is("not_found", &["v1"])
        .hints("fai tag");
    sandbox.ok(&["undo"]);
    assert_eq!(sandbox.ok(&["tag"]), "v1  The base\nv2\n");
    let log = sandbox.ok(&["log", "--oneline", "-n", "1"]);
    assert!(log.contains("topic") && log.contains("v2"), "{log}");
}
