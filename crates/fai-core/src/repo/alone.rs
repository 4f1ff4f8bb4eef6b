//! Chunks for whoever has other bases: how long the chain below one is, and its record as one that stands alone.

use super::error::Error;
use super::store::Store;
use crate::codec::Encoder;
use crate::object::{Hash, Kind};
use crate::storage::{LONGEST_CHAIN, RecordHeader};
use crate::tensor::Element;

impl Store {
    /// How many deltas lead to a chunk that is stored here or beneath: 0 for one that stands alone. `None` when it, or
    /// one of those below it, is not there, or there are more of them than anybody follows.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn depth(&self, chunk: &Hash) -> Result<Option<usize>, Error> {
        depth(chunk, &|chunk| self.chunk_header(chunk))
    }

    /// The same, as it will be when what is here is put into the store beneath: what that one has stays as it is.
    pub(super) fn depth_beneath(&self, chunk: &Hash) -> Result<Option<usize>, Error> {
        depth(chunk, &|chunk| {
            let beneath = self.beneath().map(|beneath| beneath.chunk_header(chunk));
            match beneath.transpose()?.flatten() {
                None => self.chunk_header(chunk),
                found => Ok(found),
            }
        })
    }

    fn chunk_header(&self, chunk: &Hash) -> Result<Option<RecordHeader>, Error> {
        let found = self.index().locate(chunk)?.map(|location| location.header);
        match (found.filter(|header| header.kind == Kind::Chunk), self.beneath()) {
            (None, Some(beneath)) => beneath.chunk_header(chunk),
            (found, _) => Ok(found),
        }
    }
}

fn depth(chunk: &Hash, header: &dyn Fn(&Hash) -> Result<Option<RecordHeader>, Error>) -> Result<Option<usize>, Error> {
    let mut next = *chunk;
    for depth in 0..=LONGEST_CHAIN {
        match header(&next)? {
            None => return Ok(None),
            Some(RecordHeader { base: None, .. }) => return Ok(Some(depth)),
            Some(RecordHeader { base: Some(base), .. }) => next = base,
        }
    }
    Ok(None)
}

/// Encodes chunks anew, so that they stand alone. Costs what decoding the chain and encoding once cost.
pub struct Reencoder {
    encoder: Encoder,
    payload: Vec<u8>,
}

impl Reencoder {
    /// Allocates an encoder, about 2 MiB.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            encoder: Encoder::new()?,
            payload: Vec::new(),
        })
    }

    /// Writes the record with this hash into `record`, header and payload: as it is stored, or where that is a delta, in
    /// the encoding in which it would be stored without a base.
    ///
    /// # Errors
    /// When it cannot be read. `None` when it is not stored.
    pub fn record(&mut self, store: &Store, hash: &Hash, record: &mut Vec<u8>) -> Result<Option<RecordHeader>, Error> {
        let Some(stored) = store.record(hash, record)? else {
            return Ok(None);
        };
        if stored.base.is_none() {
            return Ok(Some(stored));
        }
        // The payload of a delta begins with the element that it was made for.
        let element = record.get(stored.header_len()).copied().and_then(Element::from_code);
        let (encoder, payload) = (&mut self.encoder, &mut self.payload);
        let codec = store.with(Kind::Chunk, hash, |raw, _| {
            encoder.encode(raw, element.unwrap_or(Element::Opaque), payload)
        })?;
        let header = RecordHeader {
            codec,
            encoded_len: payload.len() as u32,
            base: None,
            ..stored
        };
        record.clear();
        header.write(record);
        record.extend_from_slice(payload);
        Ok(Some(header))
    }
}
