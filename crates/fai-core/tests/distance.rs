//! How far tensors moved: against numpy's numbers, against a slow reference, and whatever the threads are.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use fai_core::tensor::compare::{BLOCK, Comparer, Distance};
use fai_core::tensor::{Numbers, Plain};
use proptest::prelude::*;
use serde_json::Value;

fn numbers(name: &str) -> Numbers {
    Numbers::of(Plain::named(name).unwrap())
}

fn compare(dtype: &str, old: &[u8], new: &[u8]) -> Distance {
    Comparer::default().compare((numbers(dtype), old), (numbers(dtype), new))
}

#[track_caller]
fn close(what: &str, found: Option<f64>, expected: f64, tolerance: f64) {
    let found = found.unwrap_or_else(|| panic!("{what} is not defined"));
    let error = (found - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
    assert!(
        error <= tolerance || found == expected,
        "{what}: {found} and not {expected}"
    );
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    text.chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[test]
fn numpy_finds_the_same_numbers() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/distance.json")).unwrap();
    assert!(cases.len() >= 20);
    for case in cases {
        let (old_type, new_type) = (case["old_type"].as_str().unwrap(), case["new_type"].as_str().unwrap());
        let (old, new) = (hex(&case["old"]), hex(&case["new"]));
        let found = Comparer::default().compare((numbers(old_type), &old), (numbers(new_type), &new));
        let expected = &case["expected"];
        let what = |field: &str| format!("{field} of {old_type} and {new_type}");
        for (field, found) in [
            ("elements", found.elements),
            ("equal", found.equal),
            ("finite", found.finite),
        ] {
            assert_eq!(Some(found), expected[field].as_u64(), "{}", what(field));
        }
        for (field, found) in [("old", found.old), ("new", found.new)] {
            assert_eq!(Some(found.nan), expected[field]["nan"].as_u64(), "{}", what(field));
            assert_eq!(
                Some(found.infinite),
                expected[field]["infinite"].as_u64(),
                "{}",
                what(field)
            );
        }
        let number = |field: &str| expected[field].as_f64().unwrap();
        close(&what("relative"), found.relative(), number("relative"), 1e-13);
        // Reading the file rounds, in the last place.
        close(&what("largest"), Some(found.largest), number("largest"), 1e-15);
        close(&what("mean"), found.mean(), number("mean"), 1e-9);
        close(&what("old_norm"), found.old_norm(), number("old_norm"), 1e-13);
        close(&what("new_norm"), found.new_norm(), number("new_norm"), 1e-13);
        let cosine = found.cosine().unwrap();
        assert!(
            (cosine - number("cosine")).abs() < 1e-12,
            "{}: {cosine}",
            what("cosine")
        );
    }
}

/// Element by element, one after another.
fn reference(old: &[f32], new: &[f32]) -> (f64, f64, f64, f64) {
    let (mut old_square, mut square, mut sum, mut largest) = (0.0, 0.0, 0.0, 0.0f64);
    for (old, new) in old.iter().zip(new) {
        let (old, new) = (f64::from(*old), f64::from(*new));
        old_square += old * old;
        square += (new - old) * (new - old);
        sum += new - old;
        largest = largest.max((new - old).abs());
    }
    (
        (square / old_square).sqrt(),
        sum / old.len() as f64,
        largest,
        old_square.sqrt(),
    )
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn many_blocks_add_up() {
    for count in [1, 3, 4, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7] {
        let old = fai_testkit::normal(1, count);
        let mut new = fai_testkit::normal(2, count);
        new[0] = old[0] + 1.0;
        let found = compare("f32", &bytes(&old), &bytes(&new));
        let (relative, mean, largest, norm) = reference(&old, &new);
        close("relative", found.relative(), relative, 1e-12);
        close("mean", found.mean(), mean, 1e-9);
        close("largest", Some(found.largest), largest, 0.0);
        close("norm", found.old_norm(), norm, 1e-12);
        assert_eq!((found.elements, found.finite), (count as u64, count as u64));
    }
}

#[test]
fn what_is_not_finite_is_counted_and_spoils_nothing() {
    let mut old = fai_testkit::normal(1, 3 * BLOCK);
    let mut new = old.clone();
    new.iter_mut().for_each(|value| *value += 0.5);
    let clean = compare("f32", &bytes(&old[BLOCK..]), &bytes(&new[BLOCK..]));
    // The first block: all NaN on one side, all infinite on the other.
    old[..BLOCK].fill(f32::NAN);
    new[..BLOCK].fill(f32::NEG_INFINITY);
    let found = compare("f32", &bytes(&old), &bytes(&new));
    assert_eq!((found.old.nan, found.old.infinite), (BLOCK as u64, 0));
    assert_eq!((found.new.nan, found.new.infinite), (0, BLOCK as u64));
    assert_eq!(found.finite, 2 * BLOCK as u64);
    assert_eq!(
        (found.relative(), found.cosine(), found.mean()),
        (clean.relative(), clean.cosine(), clean.mean())
    );
    // The same NaN is equal, another one is not.
    let nan = |bits: u32| f32::from_bits(bits).to_le_bytes();
    let same = compare("f32", &nan(0x7fc0_0001), &nan(0x7fc0_0001));
    assert_eq!((same.equal, same.finite, same.relative()), (1, 0, Some(0.0)));
    let other = compare("f32", &nan(0x7fc0_0001), &nan(0x7fc0_0002));
    assert_eq!(
        (other.equal, other.relative(), other.cosine(), other.mean()),
        (0, None, None, None)
    );
}

#[test]
fn what_is_not_defined_is_none() {
    let zeros = bytes(&[0.0; 5]);
    let from_zero = compare("f32", &zeros, &bytes(&[1.0; 5]));
    assert_eq!(
        (from_zero.relative(), from_zero.cosine(), from_zero.mean()),
        (None, None, Some(1.0))
    );
    let empty = compare("f32", &[], &[]);
    assert_eq!(
        (empty.equal_share(), empty.relative(), empty.mean()),
        (1.0, Some(0.0), None)
    );
    // The two zeros are not the same bits, and have no distance.
    let signs = compare("f32", &zeros, &bytes(&[-0.0; 5]));
    assert_eq!((signs.equal, signs.largest), (0, 0.0));
    // Squares beyond f64.
    let huge = [1e200f64, -1e200].map(f64::to_le_bytes).concat();
    let found = compare("f64", &huge, &[1e200f64, 1e200].map(f64::to_le_bytes).concat());
    assert_eq!(
        (found.relative(), found.cosine(), found.finite, found.largest),
        (None, None, 2, 2e200)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_give_the_bits_of_the_whole(
        seed in any::<u64>(),
        blocks in 1usize..8,
        cut in 0usize..8,
        same in any::<bool>(),
        dtype in prop::sample::select(vec!["bf16", "f16", "f32", "f8_e5m2", "i32", "f64"]),
    ) {
        let width = numbers(dtype).width();
        let len = (blocks * BLOCK + 5) * width;
        let old = fai_testkit::noise(seed, len);
        let mut new = fai_testkit::noise(seed ^ 1, len);
        if same {
            new[..BLOCK * width].copy_from_slice(&old[..BLOCK * width]);
        }
        let whole = compare(dtype, &old, &new);
        let at = cut.min(blocks) * BLOCK * width;
        // What comes before a unit is no other part's business: units of the same bounds have the same bits.
        let parts = || {
            let mut sum = compare(dtype, &old[..at], &new[..at]);
            sum.add(&compare(dtype, &old[at..], &new[at..]));
            sum
        };
        let (one, other) = (parts(), parts());
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
        prop_assert_eq!((one.equal, one.finite, one.old, one.new), (whole.equal, whole.finite, whole.old, whole.new));
        prop_assert_eq!(one.largest.to_bits(), whole.largest.to_bits());
        // The other way round: the same share is equal, and lengths change places.
        let back = compare(dtype, &new, &old);
        prop_assert_eq!((back.equal, back.finite, back.old, back.new), (whole.equal, whole.finite, whole.new, whole.old));
        prop_assert_eq!((back.old_norm(), back.new_norm(), back.norm()), (whole.new_norm(), whole.old_norm(), whole.norm()));
        // Nothing differs from itself.
        let none = compare(dtype, &old, &old);
        prop_assert!(none.is_none());
        prop_assert_eq!((none.relative(), none.largest, none.old_norm()), (Some(0.0), 0.0, none.new_norm()));
    }

    #[test]
    fn a_block_that_is_the_same_counts_as_if_it_was_compared(seed in any::<u64>(), at in 0usize..BLOCK) {
        // One element that differs beyond the block makes no difference for the block before.
        let old = fai_testkit::normal(seed, 2 * BLOCK);
        let mut new = old.clone();
        new[BLOCK + at] += 1.0;
        let found = compare("f32", &bytes(&old), &bytes(&new));
        let mut alone = compare("f32", &bytes(&old[..BLOCK]), &bytes(&new[..BLOCK]));
        alone.add(&compare("f32", &bytes(&old[BLOCK..]), &bytes(&new[BLOCK..])));
        prop_assert_eq!(found.old_norm(), alone.old_norm());
        prop_assert_eq!(found.equal, 2 * BLOCK as u64 - 1);
    }
}
