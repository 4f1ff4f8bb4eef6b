//! Blocks of a chunk, parted by how far their elements moved: rows of embeddings that training never saw, rows that
//! it saw once, rows that it saw often.
//!
//! Blocks in which nothing moved need neither be sorted nor coded, and the others say more when they stand with their
//! like. How the classes of the blocks are stored is not decided here.

use super::order::Key;
use super::word::Word;
use crate::tensor::{Element, vectorised};

/// Elements of a block. The last one of a chunk may be shorter.
pub(super) const BLOCK: usize = 32;

/// The class of blocks in which nothing moved.
const STILL: u8 = 0;

/// The highest class that is written. Readers take any.
const HIGHEST: u8 = 15;

/// How often distances double from one class to the next but one.
const DOUBLINGS: u32 = 2;

/// The class of every block. Without a key there are two: still and not.
pub(super) fn classes(distances: &[u8], expected: &[u8], element: Element, key: Option<Key>) -> Vec<u8> {
    match element.width() {
        1 => classes_of::<u8>(distances, expected, key),
        2 => classes_of::<u16>(distances, expected, key),
        4 => classes_of::<u32>(distances, expected, key),
        _ => classes_of::<u64>(distances, expected, key),
    }
}

fn classes_of<W: Word>(distances: &[u8], expected: &[u8], key: Option<Key>) -> Vec<u8> {
    let moved = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) != 0;
    let blocks = distances.chunks(BLOCK * size_of::<W::Bytes>());
    let Some(key) = key else {
        return blocks.map(|block| u8::from(moved(block))).collect();
    };
    // How far a number moved is its distance times the power of two that its exponent says.
    let level = |(distance, expected): (&W::Bytes, &W::Bytes)| {
        W::from_bytes(*distance).bits() + key.exponent(W::from_bytes(*expected))
    };
    let mut levels: Vec<Option<u32>> = vec![None; distances.len().div_ceil(BLOCK * size_of::<W::Bytes>())];
    let blocks = blocks.zip(expected.chunks(BLOCK * size_of::<W::Bytes>()));
    vectorised(
        #[inline(always)]
        || {
            for (place, (distances, expected)) in levels.iter_mut().zip(blocks) {
                let mut sum = 0;
                for pair in W::all(distances).iter().zip(W::all(expected)) {
                    sum += level(pair);
                }
                let count = W::all(distances).len().max(1) as u32;
                *place = moved(distances).then_some(sum / count);
            }
        },
    );
    let lowest = levels.iter().flatten().min().copied().unwrap_or_default();
    let class = |level: Option<u32>| match level {
        Some(level) => ((level - lowest) / DOUBLINGS + 1).min(u32::from(HIGHEST)) as u8,
        None => STILL,
    };
    levels.into_iter().map(class).collect()
}

/// Joins neighbouring classes until each has `least` blocks, where there are so many.
pub(super) fn merge_small(classes: &mut [u8], least: usize) {
    let mut counts = [0usize; 256];
    for class in classes.iter() {
        if let Some(count) = counts.get_mut(usize::from(*class)) {
            *count += 1;
        }
    }
    let (mut merged, mut next, mut open) = ([STILL; 256], STILL + 1, 0);
    for (merged, count) in merged.iter_mut().zip(counts).skip(1) {
        *merged = next;
        open += count;
        if open >= least && next < HIGHEST {
            next += 1;
            open = 0;
        }
    }
    // What is too small at the end goes to the class before.
    let last = if open < least && next > STILL + 1 {
        next - 1
    } else {
        next
    };
    for class in classes {
        *class = merged.get(usize::from(*class)).copied().unwrap_or_default().min(last);
    }
}

/// How many of `count` elements have each class.
pub(super) fn lengths(classes: &[u8], count: usize) -> [usize; 256] {
    let mut lengths = [0; 256];
    let blocks = (0..count).step_by(BLOCK).map(|start| BLOCK.min(count - start));
    for (len, class) in blocks.zip(classes) {
        if let Some(sum) = lengths.get_mut(usize::from(*class)) {
            *sum += len;
        }
    }
    lengths
}

/// Where the elements of each class start among those that moved, in bytes, and where they end.
fn starts(lengths: &[usize; 256], width: usize) -> ([usize; 256], usize) {
    let (mut starts, mut end) = ([0; 256], 0);
    for (start, len) in starts.iter_mut().zip(lengths).skip(1) {
        *start = end;
        end += len * width;
    }
    (starts, end)
}

/// Copies the blocks that moved, class by class. `lengths` are those of the classes.
pub(super) fn gather(all: &[u8], classes: &[u8], lengths: &[usize; 256], width: usize, moved: &mut Vec<u8>) {
    let (mut starts, end) = starts(lengths, width);
    moved.resize(end, 0);
    for (block, class) in all
        .chunks(BLOCK * width)
        .zip(classes)
        .filter(|(_, class)| **class != STILL)
    {
        if let Some(start) = starts.get_mut(usize::from(*class)) {
            if let Some(place) = moved.get_mut(*start..*start + block.len()) {
                place.copy_from_slice(block);
            }
            *start += block.len();
        }
    }
}

/// Undoes [`gather`]: the other blocks become zero.
pub(super) fn spread(moved: &[u8], classes: &[u8], lengths: &[usize; 256], width: usize, all: &mut [u8]) {
    let (mut starts, _) = starts(lengths, width);
    for (block, class) in all.chunks_mut(BLOCK * width).zip(classes) {
        let Some(start) = starts.get_mut(usize::from(*class)).filter(|_| *class != STILL) else {
            block.fill(0);
            continue;
        };
        if let Some(source) = moved.get(*start..*start + block.len()) {
            block.copy_from_slice(source);
        }
        *start += block.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_moved_are_kept_and_stand_with_their_like() {
        for len in [1, 31, 32, 33, 300, 3000] {
            let all: Vec<u8> = (0..len).map(|i| [0, 1, 64][i / 32 % 3] * (1 + i % 2) as u8).collect();
            let classes = classes(&all, &vec![0; len], Element::Byte, Key::of(Element::Byte));
            let lengths = lengths(&classes, len);
            let mut moved = Vec::new();
            gather(&all, &classes, &lengths, 1, &mut moved);
            assert_eq!(moved.len(), all.iter().filter(|byte| **byte != 0).count());
            assert!(moved.is_sorted_by_key(|byte| *byte >= 64));
            let mut back = vec![7; len];
            spread(&moved, &classes, &lengths, 1, &mut back);
            assert_eq!(back, all);
        }
        let blocks = [[0; 32], [9; 32]].concat();
        assert_eq!(classes(&blocks, &blocks, Element::Byte, None), [0, 1]);
    }

    #[test]
    fn small_classes_are_joined() {
        let mut classes = [0, 1, 1, 2, 3, 3, 7, 9, 9, 15];
        merge_small(&mut classes, 2);
        assert_eq!(classes, [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]);
        merge_small(&mut classes, 100);
        assert_eq!(classes, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let mut still = [0; 5];
        merge_small(&mut still, 1);
        assert_eq!(still, [0; 5]);
    }
}
