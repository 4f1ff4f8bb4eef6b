//! Peers that lie, break off, fall silent or flood, against the real asking and the real answering side, over loopback.
//!
//! Every test says what comes of it: the error and whom or what it names, a repository that is byte for byte what it was,
//! an honest transfer afterwards, and memory that stays small. `peer` is the liar, `world` what it has to tell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod apathy;
mod asker;
mod askers;
mod cuts;
mod deltas;
mod floods;
mod folders;
mod lies;
mod peer;
mod pushes;
mod world;

use std::time::Duration;

/// Runs a test that must come to its end, and looks at the memory that it took.
fn bounded(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await });
    // What still waits for a peer is not waited for.
    runtime.shutdown_background();
    ended.expect("it hangs");
    let peak = peak_memory();
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
}

/// What all tests of this process together may take at once.
const MEMORY: u64 = 400 << 20;

/// The most memory that this process has had at once, in bytes. Linux tells; elsewhere nothing is known.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |number| number.trim().parse::<u64>().unwrap() << 10)
}
