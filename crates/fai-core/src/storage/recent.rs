//! Chunks that were decoded lately, for deltas that stand on them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::object::Hash;

/// Raw bytes of chunks by their ids, the newest ones up to a number of bytes. Shared by threads.
#[derive(Debug)]
pub struct Recent {
    room: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    chunks: HashMap<Hash, Arc<[u8]>>,
    /// The oldest first.
    order: VecDeque<Hash>,
    bytes: usize,
}

impl Recent {
    /// Holds at most `room` bytes.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            held: Mutex::default(),
        }
    }

    /// A chunk, if it is held.
    pub fn get(&self, hash: &Hash) -> Option<Arc<[u8]>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.chunks.get(hash).cloned()
    }

    /// Holds a chunk whose bytes were checked, and lets go of the oldest ones.
    pub fn put(&self, hash: &Hash, bytes: &[u8]) {
        if bytes.len() > self.room || self.get(hash).is_some() {
            return;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += bytes.len();
        held.order.push_back(*hash);
        if let Some(same) = held.chunks.insert(*hash, bytes) {
            held.bytes -= same.len();
        }
        while held.bytes > self.room {
            let Some(oldest) = held.order.pop_front() else { break };
            if let Some(gone) = held.chunks.remove(&oldest) {
                held.bytes -= gone.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;

    #[test]
    fn the_newest_are_held_and_no_more_than_there_is_room_for() {
        let recent = Recent::new(100);
        let hash = |byte: u8| Kind::Chunk.hash(&[byte]);
        for byte in 0..10 {
            recent.put(&hash(byte), &[byte; 30]);
            recent.put(&hash(byte), &[byte; 30]);
            assert!(recent.held.lock().unwrap().bytes <= 100);
        }
        assert!(recent.get(&hash(6)).is_none());
        for byte in 7..10 {
            assert_eq!(recent.get(&hash(byte)).as_deref(), Some(&[byte; 30][..]));
        }
        recent.put(&hash(50), &[0; 101]);
        assert!(recent.get(&hash(50)).is_none() && recent.get(&hash(9)).is_some());
    }
}
