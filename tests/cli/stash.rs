//! `fai stash`

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use fai_testkit::noise;
use serde_json::{Value, json};

use crate::support::peers::{Cloner, Server};
use crate::support::{Sandbox, short, text};

/// `a` is staged, `b` changed, `gone` removed, `new` staged for the first time and changed since, `x` executable by now;
/// `loose` is not tracked.
fn busy() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("a", b"1"),
        ("b", b"1"),
        ("d/x", b"1"),
        ("gone", b"1"),
        (".faiignore", b"*.log\n"),
    ]);
    sandbox.write("a", "2");
    sandbox.write("new", "2");
    sandbox.ok(&["add", "a", "new"]);
    sandbox.write("b", "3");
    sandbox.write("new", "3");
    sandbox.remove("gone");
    sandbox.set_executable("d/x", true);
    sandbox.write("loose", "4");
    sandbox.write("out.log", "5");
    sandbox
}

/// What is staged; what is modified, deleted and untracked; what is in the files of [`busy`]; whether `d/x` is executable.
type State = (Vec<String>, [Vec<String>; 3], Vec<Option<Vec<u8>>>, bool);

fn state(sandbox: &Sandbox) -> State {
    let lists = ["modified", "deleted", "untracked"].map(|list| sandbox.status(list));
    let files = ["a", "b", "d/x", "gone", "new", "loose", "out.log"];
    let files = files.map(|path| sandbox.exists(path).then(|| sandbox.read(path)));
    (sandbox.staged(), lists, files.to_vec(), sandbox.is_executable("d/x"))
}

fn stashes(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["stash", "list"])["stashes"].as_array().unwrap().clone()
}

fn count(sandbox: &Sandbox) -> usize {
    stashes(sandbox).len()
}

#[test]
fn what_is_put_aside_comes_back() {
    let sandbox = busy();
    let (before, head) = (state(&sandbox), text(&sandbox.json(&["status"])["head"]));
    let said = sandbox.ok(&["stash"]);
    assert_eq!(
        said,
        format!("Stashed as stash@{{0}}: WIP on main: {} first\n", short(&head))
    );
    assert_eq!(sandbox.status("untracked"), ["loose"]);
    assert_eq!(sandbox.read("a"), b"1");
    assert!(sandbox.exists("gone") && !sandbox.exists("new") && !sandbox.is_executable("d/x"));
    sandbox.remove("loose");
    sandbox.assert_clean();
    sandbox.write("loose", "4");

    // What was new and staged is staged again, the rest is not.
    let said = sandbox.ok(&["stash", "pop"]);
    assert_eq!(
        said,
        "Applied and dropped stash@{0} (4 files written, 1 removed, 1 staged)\n"
    );
    let now = state(&sandbox);
    assert_eq!((&now.2, now.3), (&before.2, before.3));
    assert_eq!((now.0, count(&sandbox)), (vec!["added new".to_owned()], 0));
    assert_eq!(sandbox.status("modified"), ["a", "b", "d/x"]);

    // With --index everything is as it was.
    sandbox.ok(&["undo", "2"]);
    assert_eq!(state(&sandbox), before);
    sandbox.ok(&["stash"]);
    sandbox.ok(&["stash", "pop", "--index"]);
    assert_eq!(state(&sandbox), before);
    sandbox.assert_sound();
}

#[test]
fn nothing_to_stash_is_no_error() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    assert_eq!(sandbox.ok(&["stash"]), "Nothing to stash\n");
    sandbox.write("loose", "1");
    assert_eq!(sandbox.json(&["stash", "push"])["stash"], Value::Null);
    assert_eq!(sandbox.ok(&["stash", "list"]), "");
    sandbox
        .fails(&["stash", "pop"])
        .is("not_found", &["stash@{0}", "nothing is stashed"]);
    sandbox.fails(&["stash", "nosuch"]).is("not_found", &["nosuch"]);
    sandbox.fails(&["stash", "loose"]).is("not_found", &["loose"]);
    let operations = sandbox.json(&["op", "log"]);
    sandbox.write("stash/a", "1");
    sandbox.commit("a folder of that name");
    sandbox.write("stash/a", "2");
    assert!(sandbox.ok(&["diff", "--stat", "stash"]).contains("stash/a | 2 +-"));
    assert_eq!(operations["operations"].as_array().unwrap().len(), 2, "{operations}");
    let empty = Sandbox::new();
    empty.write("a", "1");
    empty.fails(&["stash", "-u"]).is("no_commits", &["main"]);
    empty.ok(&["init", "--bare", "../bare"]);
    empty
        .fails(&["-C", "../bare", "stash"])
        .is("bare_repository", &["stash"]);
}

#[test]
fn untracked_files_are_taken_along_when_asked() {
    let sandbox = busy();
    let before = state(&sandbox);
    sandbox.ok(&["stash", "--include-untracked", "-m", "all of it"]);
    assert!(
        !sandbox.exists("loose") && sandbox.exists("out.log"),
        "what is ignored stays"
    );
    sandbox.assert_clean();
    assert_eq!(sandbox.ok(&["stash", "list"]), "stash@{0}: On main: all of it\n");
    sandbox.ok(&["stash", "pop", "--index"]);
    assert_eq!(state(&sandbox), before);
    // A file where a folder was, and the other way round.
    sandbox.ok(&["reset", "--hard"]);
    fs::remove_dir_all(sandbox.path("d")).unwrap();
    sandbox.write("d", "a file by now");
    sandbox.remove("a");
    sandbox.write("a/b", "in a folder by now");
    let problem = sandbox.fails(&["stash"]);
    problem.is("local_changes", &["a", "d"]).hints("-u");
    assert_eq!(count(&sandbox), 0);
    sandbox.ok(&["stash", "-u"]);
    sandbox.assert_clean();
    sandbox.ok(&["stash", "pop"]);
    assert_eq!(sandbox.read("d"), b"a file by now");
    assert_eq!(sandbox.read("a/b"), b"in a folder by now");
}

#[test]
fn only_what_is_named_is_put_aside() {
    let sandbox = busy();
    let before = state(&sandbox);
    sandbox.ok(&["stash", "push", "-m", "some", "b", "new", "d"]);
    assert_eq!(sandbox.read("b"), b"1");
    assert!(!sandbox.exists("new") && !sandbox.is_executable("d/x"));
    assert_eq!(sandbox.staged(), ["modified a"]);
    assert_eq!(sandbox.status("deleted"), ["gone"]);
    let shown = sandbox.json(&["stash", "show"]);
    assert_eq!(shown["modified"].as_array().unwrap().len(), 2, "{shown}");
    sandbox.ok(&["stash", "pop", "--index"]);
    assert_eq!(state(&sandbox), before);
    // What follows no command is a path.
    sandbox.ok(&["stash", "-u", "loose"]);
    assert!(!sandbox.exists("loose"));
    assert_eq!(sandbox.read("b"), b"3");
    sandbox.ok(&["stash", "pop"]);
    assert_eq!(state(&sandbox), before);
}

#[test]
fn stashes_are_listed_named_and_dropped() {
    let sandbox = Sandbox::with(&[("a", b"0")]);
    for number in ["1", "2", "3"] {
        sandbox.write("a", number);
        sandbox.ok(&["stash", "-m", number]);
    }
    assert_eq!(
        sandbox.ok(&["stash", "list"]),
        "stash@{0}: On main: 3\nstash@{1}: On main: 2\nstash@{2}: On main: 1\n"
    );
    let list = stashes(&sandbox);
    assert_eq!(sandbox.json(&["stash", "list", "-q"])["stashes"], json!(list));
    let said = sandbox.ok(&["--json", "stash", "list"]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["stashes"], json!(list));
    assert_eq!(
        (&list[1]["name"], &list[1]["number"], &list[1]["message"]),
        (&json!("stash@{1}"), &json!(1), &json!("On main: 2"))
    );
    assert_eq!(list[1]["base"], sandbox.json(&["status"])["head"]);
    for (revision, content) in [
        ("stash", "3"),
        ("stash@{1}", "2"),
        ("refs/stash@{2}", "1"),
        ("stash@{0}~1", "0"),
    ] {
        let found = sandbox.bytes(&["cat", &format!("{revision}:a")]);
        assert_eq!(String::from_utf8(found).unwrap(), content, "{revision}");
    }
    assert!(
        sandbox
            .ok(&["diff", "--stat", "stash@{2}", "stash@{0}"])
            .contains(" a | 2 +-")
    );
    assert_eq!(
        sandbox.ok(&["stash", "show", "1"]),
        " a | 2 +-\nSummary: Modified: 1 files, Size: +0B\n"
    );
    sandbox.ok(&["checkout", "stash@{1}", "a"]);
    assert_eq!(sandbox.read("a"), b"2");
    sandbox.ok(&["reset", "--hard"]);
    sandbox
        .fails(&["diff", "stash@{3}"])
        .is("not_found", &["stash@{3}", "there are 3"]);

    sandbox.ok(&["stash", "drop", "stash@{1}"]);
    assert_eq!(
        sandbox.ok(&["stash", "list"]),
        "stash@{0}: On main: 3\nstash@{1}: On main: 1\n"
    );
    sandbox
        .fails(&["stash", "drop", "2"])
        .is("not_found", &["stash@{2}"])
        .hints("stash list");
    sandbox.ok(&["undo"]);
    assert_eq!(stashes(&sandbox), list, "at its old place");
    sandbox.ok(&["redo"]);
    let cleared = sandbox.json(&["stash", "clear"]);
    assert_eq!((cleared["dropped"].as_array().unwrap().len(), count(&sandbox)), (2, 0));
    sandbox.ok(&["undo"]);
    assert_eq!(count(&sandbox), 2);
    sandbox.ok(&["stash", "apply", "1"]);
    assert_eq!((sandbox.read("a"), count(&sandbox)), (b"1".to_vec(), 2));
}

#[test]
fn a_stash_is_merged_with_what_came_since() {
    let sandbox = Sandbox::with(&[
        ("a", b"1\n2\n3\n4\n5\n"),
        ("b", b"1"),
        ("old", b"some text that moves\n"),
    ]);
    sandbox.write("a", "1\n2\n3\n4\nfive\n");
    sandbox.write("old", "some text that moves\nand grows\n");
    sandbox.ok(&["stash"]);
    sandbox.write("a", "one\n2\n3\n4\n5\n");
    sandbox.ok(&["mv", "old", "moved"]);
    sandbox.commit("second");
    // What is changed elsewhere is in nobody's way.
    sandbox.write("b", "2");
    sandbox.ok(&["add", "b"]);
    sandbox.write("b", "3");
    sandbox.ok(&["stash", "pop"]);
    assert_eq!(sandbox.read("a"), b"one\n2\n3\n4\nfive\n");
    assert_eq!(sandbox.read("moved"), b"some text that moves\nand grows\n");
    assert!(!sandbox.exists("old"));
    assert_eq!(
        (sandbox.staged(), sandbox.read("b")),
        (vec!["modified b".to_owned()], b"3".to_vec())
    );
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let sandbox = Sandbox::with(&[("a", b"1\n"), ("b", b"1\n")]);
    sandbox.write("a", "2\n");
    sandbox.write("b", "2\n");
    sandbox.write("new", "2\n");
    sandbox.ok(&["add", "new"]);
    sandbox.ok(&["stash"]);
    // Changed here, and not committed.
    sandbox.write("a", "mine\n");
    sandbox
        .fails(&["stash", "pop"])
        .is("local_changes", &["a"])
        .hints("fai stash");
    sandbox.ok(&["add", "a"]);
    sandbox.fails(&["stash", "pop"]).is("conflict", &["stash@{0}", "a"]);
    assert_eq!(
        (sandbox.read("b"), sandbox.staged()),
        (b"1\n".to_vec(), vec!["modified a".into()])
    );
    sandbox.ok(&["reset", "--hard"]);
    // Something that is not tracked.
    sandbox.write("new", "mine\n");
    sandbox.fails(&["stash", "apply"]).is("local_changes", &["new"]);
    sandbox.remove("new");
    // Committed meanwhile.
    sandbox.write("a", "3\n");
    sandbox.commit("second");
    let problem = sandbox.fails(&["stash", "pop"]);
    problem.is("conflict", &["stash@{0}", "a"]).hints("stash branch");
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b"), count(&sandbox)),
        (b"3\n".to_vec(), b"1\n".to_vec(), 1)
    );
    sandbox.assert_clean();

    let report = sandbox.json(&["stash", "branch", "tryout"]);
    assert_eq!(
        (&report["branch"], &report["dropped"]),
        (&json!("tryout"), &json!(true))
    );
    assert_eq!(text(&sandbox.json(&["status"])["branch"]), "tryout");
    assert_eq!(
        (sandbox.read("a"), sandbox.staged()),
        (b"2\n".to_vec(), vec!["added new".into()])
    );
    assert_eq!(count(&sandbox), 0);
    sandbox.ok(&["undo"]);
    assert_eq!((sandbox.read("a"), count(&sandbox)), (b"3\n".to_vec(), 1));
    assert_eq!(text(&sandbox.json(&["status"])["branch"]), "main");
    sandbox.assert_clean();
    sandbox.fails(&["stash", "branch", "main"]).is("exists", &["main"]);
}

#[test]
fn what_was_staged_may_not_fit_by_itself() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"1")]);
    sandbox.write("a", "2");
    sandbox.ok(&["add", "a"]);
    sandbox.write("a", "1");
    sandbox.write("b", "2");
    sandbox.ok(&["stash"]);
    sandbox.write("a", "3");
    sandbox.commit("second");
    let problem = sandbox.fails(&["stash", "apply", "--index"]);
    problem.is("conflict", &["what was staged in stash@{0}", "a"]);
    assert_eq!(sandbox.read("b"), b"1");
    sandbox.ok(&["stash", "apply"]);
    assert_eq!((sandbox.read("a"), sandbox.read("b")), (b"3".to_vec(), b"2".to_vec()));
    // One that only staging holds.
    sandbox.ok(&["reset", "--hard", "HEAD~1"]);
    sandbox.ok(&["stash", "apply", "--index"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.staged()),
        (b"1".to_vec(), vec!["modified a".into()])
    );
    // What was taken out of the next commit alone still stands there.
    sandbox.ok(&["reset", "--hard"]);
    sandbox.ok(&["rm", "--cached", "a"]);
    sandbox.ok(&["stash"]);
    sandbox.assert_clean();
    sandbox.ok(&["stash", "pop", "--index"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.staged()),
        (b"1".to_vec(), vec!["removed a".into()])
    );
}

#[test]
fn every_step_is_taken_back_and_done_again() {
    let sandbox = busy();
    let mut states = vec![(state(&sandbox), stashes(&sandbox))];
    let steps: [&[&str]; 5] = [
        &["stash", "-u"],
        &["stash", "apply", "--index"],
        &["stash", "push", "b"],
        &["stash", "drop", "1"],
        &["stash", "pop"],
    ];
    for step in steps {
        sandbox.ok(step);
        states.push((state(&sandbox), stashes(&sandbox)));
    }
    for before in states.iter().rev().skip(1) {
        sandbox.ok(&["undo"]);
        assert_eq!((state(&sandbox), stashes(&sandbox)), *before);
    }
    for after in &states[1..] {
        sandbox.ok(&["redo"]);
        assert_eq!((state(&sandbox), stashes(&sandbox)), *after);
    }
    sandbox.assert_sound();
}

#[test]
fn nobody_but_the_user_gets_to_see_it() {
    let sandbox = busy();
    sandbox.write("loose", noise(1, 3_000_000));
    let refs = sandbox.json(&["branch"]);
    let log = sandbox.json(&["log", "--all"]);
    sandbox.ok(&["stash", "-u", "-m", "secretword"]);
    let stash = text(&stashes(&sandbox)[0]["commit"]);
    assert_eq!(sandbox.json(&["branch"]), refs);
    assert_eq!(sandbox.json(&["log", "--all"]), log);
    assert_eq!(sandbox.ok(&["tag"]), "");
    assert!(!sandbox.ok(&["exp", "--all"]).contains("secretword"));
    assert_eq!(sandbox.json(&["search", "secretword"])["hits"], json!([]));
    assert_eq!(sandbox.json(&["search", "loose"])["hits"], json!([]));
    sandbox.ok(&["clone", ".", "../clone"]);
    let clone = |arguments: &[&str]| sandbox.json(&[&["-C", "../clone"], arguments].concat());
    assert_eq!(clone(&["stash", "list"])["stashes"], json!([]));
    sandbox
        .fails(&["-C", "../clone", "log", &stash])
        .is("unknown_revision", &[]);
    sandbox.ok(&["push", "../clone", "--all", "--tags"]);
    assert_eq!(clone(&["stash", "list"])["stashes"], json!([]));
    sandbox
        .fails(&["push", "../clone", "stash/1"])
        .is("not_found", &["stash/1"]);
    sandbox.ok(&["-C", "../clone", "pull"]);
    sandbox
        .fails(&["-C", "../clone", "log", &stash])
        .is("unknown_revision", &[]);
    sandbox.assert_sound();
}

#[test]
fn collections_keep_it_until_it_is_dropped() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let content = noise(7, 3_000_000);
    sandbox.write("a", &content);
    sandbox.ok(&["stash"]);
    sandbox.ok(&["gc", "--prune=now"]);
    sandbox.ok(&["repack"]);
    sandbox.ok(&["stash", "apply"]);
    assert!(sandbox.read("a") == content);
    sandbox.ok(&["reset", "--hard"]);
    // Even an index made anew, and a database that is gone.
    sandbox.ok(&["fsck", "--rebuild"]);
    assert_eq!(count(&sandbox), 1);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(sandbox.path(&format!(".fai/db.sqlite{suffix}")));
    }
    let said = sandbox.ok(&["fsck", "--rebuild"]);
    assert!(said.contains("refs/stash/1 is now commit"), "{said}");
    let refs = sandbox.json(&["branch"]);
    assert_eq!(refs["branches"].as_array().unwrap().len(), 1, "{refs}");
    sandbox.assert_clean();
    sandbox.ok(&["stash", "pop"]);
    assert!(sandbox.read("a") == content);
    sandbox.ok(&["reset", "--hard"]);
    let document = sandbox.json(&["gc", "--prune=now"]);
    assert!(document["removed"].as_u64().unwrap_or_default() > 0, "{document}");
    sandbox.assert_sound();
}

#[test]
fn evicted_files_stay_where_they_are() {
    let sandbox = Sandbox::with(&[("big", b"1"), ("a", b"1"), ("other", b"1")]);
    sandbox.ok(&["add", "--evict", "big"]);
    sandbox.write("a", "2");
    assert_eq!(sandbox.json(&["stash"])["left"], json!([]));
    assert_eq!(sandbox.status("evicted"), ["big"]);
    sandbox.ok(&["stash", "pop"]);
    // One whose new content is staged has no file that could come back.
    sandbox.write("big", "2");
    sandbox.ok(&["add", "--evict", "big"]);
    let (_, warning) = sandbox.warned(&["stash"]);
    assert!(warning.contains("stay staged: big"), "{warning}");
    assert_eq!(sandbox.staged(), ["modified big"]);
    assert_eq!(sandbox.status("evicted"), ["big"]);
    sandbox.ok(&["stash", "pop"]);
    sandbox.commit("second");
    assert_eq!(sandbox.bytes(&["cat", "big"]), b"2");
    // Evicted after it was put aside: what comes back stands there.
    sandbox.write("other", "2");
    sandbox.ok(&["stash"]);
    sandbox.ok(&["add", "--evict", "other"]);
    sandbox.ok(&["stash", "pop"]);
    assert_eq!(sandbox.read("other"), b"2");
    assert_eq!(sandbox.status("evicted"), ["big"]);
    assert_eq!(sandbox.status("modified"), ["other"]);
}

#[test]
fn a_clone_that_holds_a_part_keeps_to_it() {
    let owner = Sandbox::with(&[("data/train", &noise(1, 300_000)), ("a", b"1"), ("model", b"1")]);
    let (server, cloner) = (Server::start(&owner, &[]), Cloner::new());
    let ticket = server.ticket.as_str();
    cloner.sandbox.json(&["clone", ticket, "clone", "--exclude", "data/"]);
    let path = |name: &str| cloner.folder().join(name);
    assert!(!path("data/train").exists());
    fs::write(path("a"), "2").unwrap();
    fs::create_dir(path("data")).unwrap();
    fs::write(path("data/mine"), "2").unwrap();
    cloner.ok(&["add", "data/mine"]);
    cloner.ok(&["mv", "model", "moved"]);
    cloner.ok(&["stash"]);
    assert_eq!(fs::read(path("a")).unwrap(), b"1");
    assert!(!path("data").exists() && path("model").exists() && !path("moved").exists());
    assert_eq!(cloner.ok(&["stash"])["stash"], Value::Null);
    cloner.ok(&["stash", "pop", "--index"]);
    assert_eq!(fs::read(path("a")).unwrap(), b"2");
    assert_eq!(fs::read(path("data/mine")).unwrap(), b"2");
    assert!(!path("model").exists() && path("moved").exists() && !path("data/train").exists());
    let status = cloner.ok(&["status"]);
    assert_eq!(status["staged"].as_array().unwrap().len(), 3, "{status}");
    assert_eq!((&status["modified"], &status["deleted"]), (&json!(["a"]), &json!([])));
    assert_eq!(cloner.ok(&["fsck", "--full"])["ok"], true);
}

#[test]
fn nothing_is_put_aside_in_the_middle_of_a_merge() {
    let sandbox = Sandbox::with(&[("a", b"1\n"), ("b", b"1\n")]);
    sandbox.write("b", "2\n");
    sandbox.ok(&["stash"]);
    sandbox.ok(&["switch", "-c", "other"]);
    sandbox.write("a", "2\n");
    sandbox.commit("theirs");
    sandbox.ok(&["switch", "main"]);
    sandbox.write("a", "3\n");
    sandbox.commit("ours");
    assert_eq!(sandbox.run(&["merge", "other"]).status.code(), Some(1));
    for command in [&["stash"][..], &["stash", "pop"], &["stash", "branch", "x"]] {
        sandbox.fails(command).is("underway", &["merge"]);
    }
    sandbox.ok(&["merge", "--abort"]);
    sandbox.ok(&["stash", "pop"]);
}

#[test]
fn links_are_not_walked_over() {
    let sandbox = Sandbox::with(&[("a", b"1"), ("b", b"1")]);
    sandbox.remove("a");
    std::os::unix::fs::symlink("b", sandbox.path("a")).unwrap();
    sandbox.write("b", "2");
    sandbox.fails(&["stash"]).is("local_changes", &["a"]);
    assert!(sandbox.path("a").is_symlink());
    assert_eq!((sandbox.read("b"), count(&sandbox)), (b"2".to_vec(), 0));
}

#[test]
fn a_kill_loses_nothing() {
    let sandbox = Sandbox::with(&[("large", &noise(1, 8_000_000)), ("a", b"1"), ("b", b"1")]);
    let large = noise(2, 30_000_000);
    let database = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    let is_stashed = || {
        let sql = "SELECT count(*) FROM refs WHERE name LIKE 'refs/stash/%'";
        database
            .query_row(sql, [], |row| row.get::<_, u32>(0))
            .is_ok_and(|count| count > 0)
    };
    let mut kills = [0, 0];
    // Killed after some milliseconds, and so many after the stash has its name.
    for (named, moment) in [5, 30, 60, 100]
        .map(|moment| (false, moment))
        .into_iter()
        .chain([0, 10, 20, 40].map(|moment| (true, moment)))
    {
        sandbox.write("large", &large);
        sandbox.write("a", "2");
        sandbox.write("b", "2");
        sandbox.ok(&["add", "b"]);
        let mut child = sandbox
            .command(&["stash"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while named && !is_stashed() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(moment));
        let _ = child.kill();
        let killed = !child.wait().unwrap().success();
        if is_stashed() {
            kills[1] += usize::from(killed);
            assert!(sandbox.bytes(&["cat", "stash@{0}:large"]) == large, "{moment} ms");
            assert_eq!(sandbox.bytes(&["cat", "stash@{0}:a"]), b"2");
            assert_eq!(sandbox.bytes(&["cat", "stash@{0}^2:b"]), b"2");
            sandbox.warned(&["undo"]);
        } else {
            kills[0] += usize::from(killed);
        }
        assert!(sandbox.read("large") == large, "{moment} ms");
        assert_eq!((sandbox.read("a"), sandbox.read("b")), (b"2".to_vec(), b"2".to_vec()));
        assert_eq!((sandbox.staged(), is_stashed()), (vec!["modified b".to_owned()], false));
        sandbox.ok(&["reset", "--hard"]);
    }
    assert!(kills[0] > 0 && kills[1] > 0, "too late to test anything: {kills:?}");
    sandbox.assert_clean();
    sandbox.assert_sound();
}
