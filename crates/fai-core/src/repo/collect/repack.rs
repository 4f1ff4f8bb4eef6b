//! `repack`: small packs become full ones, deltas stand on the best base that is here or on the root of their chain, and
//! what is worth it is compressed harder. Off the critical path, a batch of packs at a time, each complete in itself.
//!
//! Chunks that others are to stand on come first: they are made to stand alone in a run of their own. What the rest is
//! encoded against is then as it will be, and a base and what stood on it can change places.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::graph::Graph;
use super::packs::{Moved, Moving, batches, ideal_len};
use super::recode::Recoder;
use super::{KeptPack, Shortage};
use crate::database::PackUsage;
use crate::object::Hash;
use crate::repo::bases::Rebase;
use crate::repo::progress::{Event, Progress};
use crate::repo::{Error, Repository};
use crate::storage::PACK_TARGET;

/// Packs below this length are merged.
const SMALL: u64 = PACK_TARGET / 2;

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
    /// Chunks that are smaller on another base.
    pub rebased: u64,
    /// Chunks that were compressed harder.
    pub recompressed: u64,
    /// Packs that stay as they were because something in them is damaged.
    pub kept: Vec<KeptPack>,
    /// Set when there was no room to go on.
    pub shortage: Option<Shortage>,
}

/// What is to be repacked, as it was when it was asked for.
#[derive(Debug)]
pub struct RepackPlan {
    rebase: Rebase,
    report: RepackReport,
}

impl RepackPlan {
    /// What would be done; of what was done it says nothing yet.
    pub fn report(&self) -> &RepackReport {
        &self.report
    }
}

/// Runs of packs to rewrite together, and the room that the largest of them needs, in bytes.
struct Run {
    batches: Vec<Vec<PackUsage>>,
    room: u64,
}

impl Run {
    fn packs(&self) -> impl Iterator<Item = &PackUsage> {
        self.batches.iter().flatten()
    }
}

impl Repository {
    /// Looks for what is worth repacking: small packs, better bases, long chains, and with `max` everything.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn plan_repack(&self, options: &RepackOptions) -> Result<RepackPlan, Error> {
        let rebase = self.find_better_bases()?;
        let (preparing, growth) = self.first_run(&rebase)?;
        let usual = self.second_run(&rebase, options)?;
        let mut seen = HashSet::new();
        let chosen = preparing.packs().chain(usual.packs());
        let chosen: Vec<&PackUsage> = chosen.filter(|usage| seen.insert(usage.name)).collect();
        let report = RepackReport {
            chosen: chosen.len() as u64,
            chosen_bytes: chosen.iter().map(|usage| usage.bytes).sum(),
            needed_bytes: preparing.room.max(if usual.room > 0 { growth + usual.room } else { 0 }),
            ..RepackReport::default()
        };
        Ok(RepackPlan { rebase, report })
    }

    /// Rewrites packs so that there are fewer, chunks stand on better bases, chains are shorter, and, with `max`, more is
    /// compressed. A kill loses nothing but the batch that was being written.
    ///
    /// # Errors
    /// [`Error::BeingCollected`] at once when another one runs, [`Error::BeingWritten`] when writers do not end in time;
    /// when packs cannot be written. Batches that were done stay done.
    pub fn repack(&self, options: &RepackOptions, progress: &dyn Progress) -> Result<RepackReport, Error> {
        if options.dry_run {
            return Ok(self.plan_repack(options)?.report);
        }
        let _only = self.only_collector(Duration::ZERO)?;
        let plan = self.plan_repack(options)?;
        self.carry_out(plan, options, progress)
    }

    /// The same by a plan that was made before. What came since is merged, too.
    ///
    /// # Errors
    /// As [`Repository::repack`].
    pub fn repack_as_planned(
        &self,
        plan: RepackPlan,
        options: &RepackOptions,
        progress: &dyn Progress,
    ) -> Result<RepackReport, Error> {
        let _only = self.only_collector(Duration::ZERO)?;
        self.carry_out(plan, options, progress)
    }

    /// The caller keeps other collections out.
    fn carry_out(
        &self,
        plan: RepackPlan,
        options: &RepackOptions,
        progress: &dyn Progress,
    ) -> Result<RepackReport, Error> {
        let RepackPlan { rebase, mut report } = plan;
        let mut moved = Moved::default();
        let moving = Moving {
            patience: options.patience,
            progress,
        };
        {
            let _alone = self.without_writers(options.patience)?;
            self.store.take_in_orphans()?;
            self.remove_empty_packs(&moving, &mut moved)?;
        }
        let (preparing, _) = self.first_run(&rebase)?;
        let mut recoder = Recoder::new(self, &rebase, options.max)?;
        recoder.prepare(true);
        self.run(&preparing, &moving, &mut recoder, &mut moved)?;
        recoder.prepare(false);
        if moved.shortage.is_none() {
            let usual = self.second_run(&rebase, options)?;
            self.run(&usual, &moving, &mut recoder, &mut moved)?;
        }
        let counts = recoder.counts();
        report.packs_removed = moved.removed;
        report.removed_bytes = moved.removed_bytes;
        report.packs_written = moved.written;
        report.written_bytes = moved.written_bytes;
        report.shortened = counts.shortened;
        report.rebased = counts.rebased;
        report.recompressed = counts.recompressed;
        report.kept = moved.kept;
        report.shortage = moved.shortage;
        Ok(report)
    }

    fn run(&self, run: &Run, moving: &Moving<'_>, recoder: &mut Recoder<'_>, moved: &mut Moved) -> Result<(), Error> {
        moving.progress.on(Event::Total {
            files: run.packs().count() as u64,
            bytes: run.packs().map(|usage| usage.headers + usage.payloads).sum(),
        });
        for batch in &run.batches {
            self.move_packs(batch, moving, recoder, moved)?;
            if moved.shortage.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The packs with chunks that have to stand alone first, and by how much longer those become at the most, in bytes.
    fn first_run(&self, rebase: &Rebase) -> Result<(Run, u64), Error> {
        let mut growth: HashMap<Hash, u64> = HashMap::new();
        for chunk in &rebase.alone {
            if let Some(found) = self
                .database()
                .locate(chunk)?
                .filter(|found| found.header.base.is_some())
            {
                let header = found.header;
                *growth.entry(found.pack).or_default() += u64::from(header.raw_len.saturating_sub(header.encoded_len));
            }
        }
        let mut packs = self.database().pack_usage()?;
        packs.retain(|usage| growth.contains_key(&usage.name));
        let room = |usage: &PackUsage| ideal_len(usage) + growth.get(&usage.name).copied().unwrap_or(0);
        let run = of_batches(batches(&packs, PACK_TARGET), room);
        Ok((run, growth.values().sum()))
    }

    /// All other packs that are worth it, in the order in which they were entered.
    fn second_run(&self, rebase: &Rebase, options: &RepackOptions) -> Result<Run, Error> {
        let deep = Graph::too_deep(self)?;
        let mut with_reason = HashSet::new();
        for chunk in rebase.on.keys().chain(&deep) {
            with_reason.extend(self.database().locate(chunk)?.map(|found| found.pack));
        }
        let mut packs = self.database().pack_usage()?;
        let reason = |usage: &PackUsage| options.max || usage.dropped > 0 || with_reason.contains(&usage.name);
        packs.retain(|usage| usage.records > 0 && (usage.bytes < SMALL || reason(usage)));
        let mut chosen = batches(&packs, PACK_TARGET);
        // A pack alone comes out as it went in, unless something in it can be encoded otherwise or left out.
        chosen.retain(|batch| batch.len() > 1 || batch.iter().any(reason));
        Ok(of_batches(chosen, ideal_len))
    }
}

fn of_batches(batches: Vec<&[PackUsage]>, room: impl Fn(&PackUsage) -> u64) -> Run {
    let rooms = batches.iter().map(|batch| batch.iter().map(&room).sum());
    Run {
        room: rooms.max().unwrap_or(0),
        batches: batches.into_iter().map(<[PackUsage]>::to_vec).collect(),
    }
}
