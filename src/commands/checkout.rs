//! `fai checkout`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::RepoPath;
use fai_core::repo::{CheckoutOptions, CheckoutReport, Error, RestoreOptions};
use serde_json::json;

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::format::{files, size};
use crate::ui::{Bar, Symbol};

/// Make the worktree a commit, or take single files from it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai checkout 9f01cc2e\n  fai checkout main\n  fai checkout HEAD~1 model.safetensors\n  \
    fai checkout v1 --to /srv/model\n\n\
    A file that was evicted (fai add --evict) stays away in whatever commit is checked out, until it, or a folder that it\n\
    lies in, is named. The root itself (fai checkout .) names nothing."
)]
pub struct Args {
    /// A branch, tag or commit; the current one by default
    revision: Option<String>,
    /// Only these files and folders, into the worktree and the staging
    paths: Vec<PathBuf>,
    /// Stand on the commit itself, not on the branch
    #[arg(long)]
    detach: bool,
    /// Overwrite local changes
    #[arg(short, long)]
    force: bool,
    /// Write the files into another folder, and leave this worktree alone
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        if self.to.is_some() {
            return self.export(context, &repository);
        }
        let revision = self.revision.as_deref().unwrap_or("HEAD");
        match (repository.resolve(revision), self.paths.is_empty()) {
            (Ok(_), true) => self.switch(context, &repository, revision),
            (Ok(commit), false) => {
                let paths = context.paths(&repository, &self.paths)?;
                self.restore(context, &repository, &paths, Some(commit))
            }
            // `fai checkout model.pt`, as with git: the file as it is staged or committed.
            (Err(error @ Error::UnknownRevision(_)), _) => {
                let typed = self
                    .revision
                    .iter()
                    .map(PathBuf::from)
                    .chain(self.paths.clone())
                    .collect::<Vec<_>>();
                let paths = context.paths(&repository, &typed).map_err(|_| error)?;
                let tracked = |path: &RepoPath| repository.list(None, path).is_ok();
                match paths.iter().all(tracked) {
                    true => self.restore(context, &repository, &paths, None),
                    false => Err(Error::UnknownRevision(revision.to_owned()).into()),
                }
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn switch(&self, context: &Context, repository: &Repository, revision: &str) -> Result<()> {
        let options = CheckoutOptions {
            force: self.force,
            detach: self.detach,
            time: context.now()?,
        };
        let commit = repository.resolve(revision)?;
        ensure_present(context, repository, repository.files_to_check_out(commit)?)?;
        let bar = Bar::new(context.out, "Writing");
        let report = repository.checkout(revision, options, &bar)?;
        bar.finish();
        let place = match report.head.branch() {
            Some(branch) => format!("branch {branch} ({})", report.commit.short()),
            None => format!("commit {}", report.commit.short()),
        };
        print(context, &report, &format!("Checked out {place}"))
    }

    fn restore(
        &self,
        context: &Context,
        repository: &Repository,
        paths: &[RepoPath],
        source: Option<fai_core::object::CommitId>,
    ) -> Result<()> {
        let options = RestoreOptions {
            source,
            staged: source.is_some(),
            worktree: true,
            force: self.force,
            give_up: self.force,
        };
        ensure_present(context, repository, repository.files_to_restore(paths, source)?)?;
        let bar = Bar::new(context.out, "Writing");
        let changed = repository.restore(paths, options, &bar)?;
        bar.finish();
        context
            .out
            .say(Symbol::Done, format!("Restored {}", files(changed.len())))?;
        let changed: Vec<&str> = changed.iter().map(RepoPath::as_str).collect();
        context
            .out
            .document(&json!({ "commit": source.map(|id| id.to_string()), "restored": changed }))
    }

    fn export(&self, context: &Context, repository: &Repository) -> Result<()> {
        let commit = repository.resolve(self.revision.as_deref().unwrap_or("HEAD"))?;
        let destination = context
            .folder
            .join(self.to.as_deref().unwrap_or_else(|| std::path::Path::new(".")));
        let scopes = match self.paths.as_slice() {
            [] => vec![RepoPath::root()],
            paths => context.paths(repository, paths)?,
        };
        for path in &scopes {
            ensure_present(context, repository, repository.files_within(commit, path)?)?;
        }
        let bar = Bar::new(context.out, "Writing");
        let reports = scopes
            .iter()
            .map(|path| repository.export(commit, path, &destination, self.force, &bar))
            .collect::<Result<Vec<_>, _>>()?;
        bar.finish();
        let Some(mut report) = reports.first().cloned() else {
            return Ok(());
        };
        report.written = reports.iter().map(|report| report.written).sum();
        report.bytes = reports.iter().map(|report| report.bytes).sum();
        print(
            context,
            &report,
            &format!("Wrote commit {} to {}", commit.short(), destination.display()),
        )
    }
}

fn print(context: &Context, report: &CheckoutReport, what: &str) -> Result<()> {
    let CheckoutReport {
        written,
        removed,
        bytes,
        ..
    } = report;
    let gone = if *removed > 0 {
        format!(", {removed} removed")
    } else {
        String::new()
    };
    context.out.say(
        Symbol::Done,
        format!("{what}: {} written ({}){gone}", files(*written), size(*bytes)),
    )?;
    context.out.document(&json!({
        "commit": report.commit.to_string(), "branch": report.head.branch(),
        "written": written, "removed": removed, "bytes": bytes,
    }))
}
