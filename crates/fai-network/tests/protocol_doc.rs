//! `docs/protocol.md` is the norm: its worked example is rebuilt here, byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use fai_core::object::{Hash, Kind};
use fai_core::repo::RepositoryId;
use fai_core::storage::RecordHeader;
use fai_network::Source;
use fai_network::session::bases::{Form, Offer};
use fai_network::source::by_id;
use fai_network::wire::message::{Reason, Reply, Request, Selector, Served, VERSION, wire};
use fai_network::wire::records::{MAX_REQUEST, OFFER_LEN, decode_request, encode_request, write_absent, write_offer};
use fai_network::wire::{MAX_BATCH, MAX_MESSAGE, PATIENCE, RECORDS, SILENCE, SYNC};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    std::fs::read_to_string(path).unwrap()
}

/// The bytes of the example's dumps, in their order.
fn dumps() -> Vec<Vec<u8>> {
    let document = document();
    let blocks = document.split("```hexdump\n").skip(1);
    blocks
        .map(|block| {
            let mut bytes = Vec::new();
            for line in block.lines().take_while(|line| !line.starts_with("```")) {
                let (offset, rest) = line.split_once("  ").unwrap();
                assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len(), "{line}");
                let hex = rest.split('|').next().unwrap();
                bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
            }
            bytes
        })
        .collect()
}

fn id() -> RepositoryId {
    RepositoryId::from_bytes(std::array::from_fn(|index| index as u8))
}

fn framed(message: Vec<u8>) -> Vec<u8> {
    let mut frame = u32::try_from(message.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(message);
    frame
}

#[test]
fn tickets_are_what_the_page_says() {
    let peer = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    let source = |repository| Source {
        peer: Some(peer.parse().unwrap()),
        addresses: vec![
            "/ip4/192.168.1.9/tcp/4001".parse().unwrap(),
            "/ip4/192.168.1.9/udp/4001/quic-v1".parse().unwrap(),
        ],
        repository,
    };
    let document = document();
    for repository in [by_id(&id()), Selector::Only] {
        let ticket = source(repository.clone()).to_ticket().unwrap();
        assert!(document.contains(&format!("\n{ticket}\n")), "{ticket}");
        assert_eq!(Source::parse(&ticket).unwrap(), Some(source(repository)));
    }
    let value = dumps().swap_remove(0);
    let ticket = source(by_id(&id())).to_ticket().unwrap();
    let encoded = data_encoding::BASE32_NOPAD.encode(&value).to_ascii_lowercase();
    assert_eq!(ticket, format!("fai1{encoded}"));
}

#[test]
fn a_conversation_is_what_the_page_says() {
    let dumps = dumps();
    let hello = Request::Hello {
        version: VERSION,
        repository: Selector::Name("llama".into()),
    };
    assert_eq!(framed(minicbor::to_vec(&hello).unwrap()), dumps[1]);
    assert_eq!(minicbor::decode::<Request>(&dumps[1][4..]).unwrap(), hello);
    let welcome = Reply::Welcome {
        version: VERSION,
        repository: Served {
            id: wire(&Hash::from_bytes(*id().as_bytes())),
            name: "llama".into(),
        },
        head: Some("refs/heads/main".into()),
        may_write: false,
    };
    assert_eq!(framed(minicbor::to_vec(&welcome).unwrap()), dumps[2]);
    let refused = Reply::Refused {
        reason: Reason::NotFound,
        message: "no repository \"llama\" is served here".into(),
    };
    assert_eq!(framed(minicbor::to_vec(&refused).unwrap()), dumps[3]);
    for (reply, dump) in [(welcome, &dumps[2]), (refused, &dumps[3])] {
        assert_eq!(minicbor::decode::<Reply>(&dump[4..]).unwrap(), reply);
    }
}

#[test]
fn records_are_what_the_page_says() {
    let dumps = dumps();
    let wanted = [Kind::Chunk.hash(b"hello, fai\n"), Hash::from_bytes([0xff; 32])];
    let mut asked = framed(minicbor::to_vec(by_id(&id())).unwrap());
    let asks = wanted.map(|hash| (hash, Form::Any));
    asked.extend(framed(encode_request(asks)));
    assert_eq!(asked, dumps[4]);
    assert_eq!(decode_request(&asked[asked.len() - 66..]), Some(asks.to_vec()));

    let header = RecordHeader::read(&dumps[5]).unwrap();
    assert_eq!((header.kind, header.hash), (Kind::Chunk, wanted[0]));
    let mut answers = Vec::new();
    header.write(&mut answers);
    answers.extend(b"hello, fai\n");
    write_absent(&wanted[1], &mut answers);
    assert_eq!(answers, dumps[5]);
}

#[test]
fn an_offer_and_what_is_asked_then_are_what_the_page_says() {
    let dumps = dumps();
    let chunk = |text: &[u8]| Kind::Chunk.hash(text);
    let [base, first, second] = [b"base", b"one.", b"two."].map(|text| chunk(text));
    let mut answers = Vec::new();
    for (hash, len) in [(first, 700), (second, 800)] {
        write_offer(&hash, &Offer { base, len }, &mut answers);
    }
    assert_eq!(answers, dumps[6]);
    assert_eq!(answers.len() as u64, 2 * OFFER_LEN);
    let asks = [(first, Form::Against(base)), (second, Form::Alone)];
    assert_eq!(framed(encode_request(asks)), dumps[7]);
    assert_eq!(decode_request(&dumps[7][4..]), Some(asks.to_vec()));
}

#[test]
fn limits_are_those_of_the_code() {
    let document = document();
    for (name, value) in [("MAX_MESSAGE", MAX_MESSAGE), ("MAX_BATCH", MAX_BATCH)] {
        assert!(document.contains(&format!("| {name} | {value} |")), "{name} {value}");
    }
    for (name, time) in [("SILENCE", SILENCE), ("PATIENCE", PATIENCE)] {
        assert!(document.contains(&format!("| {name} | {} |", time.as_secs())), "{name}");
    }
    for protocol in [SYNC, RECORDS] {
        assert!(document.contains(&format!("`{protocol}`")), "{protocol}");
    }
}

#[test]
fn requests_of_no_or_too_many_hashes_are_none() {
    for len in [0, 32, 34, 33 * (MAX_BATCH + 1)] {
        assert_eq!(decode_request(&vec![0; len]), None, "{len} bytes");
    }
    for (code, len) in [(1, 33), (1, 64), (1, 66), (2, 32), (2, 65), (3, 33)] {
        assert_eq!(decode_request(&vec![code; len]), None, "{len} bytes of {code}");
    }
    let longest = encode_request(vec![
        (
            Hash::from_bytes([1; 32]),
            Form::Against(Hash::from_bytes([2; 32]))
        );
        MAX_BATCH
    ]);
    assert_eq!(longest.len(), MAX_REQUEST);
    assert!(decode_request(&longest).is_some());
}
