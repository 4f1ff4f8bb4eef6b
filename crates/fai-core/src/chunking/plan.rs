//! The plan: which spans of a file are cut how.

use std::ops::Range;

use crate::tensor::{Element, Region};

/// Length of a step inside a tensor.
pub const STEP: u64 = 1 << 20;

/// A tensor of this length or longer has chunks of its own; shorter neighbours share one. A rest shorter than this
/// joins the step before it. Small enough to deduplicate a bias, large enough that ids and index rows stay below
/// 0.5 % of the data.
pub const OWN_CHUNK: u64 = 64 << 10;

/// Longest content-defined chunk.
pub const CONTENT_MAX: usize = 256 << 10;

/// A shared chunk this long or longer is closed where the element type changes.
const SHARED_MIN: u64 = 16 << 10;

/// A span of a file and how it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// In steps of [`STEP`] from its start.
    Steps {
        /// Absolute byte range.
        range: Range<u64>,
        /// What lies in it.
        element: Element,
    },
    /// Where a rolling hash of the content says.
    Content {
        /// Absolute byte range.
        range: Range<u64>,
    },
}

/// Plans a file of `size` bytes whose tensors cover `regions` (sorted and disjoint, as `Layout::regions` gives
/// them). The spans cover the file without gaps, in order.
pub fn plan(size: u64, regions: &[Region]) -> Vec<Span> {
    let mut planner = Planner {
        spans: Vec::new(),
        shared: None,
    };
    let mut at = 0;
    for region in regions {
        // Regions come from a parser that checked them against the file; what does not fit is left to the content cuts.
        if region.range.is_empty() || region.range.start < at || region.range.end > size {
            continue;
        }
        planner.gap(at..region.range.start);
        planner.tensor(region);
        at = region.range.end;
    }
    planner.gap(at..size);
    planner.close();
    planner.spans
}

/// Small neighbours collected into one chunk.
struct Shared {
    range: Range<u64>,
    /// The one element type of all tensors in it, while there is just one; `None` before the first tensor.
    element: Option<Element>,
    /// Where the first tensor starts: every later one must lie whole elements after it.
    first: u64,
}

struct Planner {
    spans: Vec<Span>,
    shared: Option<Shared>,
}

impl Planner {
    fn gap(&mut self, range: Range<u64>) {
        let len = range.end - range.start;
        if len >= OWN_CHUNK {
            self.close();
            self.spans.push(Span::Content { range });
        } else if len > 0 {
            self.share(range, None);
        }
    }

    fn tensor(&mut self, region: &Region) {
        let range = region.range.clone();
        if range.end - range.start >= OWN_CHUNK {
            self.close();
            self.spans.push(Span::Steps {
                range,
                element: region.element,
            });
        } else {
            self.share(range, Some(region.element));
        }
    }

    fn share(&mut self, range: Range<u64>, element: Option<Element>) {
        if let Some(shared) = &self.shared {
            let len = shared.range.end - shared.range.start;
            let differs = element.is_some() && shared.element.is_some() && element != shared.element;
            if range.end - shared.range.start > STEP || (differs && len >= SHARED_MIN) {
                self.close();
            }
        }
        match &mut self.shared {
            None => {
                let first = range.start;
                self.shared = Some(Shared { range, element, first });
            }
            Some(shared) => {
                if let Some(element) = element {
                    shared.absorb(range.start, element);
                }
                shared.range.end = range.end;
            }
        }
    }

    fn close(&mut self) {
        if let Some(Shared { range, element, first }) = self.shared.take() {
            // Planes start at the chunk's first byte, so bytes before the first tensor must be whole elements too.
            let element = element.filter(|e| (first - range.start).is_multiple_of(e.width() as u64));
            self.spans.push(Span::Steps {
                range,
                element: element.unwrap_or(Element::Opaque),
            });
        }
    }
}

impl Shared {
    fn absorb(&mut self, start: u64, element: Element) {
        match self.element {
            None => (self.element, self.first) = (Some(element), start),
            Some(known) => {
                let in_phase = (start - self.first).is_multiple_of(known.width() as u64);
                if known != element || !in_phase {
                    self.element = Some(Element::Opaque);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64, len: u64, element: Element) -> Region {
        Region {
            range: start..start + len,
            element,
        }
    }

    fn range(span: &Span) -> Range<u64> {
        match span {
            Span::Steps { range, .. } | Span::Content { range } => range.clone(),
        }
    }

    #[test]
    fn spans_cover_the_file_in_order() {
        let regions = [
            region(100, 4096, Element::Bf16),
            region(4196, 3 << 20, Element::Bf16),
            region((3 << 20) + 5000, 10, Element::F32),
            region((3 << 20) + 6000, 200 << 10, Element::F32),
        ];
        let size = 4 << 20;
        let spans = plan(size, &regions);
        let mut at = 0;
        for span in &spans {
            assert_eq!(range(span).start, at);
            at = range(span).end;
        }
        assert_eq!(at, size);
        assert!(spans.contains(&Span::Steps {
            range: 4196..4196 + (3 << 20),
            element: Element::Bf16
        }));
        assert!(matches!(spans.last(), Some(Span::Content { .. })));
    }

    #[test]
    fn small_neighbours_share_and_keep_their_type() {
        // A header, then norms of one type: one chunk that is split into planes.
        let norms: Vec<Region> = (0..10).map(|i| region(96 + i * 4096, 4096, Element::F32)).collect();
        assert_eq!(
            plan(96 + 40960, &norms),
            [Span::Steps {
                range: 0..96 + 40960,
                element: Element::F32
            }]
        );
        // Out of phase: plain bytes.
        let odd = [region(0, 4096, Element::F32), region(4097, 4096, Element::F32)];
        assert_eq!(
            plan(4097 + 4096, &odd),
            [Span::Steps {
                range: 0..8193,
                element: Element::Opaque
            }]
        );
    }

    #[test]
    fn regions_that_make_no_sense_count_for_nothing() {
        let nonsense = [
            region(7, 0, Element::F32),
            region(0, 101, Element::F32),
            region(u64::MAX - 4, 4, Element::F32),
        ];
        assert_eq!(plan(100, &nonsense), plan(100, &[]));
        assert_eq!(plan(0, &[region(0, 0, Element::Bf16)]), []);
    }

    #[test]
    fn nothing_known_is_cut_by_content() {
        assert_eq!(plan(1 << 30, &[]), [Span::Content { range: 0..1 << 30 }]);
        assert_eq!(plan(0, &[]), []);
        assert_eq!(
            plan(5, &[]),
            [Span::Steps {
                range: 0..5,
                element: Element::Opaque
            }]
        );
    }
}
