//! Chunks that a peer stores as differences to another chunk: which of them can be taken as such, when, and which must come
//! alone.
//!
//! A peer offers such a chunk and names its base. If the base can be read here, the difference is asked for. If not, the
//! base may still come, as part of the same transfer: the chunk waits until all else that can come has come and can be
//! read, which ends a *wave*. Then it is clear. What a chunk may cost is bounded, whatever peers offer: so many offers, so
//! many waves, and then it must come alone.

use std::collections::{HashMap, HashSet};

use fai_core::object::{Hash, Kind};
use fai_core::storage::MAX_CHAIN;

use super::plan::{Local, Promise, Want};

/// Offers that are taken for one chunk. Copies of a repository may store it against different bases.
const MOST_OFFERS: u8 = 8;

/// Chunks that wait for their bases. When there are more, it is not waited any longer for bases of which nothing is known.
const MOST_WAITING: usize = 65_536;

/// Waves after which a chunk still waits: as many as an honest chain has links.
const MOST_WAVES: usize = MAX_CHAIN;

/// In which form a record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the peer stores it, if that stands alone. Otherwise an offer.
    Any,
    /// As a delta against this chunk, or standing alone. Another offer, if the peer has it against another chunk.
    Against(Hash),
    /// Standing alone, however the peer stores it.
    Alone,
}

/// A record to ask for, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Which, and what it must be.
    pub want: Want,
    /// In which form.
    pub form: Form,
}

/// What a peer says of a chunk that it stores as a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The chunk that it is a delta against.
    pub base: Hash,
    /// How long it is, encoded.
    pub len: u32,
}

impl Ask {
    /// Whether a peer may answer so.
    pub fn permits(&self, offer: &Offer) -> bool {
        let shorter = match self.want.promise {
            Promise::Chunk { len } => u64::from(offer.len) <= len,
            _ => false,
        };
        let asked = match self.form {
            Form::Any => true,
            Form::Against(base) => base != offer.base,
            Form::Alone => false,
        };
        shorter && asked && offer.base != self.want.hash
    }

    /// Whether a record with this base, or without one, is what was asked for.
    pub fn permits_base(&self, kind: Kind, base: Option<&Hash>) -> bool {
        match (base, &self.form) {
            (None, _) => true,
            (Some(base), Form::Against(asked)) => base == asked && kind == Kind::Chunk,
            (Some(_), _) => false,
        }
    }
}

/// Chunks that were offered.
#[derive(Debug, Default)]
pub struct Bases {
    /// How often, and how long they are said to be, until they come.
    offers: HashMap<Hash, (u8, u32)>,
    /// Those whose bases are not here, in the order in which they were offered.
    waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    want: Want,
    base: Hash,
    /// Through so many waves.
    waves: usize,
}

impl Bases {
    /// True when no chunk waits for its base.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True when more should not be asked for before the next wave.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    /// How long a chunk is said to be, encoded, if it was offered.
    pub fn expected(&self, chunk: &Hash) -> Option<u32> {
        self.offers.get(chunk).map(|(_, len)| *len)
    }

    /// A chunk was offered. In which form to ask for it now; without one it waits.
    ///
    /// # Errors
    /// When it cannot be told what is here.
    pub fn offered<L: Local>(&mut self, want: &Want, offer: &Offer, local: &L) -> Result<Option<Form>, L::Error> {
        let (count, len) = self.offers.entry(want.hash).or_default();
        (*count, *len) = (count.saturating_add(1), offer.len);
        if *count > MOST_OFFERS {
            return Ok(Some(Form::Alone));
        }
        let form = form(local.depth(&offer.base)?, offer.base);
        if form.is_none() {
            let (want, base) = (*want, offer.base);
            self.waiting.push(Waiting { want, base, waves: 0 });
        }
        Ok(form)
    }

    /// A chunk came.
    pub fn came(&mut self, chunk: &Hash) {
        self.offers.remove(chunk);
    }

    /// What came before can be read now: what to ask for. Something of what waits always is; what is left waits for some of
    /// that. `coming` says of a base whether it is still being asked for.
    ///
    /// # Errors
    /// When it cannot be told what is here.
    pub fn wave<L: Local>(&mut self, local: &L, coming: impl Fn(&Hash) -> bool) -> Result<Vec<Ask>, L::Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let chunks: HashSet<Hash> = waiting.iter().map(|waiting| waiting.want.hash).collect();
        let mut asks = Vec::new();
        for Waiting { want, base, waves } in waiting {
            let may_come = waves < MOST_WAVES && (chunks.contains(&base) || coming(&base));
            match form(local.depth(&base)?, base) {
                Some(form) => asks.push(Ask { want, form }),
                None if may_come => self.waiting.push(Waiting {
                    want,
                    base,
                    waves: waves + 1,
                }),
                // Nobody is being asked for the base.
                None => asks.push(alone(want)),
            }
        }
        if asks.is_empty() {
            // They wait for each other.
            asks.extend(self.waiting.drain(..).map(|waiting| alone(waiting.want)));
        }
        Ok(asks)
    }
}

fn alone(want: Want) -> Ask {
    let form = Form::Alone;
    Ask { want, form }
}

/// In which form to ask for a chunk whose base has this depth here. A chain grows no longer than writers let it.
fn form(depth: Option<usize>, base: Hash) -> Option<Form> {
    match depth {
        Some(depth) if depth < MAX_CHAIN => Some(Form::Against(base)),
        Some(_) => Some(Form::Alone),
        None => None,
    }
}
