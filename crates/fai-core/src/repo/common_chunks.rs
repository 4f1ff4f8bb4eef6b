//! How much of a file's content is in chunks that its old version has too, and the bytes of either version. What the
//! content is, is not known here.

use std::collections::HashSet;

use super::diff::{ChangedFile, Side};
use super::same_bytes::too_many_chunks;
use super::worktree::open_regular;
use super::{Error, Repository};
use crate::object::{Hash, RepoPath};
use crate::tensor::{FileSource, ReadAt};

/// What two versions of a file have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommonChunks {
    /// Bytes of the new version in chunks that the old one has, wherever.
    pub bytes: u64,
    /// Chunks of the new version that the old one has.
    pub chunks: u64,
    /// Chunks of the new version.
    pub of_chunks: u64,
}

impl Repository {
    /// What the two versions of a file have in common. `None` when one side is missing, only on disk, or has too many
    /// chunks to look at.
    ///
    /// # Errors
    /// When manifests are missing or damaged.
    pub fn shared_bytes(&self, file: &ChangedFile) -> Result<Option<CommonChunks>, Error> {
        let stored = |side: Option<Side>| side.and_then(|side| side.file);
        let (Some(old), Some(new)) = (stored(file.old), stored(file.new)) else {
            return Ok(None);
        };
        let (old, new) = (self.open_file(old)?, self.open_file(new)?);
        if too_many_chunks(old.manifest()) || too_many_chunks(new.manifest()) {
            return Ok(None);
        }
        let mut known: HashSet<Hash> = HashSet::new();
        old.for_each_chunk(&mut |_, extent| -> Result<(), Error> {
            known.insert(extent.hash);
            Ok(())
        })?;
        let mut common = CommonChunks::default();
        new.for_each_chunk(&mut |_, extent| -> Result<(), Error> {
            common.of_chunks += 1;
            if known.contains(&extent.hash) {
                common.chunks += 1;
                common.bytes += extent.len;
            }
            Ok(())
        })?;
        Ok(Some(common))
    }

    /// Opens the file of a side for reading at any offset. `path` is the file's path in the side's version.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_side(&self, side: &Side, path: &RepoPath) -> Result<Box<dyn ReadAt + '_>, Error> {
        match side.file {
            Some(file) => Ok(Box::new(self.open_file(file)?)),
            None => {
                let absolute = path.below(self.need_worktree("diff")?);
                let source = open_regular(&absolute).and_then(FileSource::new);
                Ok(Box::new(source.map_err(Error::io("read", &absolute))?))
            }
        }
    }
}
