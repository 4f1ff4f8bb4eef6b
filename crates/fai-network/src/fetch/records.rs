//! Single objects, asked for one request at a time: what must be read to know what to ask for. Nothing is stored.

use fai_core::object::Id as _;
use fai_core::object::{DecodeError, Object};
use fai_core::storage::Checker;
use libp2p::{PeerId, Stream};

use super::link;
use super::remote::{Remote, failed};
use crate::session::bases::{Ask, Form};
use crate::session::plan::{Contradiction, Promise, Want};
use crate::wire::MAX_BATCH;
use crate::wire::frame;
use crate::wire::records::{Answer, encode_request, read_answer};
use crate::{Error, Node};

/// A stream of records.
pub(super) struct Records {
    peer: PeerId,
    stream: Stream,
    checker: Checker,
}

impl Records {
    /// Opens a stream to the peer and repository of `remote`.
    pub async fn open(node: &Node, remote: &Remote) -> Result<Self, Error> {
        let connection = remote.connection();
        let stream = link::open(node, connection.peer, connection.id, *remote.id.as_bytes())
            .await
            .map_err(failed(connection.peer))?;
        Ok(Self {
            peer: connection.peer,
            stream,
            checker: Checker::new().map_err(fai_core::repo::Error::from)?,
        })
    }

    /// Objects of one type, checked, in the order of `ids`.
    ///
    /// # Errors
    /// [`Error::Nowhere`] when the peer does not have one.
    pub async fn objects<T: Object>(&mut self, ids: &[T::Id], promise: Promise) -> Result<Vec<T>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for batch in ids.chunks(MAX_BATCH) {
            let request = encode_request(batch.iter().map(|id| (*id.hash(), Form::Any)));
            let asked = frame::write(&mut self.stream, &request).await;
            asked.map_err(failed(self.peer))?;
            for id in batch {
                let hash = *id.hash();
                found.push(self.object(Want { hash, promise }).await?);
            }
        }
        Ok(found)
    }

    async fn object<T: Object>(&mut self, want: Want) -> Result<T, Error> {
        let (peer, kind) = (self.peer, want.promise.kind());
        let form = Form::Any;
        match read_answer(&mut self.stream, &Ask { want, form })
            .await
            .map_err(failed(peer))?
        {
            // No object is offered, which was checked.
            Answer::Absent | Answer::Offer(_) => Err(Error::Nowhere {
                kind: kind.name(),
                hash: want.hash,
            }),
            Answer::Record(header, payload) => {
                let checked = self.checker.check(&want.hash, header, payload);
                let (_, raw) = checked.map_err(|refusal| Error::WrongData {
                    peer,
                    reason: format!("{} {}: {refusal}", kind.name(), want.hash.short()),
                })?;
                let invalid = |error: DecodeError| Contradiction {
                    kind,
                    hash: want.hash,
                    reason: error.to_string(),
                };
                Ok(T::decode(raw).map_err(invalid)?)
            }
        }
    }
}
