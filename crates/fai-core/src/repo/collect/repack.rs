//! `repack`: small packs become full ones, deltas stand on the root of their chain, and what is worth it is compressed
//! harder. Off the critical path, a batch of packs at a time, each complete in itself.

use std::collections::HashSet;
use std::time::Duration;

use super::packs::{Moved, Moving, batches, ideal_len};
use super::{KeptPack, Shortage};
use crate::codec::{Base, Codec, DeltaHead, Encoder, Strongest};
use crate::database::PackUsage;
use crate::object::{Hash, Kind};
use crate::repo::progress::{Event, Progress};
use crate::repo::{Error, Repository, Store};
use crate::storage::{LONGEST_CHAIN, MAX_CHAIN, PACK_TARGET, RecordHeader};

/// Packs below this length are merged.
const SMALL: u64 = PACK_TARGET / 2;

/// A shorter chain may cost this part of a payload: one twentieth.
const COST: usize = 20;

/// How to repack.
#[derive(Debug, Clone, Copy)]
pub struct RepackOptions {
    /// Read everything, and compress opaque chunks as hard as zstd can.
    pub max: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// How long to wait for writers.
    pub patience: Duration,
}

/// What a repacking did, or would do. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepackReport {
    /// Packs that are to be rewritten.
    pub chosen: u64,
    /// Their length.
    pub chosen_bytes: u64,
    /// The most room that is needed at a time, beside what is there.
    pub needed_bytes: u64,
    /// Packs that are gone.
    pub packs_removed: u64,
    /// Their length.
    pub removed_bytes: u64,
    /// Fresh packs.
    pub packs_written: u64,
    /// Their length.
    pub written_bytes: u64,
    /// Chunks with a shorter chain.
    pub shortened: u64,
    /// Chunks that were compressed harder.
    pub recompressed: u64,
    /// Packs that stay as they were because something in them is damaged.
    pub kept: Vec<KeptPack>,
    /// Set when there was no room to go on.
    pub shortage: Option<Shortage>,
}

impl Repository {
    /// Rewrites packs so that there are fewer, chains are shorter, and, with `max`, more is compressed. A kill loses
    /// nothing but the batch that was being written.
    ///
    /// # Errors
    /// [`Error::BeingCollected`] at once when another one runs, [`Error::BeingWritten`] when writers do not end in time;
    /// when packs cannot be written. Batches that were done stay done.
    pub fn repack(&self, options: &RepackOptions, progress: &dyn Progress) -> Result<RepackReport, Error> {
        let mut report = RepackReport::default();
        let mut moved = Moved::default();
        let moving = Moving {
            patience: options.patience,
            progress,
        };
        let _only = match options.dry_run {
            true => None,
            false => Some(self.only_collector(Duration::ZERO)?),
        };
        if !options.dry_run {
            let _alone = self.without_writers(options.patience)?;
            self.store.take_in_orphans()?;
            self.remove_empty_packs(&moving, &mut moved)?;
        }
        let (packs, reasons) = self.worth_repacking(options)?;
        let mut chosen = batches(&packs, PACK_TARGET);
        // A pack alone comes out as it went in, unless something in it can be encoded otherwise or left out.
        chosen.retain(|batch| batch.len() > 1 || batch.iter().any(|usage| reasons.contains(&usage.name)));
        let all = || chosen.iter().flat_map(|batch| batch.iter());
        report.chosen = all().count() as u64;
        report.chosen_bytes = all().map(|usage| usage.bytes).sum();
        let room = |batch: &&[PackUsage]| batch.iter().map(ideal_len).sum::<u64>();
        report.needed_bytes = chosen.iter().map(room).max().unwrap_or(0);
        if options.dry_run {
            return Ok(report);
        }
        progress.on(Event::Total {
            files: report.chosen,
            bytes: all().map(|usage| usage.headers + usage.payloads).sum(),
        });
        let mut recoder = Recoder::new(&self.store, options.max)?;
        for batch in chosen {
            self.move_packs(
                batch,
                &moving,
                &mut |header, payload, raw| recoder.recode(header, payload, raw),
                &mut moved,
            )?;
            if moved.shortage.is_some() {
                break;
            }
        }
        report.packs_removed = moved.removed;
        report.removed_bytes = moved.removed_bytes;
        report.packs_written = moved.written;
        report.written_bytes = moved.written_bytes;
        report.shortened = recoder.shortened;
        report.recompressed = recoder.recompressed;
        report.kept = moved.kept;
        report.shortage = moved.shortage;
        Ok(report)
    }

    /// The packs to rewrite, in the order in which they were entered, and those among them that come out otherwise even
    /// when they are alone.
    fn worth_repacking(&self, options: &RepackOptions) -> Result<(Vec<PackUsage>, HashSet<Hash>), Error> {
        let chains: HashSet<Hash> = self.database().packs_with_chains()?.into_iter().collect();
        let mut packs = self.database().pack_usage()?;
        let reason = |usage: &PackUsage| options.max || usage.dropped > 0 || chains.contains(&usage.name);
        packs.retain(|usage| usage.records > 0 && (usage.bytes < SMALL || reason(usage)));
        let reasons = packs
            .iter()
            .filter(|usage| reason(usage))
            .map(|usage| usage.name)
            .collect();
        Ok((packs, reasons))
    }
}

/// Finds other encodings.
struct Recoder<'a> {
    store: &'a Store,
    encoder: Encoder,
    strongest: Option<Strongest>,
    shortened: u64,
    recompressed: u64,
}

/// Where a chain ends, and how the chunk at its other end lies on that.
struct Root {
    hash: Hash,
    head: DeltaHead,
    /// Deltas between the two.
    depth: usize,
}

impl<'a> Recoder<'a> {
    fn new(store: &'a Store, max: bool) -> Result<Self, Error> {
        Ok(Self {
            store,
            encoder: Encoder::new()?,
            strongest: max.then(Strongest::new).transpose()?,
            shortened: 0,
            recompressed: 0,
        })
    }

    fn recode(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        raw: &[u8],
    ) -> Result<Option<(RecordHeader, Vec<u8>)>, Error> {
        if header.kind != Kind::Chunk {
            return Ok(None);
        }
        match header.codec {
            Codec::Delta => self.shorten(header, payload, raw),
            Codec::Raw | Codec::Zstd => Ok(self.compress(header, payload, raw)),
            Codec::Constant | Codec::Planes => Ok(None),
        }
    }

    /// A chunk in a chain, encoded against the chunk at its end, which stands alone and stays so: no loop can come of it.
    fn shorten(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        raw: &[u8],
    ) -> Result<Option<(RecordHeader, Vec<u8>)>, Error> {
        let Some(root) = self.root(header, payload)?.filter(|root| root.depth > 1) else {
            return Ok(None);
        };
        let Some(bytes) = self.store.chunk(&root.hash) else {
            return Ok(None);
        };
        let base = Base {
            bytes: &bytes,
            element: root.head.base_element,
            first: root.head.first,
        };
        let mut fresh = Vec::new();
        let codec = self.encoder.encode_against(raw, root.head.element, base, &mut fresh);
        if root.depth <= MAX_CHAIN && fresh.len() > payload.len() + payload.len() / COST {
            return Ok(None);
        }
        self.shortened += 1;
        let header = RecordHeader {
            codec,
            encoded_len: fresh.len() as u32,
            base: (codec == Codec::Delta).then_some(root.hash),
            ..*header
        };
        Ok(Some((header, fresh)))
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

    fn compress(&mut self, header: &RecordHeader, payload: &[u8], raw: &[u8]) -> Option<(RecordHeader, Vec<u8>)> {
        let fresh = self.strongest.as_mut()?.below(raw, payload.len())?;
        self.recompressed += 1;
        let header = RecordHeader {
            codec: Codec::Zstd,
            encoded_len: fresh.len() as u32,
            ..*header
        };
        Some((header, fresh))
    }
}
