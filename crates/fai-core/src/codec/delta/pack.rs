//! Bytes that are mostly tiny, packed: 1, 2 or 4 bits for each, the highest value of which says that it goes on
//! elsewhere.
//!
//! A Huffman code spends at least a bit on every byte. Of distances that are nearly all 0, 1 and 2 it would waste most of
//! that; of several in one byte it does not. Choosing the bits is not done here.

/// Bytes looked at together.
const GROUP: usize = 8;

/// Of how many bytes one goes on elsewhere when that is to be expected of most groups.
pub(super) const DENSE: usize = 24;

/// Bytes that [`restore`] may read beyond those that it needs.
pub(super) const PADDING: usize = GROUP;

const ONES: u64 = 0x0101_0101_0101_0101;

/// The highest value of every byte of a group.
const fn most(bits: u32) -> u8 {
    ((1u32 << bits) - 1) as u8
}

/// 0x80 in every byte of `group` that is at least `most`, a power of two minus one.
#[inline(always)]
fn high(group: u64, most: u8) -> u64 {
    const LOW: u64 = 0x7f * ONES;
    // No carry leaves its byte: the sum of the lower seven bits is below 256.
    (((group & LOW) + ONES * u64::from(0x80 - most)) | group) & !LOW
}

/// `group` with every byte at most `most`.
#[inline(always)]
fn clip(group: u64, most: u8) -> u64 {
    let all = (high(group, most) >> 7) * 0xff;
    (group & !all) | ((ONES * u64::from(most)) & all)
}

/// Packs `plane` by `bits`, 1, 2 or 4, and appends to `rest` what the highest value does not say. Both are cleared
/// first.
///
/// `dense` tells that this happens in most groups. It changes nothing but the speed.
pub(super) fn pack(plane: &[u8], bits: u32, dense: bool, packed: &mut Vec<u8>, rest: &mut Vec<u8>) {
    match bits {
        1 => pack_groups(plane, 1, dense, packed, rest, |clipped| {
            [(clipped.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8]
        }),
        2 => pack_groups(plane, 2, dense, packed, rest, |clipped| {
            let pairs = clipped | clipped >> 6;
            let fours = pairs | pairs >> 12;
            [fours as u8, (fours >> 32) as u8]
        }),
        _ => pack_groups(plane, 4, dense, packed, rest, |clipped| {
            let pairs = clipped | clipped >> 4;
            [
                pairs as u8,
                (pairs >> 16) as u8,
                (pairs >> 32) as u8,
                (pairs >> 48) as u8,
            ]
        }),
    }
}

#[inline(always)]
fn pack_groups<const SIZE: usize>(
    plane: &[u8],
    bits: u32,
    dense: bool,
    packed: &mut Vec<u8>,
    rest: &mut Vec<u8>,
    press: impl Fn(u64) -> [u8; SIZE],
) {
    // Written without looking where the end is, and cut there later. What is in the room does not matter.
    packed.resize(plane.len().div_ceil(GROUP) * SIZE, 0);
    rest.resize((plane.len() + 2 * GROUP).max(rest.len()), 0);
    let (most, mut kept) = (most(bits), 0);
    let (groups, last) = plane.as_chunks::<GROUP>();
    let mut places = packed.as_chunks_mut::<SIZE>().0.iter_mut();
    for (group, place) in groups.iter().zip(&mut places) {
        let group = u64::from_le_bytes(*group);
        *place = press(clip(group, most));
        kept += keep(group, most, dense, rest.get_mut(kept..).unwrap_or_default());
    }
    if let Some(place) = places.next() {
        let group = padded(last);
        *place = press(clip(group, most));
        kept += keep(group, most, dense, rest.get_mut(kept..).unwrap_or_default());
    }
    packed.truncate(packed_len(plane.len(), bits));
    rest.truncate(kept);
}

/// The last bytes of a plane as a group, zeros behind them.
fn padded(last: &[u8]) -> u64 {
    let mut group = [0; GROUP];
    group.iter_mut().zip(last).for_each(|(place, byte)| *place = *byte);
    u64::from_le_bytes(group)
}

/// Writes what the bytes of `group` have beyond `most` to the start of `rest`, and returns how many have.
#[inline(always)]
fn keep(group: u64, most: u8, dense: bool, rest: &mut [u8]) -> usize {
    let mut flags = high(group, most) >> 7;
    if flags == 0 && !dense {
        return 0;
    }
    let count = flags.wrapping_mul(ONES) >> 56;
    // No byte of the one is larger than that of the other: nothing is borrowed.
    let more = group - clip(group, most);
    let (mut kept, mut len) = (0u64, 0);
    let mut take = |flags: &mut u64| {
        kept |= (more >> (flags.trailing_zeros() & 63) & 0xff) << len;
        len += 8;
        *flags &= flags.wrapping_sub(1);
    };
    // Two are what is likely: where there are fewer, what is written here is not counted.
    take(&mut flags);
    take(&mut flags);
    while flags != 0 {
        take(&mut flags);
    }
    if let Some(place) = rest.first_chunk_mut() {
        *place = kept.to_le_bytes();
    }
    count as usize
}

/// The length of `len` bytes packed by `bits`.
pub(super) fn packed_len(len: usize, bits: u32) -> usize {
    len.div_ceil(GROUP / bits as usize)
}

/// Unpacks as many bytes as `plane` has, the highest values as they are, and returns how many of these there are.
pub(super) fn unpack(packed: &[u8], bits: u32, plane: &mut [u8]) -> usize {
    match bits {
        1 => unpack_groups(packed, plane, most(bits), |byte| {
            let spread = (u64::from(byte) * ONES) & 0x8040_2010_0804_0201;
            ((spread + 0x7f * ONES) >> 7 & ONES).to_le_bytes()
        }),
        2 => unpack_groups(packed, plane, most(bits), |byte| {
            let spread = u32::from(byte);
            let spread = spread | spread << 12;
            ((spread | spread << 6) & 0x0303_0303).to_le_bytes()
        }),
        _ => unpack_groups(packed, plane, most(bits), |byte| [byte & 15, byte >> 4]),
    }
}

fn unpack_groups<const SIZE: usize>(
    packed: &[u8],
    plane: &mut [u8],
    most: u8,
    spread: impl Fn(u8) -> [u8; SIZE],
) -> usize {
    let (groups, last) = plane.as_chunks_mut::<SIZE>();
    for (group, byte) in groups.iter_mut().zip(packed) {
        *group = spread(*byte);
    }
    if let Some(byte) = packed.get(groups.len()) {
        last.iter_mut()
            .zip(spread(*byte))
            .for_each(|(place, value)| *place = value);
    }
    // Counted in short runs, whose sums fit bytes.
    plane
        .chunks(255)
        .map(|run| usize::from(run.iter().fold(0u8, |sum, &byte| sum + u8::from(byte == most))))
        .sum()
}

/// Adds what was kept elsewhere to the highest values of an unpacked plane, in their order. `rest` is followed by
/// [`PADDING`] bytes of any kind.
pub(super) fn restore(plane: &mut [u8], bits: u32, rest: &[u8]) {
    let (most, mut used) = (most(bits), 0);
    let dense = rest.len() > plane.len() / DENSE;
    let (groups, last) = plane.as_chunks_mut::<GROUP>();
    for place in groups {
        let group = u64::from_le_bytes(*place);
        let (group, count) = give(group, most, dense, rest.get(used..).unwrap_or_default());
        *place = group.to_le_bytes();
        used += count;
    }
    let (group, _) = give(padded(last), most, dense, rest.get(used..).unwrap_or_default());
    last.iter_mut()
        .zip(group.to_le_bytes())
        .for_each(|(place, byte)| *place = byte);
}

/// Undoes [`keep`].
#[inline(always)]
fn give(group: u64, most: u8, dense: bool, rest: &[u8]) -> (u64, usize) {
    let mut flags = high(group, most) >> 7;
    if flags == 0 && !dense {
        return (group, 0);
    }
    let count = flags.wrapping_mul(ONES) >> 56;
    let mut kept = u64::from_le_bytes(rest.first_chunk().copied().unwrap_or_default());
    let mut more = 0u64;
    let mut put = |flags: &mut u64| {
        let byte = kept & (u64::from(*flags != 0) * 0xff);
        more |= byte << (flags.trailing_zeros() & 63);
        kept >>= 8;
        *flags &= flags.wrapping_sub(1);
    };
    put(&mut flags);
    put(&mut flags);
    while flags != 0 {
        put(&mut flags);
    }
    // Where a byte of a damaged payload grows too large, its neighbour is damaged too.
    (group.wrapping_add(more), count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pack_low_bits_first_and_come_back() {
        let (mut packed, mut rest) = (Vec::new(), Vec::new());
        pack(&[0, 1, 2, 0, 255, 0, 0, 0, 1], 1, false, &mut packed, &mut rest);
        assert_eq!((&*packed, &*rest), (&[0b1_0110, 1][..], &[0, 1, 254, 0][..]));
        pack(&[0, 1, 2, 3, 4], 2, true, &mut packed, &mut rest);
        assert_eq!((&*packed, &*rest), (&[0b1110_0100, 3][..], &[0, 1][..]));
        pack(&[1, 14, 15, 200], 4, false, &mut packed, &mut rest);
        assert_eq!((&*packed, &*rest), (&[0xe1, 0xff][..], &[0, 185][..]));

        for len in [0, 1, 7, 8, 9, 63, 64, 65, 1000] {
            for range in [1, 2, 3, 4, 15, 16, 17, 128, 256] {
                let plane: Vec<u8> = (0..len).map(|i| (i * i * 37 / 5 % range) as u8).collect();
                for bits in [1, 2, 4] {
                    pack(&plane, bits, range > 8, &mut packed, &mut rest);
                    assert_eq!(packed.len(), packed_len(len, bits));
                    let mut back = vec![0xaa; len];
                    assert_eq!(unpack(&packed, bits, &mut back), rest.len());
                    rest.resize(rest.len() + PADDING, 0xee);
                    restore(&mut back, bits, &rest);
                    assert_eq!(back, plane, "{bits} bits, below {range}");
                }
            }
        }
    }
}
