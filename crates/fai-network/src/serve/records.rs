//! Streams of records: a request is a batch of hashes; the answers are read on a thread and written as the peer takes
//! them.

use std::io;
use std::sync::Arc;

use libp2p::{PeerId, Stream};
use tokio::sync::mpsc;

use super::{Happening, Offer, Shared, answer, off_thread};
use crate::Error;
use crate::wire::message::Selector;
use crate::wire::records::{MAX_REQUEST, decode_request, write_answers};
use crate::wire::{MAX_MESSAGE, frame};

/// Bytes of records that are read before they are written.
const PIECE: usize = 1 << 20;

impl Shared {
    pub(super) async fn send_records(&self, peer: PeerId, mut stream: Stream) {
        let (mut records, mut bytes) = (0, 0);
        let result = self.answer_records(peer, &mut stream, &mut records, &mut bytes).await;
        if records > 0 {
            self.tell(Happening::Sent { peer, records, bytes });
        }
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "a stream of records ended");
        }
    }

    async fn answer_records(
        &self,
        peer: PeerId,
        stream: &mut Stream,
        records: &mut u64,
        bytes: &mut u64,
    ) -> io::Result<()> {
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let Some(first) = frame::read(stream, MAX_MESSAGE).await? else {
            return Ok(());
        };
        let selector: Selector = minicbor::decode(&first).map_err(|error| wrong(&error.to_string()))?;
        // Whoever may not read it is cut off, as from a repository that is not there.
        let offer = self
            .find(&peer, &selector)
            .map_err(|_| wrong("no such repository"))?
            .clone();
        while let Some(request) = frame::read_patiently(stream, MAX_REQUEST).await? {
            let hashes = decode_request(&request).ok_or_else(|| wrong("no request for records"))?;
            let _turn = self.readers.acquire().await.map_err(io::Error::other)?;
            let (send, mut pieces) = mpsc::channel::<(Vec<u8>, u64)>(1);
            let Offer { repository, .. } = &offer;
            let repository = Arc::clone(repository);
            let reading = off_thread(move || {
                answer::records(&repository, &hashes, PIECE, |piece, count| {
                    send.blocking_send((piece, count)).is_ok()
                })
                .map_err(Error::from)
            });
            let writing = async {
                while let Some((piece, count)) = pieces.recv().await {
                    write_answers(stream, &piece).await?;
                    *records += count;
                    *bytes += piece.len() as u64;
                }
                frame::flush(stream).await
            };
            let (read, written) = futures::future::join(reading, writing).await;
            written?;
            read.map_err(io::Error::other)?;
        }
        Ok(())
    }
}
