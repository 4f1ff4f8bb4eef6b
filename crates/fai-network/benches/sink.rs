//! How fast the chunks of a repository cross the wire and are verified, when nothing is stored: the real answering side, encrypted
//! streams over TCP on loopback, every chunk decoded and held against its hash. What a clone can reach at most on the disk at
//! hand.
//!
//! `cargo bench -p fai-network --bench sink -- REPOSITORY [CONNECTIONS]` prints bytes of files a second, three times.

#![allow(clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fai_core::Repository;
use fai_core::object::{RepoPath, Time};
use fai_core::storage::Checker;
use fai_network::serve::{Offer, Permission, serve};
use fai_network::session::bases::{Ask, Form};
use fai_network::session::plan::{Promise, Want};
use fai_network::wire::frame;
use fai_network::wire::message::{Selector, wire};
use fai_network::wire::records::{Answer, encode_request, read_answer};
use fai_network::{Identity, Node, NodeOptions};
use futures::AsyncReadExt;
use tokio::sync::mpsc;

/// Chunks in a request, and requests that are under way.
const BATCH: usize = 16;
const AHEAD: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let Some(folder) = arguments.first() else {
        println!("which repository? cargo bench -p fai-network --bench sink -- REPOSITORY [CONNECTIONS]");
        return;
    };
    let connections = arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for _ in 0..3 {
        runtime.block_on(measure(Path::new(folder), connections));
    }
}

/// Every chunk of the files of the current commit, once a place.
fn chunks(repository: &Repository) -> Vec<Ask> {
    let mut all = Vec::new();
    for listed in repository
        .list(repository.head_commit().expect("a head"), &RepoPath::root())
        .expect("a commit")
    {
        let file = repository.open_file(listed.file).expect("a file");
        let each = file.for_each_chunk(&mut |_, extent| {
            let promise = Promise::Chunk { len: extent.len };
            let hash = extent.hash;
            let want = Want { hash, promise };
            all.push(Ask {
                want,
                form: Form::Alone,
            });
            Ok::<(), fai_core::repo::Error>(())
        });
        each.expect("a whole file");
    }
    all
}

async fn measure(folder: &Path, connections: usize) {
    let repository = Arc::new(Repository::open(folder).expect("a repository"));
    let (asks, id) = (chunks(&repository), repository.id().expect("an id"));
    let listening = NodeOptions {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        ..NodeOptions::default()
    };
    let (sender, incoming) = Node::start(&Identity::passing(), listening).expect("a peer that listens");
    let offer = Offer {
        name: "measured".into(),
        repository,
        permit: Arc::new(|_| Permission::Read),
        sent: Arc::default(),
    };
    let (told, _happenings) = mpsc::channel(16);
    let serving = tokio::spawn(serve(
        sender.clone(),
        incoming,
        vec![offer],
        told,
        Arc::new(Time::default),
    ));
    let (receiver, _incoming) = Node::start(&Identity::passing(), NodeOptions::default()).expect("a peer");
    let mut addresses = sender.addresses();
    let known = addresses.wait_for(|all| !all.is_empty()).await.expect("an address");
    let there: Vec<_> = known.iter().cloned().collect();
    drop(known);

    let started = Instant::now();
    let mut all = Vec::new();
    for part in asks.chunks(asks.len().div_ceil(connections).max(1)) {
        let connection = receiver.dial(Some(sender.peer()), there.clone());
        let connection = connection.await.expect("a connection");
        let stream = receiver.open_records(connection.peer, connection.id);
        let stream = stream.await.expect("a stream");
        let selector = Selector::Id(wire(&fai_core::object::Hash::from_bytes(*id.as_bytes())));
        all.push(tokio::spawn(take(stream, selector, part.to_vec())));
    }
    let mut bytes = 0;
    for task in all {
        bytes += task.await.expect("a whole transfer");
    }
    let seconds = started.elapsed().as_secs_f64();
    serving.abort();
    println!(
        "{} chunks, {:.0} MB of files, {connections} connections: {:.2} s, {:.2} GB/s",
        asks.len(),
        bytes as f64 / 1e6,
        seconds,
        bytes as f64 / 1e9 / seconds
    );
}

/// Asks for all of it, verifies what comes, and counts the raw bytes.
async fn take(mut stream: libp2p::Stream, selector: Selector, asks: Vec<Ask>) -> u64 {
    let selector = minicbor::to_vec(&selector).expect("a short message");
    frame::write(&mut stream, &selector).await.expect("a peer");
    let (answers, mut unchecked) = mpsc::channel::<(Ask, Answer)>(8);
    let checking = tokio::task::spawn_blocking(move || {
        let mut checker = Checker::new().expect("memory");
        let mut bytes = 0;
        while let Some((ask, answer)) = unchecked.blocking_recv() {
            let Answer::Record(header, payload) = answer else {
                panic!("no chunk {}", ask.want.hash);
            };
            let checked = checker.check(&ask.want.hash, header, payload);
            bytes += checked.expect("what was asked for").1.len() as u64;
        }
        bytes
    });
    let (mut reader, mut writer) = stream.split();
    let batches: Vec<Vec<Ask>> = asks.chunks(BATCH).map(<[Ask]>::to_vec).collect();
    let (asked, mut may_ask) = mpsc::channel::<()>(AHEAD);
    let requests: Vec<Vec<u8>> = batches
        .iter()
        .map(|batch| encode_request(batch.iter().map(|ask| (ask.want.hash, ask.form))))
        .collect();
    let write = async move {
        for request in requests {
            asked.send(()).await.expect("a reader");
            frame::write(&mut writer, &request).await.expect("a peer");
        }
        writer
    };
    let read = async move {
        for batch in batches {
            for ask in batch {
                let answer = read_answer(&mut reader, &ask).await.expect("an answer");
                answers.send((ask, answer)).await.expect("a checker");
            }
            let _ = may_ask.recv().await;
        }
    };
    let _open = futures::future::join(write, read).await;
    checking.await.expect("a checker")
}
