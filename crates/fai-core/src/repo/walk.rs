//! The walk through the worktree: every file with what the operating system says of it, on all cores.
//!
//! Ignore rules are gitignore's, from `.faiignore` files, by crate `ignore`; the walk itself is ours, because it knows
//! that every folder's path was checked before it is entered, and asks the system once for each file.

use std::ffi::OsString;
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

/// A regular file of a folder.
#[derive(Debug)]
pub(super) struct Listed {
    pub name: String,
    pub stat: FileStat,
    pub executable: bool,
}

/// What a folder holds, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: Vec<Listed>,
    pub folders: Vec<String>,
}

/// What a walk passed by.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Symbolic links, which are skipped.
    pub symlinks: Vec<RepoPath>,
    /// Names that no repository can hold, and folders that cannot be read.
    pub refused: Vec<Error>,
    /// Scopes, or folders on the way to them, that an ignore rule excludes.
    pub excluded: Vec<RepoPath>,
}

/// What a walk through the worktree met.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Regular files, sorted by path.
    pub files: Vec<Found>,
    pub passed: Passed,
}

/// Which part of the worktree to walk through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent<'a> {
    /// Files and folders; nothing means everything.
    pub scopes: &'a [RepoPath],
    /// Also what ignore files exclude.
    pub all: bool,
}

/// A folder to look through, with the ignore rules that hold in it and what the visitor of the folder above says.
struct Folder<C> {
    path: RepoPath,
    absolute: PathBuf,
    rules: Option<Arc<Rules>>,
    context: C,
}

/// The rules of one ignore file, on top of those of the folders above.
struct Rules {
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

/// Folders that wait, and how many are being looked through.
struct Queue<C> {
    waiting: Vec<Folder<C>>,
    busy: usize,
}

impl Repository {
    /// The files of the worktree below `scopes` (all of it when there are none). Ignore files are honoured unless
    /// `all`; the repository's own folder and git's are never entered, symbolic links never followed.
    pub(super) fn walk(&self, scopes: &[RepoPath], all: bool) -> Result<Walk, Error> {
        let visit = |folder: &RepoPath, (): (), listing: Listing, files: &mut Vec<Found>| {
            files.extend(listing.files.into_iter().map(|file| file.in_folder(folder)));
            Ok(listing.folders.iter().map(|_| ()).collect())
        };
        let (parts, passed) = self.walk_folders(Extent { scopes, all }, (), visit)?;
        let mut files: Vec<Found> = parts.into_iter().flatten().collect();
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(Walk { files, passed })
    }

    /// Calls `visit` for every folder, on all cores, with what it holds; folders come before those below them. It is
    /// given the context that the visit of the folder above returned for it (one for each of the listing's folders,
    /// in their order), and its thread's part of the result. An error ends the walk.
    pub(super) fn walk_folders<C: Send, P: Default + Send>(
        &self,
        extent: Extent<'_>,
        context: C,
        visit: impl Fn(&RepoPath, C, Listing, &mut P) -> Result<Vec<C>, Error> + Sync,
    ) -> Result<(Vec<P>, Passed), Error> {
        let root = self.need_worktree("this command")?;
        let everything = extent.scopes.iter().any(RepoPath::is_root);
        let extent = Extent {
            scopes: if everything { &[] } else { extent.scopes },
            ..extent
        };
        let start = Folder {
            path: RepoPath::root(),
            absolute: root.to_owned(),
            rules: None,
            context,
        };
        let queue = Mutex::new(Queue {
            waiting: vec![start],
            busy: 0,
        });
        let (changed, threads) = (Condvar::new(), self.threads.min(MAX_THREADS));
        let results = std::thread::scope(|scope| {
            let walkers: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| work(&queue, &changed, extent, &visit)))
                .collect();
            let own = work(&queue, &changed, extent, &visit);
            let join = |walker: std::thread::ScopedJoinHandle<'_, _>| match walker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            std::iter::once(own)
                .chain(walkers.into_iter().map(join))
                .collect::<Vec<_>>()
        });
        let (mut parts, mut all) = (Vec::new(), Passed::default());
        for result in results {
            let (part, passed) = result?;
            parts.push(part);
            all.symlinks.extend(passed.symlinks);
            all.refused.extend(passed.refused);
            all.excluded.extend(passed.excluded);
        }
        all.symlinks.sort();
        Ok((parts, all))
    }
}

impl Listed {
    /// The file with its path.
    pub(super) fn in_folder(self, folder: &RepoPath) -> Found {
        Found {
            path: folder.join(&self.name),
            stat: self.stat,
            executable: self.executable,
        }
    }
}

/// Looks through folders until none wait and nobody can add any.
fn work<C: Send, P: Default>(
    queue: &Mutex<Queue<C>>,
    changed: &Condvar,
    extent: Extent<'_>,
    visit: &impl Fn(&RepoPath, C, Listing, &mut P) -> Result<Vec<C>, Error>,
) -> Result<(P, Passed), Error> {
    let (mut part, mut passed) = (P::default(), Passed::default());
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
                    return Ok((part, passed));
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let result = enter(folder, extent, &mut passed, |path, context, listing| {
            visit(path, context, listing, &mut part)
        });
        let mut state = queue.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy -= 1;
        match result {
            Ok(found) => state.waiting.extend(found),
            Err(error) => {
                state.waiting.clear();
                changed.notify_all();
                return Err(error);
            }
        }
        changed.notify_all();
    }
}

/// Visits one folder and returns those below it.
fn enter<C>(
    folder: Folder<C>,
    extent: Extent<'_>,
    passed: &mut Passed,
    visit: impl FnOnce(&RepoPath, C, Listing) -> Result<Vec<C>, Error>,
) -> Result<Vec<Folder<C>>, Error> {
    let Folder {
        path,
        absolute,
        rules,
        context,
    } = folder;
    let place = Place { path, absolute };
    let rules = if extent.all {
        None
    } else {
        rules_in(&place, rules, passed)
    };
    let mut listing = Listing::default();
    if let Err(error) = look_through(&place, extent, rules.as_deref(), passed, &mut listing) {
        passed.refused.push(Error::io("read", &place.absolute)(error));
    }
    listing.files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    listing.folders.sort_unstable();
    let names = listing.folders.clone();
    let contexts = visit(&place.path, context, listing)?;
    let below = names.into_iter().zip(contexts).map(|(name, context)| Folder {
        path: place.path.join(&name),
        absolute: place.absolute.join(&name),
        rules: rules.clone(),
        context,
    });
    Ok(below.collect())
}

/// Where a folder is.
struct Place {
    path: RepoPath,
    absolute: PathBuf,
}

fn look_through(
    place: &Place,
    extent: Extent<'_>,
    rules: Option<&Rules>,
    passed: &mut Passed,
    listing: &mut Listing,
) -> io::Result<()> {
    for entry in fs::read_dir(&place.absolute)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == ".fai" || name == ".git" {
            continue;
        }
        if let Err(error) = look_at(place, &entry, name, extent, rules, passed, listing) {
            passed.refused.push(error);
        }
    }
    Ok(())
}

/// Takes note of an entry.
fn look_at(
    place: &Place,
    entry: &DirEntry,
    name: OsString,
    extent: Extent<'_>,
    rules: Option<&Rules>,
    passed: &mut Passed,
    listing: &mut Listing,
) -> Result<(), Error> {
    let absolute = || place.absolute.join(entry.file_name());
    let kind = entry
        .file_type()
        .map_err(|error| Error::io("read", &absolute())(error))?;
    let scopes = extent.scopes;
    let name = match name.into_string() {
        Ok(name) => name,
        Err(name) => {
            let relative = place.path.below(Path::new("")).join(&name);
            let ignored = rules.is_some_and(|rules| rules.exclude(&absolute(), kind.is_dir()));
            let outside = !scopes.is_empty() && !scopes.iter().any(|scope| place.path.is_within(scope));
            return if ignored || outside {
                Ok(())
            } else {
                Err(PathError::NotUtf8(relative).into())
            };
        }
    };
    if !scopes.is_empty() {
        let path = place.path.join(&name);
        let within = |scope: &RepoPath| path.is_within(scope) || (kind.is_dir() && scope.is_within(&path));
        if !scopes.iter().any(within) {
            return Ok(());
        }
    }
    if rules.is_some_and(|rules| rules.exclude(&absolute(), kind.is_dir())) {
        let path = place.path.join(&name);
        if scopes.iter().any(|scope| scope.is_within(&path)) {
            passed.excluded.push(path);
        }
        return Ok(());
    }
    check_name(&name).map_err(|source| PathError::Name {
        path: place.path.join(&name).to_string(),
        source,
    })?;
    if kind.is_dir() {
        listing.folders.push(name);
    } else if kind.is_symlink() {
        passed.symlinks.push(place.path.join(&name));
    } else if kind.is_file() {
        match entry.metadata() {
            Ok(metadata) => {
                let (stat, executable) = (file_stat(&metadata), is_executable(&metadata));
                listing.files.push(Listed { name, stat, executable });
            }
            // Gone between listing and looking: it was not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &absolute())(error)),
        }
    }
    Ok(())
}

/// The rules that hold in a folder: its own ignore file's, before those of the folders above.
fn rules_in(place: &Place, above: Option<Arc<Rules>>, passed: &mut Passed) -> Option<Arc<Rules>> {
    let file = place.absolute.join(IGNORE_FILE);
    if !file.is_file() {
        return above;
    }
    let mut builder = GitignoreBuilder::new(&place.absolute);
    if let Some(error) = builder.add(&file) {
        // A line that is no pattern is reported; the others hold.
        passed
            .refused
            .push(Error::Usage(format!("{}: {error}", file.display())));
    }
    match builder.build() {
        Ok(own) => Some(Arc::new(Rules { own, above })),
        Err(error) => {
            passed
                .refused
                .push(Error::Usage(format!("{}: {error}", file.display())));
            above
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
