//! Peers that say nothing, say a byte now and then, or take nothing of what is said to them: each is given up after half a
//! minute. All at the same time, because that is how long each takes.

use std::time::Duration;

use fai_core::object::{Hash, Kind};
use fai_network::serve::Permission;
use fai_network::session::bases::Form;
use fai_network::wire::message::{Reason, Request, Selector};
use fai_network::wire::records::encode_request;
use fai_network::wire::{MAX_MESSAGE, frame};
use futures::AsyncWriteExt;
use libp2p::Stream;

use crate::asker::refused;
use crate::askers::{Server, encoded, refusal, request, stranger};
use crate::bounded;
use crate::peer::{Deed, Script, Then, framed};
use crate::world::{World, header, hello, record};

fn at(kind: Kind, make: impl Fn(&World, &Hash) -> Deed + Send + Sync + 'static) -> Script {
    Script::records(move |world, hash| {
        let asked = world.records.get(hash).is_some_and(|(found, _)| *found == kind);
        asked.then(|| make(world, hash))
    })
}

#[test]
fn whoever_says_or_takes_nothing_is_given_up() {
    bounded(async {
        let others = futures::future::join(silent_and_trickling_peers(), answers_that_nobody_takes());
        futures::future::join(others, a_server_that_is_too_busy()).await;
    });
}

async fn silent_and_trickling_peers() {
    let hello = |then| {
        Script::replies(move |_, request| matches!(request, Request::Hello { .. }).then(|| Deed(vec![200], then)))
    };
    let refs = |then| {
        Script::replies(move |_, request| matches!(request, Request::Refs { .. }).then(|| Deed(vec![200, 0, 0], then)))
    };
    let longest = |then| {
        at(Kind::Tree, move |_, hash| {
            Deed(record(header(Kind::Tree, *hash, 64 << 20), b"abc"), then)
        })
    };
    let scripts = [
        hello(Then::Silence),
        hello(Then::Trickle),
        refs(Then::Silence),
        refs(Then::Trickle),
        Script::replies(|_, request| {
            matches!(request, Request::Commits { .. }).then(|| Deed((1u32 << 20).to_le_bytes().to_vec(), Then::Trickle))
        }),
        at(Kind::Tree, |_, _| Deed(Vec::new(), Then::Silence)),
        Script::records(|world, hash| {
            let large = world.answer(hash).len() > 20_000;
            large.then(|| Deed(world.answer(hash)[..60].to_vec(), Then::Trickle))
        }),
        longest(Then::Silence),
        longest(Then::Trickle),
    ];
    let ends = scripts.map(|script| async {
        let (error, liar, _) = refused(World::second(), script).await;
        assert_eq!(error.kind(), "connection", "{error}");
        let text = error.to_string();
        assert!(text.contains(&liar) && text.contains("silent for 30 seconds"), "{text}");
    });
    futures::future::join_all(ends).await;
}

async fn answers_that_nobody_takes() {
    const REQUESTS: usize = 1_000_000;
    let server = Server::start(|_| Permission::Read).await;
    let node = stranger();
    let connection = server.dial(&node).await;
    let mut sync = node.open_sync(&connection).await.unwrap();
    frame::write(&mut sync, &encoded(&hello(Selector::Only))).await.unwrap();
    let mut records = node.open_records(connection.peer, connection.id).await.unwrap();
    frame::write(&mut records, &minicbor::to_vec(Selector::Only).unwrap())
        .await
        .unwrap();
    let get_refs = framed(&encoded(&Request::Refs { after: String::new() }));
    let get_record = framed(&request(1));
    // Each writes until the server, from which nobody takes an answer, has had enough: it holds a window's worth of them.
    let flood = |mut stream: Stream, request: Vec<u8>| async move {
        for sent in 0..REQUESTS {
            let written = async {
                stream.write_all(&request).await?;
                stream.flush().await
            };
            if written.await.is_err() {
                return sent;
            }
        }
        REQUESTS
    };
    let (talked, asked) = futures::future::join(flood(sync, get_refs), flood(records, get_record)).await;
    println!("{talked} and {asked} requests until the end");
    assert!(
        talked < REQUESTS / 10 && asked < REQUESTS / 10,
        "{talked} and {asked} were taken"
    );
    server.assert_serves().await;
}

/// It says so before its asker takes it for dead.
async fn a_server_that_is_too_busy() {
    let server = Server::start(|_| Permission::Read).await;
    let chunk = fai_testkit::noise(7, 2 << 20);
    let asked = encode_request((0..200).map(|_| (Kind::Chunk.hash(&chunk), Form::Any)));
    let store = server.asker.repository.store();
    let stored = store.write(1, &|_| (), |feeder| Ok(feeder.object(Kind::Chunk, chunk)?));
    stored.unwrap();
    let node = stranger();
    let connection = server.dial(&node).await;
    let mut sync = node.open_sync(&connection).await.unwrap();
    frame::write(&mut sync, &encoded(&hello(Selector::Only))).await.unwrap();
    frame::read(&mut sync, MAX_MESSAGE).await.unwrap().unwrap();
    // What this peer does not take fills all that is there for it.
    let mut untaken = Vec::new();
    for _ in 0..31 {
        let mut stream = node.open_records(connection.peer, connection.id).await.unwrap();
        frame::write(&mut stream, &minicbor::to_vec(Selector::Only).unwrap())
            .await
            .unwrap();
        frame::write(&mut stream, &asked).await.unwrap();
        untaken.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let get_refs = encoded(&Request::Refs { after: String::new() });
    frame::write(&mut sync, &get_refs).await.unwrap();
    let (reason, message) = refusal(&mut sync).await;
    assert_eq!(reason, Reason::Failed, "{message}");
    assert!(message.contains("try again"), "{message}");
    server.assert_serves().await;
}
