//! Records that come from elsewhere: checked before anything else sees them, then stored as they came.
//!
//! A chunk travels in the encoding in which its sender stores it. Whoever receives it decodes it once, to check it
//! against its id, and keeps the encoded bytes. For one that is a delta the caller brings the content of its base.

use super::record::{RecordHeader, max_raw_len};
use crate::codec::{Codec, CodecError, Decoder};
use crate::object::{Hash, Kind};

/// A record whose payload was decoded and found to be what its header says. Only [`Checker::check`] makes one.
#[derive(Debug)]
pub struct Received {
    header: RecordHeader,
    payload: Vec<u8>,
}

impl Received {
    /// What it is.
    pub fn header(&self) -> &RecordHeader {
        &self.header
    }

    /// Its encoded bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another record than the one asked for.
    #[error("it is record {found}, not {wanted}")]
    Other {
        /// The one asked for.
        wanted: Hash,
        /// The one that came.
        found: Hash,
    },
    /// Longer than its kind may be, or of another length than its header says.
    #[error("its length is impossible")]
    Length,
    /// A delta where something that stands alone was asked for, or the other way round, or no delta of a chunk.
    #[error("its encoding is not the one asked for")]
    Encoding,
    /// The payload cannot be decoded.
    #[error("it cannot be decoded: {0}")]
    Undecodable(String),
    /// The decoded bytes have another hash.
    #[error("its bytes are not those of record {0}")]
    Content(Hash),
}

/// Memory and decoder of one checking thread.
pub struct Checker {
    decoder: Decoder,
    raw: Vec<u8>,
}

impl Checker {
    /// A checker.
    ///
    /// # Errors
    /// When there is no memory for a decoder.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            decoder: Decoder::new()?,
            raw: Vec::new(),
        })
    }

    /// The raw bytes of the record checked last.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The raw bytes of the record checked last, for `instead`, which is used for the next one.
    pub fn take_raw(&mut self, instead: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.raw, instead)
    }

    /// Decodes a record that stands alone and compares it with `wanted`. Returns it with its raw bytes. What is allocated
    /// is bounded by the longest record of its kind.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(
        &mut self,
        wanted: &Hash,
        header: RecordHeader,
        payload: Vec<u8>,
    ) -> Result<(Received, &[u8]), Refusal> {
        self.check_with(wanted, header, payload, None)
    }

    /// The same for a chunk that is a delta; `base` are the raw bytes of the chunk that its header names.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check_against(
        &mut self,
        wanted: &Hash,
        header: RecordHeader,
        payload: Vec<u8>,
        base: &[u8],
    ) -> Result<(Received, &[u8]), Refusal> {
        self.check_with(wanted, header, payload, Some(base))
    }

    fn check_with(
        &mut self,
        wanted: &Hash,
        header: RecordHeader,
        payload: Vec<u8>,
        base: Option<&[u8]>,
    ) -> Result<(Received, &[u8]), Refusal> {
        if header.hash != *wanted {
            return Err(Refusal::Other {
                wanted: *wanted,
                found: header.hash,
            });
        }
        if u64::from(header.raw_len) > max_raw_len(header.kind) || header.encoded_len as usize != payload.len() {
            return Err(Refusal::Length);
        }
        let is_delta = header.codec == Codec::Delta && header.kind == Kind::Chunk && header.base.is_some();
        let stands_alone = header.codec != Codec::Delta && header.base.is_none();
        self.raw.resize(header.raw_len as usize, 0);
        let decoded = match base {
            None if stands_alone => self.decoder.decode(header.codec, &payload, &mut self.raw),
            Some(base) if is_delta => self.decoder.decode_against(&payload, base, &mut self.raw),
            _ => return Err(Refusal::Encoding),
        };
        decoded.map_err(|error| Refusal::Undecodable(error.to_string()))?;
        if header.kind.hash(&self.raw) != header.hash {
            return Err(Refusal::Content(header.hash));
        }
        Ok((Received { header, payload }, &self.raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encoder;
    use crate::tensor::Element;

    fn record(bytes: &[u8]) -> (RecordHeader, Vec<u8>) {
        let mut payload = Vec::new();
        let codec = Encoder::new().unwrap().encode(bytes, Element::Int32, &mut payload);
        let header = RecordHeader {
            kind: Kind::Chunk,
            codec,
            raw_len: bytes.len() as u32,
            encoded_len: payload.len() as u32,
            hash: Kind::Chunk.hash(bytes),
            base: None,
        };
        (header, payload)
    }

    #[test]
    fn what_is_right_passes_and_whatever_is_changed_does_not() {
        let bytes: Vec<u8> = (0..5000u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        let (header, payload) = record(&bytes);
        let mut checker = Checker::new().unwrap();
        let (received, raw) = checker.check(&header.hash, header, payload.clone()).unwrap();
        assert_eq!((received.payload(), raw), (&payload[..], &bytes[..]));
        for at in 0..payload.len() {
            let mut wrong = payload.clone();
            wrong[at] ^= 1;
            if let Ok((_, raw)) = checker.check(&header.hash, header, wrong) {
                assert_eq!(raw, bytes, "byte {at}: a payload may differ, its meaning may not");
            }
        }
        let other = Kind::Chunk.hash(b"other");
        assert!(matches!(
            checker.check(&other, header, payload.clone()),
            Err(Refusal::Other { .. })
        ));
        let kind = RecordHeader {
            kind: Kind::Tree,
            ..header
        };
        assert_eq!(
            checker.check(&header.hash, kind, payload.clone()).err(),
            Some(Refusal::Content(header.hash))
        );
        let long = RecordHeader {
            raw_len: u32::MAX,
            ..header
        };
        assert_eq!(
            checker.check(&header.hash, long, payload.clone()).err(),
            Some(Refusal::Length)
        );
        let delta = RecordHeader {
            codec: Codec::Delta,
            ..header
        };
        assert_eq!(
            checker.check(&header.hash, delta, payload).err(),
            Some(Refusal::Encoding)
        );
    }
}
