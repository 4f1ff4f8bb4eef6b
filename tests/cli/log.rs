//! `fai log`

use crate::support::{DATE, SHOWN_DATE, Sandbox, assert_fields, short, text};
use serde_json::json;

/// Three commits: `a` is changed by the first and the third, `sub/b` by the second.
fn three() -> (Sandbox, [String; 3]) {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    let first = sandbox.commit("first");
    sandbox.write("sub/b", "2");
    let second = sandbox.commit("second\n\nwith a body");
    sandbox.write("a", "3");
    let third = sandbox.commit("third");
    (sandbox, [first, second, third])
}

fn messages(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let document = sandbox.json(&[&["log"], arguments].concat());
    let commits = document["commits"].as_array().unwrap().iter();
    commits
        .map(|commit| text(&commit["message"]).lines().next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn commits_are_shown_newest_first() {
    let (sandbox, [first, second, third]) = three();
    let expected = format!(
        "commit {} ({SHOWN_DATE}) [main]\n    Author: Ada Lovelace <ada@example.org>\n    third\n\
         commit {} ({SHOWN_DATE})\n    Author: Ada Lovelace <ada@example.org>\n    second\n    \n    with a body\n\
         commit {} ({SHOWN_DATE})\n    Author: Ada Lovelace <ada@example.org>\n    first\n",
        short(&third),
        short(&second),
        short(&first)
    );
    assert_eq!(sandbox.ok(&["log"]), expected);
}

#[test]
fn json_has_everything() {
    let (sandbox, [first, second, third]) = three();
    let document = sandbox.json(&["log"]);
    let commits = document["commits"].as_array().unwrap();
    let ids: Vec<_> = commits.iter().map(|commit| text(&commit["id"])).collect();
    assert_eq!(ids, [third, second.clone(), first]);
    let newest = &commits[0];
    let fields = [
        "id", "parents", "author", "time", "message", "metrics", "params", "branches", "tags",
    ];
    assert_fields(newest, &fields);
    assert_fields(&newest["author"], &["name", "email"]);
    assert_eq!(newest["parents"], json!([second]));
    assert_eq!(newest["time"], DATE);
    assert_eq!((&newest["branches"], &newest["tags"]), (&json!(["main"]), &json!([])));
    assert_eq!(commits[1]["branches"], json!([]));
}

#[test]
fn the_number_can_be_limited() {
    let (sandbox, _) = three();
    assert_eq!(messages(&sandbox, &["-n", "2"]), ["third", "second"]);
    assert_eq!(messages(&sandbox, &["-n1"]), ["third"]);
    assert_eq!(messages(&sandbox, &["-n", "0"]), [""; 0]);
    assert_eq!(messages(&sandbox, &["--max-count", "99"]).len(), 3);
    sandbox.misused(&["log", "-n", "many"]);
}

#[test]
fn a_line_each() {
    let (sandbox, [first, second, third]) = three();
    let expected = format!(
        "{} [main] third\n{} second\n{} first\n",
        short(&third),
        short(&second),
        short(&first)
    );
    assert_eq!(sandbox.ok(&["log", "--oneline"]), expected);
}

#[test]
fn the_graph_draws_a_line() {
    let (sandbox, [first, second, third]) = three();
    let expected = format!(
        "* {} [HEAD -> main] third\n* {} second\n* {} first\n",
        short(&third),
        short(&second),
        short(&first)
    );
    assert_eq!(sandbox.ok(&["log", "--graph", "--oneline"]), expected);
    let said = sandbox.ok(&["log", "--graph", "-n", "1"]);
    let expected = format!(
        "* commit {} ({SHOWN_DATE}) [HEAD -> main]\n|     Author: Ada Lovelace <ada@example.org>\n|     third\n",
        short(&third)
    );
    assert_eq!(said, expected);
}

#[test]
fn the_graph_forks_and_names_everything() {
    let (sandbox, [first, second, third]) = three();
    sandbox.ok(&["switch", "-c", "side", "HEAD~1"]);
    sandbox.write("c", "c");
    let fourth = sandbox.commit("fourth");
    sandbox.ok(&["tag", "v1", "main"]);
    let expected = format!(
        "* {} [HEAD -> side] fourth\n| * {} [main, tag: v1] third\n|/\n* {} second\n* {} first\n",
        short(&fourth),
        short(&third),
        short(&second),
        short(&first)
    );
    let said = sandbox.ok(&["log", "--graph", "--all", "--oneline"]);
    // Both were made in the same second, so either may come first.
    let other = format!(
        "* {} [main, tag: v1] third\n| * {} [HEAD -> side] fourth\n|/\n* {} second\n* {} first\n",
        short(&third),
        short(&fourth),
        short(&second),
        short(&first)
    );
    assert!(said == expected || said == other, "{said}");
    assert_eq!(messages(&sandbox, &[]), ["fourth", "second", "first"]);
    assert_eq!(messages(&sandbox, &["--all"]).len(), 4);
    assert_eq!(messages(&sandbox, &["--all", "c"]), ["fourth"]);
    sandbox
        .fails_with(2, &["log", "--all", "HEAD", "c"])
        .is("usage", &["--all"]);
}

#[test]
fn the_history_of_a_path() {
    let (sandbox, [_, second, _]) = three();
    assert_eq!(messages(&sandbox, &["a"]), ["third", "first"]);
    assert_eq!(messages(&sandbox, &["sub"]), ["second"]);
    assert_eq!(messages(&sandbox, &["sub/b"]), ["second"]);
    assert_eq!(messages(&sandbox, &[&second, "a"]), ["first"]);
    assert_eq!(messages(&sandbox, &["-C", "sub", "b"]), ["second"]);
    // A file that is gone has a history too.
    sandbox.remove("a");
    sandbox.commit("without a");
    assert_eq!(messages(&sandbox, &["a"]), ["without a", "third", "first"]);
}

#[test]
fn from_a_revision() {
    let (sandbox, [first, second, _]) = three();
    assert_eq!(messages(&sandbox, &["HEAD~1"]), ["second", "first"]);
    assert_eq!(messages(&sandbox, &[short(&first)]), ["first"]);
    assert_eq!(messages(&sandbox, &[&second]), ["second", "first"]);
}

#[test]
fn a_word_that_is_neither_is_an_unknown_revision() {
    let (sandbox, _) = three();
    let problem = sandbox.fails(&["log", "nosuch"]);
    problem.is("unknown_revision", &["\"nosuch\""]).hints("fai log");
}

#[test]
fn an_empty_repository_has_no_log() {
    let sandbox = Sandbox::new();
    sandbox.fails(&["log"]).is("no_commits", &["main"]).hints("fai commit");
}

#[test]
fn messages_cannot_command_the_terminal() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.ok(&["commit", "--amend", "-m", "clear \u{1b}[2J screen"]);
    assert!(sandbox.ok(&["log"]).contains("clear \\u{1b}[2J screen"));
    assert_eq!(messages(&sandbox, &[]), ["clear \u{1b}[2J screen"]);
}

#[test]
fn whoever_stops_reading_hears_no_complaint() {
    let (sandbox, _) = three();
    // `true` exits at once: most of what is written finds nobody there.
    for arguments in ["log", "log --json", "ls", "completions bash"] {
        let script = format!("{{ \"$FAI\" {arguments}; echo \"exit $?\" >&2; }} | true");
        let output = sandbox.shell(&script).output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "exit 0\n", "{arguments}");
    }
}
