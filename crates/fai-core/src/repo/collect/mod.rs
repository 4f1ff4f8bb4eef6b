//! `gc`: what nothing leads to is condemned, waits, is looked at again, and goes.
//!
//! Marking is done beside writers. Then they are kept out, and only if anything moved meanwhile it is done again. What
//! writers rely on, and how packs are replaced, is in `locks` and `packs`.

mod condemn;
mod graph;
mod incomplete;
mod locks;
mod mark;
mod packs;
mod recode;
mod repack;

use std::time::Duration;

use condemn::Amount;
pub(super) use locks::alone;
use mark::{Marks, Roots};
use packs::{AsTheyAre, Moved, Moving, ideal_len};

pub use packs::{KeptPack, Shortage};
pub use repack::{RepackOptions, RepackPlan, RepackReport};

use super::checkout::discard_leftovers;
use super::durable::try_lock;
use super::progress::{Event, Progress};
use super::{Error, Repository};
use crate::database::IndexedRecord;
use crate::object::Kind;
use crate::storage::PACK_TARGET;

/// The part of a pack that must be copies of other records before it is rewritten: one tenth. Below that the work is not
/// worth it.
const WORTH: u64 = 10;

/// How to collect.
#[derive(Debug, Clone, Copy)]
pub struct GcOptions {
    /// The time now, in seconds since 1970.
    pub now: i64,
    /// How long a record must have been condemned before it goes; `None` removes at once all that nothing leads to.
    pub age: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// How long to wait for writers, and for another collection.
    pub patience: Duration,
}

/// What a collection did, or would do. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Records that must stay.
    pub live: u64,
    /// Records that were taken out of the index.
    pub removed: u64,
    /// Bytes of their payloads.
    pub removed_bytes: u64,
    /// Records that are condemned now and were not before.
    pub condemned: u64,
    /// Records that nothing leads to and that wait for their time.
    pub waiting: u64,
    /// Bytes of their payloads.
    pub waiting_bytes: u64,
    /// When the time of the first of them comes, in seconds since 1970.
    pub next: Option<i64>,
    /// Bytes by which the repository's folder is smaller: files that are gone, less those that were written.
    pub freed_bytes: u64,
    /// Packs that are gone.
    pub packs_removed: u64,
    /// Those among them whose other records are in fresh packs now.
    pub packs_rewritten: u64,
    /// Fresh packs.
    pub packs_written: u64,
    /// Files of interrupted checkouts that were removed.
    pub temporary_files: u64,
    /// Packs that stay although they might go, and why.
    pub kept: Vec<KeptPack>,
    /// Set when packs could not be rewritten for want of room.
    pub shortage: Option<Shortage>,
}

impl Repository {
    /// Removes what nothing leads to: neither refs nor `HEAD`, staging, or what operations within the last `age` named.
    ///
    /// # Errors
    /// [`Error::CannotCollect`] when anything is missing or damaged on the way to what must stay, [`Error::NoRoots`] when
    /// commits are stored that nothing leads to, [`Error::BeingWritten`] and [`Error::BeingCollected`] when others do
    /// not end in time. Nothing is removed then, unless packs were being rewritten already: each batch of them is
    /// complete in itself.
    pub fn gc(&self, options: &GcOptions, progress: &dyn Progress) -> Result<GcReport, Error> {
        let _only = match options.dry_run {
            true => None,
            false => Some(self.only_collector(options.patience)?),
        };
        let mut report = GcReport::default();
        let mut freed = 0;
        if !options.dry_run {
            (report.temporary_files, freed) = self.remove_temporary_files(progress)?;
            // What dead writers left may stand on what nothing else leads to.
            self.store.adopt_orphans()?;
        }
        let roots = self.roots_to_keep(options)?;
        let live = self.mark_live(&roots)?;
        progress.on(Event::File("marked"));
        if options.dry_run {
            self.foretell(&roots, &live, options, &mut report)?;
            return Ok(report);
        }
        let moving = Moving {
            patience: options.patience,
            progress,
        };
        let mut moved = Moved::default();
        {
            let _alone = self.without_writers(options.patience)?;
            self.store.take_in_orphans()?;
            let now = self.roots_to_keep(options)?;
            let live = match now == roots {
                true => live,
                false => self.mark_live(&now)?,
            };
            report.condemned = self.condemn(&live, options.now)?;
            progress.on(Event::File("condemned"));
            self.drop_old(&now, &live, options, progress, &mut report)?;
            let until = options.age.map(|age| options.now.saturating_sub(seconds(age)));
            self.database().transaction(|writer| {
                writer.forget_effects(until)?;
                writer.forget_gone()
            })?;
            if report.removed > 0 {
                super::experiments::forget(&self.database())?;
            }
            self.remove_empty_packs(&moving, &mut moved)?;
        }
        self.rewrite_wasteful(options, &moving, &mut moved)?;
        report.freed_bytes = (freed + moved.removed_bytes).saturating_sub(moved.written_bytes);
        report.packs_removed = moved.removed;
        report.packs_rewritten = moved.rewritten;
        report.packs_written = moved.written;
        report.kept = moved.kept;
        report.shortage = moved.shortage;
        Ok(report)
    }

    /// The roots, unless it would be rash to begin from them.
    fn roots_to_keep(&self, options: &GcOptions) -> Result<Roots, Error> {
        let recent = options.age.map(|age| options.now.saturating_sub(seconds(age)));
        let roots = self.collection_roots(recent).map_err(cannot)?;
        if roots.are_none() {
            let commits = self.database().records_of_kind(Kind::Commit)?.len() as u64;
            if commits > 0 {
                return Err(Error::NoRoots { commits });
            }
        }
        Ok(roots)
    }

    fn mark_live(&self, roots: &Roots) -> Result<Marks, Error> {
        self.mark(roots).map_err(cannot)
    }

    /// Takes out of the index what has been condemned for long enough, and counts what waits.
    fn drop_old(
        &self,
        roots: &Roots,
        live: &Marks,
        options: &GcOptions,
        progress: &dyn Progress,
        report: &mut GcReport,
    ) -> Result<(), Error> {
        let verdicts = self.verdicts(roots, live, options)?;
        let removed = self.drop_dead(|record| verdicts.is_dead(record), progress)?;
        (report.removed, report.removed_bytes) = (removed.records, removed.bytes);
        self.count_waiting(live, options, report, |_| false)
    }

    /// Says what would be done, without doing any of it.
    fn foretell(&self, roots: &Roots, live: &Marks, options: &GcOptions, report: &mut GcReport) -> Result<(), Error> {
        let verdicts = self.verdicts(roots, live, options)?;
        let mut removed = Amount::default();
        let is_dead = |record: &IndexedRecord| !live.has(record.kind, &record.hash) && verdicts.is_dead(record);
        self.each_indexed(|record| {
            if is_dead(record) {
                removed.add(record);
            }
            if !live.has(record.kind, &record.hash) && record.condemned.is_none() {
                report.condemned += 1;
            }
            Ok(())
        })?;
        (report.removed, report.removed_bytes) = (removed.records, removed.bytes);
        self.count_waiting(live, options, report, is_dead)
    }

    fn verdicts(&self, roots: &Roots, live: &Marks, options: &GcOptions) -> Result<Verdicts, Error> {
        let mut verdicts = Verdicts {
            until: options.age.map(|age| options.now.saturating_sub(seconds(age))),
            spared: Marks::default(),
        };
        let spared = self.mark_spared(roots, |record| {
            !live.has(record.kind, &record.hash) && !verdicts.is_old(record)
        })?;
        verdicts.spared = spared;
        Ok(verdicts)
    }

    /// Counts what is live and what waits, without what `gone` chooses.
    fn count_waiting(
        &self,
        live: &Marks,
        options: &GcOptions,
        report: &mut GcReport,
        gone: impl Fn(&IndexedRecord) -> bool,
    ) -> Result<(), Error> {
        let mut waiting = Amount::default();
        let mut first: Option<i64> = None;
        self.each_indexed(|record| {
            if live.has(record.kind, &record.hash) {
                report.live += 1;
            } else if !gone(record) {
                waiting.add(record);
                let since = record.condemned.unwrap_or(options.now);
                first = Some(first.map_or(since, |first| first.min(since)));
            }
            Ok(())
        })?;
        (report.waiting, report.waiting_bytes) = (waiting.records, waiting.bytes);
        report.next = first
            .zip(options.age)
            .map(|(since, age)| since.saturating_add(seconds(age)).max(options.now));
        Ok(())
    }

    /// Rewrites packs without what is of no use in them, where that is worth it.
    fn rewrite_wasteful(&self, options: &GcOptions, moving: &Moving<'_>, moved: &mut Moved) -> Result<(), Error> {
        let mut wasteful = Vec::new();
        for usage in self.database().pack_usage()? {
            let waste = usage.bytes.saturating_sub(ideal_len(&usage));
            // What was taken out of the index must leave the packs, too: otherwise an index made anew from them holds
            // it again, without what it leads to. Copies of records only take up room.
            let worth = usage.dropped > 0 || options.age.is_none() || waste.saturating_mul(WORTH) >= usage.bytes;
            if usage.records > 0 && waste > 0 && worth {
                wasteful.push(usage);
            }
        }
        // What gives most for the room that it needs comes first.
        wasteful.sort_by_key(ideal_len);
        moving.progress.on(Event::Total {
            files: wasteful.len() as u64,
            bytes: wasteful.iter().map(|usage| usage.headers + usage.payloads).sum(),
        });
        for batch in packs::batches(&wasteful, PACK_TARGET) {
            self.move_packs(batch, moving, &mut AsTheyAre, moved)?;
            if moved.shortage.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Removes what killed commands left aside, unless somebody is at work there. Returns how many files it was, and their
    /// length.
    fn remove_temporary_files(&self, progress: &dyn Progress) -> Result<(u64, u64), Error> {
        let Some(_exclusive) = try_lock(&self.directory.join("lock"))? else {
            return Ok((0, 0));
        };
        let folder = self.directory.join("tmp");
        self.finish_evictions(&folder, progress)?;
        discard_leftovers(&folder, None)
    }
}

/// Which of the records that nothing leads to may go.
struct Verdicts {
    /// Those condemned up to then, in seconds since 1970; `None` stands for all.
    until: Option<i64>,
    /// Those that others need that may not go yet.
    spared: Marks,
}

impl Verdicts {
    fn is_old(&self, record: &IndexedRecord) -> bool {
        self.until
            .is_none_or(|until| record.condemned.is_some_and(|since| since <= until))
    }

    fn is_dead(&self, record: &IndexedRecord) -> bool {
        self.is_old(record) && !self.spared.has(record.kind, &record.hash)
    }
}

fn cannot(error: Error) -> Error {
    Error::CannotCollect(Box::new(error))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
