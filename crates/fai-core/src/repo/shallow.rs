//! Where history is cut: commits whose parents may be missing on purpose. They stand in the file `shallow`, one a line.
//!
//! The file names a commit before the commit comes, and until its parents have come: to be named and complete does no
//! harm, so that no crash between two writes does. It is read for every walk, for another process may change it.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use super::durable::{lock, replace_file};
use super::{Error, Quarantine, Repository, Store};
use crate::object::{Commit, CommitId, Id, Kind};

/// The file's name.
pub(super) const NAME: &str = "shallow";

/// The longest such file: a million commits.
const MAX_LEN: u64 = 65 << 20;

/// Commits whose parents may be missing on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cuts(HashSet<CommitId>);

impl Cuts {
    /// True when all history is here.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Store {
    /// Where history is cut, here and beneath.
    pub(super) fn cuts(&self) -> Result<Cuts, Error> {
        let mut all = match self.beneath() {
            Some(beneath) => beneath.cuts()?,
            None => Cuts::default(),
        };
        all.0.extend(read(&self.directory().join(NAME))?);
        Ok(all)
    }

    /// The parents of a commit, as far as they are here where history is cut.
    pub(super) fn parents(&self, cuts: &Cuts, id: CommitId, commit: &Commit) -> Result<Vec<CommitId>, Error> {
        let mut parents = commit.parents.clone();
        if cuts.0.contains(&id) {
            let mut here = Vec::new();
            for parent in parents {
                if self.has(parent.hash())? {
                    here.push(parent);
                }
            }
            parents = here;
        }
        Ok(parents)
    }
}

impl Repository {
    /// True when some history is cut here.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn is_shallow(&self) -> Result<bool, Error> {
        Ok(!self.store.cuts()?.is_empty())
    }

    /// Remembers that `to` replaces `from`, behind which history may be cut.
    pub(super) fn cut_like(&self, from: CommitId, to: CommitId) -> Result<(), Error> {
        match self.store.cuts()?.0.contains(&from) {
            true => self.change_cuts([to], false),
            false => Ok(()),
        }
    }

    /// Takes over where history is cut in a quarantine, before any of its commits can be seen.
    pub(super) fn take_cuts(&self, quarantine: &Quarantine) -> Result<(), Error> {
        let cuts = read(&quarantine.store().directory().join(NAME))?;
        match cuts.is_empty() {
            true => Ok(()),
            false => self.change_cuts(cuts, false),
        }
    }

    /// Forgets cuts behind which everything has come.
    pub(super) fn forget_cuts(&self) -> Result<(), Error> {
        match self.is_shallow()? {
            true => self.change_cuts([], true),
            false => Ok(()),
        }
    }

    fn change_cuts(&self, more: impl IntoIterator<Item = CommitId>, forget: bool) -> Result<(), Error> {
        let path = self.directory.join(NAME);
        let _exclusive = lock(&self.directory.join("shallow.lock"), false)?;
        let before = read(&path)?;
        let mut cuts: BTreeSet<CommitId> = before.clone();
        cuts.extend(more);
        if forget {
            for id in cuts.clone() {
                // Of a commit that is not here nothing is known: another transfer may be about to bring it.
                if self.store.has_here(Kind::Commit, id.hash())? {
                    let parents = self.store.get::<Commit>(id)?.parents;
                    let missing = |parent: &CommitId| Ok::<_, Error>(!self.store.has(parent.hash())?);
                    let cut = parents.iter().map(missing).collect::<Result<Vec<bool>, _>>()?;
                    if !cut.contains(&true) {
                        cuts.remove(&id);
                    }
                }
            }
        }
        match cuts == before {
            true => Ok(()),
            false => write(&path, &cuts),
        }
    }
}

impl Quarantine {
    /// Says where the history that was received is cut.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn cut(&self, commits: impl IntoIterator<Item = CommitId>) -> Result<(), Error> {
        write(&self.store().directory().join(NAME), &commits.into_iter().collect())
    }
}

fn read(path: &Path) -> Result<BTreeSet<CommitId>, Error> {
    let bad = |reason: String| Error::BadConfig {
        path: path.to_owned(),
        reason,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_LEN => return Err(bad(format!("is longer than {MAX_LEN} bytes"))),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    }
    let text = match fs::read_to_string(path) {
        // The last cut may be forgotten at this moment.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.map_err(Error::io("read", path))?,
    };
    let id = |line: &str| {
        line.parse()
            .map_err(|_| bad("holds a line that is no commit's id".into()))
    };
    text.lines().map(id).collect()
}

fn write(path: &Path, cuts: &BTreeSet<CommitId>) -> Result<(), Error> {
    if cuts.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
            _ => Ok(()),
        };
    }
    let lines: String = cuts.iter().map(|id| format!("{id}\n")).collect();
    // A longer one would be in the way of whoever reads it from then on.
    if lines.len() as u64 > MAX_LEN {
        return Err(Error::Usage(format!(
            "history would be cut at {} commits, more than are remembered: take more of it, or all",
            cuts.len()
        )));
    }
    replace_file(path, lines.as_bytes())
}
