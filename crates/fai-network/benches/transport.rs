//! How fast bytes cross an encrypted stream between two peers over loopback, with nothing else in the way: no disk, no
//! decoding, no hashing. What a clone can reach at most.
//!
//! `cargo bench -p fai-network --bench transport [-- MEGABYTES [CONNECTIONS]]` prints, for TCP and QUIC, gigabytes a second and
//! processor seconds a gigabyte, both ends together.

#![allow(clippy::expect_used, clippy::print_stdout)]

use std::time::Instant;

use fai_network::{Identity, IncomingStreams, Multiaddr, Node, NodeOptions};
use futures::{AsyncReadExt, AsyncWriteExt};

/// Bytes written at once: what the answering side writes, too.
const PIECE: usize = 1 << 20;

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u64>().ok());
    let megabytes = numbers.next().unwrap_or(1024);
    let connections = numbers.next().unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let address: Multiaddr = address.parse().expect("an address");
        runtime.block_on(measure(&address, megabytes << 20, connections));
    }
}

async fn measure(address: &Multiaddr, bytes: u64, connections: u64) {
    let listening = NodeOptions {
        listen: vec![address.clone()],
        ..NodeOptions::default()
    };
    let (sender, incoming) = Node::start(&Identity::passing(), listening).expect("a peer that listens");
    let (receiver, _incoming) = Node::start(&Identity::passing(), NodeOptions::default()).expect("a peer");
    let mut addresses = sender.addresses();
    let known = addresses.wait_for(|all| !all.is_empty()).await.expect("an address");
    let there: Vec<Multiaddr> = known.iter().cloned().collect();
    drop(known);
    tokio::spawn(send(incoming, bytes / connections));
    let (started, used) = (Instant::now(), processor_seconds());
    let mut all = Vec::new();
    for _ in 0..connections {
        let connection = receiver
            .dial(Some(sender.peer()), there.clone())
            .await
            .expect("a connection");
        let stream = receiver
            .open_records(connection.peer, connection.id)
            .await
            .expect("a stream");
        all.push(tokio::spawn(take(stream, bytes / connections)));
    }
    for task in all {
        task.await.expect("a whole transfer");
    }
    let (seconds, used) = (started.elapsed().as_secs_f64(), processor_seconds() - used);
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "{address}, {connections} connections: {:.2} GB/s, {:.2} processor seconds a gigabyte",
        gigabytes / seconds,
        used / gigabytes
    );
}

async fn send(mut incoming: IncomingStreams, bytes: u64) {
    while let Some((_, _, mut stream)) = incoming.records.recv().await {
        tokio::spawn(async move {
            let piece = vec![7; PIECE];
            let mut first = [0];
            stream.read_exact(&mut first).await.expect("a request");
            for _ in 0..bytes / PIECE as u64 {
                stream.write_all(&piece).await.expect("a reader");
            }
            stream.flush().await.expect("a reader");
            // Until the reader has it all.
            let _ = stream.read(&mut first).await;
        });
    }
}

async fn take(mut stream: libp2p::Stream, bytes: u64) {
    stream.write_all(&[1]).await.expect("a sender");
    stream.flush().await.expect("a sender");
    let mut piece = vec![0; PIECE];
    for _ in 0..bytes / PIECE as u64 {
        stream.read_exact(&mut piece).await.expect("as much as was promised");
    }
}

/// User and system time of this process so far.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}
