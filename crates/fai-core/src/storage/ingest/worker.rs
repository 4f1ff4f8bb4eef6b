//! The encoding stage: one thread a core.

use crossbeam_channel::{Receiver, Sender};

use super::{Action, Claims, Ingest, IngestError, Job, Step};
use crate::codec::Encoder;
use crate::object::Kind;
use crate::storage::StorageError;

/// Encodes chunks until the feeder is done or the collector gone.
pub(super) fn run(
    settings: &Ingest<'_>,
    claims: &Claims,
    jobs: &Receiver<Job>,
    collector: &Sender<Step>,
) -> Result<(), IngestError> {
    let mut encoder = Encoder::new().map_err(StorageError::from)?;
    for Job {
        sequence,
        element,
        mut slot,
    } in jobs
    {
        let hash = Kind::Chunk.hash(&slot.raw);
        let fresh = claims.claim(&hash, settings.known);
        let codec = fresh.then(|| encoder.encode(&slot.raw, element, &mut slot.payload));
        let step = Step {
            sequence,
            action: Action::Chunk { hash, codec, slot },
        };
        collector.send(step).map_err(|_| IngestError::Stopped)?;
    }
    Ok(())
}
