//! `fai pull`

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, Id, RepoPath};
use fai_core::repo::{Error, Head, RefMove, RestoreOptions, Selection};
use fai_network::fetch::{Depth, fetch, fetch_depth, fetch_selection};

use super::push::short;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, remote_source, transferred};
use crate::ui::errors::Hinted;
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// Take a peer's new commits on the current branch, and its files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai pull\n  fai pull 12D3KooWM9ek9...")]
pub struct Args {
    /// A remembered name, a ticket, a peer id or an address
    #[arg(default_value = DEFAULT_REMOTE)]
    source: String,
    /// Take older commits as well, until N of every line are here
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
    /// Take all older commits as well
    #[arg(long, conflicts_with = "depth")]
    unshallow: bool,
    /// From now on only the contents of files that match, such as *.safetensors; may be given several times
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["depth", "unshallow"])]
    include: Vec<String>,
    /// From now on not the contents of files that match
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["depth", "unshallow"])]
    exclude: Vec<String>,
    /// From now on the contents of all files, and of those that are not here yet
    #[arg(long, conflicts_with_all = ["depth", "unshallow", "include", "exclude"])]
    everything: bool,
}

impl Args {
    /// Which contents this repository is to take from now on, if that changes.
    fn choice(&self) -> Result<Option<Selection>> {
        Ok(
            match (self.everything, self.include.as_slice(), self.exclude.as_slice()) {
                (true, ..) => Some(Selection::new(Vec::new(), Vec::new())?),
                (false, [], []) => None,
                (false, include, exclude) => Some(Selection::new(include.to_vec(), exclude.to_vec())?),
            },
        )
    }

    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let Head::Branch(branch) = repository.head()? else {
            return Err(Error::Usage("HEAD stands on a commit, not on a branch".into()).into());
        };
        let choice = self.choice()?;
        let source = remote_source(context, &repository, &self.source)?;
        let peers = Peers::asking(context)?;
        let mut remote = peers.remote(&source)?;
        remote.must_be(repository.id()?)?;
        let refs = peers.runtime.block_on(remote.refs())?;
        let known = repository.refs()?;
        let at = |refs: &[(String, CommitId)], name: &str| {
            refs.iter().find(|(known, _)| known == name).map(|(_, commit)| *commit)
        };
        let Some(theirs) = at(&refs, &branch) else {
            let name = short(&branch).to_owned();
            return Err(Error::NoSuchBranch { name, at: remote.name }.into());
        };
        let ours = at(&known, &branch);
        let tags: Vec<RefMove> = refs
            .iter()
            .filter(|(name, _)| name.starts_with("refs/tags/") && at(&known, name).is_none())
            .map(|(name, commit)| RefMove {
                name: name.clone(),
                before: None,
                after: Some(*commit),
            })
            .collect();
        let mut wants: Vec<CommitId> = tags.iter().filter_map(|tag| tag.after).collect();
        wants.push(theirs);
        let commits = if self.unshallow { Some(u32::MAX) } else { self.depth };
        let depth = commits.map(|commits| Depth { commits, connect: true });
        if depth.is_some() || choice.is_some() {
            // Every line may be cut here, and lead to contents that were not wanted before.
            wants.extend(known.iter().map(|(_, commit)| *commit));
        }
        let remotes = match repository.store().has(theirs.hash())? && depth.is_none() && choice.is_none() {
            true => vec![remote],
            false => peers.with_companions(remote),
        };
        let bar = Bar::new(context.out, "Receiving");
        let (runtime, node) = (peers.runtime.handle(), &peers.node);
        let (quarantine, report) = match (depth, &choice) {
            (None, None) => fetch(runtime, node, &repository, remotes, &wants, &bar)?,
            (None, Some(chosen)) => fetch_selection(runtime, node, &repository, remotes, (&wants, chosen), &bar)?,
            (Some(depth), _) => fetch_depth(runtime, node, &repository, remotes, (&wants, depth), &bar)?,
        };
        drop(bar);
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
        let (absent, was_whole) = (repository.absent_paths()?, repository.selection()?.is_none());
        if let Some(chosen) = choice.as_ref().filter(|_| was_whole) {
            // What comes now is no longer everything, so this must be known before.
            repository.select(Some(chosen).filter(|_| !self.everything))?;
        }
        // What diverged is kept, too: it need not be fetched again.
        repository.accept(
            quarantine,
            &moves,
            context.now()?,
            &command,
            &Bar::new(context.out, "Writing"),
        )?;
        if let Some(chosen) = choice.as_ref().filter(|_| !was_whole) {
            repository.select(Some(chosen).filter(|_| !self.everything))?;
            bring_back(context, &repository, &absent)?;
        }
        if !behind && !ahead {
            return Err(diverged(&repository, &branch, ours, theirs, count));
        }
        let newer = if ahead { 0 } else { count as u64 };
        let older = depth.map_or(0, |_| report.commits.saturating_sub(newer));
        if older > 0 {
            context.out.say(Symbol::Inbox, format!("Found {older} older commits"))?;
        }
        if ahead {
            context.out.say(Symbol::Done, "Already up to date")?;
        } else {
            context.out.say(Symbol::Inbox, format!("Found {count} new commits"))?;
            let files = format!("Downloaded {} files ({})", report.files, size(report.bytes));
            context.out.say(Symbol::Done, files)?;
            context.out.say(Symbol::Done, "Pull complete!")?;
        }
        let count = if ahead { 0 } else { count };
        let shallow = repository.is_shallow()?;
        if self.unshallow && shallow {
            context.out.warn("history is still cut: this peer has no more of it");
        }
        let own = [
            ("branch", short(&branch).into()),
            ("commits", count.into()),
            ("older_commits", older.into()),
            ("shallow", shallow.into()),
        ];
        context.out.document(&transferred(own, &report))
    }
}

/// Writes the files that were not in the worktree on purpose, and now should be.
fn bring_back(context: &Context, repository: &Repository, absent: &[RepoPath]) -> Result<()> {
    let still = repository.absent_paths()?;
    let here = |path: &&RepoPath| still.binary_search(path).is_err() && repository.list(None, path).is_ok();
    let paths: Vec<RepoPath> = absent.iter().filter(here).cloned().collect();
    if paths.is_empty() {
        return Ok(());
    }
    let options = RestoreOptions {
        source: None,
        staged: false,
        worktree: true,
        force: false,
    };
    let bar = Bar::new(context.out, "Writing");
    let restored = repository.restore(&paths, options, &bar)?.len();
    drop(bar);
    context.out.say(Symbol::Done, format!("Restored {restored} files"))
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
