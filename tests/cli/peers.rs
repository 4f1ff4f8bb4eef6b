//! Serving, cloning, pulling and pushing between real processes over loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fai_testkit::noise;
use serde_json::Value;

use crate::support::peers::{Cloner, Server, Serving};
use crate::support::{Sandbox, files_below, text};

fn model(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len)
}

fn owner() -> Sandbox {
    let large = model(1, 3_000_000);
    let sandbox = Sandbox::with(&[
        ("model.bin", &large),
        ("docs/readme.md", b"# A model\n"),
        ("empty", b""),
    ]);
    sandbox.set_executable("docs/readme.md", true);
    sandbox.commit("second");
    sandbox
}

#[test]
fn a_clone_has_every_byte_and_the_history() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    for source in [
        server.ticket.clone(),
        format!("{}/p2p/{}", server.address, server.peer),
        server.address.clone(),
    ] {
        let cloner = Cloner::new();
        let report = cloner.clone_from(&source);
        assert_eq!(
            (&report["commits"], &report["files"]),
            (&2.into(), &3.into()),
            "{report}"
        );
        assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
        let log = cloner.ok(&["log"]);
        assert_eq!(log["commits"][0]["id"], owner.json(&["log"])["commits"][0]["id"]);
        let status = cloner.ok(&["status"]);
        assert_eq!(
            (&status["modified"], &status["branch"]),
            (&serde_json::json!([]), &"main".into())
        );
        cloner.assert_sound();
        assert_eq!(
            cloner.ok(&["pull"])["commits"],
            0,
            "the clone remembers where it came from"
        );
    }
}

#[test]
fn commits_travel_both_ways_once_the_owner_allows_it() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    cloner.write("head.bin", &model(2, 200_000));
    cloner.commit("third");

    let refusal = cloner.fails(&["push"], "forbidden");
    let peer = text(&cloner.ok(&["id"])["peer_id"]);
    assert!(
        refusal.contains(&format!("fai access allow {peer} --write")),
        "{refusal}"
    );
    owner.ok(&["access", "allow", &peer, "--write"]);
    let pushed = cloner.ok(&["push"]);
    assert_eq!(pushed["commits"], 1, "{pushed}");
    assert!(pushed["wire_bytes"].as_u64().unwrap() > 0, "{pushed}");
    assert_eq!(
        files_below(&cloner.folder()),
        files_below(&owner.root()),
        "the owner's files follow"
    );
    owner.assert_clean();
    owner.assert_sound();

    owner.write("docs/more.md", b"more\n");
    owner.commit("fourth");
    let pulled = cloner.ok(&["pull"]);
    assert_eq!(
        (&pulled["commits"], &pulled["files"]),
        (&1.into(), &1.into()),
        "{pulled}"
    );
    assert!(
        pulled["wire_bytes"].as_u64().unwrap() < 2_000,
        "only what is missing travels: {pulled}"
    );
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    cloner.assert_sound();
}

#[test]
fn what_moved_apart_is_named_and_nothing_is_lost() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    let peer = text(&cloner.ok(&["id"])["peer_id"]);
    owner.ok(&["access", "allow", &peer, "--write"]);
    owner.write("ours", b"ours");
    let ours = owner.commit("ours");
    cloner.write("theirs", b"theirs");
    cloner.commit("theirs");
    cloner.fails(&["pull"], "diverged");
    assert!(cloner.folder().join("theirs").exists());
    cloner.ok(&["show", &ours]);
    cloner.fails(&["push"], "diverged");
    owner.write("ours", b"not committed");
    let unclean = cloner.fails(&["push", "--force-with-lease"], "unclean");
    assert!(unclean.contains("ours"), "{unclean}");
    assert_eq!(owner.read("ours"), b"not committed");
    owner.ok(&["restore", "ours"]);
    cloner.ok(&["push", "--force-with-lease"]);
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    owner.ok(&["show", &ours]);
}

#[test]
fn a_killed_clone_goes_on_where_it_was() {
    let large = model(3, 60_000_000);
    let owner = Sandbox::with(&[("model.bin", &large)]);
    let stored = owner.json(&["stats"])["stored_bytes"].as_u64().unwrap();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let mut first = cloner.sandbox.command(&["clone", &server.ticket, "clone"]);
    let mut child = first.stdout(Stdio::null()).spawn().unwrap();
    let received = || -> u64 {
        let below = |folder: &str| fs::read_dir(cloner.folder().join(".fai/quarantine/0").join(folder));
        ["incoming", "objects"]
            .iter()
            .filter_map(|folder| below(folder).ok())
            .flatten()
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
    assert!(
        kept >= 10_000_000 && !cloner.folder().join("model.bin").exists(),
        "{kept}"
    );
    let report = cloner.clone_from(&server.ticket);
    let fetched = report["wire_bytes"].as_u64().unwrap();
    // Only what the killed process had not written out by then comes again.
    assert!(
        fetched + kept <= stored + 5_000_000,
        "{fetched} of {stored} after {kept} were there"
    );
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    cloner.assert_sound();
}

#[test]
fn an_older_state_at_the_peer_takes_nothing_away() {
    let owner = owner();
    let old = Sandbox::empty();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(owner.path(".fai"))
        .arg(old.path(".fai"))
        .status();
    assert!(copied.unwrap().success());
    owner.write("new.bin", model(9, 50_000));
    owner.commit("third");
    let cloner = Cloner::new();
    {
        let server = Server::start(&owner, &[]);
        cloner.clone_from(&server.ticket);
    }
    let (files, log) = (files_below(&cloner.folder()), cloner.ok(&["log"]));
    // The same repository, as somebody kept it.
    let server = Server::start(&old, &[]);
    let pulled = cloner.ok(&["pull", &server.ticket]);
    assert_eq!(
        (&pulled["commits"], &pulled["wire_bytes"]),
        (&0.into(), &0.into()),
        "{pulled}"
    );
    assert_eq!((files_below(&cloner.folder()), cloner.ok(&["log"])), (files, log));
    cloner.assert_sound();
}

/// Flips a byte in the middle of the largest pack, which is inside a chunk.
pub fn damage(repository: &Path) {
    let packs = fs::read_dir(repository.join(".fai/objects")).unwrap();
    let largest = packs
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len());
    let path = largest.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn wrong_bytes_are_refused_and_their_sender_is_named() {
    let owner = owner();
    damage(&owner.root());
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let output = cloner.sandbox.run(&["clone", &server.ticket, "clone", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "false_data", "{error}");
    assert!(text(&error["error"]["message"]).contains(&server.peer), "{error}");
    assert_eq!(files_below(&cloner.folder()), [], "nothing of it appears");
    cloner.fails(&["log"], "no_commits");
    cloner.assert_sound();
}

#[test]
fn what_may_not_be_read_does_not_exist() {
    let owner = owner();
    let server = Server::start(&owner, &["--read", "listed"]);
    let cloner = Cloner::new();
    let refused = |name: &str| {
        let source = format!("{}{name}", server.address);
        cloner
            .sandbox
            .fails(&["clone", &source, "clone"])
            .is("not_found", &[])
            .message
            .clone()
    };
    assert_eq!(
        refused("/repo").replace("repo\"", "X\""),
        refused("/nothing").replace("nothing\"", "X\"")
    );
    let peer = text(&cloner.sandbox.json(&["id"])["peer_id"]);
    owner.ok(&["access", "allow", &peer]);
    cloner.clone_from(&format!("{}/repo", server.address));
    owner.ok(&["access", "remove", &peer]);
    cloner.fails(&["pull"], "not_found");
}

#[test]
fn a_ticket_that_names_another_peer_leads_nowhere() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let other = text(&cloner.sandbox.json(&["id"])["peer_id"]);
    let source = format!("{}/p2p/{other}", server.address);
    let stranger = Cloner::new();
    let problem = stranger.sandbox.fails(&["clone", &source, "clone"]);
    problem.is("unreachable", &[&server.peer]);
    assert!(!stranger.folder().exists());
}

#[test]
fn noise_and_silence_do_not_disturb_others() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let mut connections = Vec::new();
    for index in 0..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        if index % 2 == 0 {
            let _ = stream.write_all(&model(index, 5000));
        }
        connections.push(stream);
    }
    let cloner = Cloner::new();
    cloner.clone_from(&server.ticket);
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
}

#[test]
fn two_clones_into_one_folder_leave_a_sound_one() {
    let owner = owner();
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let start = || {
        let mut command = cloner.sandbox.command(&["clone", &server.ticket, "clone"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let (mut one, mut other) = (start(), start());
    let codes = [one.wait().unwrap().code(), other.wait().unwrap().code()];
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    cloner.assert_sound();
}

/// Whether peers on this machine can find each other: mDNS needs an interface other than loopback.
pub fn finds_neighbours() -> bool {
    let output = Command::new("ip").args(["-o", "link", "show", "up"]).output();
    output.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .any(|line| line.contains("MULTICAST") && !line.contains(" lo:"))
    })
}

#[test]
fn a_second_peer_steps_in_for_a_damaged_one() {
    if !finds_neighbours() {
        println!("skipped: there is no interface with multicast here");
        return;
    }
    let large = model(5, 12_000_000);
    let owner = Sandbox::with(&[("model.bin", &large)]);
    let other = Cloner::new();
    {
        let server = Server::start(&owner, &[]);
        other.clone_from(&server.ticket);
    }
    damage(&owner.root());
    let damaged = Server::start(&owner, &[]);
    let mut command = other.inside(&["serve", "--port", "0", "--json"]);
    let mut helper = Serving(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(helper.0.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("listening"), "{first}");
    let cloner = Cloner::new();
    let (document, warnings) = cloner.sandbox.warned(&["clone", &damaged.ticket, "clone", "--json"]);
    assert!(document.contains("\"files\": 1"), "{document}");
    assert!(
        warnings.contains(&format!("{} sent wrong data", damaged.peer)),
        "{warnings}"
    );
    assert_eq!(files_below(&cloner.folder()), [("model.bin".to_owned(), large)]);
    cloner.assert_sound();
}

#[test]
fn another_repository_is_not_mixed_in() {
    let owner = owner();
    let server = Server::start(&owner, &["--write", "all"]);
    let other = Sandbox::with(&[("other", b"other")]);
    other
        .fails(&["pull", &server.ticket])
        .is("other_repository", &["repo", &server.peer]);
    other.fails(&["push", &server.ticket]).is("other_repository", &[]);
    // An empty one takes what is pushed first.
    let empty = Sandbox::empty();
    empty.ok(&["init", "--bare"]);
    let server = Server::start(&empty, &["--write", "all"]);
    other.ok(&["push", &server.ticket]);
    assert_eq!(
        empty.json(&["log"])["commits"][0]["id"],
        other.json(&["log"])["commits"][0]["id"]
    );
}

#[test]
fn several_repositories_are_served_by_name() {
    let home = Sandbox::empty();
    for name in ["alpha", "beta"] {
        home.ok(&["init", name]);
        fs::write(home.path(name).join("name"), name).unwrap();
        home.ok(&["-C", name, "add", "-A"]);
        home.ok(&["-C", name, "commit", "-m", name]);
    }
    let server = Server::start(&home, &["--repo-dir", "."]);
    let cloner = Cloner::new();
    let problem = cloner.sandbox.fails(&["clone", &server.address, "clone"]);
    problem.is("several_repositories", &["alpha, beta"]).hints("PEER/NAME");
    cloner.clone_from(&format!("{}/beta", server.address));
    assert_eq!(fs::read(cloner.folder().join("name")).unwrap(), b"beta");
}

#[test]
fn remembered_names_are_kept() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["remote", "add", "nas", "192.168.1.9:4001/llama"]);
    sandbox.fails_with(2, &["remote", "add", "nas", "192.168.1.9:4001"]);
    sandbox.ok(&["remote", "rename", "nas", "home"]);
    let listed = sandbox.json(&["remote", "list"]);
    assert_eq!(listed["remotes"][0]["name"], "home");
    assert_eq!(listed["remotes"][0]["source"], "192.168.1.9:4001/llama");
    sandbox.ok(&["remote", "remove", "home"]);
    assert_eq!(sandbox.json(&["remote", "list"])["remotes"], serde_json::json!([]));
    sandbox.fails(&["pull"]).is("bad_source", &["origin"]);
}

#[test]
fn an_empty_repository_becomes_a_copy_of_what_is_pushed_to_it() {
    let keeper = Sandbox::new();
    let server = Server::start(&keeper, &["--write", "all"]);
    let author = Sandbox::with(&[("model.bin", &model(31, 100_000))]);
    author.ok(&["remote", "add", "keeper", &server.ticket]);
    author.ok(&["push", "keeper"]);
    author.write("more", b"more");
    author.commit("second");
    assert_eq!(author.json(&["push", "keeper"])["commits"], 1);
    assert_eq!(files_below(&keeper.root()), files_below(&author.root()));
    let cloner = Cloner::new();
    assert_eq!(cloner.clone_from(&server.ticket)["commits"], 2);
    assert_eq!(files_below(&cloner.folder()), files_below(&author.root()));
}
