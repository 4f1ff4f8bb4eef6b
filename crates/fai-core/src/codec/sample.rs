//! Looking at a little of the data to decide how to encode all of it.

/// Bytes looked at in one place.
pub(super) const SAMPLE: usize = 8 << 10;

/// `SAMPLE` bytes from the middle, or everything that is shorter.
pub(super) fn middle(bytes: &[u8]) -> &[u8] {
    let start = bytes.len().saturating_sub(SAMPLE) / 2;
    bytes.get(start..bytes.len().min(start + SAMPLE)).unwrap_or(bytes)
}

/// How often each byte occurs in at most `2 * SAMPLE` bytes spread evenly.
pub(super) fn counts(bytes: &[u8]) -> [u32; 256] {
    // Runs of 64 neighbours keep the cache happy; their starts cover the whole plane.
    const RUN: usize = 64;
    let runs = (2 * SAMPLE / RUN).min(bytes.len().div_ceil(RUN)).max(1);
    let step = (bytes.len() / runs).max(RUN);
    // Neighbours are often equal: with one table, each would wait for the count of the one before to be stored.
    let mut tables = [[0u32; 256]; 4];
    for run in bytes.chunks(step) {
        let run = run.get(..RUN).unwrap_or(run);
        let (quads, rest) = run.as_chunks::<4>();
        let mut count = |table: usize, byte: u8| {
            if let Some(count) = tables
                .get_mut(table)
                .and_then(|counts| counts.get_mut(usize::from(byte)))
            {
                *count += 1;
            }
        };
        for &[a, b, c, d] in quads {
            count(0, a);
            count(1, b);
            count(2, c);
            count(3, d);
        }
        rest.iter().for_each(|&byte| count(0, byte));
    }
    let [mut sums, b, c, d] = tables;
    for (((a, b), c), d) in sums.iter_mut().zip(b).zip(c).zip(d) {
        *a += b + c + d;
    }
    sums
}

/// Order-0 entropy in bits a byte, 0 to 8, over at most `2 * SAMPLE` bytes spread evenly: what a Huffman coder
/// can reach, before its tables.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let counts = counts(bytes);
    let total = f64::from(counts.iter().sum::<u32>().max(1));
    let counts = counts.iter().map(|&n| f64::from(n));
    let bits: f64 = counts.filter(|&n| n > 0.0).map(|n| n * (total / n).log2()).sum();
    bits / total
}

/// Whether matches may gain anything on `sample`, from data of `entropy` bits a byte: a cheap no saves a trial, which
/// takes longest on skewed bytes like the exponents of weights. There, short sequences recur by chance and gain nothing.
pub(super) fn may_match(sample: &[u8], entropy: f64) -> bool {
    // Below, even eight bytes recur by chance; above, a trial gives up fast by itself.
    if !(2.0..6.5).contains(&entropy) {
        return true;
    }
    // The sequence seen last in each slot.
    const SLOTS: u32 = 4096;
    let mut seen = [0u64; SLOTS as usize];
    let mut hits = 0;
    for window in sample.windows(8) {
        let Some(bytes) = window.first_chunk::<8>() else {
            continue;
        };
        let sequence = u64::from_le_bytes(*bytes);
        let slot = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2());
        if let Some(last) = seen.get_mut(slot as usize) {
            hits += usize::from(*last == sequence);
            *last = sequence;
        }
    }
    hits > sample.len() / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_knows_the_extremes() {
        assert_eq!(entropy(&[7; 100_000]), 0.0);
        assert_eq!(entropy(&[]), 0.0);
        let all: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
        assert!(
            entropy(&all) > 5.9,
            "runs of 64 consecutive values hold 6 bits at least"
        );
        let coin: Vec<u8> = (0..100_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 31) as u8)
            .collect();
        assert!((entropy(&coin) - 1.0).abs() < 0.01);
    }

    #[test]
    fn recurrence_is_told_from_chance() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        // About 2.7 bits a byte, as the exponents of weights.
        let exponents: Vec<u8> = (0..SAMPLE)
            .map(|_| 120 - random().trailing_zeros() as u8 - ((random() >> 40) % 3) as u8)
            .collect();
        assert!((2.0..6.5).contains(&entropy(&exponents)));
        assert!(!may_match(&exponents, entropy(&exponents)));
        let rows: Vec<u8> = exponents.iter().take(700).cycle().take(SAMPLE).copied().collect();
        assert!(may_match(&rows, entropy(&rows)));
        assert!(may_match(&[0; SAMPLE], 0.0) && !may_match(&[], 3.0));
    }
}
