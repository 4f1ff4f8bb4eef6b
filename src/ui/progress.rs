//! One moving line: files, bytes, rate, time left. Nothing when nobody watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fai_core::repo::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use super::Output;

/// Work that takes shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(300);

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
        let bar = output.shows_progress().then(|| {
            let bar = ProgressBar::hidden();
            let template = "{msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
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
            Event::Total { files, bytes } => {
                bar.set_length(bytes);
                self.total.store(files, Ordering::Relaxed);
            }
            Event::Bytes(bytes) => {
                if bar.is_hidden() && self.started.elapsed() > PATIENCE {
                    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                }
                bar.inc(bytes);
            }
            Event::FileDone => {
                let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                bar.set_message(format!("{} {done}/{}", self.verb, self.total.load(Ordering::Relaxed)));
            }
            Event::File(_) | Event::Warning(_) => {}
        }
    }
}
