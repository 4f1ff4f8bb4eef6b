//! Chunks that are stored as deltas: what an honest peer makes of them, and what others may not make of them. Both sides.

use std::collections::HashMap;

use fai_core::codec::{Base, Codec, Encoder};
use fai_core::object::{Hash, Kind};
use fai_core::storage::{Checker, RecordHeader};
use fai_core::tensor::Element;
use fai_network::Error;
use fai_network::session::bases::{Form, Offer};
use fai_network::wire::frame;
use fai_network::wire::records::{encode_request, write_offer};
use futures::AsyncReadExt;
use libp2p::Stream;

use crate::asker::{Asker, refused};
use crate::askers::{Server, stranger};
use crate::bounded;
use crate::peer::{Deed, Peer, Script, Then};
use crate::world::{ID, World, header, record, selected};

/// Weights of a base model and of versions of it, each a little further away.
fn versions(count: usize) -> Vec<Vec<u8>> {
    let base = fai_testkit::normal(1, 10_000);
    let step = fai_testkit::normal(2, 10_000);
    let version = |number: usize| {
        let values = base.iter().zip(&step);
        values.flat_map(move |(base, step)| (base + base * step * 0.001 * number as f32).to_le_bytes())
    };
    (0..count).map(|number| version(number).collect()).collect()
}

fn hash(bytes: &[u8]) -> Hash {
    Kind::Chunk.hash(bytes)
}

/// A chunk as a delta against another.
fn delta(raw: &[u8], base: &[u8]) -> (RecordHeader, Vec<u8>) {
    let mut payload = Vec::new();
    let against = Base {
        bytes: base,
        element: Element::F32,
        first: 0,
    };
    let codec = Encoder::new()
        .unwrap()
        .encode_against(raw, Element::F32, against, &mut payload);
    assert_eq!(codec, Codec::Delta);
    let header = RecordHeader {
        codec,
        encoded_len: payload.len() as u32,
        base: Some(hash(base)),
        ..header(Kind::Chunk, hash(raw), raw.len() as u32)
    };
    (header, payload)
}

fn answer(raw: &[u8], base: &[u8]) -> Vec<u8> {
    let (header, payload) = delta(raw, base);
    record(header, &payload)
}

fn offer(chunk: Hash, base: Hash, len: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write_offer(&chunk, &Offer { base, len }, &mut out);
    out
}

/// A second commit with a file of these chunks each.
fn with_chunks(chunks: &[Vec<u8>]) -> World {
    World::with_tree(|world| {
        let file = |(number, chunk): (usize, &Vec<u8>)| world.file(&format!("{number}.bin"), &[chunk]);
        let files = chunks.iter().enumerate().map(file).collect();
        world.tree(files)
    })
}

/// Stores each of these chunks but the first as a delta against the one before, and says so.
fn honest(chunks: Vec<Vec<u8>>) -> Script {
    let records: HashMap<Hash, (Hash, Vec<u8>)> = chunks
        .windows(2)
        .map(|pair| (hash(&pair[1]), (hash(&pair[0]), answer(&pair[1], &pair[0]))))
        .collect();
    Script::forms(move |_, chunk, form| {
        let (base, record) = records.get(chunk)?;
        let said = match form {
            Form::Alone => return None,
            Form::Against(asked) if asked == *base => record.clone(),
            Form::Any | Form::Against(_) => offer(*chunk, *base, record.len() as u32),
        };
        Some(Deed(said, Then::GoOn))
    })
}

/// Answers so where the second chunk is asked for in that form, and honestly elsewhere.
fn second(chunks: &[Vec<u8>], lie: impl Fn(Form) -> Option<Vec<u8>> + Send + Sync + 'static) -> Script {
    let (chunk, base) = (hash(&chunks[1]), hash(&chunks[0]));
    let truth = answer(&chunks[1], &chunks[0]);
    Script::forms(move |_, asked, form| {
        if *asked != chunk {
            return None;
        }
        let said = lie(form).or_else(|| match form {
            Form::Any => Some(offer(chunk, base, 100)),
            Form::Against(_) => Some(truth.clone()),
            Form::Alone => None,
        });
        Some(Deed(said?, Then::GoOn))
    })
}

/// How many deltas lead to a chunk of the asker's repository.
fn depth(asker: &Asker, chunk: &[u8]) -> Option<usize> {
    asker.repository.store().depth(&hash(chunk)).unwrap()
}

#[test]
fn a_delta_comes_to_who_has_its_base_or_gets_it() {
    bounded(async {
        let chunks = versions(4);
        // The base is there.
        let asker = Asker::with_first().await;
        asker
            .take(&Peer::honest(with_chunks(&chunks[..1])).await)
            .await
            .unwrap();
        let mut world = with_chunks(&chunks[..1]);
        let files = chunks[..2].iter().enumerate();
        let files = files
            .map(|(number, chunk)| world.file(&format!("{number}.bin"), &[chunk]))
            .collect();
        let tree = world.tree(files);
        world.commit_on_main(tree);
        let peer = Peer::start(world, honest(chunks.clone())).await;
        let report = asker.take(&peer).await.unwrap();
        let share = report.wire_bytes as f64 / chunks[1].len() as f64;
        assert!(share < 0.5, "{share}");
        assert_eq!(depth(&asker, &chunks[1]), Some(1));
        asker.assert_sound();
        // All of them come.
        let asker = Asker::with_first().await;
        let peer = Peer::start(with_chunks(&chunks), honest(chunks.clone())).await;
        asker.take(&peer).await.unwrap();
        let depths: Vec<_> = chunks.iter().map(|chunk| depth(&asker, chunk)).collect();
        assert_eq!(depths, [Some(0), Some(1), Some(2), Some(3)]);
        asker.assert_sound();
        // The base does not.
        let asker = Asker::with_first().await;
        let peer = Peer::start(with_chunks(&chunks[1..2]), honest(chunks.clone())).await;
        asker.take(&peer).await.unwrap();
        assert_eq!(depth(&asker, &chunks[1]), Some(0));
        assert_eq!(depth(&asker, &chunks[0]), None);
        asker.assert_sound();
    });
}

#[test]
fn chains_stay_as_short_as_writers_keep_them() {
    bounded(async {
        let chunks = versions(9);
        let asker = Asker::with_first().await;
        let peer = Peer::start(with_chunks(&chunks), honest(chunks.clone())).await;
        asker.take(&peer).await.unwrap();
        let depths: Vec<_> = chunks.iter().map(|chunk| depth(&asker, chunk).unwrap()).collect();
        assert!(depths.iter().all(|depth| *depth <= 4), "{depths:?}");
        assert!(depths.contains(&4), "{depths:?}");
        asker.assert_sound();
    });
}

#[test]
fn two_copies_that_store_a_chunk_against_each_others_serve_one_transfer() {
    bounded(async {
        let chunks = versions(2);
        let asker = Asker::with_first().await;
        let world = with_chunks(&chunks);
        let turned: Vec<_> = chunks.iter().rev().cloned().collect();
        let one = Peer::start(world.clone(), honest(chunks.clone())).await;
        let other = Peer::start(world, honest(turned)).await;
        let mut first = asker.meet(&one).await.unwrap();
        let refs = first.refs().await.unwrap();
        let remotes = vec![first, asker.meet(&other).await.unwrap()];
        asker.fetch(remotes, refs).await.unwrap();
        asker.assert_sound();
    });
}

#[test]
fn a_transfer_that_is_cut_anywhere_between_its_waves_goes_on() {
    bounded(async {
        let chunks = versions(5);
        let whole = Peer::start(with_chunks(&chunks), honest(chunks.clone())).await;
        let asker = Asker::with_first().await;
        asker.take(&whole).await.unwrap();
        let messages = whole.messages();
        let expected: Vec<_> = chunks.iter().map(|chunk| depth(&asker, chunk)).collect();
        assert_eq!(expected, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        let (mut said, mut cut) = (0, 0);
        for len in &messages {
            // Between two messages, and within one.
            for at in [said + len / 2, said + len] {
                let asker = Asker::with_first().await;
                let leaving = honest(chunks.clone()).leave_after(at.max(1));
                let before = asker.state();
                let broken = Peer::start(with_chunks(&chunks), leaving).await;
                if asker.take(&broken).await.is_err() {
                    cut += 1;
                    assert_eq!(asker.state(), before);
                }
                let after = Peer::start(with_chunks(&chunks), honest(chunks.clone())).await;
                asker.take(&after).await.unwrap();
                let depths: Vec<_> = chunks.iter().map(|chunk| depth(&asker, chunk)).collect();
                assert_eq!(depths, expected, "cut after {at} bytes");
                asker.assert_sound();
            }
            said += len;
        }
        assert!(cut > messages.len(), "{cut} of {}", messages.len());
    });
}

#[test]
fn answers_in_a_form_that_was_not_asked_for_are_refused() {
    bounded(async {
        let chunks = versions(3);
        let (first, chunk, third) = (hash(&chunks[0]), hash(&chunks[1]), hash(&chunks[2]));
        let against_first = answer(&chunks[1], &chunks[0]);
        let against_third = answer(&chunks[1], &chunks[2]);
        let nowhere = hash(b"nowhere");
        let any = |said: Vec<u8>| move |form| (form == Form::Any).then(|| said.clone());
        // Offers a base that never comes, so that it is asked for alone.
        let alone = move |said: Vec<u8>| {
            move |form| match form {
                Form::Any => Some(offer(chunk, nowhere, 100)),
                _ => Some(said.clone()),
            }
        };
        let against = |said: Vec<u8>| move |form| matches!(form, Form::Against(_)).then(|| said.clone());
        let scripts = [
            second(&chunks, any(against_first.clone())),
            second(&chunks, any(offer(chunk, chunk, 100))),
            second(&chunks, any(offer(chunk, first, chunks[1].len() as u32 + 1))),
            second(&chunks, any(offer(third, first, 100))),
            second(&chunks, alone(against_first.clone())),
            second(&chunks, alone(offer(chunk, first, 100))),
            second(&chunks, against(against_third)),
            second(&chunks, against(offer(chunk, first, 100))),
        ];
        for (number, script) in scripts.into_iter().enumerate() {
            let (error, liar, _) = refused(with_chunks(&chunks), script).await;
            assert_eq!(error.kind(), "protocol", "{number}: {error}");
            assert!(error.to_string().contains(&liar), "{number}: {error}");
        }
        // An object is never offered.
        let tree = Script::records(move |world, hash| {
            let is_tree = world.records.get(hash).is_some_and(|(kind, _)| *kind == Kind::Tree);
            is_tree.then(|| Deed(offer(*hash, first, 10), Then::GoOn))
        });
        assert_eq!(refused(with_chunks(&chunks), tree).await.0.kind(), "protocol");
    });
}

#[test]
fn deltas_that_are_not_what_they_should_be_are_refused() {
    bounded(async {
        let chunks = versions(3);
        let (true_header, payload) = delta(&chunks[1], &chunks[0]);
        let (other_header, other) = delta(&chunks[2], &chunks[0]);
        let mut flipped = payload.clone();
        *flipped.last_mut().unwrap() ^= 0x55;
        let cut = payload[..payload.len() - 1].to_vec();
        let with = |header: RecordHeader, payload: &[u8]| {
            let encoded_len = payload.len() as u32;
            record(RecordHeader { encoded_len, ..header }, payload)
        };
        let wrong = [
            // The bytes of another chunk, also where its name is the right one.
            with(
                RecordHeader {
                    hash: true_header.hash,
                    ..other_header
                },
                &other,
            ),
            with(true_header, &flipped),
            with(true_header, &cut),
            with(true_header, &[]),
            with(true_header, &fai_testkit::noise(1, 10_000)),
            // Differences to nothing at all.
            with(true_header, &[0xff; 64]),
            // An encoding that stands alone, of something else.
            with(header(Kind::Chunk, true_header.hash, 5), b"wrong"),
        ];
        for (number, said) in wrong.into_iter().enumerate() {
            let script = second(&chunks, move |form| {
                matches!(form, Form::Against(_)).then(|| said.clone())
            });
            let (error, liar, _) = refused(with_chunks(&chunks), script).await;
            assert_eq!(error.kind(), "false_data", "{number}: {error}");
            assert!(error.to_string().contains(&liar), "{number}: {error}");
        }
    });
}

#[test]
fn offers_that_lead_in_circles_or_nowhere_come_to_an_end() {
    bounded(async {
        let chunks = versions(40);
        let hashes: Vec<Hash> = chunks.iter().map(|chunk| hash(chunk)).collect();
        let nowhere = hash(b"nowhere");
        let circle = |hashes: Vec<Hash>| {
            move |chunk: &Hash| {
                let at = hashes.iter().position(|other| other == chunk)?;
                Some(hashes[(at + 1) % hashes.len()])
            }
        };
        type Lie = Box<dyn Fn(&Hash) -> Option<Hash> + Send + Sync>;
        let lies: [Lie; 3] = [
            Box::new(circle(hashes.clone())),
            Box::new(circle(hashes[..2].to_vec())),
            Box::new(move |_| Some(nowhere)),
        ];
        for lie in lies {
            let asker = Asker::with_first().await;
            let script = Script::forms(move |world, chunk, form| {
                let is_chunk = world.records.get(chunk).is_some_and(|(kind, _)| *kind == Kind::Chunk);
                let base = lie(chunk).filter(|_| is_chunk && form != Form::Alone)?;
                // A base that was offered is never sent against.
                let other = match form {
                    Form::Against(asked) if asked == base => hash(b"another"),
                    _ => base,
                };
                Some(Deed(offer(*chunk, other, 1), Then::GoOn))
            });
            let report = asker
                .take(&Peer::start(with_chunks(&chunks), script).await)
                .await
                .unwrap();
            assert_eq!(report.chunks, 40);
            assert!(chunks.iter().all(|chunk| depth(&asker, chunk) == Some(0)));
            asker.assert_sound();
        }
    });
}

#[test]
fn an_offer_of_what_then_is_not_there_names_what_is_missing() {
    bounded(async {
        let chunks = versions(2);
        let (chunk, first) = (hash(&chunks[1]), hash(&chunks[0]));
        let script = Script::forms(move |_, asked, form| {
            let said = match form {
                Form::Any => offer(chunk, first, 10),
                _ => World::empty().answer(asked),
            };
            (*asked == chunk).then_some(Deed(said, Then::GoOn))
        });
        let (error, ..) = refused(with_chunks(&chunks), script).await;
        assert!(matches!(error, Error::Nowhere { hash, .. } if hash == chunk), "{error}");
    });
}

/// Asks the real answering side for one record.
async fn ask(stream: &mut Stream, chunk: Hash, form: Form) -> [u8; 4] {
    frame::write(stream, &encode_request([(chunk, form)])).await.unwrap();
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await.unwrap();
    magic
}

/// The record that follows its first four bytes.
async fn rest(stream: &mut Stream, magic: [u8; 4], len: usize) -> (RecordHeader, Vec<u8>) {
    let mut head = magic.to_vec();
    head.resize(len, 0);
    stream.read_exact(&mut head[4..]).await.unwrap();
    let header = RecordHeader::read(&head).unwrap();
    let mut payload = vec![0; header.encoded_len as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (header, payload)
}

#[test]
fn a_repository_with_deltas_serves_every_form() {
    bounded(async {
        let chunks = versions(3);
        let server = Server::start(|_| fai_network::serve::Permission::Read).await;
        let peer = Peer::start(with_chunks(&chunks), honest(chunks.clone())).await;
        server.asker.take(&peer).await.unwrap();
        assert_eq!(depth(&server.asker, &chunks[2]), Some(2));
        let node = stranger();
        let connection = server.dial(&node).await;
        let mut stream = node.open_records(connection.peer, connection.id).await.unwrap();
        let selector = minicbor::to_vec(selected(ID)).unwrap();
        frame::write(&mut stream, &selector).await.unwrap();
        let (base, chunk) = (hash(&chunks[1]), hash(&chunks[2]));
        for form in [Form::Any, Form::Against(hash(&chunks[0]))] {
            assert_eq!(&ask(&mut stream, chunk, form).await, b"FDEL");
            let mut offered = [0; 68];
            stream.read_exact(&mut offered).await.unwrap();
            assert_eq!(
                (&offered[..32], &offered[32..64]),
                (&chunk.as_bytes()[..], &base.as_bytes()[..])
            );
        }
        let mut checker = Checker::new().unwrap();
        let magic = ask(&mut stream, chunk, Form::Against(base)).await;
        let (header, payload) = rest(&mut stream, magic, RecordHeader::BASED_LEN).await;
        assert_eq!(header.base, Some(base));
        checker.check_against(&chunk, header, payload, &chunks[1]).unwrap();
        // Alone, however often it is asked for at once.
        let many = encode_request(vec![(chunk, Form::Alone); 256]);
        frame::write(&mut stream, &many).await.unwrap();
        for _ in 0..256 {
            let mut magic = [0; 4];
            stream.read_exact(&mut magic).await.unwrap();
            let (header, payload) = rest(&mut stream, magic, RecordHeader::PLAIN_LEN).await;
            assert_eq!(header.base, None);
            checker.check(&chunk, header, payload).unwrap();
        }
        // What stands alone is what it is in every form.
        for form in [Form::Any, Form::Against(base), Form::Alone] {
            let magic = ask(&mut stream, hash(&chunks[0]), form).await;
            let (header, payload) = rest(&mut stream, magic, RecordHeader::PLAIN_LEN).await;
            checker.check(&hash(&chunks[0]), header, payload).unwrap();
        }
        let asker = Asker::empty();
        let dialled = server.dial(&asker.node).await;
        let mut remote = fai_network::fetch::Remote::open(&asker.node, dialled, selected(ID))
            .await
            .unwrap();
        let refs = remote.refs().await.unwrap();
        asker.fetch(vec![remote], refs).await.unwrap();
        assert_eq!(depth(&asker, &chunks[2]), Some(2));
        asker.assert_sound();
    });
}
