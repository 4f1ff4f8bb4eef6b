//! `delta`: a chunk as the distances of its elements from those of another chunk.
//!
//! The payload is specified in `docs/format.md`, "delta". Finding a base, and loading it, is not here.

mod blocks;
mod cast;
mod guess;
mod order;
mod pack;
mod planes;
mod word;

use self::guess::{Blocks, Guess, guess};
use self::order::{Groups, Key};
use super::planes::Scratch as Planes;
use super::transpose::{join, split};
use super::zstd::{Expand, Squeeze};
use super::{Base, CodecError, sample};
use crate::tensor::Element;
use std::ops::Range;

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

/// Flags in the fourth byte: distances are sorted; blocks have classes.
const SORTED: u8 = 1;
const CLASSES: u8 = 2;

/// Memory for one chunk.
#[derive(Default)]
pub(super) struct Scratch {
    narrow: Vec<u8>,
    expected: Vec<u8>,
    distances: Vec<u8>,
    sorted: Vec<u8>,
    moved: Vec<u8>,
    moved_expected: Vec<u8>,
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
        blocks,
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
    let key = Key::of(kind).filter(|_| sorted);
    let classes = (blocks != Blocks::Alike).then(|| {
        let key = key.filter(|_| blocks == Blocks::Classes);
        let mut classes = blocks::classes(distances, expected, kind, key);
        blocks::merge_small(&mut classes, sorted_segment(kind) / blocks::BLOCK);
        let lengths = blocks::lengths(&classes, count);
        (classes, lengths)
    });
    let (distances, expected) = match &classes {
        Some((classes, lengths)) => {
            blocks::gather(distances, classes, lengths, width, &mut scratch.moved);
            blocks::gather(expected, classes, lengths, width, &mut scratch.moved_expected);
            (&*scratch.moved, &*scratch.moved_expected)
        }
        None => (&*distances, expected),
    };
    let moved = distances.len() / width;
    let parts = parts(classes.as_ref().map(|(_, lengths)| lengths), count, width);
    let (segments, distances) = match key {
        Some(key) => {
            let room = room(&mut scratch.sorted, distances.len());
            let mut segments = Vec::new();
            for part in parts {
                let (distances, expected) = (distances.get(part.clone())?, expected.get(part.clone())?);
                let groups = Groups::of(expected, kind, key);
                order::sort(distances, expected, kind, key, &groups, room.get_mut(part)?);
                segments.extend(sorted_segments(groups.lengths(), sorted_segment(kind)));
            }
            (segments, &*room)
        }
        None => (plain_segments(moved), distances),
    };

    let flags = (u8::from(sorted) * SORTED) | (u8::from(classes.is_some()) * CLASSES);
    out.extend_from_slice(&[element as u8, base.element as u8, kind as u8, flags]);
    out.extend_from_slice(&base.first.to_le_bytes());
    out.extend_from_slice(&(count as u32).to_le_bytes());
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(&(segments.len() as u16).to_le_bytes());
    if let Some((classes, _)) = classes {
        let head = out.len();
        out.extend_from_slice(&[0; 5]);
        let mode = planes::encode(squeeze, &mut scratch.room, &classes, true, out);
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

/// The byte ranges of the distances that are sorted by themselves: one for each class that moved.
fn parts(lengths: Option<&[usize; 256]>, count: usize, width: usize) -> Vec<Range<usize>> {
    let all = [count];
    let lengths = lengths.map_or(&all[..], |lengths| lengths.get(1..).unwrap_or_default());
    let mut end = 0;
    let parts = lengths.iter().map(|len| {
        let start = end;
        end += len * width;
        start..end
    });
    parts.filter(|part| !part.is_empty()).collect()
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
    classes: bool,
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
        let flags = codes.last().copied().unwrap_or(u8::MAX);
        if flags > SORTED | CLASSES {
            return Err(damaged("unknown flags"));
        }
        let segments = numbers.last_chunk().copied().unwrap_or_default();
        let this = Self {
            element: element(0)?,
            base: element(1)?,
            kind: element(2)?,
            sorted: flags & SORTED != 0,
            classes: flags & CLASSES != 0,
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

    let (classes, rest) = match head.classes {
        true => block_classes(expand, &mut scratch.room, count, rest)?,
        false => (None, rest),
    };
    let width = kind.width();
    let parts = parts(classes.as_ref().map(|(_, lengths)| lengths), count, width);
    let moved = parts.last().map_or(0, |part| part.end / width);

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
    match &classes {
        Some((classes, lengths)) => {
            blocks::gather(expected, classes, lengths, width, &mut scratch.moved_expected);
            let moved = room(&mut scratch.moved, moved * width);
            join_in_order(
                &planes,
                &scratch.moved_expected,
                &head,
                parts,
                &mut scratch.sorted,
                moved,
            )?;
            blocks::spread(moved, classes, lengths, width, target);
        }
        None => join_in_order(&planes, expected, &head, parts, &mut scratch.sorted, target)?,
    }
    word::advance(expected, kind, target);
    if narrowed {
        cast::widen(scratch.narrow.get(..count * kind.width()).unwrap_or_default(), body);
    }
    Ok((count * head.element.width(), rest))
}

/// The class of every block, and how many elements each class has.
type Classes = (Vec<u8>, [usize; 256]);

/// Reads the classes of the blocks of `count` elements, and returns what follows.
fn block_classes<'p>(
    expand: &mut Expand,
    room: &mut planes::Room,
    count: usize,
    payload: &'p [u8],
) -> Result<(Option<Classes>, &'p [u8]), CodecError> {
    let short = || damaged("it ends too early");
    let (head, rest) = payload.split_first_chunk::<5>().ok_or_else(short)?;
    let [mode, len @ ..] = *head;
    let (stored, rest) = rest
        .split_at_checked(u32::from_le_bytes(len) as usize)
        .ok_or_else(short)?;
    let mut classes = vec![0; count.div_ceil(blocks::BLOCK)];
    planes::decode(expand, room, mode, stored, &mut classes)?;
    let lengths = blocks::lengths(&classes, count);
    Ok((Some((classes, lengths)), rest))
}

/// Joins the planes of distances and puts those of each part into the order of their elements.
fn join_in_order(
    planes: &[&[u8]; 8],
    expected: &[u8],
    head: &Head,
    parts: Vec<Range<usize>>,
    sorted: &mut Vec<u8>,
    out: &mut [u8],
) -> Result<(), CodecError> {
    let kind = head.kind;
    if !head.sorted {
        join(planes, out, integer(kind));
        return Ok(());
    }
    let key = Key::of(kind).ok_or_else(|| damaged("an order of elements that have none"))?;
    let sorted = room(sorted, out.len());
    join(planes, sorted, integer(kind));
    for part in parts {
        let slices = sorted.get(part.clone()).zip(expected.get(part.clone()));
        if let (Some((sorted, expected)), Some(out)) = (slices, out.get_mut(part)) {
            let groups = Groups::of(expected, kind, key);
            order::unsort(sorted, expected, kind, key, &groups, out);
        }
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
