//! Streams of one protocol over connections that the caller names.
//!
//! Differs from crate `libp2p-stream` where that was measured to lose or hang streams: the queue of incoming streams has
//! a length of its own, a stream is opened on a given connection, and nothing dials behind the caller's back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

/// How long the peer may take to agree on the protocol.
const NEGOTIATION: Duration = Duration::from_secs(10);

/// Streams that may wait for [`Incoming`] to be read; more are refused.
const BACKLOG: usize = 256;

/// Opened streams of the protocol, whoever opened them.
pub type Incoming = mpsc::Receiver<(PeerId, ConnectionId, Stream)>;

type Reply = oneshot::Sender<io::Result<Stream>>;

/// Opens streams.
#[derive(Clone, Debug)]
pub struct Opener {
    requests: mpsc::UnboundedSender<(PeerId, ConnectionId, Reply)>,
}

impl Opener {
    /// Opens a stream on a connection.
    ///
    /// # Errors
    /// At once when the connection is gone; later when the peer does not agree on the protocol.
    pub async fn open(&self, peer: PeerId, connection: ConnectionId) -> io::Result<Stream> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection was closed");
        let (reply, answer) = oneshot::channel();
        self.requests.send((peer, connection, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The part of the swarm that negotiates streams of one protocol.
pub struct Behaviour {
    protocol: StreamProtocol,
    incoming: mpsc::Sender<(PeerId, ConnectionId, Stream)>,
    requests: mpsc::UnboundedReceiver<(PeerId, ConnectionId, Reply)>,
}

impl Behaviour {
    /// A behaviour with its two ends.
    pub fn new(protocol: StreamProtocol) -> (Self, Opener, Incoming) {
        let (incoming, received) = mpsc::channel(BACKLOG);
        let (sender, requests) = mpsc::unbounded_channel();
        let behaviour = Self {
            protocol,
            incoming,
            requests,
        };
        (behaviour, Opener { requests: sender }, received)
    }

    fn handler(&self, peer: PeerId, connection: ConnectionId) -> Handler {
        Handler {
            peer,
            connection,
            protocol: self.protocol.clone(),
            incoming: self.incoming.clone(),
            waiting: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.requests.poll_recv(context) {
            Poll::Ready(Some((peer_id, connection, reply))) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(connection),
                event: Open(reply),
            }),
            _ => Poll::Pending,
        }
    }
}

/// A stream to open.
#[derive(Debug)]
pub struct Open(Reply);

/// The part of a connection that negotiates its streams.
pub struct Handler {
    peer: PeerId,
    connection: ConnectionId,
    protocol: StreamProtocol,
    incoming: mpsc::Sender<(PeerId, ConnectionId, Stream)>,
    waiting: VecDeque<Reply>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn on_behaviour_event(&mut self, Open(reply): Open) {
        self.waiting.push_back(reply);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Reply, Infallible>> {
        match self.waiting.pop_front() {
            Some(reply) => {
                let upgrade = ReadyUpgrade::new(self.protocol.clone());
                let protocol = SubstreamProtocol::new(upgrade, reply).with_timeout(NEGOTIATION);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => Poll::Pending,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Reply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                // A full queue refuses the stream: dropping it resets it.
                let _ = self.incoming.try_send((self.peer, self.connection, stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => {
                        io::Error::new(io::ErrorKind::TimedOut, "the peer did not answer in time")
                    }
                    StreamUpgradeError::NegotiationFailed => {
                        io::Error::new(io::ErrorKind::Unsupported, "the peer does not serve repositories")
                    }
                    StreamUpgradeError::Io(error) => error,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.send(Err(error));
            }
            _ => {}
        }
    }
}
