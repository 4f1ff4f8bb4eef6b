//! Base elements as elements of the chunk's own type, where the two differ: an f32 made from bf16, or the reverse.
//!
//! Integer arithmetic only, so that every machine makes the same bits. Which base a chunk gets is not decided here.

use super::word::Word;
use crate::tensor::Element;

/// Whether elements of type `from` can be a base for elements of type `to`.
pub(super) const fn possible(from: Element, to: Element) -> bool {
    from as u8 == to as u8
        || matches!(
            (from, to),
            (Element::Bf16, Element::F32) | (Element::F32, Element::Bf16)
        )
}

/// Writes the elements of `base` as elements of type `to`. `out` is cleared first.
pub(super) fn cast(base: &[u8], from: Element, to: Element, out: &mut Vec<u8>) {
    out.clear();
    match (from, to) {
        (Element::Bf16, Element::F32) => out.extend(
            u16::all(base)
                .iter()
                .flat_map(|element| widen(u16::from_bytes(*element)).to_le_bytes()),
        ),
        (Element::F32, Element::Bf16) => out.extend(
            u32::all(base)
                .iter()
                .flat_map(|element| narrow(u32::from_bytes(*element)).to_le_bytes()),
        ),
        _ => out.extend_from_slice(base),
    }
}

fn widen(element: u16) -> u32 {
    u32::from(element) << 16
}

/// To nearest, ties to even. Not-a-numbers need no care: the result is a guess that a distance corrects.
fn narrow(element: u32) -> u16 {
    (element.wrapping_add(0x7fff + (element >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_rounds_to_nearest_even() {
        for (from, to) in [
            (0x3f80_0000, 0x3f80),
            (0x3f80_8000, 0x3f80),
            (0x3f80_8001, 0x3f81),
            (0x3f81_8000, 0x3f82),
            (0xbf80_7fff, 0xbf80),
            (0x7f7f_ffff, 0x7f80),
        ] {
            assert_eq!(narrow(from), to, "{from:08x}");
        }
        assert!((0..=u16::MAX).all(|element| narrow(widen(element)) == element));
    }
}
