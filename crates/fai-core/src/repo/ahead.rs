//! Files that are written before anybody asks for them: while their bytes go by anyway, on their way into the store.
//! Whoever writes the worktree afterwards (`materialize`) takes them from here, and need not read and decode them again.
//!
//! All of this is there to be quick. What cannot be written is left out, what is begun and not finished is completed from
//! the store, and what nobody asks for goes away with its process, or with the next one that writes in the same folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::output::{Output, WriteBack};
use super::snapshot::Entry;
use super::{Error, Quarantine, Repository};
use crate::object::{Extent, FileId, Hash, Manifest, RepoPath};
use crate::storage::free_space;

/// Shorter files are not worth it.
pub const WORTH_IT: u64 = 4 << 20;

/// Most files that are begun, each open until somebody takes it.
const MOST_FILES: usize = 128;

/// Most chunks that are waited for, about 200 bytes each.
const MOST_CHUNKS: usize = 1 << 17;

/// The folder in a quarantine that such files lie in.
pub(super) const AHEAD: &str = "ahead";

/// A file that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub output: Arc<Output>,
    /// Where chunks are still to be written, and which.
    pub missing: Vec<(u64, Extent)>,
}

impl Begun {
    /// A file of `size` bytes to come in the folder `temporary`, all of which will be written. `None` when it is too short to
    /// be worth it, or there is no room for it and the same bytes in the store.
    pub fn with_room(temporary: &Path, size: u64, executable: bool) -> Option<Self> {
        if size <= WORTH_IT || !has_room(temporary, size) {
            return None;
        }
        let output = Output::create(temporary, size, executable).ok()?;
        Some(Self {
            output: Arc::new(output),
            missing: Vec::new(),
        })
    }
}

/// True when so many bytes fit into `folder` twice: what is written ahead goes into the store as well.
fn has_room(folder: &Path, bytes: u64) -> bool {
    free_space(folder).is_ok_and(|free| free / 2 > bytes)
}

/// What was written ahead, for whoever wants it.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<HashMap<(FileId, bool), Begun>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, HashMap<(FileId, bool), Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes of a file are written, if any of it is here.
    pub fn written(&self, entry: &Entry) -> Option<u64> {
        let ready = self.lock();
        let begun = ready.get(&(entry.file, entry.executable))?;
        let missing: u64 = begun.missing.iter().map(|(_, extent)| extent.len).sum();
        entry.size.checked_sub(missing)
    }

    /// Hands over a file. It is given once, even if several have the same content.
    pub fn take(&self, entry: &Entry) -> Option<Begun> {
        self.lock().remove(&(entry.file, entry.executable))
    }

    pub fn put(&self, file: FileId, executable: bool, begun: Begun) {
        self.lock().insert((file, executable), begun);
    }

    /// True when the file at `path` is one of these.
    pub fn holds(&self, path: &Path) -> bool {
        self.lock().values().any(|begun| begun.output.path() == path)
    }
}

/// Files of a commit that are written while their chunks come, in any order, on whatever threads bring them.
#[derive(Debug)]
pub struct Ahead {
    folder: PathBuf,
    state: Mutex<State>,
    write_back: WriteBack,
}

#[derive(Debug, Default)]
struct State {
    /// Files that are to be written and were not begun, their sizes and whether they may be executed.
    wanted: HashMap<FileId, (u64, bool)>,
    begun: Vec<Arc<Draft>>,
    /// Where chunks belong that did not come yet.
    places: HashMap<Hash, Vec<Place>>,
    /// Entries in `places`.
    chunks: usize,
}

/// A file that was begun.
#[derive(Debug)]
struct Draft {
    file: FileId,
    executable: bool,
    size: u64,
    output: Arc<Output>,
    /// It could not be written, and is left.
    failed: AtomicBool,
}

/// Where a chunk belongs.
#[derive(Debug)]
struct Place {
    draft: Arc<Draft>,
    offset: u64,
    len: u64,
}

impl Ahead {
    /// Will write those of `files` that come, in `folder`.
    fn new(folder: PathBuf, files: impl IntoIterator<Item = Entry>) -> Self {
        let worth_it = files.into_iter().filter(|entry| entry.size > WORTH_IT);
        let wanted = worth_it.map(|entry| (entry.file, (entry.size, entry.executable)));
        let state = State {
            wanted: wanted.collect(),
            ..State::default()
        };
        Self {
            folder,
            state: Mutex::new(state),
            write_back: WriteBack::start(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunks of a file will come. One with pages is left to be written afterwards, and so is one for which there is no
    /// room.
    pub fn expect(&self, file: FileId, manifest: &Manifest) {
        let mut state = self.state();
        let Some((size, executable)) = state.wanted.remove(&file) else {
            return;
        };
        let many = state.begun.len() >= MOST_FILES || state.chunks + manifest.entries.len() > MOST_CHUNKS;
        if manifest.level != 0 || manifest.size != size || many || !has_room(&self.folder, size + state.to_come()) {
            return;
        }
        let output = match Output::create(&self.folder, size, executable) {
            Ok(output) => Arc::new(output),
            Err(error) => return tracing::warn!(%error, "a file is written later"),
        };
        let draft = Arc::new(Draft {
            file,
            executable,
            size,
            output,
            failed: AtomicBool::new(false),
        });
        let mut offset = 0;
        for extent in &manifest.entries {
            let place = Place {
                draft: Arc::clone(&draft),
                offset,
                len: extent.len,
            };
            state.places.entry(extent.hash).or_default().push(place);
            offset += extent.len;
        }
        state.chunks += manifest.entries.len();
        state.begun.push(draft);
    }

    /// A chunk came, and its hash was checked.
    pub fn came(&self, hash: &Hash, bytes: &[u8]) {
        let places = {
            let mut state = self.state();
            let Some(places) = state.places.remove(hash) else {
                return;
            };
            state.chunks -= places.len();
            places
        };
        for place in places.iter().filter(|place| !place.draft.has_failed()) {
            if let Err(error) = place.write(bytes) {
                tracing::warn!(%error, "a file is written later");
                place.draft.failed.store(true, Ordering::Relaxed);
                place.draft.output.give_up();
                continue;
            }
            if place.draft.output.count(place.len).write_back {
                self.write_back.push(&place.draft.output);
            }
        }
    }

    /// Nothing more comes: hands over what was written.
    pub fn finish(self, repository: &Repository) {
        let Self { state, write_back, .. } = self;
        if let Err(error) = write_back.end() {
            tracing::warn!(%error, "a file is written once more");
        }
        let State { begun, places, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut missing: HashMap<FileId, Vec<(u64, Extent)>> = HashMap::new();
        for (hash, places) in places {
            for Place { draft, offset, len } in places {
                missing
                    .entry(draft.file)
                    .or_default()
                    .push((offset, Extent { hash, len }));
            }
        }
        for draft in begun.into_iter().filter(|draft| !draft.has_failed()) {
            let mut missing = missing.remove(&draft.file).unwrap_or_default();
            // Chunks that wait for others are better written with all that stand on those.
            if draft.output.remaining() > draft.size / 2 {
                continue;
            }
            missing.sort_unstable_by_key(|(offset, _)| *offset);
            let output = Arc::clone(&draft.output);
            repository
                .ready
                .put(draft.file, draft.executable, Begun { output, missing });
        }
    }
}

impl State {
    /// Bytes of begun files that are still to be written.
    fn to_come(&self) -> u64 {
        let going = self.begun.iter().filter(|draft| !draft.has_failed());
        going.map(|draft| draft.output.remaining()).sum()
    }
}

impl Draft {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.output.is_lost()
    }
}

impl Place {
    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let output = &self.draft.output;
        let write = || match bytes.len() as u64 == self.len {
            true => output.write(bytes, self.offset).map(drop),
            false => Err(std::io::Error::other("a chunk has another length than its file says")),
        };
        write().map_err(output.failed("write"))
    }
}

impl Quarantine {
    /// Has files written while they come, those of `files` that belong into the worktree. They lie in the quarantine until
    /// the repository takes it over. `None` when that is not to be.
    pub fn ahead(&self, repository: &Repository, files: BTreeMap<RepoPath, Entry>) -> Option<Ahead> {
        repository.worktree()?;
        let folder = self.folder().join(AHEAD);
        let files = repository.kept(files, &[]);
        let made = files.and_then(|files| {
            std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            Ok(files)
        });
        match made {
            Ok(files) => Some(Ahead::new(folder, files.into_values())),
            Err(error) => {
                tracing::warn!(%error, "files are written later");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ContentHash, Id, Kind};
    use crate::repo::InitOptions;

    const CHUNK: usize = 1 << 20;

    /// A repository, a file of chunks with these numbers (0 is zeros), and its bytes.
    struct Arrangement {
        _folder: tempfile::TempDir,
        repository: Repository,
        quarantine: Quarantine,
        file: FileId,
        manifest: Manifest,
        bytes: Vec<u8>,
    }

    fn chunk(number: u8) -> Vec<u8> {
        vec![number; CHUNK]
    }

    fn hash(number: u8) -> Hash {
        Kind::Chunk.hash(&chunk(number))
    }

    impl Arrangement {
        fn of(chunks: &[u8]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
            let bytes: Vec<u8> = chunks.iter().flat_map(|number| chunk(*number)).collect();
            let extent = |number: &u8| Extent {
                hash: hash(*number),
                len: CHUNK as u64,
            };
            Self {
                quarantine: repository.quarantine().unwrap(),
                repository,
                file: FileId::from_hash(Kind::Manifest.hash(chunks)),
                manifest: Manifest {
                    size: bytes.len() as u64,
                    content: ContentHash::from_hash(Kind::Chunk.hash(&bytes)),
                    level: 0,
                    entries: chunks.iter().map(extent).collect(),
                },
                bytes,
                _folder: folder,
            }
        }

        fn entry(&self) -> Entry {
            Entry {
                file: self.file,
                size: self.manifest.size,
                executable: true,
            }
        }

        /// Waits for the file, and has these chunks come.
        fn came(&self, entry: Entry, manifest: &Manifest, chunks: &[u8]) -> Option<Begun> {
            let files = BTreeMap::from([(RepoPath::parse("model").unwrap(), entry)]);
            let ahead = self.quarantine.ahead(&self.repository, files).unwrap();
            ahead.expect(self.file, manifest);
            for number in chunks {
                ahead.came(&hash(*number), &chunk(*number));
            }
            ahead.finish(&self.repository);
            self.repository.ready.take(&self.entry())
        }
    }

    #[test]
    fn whatever_the_order_all_is_written_and_what_did_not_come_is_known() {
        let made = Arrangement::of(&[1, 2, 0, 3, 2, 4, 5, 0]);
        let begun = made.came(made.entry(), &made.manifest, &[5, 0, 2, 1, 3]).unwrap();
        let expected = Extent {
            hash: hash(4),
            len: CHUNK as u64,
        };
        assert_eq!(begun.missing, [(5 * CHUNK as u64, expected)]);
        begun.output.write(&chunk(4), 5 * CHUNK as u64).unwrap();
        assert!(begun.output.count(CHUNK as u64).all);
        let path = begun.output.finish(true).unwrap().unwrap();
        assert!(std::fs::read(&path).unwrap() == made.bytes);
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(crate::repo::worktree::is_executable(&metadata));
        assert!(made.repository.ready.take(&made.entry()).is_none(), "it is given once");
    }

    #[test]
    fn what_is_mostly_missing_is_left() {
        let made = Arrangement::of(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(made.came(made.entry(), &made.manifest, &[1, 2, 3]).is_none());
        assert!(made.came(made.entry(), &made.manifest, &[1, 2, 3, 4]).is_some());
    }

    #[test]
    fn lies_are_left_to_whoever_reports_them() {
        let made = Arrangement::of(&[1, 2, 3, 4, 5, 6]);
        let mut long = made.manifest.clone();
        long.entries[2].len += 1;
        assert!(
            made.came(made.entry(), &long, &[1, 2, 3, 4, 5, 6]).is_none(),
            "a chunk of another length"
        );
        let entry = Entry {
            size: made.manifest.size + 1,
            ..made.entry()
        };
        assert!(
            made.came(entry, &made.manifest, &[1, 2, 3, 4, 5, 6]).is_none(),
            "a tree that says otherwise"
        );
    }

    #[test]
    fn files_that_are_small_or_not_of_the_worktree_are_not_begun() {
        let made = Arrangement::of(&[1, 2, 3, 4]);
        assert!(
            made.came(made.entry(), &made.manifest, &[1, 2, 3, 4]).is_none(),
            "{WORTH_IT} bytes"
        );
        let made = Arrangement::of(&[1, 2, 3, 4, 5]);
        let other = Entry {
            file: FileId::from_hash(hash(9)),
            ..made.entry()
        };
        assert!(made.came(other, &made.manifest, &[1, 2, 3, 4, 5]).is_none());
        assert!(made.came(made.entry(), &made.manifest, &[1, 2, 3, 4, 5]).is_some());
    }
}
