//! `.faiignore`

use crate::support::Sandbox;
use serde_json::json;

#[test]
fn ignored_files_are_neither_shown_nor_added() {
    let sandbox = Sandbox::new();
    sandbox.write(".faiignore", "*.log\n/build/\n# a comment\ncache/\n");
    for path in ["a", "x.log", "sub/y.log", "build/out", "sub/build/kept", "sub/cache/c"] {
        sandbox.write(path, path);
    }
    let seen = [".faiignore", "a", "sub/build/kept"];
    assert_eq!(sandbox.status("untracked"), seen);
    sandbox.ok(&["add", "-A"]);
    assert_eq!(sandbox.listed(&[]), seen);
}

#[test]
fn exceptions_and_nested_files() {
    let sandbox = Sandbox::new();
    sandbox.write(".faiignore", "*.bin\n!keep.bin\n");
    sandbox.write("deep/.faiignore", "!also.bin\nlocal\n");
    for path in [
        "a.bin",
        "keep.bin",
        "also.bin",
        "deep/also.bin",
        "deep/a.bin",
        "deep/local",
        "local",
    ] {
        sandbox.write(path, path);
    }
    sandbox.ok(&["add", "-A"]);
    assert_eq!(
        sandbox.listed(&[]),
        [".faiignore", "deep/.faiignore", "deep/also.bin", "keep.bin", "local"]
    );
}

#[test]
fn naming_an_ignored_file_needs_force() {
    let sandbox = Sandbox::new();
    sandbox.write(".faiignore", "*.log\nbuild/\n");
    sandbox.write("a.log", "1");
    sandbox.write("build/b", "2");
    for path in ["a.log", "build/b", "build"] {
        let problem = sandbox.fails(&["add", path]);
        problem.is("ignored", &[path]).hints("--force");
    }
    assert_eq!(sandbox.staged(), [""; 0]);
    sandbox.ok(&["add", "--force", "a.log", "build"]);
    assert_eq!(sandbox.staged(), ["added a.log", "added build/b"]);
}

#[test]
fn tracked_files_are_beyond_the_rules() {
    let sandbox = Sandbox::with(&[("a.log", b"1"), ("b.log", b"2"), ("c.log", b"3")]);
    sandbox.write(".faiignore", "*.log\n");
    sandbox.commit("rules");
    assert_eq!(sandbox.listed(&["HEAD"]), [".faiignore", "a.log", "b.log", "c.log"]);
    sandbox.write("a.log", "changed");
    sandbox.write("b.log", "changed too");
    sandbox.remove("c.log");
    assert_eq!(sandbox.status("modified"), ["a.log", "b.log"]);
    assert_eq!(sandbox.status("deleted"), ["c.log"]);
    sandbox.ok(&["add", "a.log"]);
    assert_eq!(sandbox.staged(), ["modified a.log"]);
    sandbox.ok(&["add", "-A"]);
    assert_eq!(sandbox.staged(), ["modified a.log", "modified b.log", "removed c.log"]);
    assert_eq!(sandbox.bytes(&["cat", "a.log"]), b"changed");
}

#[test]
fn rules_of_other_tools_do_not_count() {
    let sandbox = Sandbox::new();
    sandbox.write(".gitignore", "*.pt\n");
    sandbox.write(".ignore", "*.pt\n");
    sandbox.write(".git/config", "");
    sandbox.write("model.pt", "weights");
    sandbox.write(".hidden", "shown");
    let document = sandbox.json(&["add", "-A"]);
    assert_eq!(document["refused"], json!([]));
    assert_eq!(sandbox.listed(&[]), [".gitignore", ".hidden", ".ignore", "model.pt"]);
}

#[test]
fn a_broken_rule_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    sandbox.write(".faiignore", "[unclosed\n*.log\n");
    sandbox.write("a.log", "1");
    sandbox.write("b", "2");
    let output = sandbox.run(&["add", "-A"]);
    assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    assert_eq!(sandbox.listed(&[]), [".faiignore", "b"]);
}
