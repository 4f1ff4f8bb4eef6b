//! Delta payloads, pinned: what was written once decodes for ever, and a second decoder, written from
//! `docs/format.md` without regard to speed, reads what the encoder writes.
//!
//! Run with `FAI_BLESS=1` to write the golden file anew, which is right only together with a new format version.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use fai_core::codec::{Base, Codec, Decoder, Encoder};
use fai_core::tensor::Element;

/// xorshift64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Case {
    name: &'static str,
    element: Element,
    base_element: Element,
    first: u32,
    raw: Vec<u8>,
    base: Vec<u8>,
}

/// One case for every element and every way to convert, each with a tail that the base does not reach.
fn cases() -> Vec<Case> {
    let list = [
        ("opaque", Element::Opaque, Element::Opaque),
        ("byte", Element::Byte, Element::Byte),
        ("int16", Element::Int16, Element::Int16),
        ("int32", Element::Int32, Element::Int32),
        ("int64", Element::Int64, Element::Int64),
        ("f16", Element::F16, Element::F16),
        ("bf16", Element::Bf16, Element::Bf16),
        ("f32", Element::F32, Element::F32),
        ("f64", Element::F64, Element::F64),
        ("f32 on bf16", Element::F32, Element::Bf16),
        ("bf16 on f32", Element::Bf16, Element::F32),
        ("widened on bf16", Element::F32, Element::Bf16),
        ("widened on f32", Element::F32, Element::F32),
        ("scaled", Element::F32, Element::F32),
        ("half still", Element::Bf16, Element::Bf16),
        ("all still", Element::F16, Element::F16),
        ("rows", Element::F32, Element::F32),
    ];
    list.into_iter()
        .map(|(name, element, base_element)| {
            let mut numbers = Numbers(0x9e37_79b9 + name.len() as u64);
            let (mut raw, mut base) = (Vec::new(), Vec::new());
            // Classes need many elements to be worth their while.
            let count = if name == "rows" { 60_000 } else { 1500 };
            for at in 0..count {
                let random = numbers.next();
                let weight = (((random & 0xffff) as f32 - 32768.0) / 65536.0).powi(3);
                let step = match name {
                    "half still" if at / 100 % 2 == 0 => 0.0,
                    "all still" => 0.0,
                    "rows" => ((random >> 50) as f32 - 8192.0) * [0.0, 1e-12, 1e-9, 1e-6][at / 160 % 4],
                    _ => f32::from((random >> 60) as u8) * 1e-5,
                };
                let put = |value: f32, element: Element, out: &mut Vec<u8>| {
                    let wide = value.to_bits();
                    match element {
                        Element::F32 if name.starts_with("widened") => out.extend((wide & 0xffff_0000).to_le_bytes()),
                        Element::F32 => out.extend(wide.to_le_bytes()),
                        Element::Bf16 => out.extend(((wide >> 16) as u16).to_le_bytes()),
                        Element::F64 => out.extend(f64::from(value).to_le_bytes()),
                        Element::F16 => {
                            let magnitude = (value.abs() * 2f32.powi(-112)).to_bits() >> 13;
                            out.extend((magnitude as u16 | ((wide >> 31) as u16) << 15).to_le_bytes());
                        }
                        _ => out.extend(&((value * 100.0) as i64).to_le_bytes()[..element.width()]),
                    }
                };
                put(weight, base_element, &mut base);
                let decayed = if name == "scaled" { weight * 0.98 } else { weight };
                put(decayed + step, element, &mut raw);
            }
            // The base ends earlier than the chunk, and starts earlier too.
            let (kept, first) = ((count - 100) * base_element.width(), 2);
            base.truncate(kept);
            let mut earlier = vec![0x11; first * base_element.width()];
            earlier.append(&mut base);
            Case {
                name,
                element,
                base_element,
                first: first as u32,
                raw,
                base: earlier,
            }
        })
        .collect()
}

/// Those whose payloads are short enough for a file.
fn small_cases() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.raw.len() < 20_000)
}

fn encoded(case: &Case) -> Vec<u8> {
    let mut payload = Vec::new();
    let base = Base {
        bytes: &case.base,
        element: case.base_element,
        first: case.first,
    };
    let codec = Encoder::new()
        .unwrap()
        .encode_against(&case.raw, case.element, base, &mut payload);
    assert_eq!(codec, Codec::Delta, "{}", case.name);
    payload
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn golden_payloads_decode() {
    // Asked at run time first: worktrees that share a target folder also share this binary.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let path = PathBuf::from(root).join("tests/golden/deltas.txt");
    if std::env::var_os("FAI_BLESS").is_some_and(|value| value == "1") {
        let lines = small_cases()
            .map(|case| format!("{}: {}\n", case.name, hex(&encoded(&case))))
            .collect::<String>();
        fs::write(&path, lines).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap();
    assert_eq!(golden.lines().count(), small_cases().count());
    for (line, case) in golden.lines().zip(small_cases()) {
        let (name, payload) = line.split_once(": ").unwrap();
        assert_eq!(name, case.name);
        let mut raw = vec![0; case.raw.len()];
        let payload = unhex(payload);
        Decoder::new()
            .unwrap()
            .decode_against(&payload, &case.base, &mut raw)
            .unwrap();
        assert!(raw == case.raw, "{name}");
    }
}

/// Reads numbers from the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number(&mut self, len: usize) -> u64 {
        self.take(len)
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The delta payload of docs/format.md, step by step.
fn reference(payload: &[u8], base: &[u8], raw_len: usize) -> Vec<u8> {
    let mut payload = Reader(payload);
    let mut element = || Element::from_code(payload.number(1) as u8).unwrap();
    let (element, base_element, kind) = (element(), element(), element());
    let flags = payload.number(1);
    let (first, count) = (payload.number(4) as usize, payload.number(4) as usize);
    let scale = f32::from_bits(payload.number(4) as u32);
    let (width, bits) = (kind.width(), 8 * kind.width() as u32);
    let segments = payload.number(2);
    let mut class = vec![1; count];
    if flags & 2 != 0 {
        let (mode, stored) = (payload.number(1), payload.number(4) as usize);
        let classes = plane(mode, payload.take(stored), count.div_ceil(32));
        class = (0..count).map(|at| classes[at / 32]).collect();
    }
    let heads: Vec<(usize, Vec<(u64, usize)>)> = (0..segments)
        .map(|_| {
            let len = payload.number(4) as usize;
            let planes = (0..width).map(|_| (payload.number(1), payload.number(4) as usize));
            (len, planes.collect())
        })
        .collect();
    let mut distances = Vec::new();
    for (len, planes) in heads {
        let planes: Vec<Vec<u8>> = planes
            .into_iter()
            .map(|(mode, stored)| plane(mode, payload.take(stored), len))
            .collect();
        let word = |at: usize| {
            planes
                .iter()
                .rev()
                .fold(0, |word, plane| word << 8 | u64::from(plane[at]))
        };
        distances.extend((0..len).map(word));
    }

    let expected: Vec<u64> = base
        .chunks_exact(base_element.width())
        .skip(first)
        .take(count)
        .map(|bytes| {
            let bits = Reader(bytes).number(bytes.len());
            match (base_element, kind) {
                (Element::Bf16, Element::F32) => bits << 16,
                (Element::F32, Element::Bf16) => u64::from(((bits + 0x7fff + (bits >> 16 & 1)) as u32) >> 16),
                (Element::F32, Element::F32) if scale != 1.0 => {
                    let (old, new) = (f32::from_bits(bits as u32), f32::from_bits(bits as u32) * scale);
                    u64::from(if old.is_normal() && new.is_normal() { new } else { old }.to_bits())
                }
                _ => bits,
            }
        })
        .collect();
    let key = |expected: u64| match kind {
        Element::Byte => expected & 0x7f,
        Element::F16 => expected >> 10 & 0x1f,
        Element::Bf16 => expected >> 7 & 0xff,
        Element::F32 => expected >> 23 & 0xff,
        _ => expected >> 52 & 0xff,
    };
    let mut places: Vec<usize> = (0..count).filter(|&at| class[at] != 0).collect();
    assert_eq!(distances.len(), places.len());
    places.sort_by_key(|&at| (class[at], if flags & 1 == 0 { 0 } else { key(expected[at]) }));
    let mask = u64::MAX >> (64 - bits);
    let monotone = |word: u64| {
        let negative = kind.is_float() && word >> (bits - 1) == 1;
        if negative { word ^ (mask >> 1) } else { word }
    };
    let mut words = expected.clone();
    for (at, distance) in places.into_iter().zip(distances) {
        let half = distance >> 1;
        let difference = if distance & 1 == 0 { half } else { !half };
        words[at] = monotone(monotone(expected[at]).wrapping_add(difference) & mask);
    }
    let shift = if kind == element { 0 } else { 16 };
    let mut raw: Vec<u8> = words
        .iter()
        .flat_map(|word| (word << shift).to_le_bytes()[..element.width()].to_vec())
        .collect();
    if raw.len() < raw_len {
        let codec = Codec::from_code(payload.number(1) as u8).unwrap();
        let mut tail = vec![0; raw_len - raw.len()];
        Decoder::new().unwrap().decode(codec, payload.0, &mut tail).unwrap();
        raw.extend(tail);
    } else {
        assert!(payload.0.is_empty());
    }
    raw
}

fn plane(mode: u64, stored: &[u8], len: usize) -> Vec<u8> {
    let bits = match mode {
        0 => return stored.to_vec(),
        1 => return zstd::decode_all(stored).unwrap(),
        2 => return vec![stored[0]; len],
        _ => 1usize << (mode - 3),
    };
    let mut stored = Reader(stored);
    let (mode, packed) = (stored.number(1), stored.number(4) as usize);
    let packed = plane(mode, stored.take(packed), (len * bits).div_ceil(8));
    let most = (1u8 << bits) - 1;
    let mut bytes: Vec<u8> = (0..len)
        .map(|at| packed[at * bits / 8] >> (at * bits % 8) & most)
        .collect();
    let beyond = bytes.iter().filter(|byte| **byte == most).count();
    if beyond > 0 {
        let mode = stored.number(1);
        let rest = plane(mode, stored.0, beyond);
        assert_eq!(rest.len(), beyond);
        for (byte, more) in bytes.iter_mut().filter(|byte| **byte == most).zip(rest) {
            *byte += more;
        }
    } else {
        assert!(stored.0.is_empty());
    }
    bytes
}

#[test]
fn a_decoder_made_from_the_document_agrees() {
    for case in cases() {
        let payload = encoded(&case);
        assert!(
            reference(&payload, &case.base, case.raw.len()) == case.raw,
            "{}",
            case.name
        );
        match case.name {
            "scaled" => assert_ne!(payload[12..16], 0x3f80_0000u32.to_le_bytes()),
            "half still" | "all still" | "rows" => assert_eq!(payload[3] & 2, 2),
            name if name.starts_with("widened") => assert_eq!(payload[2], Element::Bf16 as u8),
            _ => assert_eq!(payload[2], case.element as u8),
        }
    }
}
