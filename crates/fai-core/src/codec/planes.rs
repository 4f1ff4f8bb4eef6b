//! `planes`: elements split into byte planes, so that the predictable bytes of all of them stand together.
//!
//! Trained weights are near-Gaussian: their exponents take few values, their mantissas all. A float is rotated left
//! by one bit first, which moves the sign below the mantissa and fills the top byte with exponent bits only.
//! Planes are stored from the least significant byte up, each raw or as a zstd frame, whichever a sample favours.
//!
//! Payload: element code (u8); for every plane its mode (u8: 0 raw, 1 zstd) and length (u32); the planes; the bytes
//! after the last whole element.

use super::CodecError;
use super::sample;
use super::transpose::{join, split};
use super::zstd::{Expand, Squeeze};
use crate::tensor::Element;

const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// Memory for the planes of one chunk.
#[derive(Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// Room for `width` planes of `count` bytes, holding anything.
    pub(super) fn planes(&mut self, width: usize, count: usize) -> [&mut [u8]; 8] {
        // Planes that start a power of two apart, as those of full chunks would, compete for the same cache lines.
        let stride = count.next_multiple_of(4096) + 576;
        // Never shrunk, so that only the first chunk pays for the zeros.
        self.0.resize((width * stride).max(self.0.len()), 0);
        let mut planes: [&mut [u8]; 8] = Default::default();
        for (plane, room) in planes.iter_mut().zip(self.0.chunks_mut(stride)).take(width) {
            *plane = room.get_mut(..count).unwrap_or_default();
        }
        planes
    }
}

/// Encodes `raw`; false when nothing was gained.
pub(super) fn encode(
    squeeze: &mut Squeeze,
    scratch: &mut Scratch,
    raw: &[u8],
    element: Element,
    out: &mut Vec<u8>,
) -> bool {
    let width = element.width();
    let count = raw.len() / width;
    let (body, tail) = raw.split_at(count * width);
    let mut planes = scratch.planes(width, count);
    split(body, &mut planes, element);

    out.push(element as u8);
    let heads = out.len();
    out.resize(heads + 5 * width, 0);
    let mut gained = false;
    for (index, plane) in planes.iter().take(width).enumerate() {
        let start = out.len();
        let mode = encode_plane(squeeze, plane, out);
        gained |= mode == ZSTD;
        let len = ((out.len() - start) as u32).to_le_bytes();
        let [a, b, c, d] = len;
        if let Some(head) = out.get_mut(heads + 5 * index..heads + 5 * index + 5) {
            head.copy_from_slice(&[mode, a, b, c, d]);
        }
    }
    out.extend_from_slice(tail);
    gained
}

/// Appends a plane in its best form and returns the mode.
fn encode_plane(squeeze: &mut Squeeze, plane: &[u8], out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    let huffman = sample::entropy(plane) / 8.0;
    // Matches must win clearly: they cost speed both ways.
    let worked = if squeeze.trial(sample::middle(plane), 8.0 * huffman) < 0.85 * huffman {
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

/// Decodes a payload into `out`.
pub(super) fn decode(
    expand: &mut Expand,
    scratch: &mut Scratch,
    payload: &[u8],
    out: &mut [u8],
) -> Result<(), CodecError> {
    let damaged = |reason| CodecError::Damaged {
        codec: "planes",
        reason,
    };
    let short = || damaged("it ends too early");
    let (&code, mut rest) = payload.split_first().ok_or_else(short)?;
    let element = Element::from_code(code)
        .filter(|e| *e != Element::Opaque)
        .ok_or_else(|| damaged("unknown element"))?;
    let width = element.width();
    let count = out.len() / width;
    if count == 0 {
        return Err(damaged("shorter than one element"));
    }
    let (heads, mut data) = rest.split_at_checked(5 * width).ok_or_else(short)?;
    rest = heads;

    // Raw planes are joined from where they lie.
    let mut planes: [&[u8]; 8] = [&[]; 8];
    let rooms = scratch.planes(width, count);
    for (plane, room) in planes.iter_mut().zip(rooms).take(width) {
        let (head, later) = rest.split_first_chunk::<5>().ok_or_else(short)?;
        let [mode, len @ ..] = *head;
        let (stored, following) = data
            .split_at_checked(u32::from_le_bytes(len) as usize)
            .ok_or_else(short)?;
        *plane = match mode {
            RAW if stored.len() == count => stored,
            RAW => return Err(damaged("a raw plane of the wrong length")),
            ZSTD => {
                expand.fill(stored, room, "planes")?;
                room
            }
            _ => return Err(damaged("unknown plane mode")),
        };
        (rest, data) = (later, following);
    }
    let (body, tail) = out.split_at_mut(count * width);
    if data.len() != tail.len() {
        return Err(damaged("bytes after the last plane"));
    }
    tail.copy_from_slice(data);
    join(&planes, body, element);
    Ok(())
}
