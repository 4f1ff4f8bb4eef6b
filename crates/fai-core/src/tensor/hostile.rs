//! What the parsers' tests share to be unkind: truncations, bit flips and huge sparse sources. Test-only.

use super::{Layout, LayoutError, ReadAt};
use std::io;

type Parse = fn(&dyn ReadAt) -> Result<Option<Layout>, LayoutError>;

/// A source of `len` bytes: `head`, then zeros that exist nowhere.
pub(super) struct Sparse {
    pub(super) head: Vec<u8>,
    pub(super) len: u64,
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        let start = usize::try_from(offset).unwrap().min(self.head.len());
        let count = buffer.len().min(self.head.len() - start);
        buffer[..count].copy_from_slice(&self.head[start..start + count]);
        Ok(())
    }
}

/// Parses every proper prefix of a valid file: none may give a layout other than the whole file's.
pub(super) fn truncations(parse: Parse, valid: &[u8]) {
    let whole = parse(&valid.to_vec()).unwrap().unwrap();
    for len in 0..valid.len() {
        if let Ok(Some(layout)) = parse(&valid[..len].to_vec()) {
            assert_eq!(layout, whole, "prefix of {len} bytes");
        }
    }
}

/// Parses `rounds` copies of a valid file with one to four bytes changed in `..structure`: whatever is still
/// accepted must lie inside the file. The sequence is the same on every run.
pub(super) fn flips(parse: Parse, valid: &[u8], structure: usize, rounds: u32) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut accepted, mut refused) = (0u32, 0u32);
    for _ in 0..rounds {
        let mut bytes = valid.to_vec();
        for _ in 0..=random() % 4 {
            let at = random() as usize % structure;
            // Whole random bytes and single bits reach different checks.
            bytes[at] = match random() % 2 {
                0 => random() as u8,
                _ => bytes[at] ^ (1 << (random() % 8)),
            };
        }
        match parse(&bytes) {
            Ok(Some(layout)) => {
                inside(&layout, bytes.len() as u64);
                accepted += 1;
            }
            Ok(None) | Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}

/// What every accepted layout promises to the code that works on it.
fn inside(layout: &Layout, len: u64) {
    for tensor in &layout.tensors {
        assert!(tensor.range.start <= tensor.range.end, "{tensor:?}");
        assert!(tensor.range.end <= len, "{tensor:?} in {len} bytes");
        if tensor.contiguous {
            let bytes = tensor.dtype.byte_len(tensor.elements());
            assert_eq!(bytes, Some(tensor.range.end - tensor.range.start), "{tensor:?}");
        }
    }
    for region in layout.regions() {
        let bytes = region.range.end - region.range.start;
        assert_eq!(bytes % region.element.width() as u64, 0, "{region:?}");
    }
}
