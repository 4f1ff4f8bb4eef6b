//! What remembered peers were last seen to have (`refs/remotes/NAME/BRANCH`), and which branch follows which of theirs. None
//! of it is served to others, and no undo changes it: it says how things are elsewhere.

use std::collections::BTreeMap;

use super::branches::{moved, short_name};
use super::graph::Distance;
use super::{Error, Repository};
pub use crate::database::Upstream;
use crate::object::{CommitId, Id, Time};

const REMOTES: &str = "refs/remotes/";

impl Upstream {
    /// The branch's short name there.
    pub fn short(&self) -> &str {
        short_name(&self.theirs)
    }

    /// How people call it: `origin/main`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.remote, self.short())
    }

    /// The ref that remembers where it was.
    pub fn tracking(&self) -> String {
        format!("{REMOTES}{}", self.name())
    }

    /// The branch that a ref below `refs/remotes/` remembers.
    pub fn of_tracking(name: &str) -> Option<Self> {
        let (remote, branch) = name.strip_prefix(REMOTES)?.split_once('/')?;
        Some(Self {
            remote: remote.to_owned(),
            theirs: format!("refs/heads/{branch}"),
        })
    }
}

/// How a branch stands to what it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    /// What it follows.
    pub upstream: Upstream,
    /// Where that was last seen; `None` when it is gone there, or was never seen.
    pub commit: Option<CommitId>,
    /// Commits here and there alone.
    pub distance: Distance,
}

impl Repository {
    /// What the branch with this short name follows.
    ///
    /// # Errors
    /// When the database fails.
    pub fn upstream(&self, branch: &str) -> Result<Option<Upstream>, Error> {
        Ok(self.database().upstream(branch)?)
    }

    /// Makes a branch follow another one, or none.
    ///
    /// # Errors
    /// [`Error::NoSuchRef`] when there is no such branch.
    pub fn follow(&self, branch: &str, upstream: Option<&Upstream>) -> Result<(), Error> {
        if self.database().read_ref(&format!("refs/heads/{branch}"))?.is_none() {
            let (kind, name) = ("branch", branch.to_owned());
            return Err(Error::NoSuchRef { kind, name });
        }
        Ok(self
            .database()
            .transaction(|writer| writer.set_upstream(branch, upstream))?)
    }

    /// How a branch, by its short name, stands to what it follows.
    ///
    /// # Errors
    /// When the database fails or a commit between them is missing.
    pub fn tracking(&self, branch: &str) -> Result<Option<Tracking>, Error> {
        let Some(upstream) = self.upstream(branch)? else {
            return Ok(None);
        };
        let (ours, theirs) = {
            let database = self.database();
            let ours = database.read_ref(&format!("refs/heads/{branch}"))?;
            (ours, database.read_ref(&upstream.tracking())?)
        };
        let distance = match ours.zip(theirs) {
            // Mostly so, and then nobody has to know the history.
            Some((ours, theirs)) if ours == theirs => Distance::default(),
            Some((ours, theirs)) => self.distance(ours, theirs)?,
            None => Distance::default(),
        };
        Ok(Some(Tracking {
            upstream,
            commit: theirs,
            distance,
        }))
    }

    /// All refs below `refs/remotes/`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remote_refs(&self) -> Result<Vec<(String, CommitId)>, Error> {
        let mut refs = self.database().refs()?;
        refs.retain(|(name, _)| name.starts_with(REMOTES));
        Ok(refs)
    }

    /// Remembers where the branches of a peer are, as far as their commits are here, and forgets those that it has no
    /// more. `refs` are all refs of that peer.
    ///
    /// # Errors
    /// When the name cannot be part of a ref's, or the database fails.
    pub fn remember_remote(&self, remote: &str, refs: &[(String, CommitId)], time: Time) -> Result<(), Error> {
        super::branches::check_new_ref(&format!("refs/heads/{remote}"))?;
        let branches = refs.iter().filter_map(|(name, commit)| {
            let branch = name.strip_prefix("refs/heads/")?;
            Some((format!("{REMOTES}{remote}/{branch}"), *commit))
        });
        let mut theirs: BTreeMap<String, CommitId> = branches.collect();
        let mut known: BTreeMap<String, CommitId> = BTreeMap::new();
        let within = format!("{REMOTES}{remote}/");
        known.extend(
            self.remote_refs()?
                .into_iter()
                .filter(|(name, _)| name.starts_with(&within)),
        );
        let mut moves = Vec::new();
        for (name, before) in known {
            match theirs.remove(&name) {
                Some(after) if after == before => {}
                Some(after) if !self.store.has(after.hash())? => {}
                after => moves.push((name, Some(before), after)),
            }
        }
        for (name, after) in theirs {
            if self.store.has(after.hash())? {
                moves.push((name, None, Some(after)));
            }
        }
        if moves.is_empty() {
            return Ok(());
        }
        self.database().transaction(|writer| {
            for (name, before, after) in moves {
                writer.move_ref(&name, before, after)?;
                writer.log_operation(&moved(&name, before, after, time, "fetch".into()))?;
            }
            Ok(())
        })
    }

    /// The same for one branch that was just pushed there or pulled from there; `None` when it was deleted.
    ///
    /// # Errors
    /// As [`Repository::remember_remote`].
    pub fn remember_branch(&self, upstream: &Upstream, after: Option<CommitId>, time: Time) -> Result<(), Error> {
        let name = upstream.tracking();
        self.database().transaction(|writer| {
            let before = writer.read_ref(&name)?;
            if before != after {
                writer.move_ref(&name, before, after)?;
                writer.log_operation(&moved(&name, before, after, time, "push".into()))?;
            }
            Ok(())
        })
    }

    /// Forgets what is remembered of a peer, or calls it by another name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn rename_remote(&self, remote: &str, to: Option<&str>) -> Result<(), Error> {
        let within = format!("{REMOTES}{remote}/");
        let refs = self.remote_refs()?;
        self.database().transaction(|writer| {
            for (name, commit) in &refs {
                if let Some(branch) = name.strip_prefix(&within) {
                    writer.move_ref(name, Some(*commit), None)?;
                    if let Some(to) = to {
                        writer.move_ref(&format!("{REMOTES}{to}/{branch}"), None, Some(*commit))?;
                    }
                }
            }
            Ok(writer.rename_remote(remote, to)?)
        })
    }
}
