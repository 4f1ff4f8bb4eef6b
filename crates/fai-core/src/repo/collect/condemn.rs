//! Condemned records: which there are, and taking those out of the index whose time has come.

use std::collections::HashSet;

use super::mark::{Marks, start};
use crate::database::IndexedRecord;
use crate::object::{Hash, Kind};
use crate::repo::progress::{Event, Progress};
use crate::repo::{Error, Repository};

/// Records that leave the index in one transaction: what a transaction changes takes room until it is checkpointed.
const BATCH: usize = 5000;

/// Records and the bytes that their payloads take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub records: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn add(&mut self, record: &IndexedRecord) {
        self.records += 1;
        self.bytes += record.encoded_len;
    }
}

impl Repository {
    /// Condemns what is not marked, and absolves what is. Returns how many records are newly condemned.
    pub(super) fn condemn(&self, live: &Marks, now: i64) -> Result<u64, Error> {
        self.database().transaction(|writer| writer.cap_condemned(now))?;
        let mut fresh = 0;
        self.each_indexed_page(|records| {
            let is_live = |record: &IndexedRecord| live.has(record.kind, &record.hash);
            let changed = |record: &&IndexedRecord| is_live(record) == record.condemned.is_some();
            let changed: Vec<&IndexedRecord> = records.iter().filter(changed).collect();
            if changed.is_empty() {
                return Ok(());
            }
            self.database().transaction(|writer| {
                for record in changed {
                    match record.condemned {
                        Some(_) => writer.absolve(&record.hash)?,
                        None => {
                            writer.condemn(&record.hash, now)?;
                            fresh += 1;
                        }
                    }
                }
                Ok(())
            })
        })?;
        Ok(fresh)
    }

    /// Takes the condemned records that `is_dead` chooses out of the index. At no moment anything is left there that
    /// leads to what is not: objects go at once, chunks after what is encoded against them.
    pub(super) fn drop_dead(
        &self,
        is_dead: impl Fn(&IndexedRecord) -> bool,
        progress: &dyn Progress,
    ) -> Result<Amount, Error> {
        let (mut amount, mut objects, mut bases) = (Amount::default(), Vec::new(), HashSet::new());
        self.each_condemned_page(|records| {
            for record in records.iter().filter(|record| is_dead(record)) {
                amount.add(record);
                match record.kind {
                    Kind::Chunk => bases.extend(record.base.as_ref().map(start)),
                    _ => objects.push(record.hash),
                }
            }
            Ok(())
        })?;
        if amount.records == 0 {
            return Ok(amount);
        }
        self.drop_records(&objects)?;
        progress.on(Event::File("objects left the index"));
        loop {
            let (mut left, mut dropped, mut next) = (Vec::new(), 0, HashSet::new());
            self.each_condemned_page(|records| {
                let mut free = Vec::new();
                for record in records.iter().filter(|record| is_dead(record)) {
                    if bases.contains(&start(&record.hash)) {
                        left.push(record.hash);
                        next.extend(record.base.as_ref().map(start));
                    } else {
                        free.push(record.hash);
                    }
                }
                dropped += free.len();
                for batch in free.chunks(BATCH) {
                    self.drop_records(batch)?;
                    progress.on(Event::File("chunks left the index"));
                }
                Ok(())
            })?;
            if left.is_empty() {
                break;
            }
            if dropped == 0 {
                // Only damage makes chunks that are encoded against each other.
                self.drop_records(&left)?;
                break;
            }
            bases = next;
        }
        Ok(amount)
    }

    pub(super) fn drop_records(&self, hashes: &[Hash]) -> Result<(), Error> {
        self.database()
            .transaction(|writer| hashes.iter().try_for_each(|hash| Ok(writer.drop_record(hash)?)))
    }
}
