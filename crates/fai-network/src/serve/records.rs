//! Streams of records: a request is a batch of hashes; the answers are read on a thread and written as the peer takes
//! them.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use fai_core::object::Hash;
use fai_core::repo::Reencoder;
use libp2p::{PeerId, Stream};

use super::budget::{Held, Share};
use super::busy::{meanwhile, soon};
use super::{Happening, Offer, Permission, Shared, answer, off_thread};
use crate::session::bases::Form;
use crate::wire::message::Selector;
use crate::wire::records::{MAX_REQUEST, decode_request, write_answers};
use crate::wire::{MAX_MESSAGE, SILENCE, frame};

/// Bytes of records that are read before they are written.
const PIECE: usize = 1 << 20;

/// Memory that a piece may need while it is read: itself, with a chunk at its end, and that chunk once more.
const PIECE_MEMORY: u64 = 6 << 20;

/// Memory that it needs beside that to encode chunks anew: an encoder, a chunk, its base, and what they are read from.
const REENCODING: u64 = 12 << 20;

/// The longest piece: with room for a chunk at its end. A longer record is a piece by itself.
const PIECE_MOST: u64 = 4 << 20;

/// Answers that were read and wait to be written.
struct Piece {
    bytes: Vec<u8>,
    records: u64,
    /// The memory that it takes, until it is written.
    _held: Held,
}

impl Shared {
    pub(super) async fn send_records(&self, peer: PeerId, mut stream: Stream, share: &Share) {
        let (mut records, mut bytes) = (0, 0);
        let result = self
            .answer_records(peer, &mut stream, share, &mut records, &mut bytes)
            .await;
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
        share: &Share,
        records: &mut u64,
        bytes: &mut u64,
    ) -> io::Result<()> {
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let room = |len| share.question(len);
        let Some((first, room)) = frame::read_within(stream, MAX_MESSAGE, SILENCE, room).await? else {
            return Ok(());
        };
        let selector: Selector = minicbor::decode(&first).map_err(|error| wrong(&error.to_string()))?;
        // Whoever may not read it is cut off, as from a repository that is not there.
        let offer = self
            .find(&peer, &selector)
            .map_err(|_| wrong("no such repository"))?
            .clone();
        drop((first, selector, room));
        while let Some(request) = frame::read_patiently(stream, MAX_REQUEST).await? {
            // Asked again for every request, so that taking a right away holds at once.
            if (offer.permit)(&peer) < Permission::Read {
                return Err(wrong("no such repository"));
            }
            let mut rest = decode_request(&request).ok_or_else(|| wrong("no request for records"))?;
            let mut next = Some(soon(self.read_piece(&offer, share, &mut rest)).await?);
            while let Some(piece) = next {
                // The next piece is read while this one is taken, and nothing is held for a peer that takes its time.
                let reading = async {
                    match rest.is_empty() {
                        true => Ok(None),
                        false => self.read_piece(&offer, share, &mut rest).await.map(Some),
                    }
                };
                let (count, len) = (piece.records, piece.bytes.len() as u64);
                let writing = async {
                    let written = write_answers(stream, &piece.bytes).await;
                    // At once: the next one may be waiting for this room.
                    drop(piece);
                    written
                };
                let read = meanwhile(reading, writing).await?;
                *records += count;
                *bytes += len;
                offer.sent.fetch_add(len, Ordering::Relaxed);
                next = read?;
            }
            frame::flush(stream).await?;
        }
        Ok(())
    }

    /// Reads answers to the first of `asks`, about [`PIECE`] bytes of them.
    async fn read_piece(&self, offer: &Offer, share: &Share, asks: &mut Vec<(Hash, Form)>) -> io::Result<Piece> {
        let (mut memory, mut most) = (PIECE_MEMORY, PIECE_MOST);
        let anew = asks.iter().any(|(_, form)| *form == Form::Alone);
        loop {
            let held = share.take(memory + if anew { REENCODING } else { 0 }).await?;
            let encoding = match anew {
                true => Some((share.encode().await?, self.reencoder()?)),
                false => None,
            };
            let turn = self.turn().await?;
            let (repository, asked) = (Arc::clone(&offer.repository), std::mem::take(asks));
            let reading = move || {
                let (permit, mut reencoder) = encoding.unzip();
                let answers = answer::records(&repository, &asked, PIECE, most, reencoder.as_mut())?;
                drop((permit, turn));
                Ok((answers, asked, reencoder, held))
            };
            let (answers, asked, reencoder, mut held) = off_thread(reading).await.map_err(io::Error::other)?;
            self.idle_reencoders().extend(reencoder);
            *asks = asked.get(answers.hashes..).unwrap_or_default().to_vec();
            match answers.too_long {
                Some(len) => (memory, most) = (len, len),
                None => {
                    held.shrink_to(answers.bytes.capacity() as u64);
                    return Ok(Piece {
                        bytes: answers.bytes,
                        records: answers.records,
                        _held: held,
                    });
                }
            }
        }
    }

    /// One that was used before, or a new one: there are never more than may be at work.
    fn reencoder(&self) -> io::Result<Reencoder> {
        let idle = self.idle_reencoders().pop();
        idle.map_or_else(Reencoder::new, Ok).map_err(io::Error::other)
    }

    fn idle_reencoders(&self) -> MutexGuard<'_, Vec<Reencoder>> {
        self.reencoders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
