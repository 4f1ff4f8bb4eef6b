//! `fai reset`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, RepoPath};
use fai_core::repo::{Error, ResetMode, ResetOptions, RestoreOptions};
use serde_json::json;

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::errors::Hinted;
use crate::ui::{Bar, Symbol};

/// Move the current branch to another commit, or unstage files
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai reset --soft HEAD~1\n  fai reset HEAD~1\n  fai reset --hard origin/main\n  \
    fai reset model.pt\n  fai reset -- main\n\n\
    --soft keeps what is staged and files, --mixed unstages, --hard also makes the files those of the commit. What that\n\
    overwrites is stored first: fai undo brings it back."
)]
pub struct Args {
    /// A revision, or files to unstage
    words: Vec<String>,
    /// Files to unstage
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Keep what is staged, and files
    #[arg(long, conflicts_with_all = ["mixed", "hard"])]
    soft: bool,
    /// Unstage everything, keep files
    #[arg(long, conflicts_with = "hard")]
    mixed: bool,
    /// Unstage everything, and make the files those of the commit
    #[arg(long)]
    hard: bool,
    /// Go on where what is overwritten cannot be stored, so that this cannot be undone
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let (revision, paths) = self.split(context, &repository)?;
        if !paths.is_empty() {
            if self.soft || self.hard {
                let error = Error::Usage("--soft and --hard move the branch, and take no files".into());
                return Err(Hinted::new(error, "`fai restore PATH` brings single files back").into());
            }
            return unstage(context, &repository, &paths, revision);
        }
        let commit = match revision {
            Some(commit) => commit,
            None => match repository.resolve("HEAD") {
                // Nothing is committed yet: everything can still be unstaged.
                Err(Error::NoCommits(_)) if !self.hard => {
                    return unstage(context, &repository, &[RepoPath::root()], None);
                }
                other => other?,
            },
        };
        let mode = match (self.soft, self.hard) {
            (true, _) => ResetMode::Soft,
            (_, true) => ResetMode::Hard,
            _ => ResetMode::Mixed,
        };
        if mode == ResetMode::Hard {
            ensure_present(context, &repository, repository.files_to_check_out(commit)?)?;
        }
        let options = ResetOptions {
            mode,
            give_up: self.force,
            time: context.now()?,
        };
        let bar = Bar::new(context.out, "Writing");
        let report = repository.reset(commit, options, &bar)?;
        bar.finish();
        let title = repository.store().get::<fai_core::object::Commit>(commit)?;
        let said = format!(
            "HEAD is at {} {}",
            commit.short(),
            crate::ui::format::safe(title.title())
        );
        context.out.say(Symbol::Done, said)?;
        context.out.document(&json!({
            "before": report.before.map(|commit| commit.to_string()), "commit": report.after.to_string(),
            "written": report.written, "removed": report.removed,
        }))
    }

    /// The first word may be a revision or a path, as with git; what follows `--` are paths.
    fn split(&self, context: &Context, repository: &Repository) -> Result<(Option<CommitId>, Vec<RepoPath>)> {
        let typed = |words: &[String]| words.iter().map(PathBuf::from).collect::<Vec<_>>();
        let Some((first, rest)) = self.words.split_first() else {
            return Ok((None, context.paths(repository, &self.paths)?));
        };
        let revision = repository.resolve(first);
        let stands = context.folder.join(first).symlink_metadata().is_ok();
        if revision.is_ok() && stands && rest.is_empty() && self.paths.is_empty() {
            let error = Error::Usage(format!("{first:?} is a revision, and a file as well"));
            let hint =
                format!("`fai reset -- {first}` unstages the file, `fai reset refs/heads/{first}` means the branch");
            return Err(Hinted::new(error, hint).into());
        }
        let (revision, mut words) = match revision {
            Ok(commit) => (Some(commit), typed(rest)),
            Err(error @ (Error::UnknownRevision(_) | Error::NoCommits(_))) => {
                let words = typed(&self.words);
                let paths = context.paths(repository, &words)?;
                let known = |path: &RepoPath| repository.list(None, path).is_ok() || is_staged(repository, path);
                if !paths.iter().all(|path| stands || known(path)) {
                    return Err(error.into());
                }
                (None, words)
            }
            Err(error) => return Err(error.into()),
        };
        words.extend(self.paths.iter().cloned());
        Ok((revision, context.paths(repository, &words)?))
    }
}

/// True when something at or below the path is staged, be it a removal.
fn is_staged(repository: &Repository, path: &RepoPath) -> bool {
    repository
        .staged_paths()
        .is_ok_and(|paths| paths.iter().any(|staged| staged.is_within(path)))
}

fn unstage(context: &Context, repository: &Repository, paths: &[RepoPath], source: Option<CommitId>) -> Result<()> {
    let options = RestoreOptions {
        source,
        staged: true,
        worktree: false,
        force: false,
        give_up: false,
    };
    let changed = repository.restore(paths, options, &fai_core::repo::Silent)?;
    for path in changed.iter().take(20) {
        context.out.say(Symbol::Done, format!("Unstaged {path}"))?;
    }
    if changed.len() > 20 {
        let said = format!("... and {} more", changed.len() - 20);
        context.out.say(Symbol::Done, said)?;
    }
    let changed: Vec<&str> = changed.iter().map(RepoPath::as_str).collect();
    context.out.document(&json!({ "unstaged": changed }))
}
