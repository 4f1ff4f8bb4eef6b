//! How fast models are compared by value: the arithmetic alone, in bytes of one side, and whole comparisons of stored
//! models of 1 GiB, in bytes of the new one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that fails must stop")]

use std::sync::OnceLock;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fai_core::Repository;
use fai_core::object::{Author, RepoPath, Time};
use fai_core::repo::{AddOptions, CommitRequest, Depth, InitOptions, Silent, Version};
use fai_core::tensor::compare::Comparer;
use fai_core::tensor::{Numbers, Plain};
use tempfile::TempDir;

/// Bytes of a side that the arithmetic is measured on: beyond the caches.
const SIDE: usize = 64 << 20;

/// Tensors of a model, and bytes of each: 1 GiB.
const TENSORS: usize = 64;
const TENSOR: usize = 16 << 20;

const TYPES: [&str; 6] = ["bf16", "f16", "f32", "f64", "f8_e4m3", "i8"];

fn main() {
    divan::main();
}

/// Numbers around 0.02 in bf16, each another `shift` of its neighbour's noise.
fn weights(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut value = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let unit = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        ((unit * 0.07).to_bits() >> 16) as u16
    };
    (0..bytes / 2).flat_map(|_| value().to_le_bytes()).collect()
}

#[divan::bench(args = TYPES, sample_count = 10)]
fn arithmetic(bencher: Bencher<'_, '_>, dtype: &str) {
    let numbers = Numbers::of(Plain::named(dtype).unwrap());
    let (old, new) = (weights(1, SIDE), weights(2, SIDE));
    let mut comparer = Comparer::default();
    bencher
        .counter(BytesCount::new(SIDE))
        .bench_local(|| black_box(comparer.compare((numbers, &old), (numbers, &new))));
}

/// The part of a changed tensor that is the same on both sides.
#[divan::bench(args = ["bf16", "f32"], sample_count = 10)]
fn arithmetic_of_the_same(bencher: Bencher<'_, '_>, dtype: &str) {
    let numbers = Numbers::of(Plain::named(dtype).unwrap());
    let old = weights(1, SIDE);
    let mut comparer = Comparer::default();
    bencher
        .counter(BytesCount::new(SIDE))
        .bench_local(|| black_box(comparer.compare((numbers, &old), (numbers, &old))));
}

struct Models {
    folder: TempDir,
    base: Version,
    /// All tensors are others, and have nothing to do with those of the base.
    other: Version,
    /// All tensors are those of the base with every number slightly moved, so that they are stored as differences.
    tuned: Version,
    /// One tensor is another.
    head: Version,
}

fn models() -> &'static Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
        let mut header = serde_json::Map::new();
        for index in 0..TENSORS {
            let at = index * TENSOR;
            header.insert(
                format!("model.layers.{index}.mlp.weight"),
                serde_json::json!({ "dtype": "BF16", "shape": [TENSOR / 2], "data_offsets": [at, at + TENSOR] }),
            );
        }
        let header = serde_json::to_vec(&header).unwrap();
        let store = |tensor: &dyn Fn(usize) -> Vec<u8>| {
            let mut file = (header.len() as u64).to_le_bytes().to_vec();
            file.extend(&header);
            (0..TENSORS).for_each(|index| file.extend(tensor(index)));
            std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
            let root = RepoPath::root();
            repository.add(&[root], AddOptions::default(), &Silent).unwrap();
            let request = CommitRequest {
                message: Some("a model".into()),
                author: Some(Author {
                    name: "A".into(),
                    email: "a@example.org".into(),
                }),
                time: Time {
                    seconds: 1_700_000_000,
                    offset_minutes: 0,
                },
                ..Default::default()
            };
            Version::Commit(repository.commit(&request).unwrap().id)
        };
        let moved = |index: usize| {
            let mut bytes = weights(index as u64, TENSOR);
            // The least bits of the mantissa.
            bytes
                .iter_mut()
                .step_by(2)
                .zip(weights(7, TENSOR))
                .for_each(|(byte, noise)| *byte ^= noise & 3);
            bytes
        };
        let base = store(&|index| weights(index as u64, TENSOR));
        let tuned = store(&moved);
        let head = store(&|index| match index {
            63 => weights(1000, TENSOR),
            _ => moved(index),
        });
        let other = store(&|index| weights(2000 + index as u64, TENSOR));
        Models {
            base,
            other,
            tuned,
            head,
            folder,
        }
    })
}

fn whole(bencher: Bencher<'_, '_>, old: &Version, new: &Version, threads: usize) {
    let repository = Repository::open(models().folder.path()).unwrap().with_threads(threads);
    bencher
        .counter(BytesCount::new(TENSORS * TENSOR))
        .bench_local(|| repository.compare_to(Depth::Values, old, new, &[], &Silent).unwrap());
}

#[divan::bench(args = [1, 2], sample_count = 3, sample_size = 1)]
fn all_changed_stored_whole(bencher: Bencher<'_, '_>, threads: usize) {
    whole(bencher, &models().base, &models().other, threads);
}

#[divan::bench(args = [1, 2], sample_count = 3, sample_size = 1)]
fn all_changed_stored_as_differences(bencher: Bencher<'_, '_>, threads: usize) {
    whole(bencher, &models().base, &models().tuned, threads);
}

#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn one_tensor_of_64_changed(bencher: Bencher<'_, '_>, threads: usize) {
    whole(bencher, &models().tuned, &models().head, threads);
}
