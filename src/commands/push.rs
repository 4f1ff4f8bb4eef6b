//! `fai push`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::CommitId;
use fai_core::repo::{Error, Event, Head, Progress};
use fai_network::serve::{Offer, Permission, serve};
use fai_network::wire::message::{Move, wire_commit};
use fai_network::{Folder, PeerId};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::serve::clock;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, Place, place, route};
use crate::present::ensure_present;
use crate::ui::errors::Hinted;
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// Give a peer or a folder the commits that are missing there, and move its branch
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai push\n  fai push 12D3KooWM9ek9...\n  fai push /mnt/usb/models\n\nThe owner of the other side allows it once, with: fai access allow PEER --write"
)]
pub struct Args {
    /// A remembered name, a ticket, a peer id, an address or a folder
    #[arg(default_value = DEFAULT_REMOTE)]
    source: String,
    /// Move the branch also where that loses commits, unless somebody else has moved it meanwhile
    #[arg(long)]
    force_with_lease: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let (branch, commit) = current(&repository)?;
        let source = match place(context, Some(&repository), &self.source)? {
            Place::Peer(source) => source,
            Place::Folder(folder) => return self.copy(context, &repository, &branch, commit, &folder),
        };
        let (peers, incoming) = Peers::answering(context)?;
        let mut remote = peers.remote(&source)?;
        let refs = peers.runtime.block_on(remote.refs())?;
        if !refs.is_empty() {
            remote.must_be(repository.id()?)?;
        }
        let place = [("peer_id", remote.peer().to_string().into()), route(&remote)];
        let Some((before, commits)) = self.compare(context, &repository, &branch, commit, &refs)? else {
            return document(context, place, &branch, 0, Size::default());
        };
        let offer = Offer {
            name: "pushed".into(),
            repository: Arc::new(context.repository()?),
            permit: only(remote.peer()),
            sent: Arc::default(),
        };
        let on_the_wire = Arc::clone(&offer.sent);
        let (told, mut happenings) = mpsc::channel(16);
        let serving = serve(peers.node.clone(), incoming, vec![offer], told, clock());
        let moves = vec![Move {
            name: branch.clone(),
            before: before.as_ref().map(wire_commit),
            after: wire_commit(&commit),
            force: self.force_with_lease,
        }];
        let mut sent = 0;
        let bar = Bar::counting(context.out, "Sending");
        peers.runtime.block_on(async {
            let watching = async { while happenings.recv().await.is_some() {} };
            let progress = |_, bytes| {
                bar.on(Event::Bytes(u64::saturating_sub(bytes, sent)));
                sent = bytes;
            };
            tokio::select! {
                result = remote.push(moves, progress) => result,
                () = serving => Ok(()),
                () = watching => Ok(()),
            }
        })?;
        drop(bar);
        done(context, sent)?;
        let size = Size {
            bytes: sent,
            wire_bytes: on_the_wire.load(Ordering::Relaxed),
        };
        document(context, place, &branch, commits, size)
    }

    /// Pushes to a folder on this machine.
    fn copy(
        &self,
        context: &Context,
        repository: &Repository,
        branch: &str,
        commit: CommitId,
        path: &Path,
    ) -> Result<()> {
        let target = Folder::open(path)?;
        let refs = target.refs()?;
        if !refs.is_empty() {
            target.must_be(repository.id()?)?;
        }
        let folder = [("folder", json!(target.path))];
        let Some((before, commits)) = self.compare(context, repository, branch, commit, &refs)? else {
            return document(context, folder, branch, 0, Size::default());
        };
        let bar = Bar::new(context.out, "Copying");
        let (force, now) = (self.force_with_lease, context.now()?);
        let report = target.push(repository, branch, before, commit, force, now, &bar)?;
        drop(bar);
        let missing = report.bytes - report.bytes_reused;
        done(context, missing)?;
        let size = Size {
            bytes: missing,
            wire_bytes: report.wire_bytes,
        };
        document(context, folder, branch, commits, size)
    }

    /// Where the branch is there, and how many commits are to come. `None` when everything is there.
    fn compare(
        &self,
        context: &Context,
        repository: &Repository,
        branch: &str,
        commit: CommitId,
        refs: &[(String, CommitId)],
    ) -> Result<Option<(Option<CommitId>, usize)>> {
        let before = refs.iter().find(|(name, _)| name == branch).map(|(_, commit)| *commit);
        if before == Some(commit) {
            context.out.say(Symbol::Done, "Everything is up to date")?;
            return Ok(None);
        }
        let store = repository.store();
        if let Some(before) = before.filter(|_| !self.force_with_lease) {
            let forward = store.has(fai_core::object::Id::hash(&before))? && store.is_ancestor(before, commit)?;
            if !forward {
                let error = Error::Diverged {
                    branch: short(branch).to_owned(),
                };
                return Err(Hinted::new(
                    error,
                    "`fai pull` first, or `fai push --force-with-lease` to lose theirs",
                )
                .into());
            }
        }
        let theirs: Vec<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
        let commits = store.commits_between(&theirs, commit)?.len();
        if repository.selection()?.is_some() {
            ensure_present(context, repository, repository.files_between(&theirs, commit)?)?;
        }
        context
            .out
            .say(Symbol::Outbox, format!("Pushing {commits} commits..."))?;
        Ok(Some((before, commits)))
    }
}

fn done(context: &Context, missing: u64) -> Result<()> {
    let out = &context.out;
    if missing > 0 {
        out.say(Symbol::Item, format!("{} were missing there", size(missing)))?;
    }
    out.say(Symbol::Done, "Push complete!")
}

/// What a push came to.
#[derive(Default)]
struct Size {
    /// Raw bytes that were missing there.
    bytes: u64,
    /// Bytes of the records that were sent, as they are stored or encoded anew.
    wire_bytes: u64,
}

/// What scripts are told; `place` is who or where it went to.
fn document(
    context: &Context,
    place: impl IntoIterator<Item = (&'static str, Value)>,
    branch: &str,
    commits: usize,
    size: Size,
) -> Result<()> {
    let numbers = [
        ("branch", short(branch).into()),
        ("commits", commits.into()),
        ("bytes", size.bytes.into()),
        ("wire_bytes", size.wire_bytes.into()),
    ];
    let all = place.into_iter().chain(numbers);
    let all: Value = all.map(|(name, value)| (name.to_owned(), value)).collect();
    context.out.document(&all)
}

/// The current branch and where it stands.
pub fn current(repository: &fai_core::Repository) -> Result<(String, CommitId)> {
    let head = repository.head()?;
    let Head::Branch(branch) = head else {
        return Err(Error::Usage("HEAD stands on a commit, not on a branch".into()).into());
    };
    let commit = repository.head_commit()?;
    let none = || Error::NoCommits(format!("branch {}", short(&branch)));
    let commit = commit.ok_or_else(none)?;
    Ok((branch, commit))
}

/// A branch's name as people type it.
pub fn short(branch: &str) -> &str {
    branch.strip_prefix("refs/heads/").unwrap_or(branch)
}

/// Only that peer may read, as long as the push goes on.
fn only(peer: PeerId) -> fai_network::serve::Permit {
    Arc::new(move |asking| {
        if *asking == peer {
            Permission::Read
        } else {
            Permission::None
        }
    })
}
