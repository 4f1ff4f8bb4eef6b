//! The encoding stage: one thread a core.

use crossbeam_channel::{Receiver, Sender};

use super::{Action, BaseHint, Claims, Encoding, Ingest, IngestError, Job, Step};
use crate::codec::{Base, Codec, Encoder};
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
    let mut base_bytes = Vec::new();
    for Job {
        sequence,
        element,
        base,
        mut slot,
    } in jobs
    {
        let hash = Kind::Chunk.hash(&slot.raw);
        let fresh = claims.claim(&hash, settings.known);
        let mut encode = || {
            let Some(BaseHint {
                chunk,
                element: base_element,
                first,
            }) = base
            else {
                return alone(encoder.encode(&slot.raw, element, &mut slot.payload));
            };
            let Some(chunk) = (settings.base)(&chunk, &mut base_bytes) else {
                return alone(encoder.encode(&slot.raw, element, &mut slot.payload));
            };
            let base = Base {
                bytes: &base_bytes,
                element: base_element,
                first,
            };
            let codec = encoder.encode_against(&slot.raw, element, base, &mut slot.payload);
            Encoding {
                codec,
                base: (codec == Codec::Delta).then_some(chunk),
            }
        };
        let encoding = fresh.then(&mut encode);
        let step = Step {
            sequence,
            action: Action::Chunk { hash, encoding, slot },
        };
        collector.send(step).map_err(|_| IngestError::Stopped)?;
    }
    Ok(())
}

fn alone(codec: Codec) -> Encoding {
    Encoding { codec, base: None }
}
