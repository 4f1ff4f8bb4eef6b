//! The driver: asks the links for what the plan wants next, and hands what was checked to the quarantine.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use fai_core::object::{Hash, Id, Kind};
use fai_core::repo::{Event, Progress, Quarantine, Repository, Store};
use fai_core::storage::Feeder;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::checker::{self, News};
use super::here::Here;
use super::link::{self, Heard};
use super::remote::failed;
use super::{FetchReport, Goal, Remote, commits, depth};
use crate::session::plan::{Plan, Promise, Want};
use crate::wire::MAX_BATCH;
use crate::{Error, Node};

/// Bytes that may be under way on one link, by the lengths that were promised.
const WINDOW: u64 = 16 << 20;

/// Records that may be under way on one link.
const WINDOW_RECORDS: usize = 2048;

/// Bytes asked for at once.
const BATCH_BYTES: u64 = 4 << 20;

/// Answers that wait for a checker, and checked records that wait for the driver.
const QUEUE: usize = 8;

/// A link as the driver sees it.
struct Link {
    peer: PeerId,
    requests: Option<mpsc::UnboundedSender<Vec<Want>>>,
    under_way: VecDeque<Want>,
    bytes: u64,
}

struct Driver<'a> {
    plan: Plan,
    links: Vec<Link>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    repository: &'a Repository,
    store: &'a Store,
    report: FetchReport,
    /// Wants that some peer does not have, and who does not.
    absent: HashMap<Hash, HashSet<PeerId>>,
    retry: VecDeque<Want>,
    /// Asked for, of whomever, and not here yet.
    pending: HashSet<Hash>,
    /// Asked for twice, because a link had nothing else to do.
    doubled: HashSet<Hash>,
    /// Why a peer was given up.
    cause: Option<Error>,
    told: (u64, u64),
}

pub(super) fn run(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    quarantine: &Quarantine,
    remotes: &mut [Remote],
    goal: Goal<'_>,
    progress: &dyn Progress,
) -> Result<(FetchReport, HashSet<Hash>), Error> {
    let started = Instant::now();
    let store = quarantine.store();
    let checkers = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(8);
    let (heard_sender, heard) = mpsc::channel::<Heard>(QUEUE);
    let heard = Arc::new(Mutex::new(heard));
    let (news_sender, news) = bounded::<News>(QUEUE);
    let (mut outcome, mut met) = (None, HashSet::new());
    std::thread::scope(|scope| {
        for _ in 0..checkers {
            let (heard, news_sender) = (Arc::clone(&heard), news_sender.clone());
            scope.spawn(move || checker::run(&heard, &news_sender));
        }
        drop(news_sender);
        store.write(1, &|_| (), |feeder| {
            let mut driver = Driver {
                plan: goal.plan,
                links: Vec::new(),
                tasks: Vec::new(),
                repository,
                store,
                report: FetchReport::default(),
                absent: HashMap::new(),
                retry: VecDeque::new(),
                pending: HashSet::new(),
                doubled: HashSet::new(),
                cause: None,
                told: (0, 0),
            };
            // What came before an error is kept: the error is taken out of the store's hands.
            let drive = || -> Result<(), Error> {
                let (first, plan) = (remotes.first_mut(), &mut driver.plan);
                let Some(first) = first else { return Ok(()) };
                let add = |tree| plan.add_root(tree);
                let wants = goal.commits;
                let commits = match goal.depth {
                    None => commits::fetch(runtime, repository, store, first, wants, feeder, add)?,
                    Some(depth) => depth::fetch(runtime, repository, quarantine, first, (wants, depth), feeder, add)?,
                };
                driver.report.commits = commits.len() as u64;
                met.extend(commits.iter().map(|id| *id.hash()));
                for remote in remotes.iter() {
                    driver.open_link(runtime, node, remote, &heard_sender);
                }
                drop(heard_sender);
                driver.drive(&news, feeder, progress)
            };
            let result = drive();
            // The checkers end when nothing can come any more.
            driver.tasks.iter().for_each(tokio::task::JoinHandle::abort);
            drop(news);
            met.extend(driver.plan.met());
            outcome = Some((result, driver.report, driver.plan.totals()));
            Ok(())
        })
    })?;
    let (result, report, totals) = outcome.unwrap_or((Ok(()), FetchReport::default(), Default::default()));
    result?;
    let report = FetchReport {
        files: totals.files,
        bytes: totals.bytes,
        chunks_reused: totals.reused_chunks,
        bytes_reused: totals.reused_bytes,
        time: started.elapsed(),
        ..report
    };
    Ok((report, met))
}

impl Driver<'_> {
    fn open_link(
        &mut self,
        runtime: &tokio::runtime::Handle,
        node: &Node,
        remote: &Remote,
        heard: &mpsc::Sender<Heard>,
    ) {
        let (requests, received) = mpsc::unbounded_channel();
        let connection = remote.connection();
        let task = link::run(
            self.links.len(),
            node.clone(),
            connection.peer,
            connection.id,
            *remote.id.as_bytes(),
            received,
            heard.clone(),
        );
        self.tasks.push(runtime.spawn(task));
        self.links.push(Link {
            peer: connection.peer,
            requests: Some(requests),
            under_way: VecDeque::new(),
            bytes: 0,
        });
    }

    fn drive(&mut self, news: &Receiver<News>, feeder: &mut Feeder<'_>, progress: &dyn Progress) -> Result<(), Error> {
        loop {
            self.ask()?;
            self.tell(progress);
            if self.plan.is_done() && self.pending.is_empty() {
                return Ok(());
            }
            if self.links.iter().all(|link| link.under_way.is_empty()) {
                return Err(self.stuck());
            }
            let Ok(next) = news.recv() else {
                return Err(self.stuck());
            };
            self.hear(next, feeder, progress)?;
        }
    }

    /// Keeps every link busy: one batch each by turns, so that little work is shared, too.
    fn ask(&mut self) -> Result<(), Error> {
        loop {
            let mut asked = false;
            for index in 0..self.links.len() {
                let mut batch = self.batch(index)?;
                if batch.is_empty() {
                    batch = self.take_over(index);
                }
                let Some(link) = self.links.get_mut(index).filter(|_| !batch.is_empty()) else {
                    continue;
                };
                asked = true;
                link.bytes += batch.iter().map(weight).sum::<u64>();
                link.under_way.extend(batch.iter().copied());
                if let Some(requests) = &link.requests {
                    // A link that has ended says so by itself.
                    let _ = requests.send(batch);
                }
            }
            if !asked {
                return Ok(());
            }
        }
    }

    /// What to ask a link for next.
    fn batch(&mut self, index: usize) -> Result<Vec<Want>, Error> {
        let mut batch = Vec::new();
        let Some(link) = self.links.get(index).filter(|link| link.requests.is_some()) else {
            return Ok(batch);
        };
        let (peer, mut room) = (link.peer, WINDOW.saturating_sub(link.bytes).min(BATCH_BYTES));
        let mut count = WINDOW_RECORDS.saturating_sub(link.under_way.len()).min(MAX_BATCH);
        let local = Here {
            repository: self.repository,
            store: self.store,
        };
        while room > 0 && count > 0 {
            let lacks = |want: &Want, absent: &HashMap<Hash, HashSet<PeerId>>| {
                absent.get(&want.hash).is_some_and(|peers| peers.contains(&peer))
            };
            let position = self.retry.iter().position(|want| !lacks(want, &self.absent));
            let want = match position.and_then(|position| self.retry.remove(position)) {
                Some(want) => want,
                None => match self.plan.next(&local)? {
                    Some(want) => want,
                    None => break,
                },
            };
            room = room.saturating_sub(weight(&want));
            count -= 1;
            self.pending.insert(want.hash);
            batch.push(want);
        }
        Ok(batch)
    }

    /// What an idle link can ask for a second time, because another one is slow to bring it.
    fn take_over(&mut self, index: usize) -> Vec<Want> {
        let idle = |link: &Link| link.requests.is_some() && link.under_way.is_empty();
        if !self.links.get(index).is_some_and(idle) {
            return Vec::new();
        }
        let peer = self.links.get(index).map(|link| link.peer);
        // Another connection to the same peer would be no faster.
        let others = self.links.iter().filter(|link| Some(link.peer) != peer);
        let Some(slowest) = others.max_by_key(|link| link.under_way.len()) else {
            return Vec::new();
        };
        // From the end: the beginning is on its way.
        let late = slowest.under_way.iter().skip(1).rev().take(MAX_BATCH / 2);
        let lacks = |want: &Want| {
            let peers = self.absent.get(&want.hash);
            peers.zip(peer).is_some_and(|(peers, peer)| peers.contains(&peer))
        };
        let (mut batch, mut room) = (Vec::new(), BATCH_BYTES);
        for want in late.filter(|want| !self.doubled.contains(&want.hash) && !lacks(want)) {
            if room == 0 {
                break;
            }
            room = room.saturating_sub(weight(want));
            batch.push(*want);
        }
        self.doubled.extend(batch.iter().map(|want| want.hash));
        batch
    }

    fn hear(&mut self, news: News, feeder: &mut Feeder<'_>, progress: &dyn Progress) -> Result<(), Error> {
        match news {
            News::Record {
                link,
                want,
                received,
                raw,
            } => {
                self.done(link, &want);
                self.report.wire_bytes += received.header().record_len();
                if !self.pending.remove(&want.hash) {
                    // Somebody else was faster.
                    return Ok(());
                }
                if let Promise::Chunk { len } = want.promise {
                    if u64::from(received.header().raw_len) != len {
                        return Err(crate::session::plan::Contradiction {
                            kind: Kind::Chunk,
                            hash: want.hash,
                            reason: "its file says that it has another length".into(),
                        }
                        .into());
                    }
                    self.report.chunks += 1;
                    progress.on(Event::Bytes(len));
                    self.plan.came(&want);
                } else {
                    self.plan.arrived(&want, &raw)?;
                }
                feeder.received(received).map_err(fai_core::repo::Error::from)?;
            }
            News::Absent { link, want } => {
                self.done(link, &want);
                let Some(peer) = self.links.get(link).map(|link| link.peer) else {
                    return Ok(());
                };
                let peers = self.absent.entry(want.hash).or_default();
                peers.insert(peer);
                if !self.pending.contains(&want.hash) {
                    return Ok(());
                }
                let others = self
                    .links
                    .iter()
                    .any(|link| link.requests.is_some() && !peers.contains(&link.peer));
                if !others {
                    return Err(Error::Nowhere {
                        kind: want.promise.kind().name(),
                        hash: want.hash,
                    });
                }
                self.retry.push_back(want);
            }
            News::Wrong { link, want, refusal } => {
                let sender = self.links.get(link).filter(|link| link.requests.is_some());
                if let Some(peer) = sender.map(|link| link.peer)
                    && self
                        .links
                        .iter()
                        .any(|link| link.requests.is_some() && link.peer != peer)
                {
                    // Others go on, so that no error will name it.
                    progress.on(Event::Warning(&format!(
                        "{peer} sent wrong data and is not asked any more"
                    )));
                }
                if let Some(peer) = self.links.get(link).map(|link| link.peer) {
                    self.give_up(
                        peer,
                        Error::WrongData {
                            peer,
                            reason: format!("{} {}: {refusal}", want.promise.kind().name(), want.hash.short()),
                        },
                    );
                }
            }
            News::Ended { link, error } => {
                if let Some(peer) = self.links.get(link).map(|link| link.peer) {
                    self.end(link);
                    self.cause.get_or_insert_with(|| failed(peer)(error));
                }
            }
        }
        Ok(())
    }

    /// An answer came.
    fn done(&mut self, link: usize, want: &Want) {
        if let Some(link) = self.links.get_mut(link)
            && let Some(position) = link.under_way.iter().position(|other| other.hash == want.hash)
        {
            link.under_way.remove(position);
            link.bytes -= weight(want);
        }
    }

    /// Nothing is asked of a peer any more that sent wrong data.
    fn give_up(&mut self, peer: PeerId, cause: Error) {
        self.cause = Some(cause);
        for index in 0..self.links.len() {
            if self.links.get(index).is_some_and(|link| link.peer == peer) {
                self.end(index);
            }
        }
    }

    /// What a link still owed is for others.
    fn end(&mut self, index: usize) {
        if let Some(link) = self.links.get_mut(index) {
            link.requests = None;
            link.bytes = 0;
            let owed = link
                .under_way
                .drain(..)
                .filter(|want| self.pending.contains(&want.hash));
            self.retry.extend(owed);
        }
    }

    fn stuck(&mut self) -> Error {
        let lost = self.retry.front().map(|want| Error::Nowhere {
            kind: want.promise.kind().name(),
            hash: want.hash,
        });
        self.cause
            .take()
            .or(lost)
            .unwrap_or_else(|| Error::Setup("the transfer ended before everything was there".into()))
    }

    fn tell(&mut self, progress: &dyn Progress) {
        let totals = self.plan.totals();
        let known = (totals.files, totals.bytes - totals.reused_bytes);
        if known != self.told {
            self.told = known;
            progress.on(Event::Total {
                files: known.0,
                bytes: known.1,
            });
        }
    }
}

/// What a want counts in the window: objects of unknown length as a few kilobytes.
fn weight(want: &Want) -> u64 {
    match want.promise {
        Promise::Chunk { len } => len,
        Promise::Page { .. } => 128 << 10,
        Promise::File { .. } | Promise::Tree { .. } => 8 << 10,
    }
}
