//! What the elements of a chunk are expected to be: the elements of its base, converted to its type and scaled.
//!
//! Every machine must make the same bits. So conversions are integer arithmetic, and scaling is one multiplication of
//! binary32 whose result is used only where it is a normal number. How a scale is found is not here.

use super::word::Word;
use crate::tensor::Element;

/// The bits of the scale that changes nothing, 1.0.
pub(super) const UNSCALED: u32 = 0x3f80_0000;

/// Whether elements of type `from` can stand for elements of type `to`.
pub(super) const fn possible(from: Element, to: Element) -> bool {
    from as u8 == to as u8
        || matches!(
            (from, to),
            (Element::Bf16, Element::F32) | (Element::F32, Element::Bf16)
        )
}

/// The elements of `base` as type `to`, times the number with the bits `scale` when both types are f32. Uses `room`
/// only when they are not what lies in `base`.
pub(super) fn expected<'a>(base: &'a [u8], from: Element, to: Element, scale: u32, room: &'a mut Vec<u8>) -> &'a [u8] {
    match (from, to) {
        (Element::Bf16, Element::F32) => {
            room.resize(2 * base.len(), 0);
            widen(base, room);
        }
        (Element::F32, Element::Bf16) => {
            room.resize(base.len() / 2, 0);
            for (place, element) in u16::all_mut(room).iter_mut().zip(u32::all(base)) {
                *place = round(u32::from_bytes(*element)).to_le_bytes();
            }
        }
        (Element::F32, Element::F32) if scale != UNSCALED => {
            room.resize(base.len(), 0);
            let factor = f32::from_bits(scale);
            for (place, element) in u32::all_mut(room).iter_mut().zip(u32::all(base)) {
                *place = scaled(u32::from_bytes(*element), factor).to_le_bytes();
            }
        }
        _ => return base,
    }
    room
}

/// Writes bf16 elements as f32.
pub(super) fn widen(narrow: &[u8], wide: &mut [u8]) {
    for (place, [low, high]) in u32::all_mut(wide).iter_mut().zip(u16::all(narrow)) {
        *place = [0, 0, *low, *high];
    }
}

/// Writes f32 elements that are bf16 as such. False when one is not; what was written is of no use then.
pub(super) fn narrow(wide: &[u8], narrow: &mut Vec<u8>) -> bool {
    const BLOCK: usize = 4 << 10;
    narrow.resize(wide.len() / 2, 0);
    wide.chunks(2 * BLOCK)
        .zip(narrow.chunks_mut(BLOCK))
        .all(|(wide, narrow)| {
            let mut lost = 0;
            for (place, [a, b, low, high]) in u16::all_mut(narrow).iter_mut().zip(u32::all(wide)) {
                lost |= a | b;
                *place = [*low, *high];
            }
            lost == 0
        })
}

/// To nearest, ties to even. Not-a-numbers need no care: the result is a guess that a distance corrects.
fn round(element: u32) -> u16 {
    (element.wrapping_add(0x7fff + (element >> 16 & 1)) >> 16) as u16
}

const EXPONENT: u32 = 0x7f80_0000;

/// Infinities and not-a-numbers stay as they are, and so does what is not normal or would not be: some processes run
/// with arithmetic that takes such numbers for zero.
fn scaled(element: u32, factor: f32) -> u32 {
    let product = (f32::from_bits(element) * factor).to_bits();
    let normal = |bits: u32| bits & EXPONENT != 0 && bits & EXPONENT != EXPONENT;
    if normal(element) & normal(product) {
        product
    } else {
        element
    }
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
            assert_eq!(round(from), to, "{from:08x}");
        }
        assert!((0..=u16::MAX).all(|element| round(u32::from(element) << 16) == element));
    }

    #[test]
    fn scaling_keeps_what_is_not_normal() {
        for (element, factor, expected) in [
            (0x3f80_0000, 0.5, 0x3f00_0000),
            (0xbf80_0000, 0.9, 0xbf66_6666),
            (0x0080_0000, 0.5, 0x0080_0000),
            (0x0000_0001, 2.0, 0x0000_0001),
            (0x7f00_0000, 4.0, 0x7f00_0000),
            (0x7f80_0000, 0.0, 0x7f80_0000),
            (0x7fc0_1234, 0.5, 0x7fc0_1234),
            (0x8000_0000, 0.5, 0x8000_0000),
        ] {
            assert_eq!(scaled(element, factor), expected, "{element:08x} {factor}");
        }
    }

    #[test]
    fn only_widened_numbers_become_narrow() {
        let (mut wide, mut back, mut room) = (vec![0; 40_000], vec![1; 40_000], Vec::new());
        widen(&vec![0x5a; 20_000], &mut wide);
        assert!(narrow(&wide, &mut room));
        widen(&room, &mut back);
        assert!(wide == back);
        wide[39_997] = 1;
        assert!(!narrow(&wide, &mut room));
    }
}
