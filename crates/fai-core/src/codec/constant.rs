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
    if pattern.len() > out.len() {
        return Err(LENGTH);
    }
    match *pattern {
        [byte] => out.fill(byte),
        [a, b] => repeat([a, b], out),
        [a, b, c, d] => repeat([a, b, c, d], out),
        [a, b, c, d, e, f, g, h] => repeat([a, b, c, d, e, f, g, h], out),
        _ => return Err(LENGTH),
    }
    Ok(())
}

const LENGTH: CodecError = CodecError::Damaged {
    codec: "constant",
    reason: "an element of impossible length",
};

fn repeat<const WIDTH: usize>(pattern: [u8; WIDTH], out: &mut [u8]) {
    let (elements, rest) = out.as_chunks_mut::<WIDTH>();
    elements.fill(pattern);
    rest.iter_mut()
        .zip(pattern)
        .for_each(|(target, source)| *target = source);
}
