//! BLAKE3 as it is used on the way in: the id of each chunk, and the content hash over all of them. One thread.

mod data;

use data::{CHUNK, Content};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fai_core::object::Kind;

/// Lengths of chunks: the smallest, average and longest content-defined cut, and a step inside a tensor.
const LENGTHS: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, CHUNK];

fn main() {
    divan::main();
}

#[divan::bench(args = LENGTHS)]
fn chunk_id(bencher: Bencher<'_, '_>, len: usize) {
    let chunk = Content::Random.generate(len, 1);
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| Kind::Chunk.hash(black_box(&chunk)));
}

#[divan::bench(args = LENGTHS)]
fn whole_content(bencher: Bencher<'_, '_>, piece: usize) {
    let content = Content::Random.generate(16 * CHUNK, 1);
    bencher.counter(BytesCount::new(content.len())).bench_local(|| {
        let mut hasher = blake3::Hasher::new();
        for piece in black_box(&content).chunks(piece) {
            hasher.update(piece);
        }
        hasher.finalize()
    });
}
