//! Clones that hold only a part: what is selected comes, the rest is told of, fetched when it is needed, and missed by
//! name when nobody has it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fai_testkit::noise;
use serde_json::{Value, json};

use crate::peers::finds_neighbours;
use crate::support::peers::{Cloner, Server, Serving};
use crate::support::{Sandbox, files_below, text};

const BIG: usize = 4_000_000;

fn owner() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("model.safetensors", &noise(1, 1_000_000)),
        ("data/train.bin", &noise(2, BIG)),
        ("data/test.bin", &noise(3, 300_000)),
        ("readme.md", b"# A model\n"),
    ]);
    sandbox.write("data/train.bin", noise(4, BIG));
    sandbox.write("readme.md", b"# A better model\n");
    sandbox.commit("second");
    sandbox
}

/// A clone without the contents of `data/`.
fn without_data(server: &Server) -> (Cloner, Value) {
    let cloner = Cloner::new();
    let report = cloner
        .sandbox
        .json(&["clone", &server.ticket, "clone", "--exclude", "data/"]);
    (cloner, report)
}

fn paths(cloner: &Cloner) -> Vec<String> {
    files_below(&cloner.folder())
        .into_iter()
        .map(|(path, _)| path)
        .collect()
}

#[test]
fn only_what_is_selected_comes_and_the_rest_is_told_of() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, report) = without_data(&server);
    assert_eq!(
        (&report["commits"], &report["absent"]),
        (&2.into(), &2.into()),
        "{report}"
    );
    // One model, and two versions of the text.
    assert_eq!(report["files"], 3, "{report}");
    assert!(report["wire_bytes"].as_u64().unwrap() < 1_200_000, "{report}");
    assert_eq!(paths(&cloner), ["model.safetensors", "readme.md"]);
    let status = cloner.ok(&["status"]);
    assert_eq!(status["absent"], json!(["data/test.bin", "data/train.bin"]));
    for list in ["deleted", "modified", "staged", "untracked"] {
        assert_eq!(status[list], json!([]), "{status}");
    }
    assert_eq!(cloner.ok(&["diff"])["removed"], json!([]));
    assert_eq!(cloner.ok(&["ls"])["files"].as_array().unwrap().len(), 4);
    cloner.assert_sound();

    let included = Cloner::new();
    included.sandbox.json(&[
        "clone",
        &server.ticket,
        "clone",
        "--include",
        "*.safetensors",
        "--include",
        "data/te*",
    ]);
    assert_eq!(paths(&included), ["data/test.bin", "model.safetensors"]);
    included.assert_sound();
}

#[test]
fn one_file_is_told_of_as_one() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    for (exclude, told) in [
        ("data/test.bin", "1 file is not here (fai checkout PATH brings it)"),
        ("data/", "2 files are not here (fai checkout PATH brings them)"),
    ] {
        let cloner = Cloner::new();
        let cloned = cloner
            .sandbox
            .ok(&["clone", &server.ticket, "clone", "--exclude", exclude]);
        assert!(cloned.contains(told), "{cloned}");
        let status = cloner.sandbox.ok(&["-C", "clone", "status"]);
        assert!(status.contains(told), "{status}");
    }
}

#[test]
fn a_commit_keeps_what_is_not_here() {
    let owner = owner();
    let server = Server::start(&owner, &["--write", "all"]);
    let (cloner, _) = without_data(&server);
    cloner.write("readme.md", b"# The best model\n");
    cloner.write("new.txt", b"new");
    let added = cloner.ok(&["add", "-A"]);
    assert_eq!(added["removed"], json!([]), "{added}");
    cloner.ok(&["rm", "data/test.bin"]);
    assert_eq!(
        cloner.ok(&["restore", "--staged", "."])["restored"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    cloner.ok(&["add", "-A"]);
    cloner.ok(&["commit", "-m", "third"]);
    assert_eq!(cloner.ok(&["ls"])["files"].as_array().unwrap().len(), 5);
    cloner.ok(&["push"]);
    owner.assert_clean();
    owner.assert_sound();
    assert!(owner.read("data/train.bin") == noise(4, BIG));
    assert_eq!(owner.read("readme.md"), b"# The best model\n");
}

#[test]
fn what_is_staged_at_a_path_that_is_left_out_must_be_here() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    // A file that is left out may be moved without its contents.
    cloner.ok(&["mv", "data/test.bin", "data/moved.bin"]);
    cloner.assert_sound();
    fs::create_dir_all(cloner.folder().join("data")).unwrap();
    cloner.write("data/new.bin", &noise(9, 300_000));
    cloner.ok(&["add", "data/new.bin"]);
    cloner.assert_sound();
    // As if a disk had lost what was added, but not the list of its chunks.
    let database = rusqlite::Connection::open(cloner.folder().join(".fai/db.sqlite")).unwrap();
    let gone = "DELETE FROM records WHERE kind = 1 AND pack = (SELECT max(id) FROM packs)";
    assert!(database.execute(gone, []).unwrap() > 0);
    drop(database);
    let output = cloner.inside(&["fsck", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("staged data/new.bin") && !said.contains("moved.bin"),
        "{said}"
    );
}

#[test]
fn a_pull_goes_on_with_the_selection() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    owner.write("data/train.bin", noise(5, BIG));
    owner.write("model.safetensors", noise(6, 1_000_000));
    owner.write("data/new.bin", noise(7, 500_000));
    owner.commit("third");
    let pulled = cloner.ok(&["pull"]);
    assert_eq!(
        (&pulled["commits"], &pulled["files"]),
        (&1.into(), &1.into()),
        "{pulled}"
    );
    assert!(pulled["wire_bytes"].as_u64().unwrap() < 1_200_000, "{pulled}");
    assert_eq!(paths(&cloner), ["model.safetensors", "readme.md"]);
    assert!(fs::read(cloner.folder().join("model.safetensors")).unwrap() == noise(6, 1_000_000));
    cloner.assert_sound();
    cloner.ok(&["checkout", "HEAD~2"]);
    assert_eq!(paths(&cloner), ["model.safetensors", "readme.md"]);
    cloner.ok(&["checkout", "main"]);
    assert_eq!(cloner.ok(&["pull"])["wire_bytes"], 0);
}

#[test]
fn what_is_needed_is_fetched_once_and_then_followed() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    let output = cloner.inside(&["cat", "HEAD~1:data/train.bin"]).output().unwrap();
    assert!(output.status.success() && output.stdout == noise(2, BIG));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Fetching data/train.bin (4MB)"), "{said}");
    let again = cloner.inside(&["cat", "HEAD~1:data/train.bin"]).output().unwrap();
    assert!(again.stdout == noise(2, BIG) && again.stderr.is_empty());

    cloner.ok(&["checkout", "data/train.bin"]);
    assert!(fs::read(cloner.folder().join("data/train.bin")).unwrap() == noise(4, BIG));
    assert_eq!(cloner.ok(&["status"])["absent"], json!(["data/test.bin"]));
    cloner.assert_sound();

    // What was brought into the worktree follows the branch.
    owner.write("data/train.bin", noise(8, BIG));
    owner.commit("third");
    cloner.ok(&["pull"]);
    assert!(fs::read(cloner.folder().join("data/train.bin")).unwrap() == noise(8, BIG));
    cloner.ok(&["checkout", "HEAD~1"]);
    assert!(fs::read(cloner.folder().join("data/train.bin")).unwrap() == noise(4, BIG));
    cloner.ok(&["checkout", "main"]);
    cloner.write("data/train.bin", b"changed");
    assert_eq!(cloner.ok(&["status"])["modified"], json!(["data/train.bin"]));
    cloner.ok(&["restore", "data/train.bin"]);
    fs::remove_file(cloner.folder().join("data/train.bin")).unwrap();
    assert_eq!(cloner.ok(&["status"])["deleted"], json!([]));
    cloner.ok(&["checkout", "HEAD~1", "--to", "../out"]);
    assert!(files_below(&cloner.sandbox.path("out")).len() == 4);
    cloner.assert_sound();
}

#[test]
fn what_nobody_brings_is_named() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    drop(server);
    for command in [
        &["cat", "HEAD:data/train.bin"][..],
        &["checkout", "data/train.bin"],
        &["checkout", "HEAD", "--to", "../out"],
        &["diff", "HEAD~1", "HEAD"],
    ] {
        let message = cloner.fails(command, "missing");
        assert!(message.contains("data/"), "{command:?}: {message}");
        assert!(message.contains("origin"), "{command:?}: {message}");
    }
    assert_eq!(paths(&cloner), ["model.safetensors", "readme.md"]);
    // What is here works without anybody.
    cloner.ok(&["checkout", "HEAD~1"]);
    cloner.ok(&["log"]);
    let offline = cloner
        .inside(&["cat", "HEAD:data/test.bin", "--json"])
        .env("FAI_OFFLINE", "1")
        .output();
    let error: Value = serde_json::from_slice(&offline.unwrap().stderr).unwrap();
    assert!(text(&error["error"]["message"]).contains("FAI_OFFLINE"), "{error}");
}

#[test]
fn a_neighbour_brings_what_the_first_peer_no_longer_can() {
    if !finds_neighbours() {
        println!("skipped: there is no interface with multicast here");
        return;
    }
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    let other = Cloner::new();
    other.clone_from(&server.ticket);
    drop(server);
    let mut command = other.inside(&["serve", "--port", "0", "--json"]);
    let mut helper = Serving(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    let told = helper.0.stdout.take().unwrap();
    BufReader::new(told).read_line(&mut first).unwrap();
    assert!(first.contains("listening"), "{first}");
    let output = cloner.inside(&["cat", "HEAD:data/train.bin"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout == noise(4, BIG), "{said}");
}

#[test]
fn a_part_is_served_as_a_part_and_never_as_the_whole() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    drop(server);
    let part = Server::start_in(&cloner.sandbox, &cloner.folder(), &[]);
    let whole = Cloner::new();
    // Which of the chunks is missed first is chance.
    let output = whole.sandbox.run(&["clone", &part.ticket, "clone", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "missing", "{error}");
    assert!(
        text(&error["error"]["message"]).contains("no peer has the chunk"),
        "{error}"
    );
    assert!(text(&error["error"]["hint"]).contains("only a part"), "{error}");
    assert!(files_below(&whole.folder()).is_empty());
    whole.fails(&["log"], "no_commits");
    // Who wants no more than that gets it, into the same folder.
    whole
        .sandbox
        .json(&["clone", &part.ticket, "clone", "--exclude", "data/"]);
    assert_eq!(files_below(&whole.folder()), files_below(&cloner.folder()));
    whole.assert_sound();
}

#[test]
fn a_lost_chunk_of_a_selected_file_is_a_problem() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    assert_eq!(cloner.ok(&["fsck"])["checked"]["absent"], 3);
    // The selection grows by hand: what it selects now is not here.
    let config = cloner.folder().join(".fai/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("data/", "data/test.bin")).unwrap();
    let (code, report) = cloner.json_of(&["fsck"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["problems"][0]["kind"], "missing_object", "{report}");
    assert!(text_of(&report).contains("data/train.bin in commit"), "{report}");
    assert!(!text_of(&report).contains("data/test.bin"), "{report}");
}

fn text_of(report: &Value) -> String {
    report["problems"].to_string()
}

#[test]
fn the_selection_can_change() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    cloner.write("readme.md", b"mine");
    let pulled = cloner.ok(&["pull", "--exclude", "train.bin"]);
    assert_eq!(pulled["files"], 1, "{pulled}");
    assert_eq!(paths(&cloner), ["data/test.bin", "model.safetensors", "readme.md"]);
    assert_eq!(cloner.ok(&["status"])["absent"], json!(["data/train.bin"]));
    cloner.assert_sound();
    let pulled = cloner.ok(&["pull", "--everything"]);
    assert_eq!(pulled["files"], 2, "both versions: {pulled}");
    assert_eq!(cloner.ok(&["status"])["absent"], json!([]));
    assert_eq!(cloner.ok(&["status"])["modified"], json!(["readme.md"]));
    cloner.ok(&["restore", "readme.md"]);
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    drop(server);
    cloner.ok(&["checkout", "HEAD~1"]);
    cloner.ok(&["checkout", "main"]);
    assert_eq!(cloner.ok(&["fsck", "--full"])["checked"].get("absent"), None);

    // And back: what is here stays, what comes is less.
    let server = Server::start(&owner, &[]);
    owner.write("data/new.bin", noise(7, 500_000));
    owner.commit("third");
    let pulled = cloner.ok(&["pull", &server.ticket, "--include", "*.md"]);
    assert_eq!(pulled["files"], 0, "{pulled}");
    assert_eq!(cloner.ok(&["status"])["absent"], json!(["data/new.bin"]));
    assert_eq!(cloner.ok(&["status"])["deleted"], json!([]));
    cloner.assert_sound();
}

#[test]
fn a_killed_clone_of_a_part_goes_on_where_it_was() {
    let owner = Sandbox::with(&[
        ("model.bin", &noise(3, 40_000_000)),
        ("other.bin", &noise(4, 1_000_000)),
    ]);
    let stored = owner.json(&["stats"])["stored_bytes"].as_u64().unwrap();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let arguments = ["clone", &server.ticket, "clone", "--include", "model.bin"];
    let mut child = cloner
        .sandbox
        .command(&arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let received = || -> u64 {
        let below = |folder: &str| fs::read_dir(cloner.folder().join(".fai/quarantine/0").join(folder));
        let entries = ["incoming", "objects"]
            .iter()
            .filter_map(|folder| below(folder).ok())
            .flatten();
        entries
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum()
    };
    let started = Instant::now();
    while received() < 10_000_000 && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = received();
    let report = cloner.sandbox.json(&arguments);
    let fetched = report["wire_bytes"].as_u64().unwrap();
    assert!(
        kept >= 10_000_000 && fetched + kept <= stored + 5_000_000,
        "{fetched} after {kept} of {stored}"
    );
    assert_eq!(paths(&cloner), ["model.bin"]);
    cloner.assert_sound();
}

#[test]
fn patterns_that_are_none_are_refused_before_anything_happens() {
    let sandbox = Sandbox::empty();
    sandbox
        .fails_with(2, &["clone", "127.0.0.1:1", "clone", "--include", "!x"])
        .is("usage", &["!x"]);
    assert!(!sandbox.exists("clone"));
}

#[test]
fn a_merge_fetches_what_both_sides_changed_and_nothing_else() {
    let table = |first: &str, last: &str| format!("{first}\n{}{last}\n", "same\n".repeat(50));
    let owner = Sandbox::with(&[
        ("data/train.txt", table("a", "b").as_bytes()),
        ("data/test.bin", &noise(3, 300_000)),
        ("readme.md", b"# A model\n"),
    ]);
    owner.ok(&["switch", "-c", "theirs"]);
    owner.write("data/train.txt", table("A", "b"));
    owner.write("data/test.bin", noise(4, 300_000));
    owner.commit("their data");
    owner.ok(&["switch", "main"]);
    owner.write("data/train.txt", table("a", "B"));
    owner.commit("our data");
    let server = Server::start(&owner, &[]);
    let (cloner, _) = without_data(&server);
    let merged = cloner.ok(&["merge", "origin/theirs"]);
    assert_eq!(merged["outcome"], "committed", "{merged}");
    let output = cloner.inside(&["cat", "HEAD:data/train.txt"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), table("A", "B"));
    // Taken as it is, by its id.
    let absent = cloner.ok(&["status"])["absent"].clone();
    assert!(absent.as_array().unwrap().contains(&json!("data/test.bin")), "{absent}");
    cloner.assert_sound();
}
