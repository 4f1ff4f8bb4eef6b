//! A network in memory: peers that answer at their own pace, vanish, come back, fall silent, lack records, store chunks as
//! deltas, or lie. Time is a number; a run is repeated exactly by its seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use fai_core::object::{Hash, Kind};
use fai_core::storage::MAX_CHAIN;
use fai_network::session::bases::{Ask, Form, Offer};
use fai_network::session::plan::{Plan, Promise, Reach};
use fai_network::session::schedule::{LinkId, Outlook, Schedule};
use fai_network::wire::records::OFFER_LEN;

use crate::world::{Dice, Here, OBJECT, World};

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
    /// Chunks that it stores as deltas: against which, and how long.
    pub deltas: HashMap<Hash, Offer>,
    /// What it offers, where it does not tell the truth.
    pub offers: Offers,
}

/// How a peer lies when it offers chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    True,
    /// Of a chunk that exists nowhere.
    Nowhere,
    /// Two chunks against each other.
    Loop,
    /// Every chunk against another one of those that are transferred, all in a long chain.
    Chain,
    /// Always of another one.
    Endless,
    /// Also where it may not.
    Always,
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
            deltas: HashMap::new(),
            offers: Offers::True,
        }
    }

    /// Whether it offers anything.
    pub fn offers(&self) -> bool {
        self.offers != Offers::True || !self.deltas.is_empty()
    }

    /// What it answers.
    fn answer(&self, world: &World, ask: &Ask, number: usize) -> Answer {
        let Promise::Chunk { len } = ask.want.promise else {
            return Answer::Record(None, OBJECT);
        };
        let base = |offset: usize| {
            let chunks: Vec<Hash> = world.files.iter().flatten().map(|extent| extent.hash).collect();
            let at = chunks.iter().position(|hash| *hash == ask.want.hash).unwrap();
            chunks[(at ^ offset).min(chunks.len() - 1)]
        };
        let lie = |base| Some(Offer { base, len: 1 });
        let offer = match self.offers {
            Offers::True => self.deltas.get(&ask.want.hash).copied(),
            Offers::Nowhere => lie(Kind::Chunk.hash(b"nowhere")),
            Offers::Loop => lie(base(1)),
            Offers::Chain => {
                let chunks: Vec<Hash> = world.files.iter().flatten().map(|extent| extent.hash).collect();
                let at = chunks.iter().position(|hash| *hash == ask.want.hash).unwrap();
                chunks.get(at + 1).and_then(|base| lie(*base))
            }
            Offers::Endless | Offers::Always => lie(Kind::Chunk.hash(&number.to_le_bytes())),
        };
        match (offer, ask.form) {
            (None, _) => Answer::Record(None, len),
            (Some(offer), Form::Alone) if self.offers == Offers::Always => Answer::Offer(offer),
            (Some(_), Form::Alone) => Answer::Record(None, len),
            (Some(offer), Form::Against(base)) if base == offer.base => {
                Answer::Record(Some(base), u64::from(offer.len))
            }
            (Some(offer), _) => Answer::Offer(offer),
        }
    }
}

/// An answer that is on its way.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// As a delta against that chunk, or standing alone, and how long.
    Record(Option<Hash>, u64),
    Offer(Offer),
    Absent,
}

impl Answer {
    fn len(&self) -> u64 {
        match self {
            Answer::Record(_, len) => *len,
            Answer::Offer(_) => OFFER_LEN,
            Answer::Absent => 36,
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
    /// Chunks that came as deltas, and against which.
    pub deltas: HashMap<Hash, Hash>,
    /// How often what came had to be made readable.
    pub waves: usize,
}

#[derive(Debug)]
enum Event {
    Answer(LinkId, Ask, Answer),
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
    transfer_to(Here::default(), world, peers, links)
}

/// The same to a side that has something.
pub fn transfer_to(here: Here, world: &World, peers: &[Peer], links: usize) -> Run {
    let mut plan = Plan::new(Reach::Everything);
    plan.add_root(world.root);
    let mut simulation = Simulation {
        world,
        peers,
        schedule: Schedule::new(plan),
        here,
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
            deltas: HashMap::new(),
            waves: 0,
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
                Outlook::Wave => {
                    self.run.waves += 1;
                    self.here.seal();
                    self.schedule.wave(&self.here).unwrap();
                    continue;
                }
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
                for ask in batch {
                    self.answer(peer, link, ask);
                }
            }
            if !asked {
                return;
            }
        }
    }

    /// When the answer comes, if it does.
    fn answer(&mut self, index: usize, link: LinkId, ask: Ask) {
        let peer = &self.peers[index];
        let number = self.answers[index];
        self.answers[index] += 1;
        if peer.silent_after.is_some_and(|after| number >= after) {
            let last = *self.last_word.get(&link).unwrap_or(&self.now);
            return self.at(self.now.max(last) + SILENCE, Event::Quiet(link, last));
        }
        let answer = match peer.lacks.contains(&ask.want.hash) {
            true => Answer::Absent,
            false => peer.answer(self.world, &ask, number),
        };
        let begins = self.free_at[index].max(self.now + peer.latency);
        let comes = begins + Duration::from_secs_f64(answer.len() as f64 / peer.rate);
        self.free_at[index] = comes;
        self.at(comes, Event::Answer(link, ask, answer));
    }

    fn happen(&mut self, event: Event) -> Option<End> {
        match event {
            // What a broken link still had under way is lost.
            Event::Answer(link, ask, answer) if self.schedule.is_open(link) => {
                let index = self.schedule.peer(link).unwrap();
                let (peer, want) = (&self.peers[index], ask.want);
                self.last_word.insert(link, self.now);
                self.run.sent[index] += answer.len();
                let (base, len) = match answer {
                    Answer::Absent => return (!self.schedule.is_absent(link, &ask)).then_some(End::Nowhere),
                    Answer::Offer(offer) if ask.permits(&offer) => {
                        self.schedule.offered(link, &ask, &offer, &self.here, self.now).unwrap();
                        return None;
                    }
                    Answer::Offer(_) => {
                        self.ban(index);
                        return None;
                    }
                    Answer::Record(base, len) => (base, len),
                };
                if peer.lies_at.is_some_and(|at| self.answers[index] > at) {
                    self.ban(index);
                    return None;
                }
                assert!(ask.permits_base(want.promise.kind(), base.as_ref()));
                let depth = base.map(|base| {
                    let depth = self.here.readable.get(&base).expect("a base that cannot be read");
                    depth + 1
                });
                let chunk = matches!(want.promise, Promise::Chunk { .. });
                let raw = (!chunk).then(|| self.world.records[&want.hash].as_slice());
                if self.schedule.came(link, &ask, raw, self.now).unwrap() {
                    assert!(self.run.fresh.insert(want.hash), "a record counts as new twice");
                    let depth = depth.unwrap_or_default();
                    assert!(depth <= MAX_CHAIN, "a chain of {depth}");
                    if chunk {
                        self.here.written.insert(want.hash, depth);
                        self.run.deltas.extend(base.map(|base| (want.hash, base)));
                    }
                } else {
                    self.run.twice += len;
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

impl Simulation<'_> {
    /// Nothing is asked of a peer any more.
    fn ban(&mut self, index: usize) {
        self.banned.insert(index);
        self.schedule.give_up(index);
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
    if dice.one_in(2) {
        peer.deltas = any_deltas(dice, world);
    }
    if dice.one_in(4) {
        use Offers::{Always, Chain, Endless, Loop, Nowhere};
        peer.offers = [Nowhere, Loop, Chain, Endless, Always][dice.within(0..5) as usize];
    }
    peer
}

/// Some chunks as deltas against others, as a repository may store them: without loops, and chains no longer than allowed.
pub fn any_deltas(dice: &mut Dice, world: &World) -> HashMap<Hash, Offer> {
    let mut chunks: Vec<(Hash, u64)> = world.chunks().into_iter().collect();
    chunks.sort_unstable();
    for at in (1..chunks.len()).rev() {
        chunks.swap(at, dice.within(0..at as u64 + 1) as usize);
    }
    let (mut deltas, mut depths) = (HashMap::new(), vec![0; chunks.len()]);
    for at in 1..chunks.len() {
        let base = dice.within(0..at as u64) as usize;
        if dice.one_in(2) && depths[base] < MAX_CHAIN {
            depths[at] = depths[base] + 1;
            let (base, len) = (chunks[base].0, (chunks[at].1 / 10) as u32);
            deltas.insert(chunks[at].0, Offer { base, len });
        }
    }
    deltas
}
