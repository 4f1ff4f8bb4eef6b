//! Packs against the index, and their records against their hashes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::findings::{Findings, MAX_LISTED, explain, record_name};
use crate::codec::{Codec, Decoder};
use crate::object::Hash;
use crate::repo::progress::{Event, Progress};
use crate::repo::store::read_sealed;
use crate::repo::{Error, Repository};
use crate::storage::{Location, PACK_SUFFIX, PackSet, SealedPack, StorageError, list_packs};

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
    agreement: Agreement,
}

/// What the database says about the records that a pack's own index lists.
#[derive(Debug, Default)]
struct Agreement {
    /// Records that it has exactly there.
    here: u64,
    /// Records that it does not have.
    unknown: u64,
    /// Damaged records of which it has another copy.
    superseded: u64,
    /// Why it could not be asked.
    failure: Option<String>,
}

/// How a pack is called in reports.
pub(super) fn pack_name(name: &Hash) -> String {
    format!("{name}.{PACK_SUFFIX}")
}

impl Repository {
    /// Compares packs and index and returns the packs that the index does not know. Records are verified when `full`,
    /// and always those of packs that are broken.
    pub(super) fn check_packs(
        &self,
        full: bool,
        findings: &mut Findings,
        progress: &dyn Progress,
    ) -> Result<BTreeSet<Hash>, Error> {
        // The index first: a pack is indexed only when it is in the folder.
        let expected: BTreeMap<Hash, u64> = match self.store().index().packs() {
            Ok(rows) => rows.into_iter().map(|row| (row.name, row.bytes)).collect(),
            Err(error) => {
                findings.database(self, explain(&error));
                BTreeMap::new()
            }
        };
        let counts = self.store().index().record_counts().unwrap_or_default();
        let (present, strays) = list_packs(self.store().packs().folder())?;
        findings.count("packs", present.len() as u64);
        findings.count("strays", strays);
        findings.count("half_written", half_written(&self.directory.join("incoming")));
        for name in expected.keys().filter(|name| !present.contains(name)) {
            let records = counts.get(name).copied().unwrap_or_default();
            let detail = format!("it is gone, with {records} records");
            let problem = findings.problem("missing_pack", pack_name(name), detail);
            findings.missing_pack(*name, problem);
        }
        progress.on(Event::Total {
            files: present.len() as u64,
            bytes: if full { expected.values().sum() } else { 0 },
        });
        let checks = each_pack(self, &present, |packs, decoder, name| {
            let check = self.check_pack(packs, decoder, name, full, progress)?;
            progress.on(Event::FileDone);
            Ok(check)
        })?;
        for check in checks {
            self.report_pack(check, &expected, &counts, findings);
        }
        Ok(present
            .into_iter()
            .filter(|name| !expected.contains_key(name))
            .collect())
    }

    fn check_pack(
        &self,
        packs: &PackSet,
        decoder: &mut Decoder,
        name: Hash,
        full: bool,
        progress: &dyn Progress,
    ) -> Result<PackCheck, Error> {
        let (mut check, records) = match read_sealed(packs.folder(), name) {
            Ok(pack) => (PackCheck::new(name, pack.len, None), locations(&pack)),
            Err(error) => {
                let known = self.store().index().records_of_pack(&name).unwrap_or_default();
                (PackCheck::new(name, 0, Some(explain(&error))), known)
            }
        };
        if check.broken.is_none() {
            check.agreement = self.agreement(&records);
        }
        check.records = records.len() as u64;
        if full || check.broken.is_some() {
            check.verify(packs, decoder, &records, progress)?;
        }
        let here = |(location, _): &(Location, String)| {
            let indexed = self.store().index().locate(&location.header.hash).ok().flatten();
            indexed.is_none_or(|indexed| indexed == *location)
        };
        let damaged = check.damaged.len();
        check.damaged.retain(here);
        check.agreement.superseded = (damaged - check.damaged.len()) as u64;
        Ok(check)
    }

    /// Compares what a pack's own index lists with the database.
    fn agreement(&self, records: &[Location]) -> Agreement {
        let mut found = Agreement::default();
        for record in records {
            match self.store().index().locate(&record.header.hash) {
                Ok(Some(indexed)) if indexed == *record => found.here += 1,
                Ok(Some(_)) => {}
                Ok(None) => found.unknown += 1,
                Err(error) => {
                    found.failure = Some(explain(&error));
                    break;
                }
            }
        }
        found
    }

    fn report_pack(
        &self,
        check: PackCheck,
        expected: &BTreeMap<Hash, u64>,
        counts: &HashMap<Hash, u64>,
        findings: &mut Findings,
    ) {
        let PackCheck {
            name,
            damaged,
            agreement,
            ..
        } = check;
        findings.count("records", check.records);
        findings.count("bytes", check.bytes);
        findings.count("superseded", agreement.superseded);
        let file = pack_name(&name);
        if let Some(reason) = check.broken {
            let (lost, records) = (damaged.len(), check.records);
            let detail = format!("{reason}; {lost} of the {records} records that the index has in it cannot be read");
            findings.problem("damaged_pack", file.clone(), detail);
        } else if let Some(bytes) = expected.get(&name) {
            let indexed = counts.get(&name).copied().unwrap_or_default();
            if *bytes != check.len {
                findings.database(
                    self,
                    format!("{file} has {} bytes, and the index says {bytes}", check.len),
                );
            }
            if let Some(failure) = agreement.failure {
                findings.database(self, failure);
            } else if indexed > agreement.here {
                let wrong = indexed - agreement.here;
                findings.database(
                    self,
                    format!("{wrong} records that the index has in {file} are not there"),
                );
            }
            if agreement.unknown > 0 {
                findings.database(
                    self,
                    format!("{} records of {file} are not in the index", agreement.unknown),
                );
            }
        }
        let total = damaged.len();
        for (number, (location, reason)) in damaged.into_iter().enumerate() {
            let header = location.header;
            let problem = if number < MAX_LISTED {
                let detail = format!("{file} at byte {}: {reason}", location.offset);
                findings.problem("damaged_record", record_name(header.kind, &header.hash), detail)
            } else {
                let detail = format!("{} more records of {file} are damaged", total - MAX_LISTED);
                findings.problem("damaged_record", format!("records of {file}"), detail)
            };
            findings.damaged_record(header.hash, problem);
        }
    }

    /// Reports those of `unindexed` that no writer has indexed meanwhile.
    pub(super) fn check_index_again(&self, unindexed: BTreeSet<Hash>, findings: &mut Findings) {
        if unindexed.is_empty() {
            return;
        }
        let known: BTreeSet<Hash> = match self.store().index().packs() {
            Ok(rows) => rows.into_iter().map(|row| row.name).collect(),
            Err(_) => return,
        };
        for name in unindexed.difference(&known) {
            // One that turned out to hold nothing new was removed again; a broken one is reported as that.
            if let Ok(pack) = read_sealed(self.store().packs().folder(), *name) {
                let detail = format!("its {} records are not in the index", pack.entries.len());
                findings.problem("unindexed_pack", pack_name(name), detail);
            }
        }
    }
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

    /// Reads all `records` and takes note of those that are not what they were.
    pub fn verify(
        &mut self,
        packs: &PackSet,
        decoder: &mut Decoder,
        records: &[Location],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let (mut payload, mut raw) = (Vec::new(), Vec::new());
        for location in records {
            let read = match location.header.codec {
                // Nothing here decodes deltas yet: only their headers can be checked.
                Codec::Delta => packs.payload(location, &mut payload).map(drop),
                _ => packs.read(location, decoder, &mut payload, &mut raw),
            };
            match read {
                Ok(()) => {}
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
    let located = |entry: &crate::storage::IndexEntry| Location {
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
    work: impl Fn(&PackSet, &mut Decoder, Hash) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    // Its own set: the store's may hold files open that are no longer in the folder.
    let packs = PackSet::new(repository.store().packs().folder().to_owned());
    let names: Vec<Hash> = names.iter().copied().collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let run = || -> Result<(), Error> {
            let mut decoder = Decoder::new()?;
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = work(&packs, &mut decoder, *name);
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

/// Temporary packs whose writers are dead: the next writer takes them in.
fn half_written(incoming: &Path) -> u64 {
    let Ok(listing) = std::fs::read_dir(incoming) else {
        return 0;
    };
    let dead = |path: &Path| {
        path.extension().is_some_and(|suffix| suffix == PACK_SUFFIX)
            && std::fs::File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
    };
    listing.flatten().filter(|entry| dead(&entry.path())).count() as u64
}
