//! Single files of the worktree: naming, looking at, opening and hashing them. Walking through it is in `walk.rs`.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::progress::{Event, Progress};
use super::{Error, Repository};
use crate::chunking::zeros;
use crate::database::FileStat;
use crate::object::{ContentHash, Hash, PathError, RepoPath, check_name};
use crate::tensor::{FileSource, ReadAt};

/// File systems tell times apart by ten milliseconds at the worst, if they keep time for themselves at all: whoever
/// waits for their clock to move looks at it so often, and so many times.
pub(super) const TICK: Duration = Duration::from_millis(2);
pub(super) const TICKS: usize = 15;

/// What a stat says.
pub(super) fn file_stat(metadata: &Metadata) -> FileStat {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    FileStat {
        size: metadata.len(),
        mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}

/// True when the owner may execute the file.
pub(super) fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// Looks at paths below a worktree's root, never through a symbolic link: a file behind one is not there.
#[derive(Debug)]
pub(super) struct Looker<'a> {
    root: &'a Path,
    /// The folder that was looked at last, as paths mostly come sorted, and whether it is one all the way.
    folder: (RepoPath, bool),
}

impl<'a> Looker<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self {
            root,
            folder: (RepoPath::root(), true),
        }
    }

    /// What is at `path`; a symbolic link itself is not followed either.
    pub(super) fn look(&mut self, path: &RepoPath) -> io::Result<Metadata> {
        let folder = path.split_last().map(|(folder, _)| folder).unwrap_or_default();
        if self.folder.0 != folder {
            let reached = !passes_link(self.root, &folder);
            self.folder = (folder, reached);
        }
        if self.folder.1 {
            path.below(self.root).symlink_metadata()
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// True when `folder` or a folder above it, below `root`, is a symbolic link.
pub(super) fn passes_link(root: &Path, folder: &RepoPath) -> bool {
    let mut path = root.to_owned();
    folder.names().any(|name| {
        path.push(name);
        path.is_symlink()
    })
}

/// Opens a regular file for reading, never through a symbolic link, and never waiting for a pipe.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

impl Repository {
    /// The file system's clock, in nanoseconds since 1970: whatever is written from now on has this time or a later
    /// one. Asked of a file instead of the system clock, as the two may differ on network file systems.
    pub(super) fn file_system_clock(&self) -> Result<i64, Error> {
        let path = self.directory.join("tmp").join("clock");
        let touch = || {
            let mut file = File::create(&path)?;
            file.write_all(b".")?;
            file.metadata()
        };
        Ok(file_stat(&touch().map_err(Error::io("touch", &path))?).mtime)
    }

    /// The file system's clock, later than `time` unless that lies further ahead than a few ticks.
    pub(super) fn file_system_clock_after(&self, time: i64) -> Result<i64, Error> {
        let mut clock = self.file_system_clock()?;
        for _ in 0..TICKS {
            if clock > time {
                break;
            }
            std::thread::sleep(TICK);
            clock = self.file_system_clock()?;
        }
        Ok(clock)
    }

    /// The path in the repository that a person means by `path` when standing in `current`.
    ///
    /// # Errors
    /// When it lies outside the worktree or cannot be in a repository.
    pub fn repo_path(&self, current: &Path, path: &Path) -> Result<RepoPath, Error> {
        let root = self.need_worktree("naming a path in the worktree")?;
        if path.as_os_str().is_empty() {
            // It would mean the current folder: more than a script wants whose variable is empty.
            check_name("").map_err(|source| PathError::Name {
                path: String::new(),
                source,
            })?;
        }
        let absolute = normalized(&current.join(path));
        // The folder's real place decides, so that a link out of the worktree is outside; the last component itself
        // may be a link or not exist.
        let resolved = match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) if absolute != *root => parent.canonicalize().map(|real| real.join(name)),
            _ => absolute.canonicalize(),
        };
        let resolved = resolved.unwrap_or(absolute);
        let relative = resolved
            .strip_prefix(root)
            .map_err(|_| PathError::Outside(path.to_owned()))?;
        Ok(RepoPath::from_relative(relative)?)
    }
}

/// Drops `.` and resolves `..` by name, so that a path that does not exist can still be placed.
fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// BLAKE3 of a whole file, read once with bounded memory; its holes are not read.
pub(super) fn hash_file(path: &Path, progress: &dyn Progress) -> io::Result<(u64, ContentHash)> {
    const PIECE: usize = 1 << 20;
    let source = FileSource::new(open_regular(path)?)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut stretch = source.stretch(0);
    let mut size = 0;
    loop {
        if stretch.end <= size {
            stretch = source.stretch(size);
        }
        let left = stretch.end.saturating_sub(size).min(PIECE as u64) as usize;
        let bytes = match zeros(left).filter(|_| stretch.hole) {
            Some(zeros) => zeros,
            None => {
                let count = source.file().read_at(&mut buffer, size)?;
                buffer.get(..count).unwrap_or_default()
            }
        };
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        size += bytes.len() as u64;
        progress.on(Event::Bytes(bytes.len() as u64));
    }
    Ok((
        size,
        ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes())),
    ))
}
