//! Payloads of every encoding, alone and against a base; and the way there and back for any bytes.

use fai_core::codec::{Base, Codec, CodecError, Decoder, Encoder};
use fai_core::tensor::Element;
use fai_testkit::{DType, Tensor, noise};

use super::input::Input;
use super::{Target, target};

pub const TARGETS: &[Target] = &[
    target("payload", payload, payload_seeds),
    target("payload_delta", payload_delta, delta_seeds),
    target("roundtrip_alone", roundtrip_alone, alone_seeds),
    target("roundtrip_delta", roundtrip_delta, pair_seeds),
];

/// Longest chunk that is decoded to: long enough for every form of payload.
const LONGEST: usize = u16::MAX as usize;

/// Decodes twice, over other bytes and with a decoder that did other things before: both must say the same, and fill
/// the whole chunk when they accept the payload.
fn decode_twice(len: usize, decode: impl Fn(&mut Decoder, &mut [u8]) -> Result<(), CodecError>) -> Option<Vec<u8>> {
    thread_local!(static USED: std::cell::RefCell<Decoder> = Decoder::new().expect("a decoder").into());
    let (mut one, mut other) = (vec![0xaa; len], vec![0x55; len]);
    let first = USED.with_borrow_mut(|decoder| decode(decoder, &mut one));
    let second = decode(&mut Decoder::new().expect("a decoder"), &mut other);
    assert_eq!(first, second, "what came before shows");
    first.ok()?;
    assert!(one == other, "bytes that the payload does not decide");
    Some(one)
}

fn payload(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let codec = Codec::from_code(input.byte() % 5).expect("a code below 5 is a codec");
    let len = usize::from(input.u16());
    let payload = input.rest();
    decode_twice(len, |decoder, out| decoder.decode(codec, payload, out)).is_some()
}

fn payload_delta(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let len = usize::from(input.u16());
    let base_len = usize::from(input.u16());
    let base = input.bytes(base_len);
    let payload = input.rest();
    decode_twice(len, |decoder, out| decoder.decode_against(payload, base, out)).is_some()
}

fn roundtrip_alone(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let element = input.element();
    let raw = input.rest();
    let mut encoder = Encoder::new().expect("an encoder");
    let mut payload = vec![0xee; 3];
    for object in [false, true] {
        let codec = match object {
            true => encoder.encode_object(raw, &mut payload),
            false => encoder.encode(raw, element, &mut payload),
        };
        assert!(payload.len() <= raw.len(), "{codec:?} made it longer");
        let back = decode_twice(raw.len(), |decoder, out| decoder.decode(codec, &payload, out));
        assert!(back.as_deref() == Some(raw), "{codec:?} of {element:?} lost something");
    }
    true
}

fn roundtrip_delta(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let (element, other) = (input.element(), input.element());
    let first = u32::from(input.byte());
    let len = usize::from(input.u16());
    let raw = input.bytes(len);
    let base = input.rest();
    let mut payload = vec![0xee; 3];
    let against = Base {
        bytes: base,
        element: other,
        first,
    };
    let codec = Encoder::new()
        .expect("an encoder")
        .encode_against(raw, element, against, &mut payload);
    assert!(payload.len() <= raw.len(), "{codec:?} made it longer");
    let back = decode_twice(raw.len(), |decoder, out| match codec {
        Codec::Delta => decoder.decode_against(&payload, base, out),
        _ => decoder.decode(codec, &payload, out),
    });
    assert!(
        back.as_deref() == Some(raw),
        "{codec:?} of {element:?} against {other:?} lost something"
    );
    codec == Codec::Delta
}

const ELEMENTS: [Element; 9] = [
    Element::Opaque,
    Element::Byte,
    Element::Int16,
    Element::Int32,
    Element::Int64,
    Element::F16,
    Element::Bf16,
    Element::F32,
    Element::F64,
];

/// Chunks of weights, text, counters, zeros and noise.
fn chunks() -> Vec<(Element, Vec<u8>)> {
    let weights = |dtype, count| Tensor::new("w", dtype, &[count], 7).data;
    let counters = (0..700u32).flat_map(|n| (n / 3).to_le_bytes()).collect::<Vec<u8>>();
    let mut all = vec![
        (Element::F32, weights(DType::F32, 600)),
        (Element::Bf16, weights(DType::Bf16, 1200)),
        (Element::Opaque, b"all work and no play ".repeat(60)),
        (Element::Opaque, noise(3, 500)),
        (Element::Bf16, Vec::new()),
    ];
    for element in ELEMENTS {
        all.push((element, counters.clone()));
        all.push((element, vec![7; 8 * element.width()]));
        all.push((element, weights(DType::Bf16, 301)[1..].to_vec()));
    }
    all
}

/// Each chunk, and what is close to it.
fn pairs() -> Vec<(Element, Vec<u8>, Element, Vec<u8>)> {
    let mut all = Vec::new();
    for (element, raw) in chunks() {
        let mut near = raw.clone();
        near.iter_mut().step_by(8).for_each(|byte| *byte = byte.wrapping_add(1));
        all.push((element, raw.clone(), element, near[..near.len() / 2].to_vec()));
        all.push((element, raw, element, near));
    }
    let (wide, narrow) = (
        Tensor::new("w", DType::F32, &[4000], 7),
        Tensor::new("w", DType::Bf16, &[4000], 7),
    );
    all.push((Element::F32, wide.data.clone(), Element::Bf16, narrow.data.clone()));
    all.push((Element::Bf16, narrow.data.clone(), Element::F32, wide.data));
    // Blocks that have little in common with each other.
    let mixed: Vec<u8> = narrow
        .data
        .chunks(512)
        .enumerate()
        .flat_map(|(index, block)| {
            let step = if index % 2 == 0 { 0 } else { 3 };
            block.iter().map(move |byte| byte.wrapping_add(step))
        })
        .collect();
    all.push((Element::Bf16, mixed, Element::Bf16, narrow.data));
    all
}

fn payload_seeds() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new().expect("an encoder");
    let mut seeds = Vec::new();
    for (element, raw) in chunks() {
        let mut payload = Vec::new();
        let codec = encoder.encode(&raw, element, &mut payload);
        let head = [&[codec as u8][..], &(raw.len() as u16).to_le_bytes()].concat();
        seeds.push([head, payload].concat());
    }
    seeds
}

fn delta_seeds() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new().expect("an encoder");
    let mut seeds = Vec::new();
    for (element, raw, other, base) in pairs() {
        let (mut payload, against) = (
            Vec::new(),
            Base {
                bytes: &base,
                element: other,
                first: 0,
            },
        );
        if encoder.encode_against(&raw, element, against, &mut payload) == Codec::Delta {
            let lens = [raw.len().min(LONGEST), base.len().min(LONGEST)].map(|len| (len as u16).to_le_bytes());
            seeds.push([&lens.concat(), &base[..], &payload].concat());
        }
    }
    seeds
}

fn alone_seeds() -> Vec<Vec<u8>> {
    chunks()
        .into_iter()
        .map(|(element, raw)| [&[element as u8][..], &raw].concat())
        .collect()
}

fn pair_seeds() -> Vec<Vec<u8>> {
    let seed = |(element, raw, other, base): (Element, Vec<u8>, Element, Vec<u8>)| {
        let head = [element as u8, other as u8, 0];
        [&head[..], &(raw.len() as u16).to_le_bytes(), &raw, &base].concat()
    };
    pairs().into_iter().map(seed).collect()
}
