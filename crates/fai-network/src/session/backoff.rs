//! How long to wait before a lost peer is tried again: exponential back-off with full jitter, so that many who lost the same
//! peer do not come back all at once.
//!
//! Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: of the variants compared there, full
//! jitter needs the fewest calls and hardly more time.

use std::time::Duration;

/// The longest first wait.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(15);

/// Tries in a row, without anything coming in between, after which a peer is given up: half a minute on average.
pub const TRIES: u32 = 8;

/// The wait before try number `attempt`, counted from 0. `random` is anything from 0 to 1, evenly distributed.
pub fn wait(attempt: u32, random: f64) -> Duration {
    let most = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    most.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_are_spread_from_nothing_on() {
        let most: Vec<u64> = (0..TRIES)
            .map(|attempt| wait(attempt, 1.0).as_millis() as u64)
            .collect();
        assert_eq!(most, [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        assert_eq!(wait(u32::MAX, 1.0), LONGEST);
        assert_eq!(wait(5, 0.0), Duration::ZERO);
        assert_eq!(wait(2, 0.25), Duration::from_millis(500));
        assert_eq!((wait(1, -1.0), wait(1, 7.0)), (Duration::ZERO, Duration::from_secs(1)));
    }
}
