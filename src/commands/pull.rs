//! `fai pull`

use std::path::Path;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, Id};
use fai_core::repo::{Error, Head, Quarantine, RefMove};
use fai_network::Folder;
use fai_network::fetch::{FetchReport, fetch, fetch_from};
use serde_json::Value;

use super::push::short;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, Place, place, route, transferred};
use crate::ui::errors::Hinted;
use crate::ui::format::{FROM_A_FOLDER, OVER_THE_WIRE, size, traffic};
use crate::ui::{Bar, Symbol};

/// Take the new commits on the current branch, and its files, from a peer or a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai pull\n  fai pull 12D3KooWM9ek9...\n  fai pull /mnt/usb/models")]
pub struct Args {
    /// A remembered name, a ticket, a peer id, an address or a folder
    #[arg(default_value = DEFAULT_REMOTE)]
    source: String,
}

/// What is asked for: the branch, and tags that are not here yet.
struct Wish {
    branch: String,
    ours: Option<CommitId>,
    theirs: CommitId,
    tags: Vec<RefMove>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let Head::Branch(branch) = repository.head()? else {
            return Err(Error::Usage("HEAD stands on a commit, not on a branch".into()).into());
        };
        let source = match place(context, Some(&repository), &self.source)? {
            Place::Peer(source) => source,
            Place::Folder(folder) => return self.copy(context, &repository, branch, &folder),
        };
        let peers = Peers::asking(context)?;
        let mut remote = peers.remote(&source)?;
        remote.must_be(repository.id()?)?;
        let route = route(&remote);
        let refs = peers.runtime.block_on(remote.refs())?;
        let wish = Wish::new(&repository, branch, &refs, &remote.name)?;
        let remotes = match repository.store().has(wish.theirs.hash())? {
            true => vec![remote],
            false => peers.with_companions(remote),
        };
        let bar = Bar::new(context.out, "Receiving");
        let runtime = peers.runtime.handle();
        let (quarantine, report) = fetch(runtime, &peers.node, &repository, remotes, &wish.commits(), &bar)?;
        drop(bar);
        self.take_over(
            context,
            &repository,
            wish,
            quarantine,
            (report, OVER_THE_WIRE),
            Some(route),
        )
    }

    /// Pulls from a folder on this machine.
    fn copy(&self, context: &Context, repository: &Repository, branch: String, path: &Path) -> Result<()> {
        let source = Folder::open(path)?;
        source.must_be(repository.id()?)?;
        let wish = Wish::new(repository, branch, &source.refs()?, &source.path.display().to_string())?;
        let bar = Bar::new(context.out, "Copying");
        let (quarantine, report) = fetch_from(&source.repository, repository, &wish.commits(), &bar)?;
        drop(bar);
        self.take_over(context, repository, wish, quarantine, (report, FROM_A_FOLDER), None)
    }

    fn take_over(
        &self,
        context: &Context,
        repository: &Repository,
        wish: Wish,
        quarantine: Quarantine,
        (report, how): (FetchReport, &str),
        route: Option<(&'static str, Value)>,
    ) -> Result<()> {
        let Wish {
            branch,
            ours,
            theirs,
            tags,
        } = wish;
        let store = quarantine.store();
        let (behind, ahead) = match ours {
            Some(ours) => (store.is_ancestor(ours, theirs)?, store.is_ancestor(theirs, ours)?),
            None => (true, false),
        };
        let count = store
            .commits_between(&ours.into_iter().collect::<Vec<_>>(), theirs)?
            .len();
        let mut moves = tags;
        if behind && !ahead {
            moves.push(RefMove {
                name: branch.clone(),
                before: ours,
                after: Some(theirs),
            });
        }
        let command = format!("pull: {}", self.source);
        // What diverged is kept, too: it need not be fetched again.
        repository.accept(
            quarantine,
            &moves,
            context.now()?,
            &command,
            &Bar::new(context.out, "Writing"),
        )?;
        if !behind && !ahead {
            return Err(diverged(repository, &branch, ours, theirs, count));
        }
        if ahead {
            context.out.say(Symbol::Done, "Already up to date")?;
        } else {
            context.out.say(Symbol::Inbox, format!("Found {count} new commits"))?;
            let files = format!("Downloaded {} files ({})", report.files, size(report.bytes));
            context.out.say(Symbol::Done, files)?;
            context.out.say(Symbol::Item, traffic(&report, how))?;
            context.out.say(Symbol::Done, "Pull complete!")?;
        }
        let count = if ahead { 0 } else { count };
        let own = [("branch", short(&branch).into()), ("commits", count.into())];
        context
            .out
            .document(&transferred(own.into_iter().chain(route), &report))
    }
}

impl Wish {
    /// What to take of `refs`, those of the repository at `place`.
    fn new(repository: &Repository, branch: String, refs: &[(String, CommitId)], place: &str) -> Result<Self> {
        let known = repository.refs()?;
        let at = |refs: &[(String, CommitId)], name: &str| {
            refs.iter().find(|(known, _)| known == name).map(|(_, commit)| *commit)
        };
        let Some(theirs) = at(refs, &branch) else {
            let (name, at) = (short(&branch).to_owned(), place.to_owned());
            return Err(Error::NoSuchBranch { name, at }.into());
        };
        let tags = refs
            .iter()
            .filter(|(name, _)| name.starts_with("refs/tags/") && at(&known, name).is_none())
            .map(|(name, commit)| RefMove {
                name: name.clone(),
                before: None,
                after: Some(*commit),
            })
            .collect();
        Ok(Self {
            ours: at(&known, &branch),
            branch,
            theirs,
            tags,
        })
    }

    fn commits(&self) -> Vec<CommitId> {
        let tags = self.tags.iter().filter_map(|tag| tag.after);
        tags.chain([self.theirs]).collect()
    }
}

fn diverged(
    repository: &Repository,
    branch: &str,
    ours: Option<CommitId>,
    theirs: CommitId,
    count: usize,
) -> anyhow::Error {
    let ours = ours.and_then(|ours| Some(repository.store().commits_between(&[theirs], ours).ok()?.len()));
    let error = Error::Diverged {
        branch: short(branch).to_owned(),
    };
    let hint = format!(
        "{} commits are only here, {count} only there (up to {}); nothing was lost and nothing moved. Look at theirs with \
         `fai log {}`",
        ours.unwrap_or_default(),
        theirs.short(),
        theirs.short()
    );
    Hinted::new(error, hint).into()
}
