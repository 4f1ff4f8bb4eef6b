//! Coming back to a peer that was lost in the middle of a transfer.

use fai_core::repo::RepositoryId;
use libp2p::{Multiaddr, PeerId};

use super::Remote;
use crate::session::backoff;
use crate::source::by_id;
use crate::{Connection, Error, Node};

/// Where a peer was, so that it can be found there again.
#[derive(Debug, Clone)]
pub(super) struct Whereabouts {
    pub peer: PeerId,
    pub address: Multiaddr,
    pub repository: RepositoryId,
}

/// How trying a lost peer again ended.
#[derive(Debug)]
pub(super) struct Returned {
    pub peer: PeerId,
    pub connection: Result<Connection, Error>,
}

impl Whereabouts {
    /// Of a peer that was dialled. One that dialled this peer cannot be dialled back.
    pub fn of(remote: &Remote) -> Option<Self> {
        let Connection { peer, address, .. } = remote.connection();
        (!address.is_empty()).then(|| Self {
            peer: *peer,
            address: address.clone(),
            repository: remote.id,
        })
    }

    /// Waits, then dials, and makes sure that the peer still serves the repository.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn return_to(&self, node: &Node, attempt: u32) -> Result<Connection, Error> {
        tokio::time::sleep(backoff::wait(attempt, rand::random())).await;
        let connection = node.dial(Some(self.peer), vec![self.address.clone()]).await?;
        let remote = Remote::open(node, connection, by_id(&self.repository)).await?;
        Ok(remote.connection().clone())
    }
}

/// True for failures that time can mend.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Connection { .. } | Error::Unreachable { .. })
}
