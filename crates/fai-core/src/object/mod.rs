//! Objects: what a repository is made of, as plain types and their one canonical encoding.
//!
//! A file is a [`Manifest`] over chunks, a folder is a [`Tree`], a version is a [`Commit`]. Objects are named
//! by the hash of their encoding and never change. Where they are stored is not here.
//! The bytes are specified in `docs/format.md`.

mod cbor;
mod commit;
mod id;
mod manifest;
mod name;
mod path;
mod tree;
mod value;

pub use cbor::{DecodeError, MAX_OBJECT_LEN};
pub use commit::{Author, Commit, MAX_COMMIT_LEN, MAX_PARENTS, Time};
pub use id::{ChunkId, CommitId, ContentHash, FileId, Hash, Id, Kind, PageId, ParseIdError, TreeId};
pub use manifest::{Extent, MAX_CHUNK_LEN, MAX_LEVEL, Manifest, ManifestBuilder, NODE_ENTRIES, Page};
pub use name::{NameError, check_name, fold_name};
pub use path::{MAX_PATH_LEN, PathError, RepoPath};
pub use tree::{EntryKind, Tree, TreeEntry};
pub use value::Value;

/// A value with one canonical encoding and an id derived from it.
pub trait Object: Sized {
    /// The type of its id.
    type Id: Id;

    /// The canonical encoding.
    fn encode(&self) -> Vec<u8>;

    /// Decodes `bytes`, accepting only the canonical encoding of a valid value.
    ///
    /// # Errors
    /// When `bytes` is anything else; the error says which rule was broken.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The id: the hash of the encoding in the domain of this type.
    fn id(&self) -> Self::Id {
        Self::Id::of(&self.encode())
    }
}
