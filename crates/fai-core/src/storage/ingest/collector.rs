//! The ordering stage: packs get their records and manifests their entries in the order in which files were read.

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, Sender};

use super::{Action, Claims, Encoding, FileSummary, Ingest, IngestError, Sealing, Slot, Step};
use crate::codec::Encoder;
use crate::object::{ChunkId, ContentHash, Hash, Id, Kind, ManifestBuilder, Object, Page};
use crate::storage::error::StorageError;
use crate::storage::received::Received;
use crate::storage::record::RecordHeader;
use crate::storage::writer::PackWriter;

/// Carries out all steps in order and returns the files.
pub(super) fn run(
    settings: &Ingest<'_>,
    claims: &Claims,
    steps: Receiver<Step>,
    slots: Sender<Slot>,
    sealer: Sender<Sealing>,
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
            Action::Chunk { hash, encoding, slot } => self.chunk(hash, encoding, slot),
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
            Action::Flush(waiting) => {
                self.packs.close()?;
                let files = self.files.iter().map(|file| file.file).collect();
                self.packs.hand_over(Sealing::Done(waiting, files))
            }
        }
    }

    fn chunk(&mut self, hash: Hash, encoding: Option<Encoding>, slot: Slot) -> Result<(), IngestError> {
        let raw_len = slot.raw.len();
        if let Some(Encoding { codec, base }) = encoding {
            let header = RecordHeader {
                kind: Kind::Chunk,
                codec,
                raw_len: raw_len as u32,
                encoded_len: slot.payload.len() as u32,
                hash,
                base,
            };
            self.file.new_chunks += 1;
            self.file.stored_bytes += self.packs.append(header, &slot.payload)?;
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
    sealer: Sender<Sealing>,
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
            let header = RecordHeader {
                kind,
                codec,
                raw_len: bytes.len() as u32,
                encoded_len: payload.len() as u32,
                hash,
                base: None,
            };
            self.append(header, &payload)?;
            self.payload = payload;
        }
        Ok(())
    }

    /// Stores a record from elsewhere unless it is stored already.
    fn received(&mut self, record: &Received) -> Result<(), IngestError> {
        if self.claims.claim(&record.header().hash, self.settings.known) {
            self.append(*record.header(), record.payload())?;
        }
        Ok(())
    }

    /// Appends a record and returns the bytes it takes.
    fn append(&mut self, header: RecordHeader, payload: &[u8]) -> Result<u64, IngestError> {
        let pack = match &mut self.open {
            Some(pack) => pack,
            None => self.open.insert(PackWriter::create(self.settings.incoming)?),
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
            Some(pack) => {
                let pack = pack.finish()?;
                self.hand_over(Sealing::Pack(pack))
            }
            None => Ok(()),
        }
    }

    fn hand_over(&self, sealing: Sealing) -> Result<(), IngestError> {
        self.sealer.send(sealing).map_err(|_| IngestError::Stopped)
    }
}
