//! Every decoder of bytes from outside, tried on seeds and on thousands of damaged copies of them, the same on every run.
//! These are the functions that libFuzzer drives in `fuzz/`, so whatever holds there for hours holds here for seconds.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use targets::{Mutations, Target};

/// Damaged copies of each target's seeds, at most, and how long they may take.
const COPIES: usize = 4000;
const ENOUGH: Duration = Duration::from_millis(700);

/// How long they take instead, however many they are, in seconds.
const LONGER: &str = "FAI_DECODERS_SECONDS";

/// No input is long, so none may take long, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a target and says what it was run on when it fails.
fn accepted(target: &Target, bytes: &[u8]) -> bool {
    let started = Instant::now();
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let took = started.elapsed();
    assert!(took < PATIENCE, "{} took {took:?} for {bytes:02x?}", target.name);
    run.unwrap_or_else(|_| panic!("{} fails on {bytes:02x?}", target.name))
}

fn assert_holds(target: &Target) {
    let seeds = (target.seeds)();
    let good = seeds.iter().filter(|seed| accepted(target, seed)).count();
    assert!(good > 0, "{} accepts none of its seeds", target.name);
    for start in [&b""[..], &[0; 300], &[0xff; 300]] {
        accepted(target, start);
    }
    let longer = std::env::var(LONGER).ok().and_then(|seconds| seconds.parse().ok());
    let (copies, enough) = match longer {
        Some(seconds) => (usize::MAX, Duration::from_secs(seconds)),
        None => (COPIES, ENOUGH),
    };
    let (started, mut refused) = (Instant::now(), 0);
    for (number, bytes) in Mutations::new(seeds, 1).take(copies).enumerate() {
        refused += usize::from(!accepted(target, &bytes));
        if number >= 100 && started.elapsed() > enough {
            break;
        }
    }
    // The way there and back is open to everything.
    assert!(
        refused > 0 || target.name == "roundtrip_alone",
        "{} accepts everything",
        target.name
    );
}

/// A test for each target, so that they run side by side and a failure names its target.
macro_rules! hold {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let target = targets::targets().find(|target| target.name == stringify!($name));
            assert_holds(target.expect("a target of that name"));
        })*

        /// Targets, binaries and tests are the same ones.
        #[test]
        fn every_target_is_fuzzed_and_tested() {
            let targets: BTreeSet<&str> = targets::targets().map(|target| target.name).collect();
            assert_eq!(targets, BTreeSet::from([$(stringify!($name)),*]));
            let manifest = include_str!("../../fuzz/Cargo.toml");
            let binaries = manifest.split("[[bin]]").skip(1).filter_map(|text| text.split('"').nth(1));
            assert_eq!(targets, binaries.filter(|name| *name != "seeds").collect());
            let readme = include_str!("../../fuzz/README.md");
            for name in targets {
                assert!(readme.contains(&format!("| `{name}` |")), "fuzz/README.md does not name {name}");
            }
        }
    };
}

hold! {
    payload payload_delta roundtrip_alone roundtrip_delta
    record_header record pack_index pack_salvage pack_repair
    manifest page tree commit
    safetensors gguf onnx npy npz pytorch pickle detect
    request reply selector frame records_request records_answer ticket bootstrap
    config selection ignore_file revision repo_path ref_name head identity
}

#[test]
fn a_target_of_another_name_is_a_mistake() {
    assert!(catch_unwind(|| targets::run("no such target", b"")).is_err());
    assert!(targets::run("repo_path", b"a/b"));
}
