//! Record headers: what stands before every payload in a pack.

use crate::codec::Codec;
use crate::object::{Hash, Kind, MAX_CHUNK_LEN, MAX_OBJECT_LEN};

/// First bytes of every record.
pub(super) const MAGIC: [u8; 4] = *b"FREC";

/// Length of a header without a base.
pub(super) const PLAIN_LEN: usize = RecordHeader::PLAIN_LEN;

/// Length of a header with a base.
pub(super) const BASED_LEN: usize = RecordHeader::BASED_LEN;

/// What a record says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the raw bytes are.
    pub kind: Kind,
    /// How they are encoded.
    pub codec: Codec,
    /// Length of the raw bytes, at most [`max_raw_len`] of the kind.
    pub raw_len: u32,
    /// Length of the payload, at most `raw_len`.
    pub encoded_len: u32,
    /// Hash of the raw bytes in the domain of the kind.
    pub hash: Hash,
    /// The chunk that a delta is against; present exactly when the codec is `delta`.
    pub base: Option<Hash>,
}

/// Why bytes are no record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A kind or an encoding that this version does not know.
    #[error("{0}")]
    Unknown(&'static str),
    /// Not what any version writes.
    #[error("{0}")]
    Broken(&'static str),
}

/// The longest raw content that a record of this kind may have.
pub const fn max_raw_len(kind: Kind) -> u64 {
    match kind {
        Kind::Chunk => MAX_CHUNK_LEN,
        _ => MAX_OBJECT_LEN as u64,
    }
}

impl RecordHeader {
    /// Length of a header without a base.
    pub const PLAIN_LEN: usize = 52;

    /// Length of a header with a base.
    pub const BASED_LEN: usize = Self::PLAIN_LEN + Hash::LEN;

    /// Length of this header in a pack.
    pub const fn header_len(&self) -> usize {
        if self.base.is_some() { BASED_LEN } else { PLAIN_LEN }
    }

    /// Length of header and payload together.
    pub const fn record_len(&self) -> u64 {
        self.header_len() as u64 + self.encoded_len as u64
    }

    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[self.kind as u8, self.codec as u8, 0, 0]);
        out.extend_from_slice(&self.raw_len.to_le_bytes());
        out.extend_from_slice(&self.encoded_len.to_le_bytes());
        out.extend_from_slice(self.hash.as_bytes());
        if let Some(base) = &self.base {
            out.extend_from_slice(base.as_bytes());
        }
        let check = checksum(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&check);
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// When there is no valid header.
    pub fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (fixed, _) = bytes
            .split_first_chunk::<16>()
            .ok_or(HeaderError::Broken("it ends inside a record's header"))?;
        let [m0, m1, m2, m3, kind, codec, z0, z1, r0, r1, r2, r3, e0, e1, e2, e3] = *fixed;
        if [m0, m1, m2, m3] != MAGIC || [z0, z1] != [0, 0] {
            return Err(HeaderError::Broken("no record starts here"));
        }
        let kind = Kind::from_code(kind).ok_or(HeaderError::Unknown("a record of unknown kind"))?;
        let codec = Codec::from_code(codec).ok_or(HeaderError::Unknown("a record of unknown encoding"))?;
        let len = if codec == Codec::Delta { BASED_LEN } else { PLAIN_LEN };
        let (body, check) = bytes
            .get(..len)
            .and_then(|bytes| bytes.split_last_chunk::<4>())
            .ok_or(HeaderError::Broken("a cut header"))?;
        if checksum(body) != *check {
            return Err(HeaderError::Broken("the header's checksum is wrong"));
        }
        let hash_at = |at: usize| {
            body.get(at..at + Hash::LEN)
                .and_then(Hash::from_slice)
                .ok_or(HeaderError::Broken("a cut header"))
        };
        let header = RecordHeader {
            kind,
            codec,
            raw_len: u32::from_le_bytes([r0, r1, r2, r3]),
            encoded_len: u32::from_le_bytes([e0, e1, e2, e3]),
            hash: hash_at(16)?,
            base: if codec == Codec::Delta {
                Some(hash_at(16 + Hash::LEN)?)
            } else {
                None
            },
        };
        if u64::from(header.raw_len) > max_raw_len(kind) || header.encoded_len > header.raw_len {
            return Err(HeaderError::Broken("a record of impossible length"));
        }
        Ok(header)
    }
}

/// First four bytes of BLAKE3: enough to tell a header from chance, without one more dependency.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(codec: Codec) -> RecordHeader {
        let base = (codec == Codec::Delta).then(|| Kind::Chunk.hash(b"base"));
        RecordHeader {
            kind: Kind::Chunk,
            codec,
            raw_len: 1000,
            encoded_len: 10,
            hash: Kind::Chunk.hash(b"x"),
            base,
        }
    }

    #[test]
    fn headers_round_trip_and_notice_every_flipped_bit() {
        for codec in [Codec::Raw, Codec::Planes, Codec::Delta] {
            let mut bytes = Vec::new();
            header(codec).write(&mut bytes);
            assert_eq!(bytes.len(), header(codec).header_len());
            assert_eq!(RecordHeader::read(&bytes), Ok(header(codec)));
            for bit in 0..8 * bytes.len() {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(RecordHeader::read(&flipped).is_err(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert!(RecordHeader::read(&bytes[..len]).is_err());
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_allocated() {
        for (raw_len, encoded_len) in [(u32::MAX, 1), (10, 11)] {
            let mut bytes = Vec::new();
            RecordHeader {
                raw_len,
                encoded_len,
                ..header(Codec::Raw)
            }
            .write(&mut bytes);
            assert_eq!(
                RecordHeader::read(&bytes),
                Err(HeaderError::Broken("a record of impossible length"))
            );
        }
    }
}
