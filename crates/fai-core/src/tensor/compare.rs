//! How far two tensors are apart, from their bytes. Which tensors are compared, and where their bytes come from, is not
//! known here.
//!
//! Elements are taken in blocks of [`BLOCK`] from the tensor's first one on. Inside a block four running sums of `f64`
//! are kept for each quantity, added up at its end; over blocks sums are compensated (Neumaier), because the mean
//! change is small beside what it is made of. The order of all additions depends on places in the tensor alone: who
//! computes which blocks, and in which order they are read, does not change a bit of the result.

use super::values::Numbers;
use super::vectors::vectorised;

/// Elements in a block. Runs of elements that are compared apart must begin at multiples of it.
pub const BLOCK: usize = 4096;

/// Running sums of a quantity in a block.
const LANES: usize = 4;

/// How far the elements of one tensor are from those of another, or of many from many.
///
/// Pairs in which either is NaN or infinite are counted and stay out of all sums and of the largest change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distance {
    /// Pairs of elements that were compared. Of packed dtypes, whose values are not looked at: bytes.
    pub elements: u64,
    /// Those that are equal. Of one dtype, by their bits: a NaN equals the same NaN, and the two zeros differ. Of two
    /// dtypes, by value: all NaNs are equal, and so are the zeros.
    pub equal: u64,
    /// Those of which both are finite: what the sums are made of.
    pub finite: u64,
    /// What is no finite number in the old tensor.
    pub old: NotFinite,
    /// What is no finite number in the new tensor.
    pub new: NotFinite,
    /// The largest absolute difference.
    pub largest: f64,
    old_square: Sum,
    new_square: Sum,
    square: Sum,
    difference: Sum,
}

/// Elements that are no finite numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotFinite {
    /// NaNs.
    pub nan: u64,
    /// Infinities of both signs.
    pub infinite: u64,
}

impl Distance {
    /// Of tensors whose `elements` are all equal and were not read.
    pub fn none(elements: u64) -> Self {
        Self {
            elements,
            equal: elements,
            ..Self::default()
        }
    }

    /// Adds what was found of later elements, or of other tensors.
    pub fn add(&mut self, later: &Self) {
        self.elements += later.elements;
        self.equal += later.equal;
        self.finite += later.finite;
        for (mine, other) in [(&mut self.old, later.old), (&mut self.new, later.new)] {
            mine.nan += other.nan;
            mine.infinite += other.infinite;
        }
        self.largest = self.largest.max(later.largest);
        self.old_square.add(later.old_square);
        self.new_square.add(later.new_square);
        self.square.add(later.square);
        self.difference.add(later.difference);
    }

    /// True when no element differs.
    pub fn is_none(&self) -> bool {
        self.equal == self.elements
    }

    /// Equal elements of all, 0 to 1; of no elements, 1.
    pub fn equal_share(&self) -> f64 {
        match self.elements {
            0 => 1.0,
            elements => self.equal as f64 / elements as f64,
        }
    }

    /// Length of the difference, in lengths of the old tensor; 0 when all elements are equal. `None` when the old tensor is zero, or
    /// when nothing is finite.
    pub fn relative(&self) -> Option<f64> {
        if self.is_none() {
            return Some(0.0);
        }
        let relative = self.norm()? / self.old_norm()?;
        relative.is_finite().then_some(relative)
    }

    /// Cosine of the angle between the tensors as vectors, -1 to 1. `None` when one of them is zero.
    pub fn cosine(&self) -> Option<f64> {
        let (old, new) = (self.old_norm()?, self.new_norm()?);
        // The product follows from the three squares. A sum of its own would be one more than there are registers for.
        let twice = self.old_square.finite()? + self.new_square.finite()? - self.square.finite()?;
        let cosine = twice / 2.0 / old / new;
        cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
    }

    /// Mean of new less old. `None` when nothing is finite.
    pub fn mean(&self) -> Option<f64> {
        let sum = self.difference.finite()?;
        (self.finite > 0).then(|| sum / self.finite as f64)
    }

    /// Euclidean length of the old tensor. `None` when nothing is finite or was read, or when its square is beyond `f64`.
    pub fn old_norm(&self) -> Option<f64> {
        self.length(self.old_square)
    }

    /// Euclidean length of the new tensor. `None` as of the old one.
    pub fn new_norm(&self) -> Option<f64> {
        self.length(self.new_square)
    }

    /// Euclidean length of the difference. `None` as of the old tensor.
    pub fn norm(&self) -> Option<f64> {
        self.length(self.square)
    }

    fn length(&self, square: Sum) -> Option<f64> {
        let square = square.finite().filter(|_| self.finite > 0)?;
        Some(square.max(0.0).sqrt())
    }

    /// Adds the sums of a block.
    fn add_block(&mut self, block: &Block) {
        self.old_square.push(block.old_square.sum());
        self.new_square.push(block.new_square.sum());
        self.square.push(block.square.sum());
        self.difference.push(block.difference.sum());
        self.largest = self.largest.max(block.largest.most());
    }
}

/// A sum of `f64` that keeps what additions round away.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn push(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += match self.sum.abs() >= value.abs() {
            true => (self.sum - sum) + value,
            false => (value - sum) + self.sum,
        };
        self.sum = sum;
    }

    fn add(&mut self, other: Self) {
        self.push(other.sum);
        self.push(other.lost);
    }

    fn finite(self) -> Option<f64> {
        Some(self.sum + self.lost).filter(|sum| sum.is_finite())
    }
}

/// Compares runs of elements. Holds the memory of one thread: 96 KiB.
pub struct Comparer {
    narrow: (Vec<f32>, Vec<f32>),
    wide: (Vec<f64>, Vec<f64>),
}

impl Default for Comparer {
    fn default() -> Self {
        Self {
            narrow: (vec![0.0; BLOCK], vec![0.0; BLOCK]),
            wide: (vec![0.0; BLOCK], vec![0.0; BLOCK]),
        }
    }
}

impl Comparer {
    /// Compares elements that lie in `old` and `new`, from a multiple of [`BLOCK`] on, as many as both hold.
    pub fn compare(&mut self, (old_type, old): (Numbers, &[u8]), (new_type, new): (Numbers, &[u8])) -> Distance {
        let mut distance = Distance::default();
        let (olds, news) = (
            old.chunks(BLOCK * old_type.width()),
            new.chunks(BLOCK * new_type.width()),
        );
        for (old, new) in olds.zip(news) {
            let count = (old.len() / old_type.width()).min(new.len() / new_type.width());
            distance.elements += count as u64;
            let alike = old_type == new_type;
            let same = alike && old == new;
            if alike {
                distance.equal += if same {
                    count as u64
                } else {
                    equal_bits(old, new, old_type.width())
                };
            }
            if old_type.is_narrow() && new_type.is_narrow() {
                let (olds, news) = &mut self.narrow;
                let (Some(olds), Some(news)) = (olds.get_mut(..count), news.get_mut(..count)) else {
                    continue;
                };
                old_type.narrow(old, olds);
                if !same {
                    new_type.narrow(new, news);
                }
                measure(&mut distance, olds, news, alike, same);
            } else {
                let ((olds, news), scratch) = (&mut self.wide, &mut self.narrow.0);
                let (Some(olds), Some(news)) = (olds.get_mut(..count), news.get_mut(..count)) else {
                    continue;
                };
                old_type.wide(old, scratch, olds);
                if !same {
                    new_type.wide(new, scratch, news);
                }
                measure(&mut distance, olds, news, alike, same);
            }
        }
        distance
    }
}

/// Compares bytes of packed dtypes: only which are equal.
pub fn compare_bytes(old: &[u8], new: &[u8]) -> Distance {
    Distance {
        elements: old.len().min(new.len()) as u64,
        equal: equal_bits(old, new, 1),
        ..Distance::default()
    }
}

/// Adds a block to `distance`. `same` says that the new elements are the old ones, and are not there.
fn measure<T: Number>(distance: &mut Distance, old: &mut [T], new: &mut [T], alike: bool, same: bool) {
    if same {
        let mut block = Block::square(old);
        if !block.is_finite() {
            new.copy_from_slice(old);
            set_aside(distance, old, new);
            block = Block::square(old);
        } else {
            distance.finite += old.len() as u64;
        }
        return distance.add_block(&block);
    }
    if !alike {
        distance.equal += equal_values(old, new);
    }
    let mut block = Block::of(old, new);
    if block.is_finite() {
        distance.finite += old.len() as u64;
    } else {
        // Something is not finite: that is counted and set to zero, and the block is done again. Seldom, so that
        // the common case has no branch.
        set_aside(distance, old, new);
        block = Block::of(old, new);
    }
    distance.add_block(&block);
}

/// Counts pairs that are not finite and sets both of them to zero, which adds nothing to any sum.
fn set_aside<T: Number>(distance: &mut Distance, old: &mut [T], new: &mut [T]) {
    let count = |odd: &mut NotFinite, value: f64| {
        odd.nan += u64::from(value.is_nan());
        odd.infinite += u64::from(value.is_infinite());
    };
    for (old, new) in old.iter_mut().zip(new) {
        let (one, other): (f64, f64) = ((*old).into(), (*new).into());
        if one.is_finite() && other.is_finite() {
            distance.finite += 1;
        } else {
            count(&mut distance.old, one);
            count(&mut distance.new, other);
            (*old, *new) = (T::default(), T::default());
        }
    }
}

/// What the sums are taken of.
trait Number: Copy + Default + Into<f64> + PartialEq {}
impl Number for f32 {}
impl Number for f64 {}

/// The sums of a block.
#[derive(Clone, Copy, Default)]
struct Block {
    old_square: Lanes,
    new_square: Lanes,
    square: Lanes,
    difference: Lanes,
    largest: Lanes,
}

impl Block {
    fn of<T: Number>(old: &[T], new: &[T]) -> Self {
        let ((olds, old_rest), (news, new_rest)) = (old.as_chunks::<LANES>(), new.as_chunks::<LANES>());
        let mut block = vectorised(
            #[inline(always)]
            || {
                let mut block = Self::default();
                for (old, new) in olds.iter().zip(news) {
                    block.push(Lanes::of(old), Lanes::of(new));
                }
                block
            },
        );
        block.push(Lanes::rest(old_rest), Lanes::rest(new_rest));
        block
    }

    #[inline(always)]
    fn push(&mut self, old: Lanes, new: Lanes) {
        let difference = new.with(old, |new, old| new - old);
        self.old_square = self.old_square.plus(old, old);
        self.new_square = self.new_square.plus(new, new);
        self.square = self.square.plus(difference, difference);
        self.difference = self.difference.with(difference, |sum, value| sum + value);
        self.largest = self.largest.with(difference, |most, value| {
            let value = value.abs();
            if value > most { value } else { most }
        });
    }

    /// The sums of a block that is the same on both sides, to the bit as [`Block::of`] gives them.
    fn square<T: Number>(old: &[T]) -> Self {
        let (olds, rest) = old.as_chunks::<LANES>();
        let mut sum = vectorised(
            #[inline(always)]
            || {
                let mut sum = Lanes::default();
                for old in olds {
                    let old = Lanes::of(old);
                    sum = sum.plus(old, old);
                }
                sum
            },
        );
        let rest = Lanes::rest(rest);
        sum = sum.plus(rest, rest);
        Self {
            old_square: sum,
            new_square: sum,
            ..Self::default()
        }
    }

    /// False when an element is not finite; also when squares are beyond `f64`.
    fn is_finite(&self) -> bool {
        self.old_square.sum().is_finite() && self.new_square.sum().is_finite()
    }
}

/// Numbers that are worked on at once.
#[derive(Clone, Copy, Default)]
struct Lanes([f64; LANES]);

impl Lanes {
    #[inline(always)]
    fn of<T: Number>(values: &[T; LANES]) -> Self {
        Self(values.map(Into::into))
    }

    fn rest<T: Number>(values: &[T]) -> Self {
        let mut lanes = Self::default();
        lanes
            .0
            .iter_mut()
            .zip(values)
            .for_each(|(lane, value)| *lane = (*value).into());
        lanes
    }

    #[inline(always)]
    fn with(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let mut lanes = self.0;
        lanes
            .iter_mut()
            .zip(other.0)
            .for_each(|(lane, other)| *lane = combine(*lane, other));
        Self(lanes)
    }

    #[inline(always)]
    fn plus(self, one: Self, other: Self) -> Self {
        self.with(one.with(other, |one, other| one * other), |sum, product| sum + product)
    }

    fn sum(self) -> f64 {
        let [a, b, c, d] = self.0;
        (a + b) + (c + d)
    }

    fn most(self) -> f64 {
        self.0.into_iter().fold(0.0, f64::max)
    }
}

fn equal_values<T: Number>(old: &[T], new: &[T]) -> u64 {
    let equal = |(old, new): &(&T, &T)| {
        let (one, other): (f64, f64) = ((**old).into(), (**new).into());
        one == other || (one.is_nan() && other.is_nan())
    };
    old.iter().zip(new).filter(equal).count() as u64
}

fn equal_bits(old: &[u8], new: &[u8], width: usize) -> u64 {
    match width {
        1 => equal_elements::<1>(old, new),
        2 => equal_elements::<2>(old, new),
        4 => equal_elements::<4>(old, new),
        _ => equal_elements::<8>(old, new),
    }
}

fn equal_elements<const WIDTH: usize>(old: &[u8], new: &[u8]) -> u64 {
    let (olds, news) = (old.as_chunks::<WIDTH>().0, new.as_chunks::<WIDTH>().0);
    // A byte counts up to 255 without a carry, so that sixteen are counted at once.
    vectorised(
        #[inline(always)]
        || {
            let mut equal = 0;
            for (olds, news) in olds.chunks(255).zip(news.chunks(255)) {
                let mut count = 0u8;
                for (old, new) in olds.iter().zip(news) {
                    count = count.wrapping_add(u8::from(old == new));
                }
                equal += u64::from(count);
            }
            equal
        },
    )
}
