//! Chunk plans: they cover the file, chunks join to it, and equal tensors give equal chunks wherever they lie.

use std::ops::Range;

use fai_core::chunking::{CONTENT_MAX, Chunk, Chunker, OWN_CHUNK, STEP, Span, plan};
use fai_core::object::MAX_CHUNK_LEN;
use fai_core::tensor::{Element, Region};
use proptest::prelude::*;

use crate::{any_element, cases};

/// A file's size, and tensors in it. Regions are mostly sorted and disjoint, as parsers give them; some are not.
fn any_layout() -> impl Strategy<Value = (u64, Vec<Region>)> {
    let len = prop_oneof![
        4 => 0..20_000u64,
        2 => OWN_CHUNK - 5..OWN_CHUNK + 5,
        1 => STEP - 5..STEP + 5,
        1 => STEP + OWN_CHUNK - 5..STEP + OWN_CHUNK + 5,
        1 => 0..2 * STEP,
    ];
    let gap = prop_oneof![3 => Just(0), 3 => 0..300u64, 1 => OWN_CHUNK - 2..OWN_CHUNK + 2, 1 => 0..300_000u64];
    let pieces = prop::collection::vec((gap.clone(), len, any_element()), 0..12);
    (pieces, gap, any::<bool>(), any::<u8>()).prop_map(|(pieces, tail, whole, disorder)| {
        let (mut at, mut regions) = (0, Vec::new());
        for (gap, len, element) in pieces {
            // Tensors are whole elements.
            let len = len - len % element.width() as u64;
            let range = at + gap..at + gap + len;
            at = range.end;
            regions.push(Region { range, element });
        }
        if disorder < 30 {
            regions.reverse();
        }
        (if whole { at + tail } else { at / 2 }, regions)
    })
}

fn range(span: &Span) -> Range<u64> {
    match span {
        Span::Steps { range, .. } | Span::Content { range } => range.clone(),
    }
}

/// A shared chunk: its range so far, and its element with the origin.
type Shared = (Range<u64>, Option<(Element, u64)>);

/// The plan once more, written after `docs/format.md` instead of the code.
fn documented_plan(size: u64, regions: &[Region]) -> Vec<Span> {
    const SHARED_MIN: u64 = 16 << 10;
    // Regions and gaps in order.
    let (mut pieces, mut at) = (Vec::new(), 0);
    for Region { range, element } in regions {
        if range.is_empty() || range.start < at || range.end > size {
            continue;
        }
        pieces.push((at..range.start, None));
        pieces.push((range.clone(), Some(*element)));
        at = range.end;
    }
    pieces.push((at..size, None));
    pieces.retain(|(range, _)| !range.is_empty());

    let mut spans = Vec::new();
    let mut open: Option<Shared> = None;
    let end = |open: &mut Option<Shared>, spans: &mut Vec<Span>| {
        if let Some((range, element)) = open.take() {
            let aligned = element.filter(|(e, origin)| (origin - range.start) % e.width() as u64 == 0);
            let element = aligned.map_or(Element::Opaque, |(element, _)| element);
            spans.push(Span::Steps { range, element });
        }
    };
    for (range, element) in pieces {
        if range.end - range.start >= OWN_CHUNK {
            end(&mut open, &mut spans);
            spans.push(match element {
                Some(element) => Span::Steps { range, element },
                None => Span::Content { range },
            });
            continue;
        }
        if let Some((so_far, known)) = &open {
            let too_long = range.end - so_far.start > STEP;
            let differs = matches!((element, known), (Some(new), Some((old, _))) if new != *old);
            if too_long || (differs && so_far.end - so_far.start >= SHARED_MIN) {
                end(&mut open, &mut spans);
            }
        }
        let (so_far, known) = open.get_or_insert((range.start..range.start, None));
        so_far.end = range.end;
        match (element, known) {
            (Some(new), Some((old, origin))) => {
                if new != *old || (range.start - *origin) % old.width() as u64 != 0 {
                    *old = Element::Opaque;
                }
            }
            (Some(new), unknown) => *unknown = Some((new, range.start)),
            (None, _) => {}
        }
    }
    end(&mut open, &mut spans);
    spans
}

fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

fn chunks(bytes: &[u8], regions: &[Region]) -> Vec<Chunk> {
    let source = bytes.to_vec();
    let mut chunker = Chunker::new(&source, plan(bytes.len() as u64, regions));
    std::iter::from_fn(|| chunker.next(vec![0xee; 7]).expect("memory reads")).collect()
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn spans_cover_the_file((size, regions) in any_layout()) {
        let mut at = 0;
        for span in plan(size, &regions) {
            let range = range(&span);
            prop_assert_eq!(range.start, at);
            prop_assert!(range.end > at);
            at = range.end;
        }
        prop_assert_eq!(at, size);
    }

    #[test]
    fn plans_are_as_documented((size, regions) in any_layout()) {
        prop_assert_eq!(plan(size, &regions), documented_plan(size, &regions));
    }

    #[test]
    fn large_tensors_have_spans_of_their_own((size, regions) in any_layout()) {
        let spans = plan(size, &regions);
        let mut end = 0;
        for Region { range, element } in regions {
            if range.is_empty() || range.start < end || range.end > size {
                continue;
            }
            end = range.end;
            if range.end - range.start >= OWN_CHUNK {
                let own = Span::Steps { range, element };
                prop_assert!(spans.contains(&own), "{own:?} is not in {spans:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn chunks_join_to_the_file((size, regions) in any_layout(), seed: u64) {
        let bytes = noise(size as usize, seed);
        let mut joined: Vec<u8> = Vec::new();
        for chunk in chunks(&bytes, &regions) {
            prop_assert_eq!(chunk.offset, joined.len() as u64);
            let len = chunk.bytes.len() as u64;
            prop_assert!((1..=MAX_CHUNK_LEN).contains(&len), "a chunk of {} bytes", len);
            prop_assert!(len < STEP + OWN_CHUNK);
            joined.extend_from_slice(&chunk.bytes);
        }
        prop_assert!(joined == bytes);
    }

    #[test]
    fn content_cuts_depend_on_what_follows_the_last_cut_alone(len in 0..2_000_000usize, seed: u64, pick: prop::sample::Index) {
        let bytes = noise(len, seed);
        let all = chunks(&bytes, &[]);
        prop_assert!(all.iter().all(|chunk| chunk.bytes.len() <= CONTENT_MAX));
        if all.is_empty() {
            return Ok(());
        }
        let pick = pick.index(all.len());
        let rest = bytes[all[pick].offset as usize..].to_vec();
        // A rest below the limit is one shared chunk.
        if rest.len() as u64 >= OWN_CHUNK {
            let again = chunks(&rest, &[]);
            prop_assert!(again.iter().map(|chunk| &*chunk.bytes).eq(all[pick..].iter().map(|chunk| &*chunk.bytes)));
        }
    }

    #[test]
    fn a_tensor_gives_the_same_chunks_at_any_offset(
        len in OWN_CHUNK..3 * STEP,
        before in prop_oneof![0..400usize, 0..200_000usize],
        after in 0..100_000usize,
        seed: u64,
    ) {
        let tensor = noise(len as usize, seed);
        let cut_at = |start: usize, after: usize| -> Vec<Vec<u8>> {
            let file = [noise(start, seed ^ 1), tensor.clone(), noise(after, seed ^ 2)].concat();
            let range = start as u64..start as u64 + len;
            let region = Region { range: range.clone(), element: Element::Byte };
            let inside = chunks(&file, &[region]).into_iter().filter(|chunk| range.contains(&chunk.offset));
            inside.map(|chunk| chunk.bytes.to_vec()).collect()
        };
        let here = cut_at(before, after);
        prop_assert!(here == cut_at(0, 0));
        prop_assert_eq!(here.concat(), tensor);
    }
}
