//! The asking side: what refs lead to is fetched into a quarantine, from one peer or from several at once.
//!
//! ```text
//! link (a task a stream)     writes requests, reads answers
//!    | answers, unchecked
//! checkers (threads)         decode, compare with the hash; write into files of the worktree (early);
//!    |                       hand raw chunks to contents (a thread), which hashes files
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
mod early;
mod folder;
mod here;
mod link;
mod locate;
mod paths;
mod reconnect;
mod records;
mod remote;
mod transfer;

use std::collections::HashSet;
use std::time::Duration;

use fai_core::object::{CommitId, Hash};
use fai_core::repo::{Event, Prefixes, Progress, Quarantine, Store};
use fai_core::storage::Feeder;

pub use companions::{companions, nearby};
pub use folder::fetch_from;
pub use locate::{Located, locate_id, locate_path};
pub use remote::Remote;
pub(crate) use remote::hashes;
pub use transfer::Transfer;

use crate::Error;
use crate::session::plan::Plan;

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
    /// The commit whose files are written while they come.
    worktree: Option<CommitId>,
}

/// What a run of the driver brought.
struct Brought {
    report: FetchReport,
    /// The objects that it met.
    met: HashSet<Hash>,
    /// What was hashed of the files meanwhile.
    hashed: Prefixes,
}

/// Where writing to a quarantine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Everything is there.
    Done,
    /// What came must become readable, for the sake of what stands on it.
    Wave,
}

/// Has `go` write to `store` until everything is there. What it wrote in one call can be read in the next one, and after an
/// error, too: the error is taken out of the store's hands, so that nothing that came is lost.
fn in_waves(store: &Store, mut go: impl FnMut(&mut Feeder<'_>) -> Result<Step, Error>) -> Result<(), Error> {
    loop {
        let mut step = Ok(Step::Done);
        let written = store.write(1, &|_| (), |feeder| {
            step = go(feeder);
            Ok(())
        });
        written?;
        if step? == Step::Done {
            return Ok(());
        }
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
