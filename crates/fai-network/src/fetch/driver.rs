//! The driver: asks the links for what the schedule says, hands what was checked to the quarantine, and has lost peers tried
//! again. What is asked of whom, and in which form, is the schedule's to decide.
//!
//! Chunks that are deltas may come in waves: those whose bases are part of the same transfer are asked for when the bases can
//! be read, that is, when the packs they lie in are finished. So the store is written to once for each wave.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use fai_core::object::{CommitId, Hash, Id, Kind, TreeId};
use fai_core::repo::{Event, Progress, Quarantine, Repository};
use fai_core::storage::Feeder;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::checker::{self, News};
use super::contents::Contents;
use super::early::Early;
use super::here::Here;
use super::link::{self, Heard};
use super::reconnect::{Returned, Whereabouts, may_pass};
use super::remote::failed;
use super::{Brought, FetchReport, Goal, Remote, Step, commits, depth, in_waves, paths};
use crate::session::backoff;
use crate::session::bases::Ask;
use crate::session::plan::{Contradiction, Plan, Promise, Reach, Want};
use crate::session::schedule::{LinkId, Outlook, Schedule};
use crate::wire::records::OFFER_LEN;
use crate::{Connection, Error, Node};

/// Answers that wait for a checker, and checked records that wait for the driver.
const QUEUE: usize = 8;

/// The network, as the driver reaches it.
struct Network<'a> {
    runtime: &'a tokio::runtime::Handle,
    node: &'a Node,
    heard: mpsc::Sender<Heard>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Driver<'a> {
    schedule: Schedule<PeerId>,
    network: Network<'a>,
    requests: HashMap<LinkId, mpsc::UnboundedSender<Vec<Ask>>>,
    contents: Contents<'a>,
    /// Peers that can be tried again, and how often they were since something came from them.
    known: HashMap<PeerId, (Whereabouts, u32)>,
    repository: &'a Repository,
    quarantine: &'a Quarantine,
    report: FetchReport,
    started: Instant,
    /// Why a peer was given up.
    cause: Option<Error>,
    told: (u64, u64),
    told_sending: HashSet<PeerId>,
    /// Peers that are reached through a relay.
    relayed: HashSet<PeerId>,
    /// The new commits.
    commits: HashSet<CommitId>,
    /// Their root trees, the newest first.
    roots: Vec<TreeId>,
}

pub(super) fn run(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    quarantine: &Quarantine,
    remotes: &mut [Remote],
    goal: Goal<'_>,
    progress: &dyn Progress,
) -> Result<Brought, Error> {
    let started = Instant::now();
    let store = quarantine.store();
    let early = Early::new(repository, quarantine, goal.worktree);
    let checkers = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(8);
    let (heard_sender, heard) = mpsc::channel::<Heard>(QUEUE);
    let heard = Arc::new(Mutex::new(heard));
    let (news_sender, news) = bounded::<News>(QUEUE);
    let (contents, listener) = Contents::new(&early);
    let (brought, roots) = std::thread::scope(|scope| {
        let hashing = scope.spawn(|| listener.run());
        for _ in 0..checkers {
            let (heard, news_sender, contents) = (Arc::clone(&heard), news_sender.clone(), contents.clone());
            scope.spawn(move || checker::run(&heard, &news_sender, &contents, store));
        }
        drop(news_sender);
        let network = Network {
            runtime,
            node,
            heard: heard_sender,
            tasks: Vec::new(),
        };
        let mut driver = Driver::new(network, repository, quarantine, contents, started);
        let mut goal = Some((remotes, goal));
        let result = in_waves(store, |feeder| {
            match goal.take() {
                Some((remotes, goal)) => driver.begin(remotes, goal, feeder)?,
                None => driver.schedule.wave(&driver.here())?,
            }
            driver.drive(&news, feeder, progress)
        });
        // Nobody listens any more, so the checkers end, and with them the one who hashes.
        drop(news);
        let (report, met, roots) = driver.finish();
        let hashed = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map(|()| (Brought { report, met, hashed }, roots))
    })?;
    early.finish();
    paths::check(store, &roots)?;
    Ok(brought)
}

impl<'a> Driver<'a> {
    fn new(
        network: Network<'a>,
        repository: &'a Repository,
        quarantine: &'a Quarantine,
        contents: Contents<'a>,
        started: Instant,
    ) -> Self {
        Self {
            schedule: Schedule::new(Plan::new(Reach::Everything)),
            network,
            requests: HashMap::new(),
            contents,
            known: HashMap::new(),
            repository,
            quarantine,
            report: FetchReport::default(),
            started,
            cause: None,
            told: (0, 0),
            told_sending: HashSet::new(),
            relayed: HashSet::new(),
            commits: HashSet::new(),
            roots: Vec::new(),
        }
    }

    /// Fetches the commits, and opens a link to every peer for all that they lead to.
    fn begin(&mut self, remotes: &mut [Remote], goal: Goal<'_>, feeder: &mut Feeder<'_>) -> Result<(), Error> {
        let Some(first) = remotes.first_mut() else {
            return Ok(());
        };
        let (runtime, repository, wants) = (self.network.runtime, self.repository, goal.commits);
        let (quarantine, roots, contents) = (self.quarantine, &mut self.roots, &self.contents);
        let add = |commit, tree| {
            contents.root(commit, tree);
            roots.push(tree);
        };
        self.commits = match goal.depth {
            None => commits::fetch(runtime, repository, quarantine.store(), first, wants, feeder, add),
            Some(depth) => depth::fetch(runtime, repository, quarantine, first, (wants, depth), feeder, add),
        }?;
        self.report.commits = self.commits.len() as u64;
        let mut plan = goal.plan;
        // The oldest first: newer versions stand on older ones.
        self.roots.iter().rev().for_each(|tree| plan.add_root(*tree));
        self.schedule = Schedule::new(plan);
        let whereabouts = remotes.iter().filter_map(Whereabouts::of);
        self.known = whereabouts.map(|place| (place.peer, (place, 0))).collect();
        for remote in remotes.iter() {
            self.open_link(remote.connection(), remote.id.as_bytes());
        }
        Ok(())
    }

    /// What came of it: the report, the objects that were met, and the root trees of the new commits.
    fn finish(self) -> (FetchReport, HashSet<Hash>, Vec<TreeId>) {
        self.network.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let totals = self.schedule.totals();
        let report = FetchReport {
            files: totals.files,
            bytes: totals.bytes,
            chunks_reused: totals.reused_chunks,
            bytes_reused: totals.reused_bytes,
            time: self.started.elapsed(),
            ..self.report
        };
        let commits = self.commits.iter().map(|id| *id.hash());
        let met = commits.chain(self.schedule.into_plan().met()).collect();
        (report, met, self.roots)
    }

    fn here(&self) -> Here<'a> {
        Here {
            repository: self.repository,
            store: self.quarantine.store(),
            contents: self.contents.clone(),
        }
    }

    fn open_link(&mut self, connection: &Connection, repository: &[u8; 32]) {
        let (requests, received) = mpsc::unbounded_channel();
        let link = self.schedule.connect(connection.peer);
        match connection.relay() {
            Some(_) => self.relayed.insert(connection.peer),
            None => self.relayed.remove(&connection.peer),
        };
        let task = link::run(
            link,
            self.network.node.clone(),
            connection.peer,
            connection.id,
            *repository,
            received,
            self.network.heard.clone(),
        );
        self.network.tasks.push(self.network.runtime.spawn(task));
        self.requests.insert(link, requests);
    }

    fn drive(
        &mut self,
        news: &Receiver<News>,
        feeder: &mut Feeder<'_>,
        progress: &dyn Progress,
    ) -> Result<Step, Error> {
        loop {
            self.ask()?;
            self.tell(progress);
            match self.schedule.outlook() {
                Outlook::Done => return Ok(Step::Done),
                Outlook::Wave => return Ok(Step::Wave),
                Outlook::Stuck(lost) => return Err(self.stuck(lost)),
                Outlook::Going => {}
            }
            let Ok(next) = news.recv() else {
                return Err(self.stuck(None));
            };
            self.hear(next, feeder, progress)?;
        }
    }

    /// Keeps every link busy: one batch each by turns, so that little work is shared, too.
    fn ask(&mut self) -> Result<(), Error> {
        let local = self.here();
        loop {
            let mut asked = false;
            for link in self.schedule.open_links() {
                let batch = self.schedule.next(link, &local, self.started.elapsed())?;
                if let Some(requests) = self.requests.get(&link).filter(|_| !batch.is_empty()) {
                    asked = true;
                    // A link that has ended says so by itself.
                    let _ = requests.send(batch);
                }
            }
            if !asked {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, news: News, feeder: &mut Feeder<'_>, progress: &dyn Progress) -> Result<(), Error> {
        match news {
            News::Record {
                link,
                ask,
                received,
                raw,
            } => {
                let want = ask.want;
                self.report.wire_bytes += received.header().record_len();
                if let Promise::Chunk { len } = want.promise
                    && u64::from(received.header().raw_len) != len
                {
                    let reason = "its file says that it has another length".into();
                    let (kind, hash) = (Kind::Chunk, want.hash);
                    return Err(Contradiction { kind, hash, reason }.into());
                }
                let object = (want.promise.kind() != Kind::Chunk).then_some(raw.as_slice());
                if !self.schedule.came(link, &ask, object, self.started.elapsed())? {
                    // Somebody else was faster.
                    return Ok(());
                }
                if object.is_some() {
                    self.contents.object(want.promise.kind(), want.hash, &raw);
                }
                if let Some((_, attempts)) = self.schedule.peer(link).and_then(|peer| self.known.get_mut(&peer)) {
                    *attempts = 0;
                }
                if let Promise::Chunk { len } = want.promise {
                    self.report.chunks += 1;
                    progress.on(Event::Bytes(len));
                }
                feeder.received(received).map_err(fai_core::repo::Error::from)?;
            }
            News::Offer { link, ask, offer } => {
                self.report.wire_bytes += OFFER_LEN;
                let (local, now) = (self.here(), self.started.elapsed());
                self.schedule.offered(link, &ask, &offer, &local, now)?;
            }
            News::Baseless { link, ask } => self.schedule.is_baseless(link, &ask),
            News::Absent { link, ask } => {
                if !self.schedule.is_absent(link, &ask) {
                    return Err(nowhere(&ask.want));
                }
            }
            News::Wrong { link, ask, refusal } => {
                let Some(peer) = self.schedule.peer(link).filter(|_| self.schedule.is_open(link)) else {
                    return Ok(());
                };
                let Want { hash, promise } = ask.want;
                let reason = format!("{} {}: {refusal}", promise.kind().name(), hash.short());
                self.dismiss(peer, Error::WrongData { peer, reason }, progress);
            }
            News::Ended { link, error } => {
                self.requests.remove(&link);
                let Some(peer) = self.schedule.peer(link).filter(|_| self.schedule.is_open(link)) else {
                    return Ok(());
                };
                match failed(peer)(error) {
                    error @ Error::Protocol { .. } => self.dismiss(peer, error, progress),
                    error => {
                        if self.schedule.ended(link).is_some() {
                            self.lost(peer, error, progress);
                        }
                    }
                }
            }
            News::Returned(Returned { peer, connection }) => match connection {
                Ok(connection) => {
                    if let Some((place, _)) = self.known.get(&peer) {
                        let repository = *place.repository.as_bytes();
                        self.open_link(&connection, &repository);
                    }
                }
                Err(error) => self.lost(peer, error, progress),
            },
        }
        Ok(())
    }

    /// A peer broke the rules: nothing more is asked of it, on any link.
    fn dismiss(&mut self, peer: PeerId, error: Error, progress: &dyn Progress) {
        self.known.remove(&peer);
        self.schedule.give_up(peer);
        self.requests.retain(|link, _| self.schedule.is_open(*link));
        if self.schedule.peers() > 0 {
            // Others go on, so that no error will name it.
            progress.on(Event::Warning(&format!("{error}; it is not asked any more")));
        }
        self.cause = Some(error);
    }

    /// The last link to a peer ended, or it could not be reached again: it is tried once more, or given up.
    fn lost(&mut self, peer: PeerId, error: Error, progress: &dyn Progress) {
        let again = self
            .known
            .get_mut(&peer)
            .filter(|(_, attempts)| may_pass(&error) && *attempts < backoff::TRIES);
        let Some((place, attempts)) = again else {
            self.known.remove(&peer);
            self.schedule.give_up(peer);
            self.cause.get_or_insert(error);
            return;
        };
        if *attempts == 0 {
            progress.on(Event::Warning(&format!("{error}; trying again")));
        }
        let (place, attempt) = (place.clone(), *attempts);
        *attempts += 1;
        self.schedule.expect(peer);
        let (node, heard) = (self.network.node.clone(), self.network.heard.clone());
        let returning = async move {
            let connection = place.return_to(&node, attempt).await;
            let _ = heard.send(Heard::Returned(Returned { peer, connection })).await;
        };
        self.network.tasks.push(self.network.runtime.spawn(returning));
    }

    fn stuck(&mut self, lost: Option<Want>) -> Error {
        self.cause
            .take()
            .or(lost.as_ref().map(nowhere))
            .unwrap_or_else(|| Error::Setup("the transfer ended before everything was there".into()))
    }

    fn tell(&mut self, progress: &dyn Progress) {
        let totals = self.schedule.totals();
        let known = (totals.files, totals.bytes - totals.reused_bytes);
        if known != self.told {
            self.told = known;
            progress.on(Event::Total {
                files: known.0,
                bytes: known.1,
            });
        }
        let sending = self.schedule.sending();
        if sending != self.told_sending {
            self.told_sending.clone_from(&sending);
            let relayed = sending.iter().filter(|peer| self.relayed.contains(peer)).count();
            let sending = sending.len();
            progress.on(Event::Peers { sending, relayed });
        }
    }
}

fn nowhere(want: &Want) -> Error {
    Error::Nowhere {
        kind: want.promise.kind().name(),
        hash: want.hash,
    }
}
