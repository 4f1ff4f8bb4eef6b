//! Chunks that peers store as deltas: what travels, in how many waves, and what liars come to.

use std::collections::HashMap;
use std::time::Duration;

use fai_core::object::Hash;
use fai_core::storage::MAX_CHAIN;
use fai_network::session::bases::Offer;

use crate::network::{End, Offers, Peer, any_deltas, transfer, transfer_to};
use crate::world::{Dice, Here, World};

const CHUNK: u64 = 1 << 20;

/// Every version but the first as deltas of a tenth against the one before.
fn chained(world: &World) -> HashMap<Hash, Offer> {
    let pairs = world.files.windows(2).flat_map(|pair| pair[1].iter().zip(&pair[0]));
    let len = (CHUNK / 10) as u32;
    let deltas = pairs.map(|(chunk, base)| (chunk.hash, Offer { base: base.hash, len }));
    deltas.collect()
}

fn storing(deltas: HashMap<Hash, Offer>, megabytes_a_second: f64) -> Peer {
    Peer {
        deltas,
        ..Peer::steady(megabytes_a_second)
    }
}

#[test]
fn a_fine_tune_costs_a_tenth_and_a_few_round_trips_where_its_base_is() {
    // The base is here: its chunks are named, and not part of what is transferred.
    let both = World::versions(2, 2000, CHUNK);
    let tuned = World::versions(1, 2000, CHUNK);
    let bases = both.files[1].iter().map(|extent| extent.hash);
    let deltas: HashMap<Hash, Offer> = tuned.files[0]
        .iter()
        .zip(bases.clone())
        .map(|(chunk, base)| (chunk.hash, Offer { base, len: 100_000 }))
        .collect();
    let here = || Here {
        readable: bases.clone().map(|base| (base, 0)).collect(),
        ..Here::default()
    };
    let run = transfer_to(here(), &tuned, &[storing(deltas.clone(), 20.0)], 1);
    assert_eq!((run.end, run.waves), (End::Done, 0));
    assert_eq!(run.deltas.len(), deltas.len());
    let share = run.sent[0] as f64 / tuned.bytes as f64;
    assert!(share < 0.11, "{share}");
    // Far away: the answer to the first question of each kind is waited for, the others are asked meanwhile.
    let latency = Duration::from_millis(200);
    let far = Peer {
        latency,
        ..storing(deltas, 20.0)
    };
    let time = transfer_to(here(), &tuned, &[far], 1).time;
    assert!(time < run.time + 24 * latency, "{time:?}, near {:?}", run.time);
}

#[test]
fn a_clone_gets_what_is_stored_as_it_is_stored() {
    let world = World::versions(MAX_CHAIN as u64 + 1, 300, CHUNK);
    let deltas = chained(&world);
    let stored = 300 * CHUNK + deltas.values().map(|offer| u64::from(offer.len)).sum::<u64>();
    let run = transfer(&world, &[storing(deltas.clone(), 50.0)], 2);
    assert_eq!(run.end, End::Done);
    let against: HashMap<Hash, Hash> = deltas.iter().map(|(chunk, offer)| (*chunk, offer.base)).collect();
    assert_eq!(run.deltas, against);
    assert!(run.waves <= MAX_CHAIN, "{}", run.waves);
    assert!(run.sent[0] < stored + stored / 100, "{} of {stored}", run.sent[0]);
}

#[test]
fn without_its_base_a_fine_tune_comes_alone() {
    let world = World::versions(1, 500, CHUNK);
    let base = Offer {
        base: World::versions(3, 1, CHUNK).files[2][0].hash,
        len: 100_000,
    };
    let deltas = world.chunks().into_keys().map(|chunk| (chunk, base)).collect();
    let run = transfer(&world, &[storing(deltas, 50.0)], 1);
    assert_eq!((run.end, run.waves, run.deltas.len()), (End::Done, 1, 0));
    assert!(run.sent[0] < world.bytes + world.bytes / 1000, "{}", run.sent[0]);
}

#[test]
fn copies_that_store_the_same_chunks_differently_serve_one_transfer() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let world = World::new(&mut dice, 6, 60, CHUNK);
        let peers: Vec<Peer> = (0..dice.within(2..5))
            .map(|_| storing(any_deltas(&mut dice, &world), dice.within(10..200) as f64 / 10.0))
            .collect();
        let run = transfer(&world, &peers, 1);
        assert_eq!(run.end, End::Done, "seed {seed}");
        assert_eq!(run.fresh.len(), world.records.len(), "seed {seed}");
        assert!(!run.deltas.is_empty(), "seed {seed}");
        assert!(run.waves <= 2 * MAX_CHAIN, "seed {seed}: {} waves", run.waves);
    }
}

#[test]
fn lies_about_bases_cost_their_peers_time_and_end() {
    let world = World::versions(3, 400, CHUNK);
    let honest = storing(chained(&world), 50.0);
    let alone = transfer(&world, std::slice::from_ref(&honest), 1);
    for offers in [
        Offers::Nowhere,
        Offers::Loop,
        Offers::Chain,
        Offers::Endless,
        Offers::Always,
    ] {
        let liar = Peer {
            offers,
            ..Peer::steady(50.0)
        };
        // What is sent alone when it is asked for so is a right answer, however often it was offered.
        let run = transfer(&world, std::slice::from_ref(&liar), 1);
        let end = if offers == Offers::Always {
            End::Stuck
        } else {
            End::Done
        };
        assert_eq!(run.end, end, "{offers:?}");
        assert!(run.waves <= MAX_CHAIN + 2, "{offers:?}: {} waves", run.waves);
        assert!(run.sent[0] < world.bytes + world.bytes / 100, "{offers:?}");

        let run = transfer(&world, &[liar, honest.clone()], 1);
        assert_eq!(run.end, End::Done, "{offers:?}");
        assert!(run.waves <= 2 * (MAX_CHAIN + 2), "{offers:?}: {} waves", run.waves);
        assert!(
            run.time < alone.time * 12,
            "{offers:?}: {:?}, alone {:?}",
            run.time,
            alone.time
        );
    }
}
