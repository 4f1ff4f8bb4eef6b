//! `fai push`

use std::sync::Arc;

use anyhow::Result;
use fai_core::object::CommitId;
use fai_core::repo::{Error, Head};
use fai_network::PeerId;
use fai_network::fetch::Remote;
use fai_network::serve::{Offer, Permission, serve};
use fai_network::wire::message::{Move, wire_commit};
use serde_json::json;
use tokio::sync::mpsc;

use super::serve::clock;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, remote_source};
use crate::present::ensure_present;
use crate::ui::Symbol;
use crate::ui::errors::Hinted;
use crate::ui::format::size;

/// Give a peer the commits that it does not have, and move its branch
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai push\n  fai push 12D3KooWM9ek9...\n\nThe owner of the other side allows it once, with: fai access allow PEER --write"
)]
pub struct Args {
    /// A remembered name, a ticket, a peer id or an address
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
        let source = remote_source(context, &repository, &self.source)?;
        let (peers, incoming) = Peers::answering(context)?;
        let mut remote = peers.remote(&source)?;
        let refs = peers.runtime.block_on(remote.refs())?;
        if !refs.is_empty() {
            remote.must_be(repository.id()?)?;
        }
        let before = refs.iter().find(|(name, _)| *name == branch).map(|(_, commit)| *commit);
        if before == Some(commit) {
            context.out.say(Symbol::Done, "Everything is up to date")?;
            return self.document(context, &remote, &branch, 0, 0);
        }
        let store = repository.store();
        if let Some(before) = before.filter(|_| !self.force_with_lease) {
            let forward = store.has(fai_core::object::Id::hash(&before))? && store.is_ancestor(before, commit)?;
            if !forward {
                let error = Error::Diverged {
                    branch: short(&branch).to_owned(),
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
            ensure_present(context, &repository, repository.files_between(&theirs, commit)?)?;
        }
        context
            .out
            .say(Symbol::Outbox, format!("Pushing {commits} commits..."))?;
        let offer = Offer {
            id: repository.id()?,
            name: "pushed".into(),
            repository: Arc::new(context.repository()?),
            permit: only(remote.peer()),
        };
        let (told, mut happenings) = mpsc::channel(16);
        let serving = serve(peers.node.clone(), incoming, vec![offer], told, clock());
        let moves = vec![Move {
            name: branch.clone(),
            before: before.as_ref().map(wire_commit),
            after: wire_commit(&commit),
            force: self.force_with_lease,
        }];
        let mut sent = 0;
        peers.runtime.block_on(async {
            let watching = async { while happenings.recv().await.is_some() {} };
            tokio::select! {
                result = remote.push(moves, |_, bytes| sent = bytes) => result,
                () = serving => Ok(()),
                () = watching => Ok(()),
            }
        })?;
        if sent > 0 {
            context
                .out
                .say(Symbol::Item, format!("{} were missing there", size(sent)))?;
        }
        context.out.say(Symbol::Done, "Push complete!")?;
        self.document(context, &remote, &branch, commits, sent)
    }

    fn document(&self, context: &Context, remote: &Remote, branch: &str, commits: usize, bytes: u64) -> Result<()> {
        context.out.document(&json!({
            "peer_id": remote.peer().to_string(),
            "branch": short(branch),
            "commits": commits,
            "bytes": bytes,
        }))
    }
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
