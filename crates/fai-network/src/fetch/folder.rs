//! Fetching from a repository on this machine: the plan, the checks and the quarantine of a transfer between peers, with
//! threads that read its packs where there would be links. A copy of what is damaged therefore fails and says where.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use fai_core::object::{Commit, CommitId, Hash, Id, Kind, Object, TreeId};
use fai_core::repo::{Error as CoreError, Event, Prefixes, Progress, Quarantine, Reencoder, Repository};
use fai_core::storage::{Checker, Feeder, Received, RecordHeader, Refusal, StorageError, pack_path};

use super::contents::Contents;
use super::early::Early;
use super::here::Here;
use super::{FetchReport, Step, check, in_waves, kept, paths};
use crate::Error;
use crate::session::bases::{Ask, Bases, Form, Offer};
use crate::session::plan::{Contradiction, Plan, Promise, Reach, Totals};

/// Records that are asked of the readers and not taken yet. Only [`READY`] of them hold memory.
const UNDER_WAY: usize = 512;

/// Checked records that wait to be stored.
const READY: usize = 8;

/// Fetches `wants` and everything they lead to from `source`, another repository on this machine, and checks it as if it
/// had come from a peer. What came before an error stays in quarantine for the next time. `worktree` is the commit that the
/// worktree will hold: its files are written while they come.
///
/// # Errors
/// [`Error::Damaged`] when `source` lacks something or has it wrong; the first cause of any other kind.
pub fn fetch_from(
    source: &Repository,
    repository: &Repository,
    wants: &[CommitId],
    worktree: Option<CommitId>,
    progress: &dyn Progress,
) -> Result<(Quarantine, FetchReport), Error> {
    let quarantine = repository.quarantine()?;
    let early = Early::new(repository, &quarantine, worktree);
    let fetched = run(source, (repository, &quarantine), wants, &early, progress);
    if fetched.is_ok() {
        early.finish();
    }
    let result = fetched.and_then(|(report, hashed)| {
        check(&quarantine, &report, &hashed, progress)?;
        Ok(report)
    });
    kept(quarantine, result)
}

fn run(
    source: &Repository,
    (repository, quarantine): (&Repository, &Quarantine),
    wants: &[CommitId],
    early: &Early<'_>,
    progress: &dyn Progress,
) -> Result<(FetchReport, Prefixes), Error> {
    let (started, store) = (Instant::now(), quarantine.store());
    let readers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (ask, asked) = bounded::<Ask>(UNDER_WAY);
    let (tell, told) = bounded(READY);
    let (contents, listener) = Contents::new(early);
    let (report, met, roots, hashed) = std::thread::scope(|scope| {
        let hashing = scope.spawn(|| listener.run());
        for _ in 0..readers {
            let (asked, tell, contents) = (asked.clone(), tell.clone(), contents.clone());
            scope.spawn(move || read_all(source, &asked, &tell, &contents));
        }
        drop((asked, tell));
        let mut copy = Copy {
            plan: Plan::new(Reach::Everything),
            retry: VecDeque::new(),
            bases: Bases::default(),
            here: Here {
                repository,
                store,
                contents: contents.clone(),
            },
            report: FetchReport::default(),
            told: Totals::default(),
            contents,
            commits: None,
            roots: Vec::new(),
        };
        let result = in_waves(store, |feeder| {
            copy.begin(source, wants, feeder)?;
            copy.drive(&ask, &told, feeder, progress)
        });
        // The readers end when nobody asks and nobody listens, and with them the one who hashes.
        drop((ask, told));
        let (report, met, roots) = copy.finish();
        let hashed = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map(|()| (report, met, roots, hashed))
    })?;
    paths::check(store, &roots)?;
    // What an earlier transfer of something else left may lead to what is not here.
    quarantine.retain_objects(&met)?;
    let report = FetchReport {
        time: started.elapsed(),
        ..report
    };
    Ok((report, hashed))
}

/// What a reader found.
enum Read {
    Record {
        ask: Ask,
        received: Received,
        /// Raw bytes of an object, which lead on; chunks lead nowhere.
        raw: Vec<u8>,
    },
    /// The chunk is stored as a delta, and was not asked for as this one.
    Offer { ask: Ask, offer: Offer },
}

/// A copy that goes on.
struct Copy<'a> {
    plan: Plan,
    /// Chunks that were offered, to be asked for in another form.
    retry: VecDeque<Ask>,
    bases: Bases,
    here: Here<'a>,
    report: FetchReport,
    told: Totals,
    contents: Contents<'a>,
    /// The new ones, when it has begun.
    commits: Option<HashSet<CommitId>>,
    /// Their root trees, the newest first.
    roots: Vec<TreeId>,
}

impl Copy<'_> {
    /// The first time, copies the commits; later, what waited for bases is asked for, which can be read by now.
    fn begin(&mut self, source: &Repository, wants: &[CommitId], feeder: &mut Feeder<'_>) -> Result<(), Error> {
        if self.commits.is_some() {
            let retry = &self.retry;
            let asks = self
                .bases
                .wave(&self.here, |base| retry.iter().any(|ask| ask.want.hash == *base))?;
            self.retry.extend(asks);
            return Ok(());
        }
        let (roots, contents) = (&mut self.roots, &self.contents);
        let commits = copy_commits(source, &self.here, wants, feeder, |commit, tree| {
            contents.root(commit, tree);
            roots.push(tree);
        })?;
        // The oldest first: newer versions stand on older ones.
        self.roots.iter().rev().for_each(|tree| self.plan.add_root(*tree));
        self.report.commits = commits.len() as u64;
        self.commits = Some(commits);
        Ok(())
    }

    /// The report, the objects that were met, and the root trees of the new commits.
    fn finish(self) -> (FetchReport, HashSet<Hash>, Vec<TreeId>) {
        let totals = self.plan.totals();
        let commits = self.commits.iter().flatten().map(|id| *id.hash());
        let met = commits.chain(self.plan.met()).collect();
        let report = FetchReport {
            files: totals.files,
            bytes: totals.bytes,
            chunks_reused: totals.reused_chunks,
            bytes_reused: totals.reused_bytes,
            ..self.report
        };
        (report, met, self.roots)
    }

    fn drive(
        &mut self,
        ask: &Sender<Ask>,
        told: &Receiver<Result<Read, Error>>,
        feeder: &mut Feeder<'_>,
        progress: &dyn Progress,
    ) -> Result<Step, Error> {
        let mut under_way = 0;
        loop {
            while under_way < UNDER_WAY
                && let Some(next) = self.next()?
            {
                if ask.send(next).is_err() {
                    return Err(stopped());
                }
                under_way += 1;
            }
            self.tell(progress);
            if under_way == 0 {
                return Ok(if self.bases.is_empty() { Step::Done } else { Step::Wave });
            }
            let read = told.recv().map_err(|_| stopped())?;
            under_way -= 1;
            self.take(read?, feeder, progress)?;
        }
    }

    fn next(&mut self) -> Result<Option<Ask>, Error> {
        if let Some(ask) = self.retry.pop_front() {
            return Ok(Some(ask));
        }
        if self.bases.is_full() {
            return Ok(None);
        }
        let want = self.plan.next(&self.here)?;
        let form = Form::Any;
        Ok(want.map(|want| Ask { want, form }))
    }

    fn take(&mut self, read: Read, feeder: &mut Feeder<'_>, progress: &dyn Progress) -> Result<(), Error> {
        let (ask, received, raw) = match read {
            Read::Record { ask, received, raw } => (ask, received, raw),
            Read::Offer { ask, offer } => {
                let want = ask.want;
                let form = self.bases.offered(&want, &offer, &self.here)?;
                self.retry.extend(form.map(|form| Ask { want, form }));
                return Ok(());
            }
        };
        let want = ask.want;
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
            self.bases.came(&want.hash);
            self.plan.came(&want);
        } else {
            self.plan.arrived(&want, &raw)?;
            self.contents.object(want.promise.kind(), want.hash, &raw);
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

/// What a reading thread needs.
struct Reader<'a> {
    source: &'a Repository,
    checker: Checker,
    reencoder: Reencoder,
}

/// Reads and checks what is asked for until nobody asks, or nobody listens.
fn read_all(source: &Repository, asked: &Receiver<Ask>, tell: &Sender<Result<Read, Error>>, contents: &Contents<'_>) {
    let mut reader = match Reader::new(source) {
        Ok(reader) => reader,
        Err(error) => {
            let _ = tell.send(Err(error.into()));
            return;
        }
    };
    for ask in asked {
        let read = reader.read(ask, contents).map_err(|cause| damaged(source, cause));
        if tell.send(read).is_err() {
            return;
        }
    }
}

impl<'a> Reader<'a> {
    fn new(source: &'a Repository) -> Result<Self, CoreError> {
        Ok(Self {
            source,
            checker: Checker::new()?,
            reencoder: Reencoder::new()?,
        })
    }

    fn read(&mut self, ask: Ask, contents: &Contents<'_>) -> Result<Read, CoreError> {
        let (kind, hash) = (ask.want.promise.kind(), ask.want.hash);
        let (store, mut record) = (self.source.store(), Vec::new());
        let header = match ask.form {
            Form::Alone => self.reencoder.record(store, &hash, &mut record)?,
            Form::Any | Form::Against(_) => store.record(&hash, &mut record)?,
        };
        let header = header
            .filter(|header| header.kind == kind)
            .ok_or(CoreError::Missing { kind, hash })?;
        if let Some(base) = header.base
            && !ask.permits_base(kind, Some(&base))
        {
            let len = header.encoded_len;
            let offer = Offer { base, len };
            return Ok(Read::Offer { ask, offer });
        }
        record.drain(..header.header_len());
        match self.check(header, record)? {
            Ok(received) => {
                let raw = contents.take(kind, hash, &mut self.checker);
                Ok(Read::Record { ask, received, raw })
            }
            Err(refusal) => Err(located(self.source, kind, &hash, &refusal)),
        }
    }

    fn check(&mut self, header: RecordHeader, payload: Vec<u8>) -> Result<Result<Received, Refusal>, CoreError> {
        let (checker, hash) = (&mut self.checker, header.hash);
        match header.base {
            None => Ok(checker.check(&hash, header, payload).map(|(received, _)| received)),
            // Bases are equal everywhere.
            Some(base) => self.source.store().with(Kind::Chunk, &base, |raw, _| {
                let checked = checker.check_against(&hash, header, payload, raw);
                checked.map(|(received, _)| received)
            }),
        }
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
    mut root: impl FnMut(CommitId, TreeId),
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
        root(id, commit.tree);
        waiting.extend(commit.parents);
    }
    Ok(new)
}
