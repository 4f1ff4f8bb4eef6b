//! What can go wrong between peers. The first real cause is kept: whoever reads it can do something about it.

use std::path::PathBuf;

use fai_core::object::Hash;
use libp2p::PeerId;

use crate::session::plan::{Contradiction, PlanError};
use crate::wire::message::Reason;

/// An error of the network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The local repository.
    #[error(transparent)]
    Core(#[from] fai_core::repo::Error),
    /// A file of this peer's own.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The key's file or its folder can be read by others.
    #[error("{} can be read by others: its mode is {mode:03o}", path.display())]
    LooseKey {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key's file holds no key.
    #[error("{} does not hold a key", .0.display())]
    BadKey(PathBuf),
    /// A text that names no peer.
    #[error("{text:?} names no peer: {reason}")]
    BadSource {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This peer cannot listen or dial at all.
    #[error("the network cannot be used: {0}")]
    Setup(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The peer cannot be reached.
    #[error("{peer} cannot be reached: {reason}")]
    Unreachable {
        /// The peer, or its address.
        peer: String,
        /// Why.
        reason: String,
    },
    /// Nobody on this network has been found under that id.
    #[error("peer {0} was not found on this network")]
    NotFound(PeerId),
    /// Nobody of the directory answers.
    #[error("the directory cannot be asked: {reason}")]
    NoDirectory {
        /// Why.
        reason: String,
    },
    /// The peer's repository is not a copy of this one.
    #[error("{name:?} at {peer} is another repository, not a copy of this one")]
    OtherRepository {
        /// The peer.
        peer: PeerId,
        /// The name it has there.
        name: String,
    },
    /// The peer refuses.
    #[error("{peer} refuses: {message}")]
    Refused {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: Reason,
        /// Why, in its words.
        message: String,
    },
    /// The connection failed.
    #[error("the connection to {peer} failed: {reason}")]
    Connection {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// The peer sent something that it must not send.
    #[error("{peer} does not keep to the protocol: {reason}")]
    Protocol {
        /// The peer.
        peer: PeerId,
        /// What it sent.
        reason: String,
    },
    /// The peer sent wrong bytes.
    #[error("{peer} sent wrong data: {reason}")]
    WrongData {
        /// The peer.
        peer: PeerId,
        /// For what, and what is wrong with it.
        reason: String,
    },
    /// No peer has a record that is needed.
    #[error("no peer has the {kind} {hash}")]
    Nowhere {
        /// Its kind.
        kind: &'static str,
        /// Its hash.
        hash: Hash,
    },
    /// A repository in a folder of this machine lacks something, or has it wrong.
    #[error("the repository in {} is damaged", path.display())]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: fai_core::repo::Error,
    },
    /// The repository in a folder is not a copy of this one.
    #[error("{} is another repository, not a copy of this one", .0.display())]
    OtherFolder(PathBuf),
    /// The repository in a folder does not take what is pushed.
    #[error("{} refuses: {message}", path.display())]
    FolderRefuses {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: Reason,
        /// Why, for people.
        message: String,
    },
    /// The objects contradict each other.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

impl Error {
    /// A short name that scripts can rely on.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Core(error) | Error::Damaged { cause: error, .. } => error.kind(),
            Error::Io { .. } => "io",
            Error::LooseKey { .. } | Error::BadKey(_) => "bad_key",
            Error::BadSource { .. } => "bad_source",
            Error::Setup(_) | Error::Listen { .. } => "network",
            Error::Unreachable { .. } | Error::NotFound(_) | Error::NoDirectory { .. } => "unreachable",
            Error::Refused { reason, .. } | Error::FolderRefuses { reason, .. } => match reason {
                Reason::NotFound => "not_found",
                Reason::Several => "several_repositories",
                Reason::Forbidden => "forbidden",
                Reason::NotForward => "not_forward",
                Reason::Unclean => "unclean",
                Reason::Protocol => "protocol",
                Reason::Failed => "peer_failed",
            },
            Error::OtherRepository { .. } | Error::OtherFolder(_) => "other_repository",
            Error::Connection { .. } => "connection",
            Error::Protocol { .. } => "protocol",
            Error::WrongData { .. } | Error::Contradiction(_) => "false_data",
            Error::Nowhere { .. } => "missing",
        }
    }

    pub(crate) fn io(operation: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Error::Io {
            operation,
            path,
            source,
        }
    }
}

impl From<PlanError<fai_core::repo::Error>> for Error {
    fn from(error: PlanError<fai_core::repo::Error>) -> Self {
        match error {
            PlanError::Contradiction(error) => error.into(),
            PlanError::Local(error) => error.into(),
        }
    }
}
