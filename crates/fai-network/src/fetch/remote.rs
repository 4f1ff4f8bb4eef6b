//! A conversation with a peer about one of its repositories.

use std::collections::HashSet;
use std::io;

use fai_core::object::{Commit, CommitId, Hash, Id, MAX_COMMIT_LEN};
use fai_core::repo::{RepositoryId, check_ref_name};
use libp2p::{PeerId, Stream};

use crate::wire::message::{
    Move, Reply, Request, Selector, Served, VERSION, WireHash, commit_of, hash_of, wire_commit,
};
use crate::wire::{MAX_MESSAGE, frame};
use crate::{Connection, Error, Node};

/// Most refs that are taken from a peer.
const MAX_REFS: usize = 1_000_000;

/// A peer and one repository of it.
#[derive(Debug)]
pub struct Remote {
    connection: Connection,
    stream: Stream,
    /// The repository's id.
    pub id: RepositoryId,
    /// The name that the peer serves it under.
    pub name: String,
    /// Its current branch.
    pub head: Option<String>,
    /// Whether this peer may push there.
    pub may_write: bool,
}

impl Remote {
    /// Begins the conversation.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such repository, or several and none was named.
    pub async fn open(node: &Node, connection: Connection, repository: Selector) -> Result<Self, Error> {
        let peer = connection.peer;
        let mut stream = node.open_sync(&connection).await.map_err(failed(peer))?;
        let hello = Request::Hello {
            version: VERSION,
            repository,
        };
        let selected = match &hello {
            Request::Hello {
                repository: Selector::Id(id),
                ..
            } => Some(*id),
            _ => None,
        };
        match exchange(peer, &mut stream, &hello).await? {
            Reply::Welcome {
                version: VERSION,
                repository: Served { id, name },
                head,
                may_write,
            } => {
                let protocol = |reason: &str| Error::Protocol {
                    peer,
                    reason: reason.to_owned(),
                };
                if head
                    .as_ref()
                    .is_some_and(|head| !head.starts_with("refs/heads/") || check_ref_name(head).is_err())
                {
                    return Err(protocol("its current branch has no valid name"));
                }
                if selected.is_some_and(|selected| selected != id) {
                    return Err(protocol("it talks about another repository than was asked for"));
                }
                Ok(Self {
                    connection,
                    stream,
                    id: RepositoryId::from_bytes(*id),
                    name: tame(&name),
                    head,
                    may_write,
                })
            }
            other => Err(unexpected(peer, &other)),
        }
    }

    /// The repositories that a peer serves, as far as this peer may read them.
    ///
    /// # Errors
    /// When the conversation fails.
    pub async fn list(node: &Node, connection: &Connection) -> Result<Vec<(String, RepositoryId)>, Error> {
        let peer = connection.peer;
        let mut stream = node.open_sync(connection).await.map_err(failed(peer))?;
        match exchange(peer, &mut stream, &Request::List).await? {
            Reply::Repositories(all) => Ok(all
                .iter()
                .map(|served| (tame(&served.name), RepositoryId::from_bytes(*served.id)))
                .collect()),
            other => Err(unexpected(peer, &other)),
        }
    }

    /// Fails unless the peer's repository is a copy of the one with this id.
    ///
    /// # Errors
    /// [`Error::OtherRepository`] when it is another one.
    pub fn must_be(&self, id: RepositoryId) -> Result<(), Error> {
        if self.id == id {
            return Ok(());
        }
        Err(Error::OtherRepository {
            peer: self.peer(),
            name: self.name.clone(),
        })
    }

    /// The connection that it goes over.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.connection.peer
    }

    /// All branches and tags.
    ///
    /// # Errors
    /// When the conversation fails, or a name is not one.
    pub async fn refs(&mut self) -> Result<Vec<(String, CommitId)>, Error> {
        let mut refs: Vec<(String, CommitId)> = Vec::new();
        loop {
            let after = refs.last().map(|(name, _)| name.clone()).unwrap_or_default();
            let found = match self.ask(&Request::Refs { after: after.clone() }).await? {
                Reply::Refs(found) => found,
                other => return Err(unexpected(self.peer(), &other)),
            };
            if found.is_empty() {
                return Ok(refs);
            }
            let mut last = after;
            for (name, commit) in found {
                if check_ref_name(&name).is_err() {
                    return Err(self.protocol(format!("it has a ref with the name {:?}", tame(&name))));
                }
                if name <= last || refs.len() >= MAX_REFS {
                    return Err(self.protocol("refs out of order, or too many".into()));
                }
                last.clone_from(&name);
                refs.push((name, commit_of(&commit)));
            }
        }
    }

    /// Commits from `want` backwards; each is one of `want` or a parent of one before it, and its hash was checked.
    ///
    /// # Errors
    /// When the conversation fails, or something else came.
    pub async fn commits(&mut self, want: &[CommitId], have: &[CommitId]) -> Result<Vec<(CommitId, Commit)>, Error> {
        let ids = |ids: &[CommitId]| ids.iter().map(wire_commit).collect::<Vec<WireHash>>();
        let request = Request::Commits {
            want: ids(want),
            have: ids(have),
        };
        let encoded = match self.ask(&request).await? {
            Reply::Commits(commits) => commits,
            other => return Err(unexpected(self.peer(), &other)),
        };
        let mut expected: HashSet<CommitId> = want.iter().copied().collect();
        let (mut commits, mut came) = (Vec::new(), HashSet::new());
        for bytes in encoded {
            let id = CommitId::of(&bytes);
            if bytes.len() > MAX_COMMIT_LEN || !expected.contains(&id) || !came.insert(id) {
                return Err(self.protocol(format!("commit {} was not asked for, or came twice", id.short())));
            }
            let commit = <Commit as fai_core::object::Object>::decode(&bytes).map_err(|error| {
                crate::session::plan::Contradiction {
                    kind: fai_core::object::Kind::Commit,
                    hash: *id.hash(),
                    reason: error.to_string(),
                }
            })?;
            expected.extend(commit.parents.iter().copied());
            commits.push((id, commit));
        }
        Ok(commits)
    }

    /// Asks the peer to fetch what `moves` lead to from here, and to move its refs. `progress` hears how many records
    /// and bytes it has.
    ///
    /// # Errors
    /// [`Error::Refused`] with its reason.
    pub async fn push(&mut self, moves: Vec<Move>, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
        let mut reply = self.ask(&Request::Push { moves }).await?;
        loop {
            match reply {
                Reply::Moved => return Ok(()),
                Reply::Progress { records, bytes } => progress(records, bytes),
                other => return Err(unexpected(self.peer(), &other)),
            }
            reply = receive(self.peer(), &mut self.stream).await?;
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        exchange(self.connection.peer, &mut self.stream, request).await
    }

    fn protocol(&self, reason: String) -> Error {
        Error::Protocol {
            peer: self.peer(),
            reason,
        }
    }
}

async fn exchange(peer: PeerId, stream: &mut Stream, request: &Request) -> Result<Reply, Error> {
    let bytes = minicbor::to_vec(request).map_err(|error| Error::Setup(error.to_string()))?;
    frame::write(stream, &bytes).await.map_err(failed(peer))?;
    receive(peer, stream).await
}

async fn receive(peer: PeerId, stream: &mut Stream) -> Result<Reply, Error> {
    let bytes = frame::read(stream, MAX_MESSAGE).await.map_err(failed(peer))?;
    let bytes = bytes.ok_or_else(|| failed(peer)(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer hung up")))?;
    match minicbor::decode(&bytes) {
        Ok(Reply::Refused { reason, message }) => Err(Error::Refused {
            peer,
            reason,
            message: tame(&message),
        }),
        Ok(reply) => Ok(reply),
        Err(error) => Err(Error::Protocol {
            peer,
            reason: error.to_string(),
        }),
    }
}

pub(super) fn failed(peer: PeerId) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::InvalidData => Error::Protocol {
            peer,
            reason: error.to_string(),
        },
        _ => Error::Connection {
            peer,
            reason: error.to_string(),
        },
    }
}

fn unexpected(peer: PeerId, reply: &Reply) -> Error {
    let reason = match reply {
        Reply::Welcome { version, .. } => format!("it speaks version {version}"),
        _ => "it answered something else than was asked".to_owned(),
    };
    Error::Protocol { peer, reason }
}

/// Text from a peer, as it may be shown: without control characters, and not endless.
fn tame(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// Hashes of a message.
pub(crate) fn hashes(list: &[WireHash]) -> Vec<Hash> {
    list.iter().map(hash_of).collect()
}
