//! Quarantine: where received records lie until all of what they belong to is there and checked. Then it appears in the
//! repository at once.
//!
//! A quarantine is a store of its own in `.fai/quarantine/N`, laid over the repository's. It outlives its process, so
//! that an interrupted transfer goes on with what it has; the next transfer takes over the first one without an owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::ReentrantMutex;

use super::content::FileReader;
use super::durable::lock;
use super::progress::{Event, Progress};
use super::store::{Store, read_sealed};
use super::{Error, Repository};
use crate::database::{Database, Operation};
use crate::object::{CommitId, ContentHash, FileId, Hash, Id, Kind};
use crate::storage::{list_packs, pack_path, sync_folder};

/// Transfers into one repository at the same time.
const SLOTS: usize = 64;

/// A ref that moves, as one of a set that moves together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefMove {
    /// Its full name (`refs/heads/main`).
    pub name: String,
    /// Where it must be now; `None` when it must not exist.
    pub before: Option<CommitId>,
    /// Where it will be.
    pub after: Option<CommitId>,
}

/// Records on their way into a repository.
#[derive(Debug)]
pub struct Quarantine {
    folder: PathBuf,
    store: Store,
    _lock: File,
}

impl Repository {
    /// Opens a quarantine: one that an interrupted transfer left, if there is any, else an empty one.
    ///
    /// # Errors
    /// When it cannot be created or read, or too many transfers run already.
    pub fn quarantine(&self) -> Result<Quarantine, Error> {
        let all = self.directory.join("quarantine");
        for slot in 0..SLOTS {
            let folder = all.join(slot.to_string());
            for part in ["objects", "incoming"] {
                let part = folder.join(part);
                fs::create_dir_all(&part).map_err(Error::io("create", &part))?;
            }
            let path = folder.join("lock");
            let open = File::options().create(true).truncate(false).write(true).open(&path);
            let lock = open.map_err(Error::io("open", &path))?;
            if lock.try_lock().is_ok() {
                let store = self.overlay(&folder)?;
                return Ok(Quarantine {
                    folder,
                    store,
                    _lock: lock,
                });
            }
        }
        Err(Error::Busy(all))
    }

    /// The store in `folder`, laid over the repository's own.
    fn overlay(&self, folder: &Path) -> Result<Store, Error> {
        let database = Arc::new(ReentrantMutex::new(Database::open(&folder.join("db.sqlite"))?));
        let own = Store::open(&self.directory, Arc::clone(&self.database));
        let store = Store::open(folder, database).over(own);
        // A transfer that was killed while it moved its packs: those are the repository's now.
        let (there, _) = list_packs(&folder.join("objects"))?;
        let index = store.index();
        for pack in index.packs()?.iter().filter(|pack| !there.contains(&pack.name)) {
            index.transaction(|writer| writer.remove_pack(&pack.name))?;
        }
        drop(index);
        store.adopt_orphans()?;
        Ok(store)
    }

    /// Makes what is in `quarantine` part of the repository, and moves refs, all at once. The caller has checked that
    /// everything the refs lead to is there.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when a ref is not where it should be; nothing happens then, and the quarantine stays.
    pub fn accept(&self, quarantine: Quarantine, moves: &[RefMove], operation: &Operation) -> Result<(), Error> {
        let _shared = lock(&self.directory.join("lock"), true)?;
        self.check_moves(moves)?;
        let (from, to) = (quarantine.folder.join("objects"), self.store.packs().folder());
        let mut packs = Vec::new();
        for row in quarantine.store.index().packs()? {
            packs.push(read_sealed(&from, row.name)?);
        }
        for pack in &packs {
            let (old, new) = (pack_path(&from, &pack.name), pack_path(to, &pack.name));
            fs::rename(&old, &new).map_err(Error::io("rename", &old))?;
        }
        if !packs.is_empty() {
            sync_folder(to)?;
        }
        let superfluous = self.database().transaction(|writer| {
            let mut superfluous = Vec::new();
            for pack in &packs {
                if writer.insert_pack(pack)? == 0 {
                    superfluous.push(pack.name);
                }
            }
            for RefMove { name, before, after } in moves {
                if !writer.move_ref(name, *before, *after)? {
                    return Err(Error::RefMoved(name.clone()));
                }
                let (name, before, after) = (name.clone(), *before, *after);
                writer.log_operation(&Operation {
                    name,
                    before,
                    after,
                    ..operation.clone()
                })?;
            }
            Ok(superfluous)
        })?;
        // Another transfer may have brought all of it meanwhile; a pack that brings nothing is not entered.
        let known = self.database().packs()?;
        for name in superfluous
            .iter()
            .filter(|name| !known.iter().any(|row| row.name == **name))
        {
            let path = pack_path(to, name);
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        quarantine.clear()
    }

    fn check_moves(&self, moves: &[RefMove]) -> Result<(), Error> {
        for RefMove { name, before, .. } in moves {
            if self.database().read_ref(name)? != *before {
                return Err(Error::RefMoved(name.clone()));
            }
        }
        Ok(())
    }
}

impl Quarantine {
    /// What was received, over what the repository has.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Sum of the raw lengths of the chunks that lie here already, and their number.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn held(&self) -> Result<(u64, u64), Error> {
        let totals = self.store.index().record_totals()?;
        let chunks = totals.iter().filter(|total| total.kind == Kind::Chunk);
        Ok(chunks.fold((0, 0), |(count, bytes), total| {
            (count + total.count, bytes + total.raw_bytes)
        }))
    }

    /// Reads every received file as a whole and compares it with the content hash in its manifest. Chunks are what
    /// their ids say by now; this finds a manifest that lists others than those of its content.
    ///
    /// # Errors
    /// [`Error::FalseFile`] names the first file that is not what it says.
    pub fn check_files(&self, threads: usize, progress: &dyn Progress) -> Result<u64, Error> {
        let files = self.store.index().records_of_kind(Kind::Manifest)?;
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..threads.clamp(1, files.len().max(1)) {
                scope.spawn(|| {
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.check_file(FileId::from_hash(*file), progress) {
                            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                            failure.get_or_insert(error);
                            next.store(files.len(), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(files.len() as u64),
        }
    }

    fn check_file(&self, id: FileId, progress: &dyn Progress) -> Result<(), Error> {
        let reader = FileReader::open(&self.store, id)?;
        let mut hasher = blake3::Hasher::new();
        reader.for_each_chunk(&mut |_, extent| {
            self.store.with(Kind::Chunk, &extent.hash, |bytes, _| {
                let fits = bytes.len() as u64 == extent.len;
                if fits {
                    hasher.update(bytes);
                    progress.on(Event::Bytes(extent.len));
                }
                if fits { Ok(()) } else { Err(Error::FalseFile(id)) }
            })?
        })?;
        let found = ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes()));
        if found == reader.manifest().content {
            Ok(())
        } else {
            Err(Error::FalseFile(id))
        }
    }

    /// Throws away what lies here.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn clear(self) -> Result<(), Error> {
        let Self { folder, store, _lock } = self;
        drop(store);
        for part in ["objects", "incoming", "db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
            let path = folder.join(part);
            let removed = match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => continue,
            };
            removed.map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}
