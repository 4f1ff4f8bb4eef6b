//! Whom to ask for what: one queue, from which links of several peers draw as much as they bring.
//!
//! A link is a stream to a peer; a peer may have several. What a link may have under way follows what it brought lately, so
//! that a slow one holds little. When nothing is left to ask for, an idle link asks a second time for what another one is
//! slow to bring: the only time that something may come twice. Time is told by the caller, as what has passed since
//! the beginning.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash as Key;
use std::time::Duration;

use fai_core::object::Hash;

use super::bases::{Ask, Bases, Form, Offer};
use super::plan::{Contradiction, Local, Plan, PlanError, Promise, Totals, Want};
use crate::wire::MAX_BATCH;

/// Bytes that may be under way on one link, by the lengths that were promised: at most, at least, and before it is known
/// what the link brings.
const MOST_UNDER_WAY: u64 = 16 << 20;
const LEAST_UNDER_WAY: u64 = 1 << 20;
const FIRST_UNDER_WAY: u64 = 4 << 20;

/// Otherwise what a link brings in this time. Longer than any round trip, so that it never waits for a question.
const AHEAD: Duration = Duration::from_secs(1);

/// How much of the past counts when a link's rate is judged.
const LATELY: Duration = Duration::from_millis(500);

/// Records that may be under way on one link.
const MOST_RECORDS: usize = 2048;

/// Bytes asked for at once.
const BATCH_BYTES: u64 = 4 << 20;

/// After so many offers in a row the next chunks count half, and so on, so many times: few enough that a link does not
/// hold much more than it brings soon if what follows is no offer.
const ROW: u32 = 8;
const MOST_HALVINGS: u32 = 4;

/// A link, for as long as the schedule lives: numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(usize);

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Everything came.
    Done,
    /// Answers are under way, or a lost peer may come back.
    Going,
    /// Nothing more comes before what came can be read: see [`Schedule::wave`].
    Wave,
    /// Nothing more can come. The record that is missing, if any is known by name.
    Stuck(Option<Want>),
}

#[derive(Debug)]
struct Link<P> {
    peer: P,
    open: bool,
    under_way: VecDeque<Waited>,
    bytes: u64,
    rate: Rate,
    /// Chunks in a row that were offered and not sent.
    offers: u32,
}

/// What was asked for, and what it counts among the bytes under way.
#[derive(Debug, Clone, Copy)]
struct Waited {
    ask: Ask,
    weight: u64,
}

/// What a link brings, by promised lengths.
#[derive(Debug, Default)]
struct Rate {
    since: Duration,
    bytes: u64,
    a_second: Option<f64>,
}

impl Rate {
    fn came(&mut self, bytes: u64, now: Duration) {
        self.bytes += bytes;
        let passed = now.saturating_sub(self.since);
        if passed >= LATELY {
            let measured = self.bytes as f64 / passed.as_secs_f64();
            self.a_second = Some(self.a_second.map_or(measured, |before| (before + measured) / 2.0));
            (self.since, self.bytes) = (now, 0);
        }
    }

    /// Time in which nothing was asked says nothing about the link.
    fn begin(&mut self, now: Duration) {
        (self.since, self.bytes) = (now, 0);
    }

    fn window(&self) -> u64 {
        match self.a_second {
            Some(rate) => ((rate * AHEAD.as_secs_f64()) as u64).clamp(LEAST_UNDER_WAY, MOST_UNDER_WAY),
            None => FIRST_UNDER_WAY,
        }
    }
}

/// The schedule. `P` names a peer.
#[derive(Debug)]
pub struct Schedule<P> {
    plan: Plan,
    links: Vec<Link<P>>,
    /// Peers without a link that are being tried again.
    away: HashSet<P>,
    /// Wants that some peers do not have, and which.
    absent: HashMap<Hash, HashSet<P>>,
    /// To be asked for again.
    retry: VecDeque<Ask>,
    /// Chunks that were offered.
    bases: Bases,
    /// Asked for and not here yet: on how many links they are under way.
    pending: HashMap<Hash, usize>,
    /// Asked for twice, because a link had nothing else to do.
    doubled: HashSet<Hash>,
}

impl<P: Copy + Eq + Key> Schedule<P> {
    /// A schedule for what `plan` asks for.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            links: Vec::new(),
            away: HashSet::new(),
            absent: HashMap::new(),
            retry: VecDeque::new(),
            bases: Bases::default(),
            pending: HashMap::new(),
            doubled: HashSet::new(),
        }
    }

    /// What the plan comes to so far.
    pub fn totals(&self) -> Totals {
        self.plan.totals()
    }

    /// The plan, at the end.
    pub fn into_plan(self) -> Plan {
        self.plan
    }

    /// A link to `peer` is there.
    pub fn connect(&mut self, peer: P) -> LinkId {
        self.away.remove(&peer);
        self.links.push(Link {
            peer,
            open: true,
            under_way: VecDeque::new(),
            bytes: 0,
            rate: Rate::default(),
            offers: 0,
        });
        LinkId(self.links.len() - 1)
    }

    /// The peer of a link.
    pub fn peer(&self, link: LinkId) -> Option<P> {
        self.links.get(link.0).map(|link| link.peer)
    }

    /// True as long as the link was not ended.
    pub fn is_open(&self, link: LinkId) -> bool {
        self.links.get(link.0).is_some_and(|link| link.open)
    }

    /// The links that are open.
    pub fn open_links(&self) -> Vec<LinkId> {
        let numbered = self.links.iter().enumerate();
        numbered
            .filter(|(_, link)| link.open)
            .map(|(index, _)| LinkId(index))
            .collect()
    }

    /// How many peers are being asked.
    pub fn peers(&self) -> usize {
        let open = self.links.iter().filter(|link| link.open);
        open.map(|link| link.peer).collect::<HashSet<P>>().len()
    }

    /// The peers that owe something.
    pub fn sending(&self) -> HashSet<P> {
        let sending = self.links.iter().filter(|link| !link.under_way.is_empty());
        sending.map(|link| link.peer).collect()
    }

    /// What to ask a link for now; nothing when it has enough to do, or there is nothing.
    ///
    /// # Errors
    /// When local objects make no sense or cannot be read.
    pub fn next<L: Local>(&mut self, link: LinkId, local: &L, now: Duration) -> Result<Vec<Ask>, PlanError<L::Error>> {
        let mut batch = self.fresh(link, local)?;
        if batch.is_empty() {
            batch = self.take_over(link);
        }
        for waited in &batch {
            *self.pending.entry(waited.ask.want.hash).or_default() += 1;
        }
        if let Some(link) = self.links.get_mut(link.0).filter(|_| !batch.is_empty()) {
            if link.under_way.is_empty() {
                link.rate.begin(now);
            }
            link.bytes += batch.iter().map(|waited| waited.weight).sum::<u64>();
            link.under_way.extend(batch.iter().copied());
        }
        Ok(batch.into_iter().map(|waited| waited.ask).collect())
    }

    /// What nobody is being asked for.
    fn fresh<L: Local>(&mut self, link: LinkId, local: &L) -> Result<Vec<Waited>, PlanError<L::Error>> {
        let mut batch = Vec::new();
        let Some(link) = self.links.get(link.0).filter(|link| link.open) else {
            return Ok(batch);
        };
        let window = link.rate.window();
        if link.bytes > window / 2 || link.under_way.len() > MOST_RECORDS / 2 {
            // It has enough to do: many answers are worth one question, however short they are.
            return Ok(batch);
        }
        let mut room = (window - link.bytes).min(BATCH_BYTES);
        let mut count = MOST_RECORDS.saturating_sub(link.under_way.len()).min(MAX_BATCH);
        let mut fits = room > 0 && count > 0;
        let (offers, bases) = (link.offers, &self.bases);
        let mut take = |ask: Ask| {
            let weight = weight(&ask, offers, bases);
            room = room.saturating_sub(weight);
            count -= 1;
            batch.push(Waited { ask, weight });
            room > 0 && count > 0
        };
        // Once through what is to be asked again, leaving what this peer does not have.
        for _ in 0..self.retry.len() {
            if !fits {
                break;
            }
            let Some(ask) = self.retry.pop_front() else { break };
            let lacks = self
                .absent
                .get(&ask.want.hash)
                .is_some_and(|peers| peers.contains(&link.peer));
            if lacks {
                self.retry.push_back(ask);
            } else {
                fits = take(ask);
            }
        }
        while fits && !self.bases.is_full() {
            let Some(want) = self.plan.next(local)? else { break };
            let form = Form::Any;
            fits = take(Ask { want, form });
        }
        Ok(batch)
    }

    /// What an idle link can ask for a second time, because another peer is slow to bring it.
    fn take_over(&mut self, idle: LinkId) -> Vec<Waited> {
        let Some(own) = self
            .links
            .get(idle.0)
            .filter(|link| link.open && link.under_way.is_empty())
        else {
            return Vec::new();
        };
        let (peer, mut room) = (own.peer, own.rate.window().min(BATCH_BYTES));
        let left = |link: &Link<P>| link.bytes as f64 / link.rate.a_second.unwrap_or(1.0).max(1.0);
        // Another connection to the same peer would be no faster.
        let others = self.links.iter().filter(|link| link.open && link.peer != peer);
        let Some(slowest) = others.max_by(|one, other| left(one).total_cmp(&left(other))) else {
            return Vec::new();
        };
        let may = |waited: &&Waited| {
            let want = &waited.ask.want;
            let lacks = self.absent.get(&want.hash).is_some_and(|peers| peers.contains(&peer));
            self.pending.contains_key(&want.hash) && !lacks && !self.doubled.contains(&want.hash)
        };
        // From the end, and half of it: the beginning is on its way.
        let late: Vec<&Waited> = slowest.under_way.iter().rev().filter(may).collect();
        let mut batch = Vec::new();
        for waited in late.iter().take(late.len().div_ceil(2).min(MAX_BATCH / 2)) {
            if room == 0 {
                break;
            }
            // In full: what another peer offers this one may send.
            let (ask, weight) = (waited.ask, weight(&waited.ask, 0, &self.bases));
            room = room.saturating_sub(weight);
            batch.push(Waited { ask, weight });
        }
        self.doubled.extend(batch.iter().map(|waited| waited.ask.want.hash));
        batch
    }

    /// A record came whose hash was checked; `raw` are its bytes unless it is a chunk. False when it came before.
    ///
    /// # Errors
    /// When it is not what was promised.
    pub fn came(&mut self, link: LinkId, ask: &Ask, raw: Option<&[u8]>, now: Duration) -> Result<bool, Contradiction> {
        let want = &ask.want;
        let weight = self.answered(link, want).unwrap_or_default();
        if let Some(link) = self.links.get_mut(link.0) {
            link.rate.came(weight, now);
            if ask.form == Form::Any && raw.is_none() {
                link.offers = 0;
            }
        }
        if self.pending.remove(&want.hash).is_none() {
            return Ok(false);
        }
        self.absent.remove(&want.hash);
        match raw {
            Some(raw) => self.plan.arrived(want, raw)?,
            None => {
                self.bases.came(&want.hash);
                self.plan.came(want);
            }
        }
        Ok(true)
    }

    /// The peer of a link offers a chunk: it is asked for again, in another form, now or after a wave.
    ///
    /// # Errors
    /// When it cannot be told what is here.
    pub fn offered<L: Local>(
        &mut self,
        link: LinkId,
        ask: &Ask,
        offer: &Offer,
        local: &L,
        now: Duration,
    ) -> Result<(), L::Error> {
        let weight = self.answered(link, &ask.want).unwrap_or_default();
        if let Some(link) = self.links.get_mut(link.0) {
            link.rate.came(weight, now);
            link.offers = link.offers.saturating_add(1);
        }
        // While somebody else is asked for it, it may still come.
        if self.drop_asker(&ask.want)
            && !self.pending.contains_key(&ask.want.hash)
            && let Some(form) = self.bases.offered(&ask.want, offer, local)?
        {
            let want = ask.want;
            self.retry.push_back(Ask { want, form });
        }
        Ok(())
    }

    /// A delta came whose base cannot be read here after all: it must come alone.
    pub fn is_baseless(&mut self, link: LinkId, ask: &Ask) {
        self.answered(link, &ask.want);
        if self.drop_asker(&ask.want) && !self.pending.contains_key(&ask.want.hash) {
            let (want, form) = (ask.want, Form::Alone);
            self.retry.push_back(Ask { want, form });
        }
    }

    /// Everything that came can be read from now on: what waited for that can be asked for.
    ///
    /// # Errors
    /// When it cannot be told what is here.
    pub fn wave<L: Local>(&mut self, local: &L) -> Result<(), L::Error> {
        let retried: HashSet<Hash> = self.retry.iter().map(|ask| ask.want.hash).collect();
        let asks = self.bases.wave(local, |base| retried.contains(base))?;
        self.retry.extend(asks);
        Ok(())
    }

    /// The peer of a link does not have a record. False when nobody else can be asked for it.
    pub fn is_absent(&mut self, link: LinkId, ask: &Ask) -> bool {
        let want = &ask.want;
        self.answered(link, want);
        let Some(peer) = self.peer(link) else { return true };
        if !self.drop_asker(want) {
            return true;
        }
        let peers = self.absent.entry(want.hash).or_default();
        peers.insert(peer);
        let open = self.links.iter().filter(|link| link.open).map(|link| &link.peer);
        let elsewhere = open.chain(&self.away).any(|other| !peers.contains(other));
        if !self.pending.contains_key(&want.hash) {
            self.retry.push_back(*ask);
        }
        elsewhere || self.pending.contains_key(&want.hash)
    }

    /// The link ended: what it owed is for others. Returns its peer when this was its last link.
    pub fn ended(&mut self, link: LinkId) -> Option<P> {
        let ended = self.links.get_mut(link.0).filter(|link| link.open)?;
        ended.open = false;
        ended.bytes = 0;
        let (peer, owed) = (ended.peer, std::mem::take(&mut ended.under_way));
        for Waited { ask, .. } in owed {
            if self.drop_asker(&ask.want) && !self.pending.contains_key(&ask.want.hash) {
                self.retry.push_back(ask);
            }
        }
        let last = !self.links.iter().any(|link| link.open && link.peer == peer);
        last.then_some(peer)
    }

    /// Nothing is asked of a peer any more.
    pub fn give_up(&mut self, peer: P) {
        self.away.remove(&peer);
        for link in self.open_links() {
            if self.peer(link) == Some(peer) {
                self.ended(link);
            }
        }
    }

    /// A peer without a link may come back: it is worth waiting for.
    pub fn expect(&mut self, peer: P) {
        self.away.insert(peer);
    }

    /// Where it stands, when every link was asked what it can be asked.
    pub fn outlook(&self) -> Outlook {
        if self.plan.is_done() && self.pending.is_empty() && self.retry.is_empty() {
            Outlook::Done
        } else if self.links.iter().any(|link| !link.under_way.is_empty()) {
            Outlook::Going
        } else if self.may_wave() {
            Outlook::Wave
        } else if !self.away.is_empty() {
            Outlook::Going
        } else {
            Outlook::Stuck(self.retry.front().map(|ask| ask.want))
        }
    }

    /// Whether chunks wait for their bases, and nothing that somebody may bring can be such a base.
    fn may_wave(&self) -> bool {
        let somebody = self.links.iter().any(|link| link.open);
        !self.bases.is_empty() && somebody && (self.retry.is_empty() || self.away.is_empty())
    }

    /// An answer came, whatever it is. What it counted among the bytes under way.
    fn answered(&mut self, link: LinkId, want: &Want) -> Option<u64> {
        let link = self.links.get_mut(link.0)?;
        let position = link
            .under_way
            .iter()
            .position(|waited| waited.ask.want.hash == want.hash)?;
        let Waited { weight, .. } = link.under_way.remove(position)?;
        link.bytes -= weight;
        Some(weight)
    }

    /// One link fewer is asked for `want`. False when it is not waited for any more.
    fn drop_asker(&mut self, want: &Want) -> bool {
        match self.pending.entry(want.hash) {
            Entry::Vacant(_) => false,
            Entry::Occupied(mut entry) if *entry.get() > 1 => {
                *entry.get_mut() -= 1;
                true
            }
            Entry::Occupied(entry) => {
                entry.remove();
                // Alone again, it may be asked for twice again.
                self.doubled.remove(&want.hash);
                true
            }
        }
    }
}

/// What a record counts among the bytes under way: objects of unknown length as a few kilobytes, chunks as what is promised
/// or offered. The more chunks a link offered in a row, the less the next ones count: their answers will hardly be longer than
/// the questions, and must not wait for each other.
fn weight(ask: &Ask, offers: u32, bases: &Bases) -> u64 {
    match (ask.want.promise, ask.form) {
        (Promise::Chunk { len }, Form::Against(_)) => bases.expected(&ask.want.hash).map_or(len, u64::from),
        (Promise::Chunk { len }, Form::Any) => len >> (offers / ROW).min(MOST_HALVINGS),
        (Promise::Chunk { len }, Form::Alone) => len,
        (Promise::Page { .. }, _) => 128 << 10,
        (Promise::File { .. } | Promise::Tree { .. }, _) => 8 << 10,
    }
}
