//! How many bytes of questions and answers are in memory at the same time, and how many are encoded anew, for all peers and
//! for each. A peer that asks for much and takes little waits for itself; others go on.

use std::io;
use std::sync::Arc;

use fai_core::object::MAX_OBJECT_LEN;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::wire::records::MAX_REQUEST;

/// Bytes for all peers together.
const ALL: u64 = 256 << 20;

/// Bytes for one peer: the longest record and more, so that each can have all it asks for.
const OWN: u64 = MAX_OBJECT_LEN as u64 + (16 << 20);

/// Bytes of questions of all peers together, and of one, besides those that are [`SHORT`]. Once decoded they may take a few
/// times as much.
const QUESTIONS: u64 = 32 << 20;
const OWN_QUESTIONS: u64 = 2 << 20;

/// A question that is no longer than this is not counted, so that nobody can keep others from the usual ones. Every request
/// for records is one of them; streams, and so these, are few.
const SHORT: usize = MAX_REQUEST;

/// What a permit stands for.
const UNIT: u64 = 1 << 10;

/// What all peers may hold together.
#[derive(Debug, Clone)]
pub(super) struct Room {
    memory: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    /// Threads that encode.
    encoding: Arc<Semaphore>,
}

/// What one peer may hold, out of what all may.
#[derive(Debug, Clone)]
pub(super) struct Share {
    all: Room,
    own: Room,
}

/// Bytes that are accounted for as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    parts: [OwnedSemaphorePermit; 2],
}

/// Room for all peers.
pub(super) fn for_all() -> Room {
    Room::of(ALL, QUESTIONS, cores())
}

impl Room {
    fn of(bytes: u64, questions: u64, threads: usize) -> Self {
        Self {
            memory: Arc::new(Semaphore::new(units(bytes) as usize)),
            questions: Arc::new(Semaphore::new(units(questions) as usize)),
            encoding: Arc::new(Semaphore::new(threads)),
        }
    }
}

impl Share {
    /// A peer's share of `all`.
    pub(super) fn of(all: &Room) -> Self {
        Self {
            all: all.clone(),
            own: Room::of(OWN, OWN_QUESTIONS, cores().div_ceil(2)),
        }
    }

    /// Waits until chunks may be encoded anew, which takes a core for as long as what is returned lives. Whoever waits must
    /// not hold a turn to read.
    ///
    /// # Errors
    /// None that can happen.
    pub(super) async fn encode(&self) -> io::Result<[OwnedSemaphorePermit; 2]> {
        let own = Arc::clone(&self.own.encoding).acquire_owned().await;
        let own = own.map_err(io::Error::other)?;
        let all = Arc::clone(&self.all.encoding).acquire_owned().await;
        Ok([own, all.map_err(io::Error::other)?])
    }

    /// Room for a question of so many bytes, which is as long as it is read and answered. Nobody waits for it: what a peer
    /// has sent meanwhile would be in memory, too.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn question(&self, len: usize) -> io::Result<Held> {
        let count = if len > SHORT { units(len as u64) } else { 0 };
        let take = |room: &Room| {
            let permit = Arc::clone(&room.questions).try_acquire_many_owned(count);
            permit.map_err(|_| io::Error::other("too many long questions at the same time"))
        };
        let parts = [take(&self.own)?, take(&self.all)?];
        Ok(Held { parts })
    }

    /// Waits until there is room for so many bytes. Whoever waits must hold nothing that ends only when the wait does:
    /// what was read before has to be given back as soon as it is written.
    ///
    /// # Errors
    /// When it is more than there will ever be.
    pub(super) async fn take(&self, bytes: u64) -> io::Result<Held> {
        if bytes > OWN {
            return Err(io::Error::other("a record that is longer than any may be"));
        }
        // The peer's own first: while it waits for itself it keeps nothing from others.
        let own = Arc::clone(&self.own.memory).acquire_many_owned(units(bytes)).await;
        let own = own.map_err(io::Error::other)?;
        let all = Arc::clone(&self.all.memory).acquire_many_owned(units(bytes)).await;
        let parts = [own, all.map_err(io::Error::other)?];
        Ok(Held { parts })
    }
}

impl Held {
    /// Gives back all but `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let needed = units(bytes) as usize;
        for part in &mut self.parts {
            let spare = part.num_permits().saturating_sub(needed);
            drop(part.split(spare));
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MAX_MESSAGE;

    /// What is granted at once.
    fn granted(share: &Share, bytes: u64) -> Option<Held> {
        use futures::FutureExt;
        share.take(bytes).now_or_never().map(Result::unwrap)
    }

    #[test]
    fn one_peer_cannot_hold_what_all_have_and_all_cannot_hold_more() {
        let all = for_all();
        let first = Share::of(&all);
        let longest = granted(&first, MAX_OBJECT_LEN as u64 + 64).unwrap();
        assert!(granted(&first, MAX_OBJECT_LEN as u64).is_none());
        drop(longest);
        let piece = 5 << 20;
        let mut held = Vec::new();
        let mut peers = vec![first];
        while let Some(more) = granted(peers.last().unwrap(), piece) {
            held.push(more);
        }
        assert_eq!(held.len() as u64, OWN / piece);
        for _ in 0..20 {
            let peer = Share::of(&all);
            while let Some(more) = granted(&peer, piece) {
                held.push(more);
            }
            peers.push(peer);
        }
        assert_eq!(held.len() as u64, ALL / piece);
        for part in &mut held {
            part.shrink_to(1 << 20);
        }
        assert!(granted(&Share::of(&all), OWN).is_some());
        held.clear();
        assert_eq!(all.memory.available_permits() as u64, ALL / UNIT);
    }

    #[test]
    fn long_questions_are_few_and_short_ones_as_many_as_there_are_streams() {
        let all = for_all();
        let long = MAX_MESSAGE - 1;
        let mut held = Vec::new();
        for _ in 0..100 {
            let peer = Share::of(&all);
            while let Ok(more) = peer.question(long) {
                held.push(more);
            }
            assert!(peer.question(SHORT).is_ok());
        }
        assert_eq!(held.len() as u64, QUESTIONS / MAX_MESSAGE as u64);
        assert!(
            granted(&Share::of(&all), OWN).is_some(),
            "answers have room of their own"
        );
        held.truncate(1);
        assert!(Share::of(&all).question(long).is_ok());
    }
}
