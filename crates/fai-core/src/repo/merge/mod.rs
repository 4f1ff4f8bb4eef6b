//! `merge`, `cherry-pick`, `revert`: what two versions made of a third, in one.
//!
//! All three are one thing: of three snapshots, that of the worktree becomes what both others changed. First everything is decided
//! (`trees` by path, `content` inside files) and stored as a draft, a commit that nothing leads to but a row in the database. Then the
//! worktree becomes the draft. Then either the branch moves to it, or the user decides about what is left. A process that is killed between
//! these steps leaves a row that says where it stands, and `--continue` and `--abort` go on from there.

mod choice;
mod content;
mod keys;
mod model;
mod outcome;
mod pending;
mod resolve;
mod text;
mod trees;

use std::collections::BTreeSet;

pub use choice::Choice;
pub use outcome::{MergeReport, Outcome, Undecided};
pub use pending::Underway;
pub use resolve::Resolution;

use super::checkout::Switching;
use super::durable::lock;
use super::partial::named;
use super::progress::Progress;
use super::reset::staged_between;
use super::snapshot::{Snapshot, write_tree};
use super::{AbsentFile, Error, Head, Repository};
use crate::database::{Operation, Pending};
use crate::object::{Author, Commit, CommitId, Id, Kind, Object, RepoPath, Time, TreeId};

/// Three versions of one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sides<T> {
    pub base: T,
    pub ours: T,
    pub theirs: T,
}

/// What to do with the other commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// Join both histories.
    Merge,
    /// Do again what it changed.
    CherryPick,
    /// Undo what it changed.
    Revert,
}

impl MergeKind {
    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            MergeKind::Merge => "merge",
            MergeKind::CherryPick => "cherry-pick",
            MergeKind::Revert => "revert",
        }
    }
}

/// What to merge, and how.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// What to do.
    pub kind: MergeKind,
    /// The other commit.
    pub other: CommitId,
    /// How it was named, for messages and markers.
    pub name: String,
    /// What the commit says; by default what happened.
    pub message: Option<String>,
    /// Who.
    pub author: Author,
    /// When.
    pub time: Time,
    /// How conflicts are solved without asking.
    pub choice: Option<Choice>,
    /// Makes a commit even where the branch could simply move forward.
    pub no_ff: bool,
    /// Refuses where it could not.
    pub ff_only: bool,
    /// Merges even what has no common history.
    pub unrelated: bool,
}

impl Repository {
    /// Merges, picks or reverts a commit. The commit that comes of it is durable when this returns, unless there are conflicts: then
    /// the worktree holds what could be decided, and the rest waits for [`Repository::resolve`] or `add`.
    ///
    /// # Errors
    /// [`Error::Underway`] when another one is not over, [`Error::LocalChanges`] when what is staged or changed in the worktree is in
    /// the way, [`Error::Unrelated`] without a common history. Nothing is changed then.
    pub fn merge(&self, request: &MergeRequest, progress: &dyn Progress) -> Result<MergeReport, Error> {
        let root = self.need_worktree(request.kind.name())?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let _commits = lock(&self.directory.join("commit.lock"), false)?;
        self.nothing_underway()?;
        let staged: Vec<RepoPath> = self.database().staging()?.into_keys().collect();
        if !staged.is_empty() {
            return Err(Error::LocalChanges(staged));
        }
        let head = self.head()?;
        let Some(ours) = self.head_commit()? else {
            return match request.kind {
                MergeKind::Merge => self.forward(&root, &head, None, request, progress),
                _ => Err(Error::NoCommits(head.branch().unwrap_or("HEAD").to_owned())),
            };
        };
        let mut bases = Vec::new();
        if request.kind == MergeKind::Merge {
            bases = self.merge_bases(ours, request.other)?;
            if bases.contains(&request.other) {
                return Ok(MergeReport::up_to_date(ours));
            }
            if bases.contains(&ours) && !request.no_ff {
                return self.forward(&root, &head, Some(ours), request, progress);
            }
            if request.ff_only {
                return Err(Error::Diverged {
                    branch: request.name.clone(),
                });
            }
            if bases.is_empty() && !request.unrelated {
                return Err(Error::Unrelated(request.name.clone()));
            }
        }
        let sides = self.versions(request.kind, &bases, ours, request.other)?;
        let before = sides.ours.clone();
        let combined = self.combine(sides, &label(request), request.choice, progress)?;
        let draft = self.draft(request, ours, &before, &combined.files)?;
        if request.kind != MergeKind::Merge && combined.files == before && combined.conflicts.is_empty() {
            return Err(Error::NothingToCommit);
        }
        let pending = Pending {
            kind: request.kind.name().to_owned(),
            draft,
            head: ours,
            other: request.other,
            placed: false,
        };
        // Whatever the worktree holds that would be lost is found before anything is written down.
        self.plan_switch(before.clone(), combined.files.clone(), Switching::GENTLE)?;
        self.database().transaction(|writer| {
            writer.set_pending(&pending)?;
            let mut conflicts = combined.conflicts.iter();
            conflicts.try_for_each(|(path, conflict)| writer.add_conflict(path, conflict))
        })?;
        let report = self.place(&root, &pending, &before, &combined.files, progress)?;
        if report.outcome == Outcome::Committed {
            self.finish(&head, &pending, request.time)?;
        }
        Ok(report)
    }

    /// Files whose contents merging `other` reads or writes: those that both sides changed, in all versions, and those that come
    /// into the worktree.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn files_to_merge(&self, kind: MergeKind, other: CommitId) -> Result<Vec<AbsentFile>, Error> {
        // Finding bases is work, and where everything is taken there is nothing to fetch.
        let (Some(ours), true) = (self.head_commit()?, self.selection()?.is_some()) else {
            return Ok(Vec::new());
        };
        let bases = match kind {
            MergeKind::Merge => self.merge_bases(ours, other)?,
            _ => Vec::new(),
        };
        let Sides { base, ours, theirs } = self.versions(kind, &bases, ours, other)?;
        let (mut both, mut come) = (Vec::new(), Snapshot::new());
        let paths: BTreeSet<&RepoPath> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
        for path in paths {
            let versions = [&base, &ours, &theirs].map(|side| side.get(path).copied());
            let [before, one, another] = versions;
            if one == another || another == before {
                continue;
            }
            if one != before {
                both.extend(versions.into_iter().flatten().map(|entry| (path.clone(), entry)));
            }
            come.extend(another.map(|entry| (path.clone(), entry)));
        }
        both.extend(self.kept(come, &[])?);
        Ok(named(both))
    }

    /// What is merged: both sides, and what they changed.
    fn versions(
        &self,
        kind: MergeKind,
        bases: &[CommitId],
        ours: CommitId,
        other: CommitId,
    ) -> Result<Sides<Snapshot>, Error> {
        let picked = self.snapshot(Some(other))?;
        let (base, theirs) = match kind {
            MergeKind::Merge => (self.common(bases)?, picked),
            MergeKind::CherryPick => (self.snapshot(self.only_parent(other)?)?, picked),
            MergeKind::Revert => (picked, self.snapshot(self.only_parent(other)?)?),
        };
        let ours = self.snapshot(Some(ours))?;
        Ok(Sides { base, ours, theirs })
    }

    /// Moves the branch forward, with the worktree.
    fn forward(
        &self,
        root: &std::path::Path,
        head: &Head,
        from: Option<CommitId>,
        request: &MergeRequest,
        progress: &dyn Progress,
    ) -> Result<MergeReport, Error> {
        let done = self.switch_files(root, from, request.other, Switching::GENTLE, progress)?;
        let operation = Operation {
            time: request.time,
            command: format!("merge {}: fast-forward", request.name),
            name: head_name(head),
            before: from,
            after: Some(request.other),
        };
        self.advance_head(head, &operation, |_| Ok(()))?;
        Ok(MergeReport {
            outcome: Outcome::FastForward,
            commit: request.other,
            before: from,
            written: done.written,
            removed: done.removed,
            conflicts: Vec::new(),
        })
    }

    /// What several best common ancestors agree on. Where they do not, and ids cannot decide, the oldest common version counts: a later
    /// merge then asks rather than guesses.
    fn common(&self, bases: &[CommitId]) -> Result<Snapshot, Error> {
        let Some((first, rest)) = bases.split_first() else {
            return Ok(Snapshot::new());
        };
        let (mut snapshot, mut so_far) = (self.snapshot(Some(*first))?, *first);
        for other in rest {
            let below = self.merge_bases(so_far, *other)?;
            let sides = Sides {
                base: self.common(&below)?,
                ours: snapshot,
                theirs: self.snapshot(Some(*other))?,
            };
            let moves = (
                self.moves(&sides.base, &sides.ours)?,
                self.moves(&sides.base, &sides.theirs)?,
            );
            let merged = trees::merge(sides, &moves, "other");
            snapshot = merged.files;
            let agreed = |undecided: trees::Undecided| Some((undecided.path, undecided.sides.base?));
            snapshot.extend(merged.undecided.into_iter().filter_map(agreed));
            so_far = *other;
        }
        Ok(snapshot)
    }

    /// The parent whose difference to the commit is what the commit changed.
    fn only_parent(&self, commit: CommitId) -> Result<Option<CommitId>, Error> {
        let found = self.store.get::<Commit>(commit)?;
        match found.parents.as_slice() {
            [] => Ok(None),
            [parent] if self.store.has(parent.hash())? => Ok(Some(*parent)),
            [_] => Err(Error::Cut(commit)),
            _ => Err(Error::Usage(format!(
                "{} joins {} histories, so it is not clear what it changed",
                commit.short(),
                found.parents.len()
            ))),
        }
    }

    /// Stores the commit that would be made if nothing were left to decide.
    fn draft(
        &self,
        request: &MergeRequest,
        ours: CommitId,
        before: &Snapshot,
        files: &Snapshot,
    ) -> Result<CommitId, Error> {
        let other = self.store.get::<Commit>(request.other)?;
        let (parents, message, metadata) = match request.kind {
            MergeKind::Merge => (
                vec![ours, request.other],
                format!("Merge {}", label(request)),
                Default::default(),
            ),
            MergeKind::CherryPick => (vec![ours], other.message.clone(), other.metadata.clone()),
            MergeKind::Revert => {
                let message = format!("Revert \"{}\"\n\nThis undoes commit {}.", other.title(), request.other);
                (vec![ours], message, Default::default())
            }
        };
        let author = match request.kind {
            MergeKind::CherryPick => other.author.clone(),
            _ => request.author.clone(),
        };
        let commit = Commit {
            tree: TreeId::of(&[]),
            parents,
            author,
            time: request.time,
            message: request.message.clone().unwrap_or(message),
            metadata,
            signature: None,
        };
        commit.validate().map_err(Error::BadCommit)?;
        let base = self.tree_of(Some(ours))?;
        let staging = staged_between(before, files);
        let (id, _) = self.store.write(1, &|_| (), |feeder| {
            let tree = write_tree(&self.store, feeder, &base, &staging)?;
            let commit = Commit { tree, ..commit };
            feeder.object(Kind::Commit, commit.encode())?;
            Ok(commit.id())
        })?;
        Ok(id)
    }
}

fn label(request: &MergeRequest) -> String {
    let short = request.other.short();
    match request.name.starts_with(&short) {
        true => short,
        false => format!("{} ({short})", request.name),
    }
}

fn head_name(head: &Head) -> String {
    match head {
        Head::Branch(name) => name.clone(),
        Head::Detached(_) => "HEAD".to_owned(),
    }
}
