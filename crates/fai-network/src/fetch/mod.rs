//! The asking side: what refs lead to is fetched into a quarantine, from one peer or from several at once.
//!
//! ```text
//! link (a task a stream)     writes requests, reads answers
//!    | answers, unchecked
//! checkers (threads)         decode, compare with the hash; hand raw chunks to contents (a thread), which hashes files
//!    | checked records
//! driver (one thread)        plans, asks the links, hands records to the quarantine
//! ```
//!
//! Every channel is short: a slow disk holds the links back instead of filling memory.

mod checker;
mod commits;
mod companions;
mod contents;
mod depth;
mod driver;
mod folder;
mod here;
mod link;
mod locate;
mod paths;
mod reconnect;
mod records;
mod remote;

use std::collections::HashSet;
use std::time::Duration;

use fai_core::object::{CommitId, FileId, Hash, Id};
use fai_core::repo::{Event, Prefixes, Progress, Quarantine, Repository, Selection};

pub use companions::{companions, nearby};
pub use folder::fetch_from;
pub use locate::{Located, locate_id, locate_path};
pub use remote::Remote;
pub(crate) use remote::hashes;

use crate::session::plan::{Plan, Reach};
use crate::{Error, Node};

/// What a transfer came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Commits that were new here.
    pub commits: u64,
    /// Files that were new here.
    pub files: u64,
    /// Sizes of those files in all.
    pub bytes: u64,
    /// Bytes of records that crossed the wire.
    pub wire_bytes: u64,
    /// Chunks that were fetched.
    pub chunks: u64,
    /// Chunks of new files that were here already.
    pub chunks_reused: u64,
    /// Their lengths in all.
    pub bytes_reused: u64,
    /// How long it took.
    pub time: Duration,
}

/// How far back history is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Commits from each wanted one on, itself counted.
    pub commits: u32,
    /// Goes on until it meets a commit that the repository has, however far that is.
    pub connect: bool,
}

/// What the driver is to bring: commits with what they lead to, and what the plan holds already.
struct Goal<'a> {
    commits: &'a [CommitId],
    /// How far back; all the way without it.
    depth: Option<Depth>,
    plan: Plan,
}

/// What a run of the driver brought.
struct Brought {
    report: FetchReport,
    /// The objects that it met.
    met: HashSet<Hash>,
    /// What was hashed of the files meanwhile.
    hashed: Prefixes,
}

/// Fetches `wants` and everything they lead to from `remotes`, all of which serve copies of one repository, and checks
/// every file against its content hash. A repository that holds only a part gets all objects, and the contents that it
/// selects. Blocks: call it on a thread that may, with the handle of the runtime on which `node` runs. What came before
/// an error stays in quarantine for the next time.
///
/// # Errors
/// The first cause that ended it.
pub fn fetch(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    remotes: Vec<Remote>,
    wants: &[CommitId],
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine()?;
    let result = Transfer {
        runtime,
        node,
        repository,
        quarantine: &quarantine,
        remotes,
        progress,
    }
    .commits(wants, None, None);
    kept(quarantine, result)
}

/// As [`fetch`], for a repository that will hold the contents that `selection` selects, whatever it holds now: also of
/// commits that it has.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_selection(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    remotes: Vec<Remote>,
    (wants, selection): (&[CommitId], &Selection),
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine()?;
    let result = Transfer {
        runtime,
        node,
        repository,
        quarantine: &quarantine,
        remotes,
        progress,
    }
    .commits(wants, None, Some(selection));
    kept(quarantine, result)
}

/// As [`fetch`], but not all the way back. Also goes on behind commits that the repository has, where its history is cut.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_depth(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    remotes: Vec<Remote>,
    (wants, depth): (&[CommitId], Depth),
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine()?;
    let result = Transfer {
        runtime,
        node,
        repository,
        quarantine: &quarantine,
        remotes,
        progress,
    }
    .commits(wants, Some(depth), None);
    kept(quarantine, result)
}

/// Fetches the contents of files whose objects are in the repository, into a quarantine that holds nothing else.
/// Blocks as [`fetch`] does.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_contents(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    remotes: Vec<Remote>,
    files: &[(FileId, u64)],
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine()?;
    // What an interrupted transfer of more left may lead to what is not here.
    quarantine.retain_objects(&HashSet::new())?;
    let result = Transfer {
        runtime,
        node,
        repository,
        quarantine: &quarantine,
        remotes,
        progress,
    }
    .contents(files);
    kept(quarantine, result)
}

/// Fetches one file into a quarantine of its own, without checking its content hash: whoever writes it down does that.
/// Blocks as [`fetch`] does.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_file(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    remotes: Vec<Remote>,
    (file, size): (FileId, Option<u64>),
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine_for(file)?;
    let mut plan = Plan::new(Reach::Contents);
    plan.add_file(file, size)?;
    let mut transfer = Transfer {
        runtime,
        node,
        repository,
        quarantine: &quarantine,
        remotes,
        progress,
    };
    let result = transfer.bring(Goal::files(plan));
    kept(quarantine, result.map(|brought| brought.report))
}

impl Goal<'_> {
    /// Files without the commits that lead to them.
    fn files(plan: Plan) -> Self {
        Self {
            commits: &[],
            depth: None,
            plan,
        }
    }
}

/// A transfer into one quarantine.
struct Transfer<'a> {
    runtime: &'a tokio::runtime::Handle,
    node: &'a Node,
    repository: &'a Repository,
    quarantine: &'a Quarantine,
    remotes: Vec<Remote>,
    progress: &'a dyn Progress,
}

impl Transfer<'_> {
    fn bring(&mut self, goal: Goal<'_>) -> Result<Brought, Error> {
        let Self {
            runtime,
            node,
            repository,
            quarantine,
            remotes,
            progress,
        } = self;
        driver::run(runtime, node, repository, quarantine, remotes, goal, *progress)
    }

    /// Commits and what they lead to, as far as the repository wants it or will.
    fn commits(
        &mut self,
        commits: &[CommitId],
        depth: Option<Depth>,
        chosen: Option<&Selection>,
    ) -> Result<FetchReport, Error> {
        let own = self.repository.selection()?;
        let selection = chosen.or(own.as_ref());
        let plan = Plan::new(match selection {
            Some(_) => Reach::Objects,
            None => Reach::Everything,
        });
        // An earlier transfer may have meant to take less.
        self.quarantine.cut([])?;
        let Brought { report, met, hashed } = self.bring(Goal { commits, depth, plan })?;
        // What an earlier transfer of something else left may lead to what is not here.
        self.quarantine.retain_objects(&met)?;
        let Some(selection) = selection else {
            check(self.quarantine, &report, &hashed, self.progress)?;
            return Ok(report);
        };
        let files = self
            .repository
            .contents_to_fetch(self.quarantine, commits, (selection, chosen.is_some()))?;
        let contents = self.contents(&files)?;
        Ok(FetchReport {
            commits: report.commits,
            wire_bytes: report.wire_bytes + contents.wire_bytes,
            time: report.time + contents.time,
            ..contents
        })
    }

    /// The contents of files whose objects are here.
    fn contents(&mut self, files: &[(FileId, u64)]) -> Result<FetchReport, Error> {
        let mut plan = Plan::new(Reach::Contents);
        for (file, size) in files {
            plan.add_file(*file, Some(*size))?;
        }
        let Brought { report, hashed, .. } = self.bring(Goal::files(plan))?;
        let hashes: Vec<Hash> = files.iter().map(|(file, _)| *file.hash()).collect();
        checking(&report, self.progress);
        self.quarantine
            .check_these(&hashes, threads(), &hashed, self.progress)?;
        Ok(report)
    }
}

/// Holds every received file against its content hash.
fn check(
    quarantine: &Quarantine,
    report: &FetchReport,
    hashed: &Prefixes,
    progress: &dyn Progress,
) -> Result<(), Error> {
    checking(report, progress);
    quarantine.check_files(threads(), hashed, progress)?;
    Ok(())
}

fn checking(report: &FetchReport, progress: &dyn Progress) {
    let (files, bytes) = (report.files, report.bytes);
    progress.on(Event::Checking { files, bytes });
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A quarantine with what it holds after a transfer, unless that would end the next transfer, too.
fn kept(quarantine: Quarantine, result: Result<FetchReport, Error>) -> Result<(Quarantine, FetchReport), Error> {
    match result {
        Ok(report) => Ok((quarantine, report)),
        // Objects that contradict each other would do so the next time, too.
        Err(error @ (Error::Contradiction(_) | Error::Core(fai_core::repo::Error::FalseFile(_)))) => {
            quarantine.clear()?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}
