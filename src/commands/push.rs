//! `fai push`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::CommitId;
use fai_core::repo::{Error, Event, Head, Progress, RefMove, Upstream, ref_candidates};
use fai_network::serve::{Offer, Permission, serve};
use fai_network::wire::message::{Move, wire_commit};
use fai_network::{Folder, PeerId};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::news;
use super::serve::clock;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, Place, place, route};
use crate::present::ensure_present;
use crate::ui::errors::Hinted;
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// Give a peer or a folder the commits that are missing there, and move its branches
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai push\n  fai push origin main tuned\n  fai push nas --all --tags\n  fai push 12D3KooWM9ek9...\n  \
    fai push /mnt/usb/models --delete old\n\n\
    The owner of the other side allows it once, with: fai access allow PEER --write"
)]
pub struct Args {
    /// A remembered name, a ticket, a peer id, an address or a folder; without it what the branch follows, or origin
    source: Option<String>,
    /// Branches and tags; without any the current branch
    #[arg(value_name = "BRANCH")]
    branches: Vec<String>,
    /// All branches
    #[arg(long, conflicts_with_all = ["branches", "delete"])]
    all: bool,
    /// All tags as well
    #[arg(long, conflicts_with = "delete")]
    tags: bool,
    /// Delete this branch or tag there; only in folders of this machine
    #[arg(long, value_name = "BRANCH", conflicts_with = "branches")]
    delete: Option<String>,
    /// Move branches also where that loses commits, unless somebody else has moved them meanwhile
    #[arg(long)]
    force_with_lease: bool,
}

/// A ref to push.
#[derive(Debug, Clone)]
struct Given {
    /// Its full name here.
    ours: String,
    /// Its full name there.
    theirs: String,
    commit: CommitId,
    /// Where it is there.
    before: Option<CommitId>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let source = self.destination(&repository)?;
        let place = place(context, Some(&repository), &source)?;
        if let Some(name) = &self.delete {
            return delete(context, &repository, &source, &place, name);
        }
        let given = self.given(&repository, &source)?;
        match place {
            Place::Peer(peer) => self.send(context, &repository, &source, &peer, given),
            Place::Folder(folder) => self.copy(context, &repository, &source, &folder, given),
        }
    }

    /// Where to push to, as it would be typed.
    fn destination(&self, repository: &Repository) -> Result<String> {
        let upstream = match repository.head()?.branch() {
            Some(branch) => repository.upstream(branch)?,
            None => None,
        };
        let typed = self.source.clone();
        let followed = || upstream.map(|upstream| upstream.remote);
        Ok(typed.or_else(followed).unwrap_or_else(|| DEFAULT_REMOTE.to_owned()))
    }

    /// What to push.
    fn given(&self, repository: &Repository, source: &str) -> Result<Vec<Given>> {
        let refs = repository.refs()?;
        let mut chosen: Vec<(String, CommitId)> = Vec::new();
        for name in &self.branches {
            let found = repository
                .full_name(name)?
                .filter(|full| refs.iter().any(|(known, _)| known == full));
            let Some(full) = found else {
                let (kind, name) = ("branch", name.clone());
                return Err(Error::NoSuchRef { kind, name }.into());
            };
            chosen.extend(refs.iter().find(|(known, _)| *known == full).cloned());
        }
        if self.all {
            chosen.extend(refs.iter().filter(|(name, _)| name.starts_with("refs/heads/")).cloned());
        }
        if self.tags {
            chosen.extend(refs.iter().filter(|(name, _)| name.starts_with("refs/tags/")).cloned());
        }
        if self.branches.is_empty() && !self.all && (!self.tags || chosen.is_empty()) {
            chosen.insert(0, current(repository)?);
        }
        let mut given: Vec<Given> = Vec::new();
        for (ours, commit) in chosen {
            if given.iter().any(|known| known.ours == ours) {
                continue;
            }
            let upstream = repository
                .upstream(short(&ours))?
                .filter(|upstream| upstream.remote == source);
            let theirs = upstream.map_or_else(|| ours.clone(), |upstream| upstream.theirs);
            given.push(Given {
                ours,
                theirs,
                commit,
                before: None,
            });
        }
        Ok(given)
    }

    fn send(
        &self,
        context: &Context,
        repository: &Repository,
        source: &str,
        peer: &fai_network::Source,
        given: Vec<Given>,
    ) -> Result<()> {
        let (peers, incoming) = Peers::answering(context)?;
        let mut remote = peers.remote(peer)?;
        let refs = peers.runtime.block_on(remote.refs())?;
        if !refs.is_empty() {
            remote.must_be(repository.id()?)?;
        }
        let place = [("peer_id", remote.peer().to_string().into()), route(&remote)];
        let (given, commits) = self.compare(context, repository, given, &refs)?;
        if given.iter().all(|given| given.before == Some(given.commit)) {
            pushed(context, repository, source, &given)?;
            return document(context, place, &given, 0, Size::default());
        }
        let offer = Offer {
            name: "pushed".into(),
            repository: Arc::new(context.repository()?),
            permit: only(remote.peer()),
            sent: Arc::default(),
        };
        let on_the_wire = Arc::clone(&offer.sent);
        let (told, mut happenings) = mpsc::channel(16);
        let serving = serve(peers.node.clone(), incoming, vec![offer], told, clock());
        let moves = given.iter().filter(|given| given.before != Some(given.commit));
        let moves = moves.map(|given| Move {
            name: given.theirs.clone(),
            before: given.before.as_ref().map(wire_commit),
            after: wire_commit(&given.commit),
            force: self.force_with_lease,
        });
        let moves: Vec<Move> = moves.collect();
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
        pushed(context, repository, source, &given)?;
        done(context, sent)?;
        let size = Size {
            bytes: sent,
            wire_bytes: on_the_wire.load(Ordering::Relaxed),
        };
        document(context, place, &given, commits, size)
    }

    /// Pushes to a folder on this machine.
    fn copy(
        &self,
        context: &Context,
        repository: &Repository,
        source: &str,
        path: &Path,
        given: Vec<Given>,
    ) -> Result<()> {
        let target = Folder::open(path)?;
        let refs = target.refs()?;
        if !refs.is_empty() {
            target.must_be(repository.id()?)?;
        }
        let folder = [("folder", json!(target.path))];
        let (given, commits) = self.compare(context, repository, given, &refs)?;
        if given.iter().all(|given| given.before == Some(given.commit)) {
            pushed(context, repository, source, &given)?;
            return document(context, folder, &given, 0, Size::default());
        }
        let bar = Bar::new(context.out, "Copying");
        let moves = given.iter().filter(|given| given.before != Some(given.commit));
        let moves: Vec<RefMove> = moves
            .map(|given| RefMove {
                name: given.theirs.clone(),
                before: given.before,
                after: Some(given.commit),
            })
            .collect();
        let report = target.push(repository, &moves, self.force_with_lease, context.now()?, &bar)?;
        drop(bar);
        let missing = report.bytes - report.bytes_reused;
        pushed(context, repository, source, &given)?;
        done(context, missing)?;
        let size = Size {
            bytes: missing,
            wire_bytes: report.wire_bytes,
        };
        document(context, folder, &given, commits, size)
    }

    /// Where the refs are there, and how many commits are to come. Makes sure that what they lead to is here.
    fn compare(
        &self,
        context: &Context,
        repository: &Repository,
        mut given: Vec<Given>,
        refs: &[(String, CommitId)],
    ) -> Result<(Vec<Given>, usize)> {
        let store = repository.store();
        let theirs: Vec<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
        let mut commits = std::collections::HashSet::new();
        for given in &mut given {
            given.before = refs
                .iter()
                .find(|(name, _)| *name == given.theirs)
                .map(|(_, commit)| *commit);
        }
        if self.all {
            // Of all branches those that are only behind have nothing to give.
            let mut kept = Vec::new();
            for given in given {
                let is_behind = match given.before.filter(|before| *before != given.commit) {
                    Some(before) if store.has(fai_core::object::Id::hash(&before))? => {
                        store.is_ancestor(given.commit, before)?
                    }
                    _ => false,
                };
                if !is_behind {
                    kept.push(given);
                }
            }
            given = kept;
        }
        for given in &given {
            let before = given
                .before
                .filter(|before| *before != given.commit && !self.force_with_lease);
            if let Some(before) = before {
                let forward =
                    store.has(fai_core::object::Id::hash(&before))? && store.is_ancestor(before, given.commit)?;
                if !forward {
                    let error = Error::Diverged {
                        branch: short(&given.ours).to_owned(),
                    };
                    let hint = "`fai pull` first, or `fai push --force-with-lease` to lose theirs";
                    return Err(Hinted::new(error, hint).into());
                }
            }
            if given.before != Some(given.commit) {
                commits.extend(store.commits_between(&theirs, given.commit)?);
                if repository.selection()?.is_some() {
                    ensure_present(context, repository, repository.files_between(&theirs, given.commit)?)?;
                }
            }
        }
        match given.iter().all(|given| given.before == Some(given.commit)) {
            true => context.out.say(Symbol::Done, "Everything is up to date")?,
            false => context
                .out
                .say(Symbol::Outbox, format!("Pushing {} commits...", commits.len()))?,
        }
        Ok((given, commits.len()))
    }
}

/// Takes note of where branches are there now, and lets those that follow nothing follow them.
fn pushed(context: &Context, repository: &Repository, source: &str, given: &[Given]) -> Result<()> {
    if !news::is_remembered(repository, source)? {
        return Ok(());
    }
    for given in given.iter().filter(|given| given.ours.starts_with("refs/heads/")) {
        let upstream = Upstream {
            remote: source.to_owned(),
            theirs: given.theirs.clone(),
        };
        repository.remember_branch(&upstream, Some(given.commit), context.now()?)?;
        if repository.upstream(short(&given.ours))?.is_none() {
            repository.follow(short(&given.ours), Some(&upstream))?;
        }
    }
    Ok(())
}

/// Deletes a branch or tag in a folder of this machine.
fn delete(context: &Context, repository: &Repository, source: &str, place: &Place, name: &str) -> Result<()> {
    let Place::Folder(folder) = place else {
        let error = Error::Usage("a push cannot delete branches of a peer".into());
        return Err(Hinted::new(error, "its owner can, with `fai branch -d` there").into());
    };
    let target = Folder::open(folder)?;
    target.must_be(repository.id()?)?;
    let refs = target.refs()?;
    let found = ref_candidates(name).find_map(|full| refs.iter().find(|(known, _)| *known == full));
    let Some((full, commit)) = found else {
        let (name, at) = (name.to_owned(), target.path.display().to_string());
        return Err(Error::NoSuchBranch { name, at }.into());
    };
    target.delete(repository, full, *commit, context.now()?)?;
    if news::is_remembered(repository, source)? && full.starts_with("refs/heads/") {
        let upstream = Upstream {
            remote: source.to_owned(),
            theirs: full.clone(),
        };
        repository.remember_branch(&upstream, None, context.now()?)?;
    }
    context.out.say(Symbol::Done, format!("Deleted {name} there"))?;
    context
        .out
        .document(&json!({ "folder": target.path, "deleted": full, "commit": commit.to_string() }))
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
    given: &[Given],
    commits: usize,
    size: Size,
) -> Result<()> {
    let numbers = [
        ("branch", given.first().map(|given| short(&given.ours)).into()),
        (
            "refs",
            given
                .iter()
                .map(|given| given.theirs.clone())
                .collect::<Vec<_>>()
                .into(),
        ),
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
