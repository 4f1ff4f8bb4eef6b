//! An axis with ticks at round numbers.

use crate::ui::format;

/// Beyond this numbers are drawn at the edge, so that differences of them are finite.
const LARGEST: f64 = 1e300;

/// From where to where an axis goes, and where its ticks are.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// An axis that shows all of some finite values, with about `ticks` ticks; `None` when there are no values.
    pub fn over(values: impl Iterator<Item = f64>, ticks: usize) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let value = value.clamp(-LARGEST, LARGEST);
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        let smallest = (low.abs().max(high.abs()) * 1e-9).max(1e-290);
        if high - low < smallest {
            // A line that does not move lies in the middle.
            let room = (low.abs() * 0.1).max(smallest * 4.0);
            let room = if low == 0.0 { 1.0 } else { room };
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / ticks.max(1) as f64);
        Some(Self { low, high, step })
    }

    /// Where a value lies, from 0 at the low end to 1 at the high one.
    pub fn share(&self, value: f64) -> f64 {
        ((value.clamp(-LARGEST, LARGEST) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The ticks and how they are written.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step).ceil();
        let count = ((self.high / self.step).floor() - first).clamp(0.0, 100.0) as usize;
        let at = |index: usize| (first + index as f64) * self.step;
        // 0.1 + 0.2 is written as 0.3, and zero without a sign.
        let written = |value: f64| match value.abs() < self.step * 1e-6 {
            true => "0".to_owned(),
            false => format::number(value),
        };
        (0..=count).map(|index| (at(index), written(at(index)))).collect()
    }
}

/// The next larger one of 1, 2 and 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(low: f64, high: f64) -> Vec<String> {
        let axis = Axis::over([low, high].into_iter(), 5).unwrap();
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks(-0.3, 0.25), ["-0.2", "0", "0.2"]);
        assert_eq!(ticks(3.0, 998.0), ["200", "400", "600", "800"]);
        assert_eq!(ticks(1e-7, 3e-7), ["1e-7", "1.5e-7", "2e-7", "2.5e-7", "3e-7"]);
    }

    #[test]
    fn odd_ranges_have_an_axis_too() {
        for (low, high) in [
            (5.0, 5.0),
            (0.0, 0.0),
            (-1e-300, 1e-300),
            (f64::MIN, f64::MAX),
            (1e15, 1e15 + 1.0),
        ] {
            let axis = Axis::over([low, high].into_iter(), 5).unwrap();
            let ticks = axis.ticks();
            assert!(!ticks.is_empty() && ticks.len() < 30, "{low} to {high}: {ticks:?}");
            assert!(axis.share(low).is_finite() && axis.share(high) >= axis.share(low));
        }
        assert_eq!(Axis::over(std::iter::empty(), 5), None);
    }
}
