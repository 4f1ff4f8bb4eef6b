//! Canonical CBOR (RFC 8949, section 4.2.1): writing it, and refusing everything else.
//!
//! Decoders of single objects live beside their types; this file has what they share.

use minicbor::{Decoder, Encoder};

use super::id::{Hash, Id};

/// The longest encoding of an object: 64 MiB, a folder of about a million entries.
pub const MAX_OBJECT_LEN: usize = 64 << 20;

/// Why bytes are not an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not well-formed CBOR of the expected shape.
    #[error("not a well-formed {object}: {reason}")]
    Malformed {
        /// The object being decoded.
        object: &'static str,
        /// What was met.
        reason: String,
    },
    /// Well-formed, but not the one encoding that this value has.
    #[error("this {0} is not in canonical form")]
    NotCanonical(&'static str),
    /// Breaks a rule of its type.
    #[error("invalid {object}: {reason}")]
    Invalid {
        /// The object being decoded.
        object: &'static str,
        /// The rule.
        reason: String,
    },
}

impl DecodeError {
    pub(super) fn invalid(object: &'static str, reason: impl Into<String>) -> Self {
        DecodeError::Invalid {
            object,
            reason: reason.into(),
        }
    }
}

/// The encoder of canonical objects: definite lengths and shortest heads, which is all that minicbor writes.
pub(super) type Writer<'a> = Encoder<&'a mut Vec<u8>>;

/// Runs `write` over a fresh buffer. Writing to memory cannot fail, so there is no error to return.
pub(super) fn encode(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
}

/// Bytes that the head of an integer, string, array or map with this argument takes.
pub(super) const fn head_len(argument: u64) -> usize {
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Decodes one value that fills `bytes` and checks that `reencode` gives the same bytes: whatever freedom CBOR
/// leaves (long heads, indefinite lengths, key order), exactly one form passes.
pub(super) fn decode<T>(
    object: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    reencode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, DecodeError> {
    if bytes.len() > MAX_OBJECT_LEN {
        return Err(DecodeError::invalid(
            object,
            format!("longer than {MAX_OBJECT_LEN} bytes"),
        ));
    }
    let mut reader = Reader {
        object,
        inner: Decoder::new(bytes),
    };
    let value = read(&mut reader)?;
    if reader.inner.position() != bytes.len() || reencode(&value) != bytes {
        return Err(DecodeError::NotCanonical(object));
    }
    Ok(value)
}

/// A decoder that knows what it decodes, for its errors.
pub(super) struct Reader<'b> {
    object: &'static str,
    inner: Decoder<'b>,
}

impl<'b> Reader<'b> {
    fn wrong(&self, error: &minicbor::decode::Error) -> DecodeError {
        DecodeError::Malformed {
            object: self.object,
            reason: error.to_string(),
        }
    }

    pub(super) fn invalid(&self, reason: impl Into<String>) -> DecodeError {
        DecodeError::invalid(self.object, reason)
    }

    /// The head of an array of exactly `count` items.
    pub(super) fn array_of(&mut self, count: u64) -> Result<(), DecodeError> {
        let found = self.array()?;
        if found == count {
            Ok(())
        } else {
            Err(self.invalid(format!("{found} fields where {count} belong")))
        }
    }

    /// The head of an array; every item takes a byte or more, so the count is at most the bytes left.
    pub(super) fn array(&mut self) -> Result<u64, DecodeError> {
        let count = self.inner.array().map_err(|error| self.wrong(&error))?;
        self.counted(count)
    }

    /// The head of a map.
    pub(super) fn map(&mut self) -> Result<u64, DecodeError> {
        let count = self.inner.map().map_err(|error| self.wrong(&error))?;
        self.counted(count)
    }

    fn counted(&self, count: Option<u64>) -> Result<u64, DecodeError> {
        let count = count.ok_or(DecodeError::NotCanonical(self.object))?;
        let left = self.inner.input().len().saturating_sub(self.inner.position()) as u64;
        if count <= left {
            Ok(count)
        } else {
            Err(self.invalid("a count beyond the end"))
        }
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.inner.u64().map_err(|error| self.wrong(&error))
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.inner.i64().map_err(|error| self.wrong(&error))
    }

    pub(super) fn text(&mut self) -> Result<&'b str, DecodeError> {
        self.inner.str().map_err(|error| self.wrong(&error))
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], DecodeError> {
        self.inner.bytes().map_err(|error| self.wrong(&error))
    }

    pub(super) fn hash(&mut self) -> Result<Hash, DecodeError> {
        let bytes = self.bytes()?;
        Hash::from_slice(bytes).ok_or_else(|| self.invalid(format!("an id of {} bytes", bytes.len())))
    }

    pub(super) fn id<I: Id>(&mut self) -> Result<I, DecodeError> {
        self.hash().map(I::from_hash)
    }

    pub(super) fn datatype(&mut self) -> Result<minicbor::data::Type, DecodeError> {
        self.inner.datatype().map_err(|error| self.wrong(&error))
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        self.inner.bool().map_err(|error| self.wrong(&error))
    }

    pub(super) fn null(&mut self) -> Result<(), DecodeError> {
        self.inner.null().map_err(|error| self.wrong(&error))
    }

    /// A float of any width; the caller's re-encoding checks that it was the shortest.
    pub(super) fn float(&mut self) -> Result<f64, DecodeError> {
        self.inner.f64().map_err(|error| self.wrong(&error))
    }
}
