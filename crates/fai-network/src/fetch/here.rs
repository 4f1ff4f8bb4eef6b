//! What lies on this side, as the plan asks for it.

use fai_core::object::{Hash, Kind};
use fai_core::repo::{Repository, Store};

use super::contents::Contents;
use crate::session::plan::Local;

/// The repository and the quarantine over it, as the plan sees them.
pub(super) struct Here<'a> {
    pub repository: &'a Repository,
    pub store: &'a Store,
    /// Learns of files whose chunks will come, though they themselves are here.
    pub contents: Contents<'a>,
}

impl Local for Here<'_> {
    type Error = fai_core::repo::Error;

    fn complete(&self, kind: Kind, hash: &Hash) -> Result<bool, Self::Error> {
        self.repository.store().has_here(kind, hash)
    }

    fn object(&self, kind: Kind, hash: &Hash) -> Result<Vec<u8>, Self::Error> {
        let bytes = self.repository.store().with(kind, hash, |bytes, _| bytes.to_vec())?;
        self.contents.object(kind, *hash, &bytes);
        Ok(bytes)
    }

    fn quarantined(&self, kind: Kind, hash: &Hash) -> Result<Option<Vec<u8>>, Self::Error> {
        if self.store.has_here(kind, hash)? {
            let bytes = self.store.with(kind, hash, |bytes, _| bytes.to_vec())?;
            self.contents.object(kind, *hash, &bytes);
            Ok(Some(bytes))
        } else {
            Ok(None)
        }
    }

    fn has_chunk(&self, hash: &Hash) -> Result<bool, Self::Error> {
        self.store.has_here(Kind::Chunk, hash)
    }
    fn depth(&self, chunk: &Hash) -> Result<Option<usize>, Self::Error> {
        self.store.depth(chunk)
    }
}
