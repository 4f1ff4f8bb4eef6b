//! The durability stage: packs are synced while the next one is being filled, so that the wait at the end is short.

use crossbeam_channel::Receiver;

use super::{Claims, Ingest, IngestError};
use crate::storage::writer::{WrittenPack, sync_folder};

/// Seals packs in order; each is indexed only when its bytes and its name are durable.
pub(super) fn run(settings: &Ingest<'_>, claims: &Claims, packs: Receiver<WrittenPack>) -> Result<(), IngestError> {
    for pack in packs {
        let pack = pack.seal(settings.folder)?;
        sync_folder(settings.folder)?;
        (settings.sealed)(&pack).map_err(IngestError::Index)?;
        claims.release(&pack);
    }
    Ok(())
}
