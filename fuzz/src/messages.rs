//! What peers say: messages, frames, requests for records and the answers; tickets and addresses.

use std::cell::RefCell;

use fai_core::codec::Codec;
use fai_core::object::{Hash, Kind};
use fai_core::storage::RecordHeader;
use fai_network::PeerId;
use fai_network::session::bases::{Ask, Form, Offer};
use fai_network::session::plan::{Promise, Want};
use fai_network::source::{Source, bootstrap_address, parse_bootstrap, parse_peer};
use fai_network::wire::message::{Move, Reason, Reply, Request, Selector, Served, WireHash};
use fai_network::wire::records::{Answer, decode_request, encode_request, read_answer, write_absent, write_offer};
use fai_network::wire::{MAX_BATCH, frame};
use minicbor::{Decode, Encode};
use tokio::runtime::{Builder, Runtime};

use super::input::Input;
use super::{Target, target};

pub const TARGETS: &[Target] = &[
    target("request", message::<Request>, request_seeds),
    target("reply", message::<Reply>, reply_seeds),
    target("selector", message::<Selector>, selector_seeds),
    target("frame", framed, frame_seeds),
    target("records_request", records_request, records_request_seeds),
    target("records_answer", records_answer, records_answer_seeds),
    target("ticket", ticket, ticket_seeds),
    target("bootstrap", bootstrap, bootstrap_seeds),
];

/// Runs something asynchronous that waits for nothing but bytes that are there.
fn wait<T>(work: impl Future<Output = T>) -> T {
    thread_local!(static RUNTIME: RefCell<Runtime> = {
        Builder::new_current_thread().enable_time().build().expect("a runtime").into()
    });
    RUNTIME.with_borrow_mut(|runtime| runtime.block_on(work))
}

/// Whatever a message decodes to is encoded so that it decodes to the same.
fn message<T>(bytes: &[u8]) -> bool
where
    T: for<'b> Decode<'b, ()> + Encode<()> + PartialEq + std::fmt::Debug,
{
    let Ok(message) = minicbor::decode::<T>(bytes) else {
        return false;
    };
    let again = minicbor::to_vec(&message).expect("memory takes it");
    assert_eq!(minicbor::decode::<T>(&again).expect("an own message"), message);
    true
}

/// The longest frame that is taken here.
const LONGEST: usize = 1000;

fn framed(bytes: &[u8]) -> bool {
    let mut stream = bytes;
    match wait(frame::read(&mut stream, LONGEST)) {
        Ok(None) => assert!(bytes.is_empty(), "a cut frame reads as an end"),
        Ok(Some(content)) => {
            assert!(content.len() <= LONGEST);
            let mut again = Vec::new();
            wait(frame::write(&mut again, &content)).expect("memory takes it");
            assert!(bytes.starts_with(&again) && stream.len() == bytes.len() - again.len());
            return true;
        }
        Err(_) => {}
    }
    false
}

fn records_request(bytes: &[u8]) -> bool {
    let Some(asks) = decode_request(bytes) else {
        return false;
    };
    assert!((1..=MAX_BATCH).contains(&asks.len()));
    assert_eq!(encode_request(asks), bytes, "two encodings of one request");
    true
}

/// An answer to one of several questions. What a record's checksum is over may be anything: it is made right.
fn records_answer(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let kind = input.byte();
    let want = Want {
        hash: Hash::from_bytes([7; 32]),
        promise: promise(kind),
    };
    let form = match kind >> 4 & 3 {
        0 => Form::Any,
        1 => Form::Against(Hash::from_bytes([8; 32])),
        _ => Form::Alone,
    };
    let ask = Ask { want, form };
    let mut answer = input.rest().to_vec();
    let len = match answer.get(5) {
        Some(code) if *code == Codec::Delta as u8 => RecordHeader::BASED_LEN,
        _ => RecordHeader::PLAIN_LEN,
    };
    let is_record = answer.starts_with(b"FREC") && kind & 128 == 0;
    if let (true, Some((body, check))) = (
        is_record,
        answer.get_mut(..len).and_then(|all| all.split_last_chunk_mut::<4>()),
    ) {
        check.copy_from_slice(&blake3::hash(body).as_bytes()[..4]);
    }
    let mut stream = &answer[..];
    let Ok(read) = wait(read_answer(&mut stream, &ask)) else {
        return false;
    };
    let taken = &answer[..answer.len() - stream.len()];
    let mut again = Vec::new();
    match &read {
        Answer::Absent => write_absent(&want.hash, &mut again),
        Answer::Offer(offer) => {
            assert!(ask.permits(offer));
            write_offer(&want.hash, offer, &mut again);
        }
        Answer::Record(header, payload) => {
            assert!(header.hash == want.hash && header.kind == want.promise.kind());
            assert!(ask.permits_base(header.kind, header.base.as_ref()));
            header.write(&mut again);
            again.extend_from_slice(payload);
        }
    }
    assert!(again == taken, "two forms of one answer");
    true
}

fn promise(kind: u8) -> Promise {
    match kind % 4 {
        0 => Promise::Tree { size: None, depth: 0 },
        1 => Promise::File { size: Some(300) },
        2 => Promise::Page { level: 0, len: 300 },
        _ => Promise::Chunk { len: 300 },
    }
}

fn ticket(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let _ = parse_peer(text);
    let Ok(Some(source)) = Source::parse(text) else {
        return false;
    };
    if let Some(ticket) = source.to_ticket() {
        let again = Source::parse(&ticket).expect("an own ticket").expect("an own ticket");
        assert_eq!(
            (&again.peer, again.addresses.len()),
            (&source.peer, source.addresses.len())
        );
        assert_eq!(again.addresses, source.addresses);
    }
    true
}

fn bootstrap(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let _ = bootstrap_address(text);
    parse_bootstrap(text).is_ok_and(|addresses| !addresses.is_empty())
}

fn hash(number: u8) -> WireHash {
    WireHash::from([number; 32])
}

fn encoded<T: Encode<()>>(messages: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    messages
        .into_iter()
        .map(|message| minicbor::to_vec(message).expect("memory takes it"))
        .collect()
}

fn selectors() -> [Selector; 3] {
    [Selector::Only, Selector::Name("models".into()), Selector::Id(hash(3))]
}

fn selector_seeds() -> Vec<Vec<u8>> {
    encoded(selectors())
}

fn request_seeds() -> Vec<Vec<u8>> {
    let moved = Move {
        name: "refs/heads/main".into(),
        before: Some(hash(1)),
        after: hash(2),
        force: false,
    };
    let mut all: Vec<Request> = selectors()
        .map(|repository| Request::Hello { version: 1, repository })
        .into();
    all.extend([
        Request::List,
        Request::Refs {
            after: "refs/heads/main".into(),
        },
        Request::Commits {
            want: vec![hash(1), hash(2)],
            have: vec![hash(3)],
        },
        Request::Push {
            moves: vec![
                Move {
                    before: None,
                    ..moved.clone()
                },
                moved,
            ],
        },
    ]);
    encoded(all)
}

fn reply_seeds() -> Vec<Vec<u8>> {
    let served = |number, name: &str| Served {
        id: hash(number),
        name: name.into(),
    };
    encoded([
        Reply::Welcome {
            version: 1,
            repository: served(1, "models"),
            head: Some("refs/heads/main".into()),
            may_write: true,
        },
        Reply::Repositories(vec![served(1, "one"), served(2, "two")]),
        Reply::Refs(vec![
            ("refs/heads/main".into(), hash(1)),
            ("refs/tags/v1".into(), hash(2)),
        ]),
        Reply::Commits(vec![vec![1, 2, 3].into(), Vec::new().into()]),
        Reply::Progress {
            records: 70_000,
            bytes: 1 << 40,
        },
        Reply::Moved,
        Reply::Refused {
            reason: Reason::NotForward,
            message: "it is elsewhere".into(),
        },
    ])
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let frame = |content: &[u8]| {
        let mut bytes = Vec::new();
        wait(frame::write(&mut bytes, content)).expect("memory takes it");
        bytes
    };
    vec![
        frame(b""),
        frame(b"hello"),
        frame(&[7; LONGEST]),
        frame(&[7; LONGEST + 1]),
        [frame(b"one"), frame(b"two")].concat(),
    ]
}

fn records_request_seeds() -> Vec<Vec<u8>> {
    let [one, other] = [1, 2].map(|number| Hash::from_bytes([number; 32]));
    let forms = [Form::Any, Form::Against(other), Form::Alone];
    let mut seeds: Vec<Vec<u8>> = forms.map(|form| encode_request([(one, form)])).into();
    seeds.push(encode_request(forms.map(|form| (one, form))));
    seeds.push(encode_request((0..=MAX_BATCH).map(|_| (one, Form::Alone))));
    seeds
}

fn records_answer_seeds() -> Vec<Vec<u8>> {
    let hash = Hash::from_bytes([7; 32]);
    let [mut absent, mut offer] = [vec![3], vec![3]];
    write_absent(&hash, &mut absent);
    write_offer(
        &hash,
        &Offer {
            base: Hash::from_bytes([9; 32]),
            len: 40,
        },
        &mut offer,
    );
    let mut seeds = vec![absent, offer];
    let against = Hash::from_bytes([8; 32]);
    for (question, kind, codec, base) in [
        (0, Kind::Tree, Codec::Zstd, None),
        (1, Kind::Manifest, Codec::Raw, None),
        (2, Kind::Page, Codec::Zstd, None),
        (3, Kind::Chunk, Codec::Planes, None),
        (3 | 16, Kind::Chunk, Codec::Delta, Some(against)),
        (3, Kind::Chunk, Codec::Delta, Some(against)),
    ] {
        let header = RecordHeader {
            kind,
            codec,
            raw_len: 300,
            encoded_len: 30,
            hash,
            base,
        };
        let mut seed = vec![question];
        header.write(&mut seed);
        seed.extend([5; 30]);
        seeds.push(seed);
    }
    seeds
}

fn ticket_seeds() -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = [
        "/ip4/192.0.2.1/tcp/4001",
        "/ip6/2001:db8::1/udp/4001/quic-v1/models",
        "192.0.2.1:4001/models",
        "[2001:db8::1]:4001",
        "machine.example:4001",
        "../folder",
        "12D3KooW",
        "fai1aaaaaaaaaaaaaaaaaaaaaaaa",
    ]
    .map(str::to_owned)
    .into();
    let peer = peer();
    let address = format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}");
    let source = Source::parse(&address).expect("an address").expect("an address");
    let ticket = source.to_ticket().expect("a source with a peer");
    texts.push(format!("{address}/p2p-circuit/p2p/{peer}/models"));
    texts.extend([format!("{peer}/models"), peer, address]);
    texts.extend([ticket.to_ascii_uppercase(), format!("{ticket}/models"), ticket]);
    texts.into_iter().map(String::into_bytes).collect()
}

/// A peer that never was: its key is a point of the curve that everybody knows.
fn peer() -> String {
    let key = [&[0x58][..], &[0x66; 31]].concat();
    let id = [&[0, 0x24, 8, 1, 0x12, 0x20][..], &key].concat();
    PeerId::from_bytes(&id).expect("the id of a key").to_string()
}

fn bootstrap_seeds() -> Vec<Vec<u8>> {
    let address = format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", peer());
    let texts = [
        "/ip4/192.0.2.1/tcp/4001".to_owned(),
        format!("[\"{address}\", \"{address}\"]"),
        address,
    ];
    texts.into_iter().map(String::into_bytes).collect()
}
