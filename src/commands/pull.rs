//! `fai pull`

use std::path::Path;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, Id, RepoPath};
use fai_core::repo::{Error, Head, Quarantine, RefMove, RestoreOptions, Selection, Upstream};
use fai_network::Folder;
use fai_network::fetch::{Depth, FetchReport, fetch_from};
use serde_json::Value;

use super::news;
use super::push::short;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, Place, place, route, transferred};
use crate::ui::errors::Hinted;
use crate::ui::format::{FROM_A_FOLDER, OVER_THE_WIRE, files, size, traffic};
use crate::ui::{Bar, Symbol};

/// Take the new commits on the current branch, and its files, from a peer or a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai pull\n  fai pull 12D3KooWM9ek9...\n  fai pull /mnt/usb/models")]
pub struct Args {
    /// A remembered name, a ticket, a peer id, an address or a folder; without it what the branch follows, or origin
    source: Option<String>,
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

/// What is asked for: the branch, and tags that are not here yet.
struct Wish {
    branch: String,
    ours: Option<CommitId>,
    theirs: CommitId,
    tags: Vec<RefMove>,
    /// All refs that are there.
    refs: Vec<(String, CommitId)>,
    from: From,
}

/// Where to pull from.
#[derive(Clone)]
struct From {
    /// As it was named.
    source: String,
    /// The branch there, in full.
    theirs: String,
    /// True when it is remembered under that name.
    remembered: bool,
}

impl From {
    fn new(repository: &Repository, branch: &str, typed: Option<&str>) -> Result<Self> {
        let upstream = repository.upstream(short(branch))?;
        let source = match (typed, &upstream) {
            (Some(typed), _) => typed.to_owned(),
            (None, Some(upstream)) => upstream.remote.clone(),
            (None, None) => DEFAULT_REMOTE.to_owned(),
        };
        let theirs = match upstream {
            Some(upstream) if upstream.remote == source => upstream.theirs,
            _ => branch.to_owned(),
        };
        let remembered = news::is_remembered(repository, &source)?;
        Ok(Self {
            source,
            theirs,
            remembered,
        })
    }
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
        let from = From::new(&repository, &branch, self.source.as_deref())?;
        let source = match place(context, Some(&repository), &from.source)? {
            Place::Peer(source) => source,
            Place::Folder(folder) => return self.copy(context, &repository, branch, from, &folder),
        };
        let peers = Peers::asking(context)?;
        let mut remote = peers.remote(&source)?;
        remote.must_be(repository.id()?)?;
        let route = route(&remote);
        let refs = peers.runtime.block_on(remote.refs())?;
        let wish = Wish::new(&repository, branch, from, refs, &remote.name)?;
        let mut wants = wish.commits();
        let commits = if self.unshallow { Some(u32::MAX) } else { self.depth };
        let depth = commits.map(|commits| Depth { commits, connect: true });
        if depth.is_some() || choice.is_some() {
            // Every line may be cut here, and lead to contents that were not wanted before.
            wants.extend(repository.refs()?.iter().map(|(_, commit)| *commit));
        }
        let has_all = repository.store().has(wish.theirs.hash())? && depth.is_none() && choice.is_none();
        let remotes = match has_all {
            true => vec![remote],
            false => peers.with_companions(remote),
        };
        let bar = Bar::new(context.out, "Receiving");
        let mut transfer = peers.transfer(&repository, remotes, &bar);
        transfer.worktree = Some(wish.theirs);
        let (quarantine, report) = match (depth, &choice) {
            (None, None) => transfer.commits(&wants)?,
            (None, Some(chosen)) => transfer.selection(&wants, chosen)?,
            (Some(depth), _) => transfer.depth(&wants, depth)?,
        };
        drop(bar);
        self.take_over(
            context,
            &repository,
            wish,
            quarantine,
            (report, OVER_THE_WIRE),
            (choice, Some(route)),
        )
    }

    /// Pulls from a folder on this machine.
    fn copy(&self, context: &Context, repository: &Repository, branch: String, from: From, path: &Path) -> Result<()> {
        if self.depth.is_some() || self.unshallow || self.choice()?.is_some() {
            let error = Error::Usage("a pull from a folder takes everything that is there".into());
            return Err(Hinted::new(error, "`fai serve` in that folder lets a part be pulled").into());
        }
        let source = Folder::open(path)?;
        source.must_be(repository.id()?)?;
        let wish = Wish::new(
            repository,
            branch,
            from,
            source.refs()?,
            &source.path.display().to_string(),
        )?;
        let bar = Bar::new(context.out, "Copying");
        let (quarantine, report) =
            fetch_from(&source.repository, repository, &wish.commits(), Some(wish.theirs), &bar)?;
        drop(bar);
        self.take_over(
            context,
            repository,
            wish,
            quarantine,
            (report, FROM_A_FOLDER),
            (None, None),
        )
    }

    fn take_over(
        &self,
        context: &Context,
        repository: &Repository,
        wish: Wish,
        quarantine: Quarantine,
        (report, how): (FetchReport, &str),
        (choice, route): (Option<Selection>, Option<(&'static str, Value)>),
    ) -> Result<()> {
        let Wish {
            branch,
            ours,
            theirs,
            tags,
            refs,
            from,
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
        let command = format!("pull: {}", from.source);
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
            bring_back(context, repository, &absent)?;
        }
        if from.remembered {
            repository.remember_remote(&from.source, &refs, context.now()?)?;
            if repository.upstream(short(&branch))?.is_none() && repository.head_commit()?.is_some() {
                let upstream = Upstream {
                    remote: from.source,
                    theirs: from.theirs,
                };
                repository.follow(short(&branch), Some(&upstream))?;
            }
        }
        if !behind && !ahead {
            return Err(diverged(repository, &branch, ours, theirs, count));
        }
        let newer = if ahead { 0 } else { count as u64 };
        let deepens = self.unshallow || self.depth.is_some();
        let older = if deepens {
            report.commits.saturating_sub(newer)
        } else {
            0
        };
        if older > 0 {
            context.out.say(Symbol::Inbox, format!("Found {older} older commits"))?;
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
        context
            .out
            .document(&transferred(own.into_iter().chain(route), &report))
    }
}

impl Wish {
    /// What to take of `refs`, those of the repository at `place`.
    fn new(
        repository: &Repository,
        branch: String,
        from: From,
        refs: Vec<(String, CommitId)>,
        place: &str,
    ) -> Result<Self> {
        let at = |refs: &[(String, CommitId)], name: &str| {
            refs.iter().find(|(known, _)| known == name).map(|(_, commit)| *commit)
        };
        let Some(theirs) = at(&refs, &from.theirs) else {
            let (name, at) = (short(&from.theirs).to_owned(), place.to_owned());
            return Err(Error::NoSuchBranch { name, at }.into());
        };
        Ok(Self {
            ours: at(&repository.refs()?, &branch),
            branch,
            theirs,
            tags: news::new_tags(repository, &refs)?,
            refs,
            from,
        })
    }

    fn commits(&self) -> Vec<CommitId> {
        let tags = self.tags.iter().filter_map(|tag| tag.after);
        tags.chain([self.theirs]).collect()
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
        give_up: false,
    };
    let bar = Bar::new(context.out, "Writing");
    let restored = repository.restore(&paths, options, &bar)?.len();
    drop(bar);
    context.out.say(Symbol::Done, format!("Restored {}", files(restored)))
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
        "{} commits are only here, {count} only there; nothing was lost and nothing moved. `fai log {theirs}` shows theirs, \
         `fai merge {theirs}` joins both",
        ours.unwrap_or_default(),
        theirs = theirs.short(),
    );
    Hinted::new(error, hint).into()
}
