//! Format version 1, pinned: objects, packs and chunk plans as files that must never change.
//!
//! A failure here means that repositories in the field are read or written differently. Run with `FAI_BLESS=1` to
//! write the files anew, which is right only together with a new format version or a new kind of record.
//! zstd frames are read back, not reproduced: another zstd may write other ones.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::LazyLock;

use fai_core::chunking::{Chunker, plan};
use fai_core::codec::{Codec, Encoder};
use fai_core::object::{
    Author, ChunkId, Commit, CommitId, ContentHash, Extent, FileId, Hash, Id, Kind, Manifest, ManifestBuilder,
    NODE_ENTRIES, Object, Page, Time, Tree, TreeEntry, TreeId, Value,
};
use fai_core::storage::{Location, PackIndex, PackSet, PackWriter, Reading, RecordHeader, StorageError, pack_path};
use fai_core::tensor::{Element, detect};

const PACK: &str = "records.pack";

fn golden(name: &str) -> PathBuf {
    // Asked at run time first: worktrees that share a target folder also share this binary.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    PathBuf::from(root).join("tests/golden").join(name)
}

fn blessing() -> bool {
    std::env::var_os("FAI_BLESS").is_some_and(|value| value == "1")
}

/// The golden file of that name, written first when blessing.
fn stored(name: &str, today: &[u8]) -> Vec<u8> {
    if blessing() {
        fs::write(golden(name), today).unwrap();
    }
    fs::read(golden(name)).unwrap_or_else(|error| panic!("golden file {name}: {error}"))
}

/// Numbers that are the same everywhere (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// Elements that look like weights: few exponents and any mantissa, or small integers.
    fn elements(&mut self, element: Element, count: usize) -> Vec<u8> {
        let (exponent_bits, mantissa_bits) = match element {
            Element::F16 => (5, 10),
            Element::Bf16 => (8, 7),
            Element::F32 => (8, 23),
            Element::F64 => (11, 52),
            _ => (0, 0),
        };
        let mut bytes = Vec::new();
        for _ in 0..count {
            let random = self.next();
            let bits = if exponent_bits == 0 {
                (random % 40).wrapping_sub(20)
            } else {
                let exponent = (1u64 << (exponent_bits - 1)) - 4 - u64::from((random >> 53).trailing_zeros().min(8));
                let sign = random & 1;
                let mantissa = self.next() >> 3 & ((1 << mantissa_bits) - 1);
                sign << (exponent_bits + mantissa_bits) | exponent << mantissa_bits | mantissa
            };
            bytes.extend_from_slice(&bits.to_le_bytes()[..element.width()]);
        }
        bytes
    }
}

fn file_id(text: &str) -> FileId {
    FileId::of(text.as_bytes())
}

fn inline_manifest() -> Manifest {
    let lengths = [1, 65_536, 1 << 20];
    let entries: Vec<Extent> = lengths
        .iter()
        .map(|&len| Extent {
            hash: *ChunkId::of(&u64::to_le_bytes(len)).hash(),
            len,
        })
        .collect();
    Manifest {
        size: lengths.iter().sum(),
        content: ContentHash::from_hash(*ChunkId::of(b"content").hash()),
        level: 0,
        entries,
    }
}

/// A manifest of one chunk more than fits inline, and its pages.
fn paged_manifest() -> (Manifest, Vec<Page>) {
    let mut pages = Vec::new();
    let mut emit = |page: Page| -> Result<(), Infallible> {
        pages.push(page);
        Ok(())
    };
    let mut builder = ManifestBuilder::new();
    for index in 0..=NODE_ENTRIES as u64 {
        let chunk = ChunkId::of(&index.to_le_bytes());
        builder.push(chunk, 1 + index % 4096, &mut emit).unwrap();
    }
    let content = ContentHash::from_hash(*ChunkId::of(b"long content").hash());
    let manifest = builder.finish(content, &mut emit).unwrap();
    (manifest, pages)
}

fn tree() -> Tree {
    let size = 1 << 33;
    Tree::new(vec![
        TreeEntry::file("model.safetensors", file_id("model"), size, false),
        TreeEntry::file("train.sh", file_id("script"), 300, true),
        TreeEntry::file(".faiignore", file_id("ignore"), 0, false),
        TreeEntry::file("Größe", file_id("unicode"), 23, false),
        TreeEntry::folder("data", TreeId::of(b"folder"), 70_000),
    ])
    .unwrap()
}

fn commit() -> Commit {
    let floats = [
        0.0,
        -0.0,
        1.5,
        65_504.0,
        100_000.0,
        1.1,
        5e-324,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let integers = [0, 23, 24, 255, 256, 65_536, i64::MAX, -1, -25, i64::MIN];
    let metrics = BTreeMap::from([
        ("loss".to_owned(), Value::Float(0.25)),
        ("all".to_owned(), Value::List(floats.map(Value::Float).to_vec())),
    ]);
    let params = BTreeMap::from([
        ("amp".to_owned(), Value::Bool(true)),
        ("frozen".to_owned(), Value::Bool(false)),
        ("optimizer.name".to_owned(), Value::Text("adamw ✓".to_owned())),
        ("counts".to_owned(), Value::List(integers.map(Value::Int).to_vec())),
        ("empty".to_owned(), Value::Map(BTreeMap::new())),
    ]);
    Commit {
        tree: TreeId::of(b"tree"),
        parents: vec![CommitId::of(b"first parent"), CommitId::of(b"second parent")],
        author: Author {
            name: "Ada Lovelace".into(),
            email: "ada@example.org".into(),
        },
        time: Time {
            seconds: 1_705_329_022,
            offset_minutes: -330,
        },
        message: "Merge the notes\n\nAll of them.\n".into(),
        metadata: BTreeMap::from([
            ("metrics".to_owned(), Value::Map(metrics)),
            ("params".to_owned(), Value::Map(params)),
            ("tags".to_owned(), Value::List(vec![Value::Text("best".into())])),
            ("base_model".to_owned(), Value::Text("example/base".into())),
        ]),
        signature: Some(vec![0xa5; 64]),
    }
}

fn first_commit() -> Commit {
    Commit {
        parents: Vec::new(),
        author: Author {
            name: "A".into(),
            email: String::new(),
        },
        time: Time {
            seconds: 0,
            offset_minutes: 0,
        },
        message: String::new(),
        metadata: BTreeMap::new(),
        signature: None,
        ..commit()
    }
}

/// The value's encoding is the golden file, and the golden file decodes to the value.
fn pinned<T: Object + PartialEq + std::fmt::Debug>(name: &str, value: &T) -> String {
    let bytes = stored(&format!("{name}.cbor"), &value.encode());
    assert_eq!(value.encode(), bytes, "{name} is written differently");
    assert_eq!(T::decode(&bytes).as_ref(), Ok(value), "{name} is read differently");
    format!("{name} {}\n", value.id())
}

#[test]
fn objects_are_written_and_read_as_ever() {
    let empty = Manifest {
        size: 0,
        content: ContentHash::from_hash(*ChunkId::of(b"").hash()),
        level: 0,
        entries: Vec::new(),
    };
    let (paged, pages) = paged_manifest();
    let [full, last] = pages.as_slice() else {
        panic!("one entry too many makes two pages");
    };
    let mut ids = pinned("manifest-empty", &empty);
    ids += &pinned("manifest-inline", &inline_manifest());
    ids += &pinned("manifest-paged", &paged);
    ids += &pinned("page-last", last);
    ids += &format!("page-full {}\n", full.id());
    ids += &pinned("tree-empty", &Tree::default());
    ids += &pinned("tree", &tree());
    ids += &pinned("commit-first", &first_commit());
    ids += &pinned("commit", &commit());
    ids += &format!("chunk {}\n", ChunkId::of(b"any bytes"));
    let expected = stored("ids.txt", ids.as_bytes());
    assert_eq!(ids, String::from_utf8(expected).unwrap());
}

#[test]
fn not_a_number_has_one_encoding() {
    let mut commit = first_commit();
    commit.metadata.insert("nan".into(), Value::Float(f64::NAN));
    let bytes = stored("commit-nan.cbor", &commit.encode());
    for nan in [f64::NAN, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001)] {
        commit.metadata.insert("nan".into(), Value::Float(nan));
        assert_eq!(commit.encode(), bytes);
    }
    assert_eq!(Commit::decode(&bytes).unwrap().encode(), bytes);
}

/// What the golden pack holds: kind, element and raw bytes, in order.
fn records() -> Vec<(Kind, Element, Vec<u8>)> {
    let mut numbers = Numbers(0x0123_4567_89ab_cdef);
    let mut records = vec![
        (Kind::Chunk, Element::Opaque, numbers.bytes(700)),
        (Kind::Chunk, Element::Opaque, vec![0; 5000]),
        // Half an element at the end.
        (Kind::Chunk, Element::Bf16, [0x80, 0x3f].repeat(1001)[..2001].to_vec()),
        (Kind::Chunk, Element::F32, 1f32.to_le_bytes().repeat(300)),
        (Kind::Chunk, Element::Int64, (-7i64).to_le_bytes().repeat(100)),
        (Kind::Chunk, Element::Opaque, b"all work and no play ".repeat(100)),
    ];
    // No matches, but bytes that are not equally likely: zstd's Huffman coder alone.
    let skewed = numbers
        .bytes(6000)
        .iter()
        .map(|byte| byte & byte.rotate_left(3))
        .collect();
    records.push((Kind::Chunk, Element::Opaque, skewed));
    for element in [
        Element::Byte,
        Element::Int16,
        Element::Int32,
        Element::Int64,
        Element::F16,
        Element::Bf16,
        Element::F32,
        Element::F64,
    ] {
        let mut raw = numbers.elements(element, 1500);
        raw.extend(numbers.bytes(element.width() - 1));
        records.push((Kind::Chunk, element, raw));
    }
    let (paged, pages) = paged_manifest();
    let object = |kind, bytes| (kind, Element::Opaque, bytes);
    records.push(object(Kind::Page, pages[1].encode()));
    records.push(object(Kind::Manifest, paged.encode()));
    records.push(object(Kind::Manifest, inline_manifest().encode()));
    records.push(object(Kind::Tree, tree().encode()));
    records.push(object(Kind::Commit, first_commit().encode()));
    let mut wordy = commit();
    wordy.message = "The same words again and again.\n".repeat(20);
    records.push(object(Kind::Commit, wordy.encode()));
    records
}

/// A pack with all records, as it is written today.
fn write_pack() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = Encoder::new().unwrap();
    let mut payload = Vec::new();
    let mut pack = PackWriter::create(folder.path()).unwrap();
    for (kind, element, raw) in records() {
        let codec = match kind {
            Kind::Chunk => encoder.encode(&raw, element, &mut payload),
            _ => encoder.encode_object(&raw, &mut payload),
        };
        let header = RecordHeader {
            kind,
            codec,
            raw_len: raw.len() as u32,
            encoded_len: payload.len() as u32,
            hash: kind.hash(&raw),
            base: None,
        };
        pack.append(header, &payload).unwrap();
    }
    let sealed = pack.finish().unwrap().seal(folder.path()).unwrap();
    fs::read(sealed.path(folder.path())).unwrap()
}

/// The golden pack under its proper name in a folder of its own.
fn golden_pack() -> (tempfile::TempDir, PackIndex, Vec<u8>) {
    // Once: two tests ask for it at the same time.
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let today = if blessing() { write_pack() } else { Vec::new() };
        stored(PACK, &today)
    });
    let bytes = BYTES.clone();
    let folder = tempfile::tempdir().unwrap();
    let path = golden(PACK);
    let index = PackIndex::read(&File::open(&path).unwrap(), &path).unwrap();
    fs::write(pack_path(folder.path(), &index.name), &bytes).unwrap();
    (folder, index, bytes)
}

#[test]
fn a_stored_pack_reads_as_ever() {
    let (folder, index, _) = golden_pack();
    let packs = PackSet::new(folder.path().to_owned());
    assert_eq!(packs.index(&index.name).unwrap(), index);
    let expected = records();
    assert_eq!(index.entries.len(), expected.len());
    let mut reading = Reading::new().unwrap();
    let mut seen = BTreeSet::new();
    for (entry, (kind, element, bytes)) in index.entries.iter().zip(expected) {
        let location = Location {
            pack: index.name,
            offset: entry.offset,
            header: entry.header,
        };
        let alone = |_: &_| Ok::<_, StorageError>(None);
        assert_eq!(reading.read(&packs, location, alone).unwrap(), 0);
        assert_eq!(entry.header.kind, kind);
        assert!(reading.raw() == bytes, "{kind:?} {element:?} {:?}", entry.header.codec);
        seen.insert((kind, entry.header.codec.name(), element));
    }
    // The file is of use only as long as everything is in it.
    for needed in [
        (Kind::Chunk, "raw", Element::Opaque),
        (Kind::Chunk, "constant", Element::Opaque),
        (Kind::Chunk, "constant", Element::Bf16),
        (Kind::Chunk, "constant", Element::F32),
        (Kind::Chunk, "constant", Element::Int64),
        (Kind::Chunk, "zstd", Element::Opaque),
        (Kind::Chunk, "planes", Element::Byte),
        (Kind::Chunk, "planes", Element::Int16),
        (Kind::Chunk, "planes", Element::Int32),
        (Kind::Chunk, "planes", Element::Int64),
        (Kind::Chunk, "planes", Element::F16),
        (Kind::Chunk, "planes", Element::Bf16),
        (Kind::Chunk, "planes", Element::F32),
        (Kind::Chunk, "planes", Element::F64),
        (Kind::Page, "raw", Element::Opaque),
        (Kind::Manifest, "raw", Element::Opaque),
        (Kind::Tree, "raw", Element::Opaque),
        (Kind::Commit, "zstd", Element::Opaque),
    ] {
        assert!(seen.contains(&needed), "the golden pack has no {needed:?}");
    }
}

#[test]
fn everything_but_zstd_frames_is_written_as_ever() {
    let (folder, index, bytes) = golden_pack();
    let packs = PackSet::new(folder.path().to_owned());
    let mut encoder = Encoder::new().unwrap();
    let mut pack = PackWriter::create(folder.path()).unwrap();
    let (mut stored, mut today) = (Vec::new(), Vec::new());
    for (entry, (kind, element, raw)) in index.entries.iter().zip(records()) {
        let location = Location {
            pack: index.name,
            offset: entry.offset,
            header: entry.header,
        };
        let payload = packs.payload(&location, &mut stored).unwrap();
        if kind == Kind::Chunk && matches!(entry.header.codec, Codec::Raw | Codec::Constant) {
            assert_eq!(encoder.encode(&raw, element, &mut today), entry.header.codec);
            assert_eq!(today, payload);
        }
        let header = RecordHeader {
            kind,
            hash: kind.hash(&raw),
            raw_len: raw.len() as u32,
            ..entry.header
        };
        pack.append(header, payload).unwrap();
    }
    let sealed = pack.finish().unwrap().seal(folder.path()).unwrap();
    assert_eq!(sealed.name, index.name);
    assert!(fs::read(sealed.path(folder.path())).unwrap() == bytes);
}

#[test]
fn the_reserved_delta_header_stays() {
    let header = RecordHeader {
        kind: Kind::Chunk,
        codec: Codec::Delta,
        raw_len: 1 << 20,
        encoded_len: 1000,
        hash: Kind::Chunk.hash(b"fine-tune"),
        base: Some(Kind::Chunk.hash(b"base")),
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    assert_eq!(stored("record-header-delta.bin", &bytes), bytes);
    assert_eq!(RecordHeader::read(&bytes), Ok(header));
}

/// A safetensors file with a large tensor of each kind of length, small ones, and bytes after the last.
fn safetensors(numbers: &mut Numbers) -> Vec<u8> {
    let tensors: [(&str, &str, usize, Element); 6] = [
        ("norm.a", "F32", 1000, Element::F32),
        ("norm.b", "F32", 1000, Element::F32),
        ("embedding", "BF16", 1_200_000, Element::Bf16),
        ("scale", "F64", 9, Element::F64),
        ("bias", "BF16", 5000, Element::Bf16),
        ("head", "F32", 280_000, Element::F32),
    ];
    let (mut fields, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, count, element) in tensors {
        let start = data.len();
        data.extend(numbers.elements(element, count));
        let end = data.len();
        fields.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[{start},{end}]}}"#
        ));
    }
    let mut header = format!("{{{}}}", fields.join(","));
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(data);
    file.extend(numbers.bytes(100_000));
    file
}

/// A NumPy array.
fn npy(numbers: &mut Numbers) -> Vec<u8> {
    let mut dict = "{'descr': '<f8', 'fortran_order': False, 'shape': (20000,), }".to_owned();
    dict += &" ".repeat(127 - 10 - dict.len());
    dict.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    file.extend_from_slice(dict.as_bytes());
    file.extend(numbers.elements(Element::F64, 20_000));
    file
}

#[test]
fn files_are_cut_as_ever() {
    let mut numbers = Numbers(0xfedc_ba98_7654_3210);
    let mut mixed = b"{\"loss\": 0.25}\n".repeat(40_000);
    mixed.extend(vec![0; 700_000]);
    mixed.extend(numbers.bytes(300_001));
    let files = [
        ("empty", Vec::new()),
        ("one-byte", vec![7]),
        ("shared-limit", numbers.bytes((64 << 10) - 1)),
        ("random", numbers.bytes(2 << 20)),
        ("mixed", mixed),
        ("safetensors", safetensors(&mut numbers)),
        ("npy", npy(&mut numbers)),
    ];
    let mut today = String::from("# file, offset, length, element, chunk id\n");
    for (name, bytes) in files {
        let layout = detect(&bytes).unwrap();
        assert_eq!(layout.is_some(), matches!(name, "safetensors" | "npy"), "{name}");
        let regions = layout.map(|layout| layout.regions()).unwrap_or_default();
        let mut chunker = Chunker::new(&bytes, plan(bytes.len() as u64, &regions));
        while let Some(chunk) = chunker.next(Vec::new()).unwrap() {
            let id: Hash = *ChunkId::of(&chunk.bytes).hash();
            today += &format!(
                "{name} {} {} {:?} {id}\n",
                chunk.offset,
                chunk.bytes.len(),
                chunk.element
            );
        }
    }
    let expected = String::from_utf8(stored("chunks.txt", today.as_bytes())).unwrap();
    for (line, (found, expected)) in today.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of chunks.txt", line + 1);
    }
    assert_eq!(today.len(), expected.len());
}
