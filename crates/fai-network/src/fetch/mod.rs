//! The asking side: what refs lead to is fetched into a quarantine, from one peer or from several at once.
//!
//! ```text
//! link (a task a stream)     writes requests, reads answers
//!    | answers, unchecked
//! checkers (threads)         decode, compare with the hash
//!    | checked records
//! driver (one thread)        plans, asks the links, hands records to the quarantine
//! ```
//!
//! Every channel is short: a slow disk holds the links back instead of filling memory.

mod checker;
mod commits;
mod companions;
mod driver;
mod here;
mod link;
mod paths;
mod reconnect;
mod remote;

use std::time::Duration;

use fai_core::object::CommitId;
use fai_core::repo::{Progress, Quarantine, Repository, Silent};

pub use companions::companions;
pub use remote::Remote;
pub(crate) use remote::hashes;

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

/// Fetches `wants` and everything they lead to from `remotes`, all of which serve copies of one repository, and checks
/// every file against its content hash. Blocks: call it on a thread that may, with the handle of the runtime on which `node` runs. What came before an error stays in
/// quarantine for the next time.
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
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let result = driver::run(runtime, node, repository, &quarantine, remotes, wants, progress).and_then(|report| {
        quarantine.check_files(threads, &Silent)?;
        Ok(report)
    });
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
