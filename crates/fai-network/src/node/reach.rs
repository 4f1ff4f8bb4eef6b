//! How a peer is reached: directly, else through a relay, and then directly all the same if that turns out to be possible.

use std::time::Duration;

use fai_core::repo::RepositoryId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::address::{is_relayed, through};
use super::lookups::Peers;
use super::task::Command;
use super::{Connection, Node, directory};
use crate::Error;

/// How long direct addresses are tried before relayed ones are tried beside them.
const HEAD_START: Duration = Duration::from_secs(2);

/// How long a relayed connection may take to become direct before it is used as it is.
const UPGRADE: Duration = Duration::from_secs(3);

/// How long a relay may take to say how it sees this peer.
const INTRODUCTION: Duration = Duration::from_secs(2);

/// How long this machine may take to say which addresses it has.
const INTERFACES: Duration = Duration::from_millis(300);

/// How long a question to the directory may take, with connecting to it.
const QUESTION: Duration = Duration::from_secs(15);

/// What errors call a relay.
const RELAY: &str = "the relay ";

impl Node {
    /// Opens a connection to whoever answers at one of `addresses`, which must be `peer` if one is given. Another
    /// connection to the same peer is a new one. Relays carry it only where nothing else works in time.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with the real cause.
    pub async fn dial(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> Result<Connection, Error> {
        let (relayed, direct): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_relayed);
        if relayed.is_empty() {
            return self.dial_each(peer, direct).await;
        }
        if direct.is_empty() {
            return self.dial_relays(peer, relayed).await;
        }
        let mut direct = std::pin::pin!(self.dial_each(peer, direct));
        let mut reasons = Vec::new();
        let mut relayed = std::pin::pin!(self.dial_relays(peer, relayed));
        match tokio::time::timeout(HEAD_START, &mut direct).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => {
                reasons.extend(reason(error)?);
                match relayed.await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => reasons.extend(reason(error)?),
                }
            }
            Err(_) => {
                let (first, direct_is_left) = tokio::select! {
                    result = &mut direct => (result, false),
                    result = &mut relayed => (result, true),
                };
                let error = match first {
                    Ok(connection) => return Ok(connection),
                    Err(error) => error,
                };
                reasons.extend(reason(error)?);
                let second = if direct_is_left { direct.await } else { relayed.await };
                match second {
                    Ok(connection) => return Ok(connection),
                    Err(error) => reasons.extend(reason(error)?),
                }
            }
        }
        Err(unreachable(peer, reasons))
    }

    async fn dial_each(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> Result<Connection, Error> {
        let mut reasons = Vec::new();
        // One by one: libp2p races them and gives up when the first to connect is another peer.
        for address in addresses {
            let options = match peer {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Always)
                    .addresses(vec![address])
                    .allocate_new_port()
                    .build(),
                None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
            };
            match self.dial_one(options).await {
                Ok(connection) => return Ok(connection),
                Err(error) => reasons.extend(reason(error)?),
            }
        }
        Err(unreachable(peer, reasons))
    }

    async fn dial_relays(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> Result<Connection, Error> {
        let Some(peer) = peer else {
            let reason = "an address that leads through a relay must say to whom".into();
            return Err(unreachable(None, vec![reason]));
        };
        let mut relays: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
        for way in addresses.iter().filter_map(through) {
            match relays.iter_mut().find(|(relay, _)| *relay == way.relay) {
                Some((_, places)) => places.push(way.address),
                None => relays.push((way.relay, vec![way.address])),
            }
        }
        let mut reasons = Vec::new();
        for (relay, places) in relays {
            match self.dial_through(peer, relay, places).await {
                Ok(connection) => return Ok(connection),
                Err(error) => reasons.extend(reason(error)?),
            }
        }
        Err(unreachable(Some(peer), reasons))
    }

    /// Connects through a relay, and prefers a direct connection if both sides come to one.
    async fn dial_through(&self, peer: PeerId, relay: PeerId, places: Vec<Multiaddr>) -> Result<Connection, Error> {
        let address = self.meet(relay, places).await?;
        let address = address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address]);
        let relayed = self.dial_one(options.build()).await?;
        let direct = self.command(|reply| Command::Direct(peer, reply)).await?;
        match tokio::time::timeout(UPGRADE, direct).await {
            Ok(Ok(direct)) => {
                self.tell(Command::Close(relayed.id)).await?;
                Ok(direct)
            }
            _ => Ok(relayed),
        }
    }

    /// Connects to a relay at one of `places`, and waits until it has said how it sees this peer: without that nothing
    /// becomes direct. Gives the place at which it answers.
    async fn meet(&self, relay: PeerId, mut places: Vec<Multiaddr>) -> Result<Multiaddr, Error> {
        self.listen().await?;
        let met = self.command(|reply| Command::Meet(relay, reply)).await?;
        places.truncate(directory::MAX_ADDRESSES);
        // From the port that is listened on, so that the relay sees where others may dial. All places at once: many relays
        // have some that lead nowhere from here.
        let options = DialOpts::peer_id(relay)
            .condition(PeerCondition::Disconnected)
            .addresses(places);
        let connection = match self.dial_one(options.build()).await {
            Err(Error::Unreachable { reason, .. }) => {
                return Err(Error::Unreachable {
                    peer: format!("{RELAY}{relay}"),
                    reason,
                });
            }
            other => other?,
        };
        let _ = tokio::time::timeout(INTRODUCTION, met).await;
        Ok(connection.address)
    }

    /// Listens if nothing is listened on yet: only so can a relayed connection become direct.
    async fn listen(&self) -> Result<(), Error> {
        let begun = self.command(Command::Listen).await?;
        if begun.await.unwrap_or(false) {
            let mut addresses = self.addresses();
            let _ = tokio::time::timeout(INTERFACES, addresses.wait_for(|all| !all.is_empty())).await;
        }
        Ok(())
    }

    async fn dial_one(&self, options: DialOpts) -> Result<Connection, Error> {
        let answer = self.command(|reply| Command::Dial(Box::new(options), reply)).await?;
        answer.await.map_err(|_| stopped())?
    }

    /// Where the directory says that `peer` is; nothing when there is no directory, or when it does not know.
    ///
    /// # Errors
    /// [`Error::NoDirectory`] when nobody answers there.
    pub async fn find(&self, peer: PeerId) -> Result<Vec<Multiaddr>, Error> {
        let mut found = self.look_up(directory::peer_key(&peer), Some(peer)).await?;
        Ok(found.remove(&peer).unwrap_or_default())
    }

    /// The peers that the directory knows to serve copies of a repository to everybody, and where they are.
    ///
    /// # Errors
    /// [`Error::NoDirectory`] when nobody answers there.
    pub async fn providers(&self, repository: &RepositoryId) -> Result<Peers, Error> {
        self.look_up(directory::repository_key(repository), None).await
    }

    async fn look_up(&self, key: libp2p::kad::RecordKey, wanted: Option<PeerId>) -> Result<Peers, Error> {
        if !self.beyond {
            return Ok(Peers::new());
        }
        self.listen().await?;
        let answer = self.command(|reply| Command::LookUp(key, wanted, reply)).await?;
        match tokio::time::timeout(QUESTION, answer).await {
            Ok(answer) => answer.map_err(|_| stopped())?,
            Err(_) => Err(Error::NoDirectory {
                reason: "nobody answers".into(),
            }),
        }
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<oneshot::Receiver<T>, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        Ok(answer)
    }

    async fn tell(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::Setup("the network task has ended".into())
}

/// Why an attempt failed, if another one may still work.
fn reason(error: Error) -> Result<Option<String>, Error> {
    match error {
        Error::Unreachable { peer, reason } if peer.starts_with(RELAY) => Ok(Some(format!("{peer}: {reason}"))),
        Error::Unreachable { reason, .. } => Ok((!reason.is_empty()).then_some(reason)),
        other => Err(other),
    }
}

fn unreachable(peer: Option<PeerId>, mut reasons: Vec<String>) -> Error {
    reasons.dedup();
    Error::Unreachable {
        peer: peer.map_or_else(|| "the peer".to_owned(), |peer| peer.to_string()),
        reason: match reasons.is_empty() {
            true => "no address of it is known".to_owned(),
            false => reasons.join("; "),
        },
    }
}
