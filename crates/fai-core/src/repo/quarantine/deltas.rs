//! Chunks in quarantine that are deltas: those without a base are dropped, and chains that would grow too long are cut. Packs
//! never change, so one that holds such a chunk is written anew.

use std::collections::HashSet;
use std::fs;

use super::super::alone::Reencoder;
use super::super::error::Error;
use super::super::store::read_sealed;
use super::Quarantine;
use crate::object::{Hash, Kind};
use crate::storage::{Checker, IndexEntry, LONGEST_CHAIN, Received, RecordHeader, StorageError, pack_path};

/// Deltas that may lead to a chunk when it becomes part of the repository. Those who fetch keep to fewer, but what they
/// counted on may have changed meanwhile.
const MOST_DELTAS: usize = LONGEST_CHAIN / 2;

/// What becomes of a record when its pack is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It is encoded so that it stands alone.
    StandsAlone,
    Goes,
}

impl Quarantine {
    /// Drops chunks whose bases are neither here nor in the repository, and those that stand on them: nothing can be made of
    /// them, and they must not look as if they were here.
    pub(super) fn drop_baseless(&self) -> Result<(), Error> {
        // Once, unless something is found to be damaged on the way.
        for _ in 0..LONGEST_CHAIN {
            let baseless = self.baseless()?;
            if baseless.is_empty() {
                return Ok(());
            }
            self.rewrite(|entry| match baseless.contains(&entry.header.hash) {
                true => Fate::Goes,
                false => Fate::Stays,
            })?;
        }
        // What the index says is not what the packs hold: none of it can be relied on.
        self.rewrite(|_| Fate::Goes)?;
        Ok(())
    }

    fn baseless(&self) -> Result<HashSet<Hash>, Error> {
        let mut found = HashSet::new();
        loop {
            let before = found.len();
            self.store.index().for_each_delta(|hash, base| {
                if !found.contains(&hash) && (found.contains(&base) || self.store.depth(&base)?.is_none()) {
                    found.insert(hash);
                }
                Ok::<_, Error>(())
            })?;
            if found.len() == before {
                return Ok(found);
            }
        }
    }

    /// Makes sure that everything here can be read when it is part of the repository.
    ///
    /// # Errors
    /// [`Error::Missing`] names a base that is gone: the next transfer fetches what stands on it again.
    pub(super) fn shorten_chains(&self) -> Result<(), Error> {
        let mut long = HashSet::new();
        self.store.index().for_each_delta(|hash, base| {
            match self.store.depth_beneath(&hash)? {
                Some(depth) if depth <= MOST_DELTAS => {}
                // Too long even to be followed, or not there at all.
                None if self.store.depth(&hash)?.is_none() => {
                    let (kind, hash) = (Kind::Chunk, base);
                    return Err(Error::Missing { kind, hash });
                }
                _ => drop(long.insert(hash)),
            }
            Ok(())
        })?;
        if long.is_empty() {
            return Ok(());
        }
        let lost = self.rewrite(|entry| match long.contains(&entry.header.hash) {
            true => Fate::StandsAlone,
            false => Fate::Stays,
        })?;
        match lost.first() {
            None => Ok(()),
            Some((kind, hash)) => Err(Error::Missing {
                kind: *kind,
                hash: *hash,
            }),
        }
    }

    /// Writes the packs anew that hold something that does not stay as it is. What is found to be damaged on the way goes,
    /// too, to be fetched again: it is returned.
    pub(super) fn rewrite(&self, fate: impl Fn(&IndexEntry) -> Fate) -> Result<Vec<(Kind, Hash)>, Error> {
        let (folder, mut lost) = (self.store.packs().folder(), Vec::new());
        let rows = self.store.index().packs()?;
        for row in rows {
            let pack = read_sealed(folder, row.name)?;
            if pack.entries.iter().all(|entry| fate(entry) == Fate::Stays) {
                continue;
            }
            let (mut checker, mut reencoder, mut records) = (Checker::new()?, None, Vec::new());
            for entry in &pack.entries {
                let record = match fate(entry) {
                    Fate::Goes => continue,
                    Fate::Stays => self.stored(&entry.header)?,
                    Fate::StandsAlone => {
                        let reencoder = match &mut reencoder {
                            Some(reencoder) => reencoder,
                            None => reencoder.insert(Reencoder::new()?),
                        };
                        let mut record = Vec::new();
                        let header = reencoder.record(&self.store, &entry.header.hash, &mut record)?;
                        header.map(|header| (header, record.split_off(header.header_len())))
                    }
                };
                let Some((header, payload)) = record else { continue };
                match self.checked(&mut checker, header, payload) {
                    Some(received) => records.push(received),
                    None => lost.push((header.kind, header.hash)),
                }
            }
            self.store.index().transaction(|writer| writer.remove_pack(&row.name))?;
            let path = pack_path(folder, &row.name);
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
            self.store.packs().close();
            self.store.write(1, &|_| (), |feeder| {
                records.into_iter().try_for_each(|record| Ok(feeder.received(record)?))
            })?;
        }
        Ok(lost)
    }

    /// A record as it is stored, unless it was stored twice and the other one counts.
    fn stored(&self, header: &RecordHeader) -> Result<Option<(RecordHeader, Vec<u8>)>, Error> {
        let mut record = Vec::new();
        let found = self.store.record(&header.hash, &mut record)?;
        let same = found.filter(|found| found == header);
        Ok(same.map(|header| (header, record.split_off(header.header_len()))))
    }

    /// The record, unless it is damaged or its base cannot be read.
    fn checked(&self, checker: &mut Checker, header: RecordHeader, payload: Vec<u8>) -> Option<Received> {
        let hash = header.hash;
        match header.base {
            Some(base) => {
                let against = |raw: &[u8], _: &_| {
                    let checked = checker.check_against(&hash, header, payload, raw);
                    checked.map(|(received, _)| received).ok()
                };
                self.store.with(Kind::Chunk, &base, against).ok().flatten()
            }
            None => checker.check(&hash, header, payload).map(|(received, _)| received).ok(),
        }
    }
}
