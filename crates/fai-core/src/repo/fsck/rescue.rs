//! A database that cannot be opened: what is left of it moves to a new one, and the rest comes from the packs.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::findings::explain;
use super::rebuild::free_name;
use super::{FsckOptions, FsckReport};
use crate::database::Database;
use crate::repo::collect::alone;
use crate::repo::progress::Progress;
use crate::repo::{DIRECTORY, Error, Repository, is_repository};
use crate::storage::sync_folder;

impl Repository {
    /// As [`Repository::fsck`] with `rebuild`, for the repository that `start` lies in, whose database may be damaged
    /// or gone. A damaged one is set aside as `db.sqlite.damaged`; whatever can still be read from it and is in no pack
    /// (refs, staging, logs, a merge under way) is kept. `threads` verify packs; `None` stands for one a core.
    /// For those who are at work there it waits as long as `patience`.
    ///
    /// # Errors
    /// [`Error::NotARepository`]; a database that a newer version wrote, or that is not damaged and yet cannot be
    /// opened; as [`Repository::fsck`].
    pub fn fsck_rebuild_at(
        start: &Path,
        threads: Option<usize>,
        patience: Duration,
        progress: &dyn Progress,
    ) -> Result<(Self, FsckReport), Error> {
        let absolute = start.canonicalize().map_err(Error::io("open", start))?;
        let (root, directory) = find(&absolute).ok_or_else(|| Error::NotARepository(absolute.clone()))?;
        let mut recovered = Vec::new();
        {
            let _all = alone(&directory, patience, progress)?;
            let path = directory.join("db.sqlite");
            finish(&path)?;
            if let Some(reason) = damage(&path)? {
                recovered.push(replace(&path, &reason)?);
            }
        }
        let mut repository = Self::open(&root)?;
        if let Some(threads) = threads {
            repository = repository.with_threads(threads);
        }
        let options = FsckOptions {
            full: true,
            rebuild: true,
            patience,
        };
        let mut report = repository.fsck(&options, progress)?;
        recovered.append(&mut report.recovered);
        report.recovered = recovered;
        Ok((repository, report))
    }
}

/// The repository that a folder lies in: what to open, and where its parts are.
fn find(start: &Path) -> Option<(PathBuf, PathBuf)> {
    start.ancestors().find_map(|folder| {
        [folder.join(DIRECTORY), folder.to_owned()]
            .into_iter()
            .find(|directory| is_repository(directory))
            .map(|directory| (folder.to_owned(), directory))
    })
}

/// What is wrong with the database, if it is damaged beyond what a transaction can put right.
fn damage(path: &Path) -> Result<Option<String>, Error> {
    match Database::open(path).and_then(|database| database.check()) {
        Ok(problems) => Ok(problems.into_iter().next()),
        Err(error) if error.is_damage() => Ok(Some(explain(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Makes a new database of what can be read from the damaged one, and puts it in its place. A kill before the damaged one
/// goes changes nothing; after that `finish` does the rest.
fn replace(path: &Path, reason: &str) -> Result<String, Error> {
    let fresh = fresh(path);
    for suffix in SUFFIXES {
        let left = with_suffix(&fresh, suffix);
        match std::fs::remove_file(&left) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &left)(error))?,
            _ => {}
        }
    }
    let rescued = Database::open(&fresh)?.rescue(path)?;
    let synced = File::open(&fresh).and_then(|file| file.sync_all());
    synced.map_err(Error::io("sync", &fresh))?;
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    let aside = free_name(&path.with_extension("sqlite.damaged"));
    put_in_place(path, &aside)?;
    let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!(
        "the database was damaged ({reason}) and is now {aside}; kept: {} refs, {} staged paths, {} operations",
        rescued.refs, rescued.staged, rescued.operations
    ))
}

/// Ends what was killed between the going of the damaged database and the coming of the new one.
fn finish(path: &Path) -> Result<(), Error> {
    match !path.exists() && fresh(path).exists() {
        true => put_in_place(path, &free_name(&path.with_extension("sqlite.damaged"))),
        false => Ok(()),
    }
}

/// Moves the database at `path`, if there is one, and its log to `aside`, and the fresh one to `path`. The database goes
/// first: as long as it is there its log is needed to read it.
fn put_in_place(path: &Path, aside: &Path) -> Result<(), Error> {
    for suffix in SUFFIXES {
        let from = with_suffix(path, suffix);
        match std::fs::rename(&from, with_suffix(aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("rename", &from)(error))?,
            _ => {}
        }
    }
    let fresh = fresh(path);
    std::fs::rename(&fresh, path).map_err(Error::io("rename", &fresh))?;
    match path.parent() {
        Some(folder) => Ok(sync_folder(folder)?),
        None => Ok(()),
    }
}

/// The files of a database.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// Where the new database is made. It is whole once the damaged one is gone.
fn fresh(path: &Path) -> PathBuf {
    path.with_extension("sqlite.new")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
