//! Numbers that look like weights, the same ones on every machine. How they are laid out as bytes is not here.

/// A small generator (SplitMix64): good enough to look random, simple enough to stay the same for ever.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// `count` values around zero with a standard deviation of about 0.02, as layers of a trained model have them.
pub fn normal(seed: u64, count: usize) -> Vec<f32> {
    let mut generator = Generator(seed);
    let mut value = || {
        // Four 16-bit uniforms added up are close to a bell curve; their deviation is sqrt(4 / 12).
        let bits = generator.next();
        let sum: f32 = [0, 16, 32, 48]
            .iter()
            .map(|shift| f32::from((bits >> shift) as u16) / 65536.0)
            .sum();
        (sum - 2.0) * (0.02 / 0.577_350_3)
    };
    (0..count).map(|_| value()).collect()
}

/// `len` bytes that nothing can compress.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut generator = Generator(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(generator.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_spread_like_weights() {
        let values = normal(1, 10_000);
        let mean = values.iter().sum::<f32>() / 10_000.0;
        let deviation = (values.iter().map(|value| value * value).sum::<f32>() / 10_000.0).sqrt();
        assert!(
            mean.abs() < 0.002 && (0.018..0.022).contains(&deviation),
            "{mean} {deviation}"
        );
        assert_eq!(normal(1, 3), normal(1, 3));
        assert_ne!(normal(1, 3), normal(2, 3));
    }

    #[test]
    fn noise_has_the_asked_length() {
        for len in [0, 1, 7, 8, 9, 1000] {
            assert_eq!(noise(5, len).len(), len);
        }
        assert_eq!(noise(5, 9)[..8], noise(5, 8));
    }
}
