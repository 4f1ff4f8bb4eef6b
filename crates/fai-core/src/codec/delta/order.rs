//! Distances in the order of what their base elements are, so that those of one size stand together.
//!
//! A training step moves all weights by about the same amount, which is a few steps of a large float and many of a
//! small one: the exponent of the base tells how large a distance to expect. The order is a stable counting sort that
//! a reader repeats, as it holds the base. How sorted distances are stored is not here.
//!
//! Elements with one key often follow each other, and each would wait for the counter that the one before it moved.
//! So four quarters of the chunk are sorted at once, each with counters of its own. The result is the same.

use super::word::Word;
use crate::tensor::Element;

/// For each key something about the elements with it.
type Table = [u32; 256];

/// Which bits of an element are its key: 8 bits from `shift` up, as far as `mask` leaves them.
#[derive(Clone, Copy)]
pub(super) struct Key {
    shift: u32,
    mask: u8,
}

impl Key {
    /// The exponent of a float (of f64 its lower eight bits), the magnitude of fp8; integers have no key.
    pub(super) const fn of(element: Element) -> Option<Self> {
        let (shift, mask) = match element {
            Element::Byte => (0, 0x7f),
            Element::F16 => (10, 0x1f),
            Element::Bf16 => (7, 0xff),
            Element::F32 => (23, 0xff),
            Element::F64 => (52, 0xff),
            Element::Opaque | Element::Int16 | Element::Int32 | Element::Int64 => return None,
        };
        Some(Self { shift, mask })
    }

    #[inline(always)]
    pub(super) fn get<W: Word>(self, element: W) -> usize {
        usize::from(element.octet(self.shift) & self.mask)
    }
}

impl Key {
    /// The exponent of an element: fp8 has three bits of its mantissa in the key.
    #[inline(always)]
    pub(super) fn exponent<W: Word>(self, element: W) -> u32 {
        let key = self.get(element) as u32;
        if self.shift == 0 { key >> 3 } else { key }
    }
}

/// How many elements of each quarter have each key.
pub(super) struct Groups([Table; 4]);

impl Groups {
    /// Counts the elements of `base`.
    pub(super) fn of(base: &[u8], element: Element, key: Key) -> Self {
        match element.width() {
            1 => Self::count::<u8>(base, key),
            2 => Self::count::<u16>(base, key),
            4 => Self::count::<u32>(base, key),
            _ => Self::count::<u64>(base, key),
        }
    }

    fn count<W: Word>(base: &[u8], key: Key) -> Self {
        let mut tables = [[0u32; 256]; 4];
        let [t0, t1, t2, t3] = &mut tables;
        let count = |table: &mut Table, element: &W::Bytes| {
            if let Some(count) = table.get_mut(key.get(W::from_bytes(*element))) {
                *count += 1;
            }
        };
        let ([b0, b1, b2, b3], rest) = quarters(W::all(base));
        for (((e0, e1), e2), e3) in b0.iter().zip(b1).zip(b2).zip(b3) {
            count(t0, e0);
            count(t1, e1);
            count(t2, e2);
            count(t3, e3);
        }
        rest.iter().for_each(|element| count(t3, element));
        Self(tables)
    }

    /// How many elements have each key, in the order of the keys.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        let [a, b, c, d] = &self.0;
        let pairs = a.iter().zip(b).zip(c).zip(d);
        pairs.map(|(((a, b), c), d)| (a + b + c + d) as usize)
    }

    /// Where the elements of each quarter and key start.
    fn starts(&self) -> [Table; 4] {
        let mut starts = [[0u32; 256]; 4];
        let mut next = 0;
        for key in 0..256 {
            for (start, count) in starts.iter_mut().zip(&self.0) {
                if let (Some(start), Some(count)) = (start.get_mut(key), count.get(key)) {
                    *start = next;
                    next += count;
                }
            }
        }
        starts
    }
}

/// Four slices of equal length, and what is left.
fn quarters<T>(all: &[T]) -> ([&[T]; 4], &[T]) {
    let quarter = all.len() / 4;
    let (a, rest) = all.split_at(quarter);
    let (b, rest) = rest.split_at(quarter);
    let (c, rest) = rest.split_at(quarter);
    let (d, rest) = rest.split_at(quarter);
    ([a, b, c, d], rest)
}

fn quarters_mut<T>(all: &mut [T]) -> ([&mut [T]; 4], &mut [T]) {
    let quarter = all.len() / 4;
    let (a, rest) = all.split_at_mut(quarter);
    let (b, rest) = rest.split_at_mut(quarter);
    let (c, rest) = rest.split_at_mut(quarter);
    let (d, rest) = rest.split_at_mut(quarter);
    ([a, b, c, d], rest)
}

/// Writes the elements of `plain` in the order of `base`, whose groups are given.
pub(super) fn sort(plain: &[u8], base: &[u8], element: Element, key: Key, groups: &Groups, sorted: &mut [u8]) {
    match element.width() {
        1 => sort_words::<u8>(plain, base, key, groups, sorted),
        2 => sort_words::<u16>(plain, base, key, groups, sorted),
        4 => sort_words::<u32>(plain, base, key, groups, sorted),
        _ => sort_words::<u64>(plain, base, key, groups, sorted),
    }
}

/// Undoes [`sort`].
pub(super) fn unsort(sorted: &[u8], base: &[u8], element: Element, key: Key, groups: &Groups, plain: &mut [u8]) {
    match element.width() {
        1 => unsort_words::<u8>(sorted, base, key, groups, plain),
        2 => unsort_words::<u16>(sorted, base, key, groups, plain),
        4 => unsort_words::<u32>(sorted, base, key, groups, plain),
        _ => unsort_words::<u64>(sorted, base, key, groups, plain),
    }
}

fn sort_words<W: Word>(plain: &[u8], base: &[u8], key: Key, groups: &Groups, sorted: &mut [u8]) {
    let sorted = W::all_mut(sorted);
    let mut starts = groups.starts();
    let [t0, t1, t2, t3] = &mut starts;
    let mut place = |table: &mut Table, (element, base): (&W::Bytes, &W::Bytes)| {
        if let Some(next) = table.get_mut(key.get(W::from_bytes(*base))) {
            if let Some(place) = sorted.get_mut(*next as usize) {
                *place = *element;
            }
            *next = next.wrapping_add(1);
        }
    };
    let ([p0, p1, p2, p3], plain_rest) = quarters(W::all(plain));
    let ([b0, b1, b2, b3], base_rest) = quarters(W::all(base));
    let pairs = p0.iter().zip(b0).zip(p1.iter().zip(b1));
    for ((e0, e1), (e2, e3)) in pairs.zip(p2.iter().zip(b2).zip(p3.iter().zip(b3))) {
        place(t0, e0);
        place(t1, e1);
        place(t2, e2);
        place(t3, e3);
    }
    plain_rest.iter().zip(base_rest).for_each(|last| place(t3, last));
}

fn unsort_words<W: Word>(sorted: &[u8], base: &[u8], key: Key, groups: &Groups, plain: &mut [u8]) {
    let sorted = W::all(sorted);
    let mut starts = groups.starts();
    let [t0, t1, t2, t3] = &mut starts;
    let take = |table: &mut Table, (place, base): (&mut W::Bytes, &W::Bytes)| {
        if let Some(next) = table.get_mut(key.get(W::from_bytes(*base))) {
            if let Some(element) = sorted.get(*next as usize) {
                *place = *element;
            }
            *next = next.wrapping_add(1);
        }
    };
    let ([p0, p1, p2, p3], plain_rest) = quarters_mut(W::all_mut(plain));
    let ([b0, b1, b2, b3], base_rest) = quarters(W::all(base));
    let pairs = p0.iter_mut().zip(b0).zip(p1.iter_mut().zip(b1));
    for ((e0, e1), (e2, e3)) in pairs.zip(p2.iter_mut().zip(b2).zip(p3.iter_mut().zip(b3))) {
        take(t0, e0);
        take(t1, e1);
        take(t2, e2);
        take(t3, e3);
    }
    plain_rest.iter_mut().zip(base_rest).for_each(|last| take(t3, last));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_stable_by_key_and_undone() {
        for element in [Element::Byte, Element::F16, Element::Bf16, Element::F32, Element::F64] {
            let (key, width) = (Key::of(element).unwrap(), element.width());
            for count in [1, 2, 3, 4, 5, 1003] {
                let base: Vec<u8> = (0..count * width).map(|i| (i * i * 31 % 251) as u8).collect();
                let plain: Vec<u8> = (0..count * width).map(|i| (i * 7 % 256) as u8).collect();
                let groups = Groups::of(&base, element, key);
                let mut sorted = vec![0; plain.len()];
                sort(&plain, &base, element, key, &groups, &mut sorted);

                let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                let mut pairs: Vec<(u64, &[u8])> = base.chunks(width).map(word).zip(plain.chunks(width)).collect();
                pairs.sort_by_key(|(base, _)| (base >> key.shift) as u8 & key.mask);
                assert!(sorted == pairs.iter().map(|(_, plain)| *plain).collect::<Vec<_>>().concat());

                let mut back = vec![0; plain.len()];
                unsort(&sorted, &base, element, key, &groups, &mut back);
                assert!(back == plain, "{element:?} {count}");
            }
        }
    }
}
