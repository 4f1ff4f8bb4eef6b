//! A scripted peer: it answers by hand, honestly where its script says nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fai_core::object::Hash;
use fai_network::session::bases::Form;
use fai_network::wire::message::{Reply, Request};
use fai_network::wire::records::{MAX_REQUEST, decode_request};
use fai_network::wire::{MAX_MESSAGE, frame};
use fai_network::{Identity, IncomingStreams, Multiaddr, Node, NodeOptions, PeerId};
use futures::AsyncWriteExt;
use libp2p::Stream;
use tokio::sync::watch;

use crate::world::World;

/// What follows the bytes of a deed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The conversation goes on.
    GoOn,
    /// Nothing more is said or read, but the stream stays.
    Silence,
    /// A byte a second, for ever.
    Trickle,
    /// The peer goes away for good.
    Leave,
}

/// What the peer does in place of an answer.
pub struct Deed(pub Vec<u8>, pub Then);

/// A whole frame.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// A reply, as it goes out.
pub fn said(reply: &Reply) -> Deed {
    Deed(framed(&minicbor::to_vec(reply).unwrap()), Then::GoOn)
}

type OnSync = dyn Fn(&World, &Request) -> Option<Deed> + Send + Sync;
type OnRecord = dyn Fn(&World, &Hash, Form) -> Option<Deed> + Send + Sync;

/// How a peer deviates from honesty: `None` is an honest answer.
pub struct Script {
    sync: Box<OnSync>,
    record: Box<OnRecord>,
    /// Bytes after which it leaves for good, over all streams.
    leaves_after: Option<usize>,
}

impl Script {
    pub fn honest() -> Self {
        Self {
            sync: Box::new(|_, _| None),
            record: Box::new(|_, _, _| None),
            leaves_after: None,
        }
    }

    /// Other replies.
    pub fn replies(sync: impl Fn(&World, &Request) -> Option<Deed> + Send + Sync + 'static) -> Self {
        Self {
            sync: Box::new(sync),
            ..Self::honest()
        }
    }

    /// Other answers to requests for records.
    pub fn records(record: impl Fn(&World, &Hash) -> Option<Deed> + Send + Sync + 'static) -> Self {
        Self::forms(move |world, hash, _| record(world, hash))
    }

    /// The same, where it matters in which form a record is asked for.
    pub fn forms(record: impl Fn(&World, &Hash, Form) -> Option<Deed> + Send + Sync + 'static) -> Self {
        Self {
            record: Box::new(record),
            ..Self::honest()
        }
    }

    pub fn leaving_after(bytes: usize) -> Self {
        Self::honest().leave_after(bytes)
    }

    /// The same, of one that does as this one until then.
    pub fn leave_after(self, bytes: usize) -> Self {
        Self {
            leaves_after: Some(bytes),
            ..self
        }
    }
}

/// What the streams of a peer share.
struct Stage {
    world: World,
    script: Script,
    said: AtomicUsize,
    messages: Mutex<Vec<usize>>,
    gone: watch::Sender<bool>,
}

/// A scripted peer at an address.
pub struct Peer {
    pub node: Node,
    pub id: PeerId,
    pub address: Multiaddr,
    stage: Arc<Stage>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
        self.stage.gone.send_replace(true);
    }
}

impl Peer {
    pub async fn start(world: World, script: Script) -> Self {
        let (node, incoming, address) = listening().await;
        let stage = Arc::new(Stage {
            world,
            script,
            said: AtomicUsize::new(0),
            messages: Mutex::default(),
            gone: watch::channel(false).0,
        });
        let task = tokio::spawn(serve(Arc::clone(&stage), incoming));
        Self {
            id: node.peer(),
            node,
            address,
            stage,
            task,
        }
    }

    pub async fn honest(world: World) -> Self {
        Self::start(world, Script::honest()).await
    }

    /// Turns true when it leaves.
    pub fn gone(&self) -> watch::Receiver<bool> {
        self.stage.gone.subscribe()
    }

    /// The lengths of the messages and records that it said, in their order.
    pub fn messages(&self) -> Vec<usize> {
        self.stage.messages.lock().unwrap().clone()
    }
}

/// A node that listens on loopback.
pub async fn listening() -> (Node, IncomingStreams, Multiaddr) {
    let options = NodeOptions {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        ..NodeOptions::default()
    };
    let (node, incoming) = Node::start(&Identity::passing(), options).unwrap();
    let mut addresses = node.addresses();
    let all = addresses.wait_for(|all| !all.is_empty()).await.unwrap().clone();
    (node, incoming, all.into_iter().next().unwrap())
}

async fn serve(stage: Arc<Stage>, incoming: IncomingStreams) {
    let IncomingStreams { mut sync, mut records } = incoming;
    loop {
        let stage = Arc::clone(&stage);
        let mut gone = stage.gone.subscribe();
        tokio::select! {
            Some((_, _, stream)) = sync.recv() => drop(tokio::spawn(async move {
                tokio::select! {
                    _ = stage.talk(stream) => {}
                    _ = gone.wait_for(|gone| *gone) => {}
                }
            })),
            Some((_, _, stream)) = records.recv() => drop(tokio::spawn(async move {
                tokio::select! {
                    _ = stage.send(stream) => {}
                    _ = gone.wait_for(|gone| *gone) => {}
                }
            })),
            else => return,
        }
    }
}

impl Stage {
    async fn talk(&self, mut stream: Stream) -> Option<()> {
        while let Some(bytes) = frame::read_patiently(&mut stream, MAX_MESSAGE).await.ok()? {
            let request = minicbor::decode(&bytes).ok()?;
            let deed = (self.script.sync)(&self.world, &request);
            let deed = deed.unwrap_or_else(|| said(&self.world.reply(&request)));
            self.carry_out(&mut stream, deed).await?;
        }
        Some(())
    }

    async fn send(&self, mut stream: Stream) -> Option<()> {
        frame::read(&mut stream, MAX_MESSAGE).await.ok()?;
        while let Some(request) = frame::read_patiently(&mut stream, MAX_REQUEST).await.ok()? {
            for (hash, form) in decode_request(&request)? {
                let deed = (self.script.record)(&self.world, &hash, form);
                let deed = deed.unwrap_or_else(|| Deed(self.world.answer(&hash), Then::GoOn));
                self.carry_out(&mut stream, deed).await?;
            }
            stream.flush().await.ok()?;
        }
        Some(())
    }

    async fn carry_out(&self, stream: &mut Stream, Deed(mut bytes, mut then): Deed) -> Option<()> {
        if let Some(most) = self.script.leaves_after {
            let before = self.said.fetch_add(bytes.len(), Ordering::SeqCst);
            if before + bytes.len() >= most {
                bytes.truncate(most.saturating_sub(before));
                then = Then::Leave;
            }
        }
        self.messages.lock().unwrap().push(bytes.len());
        stream.write_all(&bytes).await.ok()?;
        stream.flush().await.ok()?;
        match then {
            Then::GoOn => return Some(()),
            Then::Silence => std::future::pending().await,
            Then::Trickle => loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream.write_all(&[0]).await.ok()?;
                stream.flush().await.ok()?;
            },
            Then::Leave => {
                // What was said is to arrive before the end does.
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.gone.send_replace(true);
            }
        }
        None
    }
}
