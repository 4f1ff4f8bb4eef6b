//! More ways to the same repository: a second connection to the peer, and other peers that serve a copy, nearby or in the
//! directory.

use std::collections::BTreeMap;
use std::time::Duration;

use fai_core::repo::RepositoryId;
use libp2p::{Multiaddr, PeerId};

use super::Remote;
use crate::node::Neighbour;
use crate::source::by_id;
use crate::{Error, Node};

/// How long a companion may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The same for one that is not near, and perhaps behind a relay.
const ANSWER_FROM_AFAR: Duration = Duration::from_secs(6);

/// How long neighbours may take to be met.
const MEET: Duration = Duration::from_secs(3);

/// Most peers that are asked.
const MOST: usize = 16;

/// Opens what it can within a few seconds; none of them has to answer. Encryption costs a core for each connection, so
/// that two to one peer are faster than one.
pub async fn companions(node: &Node, remote: &Remote) -> Vec<Remote> {
    let again = (remote.peer(), (vec![remote.connection().address.clone()], ANSWER));
    // A relay carries one connection to a peer no slower than two.
    let again = Some(again).filter(|_| remote.connection().relay().is_none());
    let neighbours = node.neighbours().borrow().clone();
    let mut others: BTreeMap<PeerId, (Vec<Multiaddr>, Duration)> = neighbours
        .into_iter()
        .map(|(peer, Neighbour { addresses, .. })| (peer, (addresses.into_iter().collect(), ANSWER)))
        .collect();
    // Without a directory there are none, and at once.
    if let Ok(Ok(far)) = tokio::time::timeout(ANSWER, node.providers(&remote.id)).await {
        far.into_iter().for_each(|(peer, addresses)| {
            others.entry(peer).or_insert((addresses, ANSWER_FROM_AFAR));
        });
    }
    others.retain(|peer, _| *peer != remote.peer() && *peer != node.peer());
    let asked = again.into_iter().chain(others).take(MOST);
    let answers =
        futures::future::join_all(asked.map(|(peer, (addresses, time))| open(node, remote, peer, addresses, time)))
            .await;
    answers.into_iter().flatten().collect()
}

/// Whoever nearby serves a copy of a repository, found within a few seconds.
pub async fn nearby(node: &Node, repository: RepositoryId) -> Vec<Remote> {
    tokio::time::sleep(MEET).await;
    let neighbours = node.neighbours().borrow().clone();
    let asked = neighbours.into_iter().take(MOST).map(|(peer, neighbour)| async move {
        let opening = async {
            let connection = node.dial(Some(peer), neighbour.addresses.into_iter().collect()).await?;
            Remote::open(node, connection, by_id(&repository)).await
        };
        let opened: Result<Remote, Error> = tokio::time::timeout(ANSWER, opening).await.ok()?;
        opened.ok()
    });
    let answers = futures::future::join_all(asked).await;
    answers.into_iter().flatten().collect()
}

async fn open(node: &Node, remote: &Remote, peer: PeerId, addresses: Vec<Multiaddr>, time: Duration) -> Option<Remote> {
    let opening = async {
        let connection = node.dial(Some(peer), addresses).await?;
        Remote::open(node, connection, by_id(&remote.id)).await
    };
    let opened: Result<Remote, Error> = tokio::time::timeout(time, opening).await.ok()?;
    match opened {
        Ok(companion) => Some(companion),
        Err(error) => {
            tracing::debug!(%peer, %error, "not a companion");
            None
        }
    }
}
