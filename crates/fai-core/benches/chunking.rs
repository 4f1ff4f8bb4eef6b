//! Planning where to cut, and cutting: memory to memory, so without the cost of reading files.
#![allow(clippy::unwrap_used, reason = "a bench that fails must stop")]

mod data;

use std::ops::Range;

use data::{CHUNK, Content};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use fai_core::chunking::{Chunker, plan};
use fai_core::tensor::{Element, Region};

const TENSORS: u64 = 10_000;
const TOTAL: usize = 64 * CHUNK;

fn main() {
    divan::main();
}

/// Matrices with a bias after each, as layers have them: long ones get chunks of their own, short ones share.
fn regions() -> Vec<Region> {
    const LENGTHS: [u64; 4] = [8 << 20, 4096, 32 << 20, 96 << 10];
    let mut at = 1_000_000;
    (0..TENSORS)
        .zip(LENGTHS.into_iter().cycle())
        .map(|(_, len)| {
            let range = Range {
                start: at,
                end: at + len,
            };
            at += len;
            Region {
                range,
                element: Element::Bf16,
            }
        })
        .collect()
}

#[divan::bench]
fn plan_10_000_tensors(bencher: Bencher<'_, '_>) {
    let regions = regions();
    let size = regions.last().map_or(0, |region| region.range.end) + 100;
    bencher
        .counter(ItemsCount::new(TENSORS))
        .bench_local(|| plan(black_box(size), black_box(&regions)));
}

#[divan::bench]
fn cut_tensors(bencher: Bencher<'_, '_>) {
    let whole = Region {
        range: 0..TOTAL as u64,
        element: Element::Bf16,
    };
    cut(bencher, Content::Bf16.generate(TOTAL, 1), &[whole]);
}

#[divan::bench]
fn cut_by_content_random(bencher: Bencher<'_, '_>) {
    cut(bencher, Content::Random.generate(TOTAL, 1), &[]);
}

#[divan::bench]
fn cut_by_content_text(bencher: Bencher<'_, '_>) {
    cut(bencher, Content::Text.generate(TOTAL, 1), &[]);
}

/// Hands one buffer round, as the pipeline does with its slots.
fn cut(bencher: Bencher<'_, '_>, bytes: Vec<u8>, regions: &[Region]) {
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut chunker = Chunker::new(&bytes, plan(bytes.len() as u64, regions));
        let mut buffer = Vec::new();
        let mut chunks = 0;
        while let Some(chunk) = chunker.next(std::mem::take(&mut buffer)).unwrap() {
            buffer = black_box(chunk.bytes).into_memory();
            chunks += 1;
        }
        chunks
    });
}
