//! Clones with the newest commits only: where history is cut, what goes on all the same, and how the rest comes.

use fai_testkit::noise;
use serde_json::json;

use crate::support::peers::{Cloner, Server};
use crate::support::{Sandbox, files_below, text};

const SIZE: usize = 400_000;

/// A line of commits, each with other contents.
fn owner(commits: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    for number in 0..commits {
        sandbox.write("model.bin", noise(number, SIZE));
        sandbox.commit(&format!("commit {number}"));
    }
    sandbox
}

fn messages(cloner: &Cloner) -> Vec<String> {
    let log = cloner.ok(&["log"]);
    let commits = log["commits"].as_array().unwrap();
    commits.iter().map(|commit| text(&commit["message"])).collect()
}

fn named(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(|number| format!("commit {number}")).collect()
}

fn shallow(server: &Server, depth: &str) -> Cloner {
    let cloner = Cloner::new();
    let report = cloner
        .sandbox
        .json(&["clone", &server.ticket, "clone", "--depth", depth]);
    assert_eq!(report["shallow"], true, "{report}");
    cloner
}

#[test]
fn a_clone_takes_the_newest_commits_only() {
    let owner = owner(6);
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let report = cloner.sandbox.json(&["clone", &server.ticket, "clone", "--depth", "2"]);
    assert_eq!(
        (&report["commits"], &report["files"]),
        (&2.into(), &2.into()),
        "{report}"
    );
    assert!(report["wire_bytes"].as_u64().unwrap() < 900_000, "{report}");
    assert_eq!(messages(&cloner), named(&[5, 4]));
    assert_eq!(files_below(&cloner.folder()), files_below(&owner.root()));
    assert_eq!(cloner.ok(&["status"])["modified"], json!([]));
    let said = cloner.inside(&["log"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.ends_with("history is cut here: fai pull --unshallow brings the rest\n"),
        "{said}"
    );
    let all = cloner.inside(&["log", "-n", "1"]).output().unwrap();
    assert!(!String::from_utf8(all.stdout).unwrap().contains("cut"));
    cloner.fails(&["checkout", "HEAD~2"], "missing");
    cloner.ok(&["checkout", "HEAD~1"]);
    cloner.ok(&["show", "HEAD"]);
    cloner.assert_sound();
    assert_eq!(cloner.ok(&["fsck", "--rebuild"])["problems"], json!([]));
    assert_eq!(messages(&cloner), named(&[4]));
}

#[test]
fn the_rest_comes_when_it_is_asked_for() {
    let owner = owner(5);
    let server = Server::start(&owner, &[]);
    let cloner = shallow(&server, "1");
    owner.write("model.bin", noise(5, SIZE));
    owner.commit("commit 5");
    let pulled = cloner.ok(&["pull"]);
    assert_eq!(
        (&pulled["commits"], &pulled["files"]),
        (&1.into(), &1.into()),
        "{pulled}"
    );
    assert_eq!(messages(&cloner), named(&[5, 4]));
    let deeper = cloner.ok(&["pull", "--depth", "4"]);
    assert_eq!(
        (&deeper["commits"], &deeper["older_commits"]),
        (&0.into(), &2.into()),
        "{deeper}"
    );
    assert_eq!(messages(&cloner), named(&[5, 4, 3, 2]));
    cloner.assert_sound();
    let whole = cloner.ok(&["pull", "--unshallow"]);
    assert_eq!(
        (&whole["older_commits"], &whole["shallow"]),
        (&2.into(), &false.into()),
        "{whole}"
    );
    assert_eq!(messages(&cloner), named(&[5, 4, 3, 2, 1, 0]));
    assert_eq!(cloner.ok(&["log"])["cut"], false);
    assert!(!cloner.folder().join(".fai/shallow").exists());
    cloner.ok(&["checkout", "HEAD~5"]);
    assert_eq!(std::fs::read(cloner.folder().join("model.bin")).unwrap().len(), SIZE);
    cloner.assert_sound();
}

#[test]
fn commits_go_back_to_where_they_came_from() {
    let owner = owner(4);
    let server = Server::start(&owner, &["--write", "all"]);
    let cloner = shallow(&server, "1");
    // The commit behind which history is cut is replaced: so is the cut.
    cloner.ok(&["commit", "--amend", "-m", "amended"]);
    assert_eq!(messages(&cloner), ["amended"]);
    cloner.assert_sound();
    cloner.fails(&["push"], "diverged");
    cloner.ok(&["push", "--force-with-lease"]);
    cloner.write("more", b"more");
    cloner.commit("commit 4");
    assert_eq!(cloner.ok(&["push"])["commits"], 1);
    owner.assert_clean();
    owner.assert_sound();
    let log = owner.json(&["log"]);
    assert_eq!(log["commits"].as_array().unwrap().len(), 5);
}

#[test]
fn cut_history_is_served_as_cut_and_never_as_the_whole() {
    let owner = owner(5);
    let server = Server::start(&owner, &[]);
    let cloner = shallow(&server, "2");
    drop(server);
    let part = Server::start_in(&cloner.sandbox, &cloner.folder(), &[]);
    let whole = Cloner::new();
    let problem = whole.sandbox.fails(&["clone", &part.ticket, "clone", "--quiet"]);
    problem.is("missing", &["no peer has the commit"]).hints("--depth");
    whole.fails(&["log"], "no_commits");
    // Who asks for less gets it, and is cut at the same place.
    whole.sandbox.json(&["clone", &part.ticket, "clone", "--depth", "100"]);
    assert_eq!(messages(&whole), named(&[4, 3]));
    assert_eq!(files_below(&whole.folder()), files_below(&owner.root()));
    whole.assert_sound();
    assert_eq!(whole.ok(&["pull", "--unshallow"])["shallow"], true);
    let server = Server::start(&owner, &[]);
    assert_eq!(whole.ok(&["pull", &server.ticket, "--unshallow"])["shallow"], false);
    assert_eq!(messages(&whole), named(&[4, 3, 2, 1, 0]));
    whole.assert_sound();
}

#[test]
fn a_cut_part_of_a_repository_works_as_well() {
    let owner = owner(4);
    owner.write("data/large.bin", noise(9, 2_000_000));
    owner.commit("commit 4");
    let server = Server::start(&owner, &[]);
    let cloner = Cloner::new();
    let arguments = ["clone", &server.ticket, "clone", "--depth", "1", "--exclude", "data/"];
    let report = cloner.sandbox.json(&arguments);
    assert!(report["wire_bytes"].as_u64().unwrap() < 500_000, "{report}");
    cloner.assert_sound();
    let whole = cloner.ok(&["pull", "--unshallow"]);
    assert_eq!(
        (&whole["older_commits"], &whole["files"]),
        (&4.into(), &3.into()),
        "{whole}"
    );
    assert_eq!(cloner.ok(&["status"])["absent"], json!(["data/large.bin"]));
    cloner.assert_sound();
}
