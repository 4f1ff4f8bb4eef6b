//! `docs/format.md` describes what the code writes: its worked example is rebuilt and read back, byte for byte, and
//! the numbers in it are those of the code.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fai_core::Repository;
use fai_core::chunking::{CONTENT_MAX, Chunker, OWN_CHUNK, STEP, plan};
use fai_core::codec::{Codec, Encoder};
use fai_core::object::{
    Author, ChunkId, Commit, ContentHash, EntryKind, Extent, FileId, Id, Kind, MAX_CHUNK_LEN, MAX_OBJECT_LEN, Manifest,
    NODE_ENTRIES, Object, RepoPath, Time, Tree, TreeEntry, Value,
};
use fai_core::repo::{AddOptions, CommitRequest, InitOptions, Silent};
use fai_core::storage::{
    Location, MAX_RECORDS, PACK_TARGET, PackIndex, PackSet, PackWriter, Reading, RecordHeader, SealedPack,
    StorageError, pack_path,
};
use fai_core::tensor::Element;
use fastcdc::v2020::{Normalization, select_masks};

fn document() -> String {
    // Asked at run time first: worktrees that share a target folder also share this binary.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    fs::read_to_string(PathBuf::from(root).join("../../docs/format.md")).unwrap()
}

/// The bytes of the worked example: lines of an offset, hexadecimal bytes and a comment after `|`.
fn documented_bytes(document: &str) -> Vec<u8> {
    let (_, block) = document.split_once("```hexdump\n").expect("the worked example");
    let (block, _) = block.split_once("```").expect("the end of the worked example");
    let mut bytes = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let (dump, comment) = line.split_once('|').expect("a comment on every line");
        assert!(!comment.trim().is_empty(), "{line}: says nothing");
        let (offset, digits) = dump.split_once("  ").expect("an offset and bytes");
        let offset = usize::from_str_radix(offset, 16).expect("a hexadecimal offset");
        assert_eq!(offset, bytes.len(), "{line}: another offset");
        let parse = |digits: &str| u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
        bytes.extend(digits.split_whitespace().map(parse));
    }
    bytes
}

/// The content of the example's one file.
fn content() -> Vec<u8> {
    let mut content = vec![0; 262_144];
    content.extend_from_slice(b"hello, fai\n");
    content
}

fn author() -> Author {
    Author {
        name: "Ada".into(),
        email: "ada@example.org".into(),
    }
}

const TIME: Time = Time {
    seconds: 1_705_329_022,
    offset_minutes: 60,
};

fn metrics() -> BTreeMap<String, Value> {
    BTreeMap::from([("loss".to_owned(), Value::Float(0.25))])
}

fn objects() -> (Manifest, Tree, Commit) {
    let content = content();
    let (zeros, text) = content.split_at(262_144);
    let extent = |bytes: &[u8]| Extent {
        hash: *ChunkId::of(bytes).hash(),
        len: bytes.len() as u64,
    };
    let manifest = Manifest {
        size: 262_155,
        content: ContentHash::from_hash(*ChunkId::of(&content).hash()),
        level: 0,
        entries: vec![extent(zeros), extent(text)],
    };
    let tree = Tree::new(vec![TreeEntry::file("model.bin", manifest.id(), 262_155, false)]).unwrap();
    let commit = Commit {
        tree: tree.id(),
        parents: Vec::new(),
        author: author(),
        time: TIME,
        message: "First model".into(),
        metadata: BTreeMap::from([("metrics".to_owned(), Value::Map(metrics()))]),
        signature: None,
    };
    (manifest, tree, commit)
}

/// Writes the example's pack into `folder`.
fn write_example(folder: &Path) -> SealedPack {
    let mut pack = PackWriter::create(folder).unwrap();
    let mut append = |kind: Kind, codec, raw: &[u8], payload: &[u8]| {
        let header = RecordHeader {
            kind,
            codec,
            raw_len: raw.len() as u32,
            encoded_len: payload.len() as u32,
            hash: kind.hash(raw),
            base: None,
        };
        pack.append(header, payload).unwrap();
    };
    let (content, mut encoder, mut payload) = (content(), Encoder::new().unwrap(), Vec::new());
    let mut chunker = Chunker::new(&content, plan(content.len() as u64, &[]));
    while let Some(chunk) = chunker.next(Vec::new()).unwrap() {
        let codec = encoder.encode(&chunk.bytes, chunk.element, &mut payload);
        append(Kind::Chunk, codec, &chunk.bytes, &payload);
    }
    // An encoder may choose zstd for objects; the example keeps them readable.
    let (manifest, tree, commit) = objects();
    append(Kind::Manifest, Codec::Raw, &manifest.encode(), &manifest.encode());
    append(Kind::Tree, Codec::Raw, &tree.encode(), &tree.encode());
    append(Kind::Commit, Codec::Raw, &commit.encode(), &commit.encode());
    pack.finish().unwrap().seal(folder).unwrap()
}

/// Bytes as the document prints them, 16 a line.
fn hex_lines(bytes: &[u8]) -> Vec<String> {
    let line = |(index, line): (usize, &[u8])| {
        let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:08x}  {}", 16 * index, digits.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[test]
fn the_example_is_what_the_code_writes() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = write_example(folder.path());
    let written = fs::read(sealed.path(folder.path())).unwrap();
    let documented = documented_bytes(&document());
    assert!(
        documented == written,
        "docs/format.md shows another pack than the code writes, which is:\n{}",
        hex_lines(&written).join("\n")
    );
    assert!(document().contains(&format!("{}.pack", sealed.name)));
}

#[test]
fn the_example_reads_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("example");
    fs::write(&path, documented_bytes(&document())).unwrap();
    let index = PackIndex::read(&fs::File::open(&path).unwrap(), &path).unwrap();
    fs::rename(&path, pack_path(folder.path(), &index.name)).unwrap();

    let packs = PackSet::new(folder.path().to_owned());
    let mut reading = Reading::new().unwrap();
    let mut records = Vec::new();
    for entry in &index.entries {
        let location = Location {
            pack: index.name,
            offset: entry.offset,
            header: entry.header,
        };
        let alone = |_: &_| Ok::<_, StorageError>(None);
        reading.read(&packs, location, alone).unwrap();
        records.push((entry.header.kind, entry.header.codec, reading.raw().to_vec()));
    }
    let kinds: Vec<_> = records.iter().map(|(kind, codec, _)| (*kind, *codec)).collect();
    assert_eq!(
        kinds,
        [
            (Kind::Chunk, Codec::Constant),
            (Kind::Chunk, Codec::Raw),
            (Kind::Manifest, Codec::Raw),
            (Kind::Tree, Codec::Raw),
            (Kind::Commit, Codec::Raw),
        ]
    );
    let (manifest, tree, commit) = objects();
    assert!([&records[0].2[..], &records[1].2[..]].concat() == content());
    assert_eq!(Manifest::decode(&records[2].2), Ok(manifest));
    assert_eq!(Tree::decode(&records[3].2), Ok(tree));
    assert_eq!(Commit::decode(&records[4].2), Ok(commit));
}

#[test]
fn a_repository_gives_the_documented_ids() {
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
    fs::write(folder.path().join("model.bin"), content()).unwrap();
    let paths = [RepoPath::parse("model.bin").unwrap()];
    let added = repository.add(&paths, AddOptions::default(), &Silent).unwrap();
    let request = CommitRequest {
        message: Some("First model".into()),
        author: Some(author()),
        time: TIME,
        metrics: metrics(),
        ..CommitRequest::default()
    };
    let committed = repository.commit(&request).unwrap();
    let (manifest, tree, commit) = objects();
    assert_eq!(added.files[0].file, manifest.id());
    assert_eq!(committed.commit, commit);
    let ids = [
        ("content", manifest.content.to_string()),
        ("chunk 0", manifest.entries[0].chunk().to_string()),
        ("chunk 1", manifest.entries[1].chunk().to_string()),
        ("file", FileId::of(&manifest.encode()).to_string()),
        ("tree", tree.id().to_string()),
        ("commit", committed.id.to_string()),
    ];
    let document = document();
    for (name, id) in ids {
        assert!(document.contains(&format!("| {name} | `{id}` |")), "the {name} is {id}");
    }
    assert_eq!(
        fs::read(folder.path().join(".fai/HEAD")).unwrap(),
        b"ref: refs/heads/main\n"
    );
}

#[test]
fn the_database_has_the_documented_mark() {
    let folder = tempfile::tempdir().unwrap();
    drop(Repository::init(folder.path(), InitOptions { bare: true, id: None }).unwrap());
    let bytes = fs::read(folder.path().join("db.sqlite")).unwrap();
    assert_eq!(bytes[..16], *b"SQLite format 3\0");
    // SQLite keeps its application id here, big-endian.
    let id = u32::from_be_bytes([bytes[68], bytes[69], bytes[70], bytes[71]]);
    assert!(document().contains(&format!("`application_id` {id:#010x},")), "{id:#x}");
}

#[test]
fn documented_numbers_are_those_of_the_code() {
    let (strict, relaxed) = select_masks(64 << 10, Normalization::Level1);
    let mut rows = vec![
        ("strict mask".to_owned(), format!("{strict:#018x}")),
        ("relaxed mask".to_owned(), format!("{relaxed:#018x}")),
        ("STEP".to_owned(), STEP.to_string()),
        ("OWN_CHUNK".to_owned(), OWN_CHUNK.to_string()),
        ("CONTENT_MAX".to_owned(), CONTENT_MAX.to_string()),
        ("chunk".to_owned(), MAX_CHUNK_LEN.to_string()),
        ("object".to_owned(), MAX_OBJECT_LEN.to_string()),
        ("entries of a manifest or page".to_owned(), NODE_ENTRIES.to_string()),
        ("records of a pack".to_owned(), MAX_RECORDS.to_string()),
        ("pack, target".to_owned(), PACK_TARGET.to_string()),
    ];
    for code in 1..=5 {
        let kind = Kind::from_code(code).unwrap();
        rows.push((code.to_string(), kind.name().to_owned()));
    }
    for code in 0..=4 {
        let codec = Codec::from_code(code).unwrap();
        rows.push((code.to_string(), codec.name().to_owned()));
    }
    for code in 0..=8 {
        let element = Element::from_code(code).unwrap();
        let name = format!("{element:?}").to_lowercase();
        rows.push((code.to_string(), format!("{name} | {}", element.width())));
    }
    for kind in [EntryKind::File, EntryKind::Executable, EntryKind::Folder] {
        let name = format!("{kind:?}").to_lowercase();
        rows.push(((kind as u8).to_string(), name));
    }
    let document = document();
    for (name, value) in rows {
        let row = format!("| {name} | {value} |");
        assert!(document.contains(&row), "docs/format.md has no row {row:?}");
    }
    for kind in [Kind::Page, Kind::Manifest, Kind::Tree, Kind::Commit] {
        let contexts = ["fai v1 page", "fai v1 manifest", "fai v1 tree", "fai v1 commit"];
        let used = contexts
            .iter()
            .find(|context| blake3::derive_key(context, b"x") == *kind.hash(b"x").as_bytes());
        let used = used.expect("a context of version 1");
        assert!(document.contains(&format!("`{used}`")), "{used}");
    }
}
