//! Objects: whatever decodes is encoded by exactly the bytes that it was decoded from, and has their id.

use std::collections::BTreeMap;

use fai_core::object::{
    Author, Commit, CommitId, ContentHash, Extent, Hash, Id, Manifest, Object, Page, Time, Tree, TreeEntry, TreeId,
    Value, check_name, fold_name,
};

use super::{Target, target};

pub const TARGETS: &[Target] = &[
    target("manifest", manifest, manifest_seeds),
    target("page", page, page_seeds),
    target("tree", tree, tree_seeds),
    target("commit", commit, commit_seeds),
];

/// The value in `bytes`, if there is one.
fn decoded<T: Object>(bytes: &[u8]) -> Option<T> {
    let value = T::decode(bytes).ok()?;
    assert!(value.encode() == bytes, "two encodings of one value");
    assert!(
        value.id().hash() == T::Id::of(bytes).hash(),
        "another id than that of its bytes"
    );
    Some(value)
}

fn manifest(bytes: &[u8]) -> bool {
    let Some(manifest) = decoded::<Manifest>(bytes) else {
        return false;
    };
    let sum: u128 = manifest.entries.iter().map(|entry| u128::from(entry.len)).sum();
    assert_eq!(sum, u128::from(manifest.size));
    true
}

fn page(bytes: &[u8]) -> bool {
    let Some(page) = decoded::<Page>(bytes) else {
        return false;
    };
    assert!(!page.entries.is_empty() && page.entries.iter().all(|entry| entry.len > 0));
    true
}

fn tree(bytes: &[u8]) -> bool {
    let Some(tree) = decoded::<Tree>(bytes) else {
        return false;
    };
    let mut folded: Vec<String> = tree.entries().iter().map(|entry| fold_name(&entry.name)).collect();
    folded.sort();
    assert!(
        folded.windows(2).all(|pair| pair[0] != pair[1]),
        "two names that are one somewhere"
    );
    for entry in tree.entries() {
        assert_eq!(check_name(&entry.name), Ok(()));
        assert!(!entry.name.contains('/') && entry.name != ".." && !entry.name.eq_ignore_ascii_case(".fai"));
        assert_eq!(tree.get(&entry.name), Some(entry));
        assert!(entry.size <= tree.size());
    }
    assert_eq!(Tree::new(tree.entries().to_vec()), Ok(tree));
    true
}

fn commit(bytes: &[u8]) -> bool {
    let Some(commit) = decoded::<Commit>(bytes) else {
        return false;
    };
    assert_eq!(commit.validate(), Ok(()));
    let _ = (commit.title(), commit.labels(), commit.metadata_map("params"));
    true
}

fn hash(number: u8) -> Hash {
    Hash::from_bytes([number; 32])
}

fn extents(count: u8) -> Vec<Extent> {
    (0..count)
        .map(|number| Extent {
            hash: hash(number),
            len: u64::from(number) * 900 + 1,
        })
        .collect()
}

fn manifest_seeds() -> Vec<Vec<u8>> {
    let of = |count, level| {
        let entries = extents(count);
        let size = entries.iter().map(|entry| entry.len).sum();
        Manifest {
            size,
            content: ContentHash::from_hash(hash(9)),
            level,
            entries,
        }
        .encode()
    };
    vec![of(0, 0), of(1, 0), of(30, 0), of(2, 1), of(3, 3)]
}

fn page_seeds() -> Vec<Vec<u8>> {
    [(1, 0), (40, 0), (2, 2)]
        .map(|(count, level)| {
            Page {
                level,
                entries: extents(count),
            }
            .encode()
        })
        .to_vec()
}

fn tree_seeds() -> Vec<Vec<u8>> {
    let file = |name: &str, size| TreeEntry::file(name, Id::from_hash(hash(1)), size, size % 2 == 1);
    let entries = vec![
        file("model.safetensors", 1 << 40),
        file("README.md", 301),
        TreeEntry::folder("ünï", TreeId::from_hash(hash(2)), 70_000),
        file("a", 0),
    ];
    let whole = Tree::new(entries).expect("names that are valid and apart");
    vec![Tree::default().encode(), whole.encode()]
}

fn commit_seeds() -> Vec<Vec<u8>> {
    let first = Commit {
        tree: TreeId::from_hash(hash(1)),
        parents: Vec::new(),
        author: Author {
            name: "Ada".into(),
            email: String::new(),
        },
        time: Time::default(),
        message: "First".into(),
        metadata: BTreeMap::new(),
        signature: None,
    };
    let map = |entries: &[(&str, Value)]| {
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let params = map(&[
        ("lr", Value::Float(1e-4)),
        ("steps", Value::Int(-300)),
        ("amp", Value::Bool(true)),
    ]);
    let other = Commit {
        parents: vec![CommitId::from_hash(hash(2)), CommitId::from_hash(hash(3))],
        time: Time {
            seconds: 1_700_000_000,
            offset_minutes: -90,
        },
        metadata: map(&[
            ("params", Value::Map(params)),
            ("tags", Value::List(vec![Value::Text("best".into())])),
            ("loss", Value::Float(0.1)),
        ]),
        signature: Some(vec![7; 64]),
        ..first.clone()
    };
    vec![first.encode(), other.encode()]
}
