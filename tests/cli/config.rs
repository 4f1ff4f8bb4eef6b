//! `fai config`

use crate::support::Sandbox;
use serde_json::json;
use std::fs;

#[test]
fn settings_are_written_and_read() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ok(&["config", "user.name", "Ada"]), "");
    assert_eq!(sandbox.ok(&["config", "user.name"]), "Ada\n");
    assert_eq!(
        sandbox.json(&["config", "user.name"]),
        json!({ "key": "user.name", "value": "Ada" })
    );
    sandbox.ok(&["config", "user.name", "Grace"]);
    assert_eq!(sandbox.ok(&["config", "user.name"]), "Grace\n");
}

#[test]
fn the_repository_wins_over_the_user() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["config", "--global", "user.name", "Global"]);
    sandbox.ok(&["config", "--global", "user.email", "g@example.org"]);
    assert_eq!(sandbox.ok(&["config", "user.name"]), "Global\n");
    sandbox.ok(&["config", "user.name", "Local"]);
    assert_eq!(sandbox.ok(&["config", "user.name"]), "Local\n");
    assert_eq!(sandbox.ok(&["config", "--global", "user.name"]), "Global\n");
    assert_eq!(
        sandbox.json(&["config", "--list"]),
        json!({ "settings": { "user.name": "Local", "user.email": "g@example.org" } })
    );
    assert_eq!(
        sandbox.ok(&["config", "--list", "--global"]),
        "user.name=Global\nuser.email=g@example.org\n"
    );
}

#[test]
fn a_setting_that_is_not_there_is_a_silent_no() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["config", "user.name"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_setting_can_be_removed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["config", "user.name", "Ada"]);
    sandbox.ok(&["config", "--unset", "user.name"]);
    assert_eq!(sandbox.run(&["config", "user.name"]).status.code(), Some(1));
    assert!(sandbox.misused(&["config", "--unset"]).contains("Usage"));
}

#[test]
fn comments_and_order_stay() {
    let sandbox = Sandbox::new();
    sandbox.write(
        ".fai/config.toml",
        "# mine\n[user]\nname = \"Ada\" # me\n\n[other]\nkey = 1\n",
    );
    sandbox.ok(&["config", "user.email", "ada@example.org"]);
    sandbox.ok(&["config", "--unset", "other.key"]);
    assert_eq!(
        String::from_utf8(sandbox.read(".fai/config.toml")).unwrap(),
        "# mine\n[user]\nname = \"Ada\" # me\nemail = \"ada@example.org\"\n\n[other]\n"
    );
}

#[test]
fn numbers_and_switches_keep_their_type() {
    let sandbox = Sandbox::new();
    for (key, value) in [("serve.port", "4001"), ("serve.open", "true"), ("serve.name", "four")] {
        sandbox.ok(&["config", key, value]);
        assert_eq!(sandbox.ok(&["config", key]), format!("{value}\n"));
    }
    assert_eq!(
        String::from_utf8(sandbox.read(".fai/config.toml")).unwrap(),
        "[serve]\nport = 4001\nopen = true\nname = \"four\"\n"
    );
}

#[test]
fn names_without_a_section_are_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox
        .fails_with(2, &["config", "name", "x"])
        .is("usage", &["\"name\""]);
    sandbox
        .fails_with(2, &["config", "a..b", "x"])
        .is("usage", &["\"a..b\""]);
}

#[test]
fn a_broken_file_is_named_and_kept() {
    let sandbox = Sandbox::new();
    sandbox.write(".fai/config.toml", "user = [");
    for arguments in [
        &["config", "user.name"][..],
        &["config", "user.name", "Ada"],
        &["config", "--list"],
    ] {
        sandbox
            .fails(arguments)
            .is("bad_config", &["config.toml", "not valid TOML"]);
    }
    assert_eq!(sandbox.read(".fai/config.toml"), b"user = [");
}

#[test]
fn the_user_has_settings_without_a_repository() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["config", "--global", "user.name", "Ada"]);
    let file = sandbox.outside().join("home/config.toml");
    assert_eq!(fs::read_to_string(file).unwrap(), "[user]\nname = \"Ada\"\n");
    sandbox.fails(&["config", "user.name"]).is("not_a_repository", &[]);
}
