//! The plan of a transfer, without any network: it asks for exactly what is missing, whatever lies here already, in
//! whatever order it comes; and it refuses what contradicts itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;

use fai_core::object::{ContentHash, Extent, FileId, Hash, Id, Kind, Manifest, Object, Page, Tree, TreeEntry, TreeId};
use fai_network::session::plan::{Local, Plan, PlanError, Promise, Reach, Want};
use proptest::collection::vec;
use proptest::prelude::*;

/// Records by hash.
type Records = BTreeMap<Hash, (Kind, Vec<u8>)>;

/// What this side has.
#[derive(Default)]
struct Here {
    complete: BTreeSet<Hash>,
    /// Objects that may be read though nothing says that what they lead to is here.
    objects: Records,
    quarantine: Records,
}

impl Local for Here {
    type Error = Infallible;

    fn complete(&self, _: Kind, hash: &Hash) -> Result<bool, Infallible> {
        Ok(self.complete.contains(hash))
    }

    fn object(&self, kind: Kind, hash: &Hash) -> Result<Vec<u8>, Infallible> {
        let (found, bytes) = &self.objects[hash];
        assert_eq!(*found, kind);
        Ok(bytes.clone())
    }

    fn quarantined(&self, kind: Kind, hash: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        let found = self.quarantine.get(hash).filter(|(found, _)| *found == kind);
        Ok(found.map(|(_, bytes)| bytes.clone()))
    }

    fn has_chunk(&self, hash: &Hash) -> Result<bool, Infallible> {
        Ok(self.quarantine.get(hash).is_some_and(|(kind, _)| *kind == Kind::Chunk))
    }

    fn depth(&self, _: &Hash) -> Result<Option<usize>, Infallible> {
        unreachable!("the plan does not care how chunks are encoded")
    }
}

fn put(records: &mut Records, kind: Kind, bytes: Vec<u8>) -> Hash {
    let hash = kind.hash(&bytes);
    records.insert(hash, (kind, bytes));
    hash
}

/// A file of chunks that are told apart by a number, through a page when there are two or more.
fn file(records: &mut Records, chunks: &[u8]) -> (FileId, u64) {
    let extent = |records: &mut Records, number: &u8| {
        let bytes = vec![*number; 10 + *number as usize];
        let len = bytes.len() as u64;
        Extent {
            hash: put(records, Kind::Chunk, bytes),
            len,
        }
    };
    let mut entries: Vec<Extent> = chunks.iter().map(|number| extent(records, number)).collect();
    let size = entries.iter().map(|entry| entry.len).sum();
    let mut level = 0;
    if entries.len() > 3 {
        level = 1;
        entries = entries
            .chunks(2)
            .map(|part| {
                let page = Page {
                    level: 0,
                    entries: part.to_vec(),
                };
                Extent {
                    hash: put(records, Kind::Page, page.encode()),
                    len: part.iter().map(|entry| entry.len).sum(),
                }
            })
            .collect();
    }
    let manifest = Manifest {
        size,
        content: ContentHash::from_hash(Kind::Chunk.hash(chunks)),
        level,
        entries,
    };
    (FileId::from_hash(put(records, Kind::Manifest, manifest.encode())), size)
}

/// A folder of files and one subfolder with the rest.
fn tree(records: &mut Records, files: &[Vec<u8>]) -> Tree {
    let (own, below) = files.split_at(files.len().div_ceil(2));
    let mut entries: Vec<TreeEntry> = Vec::new();
    for (index, chunks) in own.iter().enumerate() {
        let (id, size) = file(records, chunks);
        entries.push(TreeEntry::file(format!("file{index}"), id, size, false));
    }
    if !below.is_empty() {
        let inner = tree(records, below);
        entries.push(TreeEntry::folder("folder", inner.id(), inner.size()));
    }
    let tree = Tree::new(entries).unwrap();
    put(records, Kind::Tree, tree.encode());
    tree
}

/// Lets the plan ask a peer that has `there`, answering out of order, and gives what was asked for.
fn transfer(root: TreeId, there: &Records, here: &Here, order: &[usize]) -> Result<Vec<Hash>, PlanError<Infallible>> {
    let mut plan = Plan::new(Reach::Everything);
    plan.add_root(root);
    carry_out(plan, there, here, order)
}

/// The same for any plan.
fn carry_out(
    mut plan: Plan,
    there: &Records,
    here: &Here,
    order: &[usize],
) -> Result<Vec<Hash>, PlanError<Infallible>> {
    let (mut asked, mut under_way) = (Vec::new(), VecDeque::new());
    let mut order = order.iter().cycle();
    loop {
        while let Some(want) = plan.next(here)? {
            asked.push(want.hash);
            under_way.push_back(want);
        }
        if under_way.is_empty() {
            assert!(plan.is_done());
            return Ok(asked);
        }
        let pick = order.next().unwrap_or(&0) % under_way.len();
        let want: Want = under_way.remove(pick).unwrap();
        let (kind, bytes) = &there[&want.hash];
        assert_eq!(*kind, want.promise.kind());
        match want.promise {
            Promise::Chunk { len } => {
                assert_eq!(len, bytes.len() as u64);
                plan.came(&want);
            }
            _ => plan.arrived(&want, bytes)?,
        }
    }
}

proptest! {
    #[test]
    fn what_is_missing_is_asked_for_once(
        files in vec(vec(any::<u8>(), 0..9), 1..12),
        kept in vec(any::<bool>(), 1..40),
        order in vec(any::<usize>(), 1..20),
    ) {
        let mut there = Records::new();
        let root = tree(&mut there, &files).id();
        let mut here = Here::default();
        // An interrupted transfer left some of it.
        for ((hash, record), kept) in there.iter().zip(kept.iter().cycle()) {
            if *kept {
                here.quarantine.insert(*hash, record.clone());
            }
        }
        let asked = transfer(root, &there, &here, &order).unwrap();
        let unique: BTreeSet<Hash> = asked.iter().copied().collect();
        prop_assert_eq!(unique.len(), asked.len(), "nothing twice");
        let missing: BTreeSet<Hash> = there.keys().filter(|hash| !here.quarantine.contains_key(*hash)).copied().collect();
        prop_assert_eq!(unique, missing, "all that is missing, and nothing else");
    }

    #[test]
    fn what_the_repository_has_is_not_entered(files in vec(vec(any::<u8>(), 0..9), 2..12)) {
        let mut there = Records::new();
        let old = tree(&mut there, &files);
        let mut here = Here::default();
        here.complete.extend(there.keys().copied());
        let before: BTreeSet<Hash> = there.keys().copied().collect();
        let (id, size) = file(&mut there, b"a new file");
        let mut entries = old.entries().to_vec();
        entries.push(TreeEntry::file("new", id, size, false));
        let new = Tree::new(entries).unwrap();
        put(&mut there, Kind::Tree, new.encode());
        let asked: BTreeSet<Hash> = transfer(new.id(), &there, &here, &[0]).unwrap().into_iter().collect();
        prop_assert!(asked.is_disjoint(&before));
        prop_assert_eq!(asked.len(), there.len() - before.len());
    }
}

/// The chunks of a file, through its pages.
fn chunks_of(there: &Records, file: FileId) -> BTreeSet<Hash> {
    let manifest = Manifest::decode(&there[file.hash()].1).unwrap();
    let pages = manifest.entries.iter().map(|entry| (manifest.level, *entry));
    let chunks = pages.flat_map(|(level, entry)| match level {
        0 => vec![entry.hash],
        _ => {
            let page = Page::decode(&there[&entry.hash].1).unwrap();
            page.entries.iter().map(|entry| entry.hash).collect()
        }
    });
    chunks.collect()
}

proptest! {
    #[test]
    fn objects_come_without_chunks_and_then_chunks_of_what_is_wanted(
        files in vec(vec(any::<u8>(), 0..9), 1..12),
        kept in vec(any::<bool>(), 1..40),
        wanted in vec(any::<bool>(), 1..12),
        order in vec(any::<usize>(), 1..20),
    ) {
        let mut there = Records::new();
        let root = tree(&mut there, &files).id();
        let is_chunk = |hash: &Hash| there[hash].0 == Kind::Chunk;
        let mut plan = Plan::new(Reach::Objects);
        plan.add_root(root);
        let asked: BTreeSet<Hash> = carry_out(plan, &there, &Here::default(), &order).unwrap().into_iter().collect();
        let objects: BTreeSet<Hash> = there.keys().filter(|hash| !is_chunk(hash)).copied().collect();
        prop_assert_eq!(&asked, &objects, "all objects, and no chunk");

        // A repository that has all objects, some of them in quarantine still, and some chunks of both.
        let mut here = Here::default();
        for ((hash, record), kept) in there.iter().zip(kept.iter().cycle()) {
            match (is_chunk(hash), kept) {
                (false, true) => drop(here.quarantine.insert(*hash, record.clone())),
                (false, false) => {
                    here.complete.insert(*hash);
                    here.objects.insert(*hash, record.clone());
                }
                (true, true) if hash.as_bytes()[0] & 1 == 0 => drop(here.complete.insert(*hash)),
                (true, true) => drop(here.quarantine.insert(*hash, record.clone())),
                (true, false) => {}
            }
        }
        let all = there.iter().filter(|(_, (kind, _))| *kind == Kind::Manifest);
        let chosen = all.zip(wanted.iter().cycle()).filter(|(_, wanted)| **wanted);
        let chosen: Vec<(FileId, u64)> = chosen
            .map(|((hash, (_, bytes)), _)| (FileId::from_hash(*hash), Manifest::decode(bytes).unwrap().size))
            .collect();
        let mut plan = Plan::new(Reach::Contents);
        for (index, (file, size)) in chosen.iter().enumerate() {
            plan.add_file(*file, (index % 2 == 0).then_some(*size)).unwrap();
        }
        let asked = carry_out(plan, &there, &here, &order).unwrap();
        let unique: BTreeSet<Hash> = asked.iter().copied().collect();
        prop_assert_eq!(unique.len(), asked.len(), "nothing twice");
        let needed = chosen.iter().flat_map(|(file, _)| chunks_of(&there, *file));
        let lacking = |hash: &Hash| !here.complete.contains(hash) && !here.quarantine.contains_key(hash);
        let missing: BTreeSet<Hash> = needed.filter(lacking).collect();
        prop_assert_eq!(unique, missing, "the missing chunks of the chosen files, and nothing else");
    }

    #[test]
    fn one_file_alone_comes_whole(
        files in vec(vec(any::<u8>(), 0..9), 1..12),
        which in any::<usize>(),
        order in vec(any::<usize>(), 1..20),
    ) {
        let mut there = Records::new();
        tree(&mut there, &files);
        let manifests: Vec<Hash> = there.iter().filter(|(_, (kind, _))| *kind == Kind::Manifest).map(|(hash, _)| *hash).collect();
        let file = FileId::from_hash(manifests[which % manifests.len()]);
        let mut plan = Plan::new(Reach::Contents);
        plan.add_file(file, None).unwrap();
        let asked: BTreeSet<Hash> = carry_out(plan, &there, &Here::default(), &order).unwrap().into_iter().collect();
        let manifest = Manifest::decode(&there[file.hash()].1).unwrap();
        let pages = manifest.entries.iter().filter(|_| manifest.level > 0).map(|entry| entry.hash);
        let mut expected = chunks_of(&there, file);
        expected.extend(pages.chain([*file.hash()]));
        prop_assert_eq!(asked, expected);
    }
}

#[test]
fn a_file_that_is_said_to_have_two_sizes_is_refused() {
    let mut there = Records::new();
    let (id, size) = file(&mut there, b"abc");
    let mut plan = Plan::new(Reach::Contents);
    plan.add_file(id, None).unwrap();
    plan.add_file(id, Some(size)).unwrap();
    let mut plan = Plan::new(Reach::Contents);
    plan.add_file(id, Some(size)).unwrap();
    assert!(plan.add_file(id, Some(size + 1)).is_err());
    let mut plan = Plan::new(Reach::Contents);
    plan.add_file(id, Some(size + 1)).unwrap();
    assert!(matches!(
        carry_out(plan, &there, &Here::default(), &[0]),
        Err(PlanError::Contradiction(_))
    ));
}

#[test]
fn false_sizes_are_refused() {
    let mut there = Records::new();
    let (id, size) = file(&mut there, b"abc");
    let inner = Tree::new(vec![TreeEntry::file("f", id, size, false)]).unwrap();
    put(&mut there, Kind::Tree, inner.encode());
    let lies = [
        vec![TreeEntry::file("f", id, size + 1, false)],
        vec![TreeEntry::folder("d", inner.id(), size + 1)],
        // The same file, told of in two ways: whichever is looked at, the other is false.
        vec![
            TreeEntry::file("a", id, size, false),
            TreeEntry::file("b", id, size - 1, false),
        ],
        vec![TreeEntry::file("huge", id, 1 << 60, false)],
    ];
    for entries in lies {
        let tree = Tree::new(entries).unwrap();
        put(&mut there, Kind::Tree, tree.encode());
        let refused = transfer(tree.id(), &there, &Here::default(), &[0]);
        assert!(matches!(refused, Err(PlanError::Contradiction(_))), "{tree:?}");
    }
}

#[test]
fn a_page_that_is_named_thousands_of_times_is_gone_through_once() {
    let mut there = Records::new();
    let chunk = put(&mut there, Kind::Chunk, b"x".to_vec());
    let mut entry = Extent { hash: chunk, len: 1 };
    // 8192^3 chunks of one byte in three small records.
    for level in 0..3 {
        let page = Page {
            level,
            entries: vec![entry; 8192],
        };
        entry = Extent {
            hash: put(&mut there, Kind::Page, page.encode()),
            len: 8192 * entry.len,
        };
    }
    let manifest = Manifest {
        size: 2 * entry.len,
        content: ContentHash::from_hash(chunk),
        level: 3,
        entries: vec![entry; 2],
    };
    let id = FileId::from_hash(put(&mut there, Kind::Manifest, manifest.encode()));
    let tree = Tree::new(vec![TreeEntry::file("bomb", id, manifest.size, false)]).unwrap();
    put(&mut there, Kind::Tree, tree.encode());
    let asked = transfer(tree.id(), &there, &Here::default(), &[0]).unwrap();
    assert_eq!(asked.len(), there.len());
}
