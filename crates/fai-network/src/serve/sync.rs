//! Conversations about a repository: who is there, which refs, which commits.

use std::sync::Arc;

use fai_core::repo::Head;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use minicbor::bytes::ByteVec;

use super::budget::Share;
use super::busy::soon;
use super::{Happening, Offer, Permission, Shared, answer, off_thread};
use crate::Connection;
use crate::wire::message::{Reason, Reply, Request, Selector, Served, VERSION, wire, wire_commit};
use crate::wire::{MAX_MESSAGE, PATIENCE, frame};

/// A refusal in the making.
type Refusal = (Reason, String);

impl Shared {
    pub(super) async fn talk(&self, peer: PeerId, connection: ConnectionId, mut stream: Stream, share: &Share) {
        if let Err(error) = self.converse(peer, connection, &mut stream, share).await {
            self.tell(Happening::Failed {
                peer,
                reason: error.to_string(),
            });
        }
    }

    async fn converse(
        &self,
        peer: PeerId,
        connection: ConnectionId,
        stream: &mut Stream,
        share: &Share,
    ) -> std::io::Result<()> {
        let mut offer: Option<Offer> = None;
        while let Some((bytes, question)) =
            frame::read_within(stream, MAX_MESSAGE, PATIENCE, |len| share.question(len)).await?
        {
            let request = minicbor::decode::<Request>(&bytes);
            drop(bytes);
            // Until the reply is taken; a push takes its time and little memory.
            let mut held = None;
            let answered = match (request, &offer) {
                (Ok(Request::Push { moves }), Some(offer)) => {
                    let back = Connection {
                        peer,
                        id: connection,
                        address: libp2p::Multiaddr::empty(),
                    };
                    self.receive(back, offer, moves, stream).await
                }
                (Ok(request), _) => {
                    let answer = async {
                        held = Some(share.take(MAX_MESSAGE as u64).await?);
                        Ok(self.answer(peer, &mut offer, request).await)
                    };
                    soon(answer).await.unwrap_or_else(|error| Err(failed(&error)))
                }
                (Err(error), _) => Err((Reason::Protocol, error.to_string())),
            };
            match answered {
                Ok(reply) => say(stream, &reply).await?,
                Err((reason, message)) => {
                    self.tell(Happening::Failed {
                        peer,
                        reason: message.clone(),
                    });
                    return say(stream, &Reply::Refused { reason, message }).await;
                }
            }
            drop((held, question));
        }
        Ok(())
    }

    async fn answer(&self, peer: PeerId, offer: &mut Option<Offer>, request: Request) -> Result<Reply, Refusal> {
        match request {
            Request::List => Ok(Reply::Repositories(self.readable(&peer).filter_map(served).collect())),
            Request::Hello { version, repository } => {
                if version < VERSION {
                    let message = format!("version {version} of the protocol is not spoken here");
                    return Err((Reason::Protocol, message));
                }
                let found = self.find(&peer, &repository).map_err(|several| match several {
                    true => (Reason::Several, self.names(&peer)),
                    false => (Reason::NotFound, not_found(&repository)),
                })?;
                *offer = Some(found.clone());
                self.tell(Happening::Asked {
                    peer,
                    repository: found.name.clone(),
                });
                let head = match found.repository.head().map_err(|error| failed(&error))? {
                    Head::Branch(name) => Some(name),
                    Head::Detached(_) => None,
                };
                Ok(Reply::Welcome {
                    version: VERSION,
                    repository: served(found).ok_or_else(|| (Reason::Failed, "its id cannot be read".to_owned()))?,
                    head,
                    may_write: (found.permit)(&peer) >= Permission::Write,
                })
            }
            other => {
                let Some(offer) = offer else {
                    return Err((Reason::Protocol, "say hello first".into()));
                };
                if (offer.permit)(&peer) < Permission::Read {
                    return Err((Reason::NotFound, not_found(&Selector::Only)));
                }
                self.answer_about(offer, other).await
            }
        }
    }

    async fn answer_about(&self, offer: &Offer, request: Request) -> Result<Reply, Refusal> {
        let repository = Arc::clone(&offer.repository);
        let turn = self.turn().await.map_err(|error| failed(&error))?;
        match request {
            Request::Refs { after } => {
                let read = move || {
                    let _turn = turn;
                    Ok(answer::refs(&repository, &after)?)
                };
                let refs = off_thread(read).await.map_err(|error| failed(&error))?;
                let wired = refs.into_iter().map(|(name, commit)| (name, wire_commit(&commit)));
                Ok(Reply::Refs(wired.collect()))
            }
            Request::Commits { want, have } => {
                let (want, have) = (crate::fetch::hashes(&want), crate::fetch::hashes(&have));
                let read = move || {
                    let _turn = turn;
                    Ok(answer::commits(&repository, &want, &have)?)
                };
                let commits = off_thread(read).await.map_err(|error| failed(&error))?;
                Ok(Reply::Commits(commits.into_iter().map(ByteVec::from).collect()))
            }
            _ => Err((Reason::Protocol, "a message that makes no sense here".into())),
        }
    }

    fn names(&self, peer: &PeerId) -> String {
        let names: Vec<&str> = self.readable(peer).map(|offer| offer.name.as_str()).collect();
        format!("several repositories are served here: {}", names.join(", "))
    }
}

pub(super) async fn say(stream: &mut Stream, reply: &Reply) -> std::io::Result<()> {
    let bytes = minicbor::to_vec(reply).map_err(std::io::Error::other)?;
    frame::write(stream, &bytes).await
}

fn served(offer: &Offer) -> Option<Served> {
    Some(Served {
        id: wire(&fai_core::object::Hash::from_bytes(*offer.id()?.as_bytes())),
        name: offer.name.clone(),
    })
}

pub(super) fn not_found(selector: &Selector) -> String {
    match selector {
        Selector::Only => "no repository is served here".to_owned(),
        Selector::Name(name) => {
            let shown: String = name.chars().take(100).collect();
            format!("no repository {shown:?} is served here")
        }
        Selector::Id(_) => "that repository is not served here".to_owned(),
    }
}

fn failed(error: &impl std::fmt::Display) -> Refusal {
    (Reason::Failed, error.to_string())
}
