//! Peers of `fai`: who they are, how they find each other, and how repositories travel between them.
//!
//! `wire` says what is said, `session` decides what to say next and does no I/O, `node` owns the swarm, [`serve`] answers
//! others and [`fetch`] asks them. The norm for every byte is `docs/protocol.md`. Nothing here prints.

pub mod error;
pub mod fetch;
pub mod folder;
pub mod identity;
pub mod node;
mod receive;
pub mod serve;
pub mod session;
pub mod source;
pub mod wire;

pub use error::Error;
pub use folder::Folder;
pub use identity::Identity;
pub use libp2p::multiaddr::Protocol;
pub use libp2p::{Multiaddr, PeerId};
pub use node::{Connection, IncomingStreams, Neighbour, Node, NodeOptions};
pub use source::Source;
