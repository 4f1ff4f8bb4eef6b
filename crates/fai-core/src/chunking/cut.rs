//! Carrying out a plan: reading a file front to back and handing out its chunks.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use fastcdc::v2020::{Normalization, cut, select_masks};

use super::bytes::{Bytes, all_zero, zeros};
use super::plan::{CONTENT_MAX, OWN_CHUNK, STEP, Span};
use crate::tensor::{Element, ReadAt, Stretch};

/// Shortest and average content-defined chunk (FastCDC, Xia et al. 2020, normalisation level 1).
const CONTENT_MIN: usize = 16 << 10;
const CONTENT_AVERAGE: usize = 64 << 10;

/// So much is read at a time where cuts are looked for.
const READ_AHEAD: usize = 4 * CONTENT_MAX;

/// A chunk as it was read.
#[derive(Debug)]
pub struct Chunk {
    /// Offset in the file.
    pub offset: u64,
    /// What its bytes are.
    pub element: Element,
    /// The bytes, at least one.
    pub bytes: Bytes,
}

/// Reads the chunks of a source in order, each byte once, and holes not at all.
pub struct Chunker<'a> {
    source: Source<'a>,
    spans: VecDeque<Span>,
    window: Window,
}

impl<'a> Chunker<'a> {
    /// Cuts `source` as `spans` say.
    pub fn new(source: &'a dyn ReadAt, spans: Vec<Span>) -> Self {
        Self {
            source: Source {
                bytes: source,
                stretch: Stretch { end: 0, hole: false },
            },
            spans: spans.into(),
            window: Window::default(),
        }
    }

    /// The next chunk in `buffer`'s memory, or `None` at the end.
    ///
    /// # Errors
    /// When reading fails; `UnexpectedEof` when the source became shorter.
    pub fn next(&mut self, buffer: Vec<u8>) -> io::Result<Option<Chunk>> {
        let Some(span) = self.spans.front_mut() else {
            return Ok(None);
        };
        let (range, element, bytes) = match span {
            Span::Steps { range, element } => {
                let left = range.end - range.start;
                let len = if left < STEP + OWN_CHUNK { left } else { STEP };
                let bytes = self.source.step(range.start, len, buffer)?;
                (range, *element, bytes)
            }
            Span::Content { range } => {
                let bytes = self.window.cut(&mut self.source, range, buffer)?;
                (range, Element::Opaque, bytes)
            }
        };
        let offset = range.start;
        range.start += bytes.len() as u64;
        if range.is_empty() {
            self.spans.pop_front();
            self.window.ahead = 0..0;
        }
        Ok(Some(Chunk { offset, element, bytes }))
    }
}

/// What is cut, with what is known of its holes where the cut is.
struct Source<'a> {
    bytes: &'a dyn ReadAt,
    stretch: Stretch,
}

impl Source<'_> {
    /// The zeros of `range` if all of it lies in a hole. Ranges are asked for in order.
    fn hole(&mut self, range: Range<u64>) -> Option<&'static [u8]> {
        if self.stretch.end < range.end {
            self.stretch = self.bytes.stretch(range.start);
        }
        let inside = self.stretch.hole && range.end <= self.stretch.end;
        inside.then(|| zeros((range.end - range.start) as usize)).flatten()
    }

    fn step(&mut self, start: u64, len: u64, mut buffer: Vec<u8>) -> io::Result<Bytes> {
        if let Some(zeros) = self.hole(start..start + len) {
            return Ok(Bytes::zeros(zeros, buffer));
        }
        // Not cleared first: filling with zeros what is read over next would cost as much as reading it.
        buffer.resize(len as usize, 0);
        self.bytes.read_exact_at(&mut buffer, start)?;
        Ok(Bytes::read(buffer))
    }
}

/// Bytes read ahead of the last content cut.
#[derive(Default)]
struct Window {
    memory: Vec<u8>,
    /// Where in the memory they are.
    ahead: Range<usize>,
}

impl Window {
    /// The first chunk of what is left of a span, `range`.
    fn cut(&mut self, source: &mut Source<'_>, range: &Range<u64>, mut buffer: Vec<u8>) -> io::Result<Bytes> {
        let left = range.end - range.start;
        let longest = left.min(CONTENT_MAX as u64);
        if let Some(zeros) = source.hole(range.start..range.start + longest) {
            self.skip(zeros.len());
            return Ok(Bytes::zeros(zeros, buffer));
        }
        self.refill(source.bytes, range.start, left)?;
        let ahead = self.memory.get(self.ahead.clone()).unwrap_or_default();
        let first = ahead.get(..longest as usize).unwrap_or(ahead);
        if let Some(zeros) = zeros(first.len()).filter(|_| all_zero(first)) {
            self.skip(zeros.len());
            return Ok(Bytes::zeros(zeros, buffer));
        }
        let len = content_cut(first);
        buffer.clear();
        buffer.extend_from_slice(first.get(..len).unwrap_or(first));
        self.skip(len);
        Ok(Bytes::read(buffer))
    }

    /// Goes on behind a chunk, as much of it as was read.
    fn skip(&mut self, len: usize) {
        self.ahead.start = self.ahead.end.min(self.ahead.start + len);
    }

    /// Keeps at least `CONTENT_MAX` bytes ahead while the span has them; `offset` is where the first of them lies.
    fn refill(&mut self, source: &dyn ReadAt, offset: u64, left: u64) -> io::Result<()> {
        let ahead = self.ahead.len();
        if ahead >= CONTENT_MAX || ahead as u64 >= left {
            return Ok(());
        }
        self.memory.copy_within(self.ahead.clone(), 0);
        let target = left.min(READ_AHEAD as u64) as usize;
        if self.memory.len() < target {
            self.memory.resize(target, 0);
        }
        self.ahead = 0..ahead;
        let fresh = self.memory.get_mut(ahead..target).unwrap_or_default();
        source.read_exact_at(fresh, offset + ahead as u64)?;
        self.ahead.end = target;
        Ok(())
    }
}

/// Length of the first chunk of `ahead`, which holds `CONTENT_MAX` bytes or all that is left.
///
/// Zeros alone are never cut before their end: the rolling hash of no number of them meets a mask below `CONTENT_MAX`.
/// What is known to be zeros need not come here.
fn content_cut(ahead: &[u8]) -> usize {
    let (small, large) = select_masks(CONTENT_AVERAGE, Normalization::Level1);
    let (_, len) = cut(
        ahead,
        CONTENT_MIN,
        CONTENT_AVERAGE,
        CONTENT_MAX,
        small,
        large,
        small << 1,
        large << 1,
    );
    len.clamp(1, ahead.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;
    use crate::tensor::Region;
    use proptest::prelude::*;

    fn random(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn chunks(bytes: &[u8], regions: &[Region]) -> Vec<Chunk> {
        let owned = bytes.to_vec();
        let mut chunker = Chunker::new(&owned, plan(bytes.len() as u64, regions));
        std::iter::from_fn(|| chunker.next(Vec::new()).unwrap()).collect()
    }

    #[test]
    fn chunks_join_to_the_file() {
        let bytes = random(5 << 20);
        let regions = [Region {
            range: 70_000..70_000 + (3 << 20) + 8,
            element: Element::Bf16,
        }];
        let cut = chunks(&bytes, &regions);
        let mut at = 0;
        for chunk in &cut {
            assert_eq!(chunk.offset, at);
            at += chunk.bytes.len() as u64;
        }
        assert_eq!(
            cut.iter()
                .flat_map(|chunk| chunk.bytes.iter().copied())
                .collect::<Vec<_>>(),
            bytes
        );
        let tensor: Vec<usize> = cut
            .iter()
            .filter(|c| c.element == Element::Bf16)
            .map(|c| c.bytes.len())
            .collect();
        assert_eq!(
            tensor,
            [1 << 20, 1 << 20, (1 << 20) + 8],
            "the short rest joins the last step"
        );
    }

    #[test]
    fn content_cuts_survive_an_insertion() {
        let bytes = random(4 << 20);
        let mut inserted = bytes.clone();
        inserted.splice(1_000_000..1_000_000, *b"eight by");
        let before: std::collections::HashSet<_> = chunks(&bytes, &[]).iter().map(|c| c.bytes.to_vec()).collect();
        let after = chunks(&inserted, &[]);
        let fresh = after.iter().filter(|chunk| !before.contains(&*chunk.bytes)).count();
        assert!(after.len() > 30 && fresh <= 3, "{fresh} of {} are new", after.len());
        assert!(after.iter().all(|chunk| chunk.bytes.len() <= CONTENT_MAX));
    }

    /// Bytes with holes that it tells of and cannot read.
    struct Holed(Vec<u8>, Vec<Range<u64>>);

    impl ReadAt for Holed {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_exact_at(buffer, offset)
        }

        fn stretch(&self, offset: u64) -> Stretch {
            match self.1.iter().find(|hole| hole.end > offset) {
                Some(hole) if hole.start <= offset => Stretch {
                    end: hole.end,
                    hole: true,
                },
                next => Stretch {
                    end: next.map_or(self.len(), |hole| hole.start),
                    hole: false,
                },
            }
        }
    }

    /// Ends of the cuts of `bytes` by the crate alone.
    fn plain_cuts(bytes: &[u8]) -> Vec<u64> {
        let chunker = fastcdc::v2020::FastCDC::with_level(
            bytes,
            CONTENT_MIN,
            CONTENT_AVERAGE,
            CONTENT_MAX,
            Normalization::Level1,
        );
        chunker.map(|chunk| (chunk.offset + chunk.length) as u64).collect()
    }

    /// Ends of the chunks of one content span, which must hold the source's bytes.
    fn cuts(source: &dyn ReadAt, bytes: &[u8]) -> Vec<u64> {
        let range = 0..bytes.len() as u64;
        let mut chunker = Chunker::new(source, vec![Span::Content { range }]);
        let (mut ends, mut at) = (Vec::new(), 0);
        while let Some(chunk) = chunker.next(vec![0xee; 5]).unwrap() {
            let end = at + chunk.bytes.len();
            assert_eq!(chunk.offset, at as u64);
            assert!(*chunk.bytes == bytes[at..end], "{at}..{end}");
            assert_eq!(chunk.bytes.are_zeros(), all_zero(&bytes[at..end]), "{at}..{end}");
            ends.push(end as u64);
            at = end;
        }
        ends
    }

    /// Random bytes and zeros by turns, lengths around the limits of cuts, and where the zeros are.
    fn any_runs() -> impl Strategy<Value = (Vec<u8>, Vec<Range<u64>>)> {
        let len = prop_oneof![
            3 => 0..3 * CONTENT_MAX,
            2 => (1..4usize, 0..5usize).prop_map(|(times, more)| times * CONTENT_MAX + more - 2),
            1 => CONTENT_MIN - 2..CONTENT_MIN + 3,
            1 => 0..100usize,
            1 => READ_AHEAD - 2..2 * READ_AHEAD,
        ];
        (prop::collection::vec((any::<bool>(), len), 1..6), any::<u64>()).prop_map(|(runs, seed)| {
            let noise = random(3 * READ_AHEAD);
            let (mut bytes, mut holes) = (Vec::new(), Vec::new());
            for (zero, len) in runs {
                let start = bytes.len() as u64;
                if zero {
                    bytes.resize(bytes.len() + len, 0);
                    holes.push(start..bytes.len() as u64);
                } else {
                    bytes.extend_from_slice(&noise[seed as usize % READ_AHEAD..][..len]);
                }
            }
            (bytes, holes)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn zeros_and_holes_are_cut_as_anything_else((bytes, mut holes) in any_runs(), told in any::<u8>()) {
            prop_assume!(!bytes.is_empty());
            let expected = plain_cuts(&bytes);
            prop_assert_eq!(&cuts(&bytes, &bytes), &expected);
            // Not every run of zeros is a hole, and a hole may be told in pieces.
            let mut number = 0;
            holes.retain(|hole| {
                number += 1;
                !hole.is_empty() && told >> (number % 8) & 1 == 1
            });
            let pieces = holes.into_iter().flat_map(|hole| {
                let middle = hole.start + (hole.end - hole.start) * u64::from(told) / 256;
                [hole.start..middle, middle..hole.end]
            });
            let holes = pieces.filter(|hole| !hole.is_empty()).collect();
            prop_assert_eq!(&cuts(&Holed(bytes.clone(), holes), &bytes), &expected);
        }
    }

    #[test]
    fn zeros_alone_are_cut_at_the_longest_length() {
        for len in [1, 2, CONTENT_MIN, CONTENT_MIN + 1, CONTENT_AVERAGE + 1, CONTENT_MAX - 1] {
            for more in 0..2 {
                let zeros = vec![0; more * CONTENT_MAX + len];
                let mut expected = vec![zeros.len() as u64];
                expected.splice(..0, (0..more).map(|_| CONTENT_MAX as u64));
                assert_eq!(plain_cuts(&zeros), expected);
                assert_eq!(cuts(&zeros, &zeros), expected);
            }
        }
    }

    #[test]
    fn holes_are_not_read() {
        let hole = 5 * STEP;
        let mut bytes = random(2 * hole as usize);
        bytes[..hole as usize].fill(0);
        struct Unread(Holed);
        impl ReadAt for Unread {
            fn len(&self) -> u64 {
                self.0.len()
            }
            fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
                assert!(offset >= 5 * STEP, "{offset} was read");
                self.0.read_exact_at(buffer, offset)
            }
            fn stretch(&self, offset: u64) -> Stretch {
                self.0.stretch(offset)
            }
        }
        let source = Unread(Holed(bytes.clone(), vec![0..STEP, STEP..hole]));
        for span in [
            Span::Content { range: 0..2 * hole },
            Span::Steps {
                range: 0..2 * hole,
                element: Element::Bf16,
            },
        ] {
            let mut chunker = Chunker::new(&source, vec![span]);
            let mut joined = Vec::new();
            while let Some(chunk) = chunker.next(Vec::new()).unwrap() {
                assert_eq!(chunk.bytes.are_zeros(), chunk.offset < hole);
                joined.extend_from_slice(&chunk.bytes);
            }
            assert!(joined == bytes);
        }
    }

    #[test]
    fn a_source_that_shrank_is_an_error() {
        let bytes = vec![1; 100];
        let mut chunker = Chunker::new(&bytes, plan(200, &[]));
        assert!(chunker.next(Vec::new()).is_err());
    }
}
