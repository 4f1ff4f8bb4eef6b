//! Workflows: one file each, over packs and database. This is the floor that programs use.
//!
//! [`Repository`] is where to start. Nothing here prints, prompts or reads the environment or the clock: callers
//! pass in what time it is and who they are.

mod absence;
mod add;
mod ahead;
mod alone;
mod arriving;
mod bases;
mod branches;
mod checkout;
mod chunks;
mod collect;
mod command;
mod commit;
mod common_chunks;
mod config;
mod content;
mod describe;
mod diff;
mod differences;
mod durable;
mod error;
mod evict;
mod expected;
mod experiments;
mod fsck;
mod graph;
mod harvest;
mod head;
mod history;
mod init;
mod json;
mod keep;
mod lineage;
mod list;
mod local_changes;
mod materialize;
mod merge;
mod moves;
mod output;
mod partial;
mod progress;
mod quarantine;
mod reach;
mod read_ahead;
mod reflog;
mod refs;
mod renames;
mod reset;
mod restore;
mod revision;
mod same_bytes;
mod save;
mod search;
mod series;
mod shallow;
mod snapshot;
mod stash;
mod stats;
mod stats_below;
mod status;
mod store;
mod stream;
mod tags;
mod tensor_diff;
mod undo;
mod upstream;
mod walk;
mod worktree;
mod write_order;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{ReentrantMutex, ReentrantMutexGuard};

pub use add::{AddOptions, AddReport, AddedFile};
pub use ahead::{Ahead, WORTH_IT};
pub use alone::Reencoder;
pub use arriving::{Arriving, Prefix, Prefixes};
pub use branches::{Branch, SwitchTo, check_new_ref};
pub use checkout::{CheckoutOptions, CheckoutReport};
pub use chunks::{ChunkInfo, ChunkList};
pub use collect::{GcOptions, GcReport, KeptPack, RepackOptions, RepackPlan, RepackReport, Shortage};
pub use command::LoggedCommand;
pub use commit::{CommitReport, CommitRequest};
pub use common_chunks::CommonChunks;
pub use config::Config;
pub use content::FileReader;
pub use describe::{Described, Subject};
pub use diff::{Change, ChangedFile, Comparison, Side, Version};
pub use error::Error;
pub use experiments::{Among, Condition, Experiment, ExperimentQuery, Filter, Operator, Preference};
pub use fsck::{FsckOptions, FsckReport, Problem};
pub use graph::Distance;
pub use head::Head;
pub use history::{History, LoggedCommit};
pub use init::InitOptions;
pub use lineage::{Ancestor, CodeRevision, Lineage, Link, Origin};
pub use list::ListedFile;
pub use merge::{Choice, MergeKind, MergeReport, MergeRequest, Outcome, Resolution, Undecided, Underway};
pub use moves::MoveReport;
pub use partial::{AbsentFile, Selection};
pub use progress::{Event, Progress, Silent};
pub use quarantine::{Quarantine, RefMove};
pub use reflog::LoggedPlace;
pub use refs::{RepositoryId, check_ref_name, ref_candidates};
pub use reset::{ResetMode, ResetOptions, ResetReport};
pub use restore::RestoreOptions;
pub use revision::{NamedFile, Steps, steps};
pub use save::SaveOptions;
pub use search::{Hit, SearchQuery, SearchReport};
pub use series::{Series, SeriesOfCommit};
pub use snapshot::Entry;
pub use stash::{Applied, ApplyOptions, Stash, StashOptions, StashReport};
pub use stats::{EncodingStats, Stats};
pub use stats_below::{BaseFile, StatsBelow};
pub use status::{Status, StatusEntry};
pub use store::Store;
pub use tags::{Tag, TagMessage};
pub use tensor_diff::{
    Depth, Group, Level, MetadataChange, Moved, Reshaped, Retyped, TensorChanges, group_of, natural, place,
};
pub use undo::{Direction, Reverted, UndoOptions};
pub use upstream::{Tracking, Upstream};

use crate::database::Database;

/// The name of a repository's folder inside its worktree.
pub const DIRECTORY: &str = ".fai";

/// The branch that a new repository starts on.
pub const DEFAULT_BRANCH: &str = "refs/heads/main";

/// An open repository. Several may be open on one folder, in one process or in many.
#[derive(Debug)]
pub struct Repository {
    /// Where files are, unless the repository is bare.
    worktree: Option<PathBuf>,
    /// `.fai`, or the bare repository itself.
    directory: PathBuf,
    store: Store,
    /// The store's index, too. Reentrant, because a guard lives to the end of its statement, and statements call each
    /// other.
    database: Arc<ReentrantMutex<Database>>,
    threads: usize,
    /// Files that were written while their bytes went by.
    ready: ahead::Ready,
}

impl Repository {
    /// Opens the repository whose worktree or bare folder is `path`.
    ///
    /// # Errors
    /// [`Error::NotARepository`] when there is none; whatever keeps the database from opening.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let inside = path.join(DIRECTORY);
        if is_repository(&inside) {
            return Self::assemble(Some(path.to_owned()), inside);
        }
        if is_repository(path) {
            return Self::assemble(None, path.to_owned());
        }
        Err(Error::NotARepository(path.to_owned()))
    }

    /// Opens the repository that `start` lies in, looking upwards.
    ///
    /// # Errors
    /// [`Error::NotARepository`] when no folder up to the root is one.
    pub fn discover(start: &Path) -> Result<Self, Error> {
        let absolute = start.canonicalize().map_err(Error::io("open", start))?;
        for folder in absolute.ancestors() {
            match Self::open(folder) {
                Err(Error::NotARepository(_)) => {}
                other => return other,
            }
        }
        Err(Error::NotARepository(absolute))
    }

    fn assemble(worktree: Option<PathBuf>, directory: PathBuf) -> Result<Self, Error> {
        let database = Database::open(&directory.join("db.sqlite"))?;
        let database = Arc::new(ReentrantMutex::new(database));
        let store = Store::open(&directory, Arc::clone(&database));
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            worktree,
            directory,
            store,
            database,
            threads,
            ready: ahead::Ready::default(),
        })
    }

    /// Uses `threads` threads instead of one a core.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The worktree's root, or `None` for a bare repository.
    pub fn worktree(&self) -> Option<&Path> {
        self.worktree.as_deref()
    }

    /// The repository's own folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The objects.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn database_path(&self) -> PathBuf {
        self.directory.join("db.sqlite")
    }

    fn need_worktree(&self, operation: &'static str) -> Result<&Path, Error> {
        self.worktree().ok_or_else(|| Error::Bare {
            operation,
            path: self.directory.clone(),
        })
    }

    /// The database of refs and staging. The guard must not be held while objects are written.
    fn database(&self) -> ReentrantMutexGuard<'_, Database> {
        self.database.lock()
    }
}

/// True for a folder with a repository's parts in it.
fn is_repository(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir()
}
