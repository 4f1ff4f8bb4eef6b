//! Askers that send garbage, too much, or ask for what they may not have, against the real answering side.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use fai_core::object::{Kind, Time};
use fai_network::serve::{Happening, Offer, Permission, serve};
use fai_network::session::bases::Form;
use fai_network::wire::message::{Reason, Reply, Request, Selector};
use fai_network::wire::records::encode_request;
use fai_network::wire::{MAX_MESSAGE, frame};
use fai_network::{Connection, Identity, Multiaddr, Node, NodeOptions, PeerId, Protocol};
use futures::future::poll_fn;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::asker::Asker;
use crate::bounded;
use crate::peer::{framed, listening};
use crate::world::{ID, World, hello, selected};

/// The real answering side, over a repository with the first commit.
pub struct Server {
    pub node: Node,
    pub address: Multiaddr,
    pub asker: Asker,
    task: tokio::task::JoinHandle<()>,
    /// What happened.
    _happenings: mpsc::Receiver<Happening>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn writable() -> Self {
        Self::start(|_| Permission::Write).await
    }

    pub async fn start(permit: impl Fn(&PeerId) -> Permission + Send + Sync + 'static) -> Self {
        let asker = Asker::with_first().await;
        let (node, incoming, address) = listening().await;
        let offer = Offer {
            name: "model".into(),
            repository: Arc::clone(&asker.repository),
            permit: Arc::new(permit),
            sent: Arc::default(),
        };
        let (told, happenings) = mpsc::channel(16);
        let serving = serve(node.clone(), incoming, vec![offer], told, Arc::new(Time::default));
        Self {
            node,
            address,
            asker,
            task: tokio::spawn(serving),
            _happenings: happenings,
        }
    }

    pub async fn dial(&self, node: &Node) -> Connection {
        node.dial(Some(self.node.peer()), vec![self.address.clone()])
            .await
            .unwrap()
    }

    /// An honest peer is served as if nothing had happened.
    pub async fn assert_serves(&self) {
        let connection = Asker::empty();
        let mut last = None;
        // Places that others held for a while become free within the time that a connection may take to come up.
        for _ in 0..100 {
            let dialled = connection
                .node
                .dial(Some(self.node.peer()), vec![self.address.clone()])
                .await;
            let Ok(dialled) = dialled.map_err(|error| last = Some(error)) else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let opened = fai_network::fetch::Remote::open(&connection.node, dialled, Selector::Only).await;
            let Ok(mut remote) = opened.map_err(|error| last = Some(error)) else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let refs = remote.refs().await.unwrap();
            assert_eq!(refs[0].1, World::first().main());
            assert_eq!(connection.fetch(vec![remote], refs).await.unwrap().files, 1);
            return;
        }
        panic!("{last:?}");
    }
}

pub fn stranger() -> Node {
    Node::start(&Identity::passing(), NodeOptions::default()).unwrap().0
}

/// How a stream ends: what came before it, and the kind of error if it did not just end.
async fn end_of(stream: &mut Stream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest).await;
    (rest, ended.err().map(|error| error.kind()))
}

pub async fn refusal(stream: &mut Stream) -> (Reason, String) {
    let reply = frame::read(stream, MAX_MESSAGE).await.unwrap().unwrap();
    match minicbor::decode(&reply).unwrap() {
        Reply::Refused { reason, message } => (reason, message),
        other => panic!("{other:?}"),
    }
}

pub fn encoded(request: &Request) -> Vec<u8> {
    minicbor::to_vec(request).unwrap()
}

pub fn request(hashes: usize) -> Vec<u8> {
    encode_request((0..hashes).map(|n| (Kind::Chunk.hash(&n.to_le_bytes()), Form::Any)))
}

#[test]
fn garbage_is_refused_or_cut_off_and_others_are_served() {
    bounded(async {
        let server = Server::start(|_| Permission::Read).await;
        let node = stranger();
        let connection = server.dial(&node).await;
        let before = server.asker.state();
        let get_refs = encoded(&Request::Refs { after: String::new() });
        let get_commits = encoded(&Request::Commits {
            want: vec![],
            have: vec![],
        });
        let push = encoded(&Request::Push { moves: vec![] });
        for said in [
            &fai_testkit::noise(1, 1 << 20)[..],
            b"",
            &[0x82, 9, 0x80],
            &[0xff; 100],
            &get_refs,
            &get_commits,
            &push,
        ] {
            let mut stream = node.open_sync(&connection).await.unwrap();
            frame::write(&mut stream, said).await.unwrap();
            assert_eq!(refusal(&mut stream).await.0, Reason::Protocol);
            assert_eq!(end_of(&mut stream).await.0, b"");
        }
        let too_long = ((MAX_MESSAGE + 1) as u32).to_le_bytes();
        for said in [&[255; 4][..], &too_long] {
            let mut stream = node.open_sync(&connection).await.unwrap();
            stream.write_all(said).await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(end_of(&mut stream).await.0, b"");
        }
        let selector = framed(&minicbor::to_vec(Selector::Only).unwrap());
        let wrong = [
            framed(b"no selector"),
            [&selector[..], &framed(&request(257))].concat(),
            [&selector[..], &framed(b"")].concat(),
            [&selector[..], &framed(&[0; 34])].concat(),
            [&selector[..], &framed(&[&[1][..], &[7; 40]].concat())].concat(),
            [&selector[..], &framed(&[3; 33])].concat(),
            [&selector[..], &u32::MAX.to_le_bytes()].concat(),
            [&selector[..], &fai_testkit::noise(2, 1 << 16)].concat(),
        ];
        for said in wrong {
            let mut stream = node.open_records(connection.peer, connection.id).await.unwrap();
            // It may be cut off before all of it is written.
            let _ = stream.write_all(&said).await;
            let _ = stream.flush().await;
            assert_eq!(end_of(&mut stream).await.0, b"");
        }
        // As many as may be are answered.
        let mut stream = node.open_records(connection.peer, connection.id).await.unwrap();
        stream
            .write_all(&[&selector[..], &framed(&request(256))].concat())
            .await
            .unwrap();
        stream.flush().await.unwrap();
        let mut absent = vec![0; 256 * 36];
        stream.read_exact(&mut absent).await.unwrap();
        assert!(absent.chunks(36).all(|mark| mark.starts_with(b"FNON")));
        assert_eq!(server.asker.state(), before);
        server.assert_serves().await;
    });
}

#[test]
fn what_may_not_be_read_ends_exactly_as_what_is_not_there() {
    bounded(async {
        let allowed = stranger();
        let friend = allowed.peer();
        let server = Server::start(move |peer| {
            if *peer == friend {
                Permission::Read
            } else {
                Permission::None
            }
        })
        .await;
        let forbidden = stranger();
        let connection = server.dial(&forbidden).await;
        let hash = *World::first().records.keys().min().unwrap();
        let wanted = encode_request([(hash, Form::Any)]);
        let mut ends = Vec::new();
        for selector in [
            selected(ID),
            selected([9; 32]),
            Selector::Only,
            Selector::Name("model".into()),
            Selector::Name("other".into()),
        ] {
            let mut stream = forbidden.open_records(connection.peer, connection.id).await.unwrap();
            frame::write(&mut stream, &minicbor::to_vec(&selector).unwrap())
                .await
                .unwrap();
            // The request may meet the end already.
            let _ = frame::write(&mut stream, &wanted).await;
            ends.push(end_of(&mut stream).await);
        }
        assert!(ends.iter().all(|end| *end == ends[0] && end.0.is_empty()), "{ends:?}");
        let mut refusals = Vec::new();
        for selector in [
            selected(ID),
            selected([9; 32]),
            Selector::Name("model".into()),
            Selector::Name("other".into()),
        ] {
            let mut stream = forbidden.open_sync(&connection).await.unwrap();
            frame::write(&mut stream, &encoded(&hello(selector))).await.unwrap();
            refusals.push(refusal(&mut stream).await);
        }
        assert!(refusals.iter().all(|(reason, _)| *reason == Reason::NotFound));
        assert_eq!(refusals[0], refusals[1]);
        assert_eq!(refusals[2].1.replace("model", "other"), refusals[3].1);
        let mut stream = forbidden.open_sync(&connection).await.unwrap();
        frame::write(&mut stream, &encoded(&Request::List)).await.unwrap();
        let listed = frame::read(&mut stream, MAX_MESSAGE).await.unwrap().unwrap();
        assert_eq!(
            minicbor::decode::<Reply>(&listed).unwrap(),
            Reply::Repositories(Vec::new())
        );
        // Whoever may read it gets the record, so the question was right.
        let connection = server.dial(&allowed).await;
        let mut stream = allowed.open_records(connection.peer, connection.id).await.unwrap();
        frame::write(&mut stream, &minicbor::to_vec(selected(ID)).unwrap())
            .await
            .unwrap();
        frame::write(&mut stream, &wanted).await.unwrap();
        let mut magic = [0; 4];
        stream.read_exact(&mut magic).await.unwrap();
        assert_eq!(&magic, b"FREC");
    });
}

#[test]
fn a_push_after_the_right_to_read_was_taken_away_meets_nothing() {
    bounded(async {
        let allowed = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&allowed);
        let server = Server::start(move |_| match asked.load(Ordering::SeqCst) {
            true => Permission::Write,
            false => Permission::None,
        })
        .await;
        let node = stranger();
        let connection = server.dial(&node).await;
        let mut refusals = Vec::new();
        for request in [
            Request::Refs { after: String::new() },
            Request::Push { moves: Vec::new() },
        ] {
            allowed.store(true, Ordering::SeqCst);
            let mut stream = node.open_sync(&connection).await.unwrap();
            frame::write(&mut stream, &encoded(&hello(Selector::Only)))
                .await
                .unwrap();
            frame::read(&mut stream, MAX_MESSAGE).await.unwrap().unwrap();
            allowed.store(false, Ordering::SeqCst);
            frame::write(&mut stream, &encoded(&request)).await.unwrap();
            refusals.push(refusal(&mut stream).await);
        }
        assert_eq!(refusals[0].0, Reason::NotFound);
        assert_eq!(refusals[0], refusals[1]);
    });
}

#[test]
fn long_questions_that_never_end_cost_a_server_little() {
    bounded(async {
        let server = Server::start(|_| Permission::Read).await;
        let nodes: Vec<Node> = (0..16).map(|_| stranger()).collect();
        let all_but_one = [&(MAX_MESSAGE as u32).to_le_bytes()[..], &vec![7; MAX_MESSAGE - 1]].concat();
        let mut held = Vec::new();
        for node in &nodes {
            let connection = server.dial(node).await;
            for index in 0..32 {
                let opened = match index % 2 {
                    0 => node.open_sync(&connection).await,
                    _ => node.open_records(connection.peer, connection.id).await,
                };
                let mut stream = opened.unwrap();
                // More than fits into what lies between: who has written it was read.
                if stream.write_all(&all_but_one).await.is_ok() {
                    held.push(stream);
                }
            }
        }
        assert!((16..=32).contains(&held.len()), "{} are read", held.len());
        server.assert_serves().await;
    });
}

/// Opens streams on a connection of its own and writes a byte to each. How many, until the other side has enough of it.
async fn streams_until_cut_off(address: Multiaddr, most: usize) -> usize {
    let key = libp2p::identity::Keypair::generate_ed25519();
    let mut transport = libp2p::tcp::tokio::Transport::default()
        .upgrade(Version::V1)
        .authenticate(libp2p::noise::Config::new(&key).unwrap())
        .multiplex(libp2p::yamux::Config::default())
        .boxed();
    let port = PortUse::New;
    let role = Endpoint::Dialer;
    let dialled = transport.dial(address, DialOpts { role, port_use: port }).unwrap();
    let (_, mut muxer) = dialled.await.unwrap();
    let mut streams = Vec::new();
    while streams.len() < most {
        let opened = poll_fn(|context| {
            if let Poll::Ready(Err(error)) = muxer.poll_unpin(context) {
                return Poll::Ready(Err(error));
            }
            muxer.poll_outbound_unpin(context)
        });
        let Ok(mut stream) = opened.await else { break };
        if stream.write_all(&[7]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        streams.push(stream);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    streams.len()
}

#[test]
fn a_connection_with_streams_without_end_is_cut_off() {
    bounded(async {
        let server = Server::start(|_| Permission::Read).await;
        assert_eq!(streams_until_cut_off(server.address.clone(), 90).await, 90);
        let opened = streams_until_cut_off(server.address.clone(), 300).await;
        assert!((96..150).contains(&opened), "{opened} streams");
        server.assert_serves().await;
    });
}

#[test]
fn one_peer_has_its_streams_and_no_more() {
    bounded(async {
        let server = Server::start(|_| Permission::Read).await;
        let node = stranger();
        let connection = server.dial(&node).await;
        let mut streams = Vec::new();
        let mut refused = 0;
        let list = encoded(&Request::List);
        for _ in 0..40 {
            let mut stream = node.open_sync(&connection).await.unwrap();
            let _ = frame::write(&mut stream, &list).await;
            match frame::read(&mut stream, MAX_MESSAGE).await {
                Ok(Some(_)) => streams.push(stream),
                _ => refused += 1,
            }
        }
        assert_eq!((streams.len(), refused), (32, 8));
        server.assert_serves().await;
        // A place that is given back can be taken again.
        streams.pop();
        let served = async {
            loop {
                let mut stream = node.open_sync(&connection).await.unwrap();
                let _ = frame::write(&mut stream, &list).await;
                if let Ok(Some(_)) = frame::read(&mut stream, MAX_MESSAGE).await {
                    return;
                }
            }
        };
        served.await;
    });
}

#[test]
fn a_thousand_connections_leave_a_server_that_serves() {
    bounded(async {
        let server = Server::start(|_| Permission::Read).await;
        let port = server.address.iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        // Half of them come up, from a dozen peers; a peer may have a few.
        let nodes: Vec<Node> = (0..12).map(|_| stranger()).collect();
        let dialling = nodes.iter().map(|node| async {
            let mut up = 0;
            for _ in 0..42 {
                up += usize::from(
                    node.dial(Some(server.node.peer()), vec![server.address.clone()])
                        .await
                        .is_ok(),
                );
            }
            up
        });
        let up: usize = futures::future::join_all(dialling).await.into_iter().sum();
        assert!(up > 0);
        server.assert_serves().await;
        // The other half says nothing, or garbage.
        let mut silent = Vec::new();
        for index in 0..500 {
            let mut stream = TcpStream::connect(("127.0.0.1", port.unwrap())).await.unwrap();
            if index % 2 == 0 {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &fai_testkit::noise(index, 2000)).await;
            }
            silent.push(stream);
        }
        server.assert_serves().await;
        drop(silent);
    });
}
