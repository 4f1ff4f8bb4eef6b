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
use super::zstd::{Expand, Squeeze};
use crate::tensor::Element;

const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// Memory for the planes of one chunk.
#[derive(Default)]
pub(super) struct Scratch(Vec<u8>);

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
    scratch.0.resize(body.len().max(scratch.0.len()), 0);
    let Some(planes) = scratch.0.get_mut(..body.len()) else {
        return false;
    };
    split(body, planes, element);

    out.push(element as u8);
    let heads = out.len();
    out.resize(heads + 5 * width, 0);
    let mut gained = false;
    for (index, plane) in planes.chunks_exact(count.max(1)).enumerate() {
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
    let trial_on = sample::middle(plane);
    let matched = squeeze.trial(trial_on) as f64 / trial_on.len().max(1) as f64;
    // Matches must win clearly: they cost speed both ways.
    let worked = if matched < 0.85 * huffman {
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

    scratch.0.resize((count * width).max(scratch.0.len()), 0);
    let planes = scratch.0.get_mut(..count * width).ok_or_else(short)?;
    for plane in planes.chunks_exact_mut(count) {
        let (head, later) = rest.split_first_chunk::<5>().ok_or_else(short)?;
        let [mode, len @ ..] = *head;
        let (stored, following) = data
            .split_at_checked(u32::from_le_bytes(len) as usize)
            .ok_or_else(short)?;
        match mode {
            RAW if stored.len() == count => plane.copy_from_slice(stored),
            RAW => return Err(damaged("a raw plane of the wrong length")),
            ZSTD => expand.fill(stored, plane, "planes")?,
            _ => return Err(damaged("unknown plane mode")),
        }
        (rest, data) = (later, following);
    }
    let (body, tail) = out.split_at_mut(count * width);
    if data.len() != tail.len() {
        return Err(damaged("bytes after the last plane"));
    }
    tail.copy_from_slice(data);
    join(planes, body, element);
    Ok(())
}

/// Splits whole elements into planes, least significant first; floats are rotated.
fn split(body: &[u8], planes: &mut [u8], element: Element) {
    let rotation = u32::from(element.is_float());
    match element.width() {
        1 => planes.copy_from_slice(body),
        2 => split2(body, planes, rotation),
        4 => split4(body, planes, rotation),
        _ => split8(body, planes, rotation),
    }
}

/// Undoes [`split`].
fn join(planes: &[u8], body: &mut [u8], element: Element) {
    let rotation = u32::from(element.is_float());
    match element.width() {
        1 => body.copy_from_slice(planes),
        2 => join2(planes, body, rotation),
        4 => join4(planes, body, rotation),
        _ => join8(planes, body, rotation),
    }
}

// Plain loops over equally long slices: the compiler turns them into vector code.

fn split2(body: &[u8], planes: &mut [u8], rotation: u32) {
    let (low, high) = planes.split_at_mut(planes.len() / 2);
    let (elements, _) = body.as_chunks::<2>();
    for ((element, low), high) in elements.iter().zip(low).zip(high) {
        let bits = u16::from_le_bytes(*element).rotate_left(rotation);
        *low = bits as u8;
        *high = (bits >> 8) as u8;
    }
}

fn join2(planes: &[u8], body: &mut [u8], rotation: u32) {
    let (low, high) = planes.split_at(planes.len() / 2);
    let (elements, _) = body.as_chunks_mut::<2>();
    for ((element, low), high) in elements.iter_mut().zip(low).zip(high) {
        *element = (u16::from(*low) | u16::from(*high) << 8)
            .rotate_right(rotation)
            .to_le_bytes();
    }
}

fn split4(body: &[u8], planes: &mut [u8], rotation: u32) {
    let count = planes.len() / 4;
    let (a, rest) = planes.split_at_mut(count);
    let (b, rest) = rest.split_at_mut(count);
    let (c, d) = rest.split_at_mut(count);
    let (elements, _) = body.as_chunks::<4>();
    for ((((element, a), b), c), d) in elements.iter().zip(a).zip(b).zip(c).zip(d) {
        let bits = u32::from_le_bytes(*element).rotate_left(rotation);
        *a = bits as u8;
        *b = (bits >> 8) as u8;
        *c = (bits >> 16) as u8;
        *d = (bits >> 24) as u8;
    }
}

fn join4(planes: &[u8], body: &mut [u8], rotation: u32) {
    let count = planes.len() / 4;
    let (a, rest) = planes.split_at(count);
    let (b, rest) = rest.split_at(count);
    let (c, d) = rest.split_at(count);
    let (elements, _) = body.as_chunks_mut::<4>();
    for ((((element, a), b), c), d) in elements.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *element = u32::from_le_bytes([*a, *b, *c, *d])
            .rotate_right(rotation)
            .to_le_bytes();
    }
}

fn split8(body: &[u8], planes: &mut [u8], rotation: u32) {
    let count = planes.len() / 8;
    let (elements, _) = body.as_chunks::<8>();
    for (index, plane) in planes.chunks_exact_mut(count.max(1)).enumerate() {
        for (element, target) in elements.iter().zip(plane) {
            *target = (u64::from_le_bytes(*element).rotate_left(rotation) >> (8 * index)) as u8;
        }
    }
}

fn join8(planes: &[u8], body: &mut [u8], rotation: u32) {
    let count = planes.len() / 8;
    body.fill(0);
    let (elements, _) = body.as_chunks_mut::<8>();
    for (index, plane) in planes.chunks_exact(count.max(1)).enumerate() {
        for (element, source) in elements.iter_mut().zip(plane) {
            let bits = u64::from_le_bytes(*element) | u64::from(*source) << (8 * index);
            *element = bits.to_le_bytes();
        }
    }
    for element in elements {
        *element = u64::from_le_bytes(*element).rotate_right(rotation).to_le_bytes();
    }
}
