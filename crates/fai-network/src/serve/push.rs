//! Receiving a push: this peer fetches from the one that pushes, over the same connection, and then moves its refs.
//! So a push is checked, resumed and kept out of sight just as a clone is.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fai_core::Repository;
use fai_core::object::Time;
use fai_core::repo::{Event, Progress, RefMove, check_ref_name};
use libp2p::Stream;

use super::sync::not_found;
use super::{Happening, Offer, Permission, Shared, off_thread};
use crate::fetch::{Remote, Transfer};
use crate::receive::{Push, Wanted, receive};
use crate::wire::message::{Move, Reason, Reply, Selector, commit_of};
use crate::{Connection, Error, Node};

/// How often the pusher hears how far it is.
const TELL: Duration = Duration::from_secs(1);

/// Most refs in one push.
const MAX_MOVES: usize = 10_000;

/// A refusal in the making.
type Refusal = (Reason, String);

impl Shared {
    /// Carries out a push and says on `stream` how far it is. The last word is the caller's to say.
    pub(super) async fn receive(
        &self,
        connection: Connection,
        offer: &Offer,
        moves: Vec<Move>,
        stream: &mut Stream,
    ) -> Result<Reply, Refusal> {
        let peer = connection.peer;
        let permission = (offer.permit)(&peer);
        if permission < Permission::Read {
            return Err((Reason::NotFound, not_found(&Selector::Only)));
        }
        if permission < Permission::Write {
            let message = format!(
                "you may not push to {:?} yet; its owner can allow it with: fai access allow {peer} --write",
                offer.name
            );
            return Err((Reason::Forbidden, message));
        }
        if moves.is_empty() || moves.len() > MAX_MOVES {
            return Err((Reason::Protocol, "a push of no refs, or of too many".into()));
        }
        let names: HashSet<&str> = moves.iter().map(|moved| moved.name.as_str()).collect();
        if names.len() != moves.len() {
            return Err((Reason::Protocol, "a push that moves a ref twice".into()));
        }
        let wanted = moves.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
        let remote = Remote::open(&self.node, connection, Selector::Only)
            .await
            .map_err(failed)?;
        let received = Arc::new(Received::default());
        let work = {
            let (node, repository, received) =
                (self.node.clone(), Arc::clone(&offer.repository), Arc::clone(&received));
            let (runtime, time) = (tokio::runtime::Handle::current(), self.now());
            let command = format!("push from {peer}");
            off_thread(move || carry_out(&runtime, &node, &repository, remote, &wanted, time, command, &*received))
        };
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => {
                    let refs = result.map_err(failed)?;
                    self.tell(Happening::Pushed { peer, repository: offer.name.clone(), refs });
                    return Ok(Reply::Moved);
                }
                () = tokio::time::sleep(TELL) => {
                    let progress = Reply::Progress {
                        records: received.records.load(Ordering::Relaxed),
                        bytes: received.bytes.load(Ordering::Relaxed),
                    };
                    // A pusher that is gone ends its own transfer; what came is kept for the next time.
                    super::sync::say(stream, &progress)
                        .await
                        .map_err(|error| (Reason::Failed, error.to_string()))?;
                }
            }
        }
    }
}

fn wanted(moved: &Move) -> Result<Wanted, Refusal> {
    check_ref_name(&moved.name).map_err(|error| (Reason::Protocol, error.to_string()))?;
    let after = commit_of(&moved.after);
    Ok(Wanted {
        moved: RefMove {
            name: moved.name.clone(),
            before: moved.before.as_ref().map(commit_of),
            after: Some(after),
        },
        after,
        force: moved.force,
    })
}

#[expect(clippy::too_many_arguments, reason = "everything a push needs, once")]
fn carry_out(
    runtime: &tokio::runtime::Handle,
    node: &Node,
    repository: &Repository,
    remote: Remote,
    wanted: &[Wanted],
    time: Time,
    command: String,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let peer = remote.peer();
    // What arrives is one operation of its own, whatever else this process does.
    let repository = &repository.reopen()?;
    repository.begin(time, &command)?;
    let (empty, id) = (repository.refs()?.is_empty(), remote.id);
    if !empty {
        remote.must_be(repository.id()?)?;
    }
    let push = Push {
        time,
        command: &command,
        progress,
        refuse: &|reason, message| Error::Refused { peer, reason, message },
    };
    let (names, _) = receive(repository, wanted, &push, |wants, worktree| {
        let transfer = Transfer {
            runtime,
            node,
            repository,
            remotes: vec![remote],
            worktree,
            progress,
        };
        transfer.commits(wants)
    })?;
    if empty {
        // Otherwise the next push would find another repository here.
        repository.become_copy_of(id)?;
    }
    Ok(names)
}

/// What the pusher is told.
fn failed(error: Error) -> Refusal {
    match error {
        Error::Refused { reason, message, .. } => (reason, message),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(&other);
            while let Some(inner) = cause {
                let part = inner.to_string();
                if !text.contains(&part) {
                    text = format!("{text}: {part}");
                }
                cause = inner.source();
            }
            (Reason::Failed, text)
        }
    }
}

/// Counts what comes in.
#[derive(Debug, Default)]
struct Received {
    records: AtomicU64,
    bytes: AtomicU64,
    all: AtomicBool,
}

impl Progress for Received {
    fn on(&self, event: Event<'_>) {
        match event {
            Event::Bytes(bytes) if !self.all.load(Ordering::Relaxed) => {
                self.records.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            // What follows is read here and does not come from anywhere.
            Event::Checking { .. } => self.all.store(true, Ordering::Relaxed),
            _ => {}
        }
    }
}
