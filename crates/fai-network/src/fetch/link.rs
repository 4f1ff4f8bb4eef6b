//! One stream of records: requests go out ahead, answers come in their order.

use std::io;

use futures::AsyncReadExt;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use tokio::sync::mpsc;

use super::reconnect::Returned;
use crate::Node;
use crate::session::bases::Ask;
use crate::session::schedule::LinkId;
use crate::wire::frame;
use crate::wire::message::{Selector, wire};
use crate::wire::records::{Answer, encode_request, read_answer};

/// What a link reports.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer, unchecked.
    Answer { link: LinkId, ask: Ask, answer: Answer },
    /// The stream ended; nothing more will come.
    Ended { link: LinkId, error: io::Error },
    /// A peer whose links had ended was tried again.
    Returned(Returned),
}

/// Opens a stream and serves `requests` over it until they end or it fails.
pub(super) async fn run(
    link: LinkId,
    node: Node,
    peer: PeerId,
    connection: ConnectionId,
    repository: [u8; 32],
    mut requests: mpsc::UnboundedReceiver<Vec<Ask>>,
    heard: mpsc::Sender<Heard>,
) {
    let stream = match open(&node, peer, connection, repository).await {
        Ok(stream) => stream,
        Err(error) => {
            let _ = heard.send(Heard::Ended { link, error }).await;
            return;
        }
    };
    let (mut reader, mut writer) = stream.split();
    let (asked, mut answers) = mpsc::unbounded_channel::<Vec<Ask>>();
    let write = async move {
        while let Some(batch) = requests.recv().await {
            let request = encode_request(batch.iter().map(|ask| (ask.want.hash, ask.form)));
            frame::write(&mut writer, &request).await?;
            if asked.send(batch).is_err() {
                break;
            }
        }
        // The writing half stays open: closing it before everything is read can hang the peer.
        Ok::<_, io::Error>(writer)
    };
    let read = async {
        while let Some(batch) = answers.recv().await {
            for ask in batch {
                let answer = read_answer(&mut reader, &ask).await?;
                let told = heard.send(Heard::Answer { link, ask, answer }).await;
                if told.is_err() {
                    return Ok(());
                }
            }
        }
        Ok::<_, io::Error>(())
    };
    if let Err(error) = futures::future::try_join(write, read).await {
        let _ = heard.send(Heard::Ended { link, error }).await;
    }
}

/// Opens a stream of records of that repository.
pub(super) async fn open(
    node: &Node,
    peer: PeerId,
    connection: ConnectionId,
    repository: [u8; 32],
) -> io::Result<Stream> {
    let mut stream = node.open_records(peer, connection).await?;
    let selector = Selector::Id(wire(&fai_core::object::Hash::from_bytes(repository)));
    let bytes = minicbor::to_vec(&selector).map_err(io::Error::other)?;
    frame::write(&mut stream, &bytes).await?;
    Ok(stream)
}
