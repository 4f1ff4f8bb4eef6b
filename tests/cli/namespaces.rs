//! Three peers on a network of their own. They find each other by mDNS, with no address typed. Skipped, with the reason
//! printed, where there are no network namespaces.

use std::fs;

use fai_testkit::noise;

use crate::support::files_below;
use crate::support::network::{Network, Person, or_skip};

#[test]
fn three_machines_find_each_other_and_share_the_work() {
    let Some(lan) = or_skip(Network::bridged(3)) else {
        return;
    };
    let (one, two, three) = (Person::at(&lan, 1), Person::at(&lan, 2), Person::at(&lan, 3));
    one.begin(&noise(7, 30_000_000));
    let first = one.serve(&[]);
    let peer = one.peer();

    let seen = two.json(&["peers"]);
    assert_eq!(seen["peers"][0]["peer_id"].as_str(), Some(peer.as_str()), "{seen}");
    assert_eq!(seen["peers"][0]["repositories"][0]["name"], "models");
    two.json(&["clone", &peer]);
    assert_eq!(files_below(&two.folder()), files_below(&one.folder()));

    let other = two.peer();
    one.json(&["-C", "models", "access", "allow", &other, "--write"]);
    fs::write(two.folder().join("head.bin"), noise(8, 2_000_000)).unwrap();
    two.commit("second");
    two.json(&["-C", "models", "push"]);
    assert_eq!(files_below(&two.folder()), files_below(&one.folder()));

    let _second = two.serve(&[]);
    let cloned = three.json(&["clone", &peer]);
    assert_eq!(cloned["commits"], 2, "{cloned}");
    assert_eq!(files_below(&three.folder()), files_below(&one.folder()));
    drop(first);
    // The first machine is gone: the second one has it all.
    let again = Person::at(&lan, 3);
    again.json(&["clone", &other]);
    assert_eq!(files_below(&again.folder()), files_below(&two.folder()));
    for person in [&one, &two, &three, &again] {
        person.assert_sound();
    }
}
