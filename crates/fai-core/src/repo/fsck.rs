//! `fsck`: is everything there, and is it what it was? With `rebuild`, the index is made anew from the packs.
//!
//! A check writes nothing, so it works on a full or read-only disk, and beside other processes. By default it reads
//! every pack's index and every object; a full check also reads every chunk. No second pass compares the files'
//! content hashes: a file's chunks, each equal to its hash, in the order of a manifest that is equal to its own, are
//! the bytes that were hashed when the file came in, and a repository of many versions would be decoded many times.

mod findings;
mod packs;
pub(in crate::repo) use packs::pack_name;
mod reachable;
mod rebuild;
mod rescue;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use findings::Findings;
pub(super) use findings::explain;

use super::collect::alone;
use super::progress::Progress;
use super::reach::Roots;
use super::stash::{Part, part_of_stash};
use super::{Error, Head, Repository};
use crate::object::{Commit, CommitId};

/// How to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsckOptions {
    /// Also reads and verifies every record of every pack.
    pub full: bool,
    /// First makes the index anew from the packs; this reads and verifies every record, too.
    pub rebuild: bool,
    /// How long a rebuild waits for others who are at work in the repository.
    pub patience: Duration,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct FsckReport {
    /// How much was looked at, by what: `packs`, `records` (entries of the packs' indexes), `bytes` (read and verified
    /// from packs), and of what refs, `HEAD` and staging lead to: `commits`, `trees`, `files`, `chunks` (once for every
    /// file that uses them). `half_written` counts packs that a dead writer left and the next one will save,
    /// `absent` files whose contents are not here on purpose, `superseded` damaged records of which a good copy is in use, `strays` files that are no packs.
    pub checked: BTreeMap<&'static str, u64>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// True when the index was made anew.
    pub rebuilt: bool,
    /// What a rebuild saved or had to leave, in words.
    pub recovered: Vec<String>,
}

impl FsckReport {
    /// True when nothing is wrong.
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing: `damaged_pack`, `damaged_record`, `missing_object`, `invalid_object`, `missing_pack`,
    /// `unindexed_pack`, `bad_ref`, `bad_head` or `database`.
    pub kind: &'static str,
    /// Which one: a pack's file name, `chunk` and its id, a ref.
    pub subject: String,
    /// What is wrong with it.
    pub detail: String,
    /// Up to twenty of those that need it: `path in commit abcd1234`, `staged path`, `refs/heads/main`.
    pub affected: Vec<String>,
}

impl Repository {
    /// Checks the repository. A rebuild waits until no other process works in the repository and keeps others out; it
    /// leaves refs, staging and operations as they are, and forgets what the stat cache proved, so that the next `add`
    /// stores anew what was lost. For a database that does not even open, see [`Repository::fsck_rebuild_at`].
    ///
    /// # Errors
    /// When the check itself cannot be carried out; what is wrong with the repository is reported, not returned.
    pub fn fsck(&self, options: &FsckOptions, progress: &dyn Progress) -> Result<FsckReport, Error> {
        let mut findings = Findings::default();
        if options.rebuild {
            let _all = alone(&self.directory, options.patience, progress)?;
            self.rebuild(&mut findings, progress)?;
            self.check(false, &mut findings, &super::Silent)?;
        } else {
            self.check(options.full, &mut findings, progress)?;
        }
        Ok(findings.report)
    }

    fn check(&self, full: bool, findings: &mut Findings, progress: &dyn Progress) -> Result<(), Error> {
        let damage = self.database().integrity_problems();
        let damage = damage.unwrap_or_else(|error| vec![findings::explain(&error)]);
        for detail in damage.into_iter().take(findings::MAX_LISTED) {
            findings.database(self, detail);
        }
        let unindexed = self.check_packs(full, findings, progress)?;
        let roots = self.surviving_roots(findings);
        self.check_reachable(&roots, findings)?;
        self.check_index_again(unindexed, findings);
        Ok(())
    }

    /// The roots as far as they can be read.
    fn surviving_roots(&self, findings: &mut Findings) -> Roots {
        let mut roots = Roots::default();
        match self.database().refs() {
            Ok(refs) => roots.commits = refs,
            Err(error) => findings.database(self, findings::explain(&error)),
        }
        match self.database().staging() {
            Ok(staging) => roots.staging = staging,
            Err(error) => findings.database(self, findings::explain(&error)),
        }
        match self.pending_roots() {
            Ok(pending) => roots.commits.extend(pending),
            Err(error) => findings.database(self, findings::explain(&error)),
        }
        match self.head() {
            Ok(Head::Detached(commit)) => roots.commits.push(("HEAD".to_owned(), commit)),
            Ok(Head::Branch(_)) => {}
            Err(error) => drop(findings.problem("bad_head", "HEAD".to_owned(), findings::explain(&error))),
        }
        roots
    }

    /// The commits in the packs that are no other commit's parent, newest first, and stashes, oldest first: what these
    /// are made of is nobody's history.
    fn tips(&self) -> Result<(Tips, Tips), Error> {
        use crate::object::{Id, Kind};
        let hashes = self.store().index().records_of_kind(Kind::Commit)?;
        let mut parents = std::collections::HashSet::new();
        let (mut commits, mut stashes) = (Vec::new(), Vec::new());
        for id in hashes.into_iter().map(CommitId::from_hash) {
            // One that cannot be read can be nobody's tip.
            let Ok(commit) = self.store().get::<Commit>(id) else {
                continue;
            };
            match part_of_stash(&commit) {
                Some(Part::Worktree) => stashes.push((id, commit)),
                Some(Part::Staged) => {}
                None => {
                    parents.extend(commit.parents.iter().copied());
                    commits.push((id, commit));
                }
            }
        }
        commits.retain(|(id, _)| !parents.contains(id));
        commits.sort_by_key(|(id, commit)| (std::cmp::Reverse(commit.time.seconds), *id));
        stashes.sort_by_key(|(id, commit)| (commit.time.seconds, *id));
        Ok((commits, stashes))
    }
}

type Tips = Vec<(CommitId, Commit)>;
