//! Packs against the index, and their records against their hashes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::findings::{Findings, MAX_LISTED, explain, record_name};
use super::verify::{Agreement, PackCheck, each_pack, locations};
use crate::object::Hash;
use crate::repo::progress::{Event, Progress};
use crate::repo::store::read_sealed;
use crate::repo::{Error, Repository};
use crate::storage::{Location, PACK_SUFFIX, PackSet, Reading, list_packs};

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
        let checks = each_pack(self, &present, |packs, reading, name| {
            let check = self.check_pack(packs, reading, name, full, progress)?;
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
        reading: &mut Reading,
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
            let locate = |base: &Hash| self.store().index().locate(base).ok().flatten();
            check.verify(packs, reading, &records, locate, progress)?;
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

    /// Reports those of `unindexed` that nobody is about to index.
    pub(super) fn check_index_again(&self, unindexed: BTreeSet<Hash>, findings: &mut Findings) {
        // First the writers, then the index: one that ended in between has indexed its packs.
        if unindexed.is_empty() || self.has_writers() {
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

impl Repository {
    /// True while another process, or thread, adds or commits here.
    fn has_writers(&self) -> bool {
        let held = |name: &&str| {
            let lock = std::fs::File::open(self.directory.join(name));
            lock.is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
        };
        ["lock", "commit.lock"].iter().any(held)
    }
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
