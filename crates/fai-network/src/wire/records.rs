//! The records protocol: requests are frames of hashes, each with the form in which its record is wanted. Answers are records
//! as they stand in packs, in the order of the hashes. A record that is not there is answered by a mark, one that is stored in
//! another form by an offer.

use std::io;

use fai_core::codec::Codec;
use fai_core::object::Hash;
use fai_core::storage::RecordHeader;
use futures::{AsyncRead, AsyncWrite};

use super::{MAX_BATCH, frame};
use crate::session::bases::{Ask, Form, Offer};

/// Stands where a record's magic number would, before the hash of a record that is not there.
const ABSENT: [u8; 4] = *b"FNON";

/// The same before the hash of a chunk that is offered, the hash of its base, and its encoded length.
const OFFER: [u8; 4] = *b"FDEL";

/// The length of an offer.
pub const OFFER_LEN: u64 = 4 + 2 * Hash::LEN as u64 + 4;

/// What stands before a hash in a request.
const ANY: u8 = 0;
const AGAINST: u8 = 1;
const ALONE: u8 = 2;

/// Bytes that are asked of memory at once while a payload comes in.
const STEP: usize = 1 << 20;

/// One answer.
#[derive(Debug)]
pub enum Answer {
    /// The record. Its header is well-formed; its payload was not looked at.
    Record(RecordHeader, Vec<u8>),
    /// The peer has it as a delta against that chunk.
    Offer(Offer),
    /// The peer does not have it.
    Absent,
}

/// Encodes a request.
pub fn encode_request(asks: impl IntoIterator<Item = (Hash, Form)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (hash, form) in asks {
        let (code, base) = match form {
            Form::Any => (ANY, None),
            Form::Against(base) => (AGAINST, Some(base)),
            Form::Alone => (ALONE, None),
        };
        out.push(code);
        out.extend_from_slice(hash.as_bytes());
        out.extend(base.iter().flat_map(Hash::as_bytes));
    }
    out
}

/// Decodes a request; `None` when it is none.
pub fn decode_request(mut bytes: &[u8]) -> Option<Vec<(Hash, Form)>> {
    let mut asks = Vec::new();
    while let Some((code, rest)) = bytes.split_first() {
        let (hash, rest) = rest.split_first_chunk::<{ Hash::LEN }>()?;
        let (form, rest) = match *code {
            ANY => (Form::Any, rest),
            AGAINST => {
                let (base, rest) = rest.split_first_chunk::<{ Hash::LEN }>()?;
                (Form::Against(Hash::from_bytes(*base)), rest)
            }
            ALONE => (Form::Alone, rest),
            _ => return None,
        };
        asks.push((Hash::from_bytes(*hash), form));
        bytes = rest;
    }
    (1..=MAX_BATCH).contains(&asks.len()).then_some(asks)
}

/// The bytes of the longest request.
pub const MAX_REQUEST: usize = MAX_BATCH * (1 + 2 * Hash::LEN);

/// Appends the answer that a record is not there.
pub fn write_absent(hash: &Hash, out: &mut Vec<u8>) {
    out.extend_from_slice(&ABSENT);
    out.extend_from_slice(hash.as_bytes());
}

/// Appends the answer that a chunk is stored as a delta.
pub fn write_offer(hash: &Hash, offer: &Offer, out: &mut Vec<u8>) {
    out.extend_from_slice(&OFFER);
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(offer.base.as_bytes());
    out.extend_from_slice(&offer.len.to_le_bytes());
}

/// Reads the answer to `ask`. Nothing is allocated for a record that was not asked for, or not so, and memory grows only
/// with what really comes.
///
/// # Errors
/// When the stream is cut or silent, or the answer is to something else.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin), ask: &Ask) -> io::Result<Answer> {
    let wanted = &ask.want.hash;
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut head = vec![0; ABSENT.len() + Hash::LEN];
    frame::fill(stream, &mut head).await?;
    if let Some(hash) = head.strip_prefix(&ABSENT) {
        return match hash == wanted.as_bytes() {
            true => Ok(Answer::Absent),
            false => Err(wrong("an answer to something that was not asked".into())),
        };
    }
    if let Some(hash) = head.strip_prefix(&OFFER) {
        let mut rest = [0; Hash::LEN + 4];
        frame::fill(stream, &mut rest).await?;
        let [base @ .., l0, l1, l2, l3] = rest;
        let offer = Offer {
            base: Hash::from_bytes(base),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        };
        return match hash == wanted.as_bytes() && ask.permits(&offer) {
            true => Ok(Answer::Offer(offer)),
            false => Err(wrong("an offer that answers nothing that was asked".into())),
        };
    }
    let based = head.get(5) == Some(&(Codec::Delta as u8));
    let len = if based {
        RecordHeader::BASED_LEN
    } else {
        RecordHeader::PLAIN_LEN
    };
    let had = head.len();
    head.resize(len, 0);
    frame::fill(stream, head.get_mut(had..).unwrap_or_default()).await?;
    let header = RecordHeader::read(&head).map_err(|reason| wrong(format!("no record: {reason}")))?;
    // Its lengths were bounded with its header. Whether they are those that its file promised is the file's affair.
    if header.hash != *wanted || header.kind != ask.want.promise.kind() {
        return Err(wrong("a record that was not asked for".into()));
    }
    if !ask.permits_base(header.kind, header.base.as_ref()) {
        return Err(wrong("a record in a form that was not asked for".into()));
    }
    let total = header.encoded_len as usize;
    let mut payload = Vec::with_capacity(total.min(2 * STEP));
    while payload.len() < total {
        let start = payload.len();
        payload.resize(total.min(start + STEP), 0);
        frame::fill(stream, payload.get_mut(start..).unwrap_or_default()).await?;
    }
    Ok(Answer::Record(header, payload))
}

/// Writes answers that were put together in `bytes`.
///
/// # Errors
/// When the stream fails or the peer takes nothing.
pub async fn write_answers(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    frame::send(stream, bytes).await
}
