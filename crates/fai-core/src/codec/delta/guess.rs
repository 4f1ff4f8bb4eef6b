//! Looking at a few elements of a chunk and its base to decide how, and whether, one is encoded against the other.
//!
//! Guesses need not be the same on every machine: what a reader needs of them stands in the payload.

use super::super::sample;
use super::super::transpose::split;
use super::blocks::{self, BLOCK};
use super::cast::{UNSCALED, expected};
use super::integer;
use super::order::Key;
use super::word::{Word, distances};
use crate::tensor::Element;

/// Elements looked at, in runs of `RUN` neighbours, spread evenly.
const SAMPLE: usize = 2048;
const RUN: usize = BLOCK;

/// What to expect of a delta.
pub(super) struct Guess {
    /// The bits of the scale for the base.
    pub scale: u32,
    /// Whether an order gains anything.
    pub sorted: bool,
    /// Which blocks to tell apart.
    pub blocks: Blocks,
    /// Bits an element as a delta.
    pub bits: f64,
    /// Bits an element by itself.
    pub alone: f64,
}

/// Which blocks to tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    /// None.
    Alike,
    /// Those in which nothing moved.
    Still,
    /// Those that moved further and less far.
    Classes,
}

/// The share of blocks in which nothing may have moved for them to be told apart.
const STILL: f64 = 0.15;

/// Guesses from elements of `raw` and the same ones of `base`.
pub(super) fn guess(raw: &[u8], element: Element, base: &[u8], base_element: Element) -> Guess {
    let (few_raw, few_base) = (few(raw, element.width()), few(base, base_element.width()));
    let (mut scale, mut measured) = (UNSCALED, measure(&few_raw, element, &few_base, base_element, UNSCALED));
    let fits = matches!((element, base_element), (Element::F32, Element::F32));
    if let Some(candidate) = ratio(&few_raw, &few_base).filter(|candidate| fits && *candidate != UNSCALED) {
        let scaled = measure(&few_raw, element, &few_base, base_element, candidate);
        if scaled.best() < 0.99 * measured.best() {
            (scale, measured) = (candidate, scaled);
        }
    }
    let Measured {
        plain,
        sorted,
        classed,
        still,
    } = measured;
    // Both cost time for each element, which shows most where elements are short.
    let (sorted_share, classed_share) = match element.width() {
        1 => (0.92, 0.0),
        2 => (0.98, 0.80),
        _ => (0.99, 0.98),
    };
    let classes = classed < classed_share * plain.min(sorted);
    Guess {
        scale,
        sorted: classes || sorted < sorted_share * plain,
        blocks: match classes {
            true => Blocks::Classes,
            false if still > STILL => Blocks::Still,
            false => Blocks::Alike,
        },
        bits: measured.best(),
        alone: planes(&few_raw, element),
    }
}

/// Bits an element in different arrangements, and the share of blocks in which nothing moved.
struct Measured {
    plain: f64,
    sorted: f64,
    classed: f64,
    still: f64,
}

impl Measured {
    fn best(&self) -> f64 {
        self.plain.min(self.sorted).min(self.classed)
    }
}

fn measure(raw: &[u8], element: Element, base: &[u8], base_element: Element, scale: u32) -> Measured {
    let mut room = Vec::new();
    let expected = expected(base, base_element, element, scale, &mut room);
    let mut away = vec![0; raw.len()];
    distances(raw, expected, element, &mut away);
    let (width, key) = (element.width(), Key::of(element));
    let bits = |away: &[u8], expected: &[u8]| match width {
        1 => bits::<u8>(away, expected, key),
        2 => bits::<u16>(away, expected, key),
        4 => bits::<u32>(away, expected, key),
        _ => bits::<u64>(away, expected, key),
    };
    let (plain, sorted) = bits(&away, expected);

    let (classes, count) = (blocks::classes(&away, expected, element, key), raw.len() / width);
    let lengths = blocks::lengths(&classes, count);
    let (mut moved, mut moved_expected, mut classed) = (Vec::new(), Vec::new(), 0.0);
    blocks::gather(&away, &classes, &lengths, width, &mut moved);
    blocks::gather(expected, &classes, &lengths, width, &mut moved_expected);
    let (mut away_left, mut expected_left) = (&*moved, &*moved_expected);
    for len in lengths.into_iter().skip(1).filter(|len| *len > 0) {
        let (away, later) = away_left.split_at_checked(len * width).unwrap_or_default();
        let (expected, later_expected) = expected_left.split_at_checked(len * width).unwrap_or_default();
        classed += bits(away, expected).1 * len as f64;
        (away_left, expected_left) = (later, later_expected);
    }
    // What it costs to say the class of every block.
    classed += sample::entropy(&classes) * classes.len() as f64;
    let count = count.max(1) as f64;
    Measured {
        // Not all low bits are noise: those of a number that was once shorter are zero.
        plain: plain.min(planes(&away, integer(element))),
        sorted,
        classed: if key.is_some() { classed / count } else { f64::INFINITY },
        still: lengths.first().copied().unwrap_or_default() as f64 / count,
    }
}

/// Runs of elements, spread evenly.
fn few(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = bytes.len() / width;
    let step = (count / (SAMPLE / RUN)).max(RUN);
    let runs = bytes.chunks(step * width).take(SAMPLE / RUN);
    runs.flat_map(|run| run.get(..RUN * width).unwrap_or(run))
        .copied()
        .collect()
}

/// The median of what elements grew by: exact where all of them decayed alike, whatever a few did.
fn ratio(raw: &[u8], base: &[u8]) -> Option<u32> {
    let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let pairs = u32::all(raw).iter().zip(u32::all(base));
    let mut ratios: Vec<f32> = pairs
        .map(|(raw, base)| number(raw) / number(base))
        .filter(|ratio| ratio.is_normal())
        .collect();
    let middle = ratios.len() / 2;
    if ratios.is_empty() {
        return None;
    }
    let (_, median, _) = ratios.select_nth_unstable_by(middle, f32::total_cmp);
    Some(median.to_bits())
}

/// Bits an element in the order of the chunk, and in that of the keys.
fn bits<W: Word>(distances: &[u8], base: &[u8], key: Option<Key>) -> (f64, f64) {
    /// Distances of 0 to 64 bits.
    const LENGTHS: usize = 65;
    let mut counts = [[0u16; LENGTHS]; 256];
    let (mut low, mut total) = (0u32, 0u32);
    for (distance, base) in W::all(distances).iter().zip(W::all(base)) {
        let key = key.map_or(0, |key| key.get(W::from_bytes(*base)));
        let length = W::from_bytes(*distance).bits();
        let count = counts.get_mut(key).and_then(|counts| counts.get_mut(length as usize));
        if let Some(count) = count {
            *count += 1;
        }
        // What stands below the highest bit of a distance is taken for noise.
        low += length.saturating_sub(1);
        total += 1;
    }
    let mut sums = [0u16; LENGTHS];
    let mut sorted = 0.0;
    for counts in counts.iter().filter(|counts| counts.iter().any(|count| *count > 0)) {
        sorted += information(counts);
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let (low, total) = (f64::from(low), f64::from(total.max(1)));
    ((low + information(&sums)) / total, (low + sorted) / total)
}

/// What the values with these counts say together, in bits.
fn information(counts: &[u16]) -> f64 {
    let counts = || counts.iter().filter(|count| **count > 0).map(|&count| f64::from(count));
    let total: f64 = counts().sum();
    // Few values look more regular than many of their kind would (Miller and Madow).
    let bias = (counts().count().saturating_sub(1)) as f64 * 0.72;
    counts().map(|n| n * (total / n).log2()).sum::<f64>() + bias
}

/// Bits an element as byte planes.
fn planes(raw: &[u8], element: Element) -> f64 {
    let count = raw.len() / element.width();
    let mut room = vec![0; raw.len()];
    let mut planes: [&mut [u8]; 8] = Default::default();
    for (plane, room) in planes.iter_mut().zip(room.chunks_mut(count.max(1))) {
        *plane = room;
    }
    split(raw, &mut planes, element);
    planes
        .iter()
        .take(element.width())
        .map(|plane| sample::entropy(plane))
        .sum()
}
