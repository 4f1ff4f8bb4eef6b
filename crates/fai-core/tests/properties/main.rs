//! Properties that hold for all input, tried on random input: encodings have one form and never panic, chunks join
//! to their file, payloads never grow, and a repository gives back what went in under ids that depend on content alone.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod chunks;
mod collect;
mod filters;
mod objects;
mod payloads;
mod repository;

use fai_core::tensor::Element;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// So many random cases. Failures print their input; nothing is written into the source folder.
fn cases(count: u32) -> Config {
    Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    }
}

fn any_element() -> impl Strategy<Value = Element> {
    (0..9u8).prop_map(|code| Element::from_code(code).expect("a code below 9 is an element"))
}

/// Bytes as files hold them: noise, runs, text, and floats of few exponents.
fn content(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![0..40usize, 0..longest];
    prop_oneof![
        len.clone().prop_perturb(|len, mut random| {
            let mut bytes = vec![0; len];
            random.fill_bytes(&mut bytes);
            bytes
        }),
        (prop::collection::vec(any::<u8>(), 1..9), len.clone()).prop_map(|(pattern, len)| pattern
            .iter()
            .copied()
            .cycle()
            .take(len)
            .collect()),
        (prop::collection::vec("[a-z]{2,9} ", 1..30), len.clone()).prop_map(|(words, len)| words
            .concat()
            .bytes()
            .cycle()
            .take(len)
            .collect()),
        len.prop_perturb(|len, mut random| {
            let weight = |bits: u32| 0x3d00_0000 | (bits & 0x81ff_ffff);
            let bytes = std::iter::from_fn(|| Some(weight(random.next_u32()).to_le_bytes()));
            bytes.flatten().take(len).collect()
        }),
    ]
}
