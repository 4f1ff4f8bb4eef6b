//! `fai undo`, `fai redo`, `fai op log`, `fai reset` and `fai reflog`

use crate::support::{SHOWN_DATE, Sandbox, short, text};
use serde_json::{Value, json};

fn two() -> (Sandbox, [String; 2]) {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    sandbox.write("b", "1");
    let first = sandbox.commit("first");
    sandbox.write("a", "2");
    let second = sandbox.commit("second");
    (sandbox, [first, second])
}

fn head(sandbox: &Sandbox) -> String {
    text(&sandbox.json(&["status"])["head"])
}

fn operations(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["op", "log"])["operations"].as_array().unwrap().clone()
}

#[test]
fn a_commit_is_taken_back_and_done_again() {
    let (sandbox, [first, second]) = two();
    assert_eq!(
        sandbox.ok(&["undo"]),
        "Undid: fai commit -m second (1 ref moved, 1 path staged or unstaged)\n"
    );
    assert_eq!(
        (head(&sandbox), sandbox.staged()),
        (first.clone(), vec!["modified a".to_owned()])
    );
    assert_eq!(sandbox.ok(&["undo"]), "Undid: fai add -A (1 path staged or unstaged)\n");
    assert_eq!(
        (sandbox.staged(), sandbox.status("modified")),
        (vec![], vec!["a".to_owned()])
    );
    assert!(sandbox.ok(&["redo"]).starts_with("Did again: fai add -A"));
    assert!(sandbox.ok(&["redo"]).starts_with("Did again: fai commit -m second"));
    assert_eq!(head(&sandbox), second);
    sandbox.assert_clean();
    sandbox
        .fails(&["redo"])
        .is("nothing_to_undo", &["redo"])
        .hints("op log");
    sandbox.ok(&["undo", "4"]);
    assert_eq!(sandbox.json(&["status"])["head"], Value::Null);
    assert_eq!(sandbox.status("untracked"), ["a", "b"], "files were there before");
    sandbox.fails(&["undo"]).is("nothing_to_undo", &["undo"]);
    assert_eq!(sandbox.json(&["redo", "9"])["redo"].as_array().unwrap().len(), 4);
    sandbox.assert_clean();
    sandbox.misused(&["undo", "0"]);
    sandbox.misused(&["undo", "-1"]);
}

#[test]
fn the_log_says_what_happened() {
    let (sandbox, _) = two();
    sandbox.ok(&["undo"]);
    sandbox.ok(&["status"]);
    sandbox.ok(&["add", "-A"]);
    let log = sandbox.ok(&["op", "log"]);
    let expected = format!(
        "5  {SHOWN_DATE}  undo: fai commit -m second  (1 ref, 1 staged)\n\
         4  {SHOWN_DATE}  fai commit -m second  (1 ref, 1 staged; undone)\n\
         3  {SHOWN_DATE}  fai add -A  (1 staged)\n\
         2  {SHOWN_DATE}  fai commit -m first  (1 ref, 2 staged)\n\
         1  {SHOWN_DATE}  fai add -A  (2 staged)\n"
    );
    assert_eq!(log, expected, "what changed nothing is not in it");
    let log = operations(&sandbox);
    assert_eq!((&log[0]["kind"], &log[0]["of"]), (&json!("undo"), &json!(4)));
    assert_eq!((&log[1]["undone"], &log[1]["finished"]), (&json!(true), &json!(true)));
    assert_eq!(
        sandbox.json(&["op", "log", "-n", "2"])["operations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // Whoever goes on leaves behind what was undone.
    sandbox.ok(&["tag", "x"]);
    sandbox.fails(&["redo"]).is("nothing_to_undo", &[]);
}

#[test]
fn what_was_changed_since_is_not_lost() {
    let (sandbox, _) = two();
    sandbox.ok(&["restore", "--source", "HEAD~1", "a", "b"]);
    assert_eq!(sandbox.read("a"), b"1");
    sandbox.write("a", "mine");
    let problem = sandbox.fails(&["undo"]);
    problem.is("changed_since", &["fai restore", "a"]).hints("--force");
    assert_eq!(sandbox.read("a"), b"mine");
    sandbox.ok(&["undo", "--force"]);
    assert_eq!(sandbox.read("a"), b"2");
    // Of a branch that somebody else moved.
    sandbox.ok(&["branch", "x"]);
    let database = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    let sql = "UPDATE refs SET target = (SELECT before FROM operations WHERE command = 'commit: second') \
               WHERE name = 'refs/heads/x'";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    sandbox.fails(&["undo"]).is("changed_since", &["refs/heads/x"]);
}

#[test]
fn what_is_overwritten_comes_back() {
    let (sandbox, [first, _]) = two();
    sandbox.write("a", "never added");
    sandbox.write("b", "staged");
    sandbox.ok(&["add", "b"]);
    sandbox.write("b", "changed again");
    sandbox.write("new", "staged for the first time");
    sandbox.ok(&["add", "new"]);
    sandbox.write("loose", "not tracked");
    sandbox.set_executable("a", true);
    let said = sandbox.ok(&["reset", "--hard", "HEAD~1"]);
    assert_eq!(said, format!("HEAD is at {} first\n", short(&first)));
    assert_eq!((sandbox.read("a"), sandbox.read("b")), (b"1".to_vec(), b"1".to_vec()));
    assert!(!sandbox.exists("new") && sandbox.exists("loose") && !sandbox.is_executable("a"));
    sandbox.remove("loose");
    sandbox.assert_clean();
    sandbox.ok(&["undo"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b"), sandbox.read("new")),
        (
            b"never added".to_vec(),
            b"changed again".to_vec(),
            b"staged for the first time".to_vec()
        )
    );
    assert!(sandbox.is_executable("a"));
    assert_eq!(sandbox.staged(), ["modified b", "added new"]);
    sandbox.ok(&["rm", "-f", "a"]);
    assert!(!sandbox.exists("a"));
    sandbox.ok(&["undo"]);
    assert_eq!(sandbox.read("a"), b"never added");
    sandbox.ok(&["mv", "--force", "a", "b"]);
    sandbox.ok(&["undo"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        (b"never added".to_vec(), b"changed again".to_vec())
    );
    sandbox.ok(&["add", "--evict", "a"]);
    assert!(!sandbox.exists("a"));
    sandbox.ok(&["undo"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.status("evicted")),
        (b"never added".to_vec(), vec![])
    );
    sandbox.assert_sound();
}

#[test]
fn what_cannot_be_kept_is_not_overwritten() {
    let (sandbox, _) = two();
    sandbox.write("a", "mine");
    // Nothing can be stored any more.
    let incoming = sandbox.path(".fai/incoming");
    std::fs::remove_dir_all(&incoming).unwrap();
    std::fs::write(&incoming, "").unwrap();
    for command in [&["restore", "a"][..], &["reset", "--hard"]] {
        let problem = sandbox.fails(command);
        problem.is("cannot_keep", &["a", "incoming"]).hints("--force");
        assert_eq!(sandbox.read("a"), b"mine");
    }
    let (_, complaint) = sandbox.warned(&["restore", "--force", "a"]);
    assert!(complaint.contains("cannot be undone"), "{complaint}");
    assert_eq!(sandbox.read("a"), b"2");
    sandbox.fails(&["undo"]).is("cannot_keep", &["a"]);
    sandbox.ok(&["undo", "--force"]);
    assert_eq!(sandbox.read("a"), b"2", "what is gone is gone");
}

#[test]
fn resets_move_as_much_as_they_say() {
    let (sandbox, [first, second]) = two();
    sandbox.write("new", "new");
    sandbox.ok(&["add", "new"]);
    sandbox.ok(&["reset", "--soft", "HEAD~1"]);
    assert_eq!(
        (head(&sandbox), sandbox.staged()),
        (first.clone(), vec!["modified a".to_owned(), "added new".to_owned()])
    );
    sandbox.ok(&["reset", "--soft", "HEAD@{1}"]);
    assert_eq!(
        (head(&sandbox), sandbox.staged()),
        (second.clone(), vec!["added new".to_owned()])
    );
    sandbox.ok(&["reset", "HEAD~1"]);
    assert_eq!(
        (head(&sandbox), sandbox.staged(), sandbox.read("a")),
        (first.clone(), vec![], b"2".to_vec())
    );
    assert_eq!(
        (sandbox.status("modified"), sandbox.status("untracked")),
        (vec!["a".to_owned()], vec!["new".to_owned()])
    );
    sandbox.ok(&["undo"]);
    assert_eq!(
        (head(&sandbox), sandbox.staged()),
        (second, vec!["added new".to_owned()])
    );
    assert_eq!(sandbox.ok(&["reset", "new"]), "Unstaged new\n");
    assert_eq!(
        (sandbox.staged(), sandbox.status("untracked")),
        (vec![], vec!["new".to_owned()])
    );
    // A word that is both.
    sandbox.write("main", "a file");
    sandbox.ok(&["add", "main"]);
    sandbox
        .fails_with(2, &["reset", "main"])
        .is("usage", &["main"])
        .hints("reset -- main");
    assert_eq!(sandbox.ok(&["reset", "--", "main"]), "Unstaged main\n");
    sandbox.fails(&["reset", "nosuch"]).is("unknown_revision", &["nosuch"]);
    sandbox.fails_with(2, &["reset", "--hard", "a"]).is("usage", &[]);
    sandbox.misused(&["reset", "--hard", "--soft"]);
    let fresh = Sandbox::new();
    fresh.write("a", "1");
    fresh.ok(&["add", "a"]);
    assert_eq!(fresh.ok(&["reset"]), "Unstaged a\n");
    assert_eq!(fresh.status("untracked"), ["a"]);
    fresh.fails(&["reset", "--hard"]).is("no_commits", &[]);
}

#[test]
fn places_in_the_past_have_names() {
    let (sandbox, [first, second]) = two();
    sandbox.ok(&["switch", "-c", "x", "HEAD~1"]);
    sandbox.write("b", "x");
    let third = sandbox.commit("third");
    sandbox.ok(&["switch", "main"]);
    let log = sandbox.ok(&["reflog"]);
    let (one, two, three) = (short(&first), short(&second), short(&third));
    let expected = format!(
        "{two} HEAD@{{0}}: switch: main\n{three} HEAD@{{1}}: commit: third\n{one} HEAD@{{2}}: switch: x\n\
         {two} HEAD@{{3}}: commit: second\n{one} HEAD@{{4}}: commit: first\n"
    );
    assert_eq!(log, expected);
    let at = |name: &str| text(&sandbox.json(&["log", "-n", "1", name])["commits"][0]["id"]);
    assert_eq!(
        (at("HEAD@{0}"), at("HEAD@{1}"), at("HEAD@{2}")),
        (second.clone(), third.clone(), first.clone())
    );
    assert_eq!(
        (at("main@{1}"), at("x@{0}"), at("x@{1}"), at("@{1}")),
        (first.clone(), third.clone(), first.clone(), first.clone())
    );
    assert_eq!((at("@{-1}"), at("HEAD@{1}~1")), (third.clone(), first));
    sandbox
        .fails(&["log", "main@{9}"])
        .is("unknown_revision", &["main", "2 entries"])
        .hints("reflog");
    for bad in [
        "main@{x}",
        "main@{",
        "main@{-1}",
        "@{-0}",
        "nosuch@{0}",
        "@{-9}",
        "main@{99999999999999999999}",
    ] {
        sandbox.fails(&["ls", bad]).is("unknown_revision", &[]);
    }
    sandbox
        .fails(&["ls", "main@{u}"])
        .is("no_upstream", &["main"])
        .hints("branch -u");
    sandbox.ok(&["branch", "-D", "x"]);
    let log = sandbox.ok(&["reflog", "x", "-n", "2"]);
    assert_eq!(
        log,
        format!(
            "-------- x@{{0}}: branch: deleted\n{} x@{{1}}: commit: third\n",
            short(&third)
        )
    );
    sandbox.fails(&["reflog", "nosuch"]).is("unknown_revision", &["nosuch"]);
}

#[test]
fn a_path_that_was_evicted_before_stays_so() {
    let (sandbox, _) = two();
    sandbox.ok(&["add", "--evict", "a"]);
    sandbox.write("a", "3");
    sandbox.ok(&["add", "--evict", "a"]);
    sandbox.ok(&["undo"]);
    assert_eq!(sandbox.read("a"), b"3");
    sandbox.remove("a");
    assert_eq!(
        (sandbox.status("evicted"), sandbox.status("deleted")),
        (vec!["a".to_owned()], vec![])
    );
}

#[test]
fn a_killed_command_is_told_of_and_taken_back() {
    let (sandbox, [first, second]) = two();
    sandbox.ok(&["switch", "--detach", "HEAD~1"]);
    // As if it had been killed before it was done, with one file written and HEAD not.
    let database = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    database
        .execute(
            "UPDATE commands SET finished = 0 WHERE id = (SELECT max(id) FROM commands)",
            [],
        )
        .unwrap();
    std::fs::write(sandbox.path(".fai/HEAD"), "ref: refs/heads/main\n").unwrap();
    let (_, warning) = sandbox.warned(&["status"]);
    assert!(
        warning.contains("fai switch --detach HEAD~1") && warning.contains("fai undo"),
        "{warning}"
    );
    assert_eq!(sandbox.warned(&["status", "--json"]).1.lines().count(), 2);
    let (said, _) = sandbox.warned(&["undo"]);
    assert!(said.contains("Undid: fai switch --detach HEAD~1"), "{said}");
    assert_eq!((head(&sandbox), sandbox.read("a")), (second.clone(), b"2".to_vec()));
    sandbox.assert_clean();
    // An undo that was killed goes on.
    sandbox.ok(&["redo"]);
    assert_eq!(head(&sandbox), first);
    sandbox.ok(&["undo"]);
    database
        .execute(
            "UPDATE commands SET finished = 0 WHERE id = (SELECT max(id) FROM commands)",
            [],
        )
        .unwrap();
    std::fs::write(sandbox.path(".fai/HEAD"), format!("{first}\n")).unwrap();
    sandbox.write("a", "1");
    let (said, _) = sandbox.warned(&["undo"]);
    assert!(said.contains("Undid: fai switch --detach HEAD~1"), "{said}");
    assert_eq!((head(&sandbox), sandbox.read("a")), (second, b"2".to_vec()));
    sandbox.assert_clean();
}

#[test]
fn what_gc_removed_cannot_come_back() {
    let (sandbox, _) = two();
    sandbox.write("a", "mine");
    sandbox.ok(&["restore", "a"]);
    sandbox.ok(&["gc"]);
    sandbox.ok(&["undo"]);
    assert_eq!(sandbox.read("a"), b"mine", "a collection keeps what can be undone");
    sandbox.ok(&["restore", "a"]);
    sandbox.ok(&["gc", "--prune", "now"]);
    sandbox.fails(&["undo"]).is("too_old", &["fai restore a"]).hints("gc");
    sandbox.assert_sound();
}
