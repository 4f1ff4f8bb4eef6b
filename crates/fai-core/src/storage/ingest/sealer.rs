//! The durability stage: packs are synced while the next one is being filled, so that the wait at the end is short.

use crossbeam_channel::Receiver;

use super::{Claims, Ingest, IngestError, Sealing};
use crate::storage::writer::sync_folder;

/// Seals packs in order; each is indexed only when its bytes and its name are durable.
pub(super) fn run(settings: &Ingest<'_>, claims: &Claims, handed: Receiver<Sealing>) -> Result<(), IngestError> {
    for sealing in handed {
        let pack = match sealing {
            Sealing::Pack(pack) => pack.seal(settings.folder)?,
            Sealing::Done(waiting, files) => {
                // Nobody waits any more when the feeder failed.
                let _ = waiting.send(files);
                continue;
            }
        };
        sync_folder(settings.folder)?;
        (settings.sealed)(&pack).map_err(IngestError::Index)?;
        claims.release(&pack);
    }
    Ok(())
}
