//! `delta`: a chunk as the distances of its elements from those of another chunk.
//!
//! The payload is specified in `docs/format.md`, "delta". Finding a base, and loading it, is not here.

mod cast;
mod guess;
mod live;
mod order;
mod pack;
mod planes;
mod word;

use self::guess::{Guess, guess};
use self::order::{Groups, Key};
use super::planes::Scratch as Planes;
use super::transpose::{join, split};
use super::zstd::{Expand, Squeeze};
use super::{Base, CodecError, sample};
use crate::tensor::Element;

/// Elements that a segment of sorted distances has at the least, where there are more: bytes have many keys, and
/// little to tell apart for each.
const fn sorted_segment(element: Element) -> usize {
    match element.width() {
        1 => 64 << 10,
        _ => 8 << 10,
    }
}

/// Elements that a segment of distances in the chunk's own order has at the most.
const PLAIN_SEGMENT: usize = 128 << 10;

/// Bytes before the segments.
const HEAD: usize = 18;

/// Flags in the fourth byte: distances are sorted; blocks without any are left out.
const SORTED: u8 = 1;
const LIVE: u8 = 2;

/// The share of blocks in which nothing may have moved for them to be left out.
const STILL: f64 = 0.15;

/// Memory for one chunk.
#[derive(Default)]
pub(super) struct Scratch {
    narrow: Vec<u8>,
    expected: Vec<u8>,
    distances: Vec<u8>,
    sorted: Vec<u8>,
    live_distances: Vec<u8>,
    live_expected: Vec<u8>,
    planes: Planes,
    room: planes::Room,
}

/// What came of encoding.
pub(super) struct Outcome {
    /// How many bytes of the chunk, from its start, the delta holds.
    pub covered: usize,
    /// What the whole chunk is expected to take by itself, in bytes.
    pub alone: f64,
}

fn damaged(reason: &'static str) -> CodecError {
    CodecError::Damaged { codec: "delta", reason }
}

/// Distances are integers: their planes are not rotated.
const fn integer(element: Element) -> Element {
    match element.width() {
        1 => Element::Byte,
        2 => Element::Int16,
        4 => Element::Int32,
        _ => Element::Int64,
    }
}

/// At least `len` bytes holding anything, never shrunk, so that only the first chunk pays for the zeros.
fn room(bytes: &mut Vec<u8>, len: usize) -> &mut [u8] {
    bytes.resize(len.max(bytes.len()), 0);
    bytes.get_mut(..len).unwrap_or_default()
}

fn write(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(target) = out.get_mut(at..at + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

/// Appends the distances of as many elements as `base` reaches. Nothing when the base is of no use, as far as a sample
/// can tell.
pub(super) fn encode(
    squeeze: &mut Squeeze,
    scratch: &mut Scratch,
    raw: &[u8],
    element: Element,
    base: Base<'_>,
    out: &mut Vec<u8>,
) -> Option<Outcome> {
    if !cast::possible(base.element, element) {
        return None;
    }
    let base_width = base.element.width();
    let base_bytes = base.bytes.get((base.first as usize).checked_mul(base_width)?..)?;
    let count = (base_bytes.len() / base_width).min(raw.len() / element.width());
    if count == 0 {
        return None;
    }
    let base_bytes = base_bytes.get(..count * base_width)?;
    let body = raw.get(..count * element.width())?;

    // An f32 chunk made from bf16 is one of bf16, with half the work.
    let narrowed = element == Element::F32 && cast::narrow(body, &mut scratch.narrow);
    let (body, kind) = match narrowed {
        true => (&*scratch.narrow, Element::Bf16),
        false => (body, element),
    };
    let Guess {
        scale,
        sorted,
        bits,
        alone,
        still,
    } = guess(body, kind, base_bytes, base.element);
    let alone = match kind.is_float() {
        true => alone,
        // Weights hold no sequences that recur; other data may be made of them.
        false => {
            let width = element.width() as f64;
            alone.min(8.0 * width * squeeze.trial(sample::middle(body), alone / width))
        }
    };
    if bits > 0.97 * alone {
        return None;
    }

    let expected = cast::expected(base_bytes, base.element, kind, scale, &mut scratch.expected);
    let distances = room(&mut scratch.distances, body.len());
    word::distances(body, expected, kind, distances);
    let width = kind.width();
    let flags = (still > STILL).then(|| live::flags(distances, live::BLOCK * width));
    let (distances, expected) = match &flags {
        Some(flags) => {
            let block = live::BLOCK * width;
            live::gather(distances, flags, block, &mut scratch.live_distances);
            live::gather(expected, flags, block, &mut scratch.live_expected);
            (&*scratch.live_distances, &*scratch.live_expected)
        }
        None => (&*distances, expected),
    };
    let moved = distances.len() / width;
    let (segments, distances) = match Key::of(kind).filter(|_| sorted) {
        Some(key) => {
            let groups = Groups::of(expected, kind, key);
            let room = room(&mut scratch.sorted, distances.len());
            order::sort(distances, expected, kind, key, &groups, room);
            (sorted_segments(groups.lengths(), sorted_segment(kind)), &*room)
        }
        None => (plain_segments(moved), distances),
    };

    let order = (u8::from(sorted) * SORTED) | (u8::from(flags.is_some()) * LIVE);
    out.extend_from_slice(&[element as u8, base.element as u8, kind as u8, order]);
    out.extend_from_slice(&base.first.to_le_bytes());
    out.extend_from_slice(&(count as u32).to_le_bytes());
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(&(segments.len() as u16).to_le_bytes());
    if let Some(flags) = flags {
        let head = out.len();
        out.extend_from_slice(&[0; 5]);
        let mode = planes::simple(squeeze, &flags, true, out);
        let [a, b, c, d] = ((out.len() - head - 5) as u32).to_le_bytes();
        write(out, head, &[mode, a, b, c, d]);
    }
    let mut head = out.len();
    out.resize(head + segments.len() * (4 + 5 * width), 0);
    let mut planes = scratch.planes.planes(width, moved);
    split(distances, &mut planes, integer(kind));
    let mut at = 0;
    for segment in segments {
        write(out, head, &(segment as u32).to_le_bytes());
        head += 4;
        for plane in planes.iter().take(width) {
            let start = out.len();
            let piece = plane.get(at..at + segment).unwrap_or_default();
            let mode = planes::encode(squeeze, &mut scratch.room, piece, !sorted, out);
            let [a, b, c, d] = ((out.len() - start) as u32).to_le_bytes();
            write(out, head, &[mode, a, b, c, d]);
            head += 5;
        }
        at += segment;
    }
    Some(Outcome {
        covered: count * element.width(),
        alone: alone * raw.len() as f64 / 8.0 / element.width() as f64,
    })
}

/// Neighbouring groups together, until there are enough elements for a code of their own.
fn sorted_segments(groups: impl Iterator<Item = usize>, least: usize) -> Vec<usize> {
    let (mut segments, mut open) = (Vec::new(), 0);
    for group in groups {
        open += group;
        if open >= least {
            segments.push(open);
            open = 0;
        }
    }
    match segments.last_mut() {
        Some(last) => *last += open,
        None if open > 0 => segments.push(open),
        None => {}
    }
    segments
}

/// Equal pieces of a chunk of `count` elements.
fn plain_segments(count: usize) -> Vec<usize> {
    let pieces = count.div_ceil(PLAIN_SEGMENT);
    (0..pieces)
        .map(|piece| (piece + 1) * count / pieces - piece * count / pieces)
        .collect()
}

/// What stands before the planes.
struct Head {
    element: Element,
    base: Element,
    kind: Element,
    sorted: bool,
    live: bool,
    first: usize,
    count: usize,
    scale: u32,
    segments: usize,
}

impl Head {
    /// Reads it from the start of `payload`, and returns what follows.
    fn read(payload: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (head, rest) = payload
            .split_first_chunk::<HEAD>()
            .ok_or_else(|| damaged("it ends too early"))?;
        let (codes, numbers) = head.split_at(4);
        let element = |at: usize| {
            let code = codes.get(at).copied().unwrap_or(u8::MAX);
            Element::from_code(code).ok_or_else(|| damaged("unknown element"))
        };
        let number = |at: usize| {
            let bytes = numbers.get(at..).and_then(|bytes| bytes.first_chunk());
            u32::from_le_bytes(bytes.copied().unwrap_or_default())
        };
        let order = codes.last().copied().unwrap_or(u8::MAX);
        if order > SORTED | LIVE {
            return Err(damaged("unknown order"));
        }
        let segments = numbers.last_chunk().copied().unwrap_or_default();
        let this = Self {
            element: element(0)?,
            base: element(1)?,
            kind: element(2)?,
            sorted: order & SORTED != 0,
            live: order & LIVE != 0,
            first: number(0) as usize,
            count: number(4) as usize,
            scale: number(8),
            segments: usize::from(u16::from_le_bytes(segments)),
        };
        let narrowed = this.element == Element::F32 && this.kind == Element::Bf16;
        if !cast::possible(this.base, this.kind) || !(narrowed || this.kind == this.element) {
            return Err(damaged("elements that do not go together"));
        }
        let scalable = this.kind == Element::F32 && this.base == Element::F32 && f32::from_bits(this.scale).is_normal();
        if this.scale != cast::UNSCALED && !scalable {
            return Err(damaged("a scale that cannot be"));
        }
        Ok((this, rest))
    }
}

/// Fills the start of `out` and returns how many bytes, and the rest of the payload.
pub(super) fn decode<'p>(
    expand: &mut Expand,
    scratch: &mut Scratch,
    payload: &'p [u8],
    base: &[u8],
    out: &mut [u8],
) -> Result<(usize, &'p [u8]), CodecError> {
    let (head, rest) = Head::read(payload)?;
    let (kind, count) = (head.kind, head.count);
    if count == 0 || count > out.len() / head.element.width() {
        return Err(damaged("another number of elements than the chunk has"));
    }
    let start = head.first.checked_mul(head.base.width());
    let base = start
        .and_then(|start| base.get(start..)?.get(..count.checked_mul(head.base.width())?))
        .ok_or_else(|| damaged("its base is too short"))?;

    let (flags, rest) = match head.live {
        true => live_flags(expand, count, rest)?,
        false => (None, rest),
    };
    let moved = flags.as_deref().map_or(count, |flags| live::count(flags, count));

    let mut planes = scratch.planes.planes(kind.width(), moved);
    let rest = fill(expand, &mut scratch.room, &head, moved, rest, &mut planes)?;
    let planes = planes.map(|plane| &*plane);

    let body = out.get_mut(..count * head.element.width()).unwrap_or_default();
    let expected = cast::expected(base, head.base, kind, head.scale, &mut scratch.expected);
    let narrowed = kind != head.element;
    let target = match narrowed {
        true => room(&mut scratch.narrow, count * kind.width()),
        false => &mut *body,
    };
    match &flags {
        Some(flags) => {
            let block = live::BLOCK * kind.width();
            live::gather(expected, flags, block, &mut scratch.live_expected);
            let live = room(&mut scratch.live_distances, moved * kind.width());
            join_in_order(&planes, &scratch.live_expected, &head, &mut scratch.sorted, live)?;
            live::spread(live, flags, block, target);
        }
        None => join_in_order(&planes, expected, &head, &mut scratch.sorted, target)?,
    }
    word::advance(expected, kind, target);
    if narrowed {
        cast::widen(scratch.narrow.get(..count * kind.width()).unwrap_or_default(), body);
    }
    Ok((count * head.element.width(), rest))
}

/// Reads which blocks of `count` elements have distances, and returns what follows.
fn live_flags<'p>(
    expand: &mut Expand,
    count: usize,
    payload: &'p [u8],
) -> Result<(Option<Vec<u8>>, &'p [u8]), CodecError> {
    let short = || damaged("it ends too early");
    let (head, rest) = payload.split_first_chunk::<5>().ok_or_else(short)?;
    let [mode, len @ ..] = *head;
    let (stored, rest) = rest
        .split_at_checked(u32::from_le_bytes(len) as usize)
        .ok_or_else(short)?;
    let mut flags = vec![0; live::flags_len(count)];
    planes::expand_simple(expand, mode, stored, &mut flags)?;
    Ok((Some(flags), rest))
}

/// Joins the planes of distances and puts these into the order of their elements.
fn join_in_order(
    planes: &[&[u8]; 8],
    expected: &[u8],
    head: &Head,
    sorted: &mut Vec<u8>,
    out: &mut [u8],
) -> Result<(), CodecError> {
    let kind = head.kind;
    match Key::of(kind).filter(|_| head.sorted) {
        Some(key) => {
            let sorted = room(sorted, out.len());
            join(planes, sorted, integer(kind));
            let groups = Groups::of(expected, kind, key);
            order::unsort(sorted, expected, kind, key, &groups, out);
        }
        None if head.sorted => return Err(damaged("an order of elements that have none")),
        None => join(planes, out, integer(kind)),
    }
    Ok(())
}

/// Fills the planes from the segments and returns what follows these.
fn fill<'p>(
    expand: &mut Expand,
    room: &mut planes::Room,
    head: &Head,
    moved: usize,
    payload: &'p [u8],
    planes: &mut [&mut [u8]; 8],
) -> Result<&'p [u8], CodecError> {
    let short = || damaged("it ends too early");
    let width = head.kind.width();
    let (mut heads, mut data) = payload
        .split_at_checked(head.segments * (4 + 5 * width))
        .ok_or_else(short)?;
    let mut at = 0usize;
    for _ in 0..head.segments {
        let (len, later) = heads.split_first_chunk::<4>().ok_or_else(short)?;
        heads = later;
        let end = at.saturating_add(u32::from_le_bytes(*len) as usize);
        for plane in planes.iter_mut().take(width) {
            let (entry, later) = heads.split_first_chunk::<5>().ok_or_else(short)?;
            let [mode, stored @ ..] = *entry;
            let (stored, following) = data
                .split_at_checked(u32::from_le_bytes(stored) as usize)
                .ok_or_else(short)?;
            let piece = plane
                .get_mut(at..end)
                .ok_or_else(|| damaged("segments longer than the elements"))?;
            planes::decode(expand, room, mode, stored, piece)?;
            (heads, data) = (later, following);
        }
        at = end;
    }
    if at != moved {
        return Err(damaged("segments shorter than the elements"));
    }
    Ok(data)
}
