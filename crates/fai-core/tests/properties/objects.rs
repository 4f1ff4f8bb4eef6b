//! Objects: what is valid round-trips, and no other bytes decode.

use std::collections::BTreeMap;

use fai_core::object::{
    Author, ChunkId, Commit, CommitId, ContentHash, EntryKind, Extent, Hash, Id, MAX_CHUNK_LEN, Manifest, Object, Page,
    Time, Tree, TreeEntry, TreeId, Value, check_name, fold_name,
};
use proptest::prelude::*;

use crate::cases;

fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

/// Integers around the lengths at which their heads grow, and all others.
fn any_size(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 65_000..66_000u64, (1u64 << 32) - 2..(1 << 32) + 2, 0..=most].prop_map(move |n| n.min(most))
}

fn any_extents() -> impl Strategy<Value = Vec<Extent>> {
    let extent = (any_hash(), any_size(MAX_CHUNK_LEN - 1)).prop_map(|(hash, len)| Extent { hash, len: len + 1 });
    prop::collection::vec(extent, 0..40)
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    (any_hash(), any_extents(), 0..4u8).prop_map(|(content, entries, level)| Manifest {
        size: entries.iter().map(|entry| entry.len).sum(),
        content: ContentHash::from_hash(content),
        level: if entries.len() < 2 { 0 } else { level },
        entries,
    })
}

fn any_page() -> impl Strategy<Value = Page> {
    let valid = (any_extents(), 0..4u8).prop_filter("a page has entries", |(entries, _)| !entries.is_empty());
    valid.prop_map(|(entries, level)| Page { level, entries })
}

fn any_name() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-zA-Z0-9_.éßÅ-]{1,12}", "[a-z]{1,3}", "\\PC{1,20}", "[a-z]{200,255}"];
    name.prop_filter("a name that trees may hold", |name| check_name(name).is_ok())
}

fn any_entries() -> impl Strategy<Value = Vec<TreeEntry>> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Executable),
        Just(EntryKind::Folder)
    ];
    let entry = (any_name(), kind, any_hash(), any_size(1 << 50)).prop_map(|(name, kind, hash, size)| TreeEntry {
        name,
        kind,
        hash,
        size,
    });
    prop::collection::vec(entry, 0..20).prop_map(|entries| {
        let apart: BTreeMap<String, TreeEntry> = entries.into_iter().map(|e| (fold_name(&e.name), e)).collect();
        apart.into_values().collect()
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-300..300i64).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        any::<f32>().prop_map(|value| Value::Float(value.into())),
        // Every binary16 has 11 significant bits.
        (any::<i16>(), -30..10i32).prop_map(|(n, e)| Value::Float(f64::from(n >> 5) * f64::from(e).exp2())),
        "\\PC{0,30}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map("[a-z.]{0,30}", inner, 0..6).prop_map(Value::Map),
        ]
    })
}

fn any_commit() -> impl Strategy<Value = Commit> {
    let author = ("[^\\p{C}<>]{1,30}", "[^\\p{C}<>]{0,30}").prop_map(|(name, email)| Author { name, email });
    let time = (any::<i64>(), -1439..1440i16).prop_map(|(seconds, offset_minutes)| Time {
        seconds,
        offset_minutes,
    });
    let parents = prop::collection::btree_set(any::<[u8; 32]>(), 0..4);
    let metadata = prop::collection::btree_map("[a-z]{1,40}", any_value(), 0..5);
    let signature = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    (any_hash(), parents, author, time, "\\PC{0,300}", metadata, signature).prop_map(
        |(tree, parents, author, time, message, metadata, signature)| Commit {
            tree: TreeId::from_hash(tree),
            parents: parents
                .into_iter()
                .map(|p| CommitId::from_hash(Hash::from_bytes(p)))
                .collect(),
            author,
            time,
            message,
            metadata,
            signature,
        },
    )
}

/// If `bytes` decode at all, they are the one encoding of what they decode to.
fn at_most_one_form<T: Object>(bytes: &[u8]) {
    if let Ok(value) = T::decode(bytes) {
        assert_eq!(value.encode(), bytes, "two encodings of one value");
    }
}

fn at_most_one_form_of_each(bytes: &[u8]) {
    at_most_one_form::<Manifest>(bytes);
    at_most_one_form::<Page>(bytes);
    at_most_one_form::<Tree>(bytes);
    at_most_one_form::<Commit>(bytes);
}

/// The bytes where the heads of all CBOR items in `bytes` start: `bytes` must be well-formed, of definite lengths.
fn heads(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        starts.push(at);
        let (argument, len) = argument(bytes, at);
        let is_string = matches!(bytes[at] >> 5, 2 | 3);
        at += len + if is_string { argument as usize } else { 0 };
    }
    starts
}

/// The argument of the head at `at`, and the head's length.
fn argument(bytes: &[u8], at: usize) -> (u64, usize) {
    let len = match bytes[at] & 31 {
        0..=23 => return (u64::from(bytes[at] & 31), 1),
        short => 1usize << (short - 24),
    };
    let argument = bytes[at + 1..=at + len]
        .iter()
        .fold(0, |n, byte| n << 8 | u64::from(*byte));
    (argument, len + 1)
}

/// The value of a binary16.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// The same value with the head at `at` one size longer, if there is a longer one.
fn widened(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let (argument, len) = argument(bytes, at);
    let float = match bytes[at] {
        0xf9 => Some(half(argument as u16)),
        0xfa => Some(f64::from(f32::from_bits(argument as u32))),
        _ => None,
    };
    if let Some(float) = float {
        let longer = [&[0xfb], float.to_be_bytes().as_slice()].concat();
        return Some([&bytes[..at], &longer, &bytes[at + len..]].concat());
    }
    let code = match len {
        1 => 24,
        2 => 25,
        3 => 26,
        5 => 27,
        _ => return None,
    };
    let (major, width) = (bytes[at] & 0xe0, 1usize << (code - 24));
    let mut longer = bytes[..at].to_vec();
    longer.push(major | code);
    longer.extend_from_slice(&argument.to_be_bytes()[8 - width..]);
    longer.extend_from_slice(&bytes[at + len..]);
    Some(longer)
}

/// The value round-trips; longer heads, single changed bytes and cut ends are refused or mean something else.
fn has_one_form<T: Object + std::fmt::Debug>(value: &T, picks: [prop::sample::Index; 2], byte: u8) {
    let bytes = value.encode();
    assert_eq!(T::decode(&bytes).expect("a valid value decodes").encode(), bytes);
    let starts = heads(&bytes);
    let at = starts[picks[0].index(starts.len())];
    if let Some(longer) = widened(&bytes, at) {
        assert!(T::decode(&longer).is_err(), "a long head at {at} passed: {longer:02x?}");
    }
    let at = picks[1].index(bytes.len());
    let mut changed = bytes.clone();
    changed[at] = byte;
    at_most_one_form::<T>(&changed);
    changed.insert(at, byte);
    at_most_one_form::<T>(&changed);
    assert!(T::decode(&bytes[..at]).is_err());
}

/// Bytes that are CBOR more often than chance would have it.
fn cbor_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (0..8u8, 0..28u8).prop_map(|(major, info)| vec![major << 5 | info]),
        any_hash().prop_map(|hash| [&[0x58, 0x20], hash.as_bytes().as_slice()].concat()),
        (0..24u8).prop_map(|n| vec![n]),
        Just(vec![0x63, b'a', b'b', b'c']),
        Just(vec![0x9f]),
        Just(vec![0xff]),
        any::<u16>().prop_map(|bits| [&[0xf9], bits.to_be_bytes().as_slice()].concat()),
        (0..6u8).prop_map(|n| vec![0x80 | n]),
        (0..6u8).prop_map(|n| vec![0xa0 | n]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn manifests_have_one_form(value in any_manifest(), picks: [prop::sample::Index; 2], byte: u8) {
        has_one_form(&value, picks, byte);
        prop_assert_eq!(Manifest::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn pages_have_one_form(value in any_page(), picks: [prop::sample::Index; 2], byte: u8) {
        has_one_form(&value, picks, byte);
        prop_assert_eq!(Page::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn trees_have_one_form_in_any_order(
        (entries, shuffled) in any_entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        picks: [prop::sample::Index; 2],
        byte: u8,
    ) {
        let tree = Tree::new(entries).expect("names that are valid and apart");
        prop_assert_eq!(Tree::new(shuffled).expect("the same names").id(), tree.id());
        for entry in tree.entries() {
            prop_assert_eq!(tree.get(&entry.name), Some(entry));
        }
        has_one_form(&tree, picks, byte);
        prop_assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
    }

    #[test]
    fn commits_have_one_form(value in any_commit(), picks: [prop::sample::Index; 2], byte: u8) {
        prop_assert_eq!(value.validate(), Ok(()));
        has_one_form(&value, picks, byte);
        prop_assert_eq!(Commit::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn ids_and_their_text_are_the_same(hash in any_hash()) {
        let id = ChunkId::from_hash(hash);
        prop_assert_eq!(id.to_string().parse::<ChunkId>(), Ok(id));
        prop_assert_eq!(id.to_string().to_uppercase().parse::<ChunkId>(), Ok(id));
    }

    #[test]
    fn folding_a_name_twice_changes_nothing(name in "\\PC{0,20}") {
        let folded = fold_name(&name);
        prop_assert_eq!(fold_name(&folded), folded);
    }
}

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn arbitrary_bytes_have_at_most_one_meaning(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        at_most_one_form_of_each(&bytes);
    }

    #[test]
    fn arbitrary_cbor_has_at_most_one_meaning(bytes in cbor_like()) {
        at_most_one_form_of_each(&bytes);
    }
}
