//! Two versions of a tensor made one by arithmetic. Which tensors are combined, and where their bytes lie, is not here.
//!
//! Elements of f16, bf16 and f32 are computed in f32, those of f64 in f64, and rounded once, to nearest even, to the tensor's
//! own dtype. Where both versions hold the same bits these are kept as they are, whatever they stand for. Anywhere else a NaN on
//! a side gives a NaN, and infinities follow IEEE 754.

use std::fmt;
use std::str::FromStr;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Plain;
use super::values::Numbers;
use super::vectors::vectorised;

/// Elements that are computed at once.
const BLOCK: usize = 4096;

/// The share of a task vector that `ties` keeps, the value of its authors.
const DENSITY: f64 = 0.2;

/// How two versions of a tensor become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Recipe {
    /// Half of each.
    Average,
    /// So much of ours and so much of theirs, as they are: weights need not add up to one.
    Weighted(f64, f64),
    /// What both added to their common base, scaled, on top of it (Ilharco et al., "Editing models with task
    /// arithmetic", 2023).
    TaskArithmetic(f64),
    /// Half way on the great circle between the two, each taken as one long vector; almost parallel ones are averaged
    /// (Shoemake, "Animating rotation with quaternion curves", 1985).
    Slerp,
    /// Of what each side added the largest fifth, and of that what agrees with the sign that weighs more (Yadav et al.,
    /// "TIES-merging", 2023).
    Ties,
}

impl Recipe {
    /// True when the version that both came from is needed.
    pub const fn needs_base(self) -> bool {
        matches!(self, Recipe::TaskArithmetic(_) | Recipe::Ties)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipe::Average => out.write_str("average"),
            Recipe::Weighted(ours, theirs) => write!(out, "weighted={ours},{theirs}"),
            Recipe::TaskArithmetic(scale) => write!(out, "task-arithmetic={scale}"),
            Recipe::Slerp => out.write_str("slerp"),
            Recipe::Ties => out.write_str("ties"),
        }
    }
}

/// A recipe that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to combine tensors: average, weighted=A,B, task-arithmetic[=SCALE], slerp, ties")]
pub struct UnknownRecipe(String);

impl FromStr for Recipe {
    type Err = UnknownRecipe;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownRecipe(text.to_owned());
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(unknown()),
        };
        match text.split_once('=') {
            None => match text {
                "average" => Ok(Recipe::Average),
                "task-arithmetic" => Ok(Recipe::TaskArithmetic(1.0)),
                "slerp" => Ok(Recipe::Slerp),
                "ties" => Ok(Recipe::Ties),
                _ => Err(unknown()),
            },
            Some(("weighted", weights)) => {
                let (ours, theirs) = weights.split_once(',').ok_or_else(unknown)?;
                Ok(Recipe::Weighted(number(ours)?, number(theirs)?))
            }
            Some(("task-arithmetic", scale)) => Ok(Recipe::TaskArithmetic(number(scale)?)),
            Some(_) => Err(unknown()),
        }
    }
}

/// True when tensors of this dtype can be combined.
pub const fn can_combine(dtype: Plain) -> bool {
    matches!(dtype, Plain::F16 | Plain::BF16 | Plain::F32 | Plain::F64)
}

/// The same stretch of all versions of a tensor, in bytes. Without a base, `base` is empty.
#[derive(Debug, Clone, Copy)]
pub struct Versions<'a> {
    /// What both came from.
    pub base: &'a [u8],
    /// One version.
    pub ours: &'a [u8],
    /// The other one.
    pub theirs: &'a [u8],
}

/// A recipe for one tensor: what the whole of it had to tell is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prepared {
    /// A sum with these weights.
    Linear(f64, f64),
    /// Scaled differences on top of the base.
    Task(f64),
    /// Differences of this size and above on top of the base, of ours and of theirs.
    Elected(f32, f32),
}

/// Reads all of a tensor, a stretch after the other, for what a recipe has to know of the whole.
pub enum Survey {
    /// Nothing: the recipe is ready.
    Ready(Prepared),
    /// Sums for the angle between the two.
    Angle {
        /// Sum of products.
        dot: f64,
        /// Sum of squares of ours.
        ours: f64,
        /// Sum of squares of theirs.
        theirs: f64,
    },
    /// The sizes of differences, to find from which one on they are kept: first by their upper bits.
    Sizes(Box<[Sizes; 2]>),
}

/// A search for the size that a given number of values reach, in two readings: upper and lower half of its bits.
pub struct Sizes {
    counts: Vec<u64>,
    total: u64,
    upper: Option<u32>,
    wanted: u64,
}

impl Survey {
    /// Begins. A tensor is read once more whenever [`Survey::next`] gives another survey.
    pub fn new(recipe: Recipe) -> Self {
        match recipe {
            Recipe::Average => Survey::Ready(Prepared::Linear(0.5, 0.5)),
            Recipe::Weighted(ours, theirs) => Survey::Ready(Prepared::Linear(ours, theirs)),
            Recipe::TaskArithmetic(scale) => Survey::Ready(Prepared::Task(scale)),
            Recipe::Slerp => Survey::Angle {
                dot: 0.0,
                ours: 0.0,
                theirs: 0.0,
            },
            Recipe::Ties => Survey::Sizes(Box::new([Sizes::new(), Sizes::new()])),
        }
    }

    /// Takes in a stretch of the tensor.
    pub fn read(&mut self, dtype: Plain, versions: Versions<'_>) {
        match self {
            Survey::Ready(_) => {}
            Survey::Angle { dot, ours, theirs } => {
                let (one, other) = (
                    widened::<f64>(dtype, versions.ours),
                    widened::<f64>(dtype, versions.theirs),
                );
                *dot += one.iter().zip(&other).map(|(one, other)| one * other).sum::<f64>();
                *ours += one.iter().map(|value| value * value).sum::<f64>();
                *theirs += other.iter().map(|value| value * value).sum::<f64>();
            }
            Survey::Sizes(sizes) => {
                for (sizes, side) in sizes.iter_mut().zip([versions.ours, versions.theirs]) {
                    match dtype {
                        Plain::F64 => sizes.read(&differences::<f64>(dtype, versions.base, side)),
                        _ => sizes.read(&differences::<f32>(dtype, versions.base, side)),
                    }
                }
            }
        }
    }

    /// What the tensor told: the prepared recipe, or a survey for another reading.
    ///
    /// # Errors
    /// The survey that is still to be made.
    pub fn next(self) -> Result<Prepared, Self> {
        match self {
            Survey::Ready(prepared) => Ok(prepared),
            Survey::Angle { dot, ours, theirs } => Ok(half_way(dot, ours, theirs)),
            Survey::Sizes(sizes) => {
                let [ours, theirs] = *sizes;
                match (ours.found(), theirs.found()) {
                    (Some(ours), Some(theirs)) => Ok(Prepared::Elected(ours, theirs)),
                    _ => Err(Survey::Sizes(Box::new([ours.closer(), theirs.closer()]))),
                }
            }
        }
    }
}

/// Weights of both vectors half way between them.
fn half_way(dot: f64, ours: f64, theirs: f64) -> Prepared {
    let cosine = dot / (ours.sqrt() * theirs.sqrt());
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    // Parallel, opposite, zero or not finite: there is no great circle, or none that numbers can tell.
    if sine.is_nan() || sine <= 1e-6 {
        return Prepared::Linear(0.5, 0.5);
    }
    let weight = (angle / 2.0).sin() / sine;
    Prepared::Linear(weight, weight)
}

impl Sizes {
    fn new() -> Self {
        Self {
            counts: vec![0; 1 << 16],
            total: 0,
            upper: None,
            wanted: 0,
        }
    }

    fn read(&mut self, sizes: &[f32]) {
        // Positive floats are ordered as their bits are. What is no number has no size.
        for bits in sizes.iter().filter(|size| !size.is_nan()).map(|size| size.to_bits()) {
            let index = match self.upper {
                None => {
                    self.total += 1;
                    bits >> 16
                }
                Some(upper) if bits >> 16 == upper => bits & 0xffff,
                Some(_) => continue,
            };
            if let Some(count) = self.counts.get_mut(index as usize) {
                *count += 1;
            }
        }
    }

    /// The upper or lower half of the size, and how many values lie above it.
    fn half(&self, wanted: u64) -> (u32, u64) {
        let mut above = 0;
        for (index, count) in self.counts.iter().enumerate().rev() {
            if above + count >= wanted.max(1) {
                return (index as u32, above);
            }
            above += count;
        }
        (0, above)
    }

    /// The size, after two readings.
    fn found(&self) -> Option<f32> {
        let (lower, _) = self.half(self.wanted);
        Some(f32::from_bits(self.upper? << 16 | lower))
    }

    /// What the second reading looks for.
    fn closer(self) -> Self {
        let wanted = (self.total as f64 * DENSITY).ceil() as u64;
        let (upper, above) = self.half(wanted);
        Self {
            counts: vec![0; 1 << 16],
            total: self.total,
            upper: Some(upper),
            wanted: wanted.saturating_sub(above),
        }
    }
}

impl Prepared {
    /// Combines a stretch of elements of `dtype`, one of those that [`can_combine`] knows, and appends the bytes to `out`.
    pub fn combine(self, dtype: Plain, versions: Versions<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + versions.ours.len().min(versions.theirs.len()), 0);
        let made = out.get_mut(start..).unwrap_or_default();
        match dtype {
            Plain::F64 => self.compute::<f64>(dtype, versions, made),
            _ => self.compute::<f32>(dtype, versions, made),
        }
        match dtype.width() {
            2 => keep_equal::<2>(versions, made),
            4 => keep_equal::<4>(versions, made),
            _ => keep_equal::<8>(versions, made),
        }
    }

    fn compute<T: Real>(self, dtype: Plain, versions: Versions<'_>, out: &mut [u8]) {
        let [mut base, mut ours, mut theirs] = [(); 3].map(|()| vec![T::of(0.0); BLOCK]);
        let bytes = BLOCK * dtype.width() as usize;
        for (index, made) in out.chunks_mut(bytes).enumerate() {
            let block = |version: &[u8], room: &mut [T]| {
                let all = version.get(index * bytes..).unwrap_or_default();
                T::widen(dtype, all.get(..made.len()).unwrap_or(all), room);
            };
            block(versions.base, &mut base);
            block(versions.ours, &mut ours);
            block(versions.theirs, &mut theirs);
            self.sum(&base, &mut ours, &theirs);
            T::narrow(dtype, &ours, made);
        }
    }

    /// What comes of a block, in the place of ours.
    fn sum<T: Real>(self, base: &[T], ours: &mut [T], theirs: &[T]) {
        let pairs = ours.iter_mut().zip(theirs);
        let triples = pairs.zip(base);
        match self {
            Prepared::Linear(one, other) => {
                let (one, other) = (T::of(one), T::of(other));
                vectorised(
                    #[inline(always)]
                    || {
                        for ((ours, theirs), _) in triples {
                            *ours = *ours * one + *theirs * other;
                        }
                    },
                );
            }
            Prepared::Task(scale) => {
                let scale = T::of(scale);
                vectorised(
                    #[inline(always)]
                    || {
                        for ((ours, theirs), base) in triples {
                            *ours = *base + scale * ((*ours - *base) + (*theirs - *base));
                        }
                    },
                );
            }
            Prepared::Elected(ours_from, theirs_from) => {
                for ((ours, theirs), base) in triples {
                    let (one, other) = (trimmed(*ours - *base, ours_from), trimmed(*theirs - *base, theirs_from));
                    *ours = elected(*base, one, other);
                }
            }
        }
    }
}

/// Where both sides hold the same bits these stay.
fn keep_equal<const WIDTH: usize>(versions: Versions<'_>, made: &mut [u8]) {
    let sides = versions
        .ours
        .as_chunks::<WIDTH>()
        .0
        .iter()
        .zip(versions.theirs.as_chunks::<WIDTH>().0);
    vectorised(
        #[inline(always)]
        || {
            for (made, (ours, theirs)) in made.as_chunks_mut::<WIDTH>().0.iter_mut().zip(sides) {
                *made = if ours == theirs { *ours } else { *made };
            }
        },
    );
}

/// How large a difference is, as it is compared with others.
fn size<T: Real>(difference: T) -> f32 {
    difference.to_f32().abs()
}

/// How much a side differs from the base, element by element.
fn differences<T: Real>(dtype: Plain, base: &[u8], side: &[u8]) -> Vec<f32> {
    let (base, side) = (widened::<T>(dtype, base), widened::<T>(dtype, side));
    side.iter().zip(base).map(|(side, base)| size(*side - base)).collect()
}

/// A difference if it is large enough, or no number.
fn trimmed<T: Real>(difference: T, from: f32) -> T {
    match size(difference) < from {
        true => T::of(0.0),
        false => difference,
    }
}

/// The mean of those differences that have the sign of their sum, on top of the base.
fn elected<T: Real>(base: T, ours: T, theirs: T) -> T {
    let (zero, sum) = (T::of(0.0), ours + theirs);
    let agree = |difference: T| difference * sum > zero;
    match (agree(ours), agree(theirs)) {
        (true, true) => base + sum * T::of(0.5),
        (true, false) => base + ours,
        (false, true) => base + theirs,
        // Opposite and equal, both small, or no numbers.
        (false, false) => base + sum,
    }
}

/// What is computed in.
trait Real:
    Copy + PartialOrd + std::ops::Add<Output = Self> + std::ops::Sub<Output = Self> + std::ops::Mul<Output = Self>
{
    fn of(value: f64) -> Self;
    fn to_f32(self) -> f32;
    /// Reads a block of elements of a dtype that [`can_combine`] knows into the start of `out`.
    fn widen(dtype: Plain, bytes: &[u8], out: &mut [Self]);
    /// Rounds as many numbers as `out` has room for.
    fn narrow(dtype: Plain, values: &[Self], out: &mut [u8]);
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    fn widen(dtype: Plain, bytes: &[u8], out: &mut [Self]) {
        Numbers::of(dtype).narrow(bytes, out);
    }

    fn narrow(dtype: Plain, values: &[Self], out: &mut [u8]) {
        match dtype {
            Plain::F16 => {
                let mut halves = [f16::ZERO; BLOCK];
                let count = (out.len() / 2).min(values.len()).min(BLOCK);
                if let (Some(halves), Some(values)) = (halves.get_mut(..count), values.get(..count)) {
                    halves.convert_from_f32_slice(values);
                }
                each(&halves, out, |half| half.to_le_bytes());
            }
            Plain::BF16 => each(values, out, |value| rounded(*value).to_le_bytes()),
            _ => each(values, out, |value| value.to_le_bytes()),
        }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }

    fn widen(dtype: Plain, bytes: &[u8], out: &mut [Self]) {
        Numbers::of(dtype).wide(bytes, &mut [0.0; BLOCK], out);
    }

    fn narrow(_: Plain, values: &[Self], out: &mut [u8]) {
        each(values, out, |value| value.to_le_bytes());
    }
}

fn each<T, const WIDTH: usize>(values: &[T], out: &mut [u8], write: impl Fn(&T) -> [u8; WIDTH]) {
    vectorised(
        #[inline(always)]
        || {
            for (place, value) in out.as_chunks_mut::<WIDTH>().0.iter_mut().zip(values) {
                *place = write(value);
            }
        },
    );
}

/// The bits of the nearest bf16, the even one of two. A NaN stays one, and without a branch.
#[inline(always)]
fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    if value.is_nan() { quiet as u16 } else { nearest as u16 }
}

/// The elements as numbers, block by block; nothing for another dtype than [`can_combine`] knows.
fn widened<T: Real>(dtype: Plain, bytes: &[u8]) -> Vec<T> {
    if !can_combine(dtype) {
        return Vec::new();
    }
    let width = dtype.width() as usize;
    let mut numbers = vec![T::of(0.0); bytes.len() / width];
    for (block, out) in bytes.chunks(BLOCK * width).zip(numbers.chunks_mut(BLOCK)) {
        T::widen(dtype, block, out);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn combined(recipe: Recipe, base: &[f32], ours: &[f32], theirs: &[f32]) -> Vec<f32> {
        let (base, ours, theirs) = (f32s(base), f32s(ours), f32s(theirs));
        let versions = Versions {
            base: &base,
            ours: &ours,
            theirs: &theirs,
        };
        let mut survey = Survey::new(recipe);
        let prepared = loop {
            survey.read(Plain::F32, versions);
            match survey.next() {
                Ok(prepared) => break prepared,
                Err(more) => survey = more,
            }
        };
        let mut out = Vec::new();
        prepared.combine(Plain::F32, versions, &mut out);
        widened(Plain::F32, &out)
    }

    #[test]
    fn recipes_are_read_as_they_are_written() {
        for text in ["average", "weighted=0.25,0.75", "task-arithmetic=0.5", "slerp", "ties"] {
            assert_eq!(text.parse::<Recipe>().unwrap().to_string(), text);
        }
        assert_eq!("task-arithmetic".parse(), Ok(Recipe::TaskArithmetic(1.0)));
        for bad in [
            "",
            "mean",
            "weighted",
            "weighted=1",
            "weighted=a,b",
            "task-arithmetic=inf",
            "average=1",
            "ties=",
        ] {
            assert!(bad.parse::<Recipe>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sums_are_what_they_say() {
        let (base, ours, theirs) = ([1.0, 2.0, 4.0], [1.5, 2.0, 5.0], [1.0, 3.0, 2.0]);
        assert_eq!(combined(Recipe::Average, &base, &ours, &theirs), [1.25, 2.5, 3.5]);
        assert_eq!(
            combined(Recipe::Weighted(2.0, 1.0), &base, &ours, &theirs),
            [4.0, 7.0, 12.0]
        );
        assert_eq!(
            combined(Recipe::TaskArithmetic(1.0), &base, &ours, &theirs),
            [1.5, 3.0, 3.0]
        );
        assert_eq!(
            combined(Recipe::TaskArithmetic(0.5), &base, &ours, &theirs),
            [1.25, 2.5, 3.5]
        );
    }

    #[test]
    fn half_way_on_the_circle_keeps_the_length() {
        let half = combined(Recipe::Slerp, &[], &[1.0, 0.0], &[0.0, 1.0]);
        assert!(
            half.iter().all(|value| (value - 0.5f32.sqrt()).abs() < 1e-6),
            "{half:?}"
        );
        assert_eq!(combined(Recipe::Slerp, &[], &[1.0, 2.0], &[2.0, 4.0]), [1.5, 3.0]);
        assert_eq!(combined(Recipe::Slerp, &[], &[0.0, 0.0], &[2.0, 4.0]), [1.0, 2.0]);
    }

    #[test]
    fn the_largest_fifth_is_kept_and_signs_elect() {
        let mut ours = vec![0.01f32; 10];
        let mut theirs = vec![-0.01f32; 10];
        (ours[0], ours[1]) = (1.0, 3.0);
        (theirs[1], theirs[2]) = (-2.0, 4.0);
        let base = vec![0.0f32; 10];
        let mut expected = vec![0.0f32; 10];
        (expected[0], expected[1], expected[2]) = (1.0, 3.0, 4.0);
        assert_eq!(combined(Recipe::Ties, &base, &ours, &theirs), expected);
        (ours[1], theirs[1]) = (3.0, 2.0);
        expected[1] = 2.5;
        assert_eq!(combined(Recipe::Ties, &base, &ours, &theirs), expected);
        // What did not change at all stays.
        assert_eq!(combined(Recipe::Ties, &base, &base, &base), base);
        assert_eq!(combined(Recipe::Ties, &[], &[], &[]), [0f32; 0]);
    }

    #[test]
    fn equal_bits_stay_and_other_nans_spread() {
        let odd = f32::from_bits(0x7fc0_1234);
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        let ours = [odd, nan, infinity, infinity, -0.0];
        let theirs = [odd, 1.0, infinity, f32::NEG_INFINITY, -0.0];
        for recipe in [
            Recipe::Average,
            Recipe::TaskArithmetic(1.0),
            Recipe::Slerp,
            Recipe::Ties,
        ] {
            let made = combined(recipe, &[0.0; 5], &ours, &theirs);
            assert_eq!(made[0].to_bits(), odd.to_bits(), "{recipe}");
            assert!(made[1].is_nan() && made[3].is_nan(), "{recipe}: {made:?}");
            assert_eq!(made[2], infinity, "{recipe}");
            assert_eq!(made[4].to_bits(), (-0.0f32).to_bits(), "{recipe}");
        }
    }

    #[test]
    fn bf16_is_rounded_as_everybody_does() {
        let odd = [
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-45,
        ];
        let all = (0..1 << 20)
            .map(|n: u32| f32::from_bits(n.wrapping_mul(0x9e37_79b9)))
            .chain(odd);
        for value in all {
            assert_eq!(rounded(value), bf16::from_f32(value).to_bits(), "{value:e}");
        }
    }

    #[test]
    fn halves_are_rounded_once_to_even() {
        // Between 1 and its upper neighbour of bf16, 1 + 2^-7, the middle goes to the even one.
        let (one, next) = (bf16::from_f32(1.0), bf16::from_f32(1.0 + 1.0 / 128.0));
        let mut out = Vec::new();
        let (ours, theirs) = (one.to_le_bytes(), next.to_le_bytes());
        let versions = Versions {
            base: &[],
            ours: &ours,
            theirs: &theirs,
        };
        Prepared::Linear(0.5, 0.5).combine(Plain::BF16, versions, &mut out);
        assert_eq!(out, one.to_le_bytes());
    }
}
