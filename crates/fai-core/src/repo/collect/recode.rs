//! Other encodings for records that are copied: on a better base, on the end of their chain, alone, or harder compressed.

use super::graph::Graph;
use super::packs::Recode;
use crate::codec::{Base, Codec, DeltaHead, Encoder, Strongest};
use crate::object::{Hash, Kind};
use crate::repo::bases::Rebase;
use crate::repo::{Error, Repository, Store};
use crate::storage::{LONGEST_CHAIN, MAX_CHAIN, RecordHeader};
use crate::tensor::Element;

/// A shorter chain may cost this part of a payload: one twentieth.
const COST: usize = 20;

/// Another encoding of a record.
type Fresh = Option<(RecordHeader, Vec<u8>)>;

/// Finds other encodings.
pub(super) struct Recoder<'a> {
    store: &'a Store,
    rebase: &'a Rebase,
    graph: Graph,
    encoder: Encoder,
    strongest: Option<Strongest>,
    /// Only what others are to stand on is encoded anew.
    preparing: bool,
    batch: Counts,
    done: Counts,
}

/// Chunks that came out otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Deltas with a shorter chain.
    pub shortened: u64,
    /// Deltas on another base that are smaller than before.
    pub rebased: u64,
    pub recompressed: u64,
}

/// Where a chain ends, and how the chunk at its other end lies on that.
struct Root {
    hash: Hash,
    head: DeltaHead,
    /// Deltas between the two.
    depth: usize,
}

impl<'a> Recoder<'a> {
    pub fn new(repository: &'a Repository, rebase: &'a Rebase, max: bool) -> Result<Self, Error> {
        Ok(Self {
            store: &repository.store,
            rebase,
            graph: Graph::read(repository)?,
            encoder: Encoder::new()?,
            strongest: max.then(Strongest::new).transpose()?,
            preparing: false,
            batch: Counts::default(),
            done: Counts::default(),
        })
    }

    /// Says whether only what others are to stand on is encoded anew.
    pub fn prepare(&mut self, preparing: bool) {
        self.preparing = preparing;
    }

    pub fn counts(&self) -> Counts {
        self.done
    }

    /// A chunk that others are to stand on, by itself.
    fn alone(&mut self, header: &RecordHeader, payload: &[u8], raw: &[u8]) -> Fresh {
        let head = DeltaHead::read(payload)?;
        let mut fresh = Vec::new();
        let codec = self.encoder.encode(raw, head.element, &mut fresh);
        Some(with_base(header, codec, None, fresh))
    }

    /// A chunk on the base that was found for it, when that makes it smaller, or its chain shorter at little cost.
    fn on_better_base(&mut self, header: &RecordHeader, payload: &[u8], raw: &[u8]) -> Fresh {
        let (element, hint) = self.rebase.on.get(&header.hash)?;
        if !self.graph.allows(&header.hash, &hint.chunk) {
            return None;
        }
        let bytes = self.store.chunk(&hint.chunk)?;
        let base = Base {
            bytes: &bytes,
            element: hint.element,
            first: hint.first,
        };
        let fresh = self.encode(raw, *element, base);
        let flatter = self.graph.depth(&hint.chunk) + 1 < self.graph.depth(&header.hash);
        let most = match flatter {
            true => payload.len() + payload.len() / COST,
            false => payload.len().saturating_sub(1),
        };
        if fresh.1.len() > most {
            return None;
        }
        match flatter {
            true => self.batch.shortened += 1,
            false => self.batch.rebased += 1,
        }
        Some(with_base(header, fresh.0, Some(hint.chunk), fresh.1))
    }

    /// A chunk in a chain, encoded against the chunk at its end.
    fn shorten(&mut self, header: &RecordHeader, payload: &[u8], raw: &[u8]) -> Result<Fresh, Error> {
        let Some(root) = self.root(header, payload)?.filter(|root| root.depth > 1) else {
            return Ok(None);
        };
        if !self.graph.allows(&header.hash, &root.hash) {
            return Ok(None);
        }
        let Some(bytes) = self.store.chunk(&root.hash) else {
            return Ok(None);
        };
        let base = Base {
            bytes: &bytes,
            element: root.head.base_element,
            first: root.head.first,
        };
        let (codec, fresh) = self.encode(raw, root.head.element, base);
        if root.depth <= MAX_CHAIN && fresh.len() > payload.len() + payload.len() / COST {
            return Ok(None);
        }
        self.batch.shortened += 1;
        Ok(Some(with_base(header, codec, Some(root.hash), fresh)))
    }

    fn encode(&mut self, raw: &[u8], element: Element, base: Base<'_>) -> (Codec, Vec<u8>) {
        let mut fresh = Vec::new();
        let codec = self.encoder.encode_against(raw, element, base, &mut fresh);
        (codec, fresh)
    }

    /// Follows a chain to its end. `None` when that does not tell how the two lie on each other.
    fn root(&self, header: &RecordHeader, payload: &[u8]) -> Result<Option<Root>, Error> {
        let (Some(mut hash), Some(mut head)) = (header.base, DeltaHead::read(payload)) else {
            return Ok(None);
        };
        let mut record = Vec::new();
        for depth in 1..=LONGEST_CHAIN {
            let Some(link) = self.store.record(&hash, &mut record)? else {
                return Ok(None);
            };
            let Some(below) = link.base else {
                return Ok(Some(Root { hash, head, depth }));
            };
            let next = record.get(link.header_len()..).and_then(DeltaHead::read);
            let Some(next) = next.filter(|next| next.element == head.base_element) else {
                return Ok(None);
            };
            let Some(first) = head.first.checked_add(next.first) else {
                return Ok(None);
            };
            head = DeltaHead {
                base_element: next.base_element,
                first,
                ..head
            };
            hash = below;
        }
        Ok(None)
    }

    fn compress(&mut self, header: &RecordHeader, payload: &[u8], raw: &[u8]) -> Fresh {
        let fresh = self.strongest.as_mut()?.below(raw, payload.len())?;
        self.batch.recompressed += 1;
        Some(with_base(header, Codec::Zstd, None, fresh))
    }
}

impl Recode for Recoder<'_> {
    fn begin(&mut self) {
        self.graph.begin();
        self.batch = Counts::default();
    }

    fn recode(&mut self, header: &RecordHeader, payload: &[u8], raw: &[u8]) -> Result<Fresh, Error> {
        if header.kind != Kind::Chunk {
            return Ok(None);
        }
        let fresh = if self.preparing {
            let chosen = self.rebase.alone.contains(&header.hash) && header.base.is_some();
            chosen.then(|| self.alone(header, payload, raw)).flatten()
        } else if let Some(fresh) = self.on_better_base(header, payload, raw) {
            Some(fresh)
        } else {
            match header.codec {
                Codec::Delta => self.shorten(header, payload, raw)?,
                Codec::Raw | Codec::Zstd => self.compress(header, payload, raw),
                Codec::Constant | Codec::Planes => None,
            }
        };
        if let Some((fresh, _)) = &fresh {
            self.graph.set(&header.hash, fresh.base.as_ref());
        }
        Ok(fresh)
    }

    fn moved(&mut self) {
        self.graph.keep();
        self.done.add(std::mem::take(&mut self.batch));
    }
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.shortened += other.shortened;
        self.rebased += other.rebased;
        self.recompressed += other.recompressed;
    }
}

/// The header and payload of a record in another encoding.
fn with_base(header: &RecordHeader, codec: Codec, base: Option<Hash>, fresh: Vec<u8>) -> (RecordHeader, Vec<u8>) {
    let header = RecordHeader {
        codec,
        encoded_len: fresh.len() as u32,
        base: base.filter(|_| codec == Codec::Delta),
        ..*header
    };
    (header, fresh)
}
