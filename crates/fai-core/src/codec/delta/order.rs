//! Distances in the order of their base elements' exponents, so that those of one size stand together.
//!
//! A training step moves all weights by about the same amount, which is a few steps of a large float and many of a
//! small one: the exponent of the base tells how large a distance to expect. The order is a stable counting sort that
//! a reader repeats, as it holds the base. How sorted distances are stored is not here.

use super::word::Word;
use crate::tensor::Element;

/// Where the exponent lies in an element: its lowest bit and how many bits it has.
pub(super) const fn exponent(element: Element) -> Option<(u32, u32)> {
    match element {
        Element::F16 => Some((10, 5)),
        Element::Bf16 => Some((7, 8)),
        Element::F32 => Some((23, 8)),
        Element::F64 => Some((52, 11)),
        _ => None,
    }
}

/// The most exponents that an element may have.
const MOST: usize = 1 << 11;

/// How many base elements have each exponent, smallest first.
pub(super) fn groups<W: Word>(base: &[W::Bytes], (shift, bits): (u32, u32)) -> Vec<u32> {
    let mut counts = [0u32; MOST];
    for element in base {
        if let Some(count) = counts.get_mut(W::from_bytes(*element).field(shift, bits)) {
            *count += 1;
        }
    }
    counts.get(..1 << bits).unwrap_or_default().to_vec()
}

/// Where each group starts.
fn starts(groups: &[u32]) -> [u32; MOST] {
    let (mut starts, mut next) = ([0; MOST], 0u32);
    for (start, count) in starts.iter_mut().zip(groups) {
        *start = next;
        next += count;
    }
    starts
}

/// Distances from `base` to `raw` in the order of the groups of `base`.
pub(super) fn scatter<W: Word>(
    raw: &[W::Bytes],
    base: &[W::Bytes],
    (shift, bits): (u32, u32),
    groups: &[u32],
    sorted: &mut [W::Bytes],
) {
    let mut next = starts(groups);
    for (raw, base) in raw.iter().zip(base) {
        let base = W::from_bytes(*base);
        let distance = W::from_bytes(*raw).monotone().distance(base.monotone());
        if let Some(next) = next.get_mut(base.field(shift, bits)) {
            if let Some(place) = sorted.get_mut(*next as usize) {
                *place = distance.into_bytes();
            }
            *next += 1;
        }
    }
}

/// Undoes [`scatter`].
pub(super) fn gather<W: Word>(
    sorted: &[W::Bytes],
    base: &[W::Bytes],
    (shift, bits): (u32, u32),
    groups: &[u32],
    raw: &mut [W::Bytes],
) {
    let mut next = starts(groups);
    for (raw, base) in raw.iter_mut().zip(base) {
        let base = W::from_bytes(*base);
        if let Some(next) = next.get_mut(base.field(shift, bits)) {
            if let Some(distance) = sorted.get(*next as usize) {
                *raw = base
                    .monotone()
                    .advance(W::from_bytes(*distance))
                    .monotone()
                    .into_bytes();
            }
            *next += 1;
        }
    }
}
