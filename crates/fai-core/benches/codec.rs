//! Encoding and decoding throughput in raw bytes, one thread, for every kind of data, alone and against a base. Ratios
//! are printed first.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that fails must stop")]

mod data;

use data::{Change, Content};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fai_core::codec::{Base, Codec, Decoder, Encoder};

/// Raw bytes in one iteration: several chunks, so that tables and branches are not tuned to one.
const TOTAL: usize = 8 << 20;

fn main() {
    ratios();
    divan::main();
}

impl std::fmt::Display for data::Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for data::Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn chunks(content: Content) -> Vec<Vec<u8>> {
    let len = content.chunk_len();
    (0..TOTAL / len)
        .map(|seed| content.generate(len, seed as u64))
        .collect()
}

fn encoded(content: Content) -> Vec<(Codec, Vec<u8>)> {
    let mut encoder = Encoder::new().unwrap();
    let encode = |chunk: Vec<u8>| {
        let mut payload = Vec::new();
        (encoder.encode(&chunk, content.element(), &mut payload), payload)
    };
    chunks(content).into_iter().map(encode).collect()
}

/// Speed means nothing without what was gained by it.
fn ratios() {
    println!("stored / raw");
    for content in Content::ALL {
        let encoded = encoded(content);
        let stored: usize = encoded.iter().map(|(_, payload)| payload.len()).sum();
        let codec = encoded.first().map_or("", |(codec, _)| codec.name());
        println!("  {:<14} {:.3} {codec}", content.name(), stored as f64 / TOTAL as f64);
    }
    for change in Change::ALL {
        let pairs = pairs(change);
        let (mut encoder, mut payload) = (Encoder::new().unwrap(), Vec::new());
        let (mut raw, mut stored, mut alone, mut name) = (0, 0, 0, "");
        for (base, chunk) in &pairs {
            name = against(&mut encoder, change, base, chunk, &mut payload).name();
            (raw, stored) = (raw + chunk.len(), stored + payload.len());
            encoder.encode(chunk, change.elements().1, &mut payload);
            alone += payload.len();
        }
        let share = |part: usize| part as f64 / raw as f64;
        println!(
            "  {:<14} {:.3} {name}, alone {:.3}",
            change.name(),
            share(stored),
            share(alone)
        );
    }
    println!();
}

/// Pairs of a base and a chunk.
fn pairs(change: Change) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..(TOTAL / data::CHUNK) as u64)
        .map(|seed| change.generate(seed))
        .collect()
}

fn against(encoder: &mut Encoder, change: Change, base: &[u8], chunk: &[u8], payload: &mut Vec<u8>) -> Codec {
    let (element, chunk_element) = change.elements();
    let base = Base {
        bytes: base,
        element,
        first: 0,
    };
    encoder.encode_against(chunk, chunk_element, base, payload)
}

fn raw_bytes(pairs: &[(Vec<u8>, Vec<u8>)]) -> BytesCount {
    BytesCount::new(pairs.iter().map(|(_, chunk)| chunk.len()).sum::<usize>())
}

#[divan::bench(args = Change::ALL)]
fn encode_against(bencher: Bencher<'_, '_>, change: Change) {
    let pairs = pairs(change);
    let (mut encoder, mut payload) = (Encoder::new().unwrap(), Vec::new());
    bencher.counter(raw_bytes(&pairs)).bench_local(|| {
        for (base, chunk) in &pairs {
            black_box(against(
                &mut encoder,
                change,
                black_box(base),
                black_box(chunk),
                &mut payload,
            ));
        }
    });
}

#[divan::bench(args = Change::ALL)]
fn decode_against(bencher: Bencher<'_, '_>, change: Change) {
    let pairs = pairs(change);
    let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
    let mut encoded = |(base, chunk): &(Vec<u8>, Vec<u8>)| {
        let mut payload = Vec::new();
        (against(&mut encoder, change, base, chunk, &mut payload), payload)
    };
    let payloads: Vec<(Codec, Vec<u8>)> = pairs.iter().map(&mut encoded).collect();
    let mut out = vec![0; data::CHUNK];
    bencher.counter(raw_bytes(&pairs)).bench_local(|| {
        for ((base, chunk), (codec, payload)) in pairs.iter().zip(&payloads) {
            let out = out.get_mut(..chunk.len()).unwrap();
            match codec {
                Codec::Delta => decoder.decode_against(black_box(payload), base, out).unwrap(),
                _ => decoder.decode(*codec, black_box(payload), out).unwrap(),
            }
            black_box(&out);
        }
    });
}

#[divan::bench(args = Content::ALL)]
fn encode(bencher: Bencher<'_, '_>, content: Content) {
    let chunks = chunks(content);
    let mut encoder = Encoder::new().unwrap();
    let mut payload = Vec::new();
    bencher.counter(BytesCount::new(TOTAL)).bench_local(|| {
        for chunk in &chunks {
            black_box(encoder.encode(black_box(chunk), content.element(), &mut payload));
        }
    });
}

#[divan::bench(args = Content::ALL)]
fn decode(bencher: Bencher<'_, '_>, content: Content) {
    let payloads = encoded(content);
    let mut decoder = Decoder::new().unwrap();
    let mut out = vec![0; content.chunk_len()];
    bencher.counter(BytesCount::new(TOTAL)).bench_local(|| {
        for (codec, payload) in &payloads {
            decoder.decode(*codec, black_box(payload), &mut out).unwrap();
            black_box(&out);
        }
    });
}
