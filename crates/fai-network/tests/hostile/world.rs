//! What a peer has to tell: records, refs and commits in memory, true or made up. How it tells them is not here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use fai_core::codec::Codec;
use fai_core::object::{
    Author, Commit, CommitId, ContentHash, Extent, FileId, Hash, Id, Kind, Manifest, Object, Time, Tree, TreeEntry,
    TreeId,
};
use fai_core::storage::RecordHeader;
use fai_network::wire::message::{Reply, Request, Selector, Served, VERSION, hash_of, wire, wire_commit};
use fai_network::wire::records::write_absent;
use minicbor::bytes::{ByteArray, ByteVec};

pub const MAIN: &str = "refs/heads/main";

/// The id of the repository that all worlds are copies of.
pub const ID: [u8; 32] = [7; 32];

#[derive(Clone)]
pub struct World {
    pub records: HashMap<Hash, (Kind, Vec<u8>)>,
    pub refs: BTreeMap<String, CommitId>,
}

impl World {
    /// Nothing at all.
    pub fn empty() -> Self {
        Self {
            records: HashMap::new(),
            refs: BTreeMap::new(),
        }
    }

    /// One commit.
    pub fn first() -> Self {
        let mut world = Self::empty();
        let file = world.file("readme.md", &[b"# A model\n"]);
        let tree = world.tree(vec![file]);
        world.commit_on_main(tree);
        world
    }

    /// A second commit on top, with a file of three chunks in a folder.
    pub fn second() -> Self {
        let mut world = Self::first();
        let weights: Vec<Vec<u8>> = (0..3).map(|seed| fai_testkit::noise(seed, 20_000)).collect();
        let weights: Vec<&[u8]> = weights.iter().map(Vec::as_slice).collect();
        let (readme, model) = (
            world.file("readme.md", &[b"# A better model\n"]),
            world.file("model.bin", &weights),
        );
        let below = world.tree(vec![model]);
        let folder = TreeEntry::folder("weights", below, 60_000);
        let tree = world.tree(vec![readme, folder]);
        world.commit_on_main(tree);
        world
    }

    /// A second commit whose root tree is `tree`, on top of the first.
    pub fn with_tree(make: impl FnOnce(&mut Self) -> TreeId) -> Self {
        let mut world = Self::first();
        let tree = make(&mut world);
        world.commit_on_main(tree);
        world
    }

    pub fn put(&mut self, kind: Kind, bytes: Vec<u8>) -> Hash {
        let hash = kind.hash(&bytes);
        self.records.insert(hash, (kind, bytes));
        hash
    }

    pub fn extents(&mut self, chunks: &[&[u8]]) -> Vec<Extent> {
        let extent = |chunk: &&[u8]| Extent {
            len: chunk.len() as u64,
            hash: self.put(Kind::Chunk, chunk.to_vec()),
        };
        chunks.iter().map(extent).collect()
    }

    pub fn manifest(&mut self, manifest: &Manifest) -> FileId {
        FileId::from_hash(self.put(Kind::Manifest, manifest.encode()))
    }

    pub fn file(&mut self, name: &str, chunks: &[&[u8]]) -> TreeEntry {
        let content = chunks.concat();
        let manifest = Manifest {
            size: content.len() as u64,
            content: ContentHash::from_hash(Kind::Chunk.hash(&content)),
            level: 0,
            entries: self.extents(chunks),
        };
        TreeEntry::file(name, self.manifest(&manifest), manifest.size, false)
    }

    pub fn tree(&mut self, entries: Vec<TreeEntry>) -> TreeId {
        let tree = Tree::new(entries).unwrap();
        TreeId::from_hash(self.put(Kind::Tree, tree.encode()))
    }

    /// A tree that keeps no rules.
    pub fn lawless_tree(&mut self, entries: &[(&str, &TreeEntry)]) -> TreeId {
        let mut out = minicbor::Encoder::new(Vec::new());
        out.array(entries.len() as u64).unwrap();
        for (name, entry) in entries {
            let kind = if entry.tree_id().is_some() { 2 } else { 0 };
            out.array(4).unwrap().str(name).unwrap().u8(kind).unwrap();
            out.bytes(entry.hash.as_bytes()).unwrap().u64(entry.size).unwrap();
        }
        TreeId::from_hash(self.put(Kind::Tree, out.into_writer()))
    }

    pub fn commit(&mut self, tree: TreeId, parents: Vec<CommitId>, message: &str) -> CommitId {
        let commit = Commit {
            tree,
            parents,
            author: Author {
                name: "Ada".into(),
                email: "ada@example.org".into(),
            },
            time: Time::default(),
            message: message.into(),
            metadata: BTreeMap::new(),
            signature: None,
        };
        CommitId::from_hash(self.put(Kind::Commit, commit.encode()))
    }

    pub fn main(&self) -> CommitId {
        self.refs[MAIN]
    }

    pub fn commit_on_main(&mut self, tree: TreeId) -> CommitId {
        let parents = self.refs.get(MAIN).copied().into_iter().collect();
        let commit = self.commit(tree, parents, "a version");
        self.refs.insert(MAIN.into(), commit);
        commit
    }

    /// The hash of some record of that kind which the first world does not have.
    pub fn new_one(&self, kind: Kind) -> Hash {
        let known = Self::first().records;
        let mut new = self.records.iter().filter(|(hash, _)| !known.contains_key(*hash));
        *new.find(|(_, (found, _))| *found == kind).unwrap().0
    }

    /// An honest answer to the request for one record.
    pub fn answer(&self, hash: &Hash) -> Vec<u8> {
        let mut out = Vec::new();
        match self.records.get(hash) {
            Some((kind, bytes)) => {
                header(*kind, *hash, bytes.len() as u32).write(&mut out);
                out.extend(bytes);
            }
            None => write_absent(hash, &mut out),
        }
        out
    }

    /// An honest reply.
    pub fn reply(&self, request: &Request) -> Reply {
        match request {
            Request::Hello { .. } => welcome(ID, Some(MAIN)),
            Request::List => Reply::Repositories(vec![served(ID)]),
            Request::Refs { after } => {
                let refs = self.refs.iter().filter(|(name, _)| *name > after).take(1000);
                Reply::Refs(refs.map(|(name, commit)| (name.clone(), wire_commit(commit))).collect())
            }
            Request::Commits { want, have } => Reply::Commits(self.commits(want, have)),
            Request::Push { .. } => unreachable!("nobody pushes to it"),
        }
    }

    fn commits(&self, want: &[ByteArray<32>], have: &[ByteArray<32>]) -> Vec<ByteVec> {
        let mut met: HashSet<Hash> = have.iter().map(hash_of).collect();
        let mut waiting: VecDeque<Hash> = want.iter().map(hash_of).collect();
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(hash) = waiting.pop_front() {
            let Some((Kind::Commit, encoded)) = self.records.get(&hash).filter(|_| met.insert(hash)) else {
                continue;
            };
            bytes += encoded.len();
            if !found.is_empty() && (bytes > 900_000 || found.len() >= 4096) {
                break;
            }
            waiting.extend(Commit::decode(encoded).unwrap().parents.iter().map(|id| *id.hash()));
            found.push(encoded.clone().into());
        }
        found
    }
}

/// The header of a record that stands in its raw form.
pub fn header(kind: Kind, hash: Hash, len: u32) -> RecordHeader {
    RecordHeader {
        kind,
        codec: Codec::Raw,
        raw_len: len,
        encoded_len: len,
        hash,
        base: None,
    }
}

/// A record with a header that says what it likes.
pub fn record(header: RecordHeader, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    header.write(&mut out);
    out.extend(payload);
    out
}

fn served(id: [u8; 32]) -> Served {
    Served {
        id: id.into(),
        name: "model".into(),
    }
}

pub fn welcome(id: [u8; 32], head: Option<&str>) -> Reply {
    Reply::Welcome {
        version: VERSION,
        repository: served(id),
        head: head.map(str::to_owned),
        may_write: true,
    }
}

pub fn hello(repository: Selector) -> Request {
    Request::Hello {
        version: VERSION,
        repository,
    }
}

/// By its id.
pub fn selected(id: [u8; 32]) -> Selector {
    Selector::Id(wire(&Hash::from_bytes(id)))
}
