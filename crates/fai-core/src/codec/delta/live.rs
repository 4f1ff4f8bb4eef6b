//! Blocks of a chunk in which nothing moved, left out: rows of embeddings that training never saw, and whatever else is
//! frozen.
//!
//! They need neither be sorted nor coded, and the rest says more when they do not stand between. How the flags of the
//! blocks are stored is not decided here.

/// Elements of a block. The last one of a chunk may be shorter.
pub(super) const BLOCK: usize = 32;

/// Bytes of flags for `count` elements.
pub(super) fn flags_len(count: usize) -> usize {
    count.div_ceil(BLOCK).div_ceil(8)
}

/// A flag for every block of `block` bytes, the first in the lowest bit: whether any byte in it is not zero.
pub(super) fn flags(distances: &[u8], block: usize) -> Vec<u8> {
    let moved = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) != 0;
    let groups = distances.chunks(8 * block);
    groups
        .map(|group| {
            let blocks = group.chunks(block).enumerate();
            blocks.fold(0, |flags, (at, block)| flags | u8::from(moved(block)) << at)
        })
        .collect()
}

fn each(flags: &[u8]) -> impl Iterator<Item = bool> {
    flags.iter().flat_map(|byte| (0..8).map(move |at| byte >> at & 1 == 1))
}

/// Of `count` elements those in flagged blocks.
pub(super) fn count(flags: &[u8], count: usize) -> usize {
    let lengths = (0..count).step_by(BLOCK).map(|start| BLOCK.min(count - start));
    let live = lengths.zip(each(flags)).filter(|(_, live)| *live);
    live.map(|(len, _)| len).sum()
}

/// Copies the flagged blocks of `all` to `live`, which is cleared first.
pub(super) fn gather(all: &[u8], flags: &[u8], block: usize, live: &mut Vec<u8>) {
    live.clear();
    for (block, flag) in all.chunks(block).zip(each(flags)) {
        if flag {
            live.extend_from_slice(block);
        }
    }
}

/// Undoes [`gather`]: the other blocks become zero.
pub(super) fn spread(mut live: &[u8], flags: &[u8], block: usize, all: &mut [u8]) {
    for (block, flag) in all.chunks_mut(block).zip(each(flags)) {
        match live.split_at_checked(block.len()).filter(|_| flag) {
            Some((first, rest)) => {
                block.copy_from_slice(first);
                live = rest;
            }
            None => block.fill(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_moved_are_kept() {
        for len in [1, 31, 32, 33, 300, 3000] {
            let all: Vec<u8> = (0..len)
                .map(|i| if i / 32 % 3 == 1 { 0 } else { (i % 5) as u8 })
                .collect();
            let flags = flags(&all, BLOCK);
            assert_eq!(flags.len(), flags_len(len));
            let mut live = Vec::new();
            gather(&all, &flags, BLOCK, &mut live);
            assert_eq!(live.len(), count(&flags, len));
            let mut back = vec![7; len];
            spread(&live, &flags, BLOCK, &mut back);
            assert_eq!(back, all);
        }
        assert_eq!(flags(&[[0; 64], [1; 64]].concat(), 32), [0b1100]);
    }
}
