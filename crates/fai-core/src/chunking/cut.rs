//! Carrying out a plan: reading a file front to back and handing out its chunks.

use std::collections::VecDeque;
use std::io;

use fastcdc::v2020::{Normalization, cut, select_masks};

use super::plan::{CONTENT_MAX, OWN_CHUNK, STEP, Span};
use crate::tensor::{Element, ReadAt};

/// Shortest and average content-defined chunk (FastCDC, Xia et al. 2020, normalisation level 1).
const CONTENT_MIN: usize = 16 << 10;
const CONTENT_AVERAGE: usize = 64 << 10;

/// A chunk as it was read.
#[derive(Debug)]
pub struct Chunk {
    /// Offset in the file.
    pub offset: u64,
    /// What its bytes are.
    pub element: Element,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

/// Reads the chunks of a source in order, each byte once.
pub struct Chunker<'a> {
    source: &'a dyn ReadAt,
    spans: VecDeque<Span>,
    /// Bytes read ahead of the last content cut, and the offset of the first of them.
    window: Vec<u8>,
    used: usize,
}

impl<'a> Chunker<'a> {
    /// Cuts `source` as `spans` say.
    pub fn new(source: &'a dyn ReadAt, spans: Vec<Span>) -> Self {
        Self {
            source,
            spans: spans.into(),
            window: Vec::new(),
            used: 0,
        }
    }

    /// The next chunk in `buffer`'s memory, or `None` at the end.
    ///
    /// # Errors
    /// When reading fails; `UnexpectedEof` when the source became shorter.
    pub fn next(&mut self, mut buffer: Vec<u8>) -> io::Result<Option<Chunk>> {
        let Some(span) = self.spans.front_mut() else {
            return Ok(None);
        };
        let (chunk, empty) = match span {
            Span::Steps { range, element } => {
                let left = range.end - range.start;
                let len = if left < STEP + OWN_CHUNK { left } else { STEP };
                // Not cleared first: filling with zeros what is read over next would cost as much as reading it.
                buffer.resize(len as usize, 0);
                self.source.read_exact_at(&mut buffer, range.start)?;
                let chunk = Chunk {
                    offset: range.start,
                    element: *element,
                    bytes: buffer,
                };
                range.start += len;
                (chunk, range.is_empty())
            }
            Span::Content { range } => {
                let offset = range.start;
                let left = range.end - offset;
                refill(&mut self.window, &mut self.used, self.source, offset, left)?;
                let ahead = self.window.get(self.used..).unwrap_or_default();
                let len = content_cut(ahead);
                buffer.clear();
                buffer.extend_from_slice(ahead.get(..len).unwrap_or(ahead));
                self.used += len;
                range.start += buffer.len() as u64;
                let empty = range.is_empty();
                if empty {
                    (self.window, self.used) = (Vec::new(), 0);
                }
                (
                    Chunk {
                        offset,
                        element: Element::Opaque,
                        bytes: buffer,
                    },
                    empty,
                )
            }
        };
        if empty {
            self.spans.pop_front();
        }
        Ok(Some(chunk))
    }
}

/// Keeps at least `CONTENT_MAX` bytes ahead while the span has them; `offset` is where `window[used]` lies.
fn refill(window: &mut Vec<u8>, used: &mut usize, source: &dyn ReadAt, offset: u64, left: u64) -> io::Result<()> {
    let ahead = window.len() - *used;
    if ahead >= CONTENT_MAX || ahead as u64 >= left {
        return Ok(());
    }
    window.drain(..*used);
    *used = 0;
    let target = left.min(4 * CONTENT_MAX as u64) as usize;
    window.resize(target, 0);
    let fresh = window.get_mut(ahead..).unwrap_or_default();
    source.read_exact_at(fresh, offset + ahead as u64)
}

/// Length of the first chunk of `ahead`, which holds `CONTENT_MAX` bytes or all that is left.
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
        let before: std::collections::HashSet<_> = chunks(&bytes, &[]).into_iter().map(|c| c.bytes).collect();
        let after = chunks(&inserted, &[]);
        let fresh = after.iter().filter(|chunk| !before.contains(&chunk.bytes)).count();
        assert!(after.len() > 30 && fresh <= 3, "{fresh} of {} are new", after.len());
        assert!(after.iter().all(|chunk| chunk.bytes.len() <= CONTENT_MAX));
    }

    #[test]
    fn a_source_that_shrank_is_an_error() {
        let bytes = vec![1; 100];
        let mut chunker = Chunker::new(&bytes, plan(200, &[]));
        assert!(chunker.next(Vec::new()).is_err());
    }
}
