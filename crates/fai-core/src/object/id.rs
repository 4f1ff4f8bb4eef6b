//! Ids: BLAKE3-256 hashes with a type, so that a tree's id cannot be taken for a commit's.

use std::fmt;
use std::str::FromStr;

/// Thirty-two bytes of BLAKE3 output, of whatever type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

/// What a stored record is. The discriminants are part of the pack format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A piece of a file's content.
    Chunk = 1,
    /// A page of a long manifest.
    Page = 2,
    /// A file.
    Manifest = 3,
    /// A folder.
    Tree = 4,
    /// A version.
    Commit = 5,
}

impl Kind {
    /// The kind whose discriminant is `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Kind::Chunk,
            2 => Kind::Page,
            3 => Kind::Manifest,
            4 => Kind::Tree,
            5 => Kind::Commit,
            _ => return None,
        })
    }

    /// The word people read.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Chunk => "chunk",
            Kind::Page => "page",
            Kind::Manifest => "file",
            Kind::Tree => "tree",
            Kind::Commit => "commit",
        }
    }

    /// Hash of `bytes` in this kind's domain.
    ///
    /// A chunk's id is the plain BLAKE3 of its bytes, so that any tool can check it. The others use BLAKE3's key
    /// derivation mode with a context of their own, so that no chunk and no object of another kind shares an id.
    pub fn hash(self, bytes: &[u8]) -> Hash {
        let context = match self {
            Kind::Chunk => return Hash(*blake3::hash(bytes).as_bytes()),
            Kind::Page => "fai v1 page",
            Kind::Manifest => "fai v1 manifest",
            Kind::Tree => "fai v1 tree",
            Kind::Commit => "fai v1 commit",
        };
        Hash(blake3::derive_key(context, bytes))
    }
}

/// An id of a particular kind of record.
pub trait Id: Copy + fmt::Display {
    /// The kind it names.
    const KIND: Kind;

    /// The id whose bytes are `hash`.
    fn from_hash(hash: Hash) -> Self;

    /// Its bytes.
    fn hash(&self) -> &Hash;

    /// The id of the record whose raw bytes are `bytes`.
    fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Self::KIND.hash(bytes))
    }
}

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: expected 64 hexadecimal digits")]
pub struct ParseIdError(pub String);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Wraps bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Wraps a slice of exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Hash {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseIdError(text.chars().take(80).collect());
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

macro_rules! id {
    ($name:ident, $kind:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Hash);

        impl Id for $name {
            const KIND: Kind = $kind;

            fn from_hash(hash: Hash) -> Self {
                Self(hash)
            }

            fn hash(&self) -> &Hash {
                &self.0
            }
        }

        id!(text $name);
    };
    (text $name:ident) => {
        impl $name {
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }

            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({})", stringify!($name), self.0.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    ChunkId,
    Kind::Chunk,
    "Id of a chunk: BLAKE3 of its raw bytes, never of an encoding of them."
);
id!(PageId, Kind::Page, "Id of a page of a manifest.");
id!(FileId, Kind::Manifest, "Id of a file: the hash of its manifest.");
id!(TreeId, Kind::Tree, "Id of a folder's tree.");
id!(CommitId, Kind::Commit, "Id of a commit.");

/// BLAKE3 of a file's whole content: what `b3sum` prints. Not the id of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(Hash);
id!(text ContentHash);

impl ContentHash {
    /// Wraps a hash.
    pub const fn from_hash(hash: Hash) -> Self {
        Self(hash)
    }

    /// Its bytes.
    pub const fn hash(&self) -> &Hash {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_domains_of_their_own() {
        let kinds = [Kind::Chunk, Kind::Page, Kind::Manifest, Kind::Tree, Kind::Commit];
        let mut hashes: Vec<Hash> = kinds.iter().map(|kind| kind.hash(b"same bytes")).collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), kinds.len());
        assert_eq!(
            Kind::Chunk.hash(b"x").to_string(),
            blake3::hash(b"x").to_hex().to_string()
        );
    }

    #[test]
    fn text_round_trips_and_rejects_the_rest() {
        let id = ChunkId::of(b"abc");
        assert_eq!(id.to_string().parse::<ChunkId>(), Ok(id));
        assert_eq!(id.short().len(), 8);
        for wrong in ["", "abcd", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert!(wrong.parse::<ChunkId>().is_err(), "{wrong}");
        }
    }
}
