//! Fetching from a repository on this machine: the plan, the checks and the quarantine of a transfer between peers, with
//! threads that read its packs where there would be links. A copy of what is damaged therefore fails and says where.

use std::collections::HashSet;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use fai_core::object::{Commit, CommitId, Hash, Id, Kind, Object, TreeId};
use fai_core::repo::{Error as CoreError, Event, Prefixes, Progress, Quarantine, Repository};
use fai_core::storage::{Checker, Feeder, Received, Refusal, StorageError, pack_path};

use super::contents::Contents;
use super::here::Here;
use super::{FetchReport, check, kept};
use crate::Error;
use crate::session::plan::{Contradiction, Plan, Promise, Totals, Want};

/// Records that are asked of the readers and not taken yet. Only [`READY`] of them hold memory.
const UNDER_WAY: usize = 512;

/// Checked records that wait to be stored.
const READY: usize = 8;

/// Fetches `wants` and everything they lead to from `source`, another repository on this machine, and checks it as if it
/// had come from a peer. What came before an error stays in quarantine for the next time.
///
/// # Errors
/// [`Error::Damaged`] when `source` lacks something or has it wrong; the first cause of any other kind.
pub fn fetch_from(
    source: &Repository,
    repository: &Repository,
    wants: &[CommitId],
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine()?;
    let fetched = run(source, repository, &quarantine, wants, progress);
    let result = fetched.and_then(|(report, hashed)| {
        check(&quarantine, &report, &hashed, progress)?;
        Ok(report)
    });
    kept(quarantine, result)
}

fn run(
    source: &Repository,
    repository: &Repository,
    quarantine: &Quarantine,
    wants: &[CommitId],
    progress: &dyn Progress,
) -> Result<(FetchReport, Prefixes), Error> {
    let (started, store) = (Instant::now(), quarantine.store());
    let readers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (ask, asked) = bounded::<Want>(UNDER_WAY);
    let (tell, told) = bounded(READY);
    let (contents, listener) = Contents::new();
    let (mut outcome, mut met) = (None, HashSet::new());
    let hashed = std::thread::scope(|scope| {
        let hashing = scope.spawn(|| listener.run());
        for _ in 0..readers {
            let (asked, tell, contents) = (asked.clone(), tell.clone(), contents.clone());
            scope.spawn(move || read_all(source, &asked, &tell, &contents));
        }
        drop((asked, tell));
        let written = store.write(1, &|_| (), |feeder| {
            let mut copy = Copy {
                plan: Plan::default(),
                here: Here { repository, store },
                report: FetchReport::default(),
                told: Totals::default(),
                contents,
            };
            // What came before an error is kept: the error is taken out of the store's hands.
            let result =
                copy_commits(source, &copy.here, wants, feeder, |tree| copy.plan.add_root(tree)).and_then(|commits| {
                    copy.report.commits = commits.len() as u64;
                    met.extend(commits.iter().map(|id| *id.hash()));
                    copy.drive(&ask, &told, feeder, progress)
                });
            // The readers end when nobody asks and nobody listens.
            drop((ask, told));
            met.extend(copy.plan.met());
            outcome = Some((result, copy.report, copy.plan.totals()));
            Ok(())
        });
        let hashed = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map(|_| hashed)
    })?;
    let (result, report, totals) = outcome.unwrap_or((Ok(()), FetchReport::default(), Totals::default()));
    result?;
    // What an earlier transfer of something else left may lead to what is not here.
    quarantine.retain_objects(&met)?;
    let report = FetchReport {
        files: totals.files,
        bytes: totals.bytes,
        chunks_reused: totals.reused_chunks,
        bytes_reused: totals.reused_bytes,
        time: started.elapsed(),
        ..report
    };
    Ok((report, hashed))
}

/// A record as a reader found it.
struct Read {
    want: Want,
    received: Received,
    /// Raw bytes of an object, which lead on; chunks lead nowhere.
    raw: Vec<u8>,
}

/// A copy that goes on.
struct Copy<'a> {
    plan: Plan,
    here: Here<'a>,
    report: FetchReport,
    told: Totals,
    contents: Contents,
}

impl Copy<'_> {
    fn drive(
        &mut self,
        ask: &Sender<Want>,
        told: &Receiver<Result<Read, Error>>,
        feeder: &mut Feeder<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut under_way = 0;
        loop {
            while under_way < UNDER_WAY
                && let Some(want) = self.plan.next(&self.here)?
            {
                if ask.send(want).is_err() {
                    return Err(stopped());
                }
                under_way += 1;
            }
            self.tell(progress);
            if under_way == 0 {
                return Ok(());
            }
            let read = told.recv().map_err(|_| stopped())?;
            under_way -= 1;
            self.take(read?, feeder, progress)?;
        }
    }

    fn take(&mut self, read: Read, feeder: &mut Feeder<'_>, progress: &dyn Progress) -> Result<(), Error> {
        let Read { want, received, raw } = read;
        self.report.wire_bytes += received.header().record_len();
        if let Promise::Chunk { len } = want.promise {
            if u64::from(received.header().raw_len) != len {
                return Err(Contradiction {
                    kind: Kind::Chunk,
                    hash: want.hash,
                    reason: "its file says that it has another length".into(),
                }
                .into());
            }
            self.report.chunks += 1;
            progress.on(Event::Bytes(len));
            self.plan.came(&want);
        } else {
            self.plan.arrived(&want, &raw)?;
            self.contents.object(&want, &raw);
        }
        feeder.received(received).map_err(CoreError::from)?;
        Ok(())
    }

    fn tell(&mut self, progress: &dyn Progress) {
        let totals = self.plan.totals();
        if totals != self.told {
            self.told = totals;
            progress.on(Event::Total {
                files: totals.files,
                bytes: totals.bytes - totals.reused_bytes,
            });
        }
    }
}

/// Reads and checks what is asked for until nobody asks, or nobody listens.
fn read_all(source: &Repository, asked: &Receiver<Want>, tell: &Sender<Result<Read, Error>>, contents: &Contents) {
    let mut checker = match Checker::new() {
        Ok(checker) => checker,
        Err(error) => {
            let _ = tell.send(Err(CoreError::from(error).into()));
            return;
        }
    };
    for want in asked {
        let read = read(source, &mut checker, want, contents).map_err(|cause| damaged(source, cause));
        if tell.send(read).is_err() {
            return;
        }
    }
}

fn read(source: &Repository, checker: &mut Checker, want: Want, contents: &Contents) -> Result<Read, CoreError> {
    let (kind, hash) = (want.promise.kind(), want.hash);
    let mut payload = Vec::new();
    let header = source.store().record(&hash, &mut payload)?;
    let header = header
        .filter(|header| header.kind == kind)
        .ok_or(CoreError::Missing { kind, hash })?;
    payload.drain(..header.header_len());
    match checker.check(&hash, header, payload) {
        Ok((received, _)) => {
            let raw = contents.take(kind, hash, checker);
            Ok(Read { want, received, raw })
        }
        Err(refusal) => Err(located(source, kind, &hash, &refusal)),
    }
}

/// Says in which pack the damage lies.
fn located(source: &Repository, kind: Kind, hash: &Hash, refusal: &Refusal) -> CoreError {
    match source.store().locate(kind, hash) {
        Ok(location) => StorageError::Damaged {
            pack: pack_path(source.store().packs().folder(), &location.pack),
            offset: location.offset,
            reason: format!("{} {}: {refusal}", kind.name(), hash.short()),
        }
        .into(),
        Err(error) => error,
    }
}

fn damaged(source: &Repository, cause: CoreError) -> Error {
    match cause {
        CoreError::Missing { .. }
        | CoreError::Invalid { .. }
        | CoreError::Storage(StorageError::Damaged { .. } | StorageError::NotAPack { .. }) => Error::Damaged {
            path: source.worktree().unwrap_or(source.directory()).to_owned(),
            cause,
        },
        other => other.into(),
    }
}

fn stopped() -> Error {
    Error::Setup("the threads that read have ended".into())
}

/// Copies the commits that `wants` lead to and that are not in the repository. Returns them, and hands their root trees
/// to `root`.
fn copy_commits(
    source: &Repository,
    here: &Here<'_>,
    wants: &[CommitId],
    feeder: &mut Feeder<'_>,
    mut root: impl FnMut(TreeId),
) -> Result<HashSet<CommitId>, Error> {
    let mut new = HashSet::new();
    let mut waiting = wants.to_vec();
    while let Some(id) = waiting.pop() {
        if here.repository.store().has_here(Kind::Commit, id.hash())? || !new.insert(id) {
            continue;
        }
        let commit: Commit = if here.store.has_here(Kind::Commit, id.hash())? {
            here.store.get(id)?
        } else {
            let commit: Commit = source.store().get(id).map_err(|cause| damaged(source, cause))?;
            feeder.object(Kind::Commit, commit.encode()).map_err(CoreError::from)?;
            commit
        };
        root(commit.tree);
        waiting.extend(commit.parents);
    }
    Ok(new)
}
