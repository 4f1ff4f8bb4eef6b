//! The worktree: which files are there, what the operating system says of them, and what it can prove.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use ignore::WalkBuilder;

use super::progress::{Event, Progress};
use super::{Error, Repository};
use crate::database::FileStat;
use crate::object::{ContentHash, Hash, PathError, RepoPath};

/// The file with ignore rules, in gitignore's language.
pub(super) const IGNORE_FILE: &str = ".faiignore";

/// A file found in the worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub path: RepoPath,
    pub stat: FileStat,
    pub executable: bool,
}

/// What a walk through the worktree met.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Regular files, sorted by path.
    pub files: Vec<Found>,
    /// Symbolic links, which are skipped.
    pub symlinks: Vec<RepoPath>,
    /// Names that no repository can hold, and folders that cannot be read.
    pub refused: Vec<Error>,
}

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
    /// Walks the worktree below `scopes` (all of it when there are none). Ignore files are honoured unless `all`;
    /// the repository's own folder and git's are never entered, symbolic links never followed.
    pub(super) fn walk(&self, scopes: &[RepoPath], all: bool) -> Result<Walk, Error> {
        let root = self.need_worktree("this command")?;
        let mut builder = WalkBuilder::new(root);
        builder
            .standard_filters(false)
            .hidden(false)
            .follow_links(false)
            .parents(false);
        if !all {
            builder.add_custom_ignore_filename(IGNORE_FILE);
        }
        let (owned_root, owned_scopes) = (root.to_owned(), scopes.to_vec());
        builder.filter_entry(move |entry| {
            let private = matches!(entry.file_name().to_str(), Some(".fai" | ".git"));
            let relative = entry.path().strip_prefix(&owned_root).unwrap_or(entry.path());
            entry.depth() == 0 || (!private && in_scope(relative, &owned_scopes))
        });
        let mut walk = Walk::default();
        for item in builder.build() {
            match item {
                Ok(entry) if entry.depth() > 0 => visit(root, &entry, &mut walk),
                Ok(_) => {}
                Err(error) => walk.refused.push(unreadable(root, &error)),
            }
        }
        walk.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(walk)
    }

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

    /// The path in the repository that a person means by `path` when standing in `current`.
    ///
    /// # Errors
    /// When it lies outside the worktree or cannot be in a repository.
    pub fn repo_path(&self, current: &Path, path: &Path) -> Result<RepoPath, Error> {
        let root = self.need_worktree("naming a path in the worktree")?;
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

/// True when `relative` is within a scope or leads to one.
fn in_scope(relative: &Path, scopes: &[RepoPath]) -> bool {
    scopes.is_empty()
        || scopes.iter().any(|scope| {
            let scope = Path::new(scope.as_str());
            relative.starts_with(scope) || scope.starts_with(relative)
        })
}

fn visit(root: &Path, entry: &ignore::DirEntry, walk: &mut Walk) {
    let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
    let path = match RepoPath::from_relative(relative) {
        Ok(path) => path,
        Err(error) => {
            // A folder with a refused name is reported once, its content not at all.
            let below = relative
                .parent()
                .is_some_and(|parent| RepoPath::from_relative(parent).is_err());
            if !below {
                walk.refused.push(error.into());
            }
            return;
        }
    };
    let kind = entry.file_type();
    if kind.is_some_and(|kind| kind.is_symlink()) {
        walk.symlinks.push(path);
    } else if kind.is_some_and(|kind| kind.is_file()) {
        match entry.path().symlink_metadata() {
            Ok(metadata) => {
                let (stat, executable) = (file_stat(&metadata), is_executable(&metadata));
                walk.files.push(Found { path, stat, executable });
            }
            // Gone between listing and looking: it was not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => walk.refused.push(Error::io("read", entry.path())(error)),
        }
    }
}

fn unreadable(root: &Path, error: &ignore::Error) -> Error {
    let path = match error {
        ignore::Error::WithPath { path, .. } => path.clone(),
        ignore::Error::WithDepth { err, .. } => match err.as_ref() {
            ignore::Error::WithPath { path, .. } => path.clone(),
            _ => root.to_owned(),
        },
        _ => root.to_owned(),
    };
    let source = error
        .io_error()
        .map_or_else(|| io::Error::other(error.to_string()), |io| io.kind().into());
    Error::Io {
        operation: "read",
        path,
        source,
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

/// BLAKE3 of a whole file, read once with bounded memory.
pub(super) fn hash_file(path: &Path, progress: &dyn Progress) -> io::Result<(u64, ContentHash)> {
    let mut file = open_regular(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let count = io::Read::read(&mut file, &mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        size += count as u64;
        progress.on(Event::Bytes(count as u64));
    }
    Ok((
        size,
        ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes())),
    ))
}
