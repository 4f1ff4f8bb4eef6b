//! What content-defined chunks of 64 KiB, as Hugging Face's Xet storage cuts them, would store of a list of files. For
//! comparison only, in `bench/savings.sh`: nothing of fai is measured here, and fai stores nothing this way.
//!
//! `cargo bench -p fai-core --bench content_chunks -- FILE...` prints for each file in turn, separated by tabs: its
//! length, the bytes of chunks that no earlier file had, what those take after compression, and its path; then the sums.
//!
//! As published in xet-core: gear hash with the table of the crate `gearhash`; a cut where the upper 16 bits are zero;
//! 8 KiB at least, 128 KiB at most; each chunk as it is, as LZ4, or as LZ4 of its bytes grouped by their position modulo
//! four. Xet guesses the best of the three from byte statistics; here all are tried. Its index, its headers, and chunks
//! that it stores again to keep files in one piece are not counted. So the sums are the least that it could take.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that fails must stop, and it prints what it found"
)]

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

/// Bytes of a chunk, at least; less only at the end of a file.
const MIN: usize = 8 << 10;
/// Bytes of a chunk, at most.
const MAX: usize = 128 << 10;
/// Sixteen bits of the hash: one cut in 64 KiB.
const MASK: u64 = 0xffff << 48;
/// Bytes that a gear hash of 64 bits remembers.
const WINDOW: usize = 64;
/// Bytes of an LZ4 frame around a single block: header, block length, end mark.
const FRAME: usize = 15;
/// Bytes read at once.
const READ: usize = 16 << 20;

#[derive(Default, Clone, Copy)]
struct Sums {
    raw: u64,
    unique: u64,
    stored: u64,
}

fn main() {
    // cargo adds an option of its own for benches.
    let files = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut seen, mut total) = (HashSet::new(), Sums::default());
    for file in files {
        let sums = store(&file, &mut seen);
        report(sums, &file);
        total.raw += sums.raw;
        total.unique += sums.unique;
        total.stored += sums.stored;
    }
    report(total, "total");
}

fn report(sums: Sums, name: &str) {
    println!("{}\t{}\t{}\t{name}", sums.raw, sums.unique, sums.stored);
}

fn store(path: &str, seen: &mut HashSet<[u8; 32]>) -> Sums {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
    let (mut sums, mut buffer, mut at) = (Sums::default(), Vec::new(), 0);
    loop {
        buffer.drain(..at);
        at = 0;
        let read = file.by_ref().take(READ as u64).read_to_end(&mut buffer).unwrap();
        sums.raw += read as u64;
        while buffer.len() - at >= MAX || (read == 0 && at < buffer.len()) {
            let rest = &buffer[at..buffer.len().min(at + MAX)];
            let chunk = &rest[..cut(rest)];
            if seen.insert(*blake3::hash(chunk).as_bytes()) {
                sums.unique += chunk.len() as u64;
                sums.stored += compressed(chunk) as u64;
            }
            at += chunk.len();
        }
        if read == 0 {
            return sums;
        }
    }
}

/// Where the first chunk of `data` ends, which is at most `MAX` long.
fn cut(data: &[u8]) -> usize {
    let mut hasher = gearhash::Hasher::default();
    let mut at = (MIN - WINDOW - 1).min(data.len());
    while let Some(next) = hasher.next_match(&data[at..], MASK) {
        at += next;
        if at >= MIN {
            return at;
        }
    }
    data.len()
}

fn compressed(chunk: &[u8]) -> usize {
    let grouped: Vec<u8> = (0..4)
        .flat_map(|group| chunk.iter().skip(group).step_by(4).copied())
        .collect();
    let lz4 = |bytes: &[u8]| lz4_flex::block::compress(bytes).len() + FRAME;
    chunk.len().min(lz4(chunk)).min(lz4(&grouped))
}
