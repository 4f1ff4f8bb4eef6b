//! Records and packs: headers, records as peers send them, and pack files that are opened, saved or repaired.

use std::fs::{self, File};
use std::path::Path;

use fai_core::codec::{Codec, Decoder, Encoder};
use fai_core::object::{Hash, Kind};
use fai_core::storage::{
    Checker, Location, PackIndex, PackSet, PackWriter, Reading, RecordHeader, StorageError, copy_good_records,
    max_raw_len, pack_path, salvage,
};
use fai_core::tensor::Element;
use fai_testkit::{DType, Tensor, noise};

use super::input::Input;
use super::scratch::{with_file, with_folder};
use super::{Target, target};

pub const TARGETS: &[Target] = &[
    target("record_header", record_header, header_seeds),
    target("record", record, record_seeds),
    target("pack_index", pack_index, pack_seeds),
    target("pack_salvage", pack_salvage, pack_seeds),
    target("pack_repair", pack_repair, pack_seeds),
];

const MAGIC: &[u8] = b"FREC";
const PACK_HEAD: usize = 16;
/// Offset of the index, count of records, hash of the index, end mark.
const TRAILER: usize = 8 + 4 + 32 + 8;

/// Length of the header that begins here, as far as its encoding tells.
fn header_len(bytes: &[u8]) -> usize {
    match bytes.get(5) {
        Some(code) if *code == Codec::Delta as u8 => RecordHeader::BASED_LEN,
        _ => RecordHeader::PLAIN_LEN,
    }
}

/// Makes the checksum of the header at the start of `bytes` right, which chance does not.
fn mend_header(bytes: &mut [u8]) {
    let len = header_len(bytes);
    if let Some((body, check)) = bytes.get_mut(..len).and_then(|bytes| bytes.split_last_chunk_mut::<4>()) {
        check.copy_from_slice(&blake3::hash(body).as_bytes()[..4]);
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |bytes| {
        u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize
    })
}

/// Makes checksums right, and the hashes of records that can be decoded alone, from the start of the records on.
fn mend_records(bytes: &mut [u8]) {
    let mut decoder = Decoder::new().expect("a decoder");
    let mut at = PACK_HEAD;
    while bytes.get(at..at + 4) == Some(MAGIC) {
        let (raw_len, len) = (number(bytes, at + 8), number(bytes, at + 12));
        let code = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let codes = (Kind::from_code(code(at + 4)), Codec::from_code(code(at + 5)));
        let start = at + header_len(&bytes[at..]);
        let Some(payload) = bytes.get(start..start.saturating_add(len)) else {
            break;
        };
        if let ((Some(kind), Some(codec)), true) = (codes, raw_len <= 1 << 17) {
            let mut raw = vec![0; raw_len];
            if decoder.decode(codec, payload, &mut raw).is_ok() {
                bytes[at + 16..at + 48].copy_from_slice(kind.hash(&raw).as_bytes());
            }
        }
        mend_header(&mut bytes[at..]);
        at = start + len;
    }
}

/// Makes checksums in the index right, and the hash over it.
fn mend_index(bytes: &mut [u8]) {
    let Some(trailer_at) = bytes.len().checked_sub(TRAILER) else {
        return;
    };
    let (front, trailer) = bytes.split_at_mut(trailer_at);
    let Some(index) = front.get_mut(number(trailer, 0)..) else {
        return;
    };
    let mut at = 8;
    while at < index.len() {
        mend_header(&mut index[at..]);
        at += header_len(&index[at..]) + 8;
    }
    trailer[12..44].copy_from_slice(blake3::hash(index).as_bytes());
}

fn record_header(bytes: &[u8]) -> bool {
    let mut mended = bytes.to_vec();
    mend_header(&mut mended);
    let mut accepted = false;
    for bytes in [bytes, &mended] {
        let Ok(header) = RecordHeader::read(bytes) else {
            continue;
        };
        let mut again = Vec::new();
        header.write(&mut again);
        assert!(bytes.starts_with(&again), "two headers with one meaning");
        assert!(u64::from(header.raw_len) <= max_raw_len(header.kind) && header.encoded_len <= header.raw_len);
        assert_eq!(header.base.is_some(), header.codec == Codec::Delta);
        accepted = true;
    }
    accepted
}

/// A record as it comes from a peer: what its header says of its payload is true as often as not.
fn record(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let kind = Kind::from_code(1 + input.byte() % 5).expect("a code from 1 to 5 is a kind");
    let codec = Codec::from_code(input.byte() % 5).expect("a code below 5 is a codec");
    let (flags, raw_len) = (input.byte(), u32::from(input.u16()));
    let base_len = usize::from(input.byte()) * 4;
    let base = input.bytes(base_len);
    let payload = input.rest().to_vec();
    let mut raw = vec![0; raw_len as usize];
    let mut decoder = Decoder::new().expect("a decoder");
    let decoded = match codec {
        Codec::Delta => decoder.decode_against(&payload, base, &mut raw),
        _ => decoder.decode(codec, &payload, &mut raw),
    };
    let is_true = flags & 1 == 0;
    let hash = match is_true {
        true => kind.hash(&raw),
        false => Kind::Chunk.hash(b"other bytes than these"),
    };
    let header = RecordHeader {
        kind,
        codec,
        raw_len,
        encoded_len: (payload.len() as u32).wrapping_add(u32::from(flags & 2 != 0)),
        hash,
        base: (flags & 4 == 0).then(|| Kind::Chunk.hash(base)),
    };
    let based = codec == Codec::Delta;
    let fits = match based {
        true => header.base.is_some() && kind == Kind::Chunk,
        false => header.base.is_none(),
    };
    let mut checker = Checker::new().expect("a checker");
    let checked = match based {
        true => checker.check_against(&hash, header, payload.clone(), base),
        false => checker.check(&hash, header, payload.clone()),
    };
    let accepted = match &checked {
        Ok((received, content)) => {
            assert!(received.payload() == payload && *content == raw);
            true
        }
        Err(_) => false,
    };
    assert_eq!(
        accepted,
        decoded.is_ok() && is_true && flags & 2 == 0 && fits,
        "{checked:?}"
    );
    accepted
}

/// The file that an input stands for: as it is, or with everything right that hashes would give away.
fn pack_file(bytes: &[u8]) -> Vec<u8> {
    let mut input = Input::new(bytes);
    let mend = input.byte();
    let mut file = input.rest().to_vec();
    if mend & 1 != 0 {
        mend_records(&mut file);
    }
    if mend & 2 != 0 {
        mend_index(&mut file);
    }
    file
}

/// Reads every record of a pack in `folder` whose index was accepted, and says how many are whole.
fn read_all(folder: &Path, index: &PackIndex) -> usize {
    let packs = PackSet::new(folder.to_owned());
    assert_eq!(packs.index(&index.name).expect("an index that was read before"), *index);
    let location = |hash: &Hash| {
        let entry = index.entries.iter().find(|entry| entry.header.hash == *hash)?;
        Some((
            &packs,
            Location {
                pack: index.name,
                offset: entry.offset,
                header: entry.header,
            },
        ))
    };
    let mut reading = Reading::new().expect("a decoder");
    let mut whole = 0;
    for entry in index.entries.iter().take(100) {
        let place = Location {
            pack: index.name,
            offset: entry.offset,
            header: entry.header,
        };
        if reading
            .read::<StorageError>(&packs, place, |hash| Ok(location(hash)))
            .is_ok()
        {
            assert_eq!(entry.header.kind.hash(reading.raw()), entry.header.hash);
            whole += 1;
        }
    }
    whole
}

fn pack_index(bytes: &[u8]) -> bool {
    let file = pack_file(bytes);
    let read = with_file(&file, |path| PackIndex::read(&File::open(path).expect("a file"), path));
    let Ok(index) = read else { return false };
    let mut at = PACK_HEAD as u64;
    for entry in &index.entries {
        assert_eq!(entry.offset, at);
        at += entry.header.record_len();
    }
    assert!(at <= file.len() as u64, "records beyond the end");
    with_folder(|folder| {
        fs::write(pack_path(folder, &index.name), &file).expect("a file");
        read_all(folder, &index)
    });
    true
}

/// A pack that was made of what was found: all of it is readable.
fn assert_whole(folder: &Path, name: &Hash) {
    let path = pack_path(folder, name);
    let index = PackIndex::read(&File::open(&path).expect("a pack"), &path).expect("a whole index");
    assert_eq!(
        read_all(folder, &index),
        index.entries.len().min(100),
        "what was saved is damaged"
    );
}

fn pack_salvage(bytes: &[u8]) -> bool {
    let file = pack_file(bytes);
    with_folder(|folder| {
        let (incoming, packs) = (folder.join("incoming"), folder.join("packs"));
        for folder in [&incoming, &packs] {
            fs::create_dir(folder).expect("a folder");
        }
        fs::write(incoming.join("left.pack"), &file).expect("a file");
        let saved = salvage(&incoming, &packs, &|_| None).expect("a file that can be read");
        saved.packs.iter().for_each(|pack| assert_whole(&packs, &pack.name));
        assert_eq!(
            fs::read_dir(&incoming).expect("a folder").count(),
            0,
            "the file is still there"
        );
        !saved.packs.is_empty()
    })
}

fn pack_repair(bytes: &[u8]) -> bool {
    let file = pack_file(bytes);
    with_folder(|folder| {
        let path = folder.join("damaged");
        fs::write(&path, &file).expect("a file");
        let saved = copy_good_records(&path, folder, &|_| None).expect("a file that can be read");
        let found = !saved.is_empty();
        for pack in saved {
            let name = pack.seal(folder).expect("room in a temporary folder").name;
            assert_whole(folder, &name);
        }
        found
    })
}

/// Chunks, an object, and a chunk against another, with their headers.
fn records() -> Vec<(RecordHeader, Vec<u8>)> {
    let mut encoder = Encoder::new().expect("an encoder");
    let weights = Tensor::new("w", DType::Bf16, &[800], 3).data;
    let mut tuned = weights.clone();
    tuned.iter_mut().step_by(2).for_each(|byte| *byte ^= 1);
    let header = |kind: Kind, codec, raw: &[u8], payload: &[u8], base| RecordHeader {
        kind,
        codec,
        raw_len: raw.len() as u32,
        encoded_len: payload.len() as u32,
        hash: kind.hash(raw),
        base,
    };
    let mut all = Vec::new();
    for (kind, element, raw) in [
        (Kind::Chunk, Element::Bf16, weights.clone()),
        (Kind::Chunk, Element::Opaque, noise(1, 200)),
        (Kind::Tree, Element::Opaque, b"all work and no play ".repeat(9)),
        (Kind::Chunk, Element::F32, vec![0; 400]),
    ] {
        let mut payload = Vec::new();
        let codec = encoder.encode(&raw, element, &mut payload);
        all.push((header(kind, codec, &raw, &payload, None), payload));
    }
    let (mut payload, base) = (
        Vec::new(),
        fai_core::codec::Base {
            bytes: &weights,
            element: Element::Bf16,
            first: 0,
        },
    );
    let codec = encoder.encode_against(&tuned, Element::Bf16, base, &mut payload);
    assert_eq!(codec, Codec::Delta);
    let base = Some(Kind::Chunk.hash(&weights));
    all.push((header(Kind::Chunk, codec, &tuned, &payload, base), payload));
    all
}

fn header_seeds() -> Vec<Vec<u8>> {
    let bytes = |(header, _): (RecordHeader, Vec<u8>)| {
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes
    };
    records().into_iter().map(bytes).collect()
}

fn record_seeds() -> Vec<Vec<u8>> {
    let weights = Tensor::new("w", DType::Bf16, &[500], 3).data;
    let mut tuned = weights.clone();
    tuned.iter_mut().step_by(2).for_each(|byte| *byte ^= 1);
    let mut payload = Vec::new();
    let base = fai_core::codec::Base {
        bytes: &weights,
        element: Element::Bf16,
        first: 0,
    };
    Encoder::new()
        .expect("an encoder")
        .encode_against(&tuned, Element::Bf16, base, &mut payload);
    let len = (tuned.len() as u16).to_le_bytes();
    let delta = [&[0, Codec::Delta as u8, 0, len[0], len[1], 250][..], &weights, &payload].concat();
    let alone = records().into_iter().filter(|(header, _)| header.base.is_none());
    let mut seeds: Vec<Vec<u8>> = alone
        .map(|(header, payload)| {
            let len = (header.raw_len as u16).to_le_bytes();
            [
                &[header.kind as u8 - 1, header.codec as u8, 4, len[0], len[1], 0][..],
                &payload,
            ]
            .concat()
        })
        .collect();
    seeds.push(delta);
    seeds
}

fn pack_seeds() -> Vec<Vec<u8>> {
    with_folder(|folder| {
        let mut writer = PackWriter::create(folder).expect("a pack");
        for (header, payload) in records() {
            writer.append(header, &payload).expect("room in a temporary folder");
        }
        let pack = writer.finish().and_then(|pack| pack.seal(folder)).expect("a pack");
        let file = fs::read(pack.path(folder)).expect("a pack");
        let cut = file[..file.len() - 200].to_vec();
        (0..4u8)
            .flat_map(|mend| [[&[mend][..], &file].concat(), [&[mend][..], &cut].concat()])
            .collect()
    })
}
