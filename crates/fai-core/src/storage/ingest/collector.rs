//! The ordering stage: packs get their records and manifests their entries in the order in which files were read.

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, Sender};

use super::{Action, Claims, FileSummary, Ingest, IngestError, Slot, Step};
use crate::codec::{Codec, Encoder};
use crate::object::{ChunkId, ContentHash, Hash, Id, Kind, ManifestBuilder, Object, Page};
use crate::storage::error::StorageError;
use crate::storage::received::Received;
use crate::storage::record::RecordHeader;
use crate::storage::writer::{PackWriter, WrittenPack};

/// Carries out all steps in order and returns the files.
pub(super) fn run(
    settings: &Ingest<'_>,
    claims: &Claims,
    steps: Receiver<Step>,
    slots: Sender<Slot>,
    sealer: Sender<WrittenPack>,
) -> Result<Vec<FileSummary>, IngestError> {
    let encoder = Encoder::new().map_err(StorageError::from)?;
    let packs = Packs {
        settings,
        claims,
        sealer,
        open: None,
        encoder,
        payload: Vec::new(),
    };
    let mut collector = Collector {
        packs,
        slots,
        file: OpenFile::default(),
        files: Vec::new(),
    };
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    for step in steps {
        waiting.insert(step.sequence, step.action);
        while let Some(action) = waiting.remove(&next) {
            collector.carry_out(action)?;
            next += 1;
        }
    }
    collector.packs.close()?;
    Ok(collector.files)
}

struct Collector<'a> {
    packs: Packs<'a>,
    slots: Sender<Slot>,
    file: OpenFile,
    files: Vec<FileSummary>,
}

/// The file whose chunks are coming.
#[derive(Default)]
struct OpenFile {
    manifest: ManifestBuilder,
    chunks: u64,
    new_chunks: u64,
    stored_bytes: u64,
}

impl Collector<'_> {
    fn carry_out(&mut self, action: Action) -> Result<(), IngestError> {
        match action {
            Action::Chunk { hash, codec, slot } => self.chunk(hash, codec, slot),
            Action::Again { hash, len, count } => (0..count).try_for_each(|_| self.entry(hash, len)),
            Action::EndFile(content) => self.end_file(content),
            Action::Abandon => {
                self.file = OpenFile::default();
                Ok(())
            }
            Action::Received(record) => self.packs.received(&record),
            Action::Object(kind, bytes) => self.packs.object(kind, &bytes),
            Action::Unused(slot) => {
                let _ = self.slots.send(slot);
                Ok(())
            }
        }
    }

    fn chunk(&mut self, hash: Hash, codec: Option<Codec>, slot: Slot) -> Result<(), IngestError> {
        let raw_len = slot.raw.len();
        if let Some(codec) = codec {
            self.file.new_chunks += 1;
            self.file.stored_bytes += self.packs.append(Kind::Chunk, codec, hash, raw_len, &slot.payload)?;
        }
        self.entry(hash, raw_len)?;
        let _ = self.slots.send(slot);
        Ok(())
    }

    /// A chunk's place in its file.
    fn entry(&mut self, hash: Hash, len: usize) -> Result<(), IngestError> {
        self.file.chunks += 1;
        let packs = &mut self.packs;
        let mut emit = |page: Page| packs.object(Kind::Page, &page.encode());
        self.file.manifest.push(ChunkId::from_hash(hash), len as u64, &mut emit)
    }

    fn end_file(&mut self, content: ContentHash) -> Result<(), IngestError> {
        let OpenFile {
            manifest,
            chunks,
            new_chunks,
            stored_bytes,
        } = std::mem::take(&mut self.file);
        let packs = &mut self.packs;
        let manifest = manifest.finish(content, &mut |page: Page| packs.object(Kind::Page, &page.encode()))?;
        let (bytes, size) = (manifest.encode(), manifest.size);
        packs.object(Kind::Manifest, &bytes)?;
        let file = Id::of(&bytes);
        self.files.push(FileSummary {
            file,
            content,
            size,
            chunks,
            new_chunks,
            stored_bytes,
        });
        Ok(())
    }
}

/// The pack being filled.
struct Packs<'a> {
    settings: &'a Ingest<'a>,
    claims: &'a Claims,
    sealer: Sender<WrittenPack>,
    open: Option<PackWriter>,
    encoder: Encoder,
    payload: Vec<u8>,
}

impl Packs<'_> {
    /// Stores an object unless it is stored already.
    fn object(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), IngestError> {
        let hash = kind.hash(bytes);
        if self.claims.claim(&hash, self.settings.known) {
            let mut payload = std::mem::take(&mut self.payload);
            let codec = self.encoder.encode_object(bytes, &mut payload);
            self.append(kind, codec, hash, bytes.len(), &payload)?;
            self.payload = payload;
        }
        Ok(())
    }

    /// Stores a record from elsewhere unless it is stored already.
    fn received(&mut self, record: &Received) -> Result<(), IngestError> {
        let header = record.header();
        if self.claims.claim(&header.hash, self.settings.known) {
            let raw_len = header.raw_len as usize;
            self.append(header.kind, header.codec, header.hash, raw_len, record.payload())?;
        }
        Ok(())
    }

    /// Appends a record and returns the bytes it takes.
    fn append(
        &mut self,
        kind: Kind,
        codec: Codec,
        hash: Hash,
        raw_len: usize,
        payload: &[u8],
    ) -> Result<u64, IngestError> {
        let pack = match &mut self.open {
            Some(pack) => pack,
            None => self.open.insert(PackWriter::create(self.settings.incoming)?),
        };
        let (raw_len, encoded_len) = (raw_len as u32, payload.len() as u32);
        let header = RecordHeader {
            kind,
            codec,
            raw_len,
            encoded_len,
            hash,
            base: None,
        };
        pack.append(header, payload)?;
        if pack.is_full() {
            self.close()?;
        }
        Ok(header.record_len())
    }

    /// Hands the open pack to the sealer.
    fn close(&mut self) -> Result<(), IngestError> {
        match self.open.take() {
            Some(pack) => self.sealer.send(pack.finish()?).map_err(|_| IngestError::Stopped),
            None => Ok(()),
        }
    }
}
