//! Quarantine: where received records lie until all of what they belong to is there and checked. Then it appears in the
//! repository at once.
//!
//! A quarantine is a store of its own in `.fai/quarantine/N`, laid over the repository's. It outlives its process, so
//! that an interrupted transfer goes on with what it has; the next transfer takes over the first one without an owner.
//!
//! A chunk may lie here as a delta against one of the repository, or against another one here. What has lost its base is
//! not kept (`quarantine/deltas`).

mod deltas;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::bounded;
use parking_lot::ReentrantMutex;

use self::deltas::Fate;
use super::ahead::AHEAD;
use super::arriving::{Prefix, Prefixes};
use super::checkout::Switching;
use super::content::FileReader;
use super::durable::{lock, replace_file};
use super::progress::{Event, Progress};
use super::store::{Store, read_sealed};
use super::{Error, Head, Repository};
use crate::database::{Database, Operation, Writer};
use crate::object::{CommitId, ContentHash, FileId, Hash, Id, Kind, Time};
use crate::storage::{IndexEntry, SealedPack, list_packs, pack_path, sync_folder};

/// Transfers into one repository at the same time.
const SLOTS: usize = 64;

/// Stands in a quarantine from the moment when its packs begin to move into the repository.
const MOVING: &str = "moving";

/// Locked in the folder of quarantines while one of them becomes part of the repository.
const INSTALLING: &str = "installing.lock";

/// Chunks that a file of no length may have, and the length that allows one more: a few objects can name the same
/// chunks so often that no machine would ever read them all.
const MANY_CHUNKS: u64 = 1 << 22;
const BYTES_A_CHUNK: u64 = 4096;

/// Most chunks that a file of this size may have.
pub(super) fn most_chunks(size: u64) -> u64 {
    MANY_CHUNKS + size / BYTES_A_CHUNK
}

/// Chunks of a file that wait to be hashed.
const READ_AHEAD: usize = 4;

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
    /// What was found to be in the repository stays there until what was received leads to it.
    _pin: File,
    _lock: File,
}

impl Repository {
    /// Opens a quarantine: one that an interrupted transfer left, if there is any, else an empty one.
    ///
    /// # Errors
    /// When it cannot be created or read, or too many transfers run already.
    pub fn quarantine(&self) -> Result<Quarantine, Error> {
        for slot in 0..SLOTS {
            if let Some(quarantine) = self.slot(&slot.to_string())? {
                return Ok(quarantine);
            }
        }
        Err(Error::Busy(self.directory.join("quarantine")))
    }

    /// Opens the quarantine of one file that is fetched by itself, with what an interrupted transfer left there.
    ///
    /// # Errors
    /// [`Error::Busy`] when the same file is being fetched; when it cannot be created or read.
    pub fn quarantine_for(&self, file: FileId) -> Result<Quarantine, Error> {
        let name = format!("file-{file}");
        self.slot(&name)?
            .ok_or_else(|| Error::Busy(self.directory.join("quarantine").join(name)))
    }

    /// The quarantine with that name, unless it has an owner.
    fn slot(&self, name: &str) -> Result<Option<Quarantine>, Error> {
        let folder = self.directory.join("quarantine").join(name);
        let Some(lock) = owned(&folder)? else {
            return Ok(None);
        };
        for part in ["objects", "incoming"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(Error::io("create", &part))?;
        }
        let pin = self.pin()?;
        // What was accepted here and not yet moved belongs to the repository, and is not this transfer's.
        finish_move(&folder, self.store.packs().folder())?;
        self.store.adopt_orphans()?;
        // Files that a killed transfer wrote ahead.
        remove_all(&folder.join(AHEAD))?;
        let store = self.overlay(&folder)?;
        let quarantine = Quarantine {
            folder,
            store,
            _pin: pin,
            _lock: lock,
        };
        // What was here when it came may be gone from the repository.
        quarantine.drop_baseless()?;
        Ok(Some(quarantine))
    }

    /// The store in `folder`, laid over the repository's own.
    fn overlay(&self, folder: &Path) -> Result<Store, Error> {
        let database = Arc::new(ReentrantMutex::new(Database::open(&folder.join("db.sqlite"))?));
        let own = Store::open(&self.directory, Arc::clone(&self.database));
        let store = Store::open(folder, database).over(own);
        // Packs of a transfer that was killed while it moved them are the repository's now.
        let (there, _) = list_packs(&folder.join("objects"))?;
        let index = store.index();
        for pack in index.packs()?.iter().filter(|pack| !there.contains(&pack.name)) {
            index.transaction(|writer| writer.remove_pack(&pack.name))?;
        }
        drop(index);
        store.adopt_orphans()?;
        Ok(store)
    }

    /// Makes what is in `quarantine` part of the repository, and moves refs, all of them or none. Where the current
    /// branch moves, the files of the worktree move with it. `time` and `command` are for the log of operations. The caller has checked that everything the refs lead to is
    /// there.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when a ref is not where it should be, [`Error::LocalChanges`] when files would be lost. No ref
    /// moves then; what was received is kept either way.
    pub fn accept(
        &self,
        quarantine: Quarantine,
        moves: &[RefMove],
        time: Time,
        command: &str,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        // Until all is done nobody moves HEAD or commits: files would be written for a branch that is elsewhere by then.
        let branches = moves.iter().any(|moved| moved.name.starts_with("refs/heads/"));
        let with_files = branches && self.worktree.is_some();
        let _alone = with_files.then(|| self.alone()).transpose()?;
        let _shared = match with_files {
            true => None,
            false => Some(lock(&self.directory.join("lock"), true)?),
        };
        let _commits = branches
            .then(|| lock(&self.directory.join("commit.lock"), false))
            .transpose()?;
        let current = match self.head()? {
            Head::Branch(name) => moves.iter().find(|moved| moved.name == name),
            Head::Detached(_) => None,
        };
        let files = current.zip(self.worktree.clone());
        if files.is_some() {
            self.nothing_underway()?;
        }
        let apply = |writer: &Writer<'_>| moves.iter().try_for_each(|moved| moved.apply(writer, time, command));
        // What the last step would refuse is refused before the first one.
        self.database().rehearse(apply)?;
        self.take_cuts(&quarantine)?;
        // One after the other: together two could make chains that neither of them sees.
        let installing = lock(&self.directory.join("quarantine").join(INSTALLING), false)?;
        quarantine.shorten_chains()?;
        self.install(&quarantine)?;
        drop(installing);
        self.forget_cuts()?;
        if let Some((
            RefMove {
                before,
                after: Some(after),
                ..
            },
            root,
        )) = files
        {
            self.switch_files(&root, *before, *after, Switching::GENTLE, progress)?;
        }
        self.database().transaction(apply)?;
        quarantine.clear()
    }

    /// Takes over a quarantine's packs, and indexes them at once.
    fn install(&self, quarantine: &Quarantine) -> Result<(), Error> {
        let (from, to) = (quarantine.folder.join("objects"), self.store.packs().folder());
        let mut packs = Vec::new();
        for row in quarantine.store.index().packs()? {
            packs.push(read_sealed(&from, row.name)?);
        }
        // From here on a crash is followed by moving the rest: what is half here would look whole.
        replace_file(&quarantine.folder.join(MOVING), b"")?;
        move_packs(&from, to)?;
        let entered = self.database().transaction(|writer| {
            let enter = |pack: &SealedPack| Ok::<_, Error>((pack.name, writer.insert_pack(pack)?));
            packs.iter().map(enter).collect::<Result<Vec<_>, _>>()
        })?;
        remove_mark(&quarantine.folder)?;
        // Another transfer may have brought all of a pack meanwhile; one that brings nothing is not entered.
        let known = self.database().packs()?;
        for (name, fresh) in entered {
            if fresh == 0 && !known.iter().any(|row| row.name == name) {
                let path = pack_path(to, &name);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

impl RefMove {
    fn apply(&self, writer: &Writer<'_>, time: Time, command: &str) -> Result<(), Error> {
        let Self { name, before, after } = self;
        if before.is_none()
            && after.is_some()
            && let Some(other) = writer.ref_in_the_way(name)?
        {
            return Err(Error::RefInTheWay {
                name: name.clone(),
                other,
            });
        }
        if !writer.move_ref(name, *before, *after)? {
            return Err(Error::RefMoved(name.clone()));
        }
        Ok(writer.log_operation(&Operation {
            time,
            command: command.to_owned(),
            name: name.clone(),
            before: *before,
            after: *after,
        })?)
    }
}

impl Quarantine {
    /// What was received, over what the repository has.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Compares every received file with the content hash in its manifest. Chunks are what their ids say by now; this
    /// finds a manifest that lists others than those of its content. What was hashed while it came is not read again.
    ///
    /// # Errors
    /// [`Error::FalseFile`] names the first file that is not what it says.
    pub fn check_files(&self, threads: usize, hashed: &Prefixes, progress: &dyn Progress) -> Result<u64, Error> {
        let files = self.store.index().records_of_kind(Kind::Manifest)?;
        self.check_these(&files, threads, hashed, progress)
    }

    /// The same for the files with these ids, whether they were received or only chunks of them.
    ///
    /// # Errors
    /// As [`Quarantine::check_files`].
    pub fn check_these(
        &self,
        files: &[Hash],
        threads: usize,
        hashed: &Prefixes,
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..threads.clamp(1, files.len().max(1)) {
                scope.spawn(|| {
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.check_file(FileId::from_hash(*file), hashed, progress) {
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

    /// Chunks are read and decoded on one thread and hashed in their order on another.
    fn check_file(&self, id: FileId, hashed: &Prefixes, progress: &dyn Progress) -> Result<(), Error> {
        let reader = FileReader::open(&self.store, id)?;
        if hashed.is_checked(&id, reader.manifest()) {
            progress.on(Event::Bytes(reader.manifest().size));
            return Ok(());
        }
        let Prefix {
            chunks: mut known,
            mut hasher,
        } = hashed.of(&id).unwrap_or_default();
        std::thread::scope(|scope| {
            let (send, chunks) = bounded::<Vec<u8>>(READ_AHEAD);
            let reader = &reader;
            let reading = scope.spawn(move || {
                let mut room = most_chunks(reader.manifest().size);
                reader.for_each_chunk(&mut |_, extent| {
                    room = room.checked_sub(1).ok_or(Error::FalseFile(id))?;
                    if known > 0 {
                        known -= 1;
                        progress.on(Event::Bytes(extent.len));
                        return Ok(());
                    }
                    let bytes = self.store.with(Kind::Chunk, &extent.hash, |bytes, _| bytes.to_vec())?;
                    if bytes.len() as u64 != extent.len {
                        return Err(Error::FalseFile(id));
                    }
                    // The other end waits for all of it.
                    let _ = send.send(bytes);
                    Ok(())
                })
            });
            for bytes in chunks {
                hasher.update(&bytes);
                progress.on(Event::Bytes(bytes.len() as u64));
            }
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let found = ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes()));
        if found == reader.manifest().content {
            Ok(())
        } else {
            Err(Error::FalseFile(id))
        }
    }

    /// Drops the objects that are not in `met`: leftovers of a transfer of something else, which may lead to what is not
    /// here. Chunks lead nowhere, or to a base that is here, and stay.
    ///
    /// # Errors
    /// When packs cannot be read or written.
    pub fn retain_objects(&self, met: &HashSet<Hash>) -> Result<(), Error> {
        self.rewrite(|entry: &IndexEntry| match entry.header.kind {
            Kind::Chunk => Fate::Stays,
            _ if met.contains(&entry.header.hash) => Fate::Stays,
            _ => Fate::Goes,
        })?;
        // What was found to be damaged is gone as well.
        self.drop_baseless()
    }

    /// Throws away what lies here, and the place itself: that of a file that was fetched is of no more use.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        let (folder, lock) = self.emptied()?;
        let removed = fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder));
        drop(lock);
        removed
    }

    /// Throws away what lies here.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn clear(self) -> Result<(), Error> {
        self.emptied().map(drop)
    }

    /// Gives back the empty place, which is still owned.
    fn emptied(self) -> Result<(PathBuf, File), Error> {
        let Self {
            folder,
            store,
            _pin,
            _lock,
        } = self;
        drop(store);
        for part in [
            "objects",
            "incoming",
            "db.sqlite",
            "db.sqlite-wal",
            "db.sqlite-shm",
            super::shallow::NAME,
            AHEAD,
            MOVING,
        ] {
            remove_all(&folder.join(part))?;
        }
        Ok((folder, _lock))
    }

    /// Where it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Removes a file, or a folder with all that is in it, if there is one.
fn remove_all(path: &Path) -> Result<(), Error> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.map_err(Error::io("remove", path))
}

/// Creates the place of a quarantine if need be, and gives its lock unless it has an owner.
fn owned(folder: &Path) -> Result<Option<File>, Error> {
    let path = folder.join("lock");
    loop {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let lock = match File::options().create(true).truncate(false).write(true).open(&path) {
            // Its owner has just removed the place.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(Error::io("open", &path))?,
        };
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        // Or between opening and locking: then the lock is that of nothing.
        let inode = |metadata: std::io::Result<fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
        if inode(lock.metadata()) == inode(path.metadata()) {
            return Ok(Some(lock));
        }
    }
}

/// Moves what killed processes were about to move: everything that an accepted quarantine holds.
pub(super) fn finish_moves(directory: &Path, objects: &Path) -> Result<(), Error> {
    let all = directory.join("quarantine");
    let Ok(listing) = fs::read_dir(&all) else { return Ok(()) };
    for entry in listing {
        let folder = entry.map_err(Error::io("list", &all))?.path();
        if !folder.join(MOVING).exists() {
            continue;
        }
        // A living owner does it by itself. The lock holds until the move is done.
        if let Some(_lock) = owned(&folder)? {
            finish_move(&folder, objects)?;
        }
    }
    Ok(())
}

/// The same for the quarantine in `folder`, which the caller has locked.
fn finish_move(folder: &Path, objects: &Path) -> Result<(), Error> {
    if folder.join(MOVING).exists() {
        move_packs(&folder.join("objects"), objects)?;
        remove_mark(folder)?;
    }
    Ok(())
}

fn remove_mark(folder: &Path) -> Result<(), Error> {
    let mark = folder.join(MOVING);
    fs::remove_file(&mark).map_err(Error::io("remove", &mark))?;
    // If it came back after a power cut, the next transfer here would count as accepted.
    Ok(sync_folder(folder)?)
}

fn move_packs(from: &Path, to: &Path) -> Result<(), Error> {
    let (names, _) = list_packs(from)?;
    for name in &names {
        let (old, new) = (pack_path(from, name), pack_path(to, name));
        fs::rename(&old, &new).map_err(Error::io("rename", &old))?;
    }
    if !names.is_empty() {
        sync_folder(to)?;
    }
    Ok(())
}
