//! How a chunk is encoded: chosen by looking at a sample, never larger than raw, decodable from the record alone.
//!
//! [`Encoder`] and [`Decoder`] keep scratch memory and zstd contexts; every thread has its own. Where the result
//! is stored is not here. The bytes are specified in `docs/format.md`, "Encodings".

mod constant;
mod delta;
mod head;
mod planes;
mod sample;
mod strongest;
mod transpose;
mod zstd;

use crate::tensor::Element;

pub use self::head::DeltaHead;
pub use self::strongest::Strongest;
pub use self::zstd::{Squeeze, TEXT_LEVEL};

/// How the payload of a record is encoded. The discriminants are part of the pack format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Codec {
    /// The raw bytes.
    Raw = 0,
    /// One element repeated.
    Constant = 1,
    /// A zstd frame (RFC 8878).
    Zstd = 2,
    /// Byte planes of the elements, each raw or a zstd frame.
    Planes = 3,
    /// Distances to the elements of a base chunk, whose id is in the record's header.
    Delta = 4,
}

impl Codec {
    /// The codec whose discriminant is `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Codec::Raw,
            1 => Codec::Constant,
            2 => Codec::Zstd,
            3 => Codec::Planes,
            4 => Codec::Delta,
            _ => return None,
        })
    }

    /// The name that people and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Raw => "raw",
            Codec::Constant => "constant",
            Codec::Zstd => "zstd",
            Codec::Planes => "planes",
            Codec::Delta => "delta",
        }
    }
}

/// Why a payload cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The payload is damaged or was never one.
    #[error("the {codec} payload is damaged: {reason}")]
    Damaged {
        /// Its declared codec.
        codec: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// A delta was to be decoded without the chunk that it is a difference to.
    #[error("a delta record cannot be decoded without its base chunk")]
    BaseNeeded,
    /// zstd could not be set up, for lack of memory.
    #[error("zstd could not be set up: {0}")]
    Setup(String),
}

/// A chunk that another one may be encoded against.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// Its raw bytes.
    pub bytes: &'a [u8],
    /// What lies in it: the element of the chunk, or one that converts to it (bf16 for f32, and the reverse).
    pub element: Element,
    /// The element of the base at which the chunk starts, counted in elements of the base.
    pub first: u32,
}

/// What a payload may hold beyond its raw bytes before it is given up: heads, and zstd's bound on its last plane.
const ROOM: usize = 8 << 10;

/// Encodes chunks. It keeps memory for what it did before: up to nine times the length of the longest chunk that it
/// encoded against another, three times without.
pub struct Encoder {
    squeeze: Squeeze,
    planes: planes::Scratch,
    delta: delta::Scratch,
    /// The other form of a chunk that has two.
    other: Vec<u8>,
}

impl Encoder {
    /// Allocates the contexts, about 2 MiB.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            squeeze: Squeeze::new()?,
            planes: planes::Scratch::default(),
            delta: delta::Scratch::default(),
            other: Vec::new(),
        })
    }

    /// Encodes `raw` into `out` (cleared first) and says how. The payload is never longer than `raw`.
    pub fn encode(&mut self, raw: &[u8], element: Element, out: &mut Vec<u8>) -> Codec {
        out.clear();
        self.append(raw, element, out)
    }

    /// Encodes `raw` as distances from the elements of `base` where that is smaller, else as [`Encoder::encode`] does.
    /// `out` is cleared first; the payload is never longer than `raw`.
    ///
    /// A sample decides whether the base is of use. If it is, the chunk is encoded against it; by itself as well, if
    /// not much less came of that than a sample of the chunk promises for it alone, and the smaller result is kept.
    /// Elements that the base does not reach stand alone inside the payload.
    pub fn encode_against(&mut self, raw: &[u8], element: Element, base: Base<'_>, out: &mut Vec<u8>) -> Codec {
        out.clear();
        out.reserve(raw.len() + ROOM);
        if constant::encode(raw, element, out) {
            return Codec::Constant;
        }
        let Some(outcome) = delta::encode(&mut self.squeeze, &mut self.delta, raw, element, base, out) else {
            return self.encode(raw, element, out);
        };
        if let Some(tail) = raw.get(outcome.covered..).filter(|tail| !tail.is_empty()) {
            let code = out.len();
            out.push(0);
            let codec = self.append(tail, element, out);
            if let Some(code) = out.get_mut(code) {
                *code = codec as u8;
            }
        }
        // Of weights a sample tells nearly all; of other data less.
        let share = if element.is_float() { 0.8 } else { 0.3 };
        if (out.len() as f64) < (share * outcome.alone).min(raw.len() as f64) {
            return Codec::Delta;
        }
        let mut other = std::mem::take(&mut self.other);
        let standalone = self.encode(raw, element, &mut other);
        let better = out.len() < other.len();
        if !better {
            std::mem::swap(out, &mut other);
        }
        self.other = other;
        if better { Codec::Delta } else { standalone }
    }

    /// Appends the standalone form of `raw`.
    fn append(&mut self, raw: &[u8], element: Element, out: &mut Vec<u8>) -> Codec {
        let start = out.len();
        // Room for every form at once: growing on the way would copy what is there.
        out.reserve(raw.len() + ROOM);
        if constant::encode(raw, element, out) {
            return Codec::Constant;
        }
        let codec = match element {
            Element::Opaque => zstd::encode(&mut self.squeeze, raw, out).then_some(Codec::Zstd),
            _ => planes::encode(&mut self.squeeze, &mut self.planes, raw, element, out).then_some(Codec::Planes),
        };
        match codec {
            Some(codec) if out.len() - start < raw.len() => codec,
            _ => {
                out.truncate(start);
                out.extend_from_slice(raw);
                Codec::Raw
            }
        }
    }

    /// Encodes an object (manifest, tree, commit): zstd where it helps, else raw.
    pub fn encode_object(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        out.clear();
        if self.squeeze.text(raw, out) && out.len() < raw.len() {
            return Codec::Zstd;
        }
        out.clear();
        out.extend_from_slice(raw);
        Codec::Raw
    }
}

/// Decodes payloads. It keeps memory for what it did before: up to seven times the length of the longest chunk that it
/// decoded against another, once without.
pub struct Decoder {
    zstd: zstd::Expand,
    planes: planes::Scratch,
    delta: delta::Scratch,
}

impl Decoder {
    /// Allocates the contexts.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            zstd: zstd::Expand::new()?,
            planes: planes::Scratch::default(),
            delta: delta::Scratch::default(),
        })
    }

    /// Decodes `payload` into exactly the bytes of `out`. On an error the content of `out` is unspecified.
    ///
    /// # Errors
    /// When the payload is not what an encoder writes for `out.len()` bytes, or it is a delta.
    pub fn decode(&mut self, codec: Codec, payload: &[u8], out: &mut [u8]) -> Result<(), CodecError> {
        match codec {
            Codec::Raw if payload.len() == out.len() => {
                out.copy_from_slice(payload);
                Ok(())
            }
            Codec::Raw => Err(CodecError::Damaged {
                codec: "raw",
                reason: "its length is not the chunk's",
            }),
            Codec::Constant => constant::decode(payload, out),
            Codec::Zstd => self.zstd.fill(payload, out, "zstd"),
            Codec::Planes => planes::decode(&mut self.zstd, &mut self.planes, payload, out),
            Codec::Delta => Err(CodecError::BaseNeeded),
        }
    }

    /// Decodes the `payload` of a delta against the raw bytes of its base chunk into exactly the bytes of `out`. On an
    /// error the content of `out` is unspecified. Another base than the one it was made for gives an error or other
    /// bytes: their hash tells.
    ///
    /// # Errors
    /// When the payload is not what an encoder writes for `out.len()` bytes and a base of this length.
    pub fn decode_against(&mut self, payload: &[u8], base: &[u8], out: &mut [u8]) -> Result<(), CodecError> {
        let (covered, rest) = delta::decode(&mut self.zstd, &mut self.delta, payload, base, out)?;
        let tail = out.get_mut(covered..).unwrap_or_default();
        let damaged = |reason| CodecError::Damaged { codec: "delta", reason };
        match rest.split_first() {
            None if tail.is_empty() => Ok(()),
            Some((&code, tail_payload)) if !tail.is_empty() => match Codec::from_code(code) {
                None | Some(Codec::Delta) => Err(damaged("a tail of an encoding that cannot stand there")),
                Some(codec) => self.decode(codec, tail_payload, tail),
            },
            None => Err(damaged("it ends too early")),
            Some(_) => Err(damaged("bytes after the last plane")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENTS: [Element; 9] = [
        Element::Opaque,
        Element::Byte,
        Element::Int16,
        Element::Int32,
        Element::Int64,
        Element::F16,
        Element::Bf16,
        Element::F32,
        Element::F64,
    ];

    fn random(len: usize, mut state: u64) -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = [0usize, 1, 2, 3, 7, 8, 9, 255, 4096, 100_001]
            .iter()
            .flat_map(|&len| {
                [
                    vec![0; len],
                    random(len, 7 + len as u64),
                    b"all work and no play ".repeat(len / 21 + 1),
                ]
            })
            .collect();
        let weights = |i: u32| ((f64::from(i) * 0.7).sin() * 0.02) as f32;
        all.push((0..50_000).flat_map(|i| weights(i).to_le_bytes()).collect());
        all.push(
            (0..50_000)
                .flat_map(|i| [(weights(i).to_bits() >> 16) as u8, (weights(i).to_bits() >> 24) as u8])
                .collect(),
        );
        all
    }

    #[test]
    fn everything_round_trips_and_never_grows() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let mut payload = Vec::new();
        for raw in samples() {
            for element in ELEMENTS {
                let codec = encoder.encode(&raw, element, &mut payload);
                assert!(payload.len() <= raw.len());
                let mut back = vec![0xaa; raw.len()];
                decoder.decode(codec, &payload, &mut back).unwrap();
                assert!(back == raw, "{element:?} {codec:?} {}", raw.len());
            }
        }
    }

    #[test]
    fn weights_shrink_as_designed() {
        let mut encoder = Encoder::new().unwrap();
        let mut payload = Vec::new();
        let samples = samples();
        let bf16 = &samples[samples.len() - 1];
        assert_eq!(encoder.encode(bf16, Element::Bf16, &mut payload), Codec::Planes);
        assert!(
            payload.len() * 100 < bf16.len() * 80,
            "{} of {}",
            payload.len(),
            bf16.len()
        );
        assert_eq!(
            encoder.encode(&[0, 1, 0, 1, 0, 1], Element::Int16, &mut payload),
            Codec::Constant
        );
        assert_eq!(
            encoder.encode(&random(100_000, 3), Element::Opaque, &mut payload),
            Codec::Raw
        );
    }

    /// Numbers like weights, and the same after a step of training, as f32.
    fn trained(count: u32) -> (Vec<f32>, Vec<f32>) {
        let weight = |i: u32| (f64::from(i) * 0.7).sin() * (f64::from(i) * 1.3).cos() * 0.02;
        let step = |i: u32| (f64::from(i) * 2.9).sin() * 2e-5;
        let as_f32 = |number: f64| number as f32;
        (
            (0..count).map(weight).map(as_f32).collect(),
            (0..count).map(|i| weight(i) + step(i)).map(as_f32).collect(),
        )
    }

    fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn bf16_bytes(numbers: &[f32]) -> Vec<u8> {
        let round = |number: &f32| (number.to_bits() + 0x7fff + (number.to_bits() >> 16 & 1)) >> 16;
        let bytes = numbers.iter().map(|number| (round(number) as u16).to_le_bytes());
        bytes.flatten().collect()
    }

    /// How the chunk is encoded against the base, and into how many bytes. It round-trips.
    fn against(raw: &[u8], element: Element, bytes: &[u8], base: Element, first: u32) -> (Codec, usize) {
        let (mut payload, mut back) = (Vec::new(), vec![0xaa; raw.len()]);
        let against = Base {
            bytes,
            element: base,
            first,
        };
        let codec = Encoder::new()
            .unwrap()
            .encode_against(raw, element, against, &mut payload);
        let mut decoder = Decoder::new().unwrap();
        match codec {
            Codec::Delta => decoder.decode_against(&payload, bytes, &mut back).unwrap(),
            _ => decoder.decode(codec, &payload, &mut back).unwrap(),
        }
        assert!(back == raw, "{element:?} against {base:?}");
        (codec, payload.len())
    }

    #[test]
    fn training_and_conversion_cost_little() {
        use Element::{Bf16, F32};
        let (old, new) = trained(100_000);
        let decayed: Vec<f32> = old.iter().map(|number| number * 0.97).collect();
        let (old_f32, old_bf16) = (f32_bytes(&old), bf16_bytes(&old));
        let widened: Vec<u8> = old_bf16.chunks(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
        for (name, raw, element, base, base_element, first, most) in [
            ("bf16 tuned", &bf16_bytes(&new), Bf16, &old_bf16, Bf16, 0, 0.14),
            ("f32 tuned", &f32_bytes(&new), F32, &old_f32, F32, 0, 0.56),
            ("the same", &old_bf16, Bf16, &old_bf16, Bf16, 0, 0.001),
            ("decayed", &f32_bytes(&decayed), F32, &old_f32, F32, 0, 0.001),
            ("widened", &widened, F32, &old_bf16, Bf16, 0, 0.001),
            (
                "from the middle",
                &widened[4 * 60_000..].to_vec(),
                F32,
                &old_bf16,
                Bf16,
                60_000,
                0.001,
            ),
            ("narrowed", &old_bf16, Bf16, &old_f32, F32, 0, 0.001),
            ("f32 of bf16", &old_f32, F32, &old_bf16, Bf16, 0, 0.60),
        ] {
            let (codec, len) = against(raw, element, base, base_element, first);
            assert_eq!(codec, Codec::Delta, "{name}");
            let share = len as f64 / raw.len() as f64;
            assert!(share < most, "{name}: {share}");
        }
    }

    #[test]
    fn bases_of_no_use_cost_nothing() {
        let (mut encoder, mut alone) = (Encoder::new().unwrap(), Vec::new());
        let (old, _) = trained(50_000);
        let (chunk, other) = (bf16_bytes(&old), bf16_bytes(&trained(100_000).0[50_000..]));
        let standalone = encoder.encode(&chunk, Element::Bf16, &mut alone);
        for (base, element, first) in [
            (&other, Element::Bf16, 0),
            (&random(100_000, 3), Element::Bf16, 0),
            (&Vec::new(), Element::Bf16, 0),
            (&vec![7], Element::Bf16, 0),
            (&chunk, Element::F16, 0),
            (&chunk, Element::Bf16, 50_000),
            (&chunk, Element::Bf16, u32::MAX),
        ] {
            let result = against(&chunk, Element::Bf16, base, element, first);
            assert_eq!(result, (standalone, alone.len()), "{element:?} {first} {}", base.len());
        }
        assert_eq!(
            against(&[5; 1000], Element::Byte, &[5; 1000], Element::Byte, 0),
            (Codec::Constant, 1)
        );
    }

    #[test]
    fn what_the_base_does_not_reach_stands_alone() {
        let (old, _) = trained(100_000);
        let (chunk, mut alone) = (bf16_bytes(&old), Vec::new());
        Encoder::new().unwrap().encode(&chunk, Element::Bf16, &mut alone);
        let (codec, len) = against(&chunk, Element::Bf16, &chunk[..120_001], Element::Bf16, 0);
        assert_eq!(codec, Codec::Delta);
        assert!(
            (len as f64) < 0.45 * alone.len() as f64,
            "{len}: the last 40 percent are encoded, not copied"
        );
    }

    #[test]
    fn damaged_payloads_are_errors_or_other_bytes_but_never_more() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let (mut payload, mut refused) = (Vec::new(), 0);
        for raw in samples().iter().filter(|raw| raw.len() > 300) {
            for element in [Element::Opaque, Element::Bf16, Element::F32] {
                let codec = encoder.encode(raw, element, &mut payload);
                let mut out = vec![0; raw.len()];
                for cut in [0, 1, 5, payload.len() / 2, payload.len() - 1].map(|cut| cut.min(payload.len() - 1)) {
                    refused += usize::from(decoder.decode(codec, &payload[..cut], &mut out).is_err());
                }
                for at in 0..payload.len().min(64) {
                    let mut flipped = payload.clone();
                    flipped[at] ^= 0x41;
                    let _ = decoder.decode(codec, &flipped, &mut out);
                }
                for other in [Codec::Raw, Codec::Constant, Codec::Zstd, Codec::Planes] {
                    let _ = decoder.decode(other, &payload, &mut out);
                }
            }
        }
        assert!(refused > 50);
        assert_eq!(decoder.decode(Codec::Delta, &[], &mut []), Err(CodecError::BaseNeeded));
    }
}
