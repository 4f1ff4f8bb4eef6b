//! The bytes of a chunk, and whether all of them are zeros. Zeros are so common (holes of sparse files, padding, fresh
//! optimiser states) and so cheap to tell that they need not be copied, cut and hashed like anything else.

use std::ops::Deref;

use super::plan::{OWN_CHUNK, STEP};

/// As many zeros as the longest chunk has bytes. Never written: the memory behind it is one page.
static ZEROS: [u8; (STEP + OWN_CHUNK) as usize] = [0; (STEP + OWN_CHUNK) as usize];

/// Bytes in memory that is used again for the next ones, or zeros, which need none.
#[derive(Debug, Default, Clone)]
pub struct Bytes {
    memory: Vec<u8>,
    /// When there are any, they stand for the memory's content.
    zeros: Option<&'static [u8]>,
}

impl Bytes {
    /// What was read, whatever it is.
    pub(super) fn read(memory: Vec<u8>) -> Self {
        let zeros = if all_zero(&memory) { zeros(memory.len()) } else { None };
        Self { memory, zeros }
    }

    /// Zeros; `memory` is kept for later.
    pub(super) fn zeros(zeros: &'static [u8], memory: Vec<u8>) -> Self {
        Self {
            memory,
            zeros: Some(zeros),
        }
    }

    /// True when all of them are known to be zeros.
    pub fn are_zeros(&self) -> bool {
        self.zeros.is_some()
    }

    /// Their memory, with anything in it.
    pub fn into_memory(self) -> Vec<u8> {
        self.memory
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.zeros.unwrap_or(&self.memory)
    }
}

/// So many zeros, if a chunk can have so many bytes; none when `len` is 0.
pub fn zeros(len: usize) -> Option<&'static [u8]> {
    ZEROS.get(..len).filter(|zeros| !zeros.is_empty())
}

/// True when there is no byte but zeros. Looks no further than the first other one, and fast until there.
pub fn all_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let zero = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) == 0;
    blocks.iter().all(|block| zero(block)) && zero(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_other_byte_anywhere_is_noticed() {
        for len in [0, 1, 63, 64, 65, 200] {
            let mut bytes = vec![0; len];
            assert!(all_zero(&bytes));
            for at in 0..len {
                bytes[at] = 0x80;
                assert!(!all_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn zeros_need_no_memory_and_give_it_back() {
        let found = Bytes::read(vec![0; 1000]);
        assert!(found.are_zeros() && *found == [0; 1000]);
        let memory = vec![7; 10];
        let hole = Bytes::zeros(zeros(1000).unwrap(), memory);
        assert!(hole.are_zeros() && *hole == [0; 1000]);
        assert_eq!(hole.into_memory(), [7; 10]);
        assert!(!Bytes::read(vec![0, 1]).are_zeros() && !Bytes::read(Vec::new()).are_zeros());
        assert_eq!((zeros(0), zeros(2 << 20)), (None, None));
    }
}
