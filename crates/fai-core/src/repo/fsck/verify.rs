//! Reading packs on all cores, and whether their records are what they were.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::findings::explain;
use crate::object::Hash;
use crate::repo::progress::{Event, Progress};
use crate::repo::{Error, Repository};
use crate::storage::{IndexEntry, Location, PackSet, Reading, SealedPack, StorageError};

/// What looking at one pack brought.
#[derive(Debug)]
pub(super) struct PackCheck {
    pub name: Hash,
    /// Why its own index cannot be used.
    pub broken: Option<String>,
    /// Length of the file; 0 when it is broken.
    pub len: u64,
    /// Records looked at.
    pub records: u64,
    /// Bytes of records read and verified.
    pub bytes: u64,
    /// Records that are not what they were.
    pub damaged: Vec<(Location, String)>,
    /// What the database says about them.
    pub agreement: Agreement,
}

/// What the database says about the records that a pack's own index lists.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// Records that it has exactly there.
    pub here: u64,
    /// Records that it does not have.
    pub unknown: u64,
    /// Damaged records of which it has another copy.
    pub superseded: u64,
    /// Why it could not be asked.
    pub failure: Option<String>,
}

impl PackCheck {
    pub fn new(name: Hash, len: u64, broken: Option<String>) -> Self {
        Self {
            name,
            broken,
            len,
            records: 0,
            bytes: 0,
            damaged: Vec::new(),
            agreement: Agreement::default(),
        }
    }

    /// Reads all `records` and takes note of those that are not what they were. `locate` says where bases lie.
    pub fn verify(
        &mut self,
        packs: &PackSet,
        reading: &mut Reading,
        records: &[Location],
        locate: impl Fn(&Hash) -> Option<Location>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        for location in records {
            let found = |base: &Hash| Ok(locate(base).map(|location| (packs, location)));
            match reading.read(packs, *location, found) {
                Ok(_) => {}
                Err(StorageError::Damaged { reason, .. }) => self.damaged.push((*location, reason)),
                Err(error @ StorageError::Io { .. }) => self.damaged.push((*location, explain(&error))),
                Err(error) => return Err(error.into()),
            }
            self.bytes += location.header.record_len();
            progress.on(Event::Bytes(location.header.record_len()));
        }
        Ok(())
    }
}

/// The records of a pack as locations.
pub(super) fn locations(pack: &SealedPack) -> Vec<Location> {
    let located = |entry: &IndexEntry| Location {
        pack: pack.name,
        offset: entry.offset,
        header: entry.header,
    };
    pack.entries.iter().map(located).collect()
}

/// Runs `work` for every pack, on as many threads as the repository uses, and returns the results by name.
pub(super) fn each_pack<T: Send>(
    repository: &Repository,
    names: &BTreeSet<Hash>,
    work: impl Fn(&PackSet, &mut Reading, Hash) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    // Its own set: the store's may hold files open that are no longer in the folder.
    let packs = PackSet::new(repository.store().packs().folder().to_owned());
    let names: Vec<Hash> = names.iter().copied().collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let run = || -> Result<(), Error> {
            let mut reading = Reading::new()?;
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = work(&packs, &mut reading, *name);
                if result.is_err() {
                    next.store(names.len(), Ordering::Relaxed);
                }
                results
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((*name, result?));
            }
            Ok(())
        };
        let threads: Vec<_> = (0..repository.threads.min(names.len()))
            .map(|_| scope.spawn(run))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<()>, Error>>()
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(name, _)| *name);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
