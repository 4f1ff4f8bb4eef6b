//! `delta`: a chunk as its distances to the elements of another chunk.
//!
//! The payload is specified in `docs/format.md`, "delta". Finding a base, and loading it, is not here.

mod cast;
mod order;
mod planes;
mod word;

use self::order::{exponent, gather, groups, scatter};
use self::word::Word;
use super::planes::Scratch as Planes;
use super::transpose::{join, split};
use super::zstd::{Expand, Squeeze};
use super::{Base, CodecError};
use crate::tensor::Element;

/// Elements that a segment has at the least, where there are more.
const SEGMENT: usize = 16 << 10;

/// Bytes before the segments.
const HEAD: usize = 12;

/// Memory for one chunk.
#[derive(Default)]
pub(super) struct Scratch {
    cast: Vec<u8>,
    sorted: Vec<u8>,
    planes: Planes,
}

fn damaged(reason: &'static str) -> CodecError {
    CodecError::Damaged { codec: "delta", reason }
}

/// Sorted distances are integers: their planes are not rotated.
const fn integer(element: Element) -> Element {
    match element.width() {
        1 => Element::Byte,
        2 => Element::Int16,
        4 => Element::Int32,
        _ => Element::Int64,
    }
}

/// Appends distances from as much of `base` as `raw` has elements for, and returns how many bytes of `raw` they
/// cover; 0 when the base is of no use.
pub(super) fn encode(
    squeeze: &mut Squeeze,
    scratch: &mut Scratch,
    raw: &[u8],
    element: Element,
    base: Base<'_>,
    out: &mut Vec<u8>,
) -> usize {
    if !cast::possible(base.element, element) {
        return 0;
    }
    let skipped = (base.first as usize).saturating_mul(base.element.width());
    let base_bytes = base.bytes.get(skipped..).unwrap_or_default();
    let count = (base_bytes.len() / base.element.width()).min(raw.len() / element.width());
    if count == 0 {
        return 0;
    }
    let base_bytes = base_bytes.get(..count * base.element.width()).unwrap_or_default();
    let body = raw.get(..count * element.width()).unwrap_or_default();
    cast::cast(base_bytes, base.element, element, &mut scratch.cast);
    scratch.sorted.resize(body.len(), 0);
    let segments = match element.width() {
        1 => sort::<u8>(scratch, body, element),
        2 => sort::<u16>(scratch, body, element),
        4 => sort::<u32>(scratch, body, element),
        _ => sort::<u64>(scratch, body, element),
    };

    let width = element.width();
    out.push(element as u8);
    out.push(base.element as u8);
    out.extend_from_slice(&(segments.len() as u16).to_le_bytes());
    out.extend_from_slice(&base.first.to_le_bytes());
    out.extend_from_slice(&(count as u32).to_le_bytes());
    let heads = out.len();
    out.resize(heads + segments.len() * (4 + 5 * width), 0);
    let mut planes = scratch.planes.planes(width, count);
    split(&scratch.sorted, &mut planes, integer(element));
    let (mut at, mut head) = (0, heads);
    for segment in segments {
        write(out, head, &(segment as u32).to_le_bytes());
        head += 4;
        for plane in planes.iter().take(width) {
            let start = out.len();
            let mode = planes::encode(squeeze, plane.get(at..at + segment).unwrap_or_default(), out);
            let [a, b, c, d] = ((out.len() - start) as u32).to_le_bytes();
            write(out, head, &[mode, a, b, c, d]);
            head += 5;
        }
        at += segment;
    }
    body.len()
}

fn write(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(target) = out.get_mut(at..at + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

/// Fills `sorted` and returns the lengths of the segments.
fn sort<W: Word>(scratch: &mut Scratch, body: &[u8], element: Element) -> Vec<usize> {
    let (raw, base, sorted) = (W::all(body), W::all(&scratch.cast), W::all_mut(&mut scratch.sorted));
    let Some(field) = exponent(element) else {
        for ((raw, base), place) in raw.iter().zip(base).zip(sorted) {
            *place = W::from_bytes(*raw).distance(W::from_bytes(*base)).into_bytes();
        }
        return vec![raw.len()];
    };
    let groups = groups::<W>(base, field);
    scatter::<W>(raw, base, field, &groups, sorted);
    let (mut segments, mut open) = (Vec::new(), 0);
    for group in groups {
        open += group as usize;
        if open >= SEGMENT {
            segments.push(open);
            open = 0;
        }
    }
    match segments.last_mut() {
        Some(last) if open < SEGMENT => *last += open,
        _ => segments.push(open),
    }
    segments
}

/// Fills the start of `out` and returns how many bytes, and the rest of the payload.
pub(super) fn decode<'p>(
    expand: &mut Expand,
    scratch: &mut Scratch,
    payload: &'p [u8],
    base: &[u8],
    out: &mut [u8],
) -> Result<(usize, &'p [u8]), CodecError> {
    let short = || damaged("it ends too early");
    let (head, rest) = payload.split_first_chunk::<HEAD>().ok_or_else(short)?;
    let [element, base_element, s0, s1, f0, f1, f2, f3, c0, c1, c2, c3] = *head;
    let known = |code| Element::from_code(code).ok_or_else(|| damaged("unknown element"));
    let (element, base_element) = (known(element)?, known(base_element)?);
    if !cast::possible(base_element, element) {
        return Err(damaged("elements that do not go together"));
    }
    let (width, base_width) = (element.width(), base_element.width());
    let (segments, first, count) = (
        usize::from(u16::from_le_bytes([s0, s1])),
        u32::from_le_bytes([f0, f1, f2, f3]) as usize,
        u32::from_le_bytes([c0, c1, c2, c3]) as usize,
    );
    if count == 0 || count > out.len() / width {
        return Err(damaged("more elements than the chunk has"));
    }
    let range = first
        .checked_mul(base_width)
        .and_then(|start| Some(start..start.checked_add(count * base_width)?));
    let base = range
        .and_then(|range| base.get(range))
        .ok_or_else(|| damaged("its base is too short"))?;
    let (mut heads, mut data) = rest.split_at_checked(segments * (4 + 5 * width)).ok_or_else(short)?;

    let mut planes = scratch.planes.planes(width, count);
    let mut at = 0usize;
    for _ in 0..segments {
        let (len, later) = heads.split_first_chunk::<4>().ok_or_else(short)?;
        heads = later;
        let len = u32::from_le_bytes(*len) as usize;
        for plane in planes.iter_mut().take(width) {
            let (head, later) = heads.split_first_chunk::<5>().ok_or_else(short)?;
            let [mode, stored @ ..] = *head;
            let (stored, following) = data
                .split_at_checked(u32::from_le_bytes(stored) as usize)
                .ok_or_else(short)?;
            let piece = at
                .checked_add(len)
                .and_then(|end| plane.get_mut(at..end))
                .ok_or_else(|| damaged("segments longer than the elements"))?;
            planes::decode(expand, mode, stored, piece)?;
            (heads, data) = (later, following);
        }
        at += len;
    }
    if at != count {
        return Err(damaged("segments shorter than the elements"));
    }
    scratch.sorted.resize(count * width, 0);
    join(&planes.map(|plane| &*plane), &mut scratch.sorted, integer(element));
    cast::cast(base, base_element, element, &mut scratch.cast);
    let body = out.get_mut(..count * width).unwrap_or_default();
    match width {
        1 => unsort::<u8>(scratch, body, element),
        2 => unsort::<u16>(scratch, body, element),
        4 => unsort::<u32>(scratch, body, element),
        _ => unsort::<u64>(scratch, body, element),
    }
    Ok((count * width, data))
}

fn unsort<W: Word>(scratch: &Scratch, body: &mut [u8], element: Element) {
    let (raw, base, sorted) = (W::all_mut(body), W::all(&scratch.cast), W::all(&scratch.sorted));
    match exponent(element) {
        Some(field) => gather::<W>(sorted, base, field, &groups::<W>(base, field), raw),
        None => {
            for ((raw, base), distance) in raw.iter_mut().zip(base).zip(sorted) {
                *raw = W::from_bytes(*base).advance(W::from_bytes(*distance)).into_bytes();
            }
        }
    }
}
