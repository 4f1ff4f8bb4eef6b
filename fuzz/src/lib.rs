//! What is fuzzed: one function for every decoder of bytes from outside, and bytes to begin with.
//!
//! A target takes any bytes and panics when something is wrong with what a decoder makes of them. It says whether the
//! bytes were accepted, so that a test can tell that seeds get through and damage does not. libFuzzer drives them from
//! `fuzz_targets`; `tests/decoders` of the main workspace drives the same functions without it. No targets stand here.

mod codec;
mod input;
mod messages;
mod mutate;
mod objects;
mod scratch;
mod storage;
mod tensors;
mod text;

pub use mutate::Mutations;

/// One decoder and how it is tried.
pub struct Target {
    /// The name of its binary and of its folder of inputs.
    pub name: &'static str,
    /// Tries any bytes. True when they were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Bytes to begin with, some of which are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Shorthand for tables of targets.
const fn target(name: &'static str, run: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// All targets.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    let all = [
        codec::TARGETS,
        storage::TARGETS,
        objects::TARGETS,
        tensors::TARGETS,
        messages::TARGETS,
        text::TARGETS,
    ];
    all.into_iter().flatten()
}

/// Runs the target of that name.
pub fn run(name: &str, bytes: &[u8]) -> bool {
    let target = targets().find(|target| target.name == name);
    (target.expect("a target of that name").run)(bytes)
}
