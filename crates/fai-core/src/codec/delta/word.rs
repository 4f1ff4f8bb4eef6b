//! Elements as integers: the bits of a number in the order of the numbers, and distances between them.
//!
//! All arithmetic wraps, so every pair of bit patterns has a distance that leads back. What is done with distances
//! is not here.

/// The bits of an element.
pub(super) trait Word: Copy + Default + Eq {
    /// Bytes of an element, little-endian.
    type Bytes: Copy;

    /// The whole elements in `bytes`.
    fn all(bytes: &[u8]) -> &[Self::Bytes];
    /// The whole elements in `bytes`.
    fn all_mut(bytes: &mut [u8]) -> &mut [Self::Bytes];
    fn from_bytes(bytes: Self::Bytes) -> Self;
    fn into_bytes(self) -> Self::Bytes;
    /// Sign and magnitude to two's complement, and back: neighbouring numbers become neighbouring integers.
    fn monotone(self) -> Self;
    /// How far `self` is from `base`: 0, -1, 1, -2, 2 as 0, 1, 2, 3, 4.
    fn distance(self, base: Self) -> Self;
    /// The word that is `distance` from `self`.
    fn advance(self, distance: Self) -> Self;
    /// `bits` bits from bit `shift` up.
    fn field(self, shift: u32, bits: u32) -> usize;
}

macro_rules! word {
    ($word:ty, $signed:ty) => {
        impl Word for $word {
            type Bytes = [u8; size_of::<$word>()];

            fn all(bytes: &[u8]) -> &[Self::Bytes] {
                bytes.as_chunks().0
            }

            fn all_mut(bytes: &mut [u8]) -> &mut [Self::Bytes] {
                bytes.as_chunks_mut().0
            }

            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn into_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn monotone(self) -> Self {
                // All ones below the sign when it is set.
                self ^ ((self as $signed >> (Self::BITS - 1)) as Self >> 1)
            }

            fn distance(self, base: Self) -> Self {
                let difference = self.wrapping_sub(base);
                (difference << 1) ^ (difference as $signed >> (Self::BITS - 1)) as Self
            }

            fn advance(self, distance: Self) -> Self {
                self.wrapping_add((distance >> 1) ^ (distance & 1).wrapping_neg())
            }

            fn field(self, shift: u32, bits: u32) -> usize {
                (self >> shift) as usize & ((1 << bits) - 1)
            }
        }
    };
}

word!(u8, i8);
word!(u16, i16);
word!(u32, i32);
word!(u64, i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_a_distance_that_leads_back() {
        for a in (0..=u16::MAX).step_by(7) {
            assert_eq!(a.monotone().monotone(), a);
            for b in [0, 1, 0x3f80, 0x7fff, 0x8000, 0xbf80, 0xffff, a] {
                assert_eq!(b.advance(a.distance(b)), a);
            }
        }
        assert_eq!([3u32, 2, 4, 1, 5].map(|a| a.distance(3)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn neighbouring_numbers_are_neighbouring_integers() {
        let ordered = [-2.0f32, -1.0, -f32::MIN_POSITIVE, -0.0, 0.0, 1e-20, 1.0, 2.0];
        let words = ordered.map(|number| number.to_bits().monotone() as i32);
        assert!(words.is_sorted(), "{words:?}");
        assert_eq!(
            (0.0f32).to_bits().monotone().distance((-0.0f32).to_bits().monotone()),
            2
        );
    }
}
