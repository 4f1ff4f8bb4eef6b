//! Elements as integers: the bits of a number in the order of the numbers, and distances between them.
//!
//! All arithmetic wraps, so every pair of bit patterns has a distance that leads back. Loops over whole chunks are
//! written here so that the compiler turns them into vector instructions. What is done with distances is not here.

use crate::tensor::{Element, vectorised};

/// The bits of an element.
pub(super) trait Word: Copy {
    /// Its bytes, little-endian.
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
    /// The 8 bits from bit `shift` up.
    fn octet(self, shift: u32) -> u8;
    /// How many bits the number has, without leading zeros.
    fn bits(self) -> u32;
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

            #[inline(always)]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }

            #[inline(always)]
            fn into_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            #[inline(always)]
            fn monotone(self) -> Self {
                // All ones below the sign when it is set.
                self ^ ((self as $signed >> (Self::BITS - 1)) as Self >> 1)
            }

            #[inline(always)]
            fn distance(self, base: Self) -> Self {
                let difference = self.wrapping_sub(base);
                (difference << 1) ^ (difference as $signed >> (Self::BITS - 1)) as Self
            }

            #[inline(always)]
            fn advance(self, distance: Self) -> Self {
                self.wrapping_add((distance >> 1) ^ (distance & 1).wrapping_neg())
            }

            #[inline(always)]
            fn octet(self, shift: u32) -> u8 {
                (self >> shift) as u8
            }

            #[inline(always)]
            fn bits(self) -> u32 {
                Self::BITS - self.leading_zeros()
            }
        }
    };
}

word!(u8, i8);
word!(u16, i16);
word!(u32, i32);
word!(u64, i64);

/// Writes the distances from `base` to `raw`, element by element. All three are equally long.
pub(super) fn distances(raw: &[u8], base: &[u8], element: Element, out: &mut [u8]) {
    match element {
        Element::Opaque | Element::Byte => distances_of::<u8, false>(raw, base, out),
        Element::Int16 => distances_of::<u16, false>(raw, base, out),
        Element::Int32 => distances_of::<u32, false>(raw, base, out),
        Element::Int64 => distances_of::<u64, false>(raw, base, out),
        Element::F16 | Element::Bf16 => distances_of::<u16, true>(raw, base, out),
        Element::F32 => distances_of::<u32, true>(raw, base, out),
        Element::F64 => distances_of::<u64, true>(raw, base, out),
    }
}

/// Replaces distances from `base` by what lies there: undoes [`distances`].
pub(super) fn advance(base: &[u8], element: Element, distances: &mut [u8]) {
    match element {
        Element::Opaque | Element::Byte => advance_all::<u8, false>(base, distances),
        Element::Int16 => advance_all::<u16, false>(base, distances),
        Element::Int32 => advance_all::<u32, false>(base, distances),
        Element::Int64 => advance_all::<u64, false>(base, distances),
        Element::F16 | Element::Bf16 => advance_all::<u16, true>(base, distances),
        Element::F32 => advance_all::<u32, true>(base, distances),
        Element::F64 => advance_all::<u64, true>(base, distances),
    }
}

fn distances_of<W: Word, const FLOAT: bool>(raw: &[u8], base: &[u8], out: &mut [u8]) {
    vectorised(
        #[inline(always)]
        || {
            for ((raw, base), out) in W::all(raw).iter().zip(W::all(base)).zip(W::all_mut(out)) {
                let (raw, base) = (W::from_bytes(*raw), W::from_bytes(*base));
                *out = match FLOAT {
                    true => raw.monotone().distance(base.monotone()),
                    false => raw.distance(base),
                }
                .into_bytes();
            }
        },
    );
}

fn advance_all<W: Word, const FLOAT: bool>(base: &[u8], distances: &mut [u8]) {
    vectorised(
        #[inline(always)]
        || {
            for (base, place) in W::all(base).iter().zip(W::all_mut(distances)) {
                let (base, distance) = (W::from_bytes(*base), W::from_bytes(*place));
                *place = match FLOAT {
                    true => base.monotone().advance(distance).monotone(),
                    false => base.advance(distance),
                }
                .into_bytes();
            }
        },
    );
}

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
        assert_eq!((-0.0f32).to_bits().monotone().distance(0.0f32.to_bits().monotone()), 1);
    }
}
