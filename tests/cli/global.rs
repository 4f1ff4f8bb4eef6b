//! What holds for every command: where it looks, how it is misused, how it talks to terminals.

use crate::support::Sandbox;
use serde_json::json;

#[test]
fn outside_of_a_repository() {
    let sandbox = Sandbox::empty();
    sandbox.write("a", "1");
    for arguments in [
        &["add", "a"][..],
        &["status"],
        &["commit", "-m", "x"],
        &["log"],
        &["ls"],
        &["cat", "a"],
        &["info", "a"],
        &["chunks", "a"],
        &["checkout", "main"],
        &["restore", "a"],
        &["rm", "a"],
        &["mv", "a", "b"],
        &["config", "user.name"],
    ] {
        let problem = sandbox.fails(arguments);
        problem
            .is("not_a_repository", &["is not inside a FAI repository"])
            .hints("fai init");
    }
    assert!(!sandbox.exists(".fai"));
}

#[test]
fn errors_on_stderr_have_a_shape() {
    let sandbox = Sandbox::empty();
    let plain = sandbox.run(&["status"]);
    let said = String::from_utf8(plain.stderr).unwrap();
    let root = sandbox.root().display().to_string();
    assert_eq!(
        said,
        format!(
            "error: {root} is not inside a FAI repository\nhint: run `fai init` to make this folder a repository, or go \
             into one\n"
        )
    );
    let json = sandbox.run(&["status", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(
        document,
        json!({ "error": {
            "kind": "not_a_repository",
            "message": format!("{root} is not inside a FAI repository"),
            "hint": "run `fai init` to make this folder a repository, or go into one",
        } })
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let sandbox = Sandbox::new();
    for arguments in [&["nosuch"][..], &["add", "--nosuch"], &[], &["log", "a", "b", "c"]] {
        let said = sandbox.misused(arguments);
        assert!(said.contains("Usage: fai"), "{arguments:?}: {said}");
    }
}

#[test]
fn wrong_usage_is_told_to_scripts_as_well() {
    let sandbox = Sandbox::new();
    let said = sandbox.misused(&["add", "--json", "--nosuch"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["error"]["kind"], "usage");
    assert!(document["error"]["message"].as_str().unwrap().contains("--nosuch"));
}

#[test]
fn help_shows_examples() {
    let sandbox = Sandbox::empty();
    let help = sandbox.ok(&["--help"]);
    for command in [
        "init",
        "add",
        "status",
        "commit",
        "log",
        "ls",
        "cat",
        "checkout",
        "restore",
        "rm",
        "mv",
        "info",
        "chunks",
        "config",
        "completions",
        "version",
    ] {
        assert!(help.contains(&format!("  {command} ")), "{command} is not in the help");
        let own = sandbox.ok(&[command, "--help"]);
        assert!(
            own.contains("Example") && own.contains(&format!("  fai {command}")),
            "{own}"
        );
    }
}

#[test]
fn another_folder_can_be_named() {
    let sandbox = Sandbox::with(&[("sub/a", b"1")]);
    sandbox.write("sub/b", "2");
    assert_eq!(sandbox.json(&["-C", "sub", "add", "b"])["files"][0]["path"], "sub/b");
    assert_eq!(sandbox.bytes(&["-C", "sub", "cat", "b"]), b"2");
    assert_eq!(sandbox.bytes(&["-C", "sub", "cat", "HEAD:sub/a"]), b"1");
    let problem = sandbox.fails(&["-C", "nosuch", "status"]);
    assert!(problem.message.contains("nosuch"), "{}", problem.message);
}

#[test]
fn a_database_from_a_newer_version_is_left_alone() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let database = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 999).unwrap();
    for arguments in [&["status"][..], &["log"], &["add", "-A"]] {
        let problem = sandbox.fails(arguments);
        problem.is("newer_version", &["db.sqlite", "999"]).hints("newer fai");
    }
    let version: i64 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 999);
}

#[test]
fn a_database_of_something_else_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.remove(".fai/db.sqlite");
    let database = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    database.execute_batch("CREATE TABLE other (x)").unwrap();
    sandbox
        .fails(&["status"])
        .is("damaged", &["is not a database of fai"])
        .hints("--rebuild");
    drop(database);
    sandbox.write(
        ".fai/db.sqlite",
        "this is text, and long enough to be mistaken for the header of a file",
    );
    let problem = sandbox.fails(&["status"]);
    assert!(problem.message.contains("db.sqlite"), "{}", problem.message);
}

#[test]
fn a_damaged_head_is_named() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write(".fai/HEAD", "nonsense\n");
    sandbox
        .fails(&["status"])
        .is("damaged", &["HEAD"])
        .hints("checkout main");
    // The hint helps.
    sandbox.ok(&["checkout", "main"]);
    sandbox.assert_clean();
}

#[test]
fn logs_go_to_stderr() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let output = sandbox.command(&["-vv", "status", "--json"]).output().unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
}

/// util-linux's `script` runs a command on a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn terminals_get_symbols_and_colours() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    let on_terminal = |variables: &str| {
        let script = format!("{variables} script -qec '\"$FAI\" status; \"$FAI\" log' /dev/null");
        let output = sandbox.shell(&script).env("TERM", "xterm").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    if sandbox.shell("script --version").output().unwrap().stdout.is_empty() {
        return;
    }
    let full = on_terminal("");
    assert!(
        full.contains("→ On branch main") && full.contains("✅ Nothing to commit"),
        "{full}"
    );
    assert!(full.contains("→ commit \u{1b}[33m"), "{full}");
    let plain = on_terminal("NO_COLOR=1");
    assert!(plain.contains("→ commit ") && !plain.contains("\u{1b}[33m"), "{plain}");
    let ascii = on_terminal("LC_ALL=C");
    assert!(ascii.contains("On branch main") && !ascii.contains('→'), "{ascii}");
}
