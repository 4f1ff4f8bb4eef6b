//! Streams of records: a request is a batch of hashes; the answers are read on a thread and written as the peer takes
//! them.

use std::io;
use std::sync::Arc;

use fai_core::object::Hash;
use libp2p::{PeerId, Stream};

use super::{Happening, Offer, Permission, Shared, answer, off_thread};
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
            // Asked again for every request, so that taking a right away holds at once.
            if (offer.permit)(&peer) < Permission::Read {
                return Err(wrong("no such repository"));
            }
            let hashes = decode_request(&request).ok_or_else(|| wrong("no request for records"))?;
            let mut rest = hashes;
            let mut next = Some(self.read_piece(&offer, &mut rest).await?);
            while let Some((piece, count)) = next {
                // The next piece is read while this one is taken, and nothing is held for a peer that takes its time.
                let reading = async {
                    match rest.is_empty() {
                        true => Ok(None),
                        false => self.read_piece(&offer, &mut rest).await.map(Some),
                    }
                };
                let (read, written) = futures::future::join(reading, write_answers(stream, &piece)).await;
                written?;
                *records += count;
                *bytes += piece.len() as u64;
                next = read?;
            }
            frame::flush(stream).await?;
        }
        Ok(())
    }

    /// Reads answers to the first of `hashes`, about [`PIECE`] bytes of them, and how many are records.
    async fn read_piece(&self, offer: &Offer, hashes: &mut Vec<Hash>) -> io::Result<(Vec<u8>, u64)> {
        let _turn = self.readers.acquire().await.map_err(io::Error::other)?;
        let (repository, asked) = (Arc::clone(&offer.repository), std::mem::take(hashes));
        let reading = move || {
            let (piece, count, answered) = answer::records(&repository, &asked, PIECE)?;
            Ok((piece, count, asked.get(answered..).unwrap_or_default().to_vec()))
        };
        let (piece, count, rest) = off_thread(reading).await.map_err(io::Error::other)?;
        *hashes = rest;
        Ok((piece, count))
    }
}
