//! How far tensors moved: reads what differs, on all cores, in bounded memory. Which tensors are compared is in `pairs`,
//! what is computed in `tensor::compare`.
//!
//! A tensor is worked on in units that begin at fixed elements, and the results of its units are added in their order, so
//! that threads and chunks change nothing. Bytes that are the same on both sides are read on one side only, and only when
//! another part of their tensor differs: then they count for its length.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::repo::Error;
use crate::repo::same_bytes::{Content, Told, Window, tell};
use crate::tensor::Numbers;
use crate::tensor::compare::{BLOCK, Comparer, Distance, compare_bytes};

/// Elements in a unit: a multiple of [`BLOCK`].
const UNIT: u64 = 1 << 20;

/// Elements that are read at a time: a multiple of [`BLOCK`].
const STEP: u64 = 16 * BLOCK as u64;

/// Bytes of neighbouring units that a thread takes at a time, so that small tensors of one chunk go to one thread.
const BATCH: u64 = 4 << 20;

/// Two tensors, or the rows that they have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// First byte in the old file.
    pub old_at: u64,
    /// First byte in the new file.
    pub new_at: u64,
    /// How the old elements are read; `None` for packed ones, which are compared byte by byte.
    pub old: Option<Numbers>,
    /// How the new elements are read.
    pub new: Option<Numbers>,
    /// Numbers that are compared; of packed ones, bytes.
    pub count: u64,
    /// True when both are of one dtype, so that the same bytes are the same elements.
    pub alike: bool,
}

impl Pair {
    fn widths(&self) -> (u64, u64) {
        let width = |numbers: Option<Numbers>| numbers.map_or(1, |numbers| numbers.width() as u64);
        (width(self.old), width(self.new))
    }
}

/// A unit of a pair, by its place in the list.
#[derive(Debug, Clone, Copy)]
struct Unit {
    pair: usize,
    /// Its elements.
    start: u64,
    end: u64,
}

/// How far apart the pairs are, in their order. Pairs that are the same to the byte are [`Distance::none`].
///
/// `done` hears of bytes of the new file as they are finished, from several threads.
///
/// # Errors
/// When something cannot be read.
pub(super) fn measure(
    pairs: &[Pair],
    old: &Content<'_>,
    new: &Content<'_>,
    threads: usize,
    done: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Distance>, Error> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by_key(|index| pairs.get(*index).map(|pair| pair.new_at));
    let units: Vec<Unit> = order
        .iter()
        .filter_map(|index| Some((*index, pairs.get(*index)?)))
        .flat_map(|(pair, Pair { count, .. })| {
            (0..count.div_ceil(UNIT)).map(move |unit| Unit {
                pair,
                start: unit * UNIT,
                end: ((unit + 1) * UNIT).min(*count),
            })
        })
        .collect();
    let job = Job {
        pairs,
        sides: (old, new),
        threads,
        done,
    };
    let mut found: Vec<Option<Distance>> = job.run(&units, Worker::look)?;
    let mut differs = vec![false; pairs.len()];
    for (unit, distance) in units.iter().zip(&found) {
        if let Some(differs) = differs.get_mut(unit.pair) {
            *differs |= distance.is_some_and(|distance| !distance.is_none());
        }
    }
    let owed: Vec<usize> = units
        .iter()
        .zip(&found)
        .enumerate()
        .filter(|(_, (unit, distance))| distance.is_none() && differs.get(unit.pair) == Some(&true))
        .map(|(index, _)| index)
        .collect();
    let again: Vec<Unit> = owed.iter().filter_map(|index| units.get(*index)).copied().collect();
    let silent = Job { done: &|_| {}, ..job };
    for (index, distance) in owed.into_iter().zip(silent.run(&again, Worker::read_same)?) {
        found.get_mut(index).into_iter().for_each(|found| *found = distance);
    }
    let mut distances: Vec<Distance> = pairs.iter().map(|pair| Distance::none(pair.count)).collect();
    let mut first = vec![true; pairs.len()];
    for (unit, part) in units.iter().zip(found) {
        let (Some(distance), Some(first), Some(true)) = (
            distances.get_mut(unit.pair),
            first.get_mut(unit.pair),
            differs.get(unit.pair),
        ) else {
            continue;
        };
        if std::mem::take(first) {
            *distance = Distance::default();
        }
        part.iter().for_each(|part| distance.add(part));
    }
    Ok(distances)
}

/// What all threads know.
#[derive(Clone, Copy)]
struct Job<'a> {
    pairs: &'a [Pair],
    sides: (&'a Content<'a>, &'a Content<'a>),
    threads: usize,
    done: &'a (dyn Fn(u64) + Sync),
}

/// What a thread does with a unit.
type Task<'a> = fn(&mut Worker<'a>, &Pair, &Unit) -> Result<Option<Distance>, Error>;

impl<'a> Job<'a> {
    /// Does `task` with every unit and gives the results in the order of `units`.
    fn run(&self, units: &[Unit], task: Task<'a>) -> Result<Vec<Option<Distance>>, Error> {
        let bytes = |unit: &Unit| {
            let width = self.pairs.get(unit.pair).map_or(1, |pair| pair.widths().1);
            (unit.end - unit.start) * width
        };
        let mut batches: Vec<Range<usize>> = Vec::new();
        let mut filled = BATCH;
        for (index, unit) in units.iter().enumerate() {
            match batches.last_mut() {
                Some(batch) if filled < BATCH => batch.end = index + 1,
                _ => {
                    batches.push(index..index + 1);
                    filled = 0;
                }
            }
            filled += bytes(unit);
        }
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || -> Result<Vec<(usize, Option<Distance>)>, Error> {
            let mut worker = Worker::new(self.sides);
            let mut found = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                for (index, unit) in units.iter().enumerate().take(batch.end).skip(batch.start) {
                    let Some(pair) = self.pairs.get(unit.pair).filter(|_| !failed.load(Ordering::Relaxed)) else {
                        return Ok(found);
                    };
                    let distance = task(&mut worker, pair, unit);
                    found.push((index, distance.inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
                    (self.done)(bytes(unit));
                }
            }
            Ok(found)
        };
        let threads = self.threads.clamp(1, batches.len().max(1));
        let mut results = vec![None; units.len()];
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = helpers
                .into_iter()
                .map(|helper| helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            // All must have ended before the first error leaves.
            let all: Vec<_> = std::iter::once(own).chain(others).collect();
            for found in all {
                for (index, distance) in found? {
                    results.get_mut(index).into_iter().for_each(|result| *result = distance);
                }
            }
            Ok(results)
        })
    }
}

/// A thread's memory: below 4 MiB.
struct Worker<'a> {
    sides: (&'a Content<'a>, &'a Content<'a>),
    windows: (Window<'a>, Window<'a>),
    old: Vec<u8>,
    new: Vec<u8>,
    comparer: Comparer,
}

impl<'a> Worker<'a> {
    fn new(sides: (&'a Content<'a>, &'a Content<'a>)) -> Self {
        Self {
            sides,
            windows: (sides.0.window(), sides.1.window()),
            old: Vec::new(),
            new: Vec::new(),
            comparer: Comparer::default(),
        }
    }

    /// Compares a unit; `None` when it is the same and need not be read to know that.
    fn look(&mut self, pair: &Pair, unit: &Unit) -> Result<Option<Distance>, Error> {
        let (old_width, new_width) = pair.widths();
        let (old_at, new_at) = (
            pair.old_at + unit.start * old_width,
            pair.new_at + unit.start * new_width,
        );
        let len = (unit.end - unit.start) * old_width;
        let parts = match pair.alike {
            true => tell(self.sides.0, old_at, self.sides.1, new_at, len)?,
            false => Vec::new(),
        };
        if pair.alike && parts.iter().all(|(_, told)| *told == Told::Same) {
            return Ok(None);
        }
        self.read(pair, unit, &parts).map(Some)
    }

    /// Measures a unit that is the same on both sides.
    fn read_same(&mut self, pair: &Pair, unit: &Unit) -> Result<Option<Distance>, Error> {
        let len = (unit.end - unit.start) * pair.widths().0;
        self.read(pair, unit, &[(0..len, Told::Same)]).map(Some)
    }

    /// Compares a unit of which `parts` (of its bytes, when both sides are alike) tell what need not be read twice.
    fn read(&mut self, pair: &Pair, unit: &Unit, parts: &[(Range<u64>, Told)]) -> Result<Distance, Error> {
        let (old_width, new_width) = pair.widths();
        let mut distance = Distance::default();
        let mut at = unit.start;
        while at < unit.end {
            let count = STEP.min(unit.end - at);
            // A step is at most 64 Ki elements of 8 bytes.
            self.old.resize((count * old_width) as usize, 0);
            self.new.resize((count * new_width) as usize, 0);
            let (old_at, new_at) = (pair.old_at + at * old_width, pair.new_at + at * new_width);
            let step = (at - unit.start) * old_width..(at - unit.start + count) * old_width;
            if parts.is_empty() {
                self.windows.0.read(&mut self.old, old_at)?;
                self.windows.1.read(&mut self.new, new_at)?;
            }
            for (part, told) in parts {
                let both = part.start.max(step.start)..part.end.min(step.end);
                if !both.is_empty() {
                    let within = (both.start - step.start) as usize..(both.end - step.start) as usize;
                    self.fill(within, old_at, new_at, *told == Told::Same)?;
                }
            }
            distance.add(&match (pair.old, pair.new) {
                (Some(old), Some(new)) => self.comparer.compare((old, &self.old), (new, &self.new)),
                _ => compare_bytes(&self.old, &self.new),
            });
            at += count;
        }
        Ok(distance)
    }

    /// Reads a part of a step: both sides, or when they are the same the one that is read faster.
    fn fill(&mut self, part: Range<usize>, old_at: u64, new_at: u64, same: bool) -> Result<(), Error> {
        let from = part.start as u64;
        let (Some(old), Some(new)) = (self.old.get_mut(part.clone()), self.new.get_mut(part)) else {
            return Ok(());
        };
        if same && self.sides.1.is_on_disk() {
            self.windows.1.read(new, new_at + from)?;
            old.copy_from_slice(new);
        } else if same {
            self.windows.0.read(old, old_at + from)?;
            new.copy_from_slice(old);
        } else {
            self.windows.0.read(old, old_at + from)?;
            self.windows.1.read(new, new_at + from)?;
        }
        Ok(())
    }
}
