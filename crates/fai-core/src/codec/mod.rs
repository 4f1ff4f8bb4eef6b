//! How a chunk is encoded: chosen by looking at a sample, never larger than raw, decodable from the record alone.
//!
//! [`Encoder`] and [`Decoder`] keep scratch memory and zstd contexts; every thread has its own. Where the result
//! is stored is not here. The bytes are specified in `docs/format.md`, "Encodings".

mod constant;
mod delta;
mod planes;
mod sample;
mod transpose;
mod zstd;

use crate::tensor::Element;

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

/// Encodes chunks.
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

    /// Encodes `raw` as distances to `base` where that is smaller, else as [`Encoder::encode`] does. `out` is cleared
    /// first; the payload is never longer than `raw`.
    ///
    /// Elements that the base does not reach stand alone. A base that cannot be used costs nothing but time.
    pub fn encode_against(&mut self, raw: &[u8], element: Element, base: Base<'_>, out: &mut Vec<u8>) -> Codec {
        let standalone = self.encode(raw, element, out);
        if standalone == Codec::Constant {
            return standalone;
        }
        let mut other = std::mem::take(&mut self.other);
        other.clear();
        let covered = delta::encode(&mut self.squeeze, &mut self.delta, raw, element, base, &mut other);
        if let Some(tail) = raw.get(covered..).filter(|tail| !tail.is_empty() && covered > 0) {
            let code = other.len();
            other.push(0);
            let codec = self.append(tail, element, &mut other);
            if let Some(code) = other.get_mut(code) {
                *code = codec as u8;
            }
        }
        let better = covered > 0 && other.len() < out.len();
        if better {
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

/// Decodes payloads.
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
