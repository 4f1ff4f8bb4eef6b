//! Packs of which something, or all, is of no use any more: removed, or rewritten without it.
//!
//! The order is: fresh packs, synced; under the lock that keeps writers out, their names, synced; one transaction that
//! has the index find the records there; then the old packs go, and last their rows. A kill anywhere leaves at most
//! fresh packs that nobody knows, which the next writer removes, or old packs in which the index has nothing, which the
//! next collection does.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use crate::codec::Decoder;
use crate::database::PackUsage;
use crate::object::{Hash, Kind};
use crate::repo::progress::{Event, Progress};
use crate::repo::store::read_sealed;
use crate::repo::{Error, Repository};
use crate::storage::{
    Copied, Location, RecordHeader, Rewrite, StorageError, Verdict, free_space, pack_len, pack_path, rewrite,
    sync_folder,
};

/// A pack that stays although it might go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPack {
    /// The name of its file.
    pub name: String,
    /// What keeps it.
    pub reason: String,
}

/// Room that was missing. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// What the next step needed.
    pub needed: u64,
    /// What was free.
    pub free: u64,
}

/// What became of packs. Sizes are in bytes.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Files that are gone.
    pub removed: u64,
    pub removed_bytes: u64,
    /// Those among them whose records are in fresh packs.
    pub rewritten: u64,
    /// Fresh packs.
    pub written: u64,
    pub written_bytes: u64,
    pub kept: Vec<KeptPack>,
    pub shortage: Option<Shortage>,
}

impl Moved {
    pub fn keep(&mut self, pack: &Hash, reason: String) {
        let name = crate::repo::fsck::pack_name(pack);
        tracing::warn!(%name, %reason, "a pack stays as it is");
        self.kept.push(KeptPack { name, reason });
    }
}

/// Gives records that are copied another encoding, or leaves them as they are.
pub(super) trait Recode {
    /// Packs are about to be copied. When it comes twice in a row nothing came of the first time.
    fn begin(&mut self) {}

    /// Is shown the header of a record that is about to be copied, its payload and its verified raw bytes. What it returns must decode
    /// to the same.
    fn recode(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        raw: &[u8],
    ) -> Result<Option<(RecordHeader, Vec<u8>)>, Error>;

    /// What was copied since is in the index.
    fn moved(&mut self) {}
}

/// Leaves everything as it is.
pub(super) struct AsTheyAre;

impl Recode for AsTheyAre {
    fn recode(&mut self, _: &RecordHeader, _: &[u8], _: &[u8]) -> Result<Option<(RecordHeader, Vec<u8>)>, Error> {
        Ok(None)
    }
}

/// How packs are moved.
pub(super) struct Moving<'a> {
    /// How long to wait for writers.
    pub patience: Duration,
    pub progress: &'a dyn Progress,
}

impl Moving<'_> {
    fn step(&self, what: &str) {
        self.progress.on(Event::File(what));
    }
}

/// How long a pack would be that holds only what the index has in this one.
pub(super) fn ideal_len(usage: &PackUsage) -> u64 {
    pack_len(usage.records, usage.headers, usage.payloads)
}

impl Repository {
    /// Copies the records that the index has in `sources` into fresh packs, and removes the old ones. A pack with a
    /// damaged record stays as it is, and is reported; when there is no room nothing happens.
    pub(super) fn move_packs(
        &self,
        sources: &[PackUsage],
        moving: &Moving<'_>,
        recode: &mut dyn Recode,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let mut sources = sources.to_vec();
        let incoming = self.directory.join("incoming");
        let mut decoder = Decoder::new()?;
        let mut raw = Vec::new();
        loop {
            let mut records = Vec::new();
            sources.retain(|usage| match self.records_in(usage) {
                Ok(found) => {
                    records.extend(found);
                    true
                }
                Err(reason) => {
                    moved.keep(&usage.name, reason);
                    false
                }
            });
            if records.is_empty() {
                return Ok(());
            }
            recode.begin();
            let judge = |location: &Location, payload: &[u8]| {
                let header = &location.header;
                if let Err(reason) = self.decoded(&mut decoder, header, payload, &mut raw)? {
                    return Ok::<_, Error>(Verdict::Damaged(reason));
                }
                moving.progress.on(Event::Bytes(header.record_len()));
                Ok(match recode.recode(header, payload, &raw)? {
                    Some((header, payload)) => Verdict::Instead(header, payload),
                    None => Verdict::Keep,
                })
            };
            match rewrite(self.store.packs(), &incoming, &records, judge) {
                Ok(Rewrite::Done(copied)) => {
                    moving.step("fresh packs are written");
                    return self.swap(&sources, copied, moving, recode, moved);
                }
                Ok(Rewrite::Damaged(location, reason)) => {
                    let (kind, hash) = (location.header.kind.name(), location.header.hash.short());
                    moved.keep(&location.pack, format!("{kind} {hash} in it is damaged: {reason}"));
                    sources.retain(|usage| usage.name != location.pack);
                }
                Err(error) => match shortage(&error, &sources, &incoming) {
                    Some(shortage) => {
                        moved.shortage = Some(shortage);
                        return Ok(());
                    }
                    None => return Err(error),
                },
            }
        }
    }

    /// The records that the index has in a pack, in their order; or why they cannot be told.
    fn records_in(&self, usage: &PackUsage) -> Result<Vec<Location>, String> {
        let pack = read_sealed(self.store.packs().folder(), usage.name).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        for entry in &pack.entries {
            let location = Location {
                pack: pack.name,
                offset: entry.offset,
                header: entry.header,
            };
            let indexed = self.database().locate(&entry.header.hash);
            if indexed.map_err(|error| error.to_string())? == Some(location) {
                records.push(location);
            }
        }
        match records.len() as u64 == usage.records {
            true => Ok(records),
            false => Err(format!(
                "the index has {} records in it, and it holds {} of them",
                usage.records,
                records.len()
            )),
        }
    }

    /// Decodes a payload into `raw` and compares it with the id; or says what is wrong with it.
    fn decoded(
        &self,
        decoder: &mut Decoder,
        header: &RecordHeader,
        payload: &[u8],
        raw: &mut Vec<u8>,
    ) -> Result<Result<(), String>, Error> {
        raw.resize(header.raw_len as usize, 0);
        let decoded = match header.base {
            None => decoder.decode(header.codec, payload, raw),
            Some(base) => match self.store.with(Kind::Chunk, &base, |bytes, _| bytes.to_vec()) {
                Ok(base) => decoder.decode_against(payload, &base, raw),
                Err(error @ Error::Database(_)) => return Err(error),
                Err(error) => return Ok(Err(format!("its base, chunk {base}, cannot be read: {error}"))),
            },
        };
        Ok(match decoded {
            Err(error) => Err(error.to_string()),
            Ok(()) if header.kind.hash(raw) != header.hash => Err("it has other content than its id".to_owned()),
            Ok(()) => Ok(()),
        })
    }

    /// Puts fresh packs in the place of `sources`.
    fn swap(
        &self,
        sources: &[PackUsage],
        copied: Vec<Copied>,
        moving: &Moving<'_>,
        recode: &mut dyn Recode,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let folder = self.store.packs().folder();
        // From its name until it is indexed a pack looks like one that a dead writer left.
        let _alone = self.without_writers(moving.patience)?;
        let mut sealed = Vec::new();
        for Copied { pack, from } in copied {
            sealed.push((pack.seal(folder)?, from));
        }
        moving.step("fresh packs have their names");
        sync_folder(folder)?;
        let count = self.database().transaction(|writer| {
            let moves = sealed.iter().map(|(pack, from)| writer.move_records(pack, from));
            moves.sum::<Result<u64, _>>().map_err(Error::from)
        })?;
        recode.moved();
        moving.step("the index finds the records in them");
        // A pack that came out as it was is neither fresh nor old.
        let old: HashSet<Hash> = sources.iter().map(|usage| usage.name).collect();
        let fresh: HashSet<Hash> = sealed.iter().map(|(pack, _)| pack.name).collect();
        let written = sealed.iter().filter(|(pack, _)| !old.contains(&pack.name));
        moved.written += written.clone().count() as u64;
        moved.written_bytes += written.map(|(pack, _)| pack.len).sum::<u64>();
        moved.rewritten += old.difference(&fresh).count() as u64;
        if count == sources.iter().map(|usage| usage.records).sum::<u64>() {
            let gone: Vec<Hash> = old.difference(&fresh).copied().collect();
            self.remove_files(&gone, moving, moved)
        } else {
            self.remove_empty_packs(moving, moved)
        }
    }

    /// Removes the packs in which the index has nothing. The caller keeps writers out.
    pub(super) fn remove_empty_packs(&self, moving: &Moving<'_>, moved: &mut Moved) -> Result<(), Error> {
        let mut empty = Vec::new();
        let rows = self.database().pack_usage()?;
        for usage in rows.iter().filter(|usage| usage.records == 0) {
            match self.needless(&usage.name) {
                Ok(()) => empty.push(usage.name),
                Err(reason) => moved.keep(&usage.name, reason),
            }
        }
        self.remove_files(&empty, moving, moved)
    }

    /// Says why a pack in which the index has nothing is needed all the same: it cannot be read, or the only good copy
    /// of a record lies in it.
    fn needless(&self, name: &Hash) -> Result<(), String> {
        let folder = self.store.packs().folder();
        if !pack_path(folder, name).exists() {
            return Ok(());
        }
        let pack = read_sealed(folder, *name).map_err(|error| error.to_string())?;
        for entry in pack.entries {
            let (kind, hash) = (entry.header.kind, entry.header.hash);
            match self.store.with(kind, &hash, |_, _| ()) {
                Ok(()) | Err(Error::Missing { .. }) => {}
                Err(error) => {
                    let (kind, hash) = (kind.name(), hash.short());
                    return Err(format!(
                        "it has a copy of {kind} {hash}, which is damaged elsewhere: {error}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn remove_files(&self, names: &[Hash], moving: &Moving<'_>, moved: &mut Moved) -> Result<(), Error> {
        let folder = self.store.packs().folder();
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            let path = pack_path(folder, name);
            let len = path.metadata().map_or(0, |metadata| metadata.len());
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    moved.removed += 1;
                    moved.removed_bytes += len;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove", &path)(error)),
            }
            moving.step("an old pack is gone");
        }
        self.store.packs().close();
        // A row that goes before its file would make a dead writer's pack of it.
        sync_folder(folder)?;
        self.database().forget_empty_packs(names)?;
        moving.step("old packs are forgotten");
        Ok(())
    }
}

/// The shortage behind an error that came up while `sources` were copied, if there is one. How long a file may get can be
/// limited, too.
fn shortage(error: &Error, sources: &[PackUsage], incoming: &Path) -> Option<Shortage> {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = |kind| matches!(kind, StorageFull | QuotaExceeded | FileTooLarge);
    match error {
        Error::Storage(StorageError::NoSpace { needed, free, .. }) => Some(Shortage {
            needed: *needed,
            free: *free,
        }),
        Error::Storage(StorageError::Io { source, .. }) if full(source.kind()) => Some(Shortage {
            needed: sources.iter().map(ideal_len).sum(),
            free: free_space(incoming).unwrap_or(0),
        }),
        _ => None,
    }
}

/// Runs of packs whose records fit into one of `target` bytes, or single packs.
pub(super) fn batches(packs: &[PackUsage], target: u64) -> Vec<&[PackUsage]> {
    let (mut batches, mut rest) = (Vec::new(), packs);
    while !rest.is_empty() {
        let mut sum = 0;
        let fitting = rest.iter().take_while(|usage| {
            sum += ideal_len(usage);
            sum <= target
        });
        let (batch, behind) = rest.split_at(fitting.count().max(1));
        batches.push(batch);
        rest = behind;
    }
    batches
}
