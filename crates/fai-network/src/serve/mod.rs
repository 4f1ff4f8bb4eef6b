//! The answering side: what this peer serves, and to whom.
//!
//! Every stream is a task of its own; what reads the disk runs on threads for that. A peer can only cost what the limits
//! here allow, however it behaves.

mod answer;
mod budget;
mod busy;
mod push;
mod records;
mod sync;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use fai_core::Repository;
use fai_core::object::Time;
use fai_core::repo::{Reencoder, RepositoryId};
use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::budget::{Room, Share};
use crate::wire::message::Selector;
use crate::{Error, Identity, IncomingStreams, Node};

/// Streams that one peer may have open.
const STREAMS_A_PEER: usize = 32;

/// Requests that read the disk at the same time.
const READERS: usize = 16;

/// What a peer may do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing: to this peer the repository does not exist.
    None,
    /// Clone and pull.
    Read,
    /// Push, too.
    Write,
}

/// Says what a peer may do; asked for every stream, so that changes hold at once.
pub type Permit = Arc<dyn Fn(&PeerId) -> Permission + Send + Sync>;

/// Says what time it is, for the log of operations.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// A repository to serve.
#[derive(Clone)]
pub struct Offer {
    /// The name to serve it under.
    pub name: String,
    /// The repository.
    pub repository: Arc<Repository>,
    /// Who may do what.
    pub permit: Permit,
    /// Bytes of records, and of what was offered instead of them, that were written to peers so far.
    pub sent: Arc<AtomicU64>,
}

impl Offer {
    /// The repository's id, as it is now: an empty one takes that of what is pushed to it first. `None` when it cannot be
    /// read, which is told.
    pub fn id(&self) -> Option<RepositoryId> {
        let id = self.repository.id();
        id.inspect_err(|error| tracing::warn!(%error, name = self.name, "a repository is not served"))
            .ok()
    }

    /// True when everybody may read it, also those whom nobody here has heard of.
    pub fn is_public(&self) -> bool {
        (self.permit)(&Identity::passing().peer()) >= Permission::Read
    }
}

/// What happens while serving, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A peer asks for a repository.
    Asked {
        /// The peer.
        peer: PeerId,
        /// The repository's name.
        repository: String,
    },
    /// A peer got records.
    Sent {
        /// The peer.
        peer: PeerId,
        /// How many.
        records: u64,
        /// Their bytes on the wire.
        bytes: u64,
    },
    /// A peer moved refs here.
    Pushed {
        /// The peer.
        peer: PeerId,
        /// The repository's name.
        repository: String,
        /// The refs.
        refs: Vec<String>,
    },
    /// A peer was refused, or a conversation failed.
    Failed {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: String,
    },
}

/// What all streams share.
struct Shared {
    node: Node,
    offers: Vec<Offer>,
    readers: Arc<Semaphore>,
    /// Room for answers in memory, and for encoding.
    room: Room,
    /// Those that are not at work.
    reencoders: Mutex<Vec<Reencoder>>,
    visitors: Mutex<HashMap<PeerId, Visitor>>,
    happenings: mpsc::Sender<Happening>,
    clock: Clock,
}

/// Answers the streams that other peers open, until the node ends. What happens is told to `happenings`, unless nobody
/// keeps up with it.
pub async fn serve(
    node: Node,
    incoming: IncomingStreams,
    offers: Vec<Offer>,
    happenings: mpsc::Sender<Happening>,
    clock: Clock,
) {
    let shared = Arc::new(Shared {
        node,
        offers,
        readers: Arc::new(Semaphore::new(READERS)),
        room: budget::for_all(),
        reencoders: Mutex::default(),
        visitors: Mutex::default(),
        happenings,
        clock,
    });
    let IncomingStreams { mut sync, mut records } = incoming;
    loop {
        tokio::select! {
            opened = sync.recv() => match opened {
                Some((peer, connection, stream)) => if let Some(place) = shared.enter(peer) {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        shared.talk(peer, connection, stream, &place.share).await;
                    });
                },
                None => return,
            },
            opened = records.recv() => match opened {
                Some((peer, _, stream)) => if let Some(place) = shared.enter(peer) {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        shared.send_records(peer, stream, &place.share).await;
                    });
                },
                None => return,
            },
        }
    }
}

/// A peer that has streams open.
struct Visitor {
    streams: usize,
    share: Share,
}

/// A stream's place among those of its peer, given back when it ends.
struct Place {
    shared: Arc<Shared>,
    peer: PeerId,
    share: Share,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut visitors = self.shared.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(visitor) = visitors.get_mut(&self.peer) {
            visitor.streams -= 1;
            if visitor.streams == 0 {
                visitors.remove(&self.peer);
            }
        }
    }
}

impl Shared {
    /// A place for one more stream; `None`, which drops the stream, when the peer has enough of them.
    fn enter(self: &Arc<Self>, peer: PeerId) -> Option<Place> {
        let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let visitor = visitors.entry(peer).or_insert_with(|| Visitor {
            streams: 0,
            share: Share::of(&self.room),
        });
        if visitor.streams >= STREAMS_A_PEER {
            return None;
        }
        visitor.streams += 1;
        Some(Place {
            shared: Arc::clone(self),
            peer,
            share: visitor.share.clone(),
        })
    }

    /// The repositories that a peer may read.
    fn readable(&self, peer: &PeerId) -> impl Iterator<Item = &Offer> {
        self.offers
            .iter()
            .filter(move |offer| (offer.permit)(peer) >= Permission::Read)
    }

    /// The repository that a peer means, if it may read it: what it may not read does not exist.
    fn find(&self, peer: &PeerId, selector: &Selector) -> Result<&Offer, bool> {
        let mut matching = self.readable(peer).filter(|offer| match selector {
            Selector::Only => true,
            Selector::Name(name) => offer.name == *name,
            Selector::Id(id) => offer.id().is_some_and(|own| own.as_bytes() == &**id),
        });
        match (matching.next(), matching.next()) {
            (Some(offer), None) => Ok(offer),
            (found, _) => Err(found.is_some()),
        }
    }

    /// Waits for a turn to read the disk. It goes to the thread that does, so that it ends with the work.
    async fn turn(&self) -> io::Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.readers).acquire_owned().await;
        turn.map_err(io::Error::other)
    }

    fn now(&self) -> Time {
        (self.clock)()
    }

    fn tell(&self, happening: Happening) {
        let _ = self.happenings.try_send(happening);
    }
}

/// Runs work that reads the disk on a thread for it.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Setup(error.to_string())),
    }
}
