//! `chunks`: how a file is cut and stored.

use super::{Error, Repository};
use crate::codec::Codec;
use crate::object::{ChunkId, FileId, Kind};

/// A file's chunks.
#[derive(Debug, Clone)]
pub struct ChunkList {
    /// The file.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that its distinct chunks take in packs, record headers included.
    pub stored_bytes: u64,
    /// The chunks in order.
    pub chunks: Vec<ChunkInfo>,
}

/// A chunk of a file.
#[derive(Debug, Clone)]
pub struct ChunkInfo {
    /// Its id.
    pub id: ChunkId,
    /// Where it lies in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Bytes that it takes in a pack, record header included.
    pub stored_bytes: u64,
    /// How it is encoded.
    pub encoding: Codec,
    /// The tensor that holds its first byte, if one does.
    pub tensor: Option<String>,
}

impl Repository {
    /// The chunks of a stored file.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn chunks(&self, file: FileId) -> Result<ChunkList, Error> {
        let reader = self.open_file(file)?;
        let mut tensors = self.tensors_of(&reader)?;
        tensors.sort_by_key(|tensor| tensor.start);
        let mut chunks = Vec::new();
        reader.for_each_chunk(&mut |offset, extent| -> Result<(), Error> {
            let location = self.store.locate(Kind::Chunk, &extent.hash)?;
            let before = tensors.partition_point(|tensor| tensor.start <= offset);
            let holder = before.checked_sub(1).and_then(|index| tensors.get(index));
            chunks.push(ChunkInfo {
                id: extent.chunk(),
                offset,
                size: extent.len,
                stored_bytes: location.header.record_len(),
                encoding: location.header.codec,
                tensor: holder
                    .filter(|tensor| offset < tensor.end)
                    .map(|tensor| tensor.name.clone()),
            });
            Ok(())
        })?;
        let mut seen = std::collections::HashSet::new();
        let stored_bytes = chunks
            .iter()
            .filter(|chunk| seen.insert(chunk.id))
            .map(|chunk| chunk.stored_bytes)
            .sum();
        Ok(ChunkList {
            file,
            size: reader.manifest().size,
            stored_bytes,
            chunks,
        })
    }
}
