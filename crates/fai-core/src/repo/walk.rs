//! The walk through the worktree: every file with what the operating system says of it, on all cores.
//!
//! Ignore rules are gitignore's, from `.faiignore` files, by crate `ignore`; the walk itself is ours, because it knows
//! that every folder's path was checked before it is entered, and asks the system once for each file.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::worktree::{file_stat, is_executable};
use super::{Error, Repository};
use crate::database::FileStat;
use crate::object::{PathError, RepoPath, check_name};

/// The file with ignore rules, in gitignore's language.
const IGNORE_FILE: &str = ".faiignore";

/// Below this many threads more would only wait for each other.
const MAX_THREADS: usize = 8;

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
    /// Scopes, or folders on the way to them, that an ignore rule excludes.
    pub excluded: Vec<RepoPath>,
}

/// A folder to look through, with the ignore rules that hold in it.
struct Folder {
    path: RepoPath,
    absolute: PathBuf,
    rules: Option<Arc<Rules>>,
}

/// The rules of one ignore file, on top of those of the folders above.
struct Rules {
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

/// Folders that wait, and how many are being looked through.
struct Queue {
    waiting: Vec<Folder>,
    busy: usize,
}

impl Repository {
    /// Walks the worktree below `scopes` (all of it when there are none). Ignore files are honoured unless `all`;
    /// the repository's own folder and git's are never entered, symbolic links never followed.
    pub(super) fn walk(&self, scopes: &[RepoPath], all: bool) -> Result<Walk, Error> {
        let root = self.need_worktree("this command")?;
        let mut scopes = scopes.to_vec();
        if scopes.iter().any(RepoPath::is_root) {
            scopes.clear();
        }
        let start = Folder {
            path: RepoPath::root(),
            absolute: root.to_owned(),
            rules: None,
        };
        let queue = Mutex::new(Queue {
            waiting: vec![start],
            busy: 0,
        });
        let (changed, threads) = (Condvar::new(), self.threads.min(MAX_THREADS));
        let parts = std::thread::scope(|scope| {
            let walkers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| work(&queue, &changed, &scopes, all)))
                .collect();
            let join = |walker: std::thread::ScopedJoinHandle<'_, Walk>| match walker.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            walkers.into_iter().map(join).collect::<Vec<_>>()
        });
        let mut walk = Walk::default();
        for part in parts {
            walk.files.extend(part.files);
            walk.symlinks.extend(part.symlinks);
            walk.refused.extend(part.refused);
            walk.excluded.extend(part.excluded);
        }
        walk.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        walk.symlinks.sort();
        Ok(walk)
    }
}

/// Looks through folders until none wait and nobody can add any.
fn work(queue: &Mutex<Queue>, changed: &Condvar, scopes: &[RepoPath], all: bool) -> Walk {
    let mut walk = Walk::default();
    loop {
        let folder = {
            let mut state = queue.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(folder) = state.waiting.pop() {
                    state.busy += 1;
                    break folder;
                }
                if state.busy == 0 {
                    changed.notify_all();
                    return walk;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let mut found = Vec::new();
        if let Err(error) = look_through(&folder, scopes, all, &mut walk, &mut found) {
            walk.refused.push(Error::io("read", &folder.absolute)(error));
        }
        let mut state = queue.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy -= 1;
        state.waiting.extend(found);
        changed.notify_all();
    }
}

fn look_through(
    folder: &Folder,
    scopes: &[RepoPath],
    all: bool,
    walk: &mut Walk,
    folders: &mut Vec<Folder>,
) -> io::Result<()> {
    let rules = if all { None } else { rules_in(folder, walk) };
    for entry in fs::read_dir(&folder.absolute)? {
        let entry = entry?;
        if matches!(entry.file_name().to_str(), Some(".fai" | ".git")) {
            continue;
        }
        match visit(folder, &entry, scopes, rules.as_ref(), walk) {
            Ok(Some(inner)) => folders.push(inner),
            Ok(None) => {}
            Err(error) => walk.refused.push(error),
        }
    }
    Ok(())
}

/// Takes note of an entry; a folder to enter is returned.
fn visit(
    folder: &Folder,
    entry: &DirEntry,
    scopes: &[RepoPath],
    rules: Option<&Arc<Rules>>,
    walk: &mut Walk,
) -> Result<Option<Folder>, Error> {
    let absolute = || folder.absolute.join(entry.file_name());
    let kind = entry
        .file_type()
        .map_err(|error| Error::io("read", &absolute())(error))?;
    let name = entry.file_name();
    let Some(name) = name.to_str() else {
        let relative = folder.path.below(Path::new("")).join(&name);
        let ignored = rules.is_some_and(|rules| rules.exclude(&absolute(), kind.is_dir()));
        let outside = !scopes.is_empty() && !scopes.iter().any(|scope| folder.path.is_within(scope));
        return if ignored || outside {
            Ok(None)
        } else {
            Err(PathError::NotUtf8(relative).into())
        };
    };
    let path = folder.path.join(name);
    let within = |scope: &RepoPath| path.is_within(scope) || (kind.is_dir() && scope.is_within(&path));
    if !scopes.is_empty() && !scopes.iter().any(within) {
        return Ok(None);
    }
    if rules.is_some_and(|rules| rules.exclude(&absolute(), kind.is_dir())) {
        if scopes.iter().any(|scope| scope.is_within(&path)) {
            walk.excluded.push(path);
        }
        return Ok(None);
    }
    check_name(name).map_err(|source| PathError::Name {
        path: path.to_string(),
        source,
    })?;
    if kind.is_dir() {
        return Ok(Some(Folder {
            path,
            absolute: absolute(),
            rules: rules.cloned(),
        }));
    }
    if kind.is_symlink() {
        walk.symlinks.push(path);
    } else if kind.is_file() {
        match entry.metadata() {
            Ok(metadata) => {
                let (stat, executable) = (file_stat(&metadata), is_executable(&metadata));
                walk.files.push(Found { path, stat, executable });
            }
            // Gone between listing and looking: it was not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &absolute())(error)),
        }
    }
    Ok(None)
}

/// The rules that hold in a folder: its own ignore file's, before those of the folders above.
fn rules_in(folder: &Folder, walk: &mut Walk) -> Option<Arc<Rules>> {
    let file = folder.absolute.join(IGNORE_FILE);
    if !file.is_file() {
        return folder.rules.clone();
    }
    let mut builder = GitignoreBuilder::new(&folder.absolute);
    if let Some(error) = builder.add(&file) {
        // A line that is no pattern is reported; the others hold.
        walk.refused.push(Error::Usage(format!("{}: {error}", file.display())));
    }
    match builder.build() {
        Ok(own) => Some(Arc::new(Rules {
            own,
            above: folder.rules.clone(),
        })),
        Err(error) => {
            walk.refused.push(Error::Usage(format!("{}: {error}", file.display())));
            folder.rules.clone()
        }
    }
}

impl Rules {
    /// True when the nearest rule that speaks of the path excludes it. Folders above were asked before they were
    /// entered, so only the path itself is matched.
    fn exclude(&self, path: &Path, is_folder: bool) -> bool {
        let mut rules = Some(self);
        while let Some(Rules { own, above }) = rules {
            match own.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = above.as_deref(),
            }
        }
        false
    }
}
