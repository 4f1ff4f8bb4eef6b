//! What the task of the swarm does with the directory: questions and announcements.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryId, QueryResult, RecordKey};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::directory::Found;
use super::task::Task;
use crate::Error;

/// How long changes of this peer's addresses are awaited before they are announced.
const SETTLE: Duration = Duration::from_millis(100);

/// Peers, and where they are.
pub type Peers = BTreeMap<PeerId, Vec<Multiaddr>>;

/// Who asks.
type Reply = oneshot::Sender<Result<Peers, Error>>;

/// A question to the directory.
struct Question {
    key: RecordKey,
    /// It is answered as soon as this peer is found.
    wanted: Option<PeerId>,
    found: Found,
    reply: Reply,
}

/// What is asked and announced.
#[derive(Default)]
pub(super) struct Lookups {
    asked: HashMap<QueryId, Question>,
    /// Until a bootstrap peer is connected.
    waiting: Vec<Question>,
    /// What this peer announces.
    announced: HashSet<RecordKey>,
    /// When it is announced again.
    due: Option<Instant>,
}

impl Lookups {
    /// When there is something to do next.
    pub fn next(&self) -> Option<Instant> {
        self.due
    }
}

impl Task {
    pub(super) fn look_up(&mut self, key: RecordKey, wanted: Option<PeerId>, reply: Reply) {
        let question = Question {
            key,
            wanted,
            found: Found::default(),
            reply,
        };
        self.lookups.waiting.push(question);
        // A peer of the directory that has no bootstrap peers asks those it knows.
        if !self.anchors.any_up() && !self.anchors.is_empty() {
            self.anchors.wake(Instant::now());
            return;
        }
        self.ask_what_waits();
    }

    /// A bootstrap peer is connected.
    pub(super) fn ask_what_waits(&mut self) {
        let Some(directory) = self.swarm.behaviour_mut().directory.as_mut() else {
            return;
        };
        for question in self.lookups.waiting.drain(..) {
            self.lookups.asked.insert(directory.ask(question.key.clone()), question);
        }
    }

    /// No bootstrap peer can be connected.
    pub(super) fn give_up_what_waits(&mut self, reason: &str) {
        for question in self.lookups.waiting.drain(..) {
            let _ = question.reply.send(Err(Error::NoDirectory {
                reason: reason.to_owned(),
            }));
        }
    }

    pub(super) fn announce(&mut self, keys: HashSet<RecordKey>) {
        self.lookups.announced = keys;
        self.announce_soon();
    }

    /// Where this peer is has changed, or who is to know of it.
    pub(super) fn announce_soon(&mut self) {
        if !self.lookups.announced.is_empty() {
            self.lookups.due = Some(Instant::now() + SETTLE);
        }
    }

    pub(super) fn announce_what_is_due(&mut self, now: Instant) {
        if self.lookups.due.is_some_and(|due| due <= now) {
            self.lookups.due = None;
            if let Some(directory) = self.swarm.behaviour_mut().directory.as_mut() {
                directory.announce(&self.lookups.announced);
            }
        }
    }

    pub(super) fn directory_event(&mut self, event: kad::Event) {
        let Some(directory) = self.swarm.behaviour_mut().directory.as_mut() else {
            return;
        };
        match event {
            kad::Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            } => directory.keep(record, Instant::now()),
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            } => {
                let Some(question) = self.lookups.asked.get_mut(&id) else {
                    return;
                };
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    for peer in providers {
                        question.found.take(peer, directory.addresses_of(peer));
                    }
                }
                let enough = question
                    .wanted
                    .is_some_and(|peer| question.found.peers.contains_key(&peer));
                if enough {
                    directory.enough(&id);
                }
                if (enough || step.last)
                    && let Some(question) = self.lookups.asked.remove(&id)
                {
                    let _ = question.reply.send(Ok(question.found.peers));
                }
            }
            _ => {}
        }
    }
}
