//! The object store: packs with their index. Reads by id, verified; writes through the ingest pipeline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use parking_lot::{ReentrantMutex, ReentrantMutexGuard};

use super::error::Error;
use crate::database::Database;
use crate::object::{Hash, Id, Kind, Object};
use crate::storage::{
    Feeder, FileSummary, Ingest, LONGEST_CHAIN, Location, MAX_CHAIN, PackIndex, PackSet, Reading, Recent, RecordHeader,
    SealedPack, StorageError, ingest, list_packs, pack_path, salvage, sync_folder,
};

/// How often a record that moves while it is read is followed.
const MOVES: usize = 3;

/// Chunks and objects of a repository. Shared by threads.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    packs: PackSet,
    incoming: PathBuf,
    index: Arc<ReentrantMutex<Database>>,
    scratch: Mutex<Vec<Scratch>>,
    /// Chunks that were decoded lately, while somebody wants them held.
    held: RwLock<Option<Arc<Recent>>>,
    /// What is not here may be there: a quarantine lies over its repository.
    beneath: Option<Box<Store>>,
}

/// What a reading thread needs, kept for the next one.
struct Scratch(Reading);

impl std::fmt::Debug for Scratch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Scratch")
    }
}

/// Until it goes, chunks are held.
pub(super) struct Holding<'a>(&'a Store);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Store {
    pub(super) fn open(directory: &Path, index: Arc<ReentrantMutex<Database>>) -> Self {
        Self {
            directory: directory.to_owned(),
            packs: PackSet::new(directory.join("objects")),
            incoming: directory.join("incoming"),
            index,
            scratch: Mutex::default(),
            held: RwLock::default(),
            beneath: None,
        }
    }

    /// This store, with `beneath` for what it does not have.
    pub(super) fn over(self, beneath: Store) -> Self {
        Self {
            beneath: Some(Box::new(beneath)),
            ..self
        }
    }

    /// Holds chunks that are read, up to so many bytes, for as long as the guard lives: those that are read again, or that
    /// others stand on, are decoded once. Not for whoever wants to know what is on the disk.
    pub(super) fn hold_chunks(&self, bytes: usize) -> Holding<'_> {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Recent::new(bytes)));
        Holding(self)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn beneath(&self) -> Option<&Store> {
        self.beneath.as_deref()
    }

    /// True when the record is stored and indexed.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn has(&self, hash: &Hash) -> Result<bool, Error> {
        Ok(self.index().has_record(hash)? || self.beneath.as_ref().map_or(Ok(false), |store| store.has(hash))?)
    }

    /// True when the record is here, and not only in a store beneath, and of that kind.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn has_here(&self, kind: Kind, hash: &Hash) -> Result<bool, Error> {
        Ok(self.find(kind, hash)?.is_some())
    }

    /// Reads the record as it stands in its pack, header and payload, into `buffer`. The header is checked; that the
    /// payload is what the header says is for whoever receives it to check.
    ///
    /// # Errors
    /// When it cannot be read. `None` when it is not stored.
    pub fn record(&self, hash: &Hash, buffer: &mut Vec<u8>) -> Result<Option<RecordHeader>, Error> {
        self.record_within(hash, u64::MAX, buffer)
    }

    /// The same, but of a record that is longer than `most` only the header is returned, and nothing is read.
    ///
    /// # Errors
    /// When it cannot be read. `None` when it is not stored.
    pub fn record_within(&self, hash: &Hash, most: u64, buffer: &mut Vec<u8>) -> Result<Option<RecordHeader>, Error> {
        let location = self.index().locate(hash)?;
        match (location, &self.beneath) {
            (Some(location), _) => self.wherever(location, |location| {
                if location.header.record_len() <= most {
                    self.packs.payload(location, buffer)?;
                }
                Ok(Some(location.header))
            }),
            (None, Some(beneath)) => beneath.record_within(hash, most, buffer),
            (None, None) => Ok(None),
        }
    }

    /// Where the record lies.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not stored.
    pub fn locate(&self, kind: Kind, hash: &Hash) -> Result<Location, Error> {
        self.find(kind, hash)?.ok_or(Error::Missing { kind, hash: *hash })
    }

    /// Where a record of that kind lies. One of another kind is none: its hash was checked in another domain, so that
    /// its bytes are not what this id stands for.
    fn find(&self, kind: Kind, hash: &Hash) -> Result<Option<Location>, Error> {
        let found = self.index().locate(hash)?;
        Ok(found.filter(|location| location.header.kind == kind))
    }

    /// Hands the verified raw bytes of a record to `use_bytes`, with where it lies.
    ///
    /// # Errors
    /// When it is missing or damaged; then `use_bytes` is not called.
    pub fn with<T>(&self, kind: Kind, hash: &Hash, use_bytes: impl FnOnce(&[u8], &Location) -> T) -> Result<T, Error> {
        match (self.find(kind, hash)?, &self.beneath) {
            (Some(location), _) => self.read(location, None, use_bytes),
            (None, Some(beneath)) => beneath.with(kind, hash, use_bytes),
            (None, None) => Err(Error::Missing { kind, hash: *hash }),
        }
    }

    /// Hands the verified raw bytes of the record at `location` to `use_bytes`. It may lie elsewhere by now.
    ///
    /// # Errors
    /// When it is damaged; then `use_bytes` is not called.
    pub fn with_location<T>(&self, location: &Location, use_bytes: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        self.read(*location, None, |bytes, _| use_bytes(bytes))
    }

    /// The same, with the chunks in `recent` at hand, which it joins.
    ///
    /// # Errors
    /// As [`Store::with_location`].
    pub(super) fn with_recent<T>(
        &self,
        location: &Location,
        recent: &Recent,
        use_bytes: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        self.read(*location, Some(recent), |bytes, _| use_bytes(bytes))
    }

    fn read<T>(
        &self,
        location: Location,
        recent: Option<&Recent>,
        use_bytes: impl FnOnce(&[u8], &Location) -> T,
    ) -> Result<T, Error> {
        let held = match location.header.kind {
            Kind::Chunk => self.held.read().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => None,
        };
        let recent = recent.or(held.as_deref());
        if let Some(bytes) = recent.and_then(|recent| recent.get(&location.header.hash)) {
            return Ok(use_bytes(&bytes, &location));
        }
        let pooled = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Scratch(mut reading) = match pooled {
            Some(scratch) => scratch,
            None => Scratch(Reading::new()?),
        };
        let read = self.wherever(location, |location| {
            reading.read_beside(&self.packs, *location, recent, |base| self.anywhere(base))?;
            Ok(*location)
        });
        let value = read.map(|location| use_bytes(reading.raw(), &location));
        self.scratch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Scratch(reading));
        value
    }

    /// Runs `attempt` where a record lies. A collection may move it, or what it stands on, at any moment: what fails is
    /// tried again where the record lies by then.
    fn wherever<T>(
        &self,
        mut location: Location,
        mut attempt: impl FnMut(&Location) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..MOVES {
            let error = match attempt(&location) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let now = self.find(location.header.kind, &location.header.hash)?;
            match now {
                Some(now) if now != location || is_gone(&error) => location = now,
                _ => return Err(error),
            }
        }
        attempt(&location)
    }

    /// Where a record lies, here or beneath, with the packs that it lies in.
    fn anywhere(&self, hash: &Hash) -> Result<Option<(&PackSet, Location)>, Error> {
        match (self.index().locate(hash)?, &self.beneath) {
            (Some(location), _) => Ok(Some((&self.packs, location))),
            (None, Some(beneath)) => beneath.anywhere(hash),
            (None, None) => Ok(None),
        }
    }

    /// The raw bytes of a chunk that a new delta may stand on, in `bytes`, and the chunk's id: the one that is asked
    /// for, or where its chain is as long as chains may be, one further down. `None` when there is no such chunk or it
    /// cannot be read: a base is a chance, not a need.
    pub(super) fn base(&self, hash: &Hash, bytes: &mut Vec<u8>) -> Option<Hash> {
        let chain = self.chain_of(hash)?;
        // The last one stands alone, the one before is one delta deep, and so on.
        let base = chain.get(chain.len().saturating_sub(MAX_CHAIN)).copied()?;
        bytes.clear();
        let read = self.with(Kind::Chunk, &base, |raw, _| bytes.extend_from_slice(raw));
        read.inspect_err(|error| tracing::warn!(%error, "a chunk cannot serve as a base"))
            .ok()?;
        Some(base)
    }

    /// The chunk that stands alone below a chunk: itself when it does.
    pub(super) fn root_of(&self, hash: &Hash) -> Option<Hash> {
        self.chain_of(hash)?.last().copied()
    }

    /// A chunk and those that it stands on, down to one that stands alone.
    pub(super) fn chain_of(&self, hash: &Hash) -> Option<Vec<Hash>> {
        let mut chain = Vec::new();
        let mut next = Some(*hash);
        while let Some(link) = next {
            if chain.len() > LONGEST_CHAIN {
                return None;
            }
            chain.push(link);
            next = self.anywhere(&link).ok().flatten()?.1.header.base;
        }
        Some(chain)
    }

    /// The raw bytes of a chunk, if it is here and can be read.
    pub(super) fn chunk(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.with(Kind::Chunk, hash, |raw, _| raw.to_vec()).ok()
    }

    /// Reads and decodes an object.
    ///
    /// # Errors
    /// When it is missing, damaged or invalid.
    pub fn get<T: Object>(&self, id: T::Id) -> Result<T, Error> {
        let (kind, hash) = (T::Id::KIND, *id.hash());
        self.with(kind, &hash, |bytes, _| T::decode(bytes))?
            .map_err(|source| Error::Invalid { kind, hash, source })
    }

    /// The packs themselves.
    pub fn packs(&self) -> &PackSet {
        &self.packs
    }

    pub(super) fn index(&self) -> ReentrantMutexGuard<'_, Database> {
        self.index.lock()
    }

    /// Stores what `feed` hands over; everything is durable and indexed when this returns.
    ///
    /// # Errors
    /// The error of `feed`, or why storing failed.
    pub fn write<T>(
        &self,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
        feed: impl FnOnce(&mut Feeder<'_>) -> Result<T, Error>,
    ) -> Result<(T, Vec<FileSummary>), Error> {
        // What is found to be known must stay as long as this goes on; a quarantine is nobody else's anyway.
        let _pin = self.beneath.is_none().then(|| self.pin()).transpose()?;
        self.take_in_orphans()?;
        let known = |hash: &Hash| self.index().has_record(hash).unwrap_or(false);
        let base = |hash: &Hash, bytes: &mut Vec<u8>| self.base(hash, bytes);
        let sealed = |pack: &SealedPack| self.enter(pack).map_err(Into::into);
        let folder = self.packs.folder();
        ingest(
            &Ingest {
                folder,
                incoming: &self.incoming,
                threads,
                known: &known,
                base: &base,
                sealed: &sealed,
                progress,
            },
            feed,
        )
    }

    /// Indexes a sealed pack. One that holds nothing new (another process was faster) is removed again.
    pub(super) fn enter(&self, pack: &SealedPack) -> Result<(), Error> {
        let fresh = self.index().transaction(|writer| writer.insert_pack(pack))?;
        let listed = fresh > 0 || self.index().packs()?.iter().any(|row| row.name == pack.name);
        if listed {
            return Ok(());
        }
        let path = pack_path(self.packs.folder(), &pack.name);
        match std::fs::remove_file(&path) {
            // Its writer and one that took it for an orphan may both find that it holds nothing new.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StorageError::io("remove", &path)(error))?
            }
            _ => Ok(()),
        }
    }

    /// Takes in what killed processes left: temporary packs without a writer, and sealed packs that were never
    /// indexed. Returns how many.
    ///
    /// # Errors
    /// When the folders cannot be read or the packs not be finished.
    pub fn adopt_orphans(&self) -> Result<usize, Error> {
        // A pack that a collection is about to remove is in no index for a moment.
        let _pin = self.beneath.is_none().then(|| self.pin()).transpose()?;
        self.take_in_orphans()
    }

    /// The same for a caller who keeps collections out, or is one.
    pub(super) fn take_in_orphans(&self) -> Result<usize, Error> {
        let folder = self.packs.folder();
        super::quarantine::finish_moves(&self.directory, folder)?;
        let mut orphans = salvage(&self.incoming, folder, &|base| self.chunk(base))?.packs;
        orphans.extend(self.unindexed()?);
        if !orphans.is_empty() {
            sync_folder(folder)?;
        }
        for pack in &orphans {
            self.enter(pack)?;
        }
        Ok(orphans.len())
    }

    /// Finished packs that the index does not know: their writers died, or are about to index them, which does no
    /// harm. Packs that cannot be read are left for `fsck`: they must not keep anybody from writing.
    fn unindexed(&self) -> Result<Vec<SealedPack>, Error> {
        let folder = self.packs.folder();
        let (mut names, _) = list_packs(folder)?;
        for row in self.index().packs()? {
            names.remove(&row.name);
        }
        let mut found = Vec::new();
        for name in names {
            match read_sealed(folder, name) {
                Ok(pack) => found.push(pack),
                Err(error) => tracing::warn!(%error, "a pack that is not indexed cannot be read"),
            }
        }
        Ok(found)
    }
}

/// True when a pack is not there: it was when the index named it.
fn is_gone(error: &Error) -> bool {
    match error {
        Error::Storage(StorageError::Io { source, .. }) => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// A finished pack as its own index describes it.
pub(super) fn read_sealed(folder: &Path, name: Hash) -> Result<SealedPack, StorageError> {
    let path = pack_path(folder, &name);
    let io = || StorageError::io("read", &path);
    let file = std::fs::File::open(&path).map_err(io())?;
    let len = file.metadata().map_err(io())?.len();
    let index = PackIndex::read(&file, &path)?;
    if index.name != name {
        let reason = format!("its index is that of {}", index.name);
        return Err(StorageError::NotAPack { path, reason });
    }
    Ok(SealedPack {
        name,
        len,
        entries: index.entries,
    })
}
