//! A source that is costly to read, read on several threads ahead of whoever takes its bytes in order; on the way they can be
//! written into a file.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::output::{Output, WriteBack};
use crate::tensor::ReadAt;

/// More threads than this would only wait for whoever takes the bytes.
const MOST_THREADS: usize = 8;

/// The file that is written on the way.
pub(super) struct Copied<'a> {
    pub output: &'a Arc<Output>,
    pub write_back: &'a WriteBack,
}

/// A source read ahead. What it gives is what the source gives, wherever it is asked.
pub(super) struct ReadAhead<'a> {
    source: &'a dyn ReadAt,
    /// Where pieces must begin, in order: a tensor that is read in the pieces it is stored in is decoded once.
    borders: &'a [u64],
    piece: u64,
    /// Bytes that may be read and not taken.
    window: u64,
    copied: Option<Copied<'a>>,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// Up to here pieces were given to threads.
    next: u64,
    /// Up to here pieces were taken.
    taken: u64,
    ready: BTreeMap<u64, io::Result<Vec<u8>>>,
    /// The piece taken last, and where it begins.
    current: (u64, Vec<u8>),
    /// Nobody takes any more.
    closed: bool,
}

impl<'a> ReadAhead<'a> {
    /// Has up to `threads` threads read `source` in pieces of `piece` bytes while `take` takes its bytes. What is held is
    /// bounded by two pieces for each thread.
    pub fn run<T>(
        source: &'a dyn ReadAt,
        (borders, piece): (&'a [u64], u64),
        threads: usize,
        copied: Option<Copied<'a>>,
        take: impl FnOnce(&dyn ReadAt) -> T,
    ) -> T {
        let threads = threads.clamp(1, MOST_THREADS);
        let ahead = Self {
            source,
            borders,
            piece,
            window: 2 * threads as u64 * piece,
            copied,
            state: Mutex::default(),
            moved: Condvar::new(),
        };
        std::thread::scope(|scope| {
            // Also when `take` panics: the scope waits for the threads.
            let _closing = Closing(&ahead);
            for _ in 0..threads {
                scope.spawn(|| ahead.read_all());
            }
            take(&ahead)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.moved.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn end_of_piece(&self, start: u64) -> u64 {
        let after = self.borders.partition_point(|border| *border <= start);
        let border = self.borders.get(after).copied().unwrap_or(u64::MAX);
        (start + self.piece).min(border).min(self.source.len())
    }

    /// Reads pieces until there are no more, or nobody takes them.
    fn read_all(&self) {
        loop {
            let mut state = self.state();
            while !state.closed && state.next < self.source.len() && state.next - state.taken >= self.window {
                state = self.wait(state);
            }
            if state.closed || state.next >= self.source.len() {
                return;
            }
            let start = state.next;
            let end = self.end_of_piece(start);
            state.next = end;
            drop(state);
            let mut answer = Answer {
                ahead: self,
                start,
                read: Err(io::Error::other("a thread that reads has failed")),
            };
            let mut bytes = vec![0; (end - start) as usize];
            answer.read = self.source.read_exact_at(&mut bytes, start).map(|()| bytes);
            if let (Ok(bytes), Some(copied)) = (&answer.read, &self.copied) {
                copied.write(bytes, start);
            }
        }
    }
}

impl Copied<'_> {
    /// What cannot be written is not counted, so that the file is known not to be whole.
    fn write(&self, bytes: &[u8], offset: u64) {
        match self.output.write(bytes, offset) {
            Ok(_) => {
                if self.output.count(bytes.len() as u64).write_back {
                    self.write_back.push(self.output);
                }
            }
            Err(error) => tracing::warn!(%error, "a file is written later"),
        }
    }
}

impl ReadAt for ReadAhead<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buffer.len() as u64)
            .is_none_or(|end| end > self.len())
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let mut state = self.state();
            // Behind what is held, or far ahead of it: whoever reads so wants a look and not the whole.
            if offset < state.current.0 || offset >= state.taken + self.window {
                drop(state);
                return self.source.read_exact_at(buffer, offset);
            }
            while state.taken <= offset {
                let start = state.taken;
                let Some(piece) = state.ready.remove(&start) else {
                    state = self.wait(state);
                    continue;
                };
                // Pieces are given out in order, so that this one's end is where the next one begins.
                state.taken = self.end_of_piece(start);
                state.current = (start, Vec::new());
                self.moved.notify_all();
                state.current.1 = piece?;
            }
            let (start, piece) = &state.current;
            let from = piece.get((offset - start) as usize..).unwrap_or_default();
            let count = from.len().min(buffer.len());
            if count == 0 {
                // The piece could not be read; whoever asks again learns why.
                drop(state);
                return self.source.read_exact_at(buffer, offset);
            }
            let (now, rest) = buffer.split_at_mut(count);
            now.copy_from_slice(from.get(..count).unwrap_or_default());
            buffer = rest;
            offset += count as u64;
        }
        Ok(())
    }
}

/// A piece that somebody may wait for, whatever happens to its thread.
struct Answer<'a, 'b> {
    ahead: &'b ReadAhead<'a>,
    start: u64,
    read: io::Result<Vec<u8>>,
}

impl Drop for Answer<'_, '_> {
    fn drop(&mut self) {
        let read = std::mem::replace(&mut self.read, Ok(Vec::new()));
        self.ahead.state().ready.insert(self.start, read);
        self.ahead.moved.notify_all();
    }
}

/// Lets the threads end.
struct Closing<'a, 'b>(&'b ReadAhead<'a>);

impl Drop for Closing<'_, '_> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of which some cannot be read.
    struct Holed(Vec<u8>, std::ops::Range<u64>);

    impl ReadAt for Holed {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let end = offset + buffer.len() as u64;
            if offset < self.1.end && end > self.1.start {
                return Err(io::Error::other("unreadable"));
            }
            self.0.read_exact_at(buffer, offset)
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_what_the_source_gives(
            len in 1usize..5000,
            mut borders in prop::collection::vec(0u64..5000, 0..20),
            (piece, threads) in (1u64..700, 1usize..4),
            asked in prop::collection::vec((0u64..5000, 1usize..900), 1..40),
            in_order in any::<bool>(),
        ) {
            borders.sort_unstable();
            let source: Vec<u8> = (0..len).map(|n| (n * 7 / 3) as u8).collect();
            let mut at = 0;
            ReadAhead::run(&source, (&borders, piece), threads, None, |ahead| {
                for (offset, count) in asked {
                    let offset = if in_order { at } else { offset };
                    let mut buffer = vec![0; count];
                    let end = offset as usize + count;
                    let read = ahead.read_exact_at(&mut buffer, offset);
                    prop_assert_eq!(read.is_ok(), end <= len);
                    if end <= len {
                        prop_assert_eq!(&buffer, &source[offset as usize..end]);
                        at = end as u64;
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_whole_file_is_written_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let source: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let output = Arc::new(Output::create(folder.path(), source.len() as u64, false).unwrap());
        let write_back = WriteBack::start();
        let copied = Copied {
            output: &output,
            write_back: &write_back,
        };
        ReadAhead::run(&source, (&[100, 5000], 4096), 3, Some(copied), |ahead| {
            let mut bytes = vec![0; source.len()];
            ahead.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes, source);
        });
        write_back.end().unwrap();
        assert_eq!(output.remaining(), 0);
        let path = output.finish(true).unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), source);
    }

    #[test]
    fn what_cannot_be_read_fails_and_whoever_stops_early_waits_for_nobody() {
        let source = Holed(vec![1; 50_000], 30_000..30_001);
        ReadAhead::run(&source, (&[], 1000), 2, None, |ahead| {
            let mut buffer = vec![0; 29_000];
            ahead.read_exact_at(&mut buffer, 0).unwrap();
            let mut more = vec![0; 2000];
            for _ in 0..2 {
                let error = ahead.read_exact_at(&mut more, 29_000).unwrap_err();
                assert_eq!(error.to_string(), "unreadable");
            }
            ahead.read_exact_at(&mut more, 31_000).unwrap();
        });
    }
}
