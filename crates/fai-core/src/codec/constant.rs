//! `constant`: a chunk that is one element over and over (fresh norms, zeroed moments, holes of sparse files).
//!
//! Payload: the element, 1 to 8 bytes. It repeats to the chunk's length; the last repetition may be cut short.

use super::CodecError;
use crate::tensor::Element;

/// Writes the repeated element when `raw` is nothing else.
pub(super) fn encode(raw: &[u8], element: Element, out: &mut Vec<u8>) -> bool {
    let width = element.width();
    let (Some(pattern), Some(shifted)) = (raw.get(..width), raw.get(width..)) else {
        return false;
    };
    // A sequence with period `width` equals itself shifted by `width`; one compare that stops at the first difference.
    if raw.len() <= width || raw.get(..shifted.len()) != Some(shifted) {
        return false;
    }
    out.extend_from_slice(pattern);
    true
}

/// Repeats the element over `out`.
pub(super) fn decode(pattern: &[u8], out: &mut [u8]) -> Result<(), CodecError> {
    if !matches!(pattern.len(), 1 | 2 | 4 | 8) || pattern.len() > out.len() {
        return Err(CodecError::Damaged {
            codec: "constant",
            reason: "an element of impossible length",
        });
    }
    for piece in out.chunks_mut(pattern.len()) {
        piece
            .iter_mut()
            .zip(pattern)
            .for_each(|(target, source)| *target = *source);
    }
    Ok(())
}
