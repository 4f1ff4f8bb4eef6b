//! What a merge came to, for those who asked for it.

use std::collections::BTreeMap;

use crate::database::{Conflict, Staged};
use crate::object::{CommitId, RepoPath};
use crate::repo::snapshot::Entry;

/// How a merge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The other commit was in the history already.
    UpToDate,
    /// The branch moved to the other commit.
    FastForward,
    /// A commit was made.
    Committed,
    /// Conflicts wait for decisions.
    Conflicts,
}

impl Outcome {
    /// The word that scripts read.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::UpToDate => "up_to_date",
            Outcome::FastForward => "fast_forward",
            Outcome::Committed => "committed",
            Outcome::Conflicts => "conflicts",
        }
    }
}

/// What a merge did.
#[derive(Debug, Clone)]
pub struct MergeReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Where the branch is, or the draft of the commit when there are conflicts.
    pub commit: CommitId,
    /// Where the branch was.
    pub before: Option<CommitId>,
    /// Files written.
    pub written: u64,
    /// Files removed.
    pub removed: u64,
    /// What waits for decisions, by path.
    pub conflicts: Vec<Undecided>,
}

/// A path that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// The path.
    pub path: RepoPath,
    /// `content`, `tensors`, `keys`, `binary`, `both_added`, `delete_modify`, `renamed` or `folder`.
    pub kind: String,
    /// Which tensors or keys, or which other path.
    pub detail: Vec<String>,
    /// What it was before both changed it.
    pub base: Option<Entry>,
    /// What it is here.
    pub ours: Option<Entry>,
    /// What it is there.
    pub theirs: Option<Entry>,
}

impl MergeReport {
    pub(super) fn up_to_date(commit: CommitId) -> Self {
        Self {
            outcome: Outcome::UpToDate,
            commit,
            before: Some(commit),
            written: 0,
            removed: 0,
            conflicts: Vec::new(),
        }
    }
}

/// Rows as people read them.
pub(super) fn undecided(conflicts: BTreeMap<RepoPath, Conflict>) -> Vec<Undecided> {
    let one = |(path, conflict): (RepoPath, Conflict)| {
        let [base, ours, theirs] = conflict.sides.map(entry);
        Undecided {
            path,
            kind: conflict.kind,
            detail: conflict.detail,
            base,
            ours,
            theirs,
        }
    };
    conflicts.into_iter().map(one).collect()
}

/// The entry of a side.
pub(super) fn entry(staged: Staged) -> Option<Entry> {
    match staged {
        Staged::File { file, size, executable } => Some(Entry { file, size, executable }),
        Staged::Removed => None,
    }
}
