//! A database that cannot be opened: what is left of it moves to a new one, and the rest comes from the packs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::findings::explain;
use super::rebuild::free_name;
use super::{FsckOptions, FsckReport};
use crate::database::{Database, DatabaseError, Rescued};
use crate::repo::collect::alone;
use crate::repo::progress::Progress;
use crate::repo::{DIRECTORY, Error, Repository, is_repository};

impl Repository {
    /// As [`Repository::fsck`] with `rebuild`, for the repository that `start` lies in, whose database may be damaged
    /// or gone. A damaged one is set aside as `db.sqlite.damaged`; refs, staging, evicted paths and operations that can
    /// still be read from it are kept. `threads` verify packs; `None` stands for one a core.
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
    let check = || -> Result<Vec<String>, DatabaseError> {
        let database = Database::open(path)?;
        let problems = database.integrity_problems()?;
        database.packs()?;
        database.record_totals()?;
        database.refs()?;
        database.staging()?;
        database.evicted()?;
        database.operations(1)?;
        Ok(problems)
    };
    match check() {
        Ok(problems) => Ok(problems.into_iter().next()),
        Err(error) if error.is_damage() => Ok(Some(explain(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Sets the damaged database aside and makes a new one of what can be read from it.
fn replace(path: &Path, reason: &str) -> Result<String, Error> {
    let rescued = Rescued::read(path);
    let aside = free_name(&path.with_extension("sqlite.damaged"));
    for suffix in ["", "-wal", "-shm"] {
        let named = |path: &Path| {
            let mut name = OsString::from(path);
            name.push(suffix);
            PathBuf::from(name)
        };
        let from = named(path);
        match std::fs::rename(&from, named(&aside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("rename", &from)(error))?,
            _ => {}
        }
    }
    rescued.write(&Database::open(path)?)?;
    let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!(
        "the database was damaged ({reason}) and is now {aside}; kept: {} refs, {} staged paths, {} operations",
        rescued.refs.len(),
        rescued.staging.len(),
        rescued.operations.len()
    ))
}
