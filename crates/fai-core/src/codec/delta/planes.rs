//! One plane of one segment: raw, one byte repeated, a zstd frame, or packed bits that are again one of these.
//!
//! What the planes mean is not here.

use super::super::zstd::{Expand, Squeeze};
use super::super::{CodecError, sample};
use super::damaged;
use super::pack::{DENSE, PADDING, pack, packed_len, restore, unpack};

const RAW: u8 = 0;
const ZSTD: u8 = 1;
const CONSTANT: u8 = 2;
/// Packed by 1, 2 and 4 bits.
const PACKED: [(u8, u32); 3] = [(3, 1), (4, 2), (5, 4)];

/// Memory for the packed form of one plane.
#[derive(Default)]
pub(super) struct Room {
    packed: Vec<u8>,
    rest: Vec<u8>,
}

/// Appends a plane in its best form and returns the mode. `matches` tells whether recurring sequences are worth looking
/// for.
pub(super) fn encode(squeeze: &mut Squeeze, room: &mut Room, plane: &[u8], matches: bool, out: &mut Vec<u8>) -> u8 {
    if let Some(byte) = constant(plane) {
        out.push(byte);
        return CONSTANT;
    }
    let costs = Costs::of(plane);
    let Some((mode, bits)) = costs.packing(plane.len()) else {
        return compress(squeeze, plane, &costs, matches, out);
    };
    pack(
        plane,
        bits,
        costs.beyond(bits) > 1.0 / DENSE as f64,
        &mut room.packed,
        &mut room.rest,
    );
    let head = out.len();
    out.extend_from_slice(&[0; 5]);
    let start = out.len();
    let packed_mode = simple(squeeze, &room.packed, matches, out);
    let [a, b, c, d] = ((out.len() - start) as u32).to_le_bytes();
    super::write(out, head, &[packed_mode, a, b, c, d]);
    if !room.rest.is_empty() {
        let head = out.len();
        out.push(0);
        let rest_mode = simple(squeeze, &room.rest, false, out);
        super::write(out, head, &[rest_mode]);
    }
    mode
}

/// Appends bytes raw, as one that repeats, or as a zstd frame, and returns the mode.
fn simple(squeeze: &mut Squeeze, bytes: &[u8], matches: bool, out: &mut Vec<u8>) -> u8 {
    if let Some(byte) = constant(bytes) {
        out.push(byte);
        return CONSTANT;
    }
    compress(squeeze, bytes, &Costs::of(bytes), matches, out)
}

/// Appends bytes raw or as a zstd frame.
fn compress(squeeze: &mut Squeeze, bytes: &[u8], costs: &Costs, matches: bool, out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    let (entropy, huffman) = (costs.entropy(0, 256), costs.plain());
    // Long runs of one byte are matches too, and the only ones in what is sorted.
    let runs = entropy < 1.0;
    let worked = if (matches || runs) && 8.0 * squeeze.trial(sample::middle(bytes), entropy) < 0.95 * huffman {
        squeeze.fast(bytes, out)
    } else {
        huffman < 7.8 && squeeze.huffman(bytes, out)
    };
    if worked && out.len() - start < bytes.len() {
        return ZSTD;
    }
    out.truncate(start);
    out.extend_from_slice(bytes);
    RAW
}

/// The byte that all are.
fn constant(bytes: &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    (bytes.get(..rest.len()) == Some(rest)).then_some(*first)
}

/// What a sample says of the lengths of forms, in bits a byte.
struct Costs {
    counts: [u32; 256],
}

impl Costs {
    fn of(bytes: &[u8]) -> Self {
        Self {
            counts: sample::counts(bytes),
        }
    }

    fn values(&self, from: usize, to: usize) -> impl Iterator<Item = f64> + Clone {
        let values = self.counts.get(from..to).unwrap_or_default().iter();
        values.filter(|count| **count > 0).map(|&count| f64::from(count))
    }

    /// Entropy of the values in a range, in bits each.
    fn entropy(&self, from: usize, to: usize) -> f64 {
        entropy(self.values(from, to))
    }

    /// A Huffman code of all values.
    fn plain(&self) -> f64 {
        let total: f64 = self.values(0, 256).sum();
        let most = self.values(0, 256).fold(0.0, f64::max);
        huffman(self.entropy(0, 256), most / total.max(1.0))
    }

    /// The share of values that need more than `bits`.
    fn beyond(&self, bits: u32) -> f64 {
        let total: f64 = self.values(0, 256).sum();
        self.values((1usize << bits) - 1, 256).sum::<f64>() / total.max(1.0)
    }

    /// The mode and bits that suit a plane of `len` bytes best, if it should be packed.
    fn packing(&self, len: usize) -> Option<(u8, u32)> {
        if self.beyond(4) > 0.6 {
            return None;
        }
        // Two more frames have heads and tables.
        let heads = 400.0 / len.max(1) as f64;
        let costs = PACKED.map(|(mode, bits)| (self.packed(bits) + heads, mode, bits));
        let (cost, mode, bits) = costs.into_iter().min_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
        (cost < 0.98 * self.plain().min(8.0)).then_some((mode, bits))
    }

    /// Packed by `bits`, and Huffman codes of both parts.
    fn packed(&self, bits: u32) -> f64 {
        let most = (1usize << bits) - 1;
        let total: f64 = self.values(0, 256).sum();
        let beyond: f64 = self.values(most, 256).sum();
        let symbols = || self.values(0, most).chain((beyond > 0.0).then_some(beyond));
        let per_byte = f64::from(8 / bits);
        let top = symbols().fold(0.0, f64::max) / total.max(1.0);
        let packed = huffman(per_byte * entropy(symbols()), top.powf(per_byte)).min(8.0) / per_byte;
        let top = self.values(most, 256).fold(0.0, f64::max) / beyond.max(1.0);
        packed + beyond / total.max(1.0) * huffman(self.entropy(most, 256), top).min(8.0)
    }
}

fn entropy(counts: impl Iterator<Item = f64> + Clone) -> f64 {
    let total: f64 = counts.clone().sum();
    counts.map(|n| n * (total / n).log2()).sum::<f64>() / total.max(1.0)
}

/// Bits that a Huffman code takes for a symbol, when the entropy is `entropy` and the likeliest symbol has the
/// probability `top`: at least one, however likely it is.
fn huffman(entropy: f64, top: f64) -> f64 {
    if top < 0.45 {
        return entropy + 0.02;
    }
    let coin = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    1.0 + (entropy - coin(top) - coin(1.0 - top)).max(0.0) + 0.03 * (1.0 - top)
}

/// Fills `plane` from its stored form.
pub(super) fn decode(
    expand: &mut Expand,
    room: &mut Room,
    mode: u8,
    stored: &[u8],
    plane: &mut [u8],
) -> Result<(), CodecError> {
    let Some((_, bits)) = PACKED.into_iter().find(|(packed, _)| *packed == mode) else {
        return expand_simple(expand, mode, stored, plane);
    };
    let short = || damaged("it ends too early");
    let (head, stored) = stored.split_first_chunk::<5>().ok_or_else(short)?;
    let [packed_mode, len @ ..] = *head;
    let (packed, stored) = stored
        .split_at_checked(u32::from_le_bytes(len) as usize)
        .ok_or_else(short)?;
    let bytes = packed_len(plane.len(), bits);
    // Never shrunk, so that only the first plane pays for the zeros.
    room.packed.resize(bytes.max(room.packed.len()), 0);
    let room_packed = room.packed.get_mut(..bytes).unwrap_or_default();
    expand_simple(expand, packed_mode, packed, room_packed)?;
    let beyond = unpack(room_packed, bits, plane);
    match stored.split_first() {
        None if beyond == 0 => Ok(()),
        Some((&rest_mode, stored)) if beyond > 0 => {
            room.rest.resize((beyond + PADDING).max(room.rest.len()), 0);
            let rest = room.rest.get_mut(..beyond).unwrap_or_default();
            expand_simple(expand, rest_mode, stored, rest)?;
            restore(plane, bits, room.rest.get(..beyond + PADDING).unwrap_or_default());
            Ok(())
        }
        None => Err(short()),
        Some(_) => Err(damaged("bytes after a packed plane")),
    }
}

/// Undoes [`simple`].
fn expand_simple(expand: &mut Expand, mode: u8, stored: &[u8], bytes: &mut [u8]) -> Result<(), CodecError> {
    match (mode, stored) {
        (RAW, _) if stored.len() == bytes.len() => {
            bytes.copy_from_slice(stored);
            Ok(())
        }
        (RAW, _) => Err(damaged("a raw plane of the wrong length")),
        (CONSTANT, [byte]) => {
            bytes.fill(*byte);
            Ok(())
        }
        (CONSTANT, _) => Err(damaged("a repeated byte that is not one byte")),
        (ZSTD, _) => expand.fill(stored, bytes, "delta"),
        _ => Err(damaged("unknown plane mode")),
    }
}
