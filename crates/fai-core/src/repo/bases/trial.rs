//! Which of several files is closest to a new one: a few of its chunks are encoded against each.

use super::offer::{FileBases, Offer};
use super::{Error, Wanted};
use crate::chunking::STEP;
use crate::codec::{Base, Encoder};
use crate::repo::Repository;
use crate::storage::BaseHint;
use crate::tensor::{Element, ReadAt};

/// Chunks that are tried, spread over the file.
const SAMPLES: u64 = 4;

/// So much of each is encoded: enough to tell near from far.
const SAMPLE_LEN: u64 = 128 << 10;

/// Memory of trials.
#[derive(Default)]
pub(super) struct Trial {
    encoder: Option<Encoder>,
    base: Vec<u8>,
    payload: Vec<u8>,
}

/// The start of a chunk of the new file.
pub(super) struct Sample {
    pub offset: u64,
    pub element: Element,
    pub bytes: Vec<u8>,
}

impl Trial {
    /// Sorts the offers, the closest first, and says for each whether its chunks or what those stand on is closer.
    pub fn rank<'a>(
        &mut self,
        repository: &'a Repository,
        offers: Vec<Offer<'a>>,
        wanted: &[Wanted],
        source: &dyn ReadAt,
    ) -> Result<Vec<Offer<'a>>, Error> {
        let samples = samples(wanted, source);
        let mut ranked = Vec::new();
        for offer in offers {
            let mut bases = FileBases::new(vec![offer]);
            for wanted in wanted {
                bases.take(wanted);
            }
            let near = self.cost(repository, &bases, &samples)?;
            bases.set_roots(true);
            let root = self.cost(repository, &bases, &samples)?;
            bases.set_roots(root < near);
            ranked.extend(bases.into_offers().into_iter().map(|offer| (near.min(root), offer)));
        }
        ranked.sort_by_key(|(cost, _)| *cost);
        Ok(ranked.into_iter().map(|(_, offer)| offer).collect())
    }

    /// Bytes that the samples take.
    fn cost(&mut self, repository: &Repository, bases: &FileBases<'_>, samples: &[Sample]) -> Result<usize, Error> {
        let Self { encoder, base, payload } = self;
        let encoder = match encoder {
            Some(encoder) => encoder,
            None => encoder.insert(Encoder::new()?),
        };
        let mut cost = 0;
        for Sample { offset, element, bytes } in samples {
            let hint = bases.hint(repository, *offset, bytes.len(), *element);
            let found = hint.filter(|hint| repository.store().base(&hint.chunk, base).is_some());
            match found {
                Some(BaseHint { element: of, first, .. }) => {
                    let base = Base {
                        bytes: base,
                        element: of,
                        first,
                    };
                    encoder.encode_against(bytes, *element, base, payload);
                }
                None => {
                    encoder.encode(bytes, *element, payload);
                }
            }
            cost += payload.len();
        }
        Ok(cost)
    }
}

/// Starts of steps, spread evenly over the bytes of the tensors.
pub(super) fn samples(wanted: &[Wanted], source: &dyn ReadAt) -> Vec<Sample> {
    let len = |wanted: &Wanted| wanted.tensor.end - wanted.tensor.start;
    let total: u64 = wanted.iter().map(len).sum();
    let mut samples = Vec::new();
    let (mut passed, mut next) = (0, 0);
    for wanted in wanted {
        let end = passed + len(wanted);
        while next < SAMPLES {
            let at = (2 * next + 1) * (total / (2 * SAMPLES));
            if at >= end {
                break;
            }
            next += 1;
            let offset = wanted.tensor.start + at.saturating_sub(passed) / STEP * STEP;
            let len = (wanted.tensor.end - offset).min(SAMPLE_LEN);
            let mut bytes = vec![0; len as usize];
            // A file that changes while it is read is noticed elsewhere.
            if source.read_exact_at(&mut bytes, offset).is_ok() {
                samples.push(Sample {
                    offset,
                    element: wanted.element,
                    bytes,
                });
            }
        }
        passed = end;
    }
    samples
}
