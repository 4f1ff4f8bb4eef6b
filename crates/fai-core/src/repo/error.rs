//! What can go wrong in a workflow. Every error names its operation and subject; what to do about it is for the
//! program to say.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::CodecError;
use crate::database::DatabaseError;
use crate::object::{CommitId, DecodeError, FileId, Hash, Kind, PathError, RepoPath};
use crate::storage::{IngestError, StorageError};

/// An error of a repository's workflows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No repository here or above.
    #[error("{} is not inside a FAI repository", .0.display())]
    NotARepository(PathBuf),
    /// The operation needs a worktree, and the repository is bare.
    #[error("{operation} needs a worktree, and {} is a bare repository", path.display())]
    Bare {
        /// The operation.
        operation: &'static str,
        /// The repository.
        path: PathBuf,
    },
    /// A revision that names nothing.
    #[error("unknown revision {0:?}")]
    UnknownRevision(String),
    /// HEAD names a branch without commits.
    #[error("there are no commits yet on {0}")]
    NoCommits(String),
    /// An id prefix with several meanings.
    #[error("{text:?} is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was typed.
        text: String,
        /// Full ids with their kinds.
        candidates: Vec<String>,
    },
    /// A path that a revision does not hold.
    #[error("{path} is not in {revision}")]
    NotInRevision {
        /// The path.
        path: RepoPath,
        /// The revision as it was typed.
        revision: String,
    },
    /// A path that is neither in the worktree nor tracked.
    #[error("{} matches no file", .0.display())]
    NoSuchPath(PathBuf),
    /// Something stands where a file is to be written.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A folder where a file is needed, or the other way round.
    #[error("{path} is {found}, and {wanted} is needed")]
    WrongKind {
        /// The path.
        path: String,
        /// What it is.
        found: &'static str,
        /// What was needed.
        wanted: &'static str,
    },
    /// A path that cannot be in a repository.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Files that an ignore file excludes were named for adding.
    #[error("{} ignored by .faiignore: {}", if .0.len() == 1 { "this path is" } else { "these paths are" }, list(.0))]
    Ignored(Vec<RepoPath>),
    /// Nothing is staged.
    #[error("nothing to commit")]
    NothingToCommit,
    /// Local changes would be lost.
    #[error("local changes would be overwritten: {}", list(.0))]
    LocalChanges(Vec<RepoPath>),
    /// What would be overwritten cannot be stored first.
    #[error("this could not be undone, because {} cannot be kept: {reason}", list(paths))]
    CannotKeep {
        /// The files.
        paths: Vec<RepoPath>,
        /// Why.
        reason: String,
    },
    /// There is no command to undo or redo.
    #[error("nothing to {0}")]
    NothingToUndo(&'static str),
    /// A command that is too old to be undone, or done again.
    #[error("{command:?} is too old: what it needs was removed")]
    TooOld {
        /// The command.
        command: String,
    },
    /// Something that a command changed was changed again since.
    #[error("{command:?} cannot be taken back or done again: changed since are {}", shown(names))]
    ChangedSince {
        /// The command.
        command: String,
        /// Refs and paths.
        names: Vec<String>,
    },
    /// A branch or tag that is there already.
    #[error("the {kind} {name:?} exists already")]
    RefExists {
        /// `branch` or `tag`.
        kind: &'static str,
        /// Its short name.
        name: String,
    },
    /// A branch or tag that is not there.
    #[error("there is no {kind} {name:?}")]
    NoSuchRef {
        /// `branch` or `tag`.
        kind: &'static str,
        /// Its short name.
        name: String,
    },
    /// A name that is a part of another ref's name.
    #[error("{name:?} and {other:?} cannot both exist")]
    RefInTheWay {
        /// The new name, in full.
        name: String,
        /// The one that exists, in full.
        other: String,
    },
    /// The current branch cannot be deleted.
    #[error("{0:?} is the current branch")]
    CurrentBranch(String),
    /// A branch with commits that nothing else leads to.
    #[error("the branch {branch:?} is not merged: {commits} of its commits {} on no other one", if *.commits == 1 { "is" } else { "are" })]
    Unmerged {
        /// Its short name.
        branch: String,
        /// How many commits.
        commits: u64,
    },
    /// A branch that follows no other.
    #[error("the branch {0:?} has no upstream")]
    NoUpstream(String),
    /// A log of moves that does not go back so far.
    #[error("the log of {name} has only {found} entries")]
    ShortLog {
        /// The ref.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// A file did not hold still.
    #[error("{0} changes while it is read: nothing was recorded for it")]
    Unstable(RepoPath),
    /// A file that was to be evicted and stays.
    #[error("{path} is stored and staged, but stays here: {reason}")]
    NotEvicted {
        /// The file.
        path: RepoPath,
        /// Why.
        reason: String,
    },
    /// Evicted files whose staged content is in no commit would be unstaged.
    #[error("evicted, and in no commit yet: {}", list(.0))]
    OnlyStaged(Vec<RepoPath>),
    /// A stash that is not there.
    #[error("there is no {name}{}", stashes(*count))]
    NoSuchStash {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// What was put aside and what is here changed the same.
    #[error("{stash} does not fit here: {} changed as well", list(paths))]
    StashConflict {
        /// Which stash, or what of it.
        stash: String,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The ref moved between reading and writing.
    #[error("{0} was moved by another process meanwhile")]
    RefMoved(String),
    /// Both sides have commits that the other does not have.
    #[error("{branch} has moved apart here and there")]
    Diverged {
        /// The branch's short name.
        branch: String,
    },
    /// A branch that another repository does not have.
    #[error("there is no branch {name:?} in {at}")]
    NoSuchBranch {
        /// The branch's short name.
        name: String,
        /// The other repository.
        at: String,
    },
    /// A file whose chunks are not those of its content.
    #[error("the file {0} does not have the content that its manifest says")]
    FalseFile(FileId),
    /// Too many transfers into one repository.
    #[error("too many transfers run below {}", .0.display())]
    Busy(PathBuf),
    /// Writers did not end in time for a collection.
    #[error("something is being written to this repository, and did not end in time ({} is held)", .0.display())]
    BeingWritten(PathBuf),
    /// Another collection or repacking runs.
    #[error("another gc or repack runs in this repository ({} is held)", .0.display())]
    BeingCollected(PathBuf),
    /// Something on the way to what must stay is missing or damaged.
    #[error("nothing was removed, because not all of what must stay can be read")]
    CannotCollect(#[source] Box<Error>),
    /// Commits are stored, and nothing leads to any of them.
    #[error("nothing was removed: {commits} commits are stored, and no branch, tag or HEAD leads to any of them")]
    NoRoots {
        /// How many commits are stored.
        commits: u64,
    },
    /// Files whose contents are not here on purpose, and could not be fetched.
    #[error("{} not here, and {reason}", if files.len() == 1 { format!("{} is", files.join("")) } else { format!("{} are", shown(files)) })]
    NotHere {
        /// Their paths, or their ids where nobody named a path.
        files: Vec<String>,
        /// Why they could not be fetched.
        reason: String,
    },
    /// History is cut on purpose where it should go on.
    #[error("history is cut here behind commit {}", .0.short())]
    Cut(CommitId),
    /// A record that should be there is not.
    #[error("{} {hash} is missing from this repository", kind.name())]
    Missing {
        /// Its kind.
        kind: Kind,
        /// Its hash.
        hash: Hash,
    },
    /// An object whose bytes are what they were, but make no sense.
    #[error("{} {hash} is not valid", kind.name())]
    Invalid {
        /// Its kind.
        kind: Kind,
        /// Its hash.
        hash: Hash,
        /// The rule it breaks.
        #[source]
        source: DecodeError,
    },
    /// A commit that would not be valid.
    #[error("this commit cannot be made")]
    BadCommit(#[source] DecodeError),
    /// A tree that would not be valid.
    #[error("these files cannot stand together in {folder}")]
    BadTree {
        /// The folder.
        folder: RepoPath,
        /// The rule it breaks.
        #[source]
        source: DecodeError,
    },
    /// `HEAD` holds neither a branch nor a commit.
    #[error("{} is damaged: it names neither a branch nor a commit", .0.display())]
    BadHead(PathBuf),
    /// Something else of a file's tensors was asked than it has.
    #[error("{path} has no tensor {tensor:?}")]
    NoSuchTensor {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
    },
    /// A param or metric that no commit has.
    #[error("no commit has a metric or param {name:?}{}", known_names(known, *more))]
    NoSuchValue {
        /// What was typed.
        name: String,
        /// Some that there are.
        known: Vec<String>,
        /// How many there are besides.
        more: usize,
    },
    /// A step series that none of the commits that are meant has.
    #[error("no step series {name:?} is in the files of these commits{}", known_names(known, *more))]
    NoSuchSeries {
        /// What was typed.
        name: String,
        /// Some that there are.
        known: Vec<String>,
        /// How many there are besides.
        more: usize,
    },
    /// A param or metric that is nowhere a number among the commits that are meant.
    #[error("no commit that is meant has a number for {0:?}")]
    NoNumber(String),
    /// A settings file that cannot be understood.
    #[error("{} {reason}", path.display())]
    BadConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A merge, cherry-pick or revert is not over.
    #[error("a {kind} is under way")]
    Underway {
        /// Which of them.
        kind: String,
    },
    /// There is nothing to go on with, or to end.
    #[error("no merge, cherry-pick or revert is under way")]
    NothingUnderway,
    /// Paths that wait for a decision.
    #[error("not yet decided: {}", list(.0))]
    Undecided(Vec<RepoPath>),
    /// A path about which there is nothing to decide.
    #[error("{0} is not in conflict")]
    NotInConflict(RepoPath),
    /// A decision that leaves something open.
    #[error("{path} is still in conflict{}", after_colon(detail))]
    StillInConflict {
        /// The path.
        path: RepoPath,
        /// What is open.
        detail: Vec<String>,
    },
    /// Two histories that have nothing in common.
    #[error("{0} and HEAD have no commit in common")]
    Unrelated(String),
    /// A revision range or option that makes no sense together.
    #[error("{0}")]
    Usage(String),
    /// Too little room for what was asked.
    #[error("not enough free space below {}: {needed} bytes are needed, {free} are free", path.display())]
    NoSpace {
        /// A folder on the full file system.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The commit is not a descendant or ancestor as needed.
    #[error("commit {} has no parent number {number}", commit.short())]
    NoParent {
        /// The commit.
        commit: CommitId,
        /// The parent's number, from 1.
        number: usize,
    },
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The packs.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Storing what was read.
    #[error(transparent)]
    Ingest(IngestError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        Error::Storage(error.into())
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Storage(error) => Error::Storage(error),
            other => Error::Ingest(other),
        }
    }
}

impl Error {
    /// Adapter for `map_err`: names the operation and its subject. What a reader of stored files wrapped is unwrapped: it
    /// says more.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            source.downcast::<Error>().unwrap_or_else(|source| Error::Io {
                operation,
                path,
                source,
            })
        }
    }

    /// True when it is for want of room on a disk.
    pub fn is_full_disk(&self) -> bool {
        let full =
            |source: &io::Error| matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match self {
            Error::NoSpace { .. }
            | Error::Storage(StorageError::NoSpace { .. })
            | Error::Database(DatabaseError::Full { .. }) => true,
            Error::Io { source, .. } | Error::Storage(StorageError::Io { source, .. }) => full(source),
            Error::Ingest(IngestError::Index(inner)) => inner.downcast_ref::<Error>().is_some_and(Error::is_full_disk),
            Error::CannotCollect(inner) => inner.is_full_disk(),
            _ => false,
        }
    }

    /// A short stable word for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            _ if self.is_full_disk() => "no_space",
            Error::NotARepository(_) => "not_a_repository",
            Error::Bare { .. } => "bare_repository",
            Error::UnknownRevision(_) | Error::NoParent { .. } => "unknown_revision",
            Error::NoCommits(_) => "no_commits",
            Error::Ambiguous { .. } => "ambiguous",
            Error::NotInRevision { .. }
            | Error::NoSuchPath(_)
            | Error::NoSuchTensor { .. }
            | Error::NoSuchValue { .. }
            | Error::NoSuchSeries { .. }
            | Error::NoNumber(_) => "not_found",
            Error::Exists(_) => "exists",
            Error::WrongKind { .. } => "wrong_kind",
            Error::Path(_) | Error::BadTree { .. } => "bad_path",
            Error::Ignored(_) => "ignored",
            Error::NothingToCommit => "nothing_to_commit",
            Error::Underway { .. } => "underway",
            Error::NothingUnderway => "nothing_underway",
            Error::Undecided(_) | Error::StillInConflict { .. } => "conflict",
            Error::NotInConflict(_) => "not_in_conflict",
            Error::Unrelated(_) => "unrelated",
            Error::LocalChanges(_) => "local_changes",
            Error::CannotKeep { .. } => "cannot_keep",
            Error::NothingToUndo(_) => "nothing_to_undo",
            Error::TooOld { .. } => "too_old",
            Error::ChangedSince { .. } => "changed_since",
            Error::RefExists { .. } => "exists",
            Error::RefInTheWay { .. } => "in_the_way",
            Error::NoSuchRef { .. } => "not_found",
            Error::CurrentBranch(_) => "current_branch",
            Error::Unmerged { .. } => "unmerged",
            Error::NoUpstream(_) => "no_upstream",
            Error::ShortLog { .. } => "unknown_revision",
            Error::Unstable(_) => "unstable_file",
            Error::NotEvicted { .. } => "not_evicted",
            Error::OnlyStaged(_) => "only_staged",
            Error::FalseFile(_) => "false_data",
            Error::Diverged { .. } => "diverged",
            Error::NoSuchBranch { .. } => "not_found",
            Error::Busy(_) | Error::BeingWritten(_) | Error::BeingCollected(_) => "busy",
            Error::CannotCollect(_) | Error::NoRoots { .. } => "cannot_collect",
            Error::NoSuchStash { .. } => "not_found",
            Error::StashConflict { .. } => "conflict",
            Error::RefMoved(_) => "ref_moved",
            Error::Missing { .. } | Error::NotHere { .. } | Error::Cut(_) => "missing",
            Error::Invalid { .. } | Error::BadHead(_) => "damaged",
            Error::BadCommit(_) => "bad_commit",
            Error::BadConfig { .. } => "bad_config",
            Error::Usage(_) => "usage",
            Error::NoSpace { .. } => "no_space",
            Error::Storage(StorageError::Damaged { .. } | StorageError::NotAPack { .. }) => "damaged",
            Error::Database(DatabaseError::Newer { .. }) | Error::Storage(StorageError::Newer(_)) => "newer_version",
            Error::Database(DatabaseError::Foreign(_) | DatabaseError::Damaged { .. }) => "damaged",
            Error::Io { .. } | Error::Storage(_) | Error::Ingest(_) => "io",
            Error::Database(_) => "database",
        }
    }
}

/// Details behind a colon, if there are any.
fn after_colon(details: &[String]) -> String {
    match details {
        [] => String::new(),
        details => format!(": {}", shown(details)),
    }
}

fn stashes(count: usize) -> String {
    match count {
        0 => ": nothing is stashed".to_owned(),
        1 => ": there is one, stash@{0}".to_owned(),
        count => format!(": there are {count}, the oldest is stash@{{{}}}", count - 1),
    }
}

fn known_names(known: &[String], more: usize) -> String {
    match (known.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("; there are {}", known.join(", ")),
        (false, more) => format!("; there are {} and {more} more", known.join(", ")),
    }
}

/// Up to ten paths, and how many more there are.
fn list(paths: &[RepoPath]) -> String {
    shown(paths)
}

fn shown<T: ToString>(paths: &[T]) -> String {
    const SHOWN: usize = 10;
    let mut text = paths
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if paths.len() > SHOWN {
        text += &format!(" and {} more", paths.len() - SHOWN);
    }
    text
}
