//! A network in memory: peers that answer at their own pace, vanish, come back, fall silent, lack records or lie. Time is a
//! number; a run is repeated exactly by its seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use fai_core::object::Hash;
use fai_network::session::plan::{Plan, Promise, Want};
use fai_network::session::schedule::{LinkId, Outlook, Schedule};

use crate::world::{Dice, Here, World, len};

/// After so much silence a link counts as ended.
const SILENCE: Duration = Duration::from_secs(30);

/// How a peer behaves.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Bytes a second.
    pub rate: f64,
    /// From a question to the first byte of its answer.
    pub latency: Duration,
    /// It sends a wrong record in place of this one of its answers.
    pub lies_at: Option<usize>,
    /// It says nothing any more after so many answers.
    pub silent_after: Option<usize>,
    /// When its connection breaks.
    pub breaks: Vec<Duration>,
    /// How long after that it can be reached again; never without.
    pub returns_after: Option<Duration>,
    /// Records that it does not have.
    pub lacks: HashSet<Hash>,
}

impl Peer {
    /// Honest and steady.
    pub fn steady(megabytes_a_second: f64) -> Self {
        Self {
            rate: megabytes_a_second * 1e6,
            latency: Duration::from_millis(1),
            lies_at: None,
            silent_after: None,
            breaks: Vec::new(),
            returns_after: None,
            lacks: HashSet::new(),
        }
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    Done,
    Stuck,
    Nowhere,
}

pub struct Run {
    pub end: End,
    pub time: Duration,
    /// Records that came, each once.
    pub fresh: HashSet<Hash>,
    /// Bytes that came a second time.
    pub twice: u64,
    /// Bytes that each peer sent.
    pub sent: Vec<u64>,
}

#[derive(Debug)]
enum Event {
    Answer(LinkId, Want),
    Quiet(LinkId, Duration),
    Break(usize),
    Back(usize),
}

struct Simulation<'a> {
    world: &'a World,
    peers: &'a [Peer],
    schedule: Schedule<usize>,
    here: Here,
    now: Duration,
    events: BinaryHeap<(Reverse<Duration>, Reverse<usize>)>,
    bodies: Vec<Option<Event>>,
    /// When a peer's line is free again.
    free_at: Vec<Duration>,
    answers: Vec<usize>,
    /// Peers that have lied: nothing may be asked of them.
    banned: HashSet<usize>,
    last_word: HashMap<LinkId, Duration>,
    run: Run,
}

/// Transfers `world` from `peers`, of which each has `links` links.
pub fn transfer(world: &World, peers: &[Peer], links: usize) -> Run {
    let mut plan = Plan::default();
    plan.add_root(world.root);
    let mut simulation = Simulation {
        world,
        peers,
        schedule: Schedule::new(plan),
        here: Here::default(),
        now: Duration::ZERO,
        events: BinaryHeap::new(),
        bodies: Vec::new(),
        free_at: vec![Duration::ZERO; peers.len()],
        answers: vec![0; peers.len()],
        banned: HashSet::new(),
        last_word: HashMap::new(),
        run: Run {
            end: End::Stuck,
            time: Duration::ZERO,
            fresh: HashSet::new(),
            twice: 0,
            sent: vec![0; peers.len()],
        },
    };
    for (index, peer) in peers.iter().enumerate() {
        for _ in 0..links {
            simulation.schedule.connect(index);
        }
        for at in &peer.breaks {
            simulation.at(*at, Event::Break(index));
        }
    }
    simulation.run();
    simulation.run
}

impl Simulation<'_> {
    fn at(&mut self, time: Duration, event: Event) {
        self.events.push((Reverse(time), Reverse(self.bodies.len())));
        self.bodies.push(Some(event));
    }

    fn run(&mut self) {
        for _ in 0..10_000_000 {
            self.ask();
            let end = match self.schedule.outlook() {
                Outlook::Done => Some(End::Done),
                Outlook::Stuck(_) => Some(End::Stuck),
                Outlook::Going => None,
            };
            if let Some(end) = end {
                (self.run.end, self.run.time) = (end, self.now);
                return;
            }
            let Some((Reverse(time), Reverse(index))) = self.events.pop() else {
                panic!("the schedule waits for something that will never happen");
            };
            self.now = time;
            let event = self.bodies[index].take().unwrap();
            if self.happen(event) == Some(End::Nowhere) {
                (self.run.end, self.run.time) = (End::Nowhere, self.now);
                return;
            }
        }
        panic!("the transfer does not end");
    }

    fn ask(&mut self) {
        loop {
            let mut asked = false;
            for link in self.schedule.open_links() {
                let batch = self.schedule.next(link, &self.here, self.now).unwrap();
                let peer = self.schedule.peer(link).unwrap();
                assert!(
                    batch.is_empty() || !self.banned.contains(&peer),
                    "a liar is asked again"
                );
                asked |= !batch.is_empty();
                for want in batch {
                    self.answer(peer, link, want);
                }
            }
            if !asked {
                return;
            }
        }
    }

    /// When the answer comes, if it does.
    fn answer(&mut self, index: usize, link: LinkId, want: Want) {
        let peer = &self.peers[index];
        let number = self.answers[index];
        self.answers[index] += 1;
        if peer.silent_after.is_some_and(|after| number >= after) {
            let last = *self.last_word.get(&link).unwrap_or(&self.now);
            return self.at(self.now.max(last) + SILENCE, Event::Quiet(link, last));
        }
        let sending = match peer.lacks.contains(&want.hash) {
            true => 36,
            false => len(&want),
        };
        let begins = self.free_at[index].max(self.now + peer.latency);
        let comes = begins + Duration::from_secs_f64(sending as f64 / peer.rate);
        self.free_at[index] = comes;
        self.at(comes, Event::Answer(link, want));
    }

    fn happen(&mut self, event: Event) -> Option<End> {
        match event {
            // What a broken link still had under way is lost.
            Event::Answer(link, want) if self.schedule.is_open(link) => {
                let index = self.schedule.peer(link).unwrap();
                let peer = &self.peers[index];
                self.last_word.insert(link, self.now);
                if peer.lacks.contains(&want.hash) {
                    return (!self.schedule.is_absent(link, &want)).then_some(End::Nowhere);
                }
                self.run.sent[index] += len(&want);
                if peer.lies_at.is_some_and(|at| self.answers[index] > at) {
                    self.banned.insert(index);
                    self.schedule.give_up(index);
                    return None;
                }
                let chunk = matches!(want.promise, Promise::Chunk { .. });
                let raw = (!chunk).then(|| self.world.records[&want.hash].as_slice());
                if self.schedule.came(link, &want, raw, self.now).unwrap() {
                    assert!(self.run.fresh.insert(want.hash), "a record counts as new twice");
                    if chunk {
                        self.here.chunks.insert(want.hash);
                    }
                } else {
                    self.run.twice += len(&want);
                }
            }
            Event::Quiet(link, last) if self.schedule.is_open(link) => {
                let word = *self.last_word.get(&link).unwrap_or(&last);
                if word <= last {
                    let index = self.schedule.peer(link).unwrap();
                    self.schedule.ended(link);
                    self.schedule.give_up(index);
                } else {
                    // It has spoken meanwhile: the silence counts from there.
                    self.at(word + SILENCE, Event::Quiet(link, word));
                }
            }
            Event::Break(index) => {
                let broken = self.schedule.open_links().into_iter();
                let broken: Vec<LinkId> = broken.filter(|link| self.schedule.peer(*link) == Some(index)).collect();
                let mut lost = false;
                for link in broken {
                    lost |= self.schedule.ended(link).is_some();
                }
                self.free_at[index] = self.now;
                if lost && let Some(after) = self.peers[index].returns_after {
                    self.schedule.expect(index);
                    self.at(self.now + after, Event::Back(index));
                }
            }
            Event::Back(index) if !self.banned.contains(&index) => {
                self.schedule.connect(index);
            }
            _ => {}
        }
        None
    }
}

/// A peer with some of the faults that peers have.
pub fn any_peer(dice: &mut Dice, world: &World) -> Peer {
    let mut peer = Peer::steady(dice.within(1..500) as f64 / 10.0);
    peer.latency = Duration::from_millis(dice.within(0..300));
    if dice.one_in(4) {
        peer.lies_at = Some(dice.within(0..50) as usize);
    }
    if dice.one_in(4) {
        peer.silent_after = Some(dice.within(0..50) as usize);
    }
    if dice.one_in(2) {
        peer.breaks = (0..dice.within(1..4))
            .map(|_| Duration::from_millis(dice.within(0..20_000)))
            .collect();
        peer.returns_after = (!dice.one_in(3)).then(|| Duration::from_millis(dice.within(1..20_000)));
    }
    if dice.one_in(2) {
        let mut hashes: Vec<Hash> = world.records.keys().copied().collect();
        hashes.sort_unstable();
        peer.lacks = hashes.into_iter().filter(|_| dice.one_in(3)).collect();
    }
    peer
}
