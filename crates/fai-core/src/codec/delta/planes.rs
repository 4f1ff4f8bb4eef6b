//! Byte planes of sorted distances, cut into segments: each piece raw, one byte repeated, or a zstd frame.
//!
//! What the planes mean is not here.

use super::super::zstd::{Expand, Squeeze};
use super::super::{CodecError, sample};
use super::damaged;

const RAW: u8 = 0;
const ZSTD: u8 = 1;
const CONSTANT: u8 = 2;

/// Appends a plane in its best form and returns the mode.
pub(super) fn encode(squeeze: &mut Squeeze, plane: &[u8], out: &mut Vec<u8>) -> u8 {
    if let Some((first, rest)) = plane.split_first()
        && rest.iter().all(|byte| byte == first)
    {
        out.push(*first);
        return CONSTANT;
    }
    let start = out.len();
    let huffman = sample::entropy(plane) / 8.0;
    let worked = if squeeze.trial(sample::middle(plane), 8.0 * huffman) < huffman.max(1.0 / 8.0) {
        squeeze.fast(plane, out)
    } else {
        huffman < 0.975 && squeeze.huffman(plane, out)
    };
    if worked && out.len() - start < plane.len() {
        return ZSTD;
    }
    out.truncate(start);
    out.extend_from_slice(plane);
    RAW
}

/// Fills `plane` from its stored form.
pub(super) fn decode(expand: &mut Expand, mode: u8, stored: &[u8], plane: &mut [u8]) -> Result<(), CodecError> {
    match (mode, stored) {
        (RAW, _) if stored.len() == plane.len() => {
            plane.copy_from_slice(stored);
            Ok(())
        }
        (RAW, _) => Err(damaged("a raw plane of the wrong length")),
        (CONSTANT, [byte]) => {
            plane.fill(*byte);
            Ok(())
        }
        (CONSTANT, _) => Err(damaged("a repeated byte that is not one byte")),
        (ZSTD, _) => expand.fill(stored, plane, "delta"),
        _ => Err(damaged("unknown plane mode")),
    }
}
