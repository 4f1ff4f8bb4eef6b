//! Peers that meet through a relay. Skipped, with the reason printed, where there are no network namespaces.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fai_testkit::noise;
use serde_json::Value;

use crate::support::network::{Network, Person, Serving, or_skip};
use crate::support::{Sandbox, files_below, text};

/// Where a relay is for that machine of [`Network::apart`].
fn place(relay: &Serving, machine: u8) -> String {
    let kind = format!("ip4/10.78.{machine}.1/tcp");
    format!("{}/p2p/{}", relay.addresses()[&kind], text(&relay.first["peer_id"]))
}

fn circuits(event: &Value) -> Vec<String> {
    let all = event["addresses"].as_array().unwrap().iter().map(text);
    all.filter(|address| address.contains("p2p-circuit")).collect()
}

/// A clone into a folder of its own.
fn clone_of<'a>(network: &'a Network, machine: usize, source: &str, bootstrap: Option<&str>) -> (Person<'a>, Value) {
    let person = Person::at(network, machine);
    if let Some(bootstrap) = bootstrap {
        person.json(&["config", "--global", "network.bootstrap", bootstrap]);
    }
    let report = person.json(&["clone", source, "models"]);
    (person, report)
}

#[test]
fn peers_without_a_way_to_each_other_meet_through_a_relay() {
    let Some(network) = or_skip(Network::apart(2)) else {
        return;
    };
    let (owner, middle) = (Person::at(&network, 1), Person::at(&network, 0));
    let relay = middle.serve(&["--relay"]);
    owner.begin(&noise(11, 20_000_000));
    let serving = owner.serve(&["--bootstrap", &place(&relay, 1)]);
    assert!(!circuits(&serving.first).is_empty(), "{}", serving.first);
    let ticket = text(&serving.first["ticket"]);
    // The relay has a way to it, though nobody else.
    let reachable = text(&serving.event("reachable")["address"]);
    assert!(reachable.starts_with("/ip4/10.78.1.2/tcp/"), "{reachable}");

    // Nothing is configured here: the ticket says all.
    let (one, report) = clone_of(&network, 2, &ticket, None);
    assert_eq!(report["route"], "relayed", "{report}");
    assert_eq!(files_below(&one.folder()), files_below(&owner.folder()));
    one.assert_sound();

    // Nothing but the peer's id is known here: the directory knows the rest.
    let (two, report) = clone_of(&network, 2, &owner.peer(), Some(&place(&relay, 2)));
    assert_eq!(report["route"], "relayed", "{report}");
    assert_eq!(files_below(&two.folder()), files_below(&owner.folder()));

    owner.json(&["-C", "models", "access", "allow", &two.peer(), "--write"]);
    fs::write(two.folder().join("head.bin"), noise(12, 2_000_000)).unwrap();
    two.commit("second");
    assert_eq!(two.json(&["-C", "models", "push"])["route"], "relayed");
    assert_eq!(files_below(&two.folder()), files_below(&owner.folder()));
    let pulled = one.json(&["-C", "models", "pull"]);
    assert_eq!(
        (&pulled["route"], &pulled["commits"]),
        (&"relayed".into(), &1.into()),
        "{pulled}"
    );
    for person in [&owner, &one, &two] {
        person.assert_sound();
    }
}

#[test]
fn what_one_bootstrap_peer_knows_is_found_through_another() {
    let Some(network) = or_skip(Network::apart(2)) else {
        return;
    };
    let (owner, one, two) = (
        Person::at(&network, 1),
        Person::at(&network, 0),
        Person::at(&network, 0),
    );
    let first = one.serve(&["--relay"]);
    let second = two.serve(&["--relay", "--bootstrap", &place(&first, 2)]);
    owner.begin(&noise(16, 2_000_000));
    let _serving = owner.serve(&["--bootstrap", &place(&first, 1)]);
    let (person, report) = clone_of(&network, 2, &owner.peer(), Some(&place(&second, 2)));
    assert_eq!(report["route"], "relayed", "{report}");
    assert_eq!(files_below(&person.folder()), files_below(&owner.folder()));
}

#[test]
fn who_serves_a_copy_is_found_by_the_repository_unless_it_is_for_listed_peers() {
    let Some(network) = or_skip(Network::apart(4)) else {
        return;
    };
    let (owner, middle) = (Person::at(&network, 1), Person::at(&network, 0));
    let relay = middle.serve(&["--relay"]);
    owner.begin(&noise(13, 2_000_000));
    let first = owner.serve(&["--bootstrap", &place(&relay, 1)]);
    let ticket = text(&first.first["ticket"]);
    let (open, _) = clone_of(&network, 2, &ticket, Some(&place(&relay, 2)));
    let (closed, _) = clone_of(&network, 3, &ticket, Some(&place(&relay, 3)));
    let serving = (open.serve(&[]), closed.serve(&["--read", "listed"]));
    // Both have a place, and have said what they serve.
    for serving in [&serving.0, &serving.1] {
        assert!(!circuits(&serving.first).is_empty(), "{}", serving.first);
    }

    // Announcing takes a moment.
    let asked = (0..20).any(|_| {
        let (_, report) = clone_of(&network, 4, &ticket, Some(&place(&relay, 4)));
        assert_eq!(report["files"], 1);
        serving.0.has_said("asked")
    });
    assert!(asked, "nobody asked the one with a copy for everybody");
    // Who is not in the directory for it is not even refused.
    assert!(!serving.1.has_said("failed"), "a listed repository was announced");
}

#[test]
fn a_relay_that_goes_away_is_used_again_when_it_comes_back() {
    let Some(network) = or_skip(Network::apart(2)) else {
        return;
    };
    let (owner, middle, other) = (
        Person::at(&network, 1),
        Person::at(&network, 0),
        Person::at(&network, 2),
    );
    let relay = middle.serve(&["--relay"]);
    owner.begin(&noise(14, 60_000_000));
    let serving = owner.serve(&["--bootstrap", &place(&relay, 1)]);
    let ticket = text(&serving.first["ticket"]);

    let mut command = other.command(&["clone", &ticket, "models", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while received(&other) < 5_000_000 && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(relay);
    assert_eq!(circuits(&serving.event("relayed")).len(), 0);
    let error = Person::at(&network, 2).fails(&["clone", &ticket, "models"]);
    assert_eq!(error["kind"], "unreachable", "{error}");
    assert!(text(&error["message"]).contains("the relay 12D3KooW"), "{error}");

    let _relay = middle.serve(&["--relay"]);
    let back = serving.event("relayed");
    assert!(!circuits(&back).is_empty(), "{back}");
    // It is tried again for half a minute or so; whether the relay is back by then is chance.
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaints.contains("trying again"),
        "the relay was gone too late: {complaints}"
    );
    if !output.status.success() {
        assert!(complaints.contains("\"kind\":\"connection\"") || complaints.contains("\"kind\":\"unreachable\""));
        let report = other.json(&["clone", &ticket, "models"]);
        assert_eq!(report["route"], "relayed", "{report}");
        let came = report["wire_bytes"].as_u64().unwrap();
        assert!(came < 56_000_000, "what came is kept: {report}");
    }
    assert_eq!(files_below(&other.folder()), files_below(&owner.folder()));
    other.assert_sound();
}

/// Bytes that a clone has received so far.
fn received(person: &Person<'_>) -> u64 {
    let quarantine = person.folder().join(".fai/quarantine/0");
    let below = |folder: &str| fs::read_dir(quarantine.join(folder));
    let listings = ["incoming", "objects"].iter().filter_map(|folder| below(folder).ok());
    let sizes = listings
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum()
}

#[test]
fn a_relayed_connection_becomes_direct_where_there_is_a_way() {
    let Some(network) = or_skip(Network::bridged(3)) else {
        return;
    };
    let (owner, middle) = (Person::at(&network, 1), Person::at(&network, 2));
    let relay = middle.serve(&["--relay"]);
    let at = format!("{}/p2p/{}", relay.addresses()["ip4/10.77.0.2/tcp"], middle.peer());
    owner.begin(&noise(15, 2_000_000));
    let serving = owner.serve(&["--bootstrap", &at]);
    let through = format!("{at}/p2p-circuit/p2p/{}", owner.peer());
    let (person, report) = clone_of(&network, 3, &through, None);
    assert_eq!(report["route"], "direct", "{report}");
    assert_eq!(files_below(&person.folder()), files_below(&owner.folder()));
    person.assert_sound();
    drop(serving);
}

#[test]
fn bootstrap_peers_must_be_named_whole() {
    let sandbox = Sandbox::new();
    let complaint = sandbox.misused(&["serve", "--bootstrap", "/ip4/192.0.2.1/tcp/4001"]);
    assert!(complaint.contains("/p2p/"), "{complaint}");
    sandbox.ok(&["config", "network.bootstrap", "192.0.2.1:4001"]);
    sandbox.fails(&["serve"]).is("bad_source", &["192.0.2.1:4001"]);
}
