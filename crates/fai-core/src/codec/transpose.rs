//! Elements to byte planes and back: pure movement of bytes. What becomes of the planes is in `planes`.
//!
//! Written as steps that every 128-bit vector unit has. A loop that scatters one element to its planes is several
//! times slower: with more than two targets the compiler no longer proves that they do not overlap. So elements go
//! through small blocks on the stack, and bytes are parted into even and odd ones, once for every halving of the width.

use crate::tensor::{Element, vectorised};

/// Elements handled at once.
const BLOCK: usize = 64;

/// Splits whole elements into as many planes as an element has bytes, least significant first, each with a byte of
/// every element. Planes beyond that are not touched.
pub(super) fn split(body: &[u8], planes: &mut [&mut [u8]; 8], element: Element) {
    vectorised(
        #[inline(always)]
        || match (element.width(), element.is_float()) {
            (1, _) => planes.iter_mut().take(1).for_each(|plane| plane.copy_from_slice(body)),
            (2, true) => split_blocks(body, planes, split2::<1>),
            (2, false) => split_blocks(body, planes, split2::<0>),
            (4, true) => split_blocks(body, planes, split4::<1>),
            (4, false) => split_blocks(body, planes, split4::<0>),
            (_, true) => split_blocks(body, planes, split8::<1>),
            (_, false) => split_blocks(body, planes, split8::<0>),
        },
    )
}

/// Undoes [`split`].
pub(super) fn join(planes: &[&[u8]; 8], body: &mut [u8], element: Element) {
    vectorised(
        #[inline(always)]
        || match (element.width(), element.is_float()) {
            (1, _) => planes.iter().take(1).for_each(|plane| body.copy_from_slice(plane)),
            (2, true) => join_blocks(planes, body, join2::<1>),
            (2, false) => join_blocks(planes, body, join2::<0>),
            (4, true) => join_blocks(planes, body, join4::<1>),
            (4, false) => join_blocks(planes, body, join4::<0>),
            (_, true) => join_blocks(planes, body, join8::<1>),
            (_, false) => join_blocks(planes, body, join8::<0>),
        },
    )
}

/// The planes of one block of elements.
type Parts<const WIDTH: usize> = [[u8; BLOCK]; WIDTH];

#[inline(always)]
fn split_blocks<const WIDTH: usize, const BYTES: usize>(
    body: &[u8],
    planes: &mut [&mut [u8]; 8],
    split: impl Fn(&[u8; BYTES]) -> Parts<WIDTH>,
) {
    let mut place = |index: usize, parts: &Parts<WIDTH>, len: usize| {
        let start = index * BLOCK;
        for (plane, part) in planes.iter_mut().zip(parts) {
            if let (Some(target), Some(part)) = (plane.get_mut(start..start + len), part.get(..len)) {
                target.copy_from_slice(part);
            }
        }
    };
    let (blocks, rest) = body.as_chunks::<BYTES>();
    for (index, block) in blocks.iter().enumerate() {
        place(index, &split(block), BLOCK);
    }
    let mut last = [0; BYTES];
    last.iter_mut().zip(rest).for_each(|(target, source)| *target = *source);
    place(blocks.len(), &split(&last), rest.len() / WIDTH);
}

#[inline(always)]
fn join_blocks<const WIDTH: usize, const BYTES: usize>(
    planes: &[&[u8]; 8],
    body: &mut [u8],
    join: impl Fn(&Parts<WIDTH>, &mut [u8; BYTES]),
) {
    let take = |index: usize, len: usize| {
        let start = index * BLOCK;
        let mut parts = [[0; BLOCK]; WIDTH];
        for (plane, part) in planes.iter().zip(&mut parts) {
            if let (Some(source), Some(part)) = (plane.get(start..start + len), part.get_mut(..len)) {
                part.copy_from_slice(source);
            }
        }
        parts
    };
    let (blocks, rest) = body.as_chunks_mut::<BYTES>();
    let whole = blocks.len();
    for (index, block) in blocks.iter_mut().enumerate() {
        join(&take(index, BLOCK), block);
    }
    let mut last = [0; BYTES];
    join(&take(whole, rest.len() / WIDTH), &mut last);
    rest.iter_mut()
        .zip(&last)
        .for_each(|(target, source)| *target = *source);
}

/// Even and odd bytes.
#[inline(always)]
fn part<const BOTH: usize, const HALF: usize>(pairs: &[u8; BOTH]) -> [[u8; HALF]; 2] {
    let (mut even, mut odd) = ([0; HALF], [0; HALF]);
    for ((pair, even), odd) in pairs.as_chunks::<2>().0.iter().zip(&mut even).zip(&mut odd) {
        let both = u16::from_le_bytes(*pair);
        *even = both as u8;
        *odd = (both >> 8) as u8;
    }
    [even, odd]
}

/// Undoes [`part`].
#[inline(always)]
fn interleave(even: &[u8], odd: &[u8], pairs: &mut [u8]) {
    for ((pair, even), odd) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
        *pair = [*even, *odd];
    }
}

#[inline(always)]
fn split2<const ROTATION: u32>(block: &[u8; 2 * BLOCK]) -> Parts<2> {
    let mut turned = *block;
    for element in turned.as_chunks_mut::<2>().0 {
        *element = u16::from_le_bytes(*element).rotate_left(ROTATION).to_le_bytes();
    }
    part(&turned)
}

#[inline(always)]
fn join2<const ROTATION: u32>([a, b]: &Parts<2>, block: &mut [u8; 2 * BLOCK]) {
    for ((element, a), b) in block.as_chunks_mut::<2>().0.iter_mut().zip(a).zip(b) {
        *element = u16::from_le_bytes([*a, *b]).rotate_right(ROTATION).to_le_bytes();
    }
}

#[inline(always)]
fn split4<const ROTATION: u32>(block: &[u8; 4 * BLOCK]) -> Parts<4> {
    let mut turned = *block;
    for element in turned.as_chunks_mut::<4>().0 {
        *element = u32::from_le_bytes(*element).rotate_left(ROTATION).to_le_bytes();
    }
    let [even, odd] = part::<_, { 2 * BLOCK }>(&turned);
    let ([a, c], [b, d]) = (part(&even), part(&odd));
    [a, b, c, d]
}

#[inline(always)]
fn join4<const ROTATION: u32>([a, b, c, d]: &Parts<4>, block: &mut [u8; 4 * BLOCK]) {
    let (mut even, mut odd) = ([0; 2 * BLOCK], [0; 2 * BLOCK]);
    interleave(a, c, &mut even);
    interleave(b, d, &mut odd);
    interleave(&even, &odd, block);
    for element in block.as_chunks_mut::<4>().0 {
        *element = u32::from_le_bytes(*element).rotate_right(ROTATION).to_le_bytes();
    }
}

#[inline(always)]
fn split8<const ROTATION: u32>(block: &[u8; 8 * BLOCK]) -> Parts<8> {
    let mut turned = *block;
    for element in turned.as_chunks_mut::<8>().0 {
        *element = u64::from_le_bytes(*element).rotate_left(ROTATION).to_le_bytes();
    }
    let [even, odd] = part::<_, { 4 * BLOCK }>(&turned);
    let ([ae, cg], [bf, dh]) = (part::<_, { 2 * BLOCK }>(&even), part::<_, { 2 * BLOCK }>(&odd));
    let ([a, e], [b, f], [c, g], [d, h]) = (part(&ae), part(&bf), part(&cg), part(&dh));
    [a, b, c, d, e, f, g, h]
}

#[inline(always)]
fn join8<const ROTATION: u32>([a, b, c, d, e, f, g, h]: &Parts<8>, block: &mut [u8; 8 * BLOCK]) {
    let mut pairs = [[0; 2 * BLOCK]; 4];
    let [ae, bf, cg, dh] = &mut pairs;
    interleave(a, e, ae);
    interleave(b, f, bf);
    interleave(c, g, cg);
    interleave(d, h, dh);
    let (mut even, mut odd) = ([0; 4 * BLOCK], [0; 4 * BLOCK]);
    interleave(ae, cg, &mut even);
    interleave(bf, dh, &mut odd);
    interleave(&even, &odd, block);
    for element in block.as_chunks_mut::<8>().0 {
        *element = u64::from_le_bytes(*element).rotate_right(ROTATION).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENTS: [Element; 8] = [
        Element::Byte,
        Element::Int16,
        Element::Int32,
        Element::Int64,
        Element::F16,
        Element::Bf16,
        Element::F32,
        Element::F64,
    ];

    #[test]
    fn planes_hold_the_bytes_of_rotated_elements_and_join_again() {
        for element in ELEMENTS {
            let width = element.width();
            for count in [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77] {
                let body: Vec<u8> = (0..count * width).map(|i| (i * 167 + i / 251) as u8).collect();
                let mut room = vec![0xaa; 8 * count];
                let mut planes: [&mut [u8]; 8] = Default::default();
                for (plane, room) in planes.iter_mut().zip(room.chunks_mut(count)) {
                    *plane = room;
                }
                split(&body, &mut planes, element);
                for (index, bytes) in body.chunks_exact(width).enumerate() {
                    let mut wide = [0; 8];
                    wide[..width].copy_from_slice(bytes);
                    let (value, bits) = (u64::from_le_bytes(wide), 8 * width as u32);
                    let turned = match element.is_float() {
                        true => value << 1 | value >> (bits - 1),
                        false => value,
                    };
                    for (plane, bytes) in planes.iter().enumerate().take(width) {
                        assert_eq!(bytes[index], (turned >> (8 * plane)) as u8, "{element:?} {count}");
                    }
                }
                let mut back = vec![0x55; body.len()];
                join(&planes.each_ref().map(|plane| &**plane), &mut back, element);
                assert!(back == body, "{element:?} {count}");
            }
        }
    }
}
