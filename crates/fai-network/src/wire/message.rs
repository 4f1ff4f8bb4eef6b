//! Messages of the sync protocol: CBOR, one to a frame, a request and its reply by turns.

use fai_core::object::{CommitId, Hash, Id};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// The version of the protocol spoken here.
pub const VERSION: u16 = 1;

/// A hash on the wire.
pub type WireHash = ByteArray<32>;

/// Which of the repositories that a peer serves.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Selector {
    /// The only one.
    #[n(0)]
    Only,
    /// By the name that the peer serves it under.
    #[n(1)]
    Name(#[n(0)] String),
    /// By its id.
    #[n(2)]
    Id(#[n(0)] WireHash),
}

/// A ref to move at the peer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Move {
    /// Its full name.
    #[n(0)]
    pub name: String,
    /// Where the sender believes it to be.
    #[n(1)]
    pub before: Option<WireHash>,
    /// Where it is to go.
    #[n(2)]
    pub after: WireHash,
    /// Also where that loses commits, as long as it is at `before`.
    #[n(3)]
    pub force: bool,
}

/// What the side that opened the stream says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// The first message.
    #[n(0)]
    Hello {
        /// The newest version spoken.
        #[n(0)]
        version: u16,
        /// The repository to talk about.
        #[n(1)]
        repository: Selector,
    },
    /// Which repositories are there?
    #[n(1)]
    List,
    /// The refs whose names come after `after`.
    #[n(2)]
    Refs {
        /// Empty for the first ones.
        #[n(0)]
        after: String,
    },
    /// Commits from `want` backwards, without going past `have`.
    #[n(3)]
    Commits {
        /// Commits that are missing.
        #[n(0)]
        want: Vec<WireHash>,
        /// Commits that are there, with all before them.
        #[n(1)]
        have: Vec<WireHash>,
    },
    /// Fetch from me what these refs lead to, and move them.
    #[n(4)]
    Push {
        /// They move all or none.
        #[n(0)]
        moves: Vec<Move>,
    },
}

/// A repository that a peer serves.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Served {
    /// Its id.
    #[n(0)]
    pub id: WireHash,
    /// The name it is served under.
    #[n(1)]
    pub name: String,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// No such repository, or none that this peer may read: the two look alike.
    #[n(0)]
    NotFound,
    /// Several repositories are served, and none was named.
    #[n(1)]
    Several,
    /// This peer may not write.
    #[n(2)]
    Forbidden,
    /// The ref is elsewhere, or moving it would lose commits.
    #[n(3)]
    NotForward,
    /// The files of that branch are changed there.
    #[n(4)]
    Unclean,
    /// A message that makes no sense here, or a version that is not spoken.
    #[n(5)]
    Protocol,
    /// Something failed at the peer.
    #[n(6)]
    Failed,
}

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// To [`Request::Hello`].
    #[n(0)]
    Welcome {
        /// The version to speak from now on.
        #[n(0)]
        version: u16,
        /// The repository.
        #[n(1)]
        repository: Served,
        /// The current branch, if there is one.
        #[n(2)]
        head: Option<String>,
        /// Whether the peer that asks may push.
        #[n(3)]
        may_write: bool,
    },
    /// To [`Request::List`].
    #[n(1)]
    Repositories(#[n(0)] Vec<Served>),
    /// To [`Request::Refs`]: sorted by name; an empty list ends them.
    #[n(2)]
    Refs(#[n(0)] Vec<(String, WireHash)>),
    /// To [`Request::Commits`]: encoded commits, children before parents. More may be needed.
    #[n(3)]
    Commits(#[n(0)] Vec<ByteVec>),
    /// To [`Request::Push`], now and then while it goes on.
    #[n(4)]
    Progress {
        /// Chunks received.
        #[n(0)]
        records: u64,
        /// Their raw bytes.
        #[n(1)]
        bytes: u64,
    },
    /// To [`Request::Push`]: the refs have moved.
    #[n(5)]
    Moved,
    /// To anything. The stream ends after it.
    #[n(6)]
    Refused {
        /// Why.
        #[n(0)]
        reason: Reason,
        /// The same in words, for people.
        #[n(1)]
        message: String,
    },
}

/// Hash as it stands in a message.
pub fn wire(hash: &Hash) -> WireHash {
    ByteArray::from(*hash.as_bytes())
}

/// A commit's id as it stands in a message.
pub fn wire_commit(id: &CommitId) -> WireHash {
    wire(id.hash())
}

/// The commit that a message names.
pub fn commit_of(hash: &WireHash) -> CommitId {
    CommitId::from_hash(hash_of(hash))
}

/// The hash in a message.
pub fn hash_of(hash: &WireHash) -> Hash {
    Hash::from_bytes(**hash)
}
