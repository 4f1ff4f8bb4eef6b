//! Encoding and decoding throughput in raw bytes, one thread, for every kind of data. Ratios are printed first.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that fails must stop")]

mod data;

use data::Content;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fai_core::codec::{Codec, Decoder, Encoder};

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
    println!();
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
