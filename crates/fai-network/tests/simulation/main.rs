//! Whole transfers in a simulated network: who is asked for what, with peers that are slow, vanish, come back, fall silent,
//! lack records and lie; thousands of networks, each repeated by its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod deltas;
mod network;
mod world;

use std::time::Duration;

use network::{End, Peer, any_deltas, any_peer, transfer};
use world::{Dice, World};

const SEEDS: u64 = 3000;

fn model() -> World {
    World::new(&mut Dice(7), 4, 400, 1 << 20)
}

#[test]
fn whoever_else_is_there_one_honest_peer_is_enough() {
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let (files, chunks) = (dice.within(1..20), dice.within(1..40));
        let world = World::new(&mut dice, files, chunks, 1 << 20);
        let mut peers: Vec<Peer> = (0..dice.within(0..5)).map(|_| any_peer(&mut dice, &world)).collect();
        let place = dice.within(0..peers.len() as u64 + 1) as usize;
        let mut honest = Peer::steady(dice.within(1..200) as f64 / 10.0);
        if dice.one_in(2) {
            honest.deltas = any_deltas(&mut dice, &world);
        }
        peers.insert(place, honest);
        let links = dice.within(1..3) as usize;
        let run = transfer(&world, &peers, links);
        assert_eq!(run.end, End::Done, "seed {seed}");
        let all = world.records.keys().copied().collect();
        assert_eq!(run.fresh, all, "seed {seed}: everything comes, and nothing else");
        // Each link of each peer can be doubled at the end, and what it holds is bounded: by what is promised, or after
        // offers by a part of that.
        let offers = peers.iter().any(Peer::offers);
        let bound = peers.len() as u64 * links as u64 * (16 << 20) * if offers { 16 } else { 1 };
        assert!(run.twice <= bound, "seed {seed}: {} bytes twice", run.twice);
    }
}

#[test]
fn without_an_honest_peer_it_ends_all_the_same() {
    let mut ends = [0; 3];
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let world = World::new(&mut dice, 6, 20, 1 << 20);
        let peers: Vec<Peer> = (0..dice.within(1..4)).map(|_| any_peer(&mut dice, &world)).collect();
        let run = transfer(&world, &peers, 1);
        if run.end == End::Done {
            assert_eq!(run.fresh.len(), world.records.len(), "seed {seed}");
        } else {
            assert!(run.fresh.len() < world.records.len(), "seed {seed}");
        }
        ends[run.end as usize] += 1;
    }
    assert!(ends.iter().all(|count| *count > 0), "all ways to end are met: {ends:?}");
}

#[test]
fn four_equal_sources_are_nearly_four_times_as_fast_as_one() {
    let world = model();
    let one = transfer(&world, &[Peer::steady(20.0)], 2);
    let four = transfer(&world, &vec![Peer::steady(20.0); 4], 2);
    assert_eq!((one.end, four.end), (End::Done, End::Done));
    let gain = one.time.as_secs_f64() / four.time.as_secs_f64();
    assert!(gain > 3.8, "{gain}");
    assert_eq!(one.twice, 0);
    assert!(four.twice < world.bytes / 20, "{} of {} twice", four.twice, world.bytes);
}

#[test]
fn each_source_brings_what_it_can() {
    let world = model();
    let rates = [40.0, 20.0, 10.0, 2.0];
    let run = transfer(&world, &rates.map(Peer::steady), 1);
    let ideal = world.bytes as f64 / (rates.iter().sum::<f64>() * 1e6);
    assert!(
        run.time.as_secs_f64() < ideal * 1.15,
        "{:?} where {ideal} s are ideal",
        run.time
    );
}

#[test]
fn a_trickle_does_not_hold_the_others_up() {
    let world = model();
    let alone = transfer(&world, &[Peer::steady(50.0)], 1).time;
    for trickle in [0.000_001, 0.01, 1.0] {
        let run = transfer(&world, &[Peer::steady(trickle), Peer::steady(50.0)], 1);
        assert_eq!(run.end, End::Done);
        assert!(
            run.time < alone.mul_f64(1.1),
            "{trickle} MB/s: {:?}, alone {alone:?}",
            run.time
        );
    }
}

#[test]
fn silence_is_not_waited_out_while_others_can_help() {
    let world = model();
    let alone = transfer(&world, &[Peer::steady(50.0)], 1).time;
    let silent = Peer {
        silent_after: Some(20),
        ..Peer::steady(50.0)
    };
    let run = transfer(&world, &[silent, Peer::steady(50.0)], 1);
    assert_eq!(run.end, End::Done);
    assert!(run.time < alone.mul_f64(1.1), "{:?}, alone {alone:?}", run.time);
}

#[test]
fn a_network_that_comes_back_costs_only_what_was_under_way() {
    let world = model();
    let whole = transfer(&world, &[Peer::steady(50.0)], 1);
    let broken = Peer {
        breaks: vec![Duration::from_secs(2), Duration::from_secs(15)],
        returns_after: Some(Duration::from_secs(10)),
        ..Peer::steady(50.0)
    };
    let run = transfer(&world, &[broken], 1);
    assert_eq!((run.end, run.twice), (End::Done, 0));
    assert_eq!(run.sent, whole.sent, "what came before counts");
}

#[test]
fn a_record_that_one_lacks_is_asked_of_another() {
    let world = model();
    let mut hashes: Vec<_> = world.records.keys().copied().collect();
    hashes.sort_unstable();
    let part = |parity: usize| {
        let lacks = hashes.iter().enumerate().filter(|(index, _)| index % 2 == parity);
        Peer {
            lacks: lacks.map(|(_, hash)| *hash).collect(),
            ..Peer::steady(50.0)
        }
    };
    assert_eq!(transfer(&world, &[part(0), part(1)], 1).end, End::Done);
    assert_eq!(transfer(&world, &[part(0)], 1).end, End::Nowhere);
    // One that is away may have it: it is waited for, and then it is known.
    let away = Peer {
        breaks: vec![Duration::ZERO],
        returns_after: Some(Duration::from_secs(60)),
        ..part(1)
    };
    assert_eq!(transfer(&world, &[part(0), away], 1).end, End::Done);
}
