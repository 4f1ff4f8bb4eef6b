//! Looking at a little of the data to decide how to encode all of it.

/// Bytes looked at in one place.
pub(super) const SAMPLE: usize = 8 << 10;

/// `SAMPLE` bytes from the middle, or everything that is shorter.
pub(super) fn middle(bytes: &[u8]) -> &[u8] {
    let start = bytes.len().saturating_sub(SAMPLE) / 2;
    bytes.get(start..bytes.len().min(start + SAMPLE)).unwrap_or(bytes)
}

/// Order-0 entropy in bits a byte, 0 to 8, over at most `2 * SAMPLE` bytes spread evenly: what a Huffman coder
/// can reach, before its tables.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    // Runs of 64 neighbours keep the cache happy; their starts cover the whole plane.
    const RUN: usize = 64;
    let runs = (2 * SAMPLE / RUN).min(bytes.len().div_ceil(RUN)).max(1);
    let step = (bytes.len() / runs).max(RUN);
    let mut counts = [0u32; 256];
    let mut total = 0u32;
    for run in bytes.chunks(step) {
        for &byte in run.iter().take(RUN) {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count += 1;
            }
            total += 1;
        }
    }
    let total = f64::from(total.max(1));
    let bits: f64 = counts
        .iter()
        .filter(|&&n| n > 0)
        .map(|&n| f64::from(n) * (total / f64::from(n)).log2())
        .sum();
    bits / total
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
}
