//! One moving line: files, bytes, rate, time left, and who sends. Nothing when nobody watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fai_core::repo::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use super::Output;

/// Work that takes shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(300);

/// For work of a known size, and for work that the other side measures.
const MEASURED: &str = "{msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec}, {eta} left{prefix}";
const COUNTED: &str = "{msg} {bytes} {spinner} {bytes_per_sec}{prefix}";

/// A progress bar on stderr.
pub struct Bar {
    bar: Option<ProgressBar>,
    verb: &'static str,
    started: std::time::Instant,
    done: AtomicU64,
    total: AtomicU64,
    output: Output,
}

impl Bar {
    /// A bar for work that `verb` names (`Adding`).
    pub fn new(output: Output, verb: &'static str) -> Self {
        Self::with(output, verb, MEASURED)
    }

    /// A line for work of which nobody here knows how much it is.
    pub fn counting(output: Output, verb: &'static str) -> Self {
        Self::with(output, verb, COUNTED)
    }

    fn with(output: Output, verb: &'static str, template: &str) -> Self {
        let bar = output.shows_progress().then(|| {
            let bar = ProgressBar::hidden();
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(verb);
            bar
        });
        let started = std::time::Instant::now();
        Self {
            bar,
            verb,
            started,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            output,
        }
    }

    /// Wipes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn files(&self) -> String {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        files(self.verb, done, total)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Bar {
    fn on(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.output.warn(text);
        }
        let Some(bar) = &self.bar else { return };
        match event {
            Event::Checking { files, bytes } => {
                bar.reset();
                bar.set_prefix("");
                bar.set_length(bytes);
                bar.set_message(self::files("Checking", 0, files));
            }
            Event::Total { files, bytes } => {
                bar.set_length(bytes);
                self.total.store(files, Ordering::Relaxed);
                bar.set_message(self.files());
            }
            Event::Bytes(bytes) => {
                if bar.is_hidden() && self.started.elapsed() > PATIENCE {
                    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                }
                bar.inc(bytes);
            }
            Event::FileDone => {
                self.done.fetch_add(1, Ordering::Relaxed);
                bar.set_message(self.files());
            }
            Event::Peers { sending, relayed } => bar.set_prefix(peers(sending, relayed)),
            Event::File(_) | Event::Warning(_) => {}
        }
    }
}

/// `Adding 3/42`, or `Receiving 42 files` where files do not end one by one.
fn files(verb: &str, done: u64, total: u64) -> String {
    match (done, total) {
        (0, 0) => verb.to_owned(),
        (0, 1) => format!("{verb} 1 file"),
        (0, total) => format!("{verb} {total} files"),
        (done, total) => format!("{verb} {done}/{total}"),
    }
}

/// `, 3 peers, 1 relayed`.
fn peers(sending: usize, relayed: usize) -> String {
    let count = if sending == 1 { "peer" } else { "peers" };
    match relayed {
        _ if sending == 0 => String::new(),
        0 => format!(", {sending} {count}, direct"),
        all if all == sending => format!(", {sending} {count}, relayed"),
        some => format!(", {sending} {count}, {some} relayed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_many_files_and_peers() {
        assert_eq!(files("Adding", 3, 42), "Adding 3/42");
        assert_eq!(files("Receiving", 0, 42), "Receiving 42 files");
        assert_eq!(peers(0, 0), "");
        assert_eq!(peers(1, 0), ", 1 peer, direct");
        assert_eq!(peers(3, 1), ", 3 peers, 1 relayed");
        assert_eq!(peers(2, 2), ", 2 peers, relayed");
    }
}
