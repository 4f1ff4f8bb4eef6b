//! The records protocol: requests are frames of hashes, answers are records as they stand in packs, in the order of the
//! hashes. A record that is not there is answered by a mark and its hash.

use std::io;

use fai_core::codec::Codec;
use fai_core::object::Hash;
use fai_core::storage::RecordHeader;
use futures::{AsyncRead, AsyncWrite};

use super::{MAX_BATCH, frame};
use crate::session::plan::Want;

/// Stands where a record's magic number would, before the hash of a record that is not there.
const ABSENT: [u8; 4] = *b"FNON";

/// Bytes that are asked of memory at once while a payload comes in.
const STEP: usize = 1 << 20;

/// One answer.
#[derive(Debug)]
pub enum Answer {
    /// The record. Its header is well-formed; its payload was not looked at.
    Record(RecordHeader, Vec<u8>),
    /// The peer does not have it.
    Absent,
}

/// Encodes a request.
pub fn encode_request(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Decodes a request; `None` when it is none.
pub fn decode_request(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    let fits = rest.is_empty() && (1..=MAX_BATCH).contains(&hashes.len());
    fits.then(|| hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect())
}

/// The bytes of the longest request.
pub const MAX_REQUEST: usize = MAX_BATCH * Hash::LEN;

/// Appends the answer that a record is not there.
pub fn write_absent(hash: &Hash, out: &mut Vec<u8>) {
    out.extend_from_slice(&ABSENT);
    out.extend_from_slice(hash.as_bytes());
}

/// Reads the answer to the request for `want`. Nothing is allocated for a record that was not asked for, and memory
/// grows only with what really comes.
///
/// # Errors
/// When the stream is cut or silent, or the answer is to something else.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin), want: &Want) -> io::Result<Answer> {
    let wanted = &want.hash;
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut head = vec![0; ABSENT.len() + Hash::LEN];
    frame::fill(stream, &mut head).await?;
    if let Some(hash) = head.strip_prefix(&ABSENT) {
        return match hash == wanted.as_bytes() {
            true => Ok(Answer::Absent),
            false => Err(wrong("an answer to something that was not asked".into())),
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
    if header.hash != *wanted || header.kind != want.promise.kind() {
        return Err(wrong("a record that was not asked for".into()));
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
