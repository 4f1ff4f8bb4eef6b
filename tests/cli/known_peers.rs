//! What a user's peers are remembered for, and what a peer says when it begins to serve. Transfers are in `peers`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Sandbox, files_below, text};

/// A process that ends with this.
struct Serving {
    child: Child,
    listening: Value,
}

impl Serving {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = sandbox.command(&[&["serve", "--json"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let listening = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error} in {first:?}"));
        Self { child, listening }
    }

    fn port(&self) -> String {
        let address = text(&self.listening["addresses"][0]);
        address.rsplit('/').next().unwrap().to_owned()
    }

    /// Ends it, and gives what it said on standard error.
    fn said(mut self) -> String {
        let _ = self.child.kill();
        let mut said = String::new();
        let mut stderr: ChildStderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a peer says that must not begin to serve.
#[track_caller]
fn refused(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let mut command = sandbox.command(&[&["serve"], arguments].concat());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut serving = Serving {
        child,
        listening: Value::Null,
    };
    let started = Instant::now();
    while serving.child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(30), "it serves: {arguments:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    serving.said()
}

const LOOPBACK: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

#[test]
fn a_peer_that_was_met_is_found_again_by_its_id_until_it_is_forgotten() {
    let owner = Sandbox::with(&[("model.bin", b"weights")]);
    let serving = Serving::start(&owner, &LOOPBACK);
    let (peer, ticket) = (text(&serving.listening["peer_id"]), text(&serving.listening["ticket"]));
    let user = Sandbox::empty();
    user.ok(&["clone", &ticket.to_ascii_uppercase(), "first"]);
    let known = user.outside().join("home/peers.json");
    assert_eq!(known.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // Nobody announces an address of loopback: it is the memory that leads there.
    let said = user.ok(&["clone", &peer, "second"]);
    assert!(said.contains(" came over the wire"), "{said}");
    assert_eq!(files_below(&user.path("second")), files_below(&owner.root()));
    let listed = user.json(&["peers"]);
    let found = listed["peers"].as_array().unwrap().iter();
    let found: Vec<&Value> = found.filter(|known| known["peer_id"] == peer.as_str()).collect();
    assert_eq!(found.len(), 1, "{listed}");
    assert_eq!(found[0]["remembered"], true, "{listed}");
    assert_eq!(found[0]["last_seen"], "2024-01-15T14:30:22+01:00", "{listed}");
    assert_eq!(found[0]["addresses"][0], serving.listening["addresses"][0], "{listed}");
    assert_eq!(found[0]["repositories"][0]["name"], "repo", "{listed}");
    let shown = user.ok(&["peers"]);
    assert!(
        shown.contains(&format!("{peer} (127.0.0.1:{})", serving.port())),
        "{shown}"
    );
    assert!(shown.contains("last seen 2024-01-15 14:30:22"), "{shown}");

    user.ok(&["peers", "forget", &peer]);
    user.fails_with(2, &["peers", "forget", &peer]);
    user.fails(&["clone", &peer, "third"]).is("unreachable", &[&peer]);
    assert!(!user.exists("third"));
}

#[test]
fn a_peer_that_moved_is_looked_for_where_it_was_seen_last() {
    let owner = Sandbox::with(&[("model.bin", b"weights")]);
    let user = Sandbox::empty();
    {
        let serving = Serving::start(&owner, &LOOPBACK);
        user.ok(&["clone", &text(&serving.listening["ticket"]), "clone"]);
    }
    // The same peer on another port: what the clone remembers leads nowhere, what the user remembers does.
    let serving = Serving::start(&owner, &LOOPBACK);
    user.ok(&["clone", &text(&serving.listening["addresses"][0]), "other"]);
    let pulled = user.json(&["-C", "clone", "pull"]);
    assert_eq!(pulled["commits"], 0);
}

#[test]
fn a_memory_that_is_damaged_is_none() {
    let user = Sandbox::empty();
    fs::create_dir(user.outside().join("home")).unwrap();
    fs::write(user.outside().join("home/peers.json"), b"{ not json").unwrap();
    let owner = Sandbox::with(&[("model.bin", b"weights")]);
    let serving = Serving::start(&owner, &LOOPBACK);
    user.ok(&["clone", &text(&serving.listening["ticket"]), "clone"]);
    let known = fs::read_to_string(user.outside().join("home/peers.json")).unwrap();
    assert!(known.contains(&text(&serving.listening["peer_id"])), "{known}");
}

#[test]
fn a_port_that_is_taken_is_not_shared() {
    let (owner, other) = (Sandbox::with(&[("a", b"a")]), Sandbox::with(&[("b", b"b")]));
    let serving = Serving::start(&owner, &LOOPBACK);
    let taken = format!("/ip4/127.0.0.1/tcp/{}", serving.port());
    for arguments in [["--listen", &taken], ["--port", &serving.port()]] {
        let said = refused(&other, &arguments);
        assert!(said.contains("another process listens there"), "{said}");
        assert!(
            said.contains("hint: choose another one with --port or --listen"),
            "{said}"
        );
    }
    drop(serving);
    let again = Serving::start(&other, &["--listen", &taken]);
    assert_eq!(
        text(&again.listening["addresses"][0]),
        taken,
        "and is free again at once"
    );
}

#[test]
fn without_a_terminal_there_is_no_picture_and_a_reason() {
    let owner = Sandbox::with(&[("a", b"a")]);
    let serving = Serving::start(&owner, &[&LOOPBACK[..], &["--qr"]].concat());
    let said = serving.said();
    assert_eq!(said, "warning: no QR code: the output is no terminal\n");
}
