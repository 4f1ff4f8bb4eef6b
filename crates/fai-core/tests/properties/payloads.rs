//! Encodings and record headers: everything round-trips, nothing grows, and damage is an error, never a panic.

use fai_core::codec::{Base, Codec, CodecError, Decoder, Encoder};
use fai_core::object::{Hash, Kind};
use fai_core::storage::{RecordHeader, max_raw_len};
use fai_core::tensor::Element;
use proptest::prelude::*;

use crate::{any_element, cases, content};

fn any_codec() -> impl Strategy<Value = Codec> {
    (0..5u8).prop_map(|code| Codec::from_code(code).expect("a code below 5 is a codec"))
}

fn any_kind() -> impl Strategy<Value = Kind> {
    (1..6u8).prop_map(|code| Kind::from_code(code).expect("a code from 1 to 5 is a kind"))
}

fn any_header() -> impl Strategy<Value = RecordHeader> {
    let lengths = (any::<u32>(), any::<u32>());
    (any_kind(), any_codec(), lengths, any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |(kind, codec, (raw, encoded), hash, base)| {
            let raw_len = (u64::from(raw) % (max_raw_len(kind) + 1)) as u32;
            RecordHeader {
                kind,
                codec,
                raw_len,
                encoded_len: if raw_len == 0 { 0 } else { encoded % raw_len },
                hash: Hash::from_bytes(hash),
                base: (codec == Codec::Delta).then(|| Hash::from_bytes(base)),
            }
        },
    )
}

/// A chunk and what it may be encoded against: the chunk changed a little, in its own or another type, shorter or
/// longer, or something else altogether.
fn any_pair() -> impl Strategy<Value = (Vec<u8>, Element, Vec<u8>, Element, u32)> {
    let chunk = (content(20_000), any_element());
    let change = (
        any::<[u8; 4]>(),
        1..50usize,
        any::<prop::sample::Index>(),
        0..4u8,
        any_element(),
        0..3u32,
    );
    (chunk, change, content(5000)).prop_map(|((raw, element), (bytes, step, cut, how, other, first), foreign)| {
        let mut base = raw.clone();
        for (target, byte) in base.iter_mut().step_by(step).zip(bytes.iter().cycle()) {
            *target = target.wrapping_add(byte >> 5);
        }
        match how {
            0 => base = foreign,
            1 => base.truncate(cut.index(base.len() + 1)),
            2 => base.extend(foreign),
            _ => {}
        }
        let (element, other) = match how {
            3 if raw.len() % 2 == 0 => (Element::F32, Element::Bf16),
            3 => (Element::Bf16, Element::F32),
            _ if step % 5 == 0 => (element, other),
            _ => (element, element),
        };
        (raw, element, base, other, if step % 3 == 0 { first } else { 0 })
    })
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn deltas_round_trip_and_never_grow((raw, element, base, other, first) in any_pair()) {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let mut payload = vec![0xee; 10];
        let against = Base { bytes: &base, element: other, first };
        let codec = encoder.encode_against(&raw, element, against, &mut payload);
        prop_assert!(payload.len() <= raw.len());
        let mut back = vec![0xaa; raw.len()];
        if codec == Codec::Delta {
            prop_assert_eq!(payload.first(), Some(&(element as u8)), "a delta says first what it holds");
            decoder.decode_against(&payload, &base, &mut back).unwrap();
            prop_assert_eq!(decoder.decode(codec, &payload, &mut back.clone()), Err(CodecError::BaseNeeded));
        } else {
            decoder.decode(codec, &payload, &mut back).unwrap();
        }
        prop_assert!(back == raw, "{:?} {:?} {:?}", element, other, codec);
        let mut again = Vec::new();
        let mut fresh = Encoder::new().unwrap();
        prop_assert_eq!(fresh.encode_against(&raw, element, against, &mut again), codec);
        prop_assert!(payload == again, "an earlier chunk shows in a later payload");
    }

    #[test]
    fn damaged_deltas_never_panic(
        (raw, element, base, other, first) in any_pair(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        early: bool,
        len in 0..6000usize,
    ) {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let mut payload = Vec::new();
        let against = Base { bytes: &base, element: other, first };
        let codec = encoder.encode_against(&raw, element, against, &mut payload);
        let mut out = vec![0; raw.len()];
        // Neither the length that a record claims nor its base need be true.
        let _ = decoder.decode_against(&payload, &base, &mut vec![0; len]);
        let _ = decoder.decode_against(&payload, &base[..base.len().min(len)], &mut out);
        let _ = decoder.decode_against(&payload, &raw, &mut out);
        if codec == Codec::Delta {
            let whole = payload.clone();
            for (at, byte) in &damage {
                // Most of what a reader must not trust stands at the start.
                let at = at.index(if early { payload.len().min(60) } else { payload.len() });
                payload[at] = *byte;
                let _ = decoder.decode_against(&payload, &base, &mut out);
                prop_assert!(decoder.decode_against(&whole[..at], &base, &mut out).is_err(), "cut at {}", at);
            }
            decoder.decode_against(&whole, &base, &mut out).unwrap();
            prop_assert!(out == raw, "damage leaves something behind");
        }
    }

    #[test]
    fn chunks_round_trip_and_never_grow(raw in content(40_000), element in any_element()) {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let mut payload = vec![0xee; 10];
        let codec = encoder.encode(&raw, element, &mut payload);
        prop_assert!(payload.len() <= raw.len());
        let mut back = vec![0xaa; raw.len()];
        decoder.decode(codec, &payload, &mut back).unwrap();
        prop_assert!(back == raw, "{:?} {:?}", element, codec);

        let codec = encoder.encode_object(&raw, &mut payload);
        prop_assert!(payload.len() <= raw.len());
        decoder.decode(codec, &payload, &mut back).unwrap();
        prop_assert!(back == raw);
    }

    #[test]
    fn contexts_remember_nothing(first in content(9000), second in content(9000), element in any_element()) {
        let (mut used, mut fresh) = (Encoder::new().unwrap(), Encoder::new().unwrap());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        used.encode(&first, element, &mut one);
        prop_assert_eq!(used.encode(&second, element, &mut one), fresh.encode(&second, element, &mut other));
        prop_assert!(one == other, "an earlier chunk shows in a later payload");
    }

    #[test]
    fn damaged_payloads_never_panic(
        raw in content(5000),
        element in any_element(),
        other in any_codec(),
        at: prop::sample::Index,
        byte: u8,
        len in 0..6000usize,
    ) {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let mut payload = Vec::new();
        let codec = encoder.encode(&raw, element, &mut payload);
        let mut out = vec![0; raw.len()];
        let _ = decoder.decode(other, &payload, &mut out);
        // What a record claims of its length need not be true either.
        let _ = decoder.decode(codec, &payload, &mut vec![0; len]);
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = decoder.decode(codec, &payload, &mut out);
            let _ = decoder.decode(codec, &payload[..at], &mut out);
        }
        // Damage leaves nothing behind: the same decoder still reads what is whole.
        let codec = encoder.encode(&raw, element, &mut payload);
        decoder.decode(codec, &payload, &mut out).unwrap();
        prop_assert!(out == raw);
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn arbitrary_payloads_never_panic(
        codec in any_codec(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        len in 0..2000usize,
    ) {
        let mut decoder = Decoder::new().unwrap();
        let _ = decoder.decode(codec, &payload, &mut vec![0; len]);
        let _ = decoder.decode_against(&payload, &payload, &mut vec![0; len]);
    }

    #[test]
    fn arbitrary_planes_never_panic(
        element in 0..12u8,
        planes in prop::collection::vec((0..3u8, prop::collection::vec(any::<u8>(), 0..20)), 0..9),
        tail in prop::collection::vec(any::<u8>(), 0..9),
        len in 0..100usize,
    ) {
        let mut payload = vec![element];
        for (mode, plane) in &planes {
            payload.push(*mode);
            payload.extend_from_slice(&(plane.len() as u32).to_le_bytes());
        }
        payload.extend(planes.iter().flat_map(|(_, plane)| plane));
        payload.extend(tail);
        let _ = Decoder::new().unwrap().decode(Codec::Planes, &payload, &mut vec![0; len]);
    }

    #[test]
    fn record_headers_round_trip(header in any_header(), tail in prop::collection::vec(any::<u8>(), 0..50)) {
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        prop_assert_eq!(bytes.len(), header.header_len());
        prop_assert_eq!(header.record_len(), bytes.len() as u64 + u64::from(header.encoded_len));
        bytes.extend(tail);
        prop_assert_eq!(RecordHeader::read(&bytes), Ok(header));
    }

    #[test]
    fn arbitrary_headers_never_panic(
        header in any_header(),
        at in 0..84usize,
        piece in prop::collection::vec(any::<u8>(), 0..8),
        cut in 0..90usize,
    ) {
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        for (target, byte) in bytes.iter_mut().skip(at).zip(&piece) {
            *target = *byte;
        }
        bytes.truncate(cut);
        if let Ok(read) = RecordHeader::read(&bytes) {
            let mut again = Vec::new();
            read.write(&mut again);
            prop_assert!(bytes.starts_with(&again), "two headers with one meaning");
        }
    }
}
