//! `fai merge`, and what it shares with `cherry-pick` and `revert`

use anyhow::Result;
use fai_core::repo::{Choice, Error, MergeKind, MergeReport, MergeRequest, Outcome, Repository, Undecided};
use serde_json::{Value, json};

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::errors::Negative;
use crate::ui::format::{files, size};
use crate::ui::{Bar, Symbol};

/// More tensors or keys of a file than this are summed up.
const LISTED: usize = 8;

/// Join another history with this one, model files tensor by tensor
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai merge tokenizer-fix\n  fai merge experiment --tensors average\n  \
    fai merge experiment --tensors task-arithmetic=0.7\n  fai merge --abort\n\n\
    Files that one side changed are taken from it. Text is merged line by line, JSON and YAML key by key, safetensors tensor by\n\
    tensor. Tensors that both sides changed wait for `fai resolve`, unless --tensors says what to do: ours, theirs, average,\n\
    weighted=A,B, task-arithmetic[=SCALE], slerp or ties; they are computed in f32 and rounded once."
)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Which side counts wherever both changed the same: ours or theirs
    #[arg(short = 'X', long, value_name = "SIDE", conflicts_with = "tensors")]
    strategy: Option<String>,
    /// Make a commit even where the branch could simply move forward
    #[arg(long, conflicts_with = "ff_only")]
    no_ff: bool,
    /// Refuse where the branch cannot simply move forward
    #[arg(long)]
    ff_only: bool,
    /// Merge even what has no common history
    #[arg(long)]
    allow_unrelated_histories: bool,
}

/// What `merge`, `cherry-pick` and `revert` are told alike.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Which commit: a branch, a tag, an id
    #[arg(value_name = "REV", required_unless_present_any = ["go_on", "abort"])]
    revision: Option<String>,
    /// How tensors that both sides changed become one: ours, theirs, average, weighted=A,B, task-arithmetic[=SCALE], slerp, ties
    #[arg(long, value_name = "HOW")]
    tensors: Option<String>,
    /// What the commit says
    #[arg(short, long, value_name = "TEXT")]
    message: Vec<String>,
    /// Go on once everything is decided, or after the process was killed
    #[arg(long = "continue", conflicts_with_all = ["revision", "abort"])]
    go_on: bool,
    /// Bring back what was there before
    #[arg(long, conflicts_with = "revision")]
    abort: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let side = self.strategy.as_deref().map(side).transpose()?;
        let (no_ff, ff_only, unrelated) = (self.no_ff, self.ff_only, self.allow_unrelated_histories);
        self.common.run(context, MergeKind::Merge, |request| MergeRequest {
            choice: side.or(request.choice),
            no_ff,
            ff_only,
            unrelated,
            ..request
        })
    }
}

impl Common {
    /// Goes on, ends, or begins with what `more` makes of the request.
    pub(super) fn run(
        self,
        context: &Context,
        kind: MergeKind,
        more: impl FnOnce(MergeRequest) -> MergeRequest,
    ) -> Result<()> {
        let repository = context.repository()?;
        if self.abort {
            return abort(context, &repository);
        }
        if self.go_on {
            return go_on(context, &repository);
        }
        let name = self.revision.unwrap_or_default();
        let other = repository.resolve(&name)?;
        ensure_present(context, &repository, repository.files_to_merge(kind, other)?)?;
        let request = more(MergeRequest {
            kind,
            other,
            name,
            message: (!self.message.is_empty()).then(|| self.message.join("\n\n")),
            author: context.author(&repository, None)?,
            time: context.now()?,
            choice: self.tensors.as_deref().map(choice).transpose()?,
            no_ff: false,
            ff_only: false,
            unrelated: false,
        });
        let bar = Bar::new(context.out, "Merging");
        let report = repository.merge(&request, &bar)?;
        bar.finish();
        print(context, kind, &report)
    }
}

fn side(text: &str) -> Result<Choice> {
    match text {
        "ours" => Ok(Choice::Ours),
        "theirs" => Ok(Choice::Theirs),
        _ => Err(Error::Usage(format!("{text:?} is no side: ours or theirs")).into()),
    }
}

/// A choice as people type it.
pub(super) fn choice(text: &str) -> Result<Choice> {
    text.parse::<Choice>()
        .map_err(|error| Error::Usage(error.to_string()).into())
}

/// Goes on with what is under way.
fn go_on(context: &Context, repository: &Repository) -> Result<()> {
    let kind = kind(repository)?;
    let time = context.now()?;
    let bar = Bar::new(context.out, "Merging");
    let report = repository.merge_continue(time, &bar)?;
    bar.finish();
    match report {
        Some(report) => print(context, kind, &report),
        None => {
            let request = fai_core::repo::CommitRequest {
                time,
                ..Default::default()
            };
            let made = repository.commit(&request)?;
            context
                .out
                .say(Symbol::Done, format!("Created commit {}", made.id.short()))?;
            context.out.document(&json!({
                "outcome": Outcome::Committed.name(), "commit": made.id.to_string(), "conflicts": [],
            }))
        }
    }
}

/// Ends what is under way.
fn abort(context: &Context, repository: &Repository) -> Result<()> {
    let kind = kind(repository)?;
    let bar = Bar::new(context.out, "Restoring");
    let paths = repository.merge_abort(&bar)?;
    bar.finish();
    let text = format!("The {} is undone; {} as before", kind.name(), files(paths.len()));
    context.out.say(Symbol::Done, text)?;
    context
        .out
        .document(&json!({ "outcome": "aborted", "files": paths.iter().map(|path| path.as_str()).collect::<Vec<_>>() }))
}

fn kind(repository: &Repository) -> Result<MergeKind> {
    let underway = repository.underway()?.ok_or(Error::NothingUnderway)?;
    Ok(match underway.kind.as_str() {
        "cherry-pick" => MergeKind::CherryPick,
        "revert" => MergeKind::Revert,
        _ => MergeKind::Merge,
    })
}

fn print(context: &Context, kind: MergeKind, report: &MergeReport) -> Result<()> {
    let out = &context.out;
    let written = format!("{} written, {} removed", files(report.written), report.removed);
    match report.outcome {
        Outcome::UpToDate => out.say(Symbol::Done, "Already up to date")?,
        Outcome::FastForward => out.say(
            Symbol::Done,
            format!("Moved forward to {} ({written})", report.commit.short()),
        )?,
        Outcome::Committed => out.say(
            Symbol::Done,
            format!("Created commit {} ({written})", report.commit.short()),
        )?,
        Outcome::Conflicts => {
            let count = files(report.conflicts.len());
            out.say(Symbol::Item, format!("{count} to decide:"))?;
            report
                .conflicts
                .iter()
                .try_for_each(|conflict| describe(context, conflict))?;
        }
    }
    out.document(&json!({
        "outcome": report.outcome.name(),
        "commit": (report.outcome != Outcome::Conflicts).then(|| report.commit.to_string()),
        "before": report.before.map(|commit| commit.to_string()),
        "files_written": report.written,
        "files_removed": report.removed,
        "conflicts": report.conflicts.iter().map(document).collect::<Vec<_>>(),
    }))?;
    if report.outcome == Outcome::Conflicts {
        let name = kind.name();
        out.warn(format!(
            "decide with `fai resolve PATH --ours|--theirs|--tensors HOW`, or edit and `fai add PATH`; then `fai {name} --continue`, or \
             `fai {name} --abort`"
        ));
        return Err(Negative.into());
    }
    Ok(())
}

/// One line for a path, and some for what is in it.
pub(super) fn describe(context: &Context, conflict: &Undecided) -> Result<()> {
    let why = match conflict.kind.as_str() {
        "tensors" => "tensors changed on both sides",
        "keys" => "keys changed on both sides",
        "content" => "lines changed on both sides; they are marked in the file",
        "binary" => "changed on both sides; ours is in place",
        "both_added" => "added on both sides; ours is in place",
        "delete_modify" if conflict.ours.is_none() => "removed here and changed there",
        "delete_modify" => "changed here and removed there",
        "renamed" => "renamed differently there",
        _ => "a file here and a folder there",
    };
    let bytes = conflict.ours.or(conflict.theirs).map_or(0, |entry| entry.size);
    context
        .out
        .say(Symbol::Item, format!("  {} ({}): {why}", conflict.path, size(bytes)))?;
    let details = conflict.detail.iter().filter(|_| conflict.kind != "delete_modify");
    for detail in details.clone().take(LISTED) {
        context.out.say(Symbol::Item, format!("    {detail}"))?;
    }
    match details.count().checked_sub(LISTED) {
        Some(more) if more > 0 => Ok(context.out.say(Symbol::Item, format!("    and {more} more"))?),
        _ => Ok(()),
    }
}

/// A conflict for scripts.
pub(super) fn document(conflict: &Undecided) -> Value {
    let side = |entry: Option<fai_core::repo::Entry>| {
        entry.map(|entry| json!({ "id": entry.file.to_string(), "size": entry.size, "executable": entry.executable }))
    };
    json!({
        "path": conflict.path.as_str(), "kind": conflict.kind, "detail": conflict.detail,
        "base": side(conflict.base), "ours": side(conflict.ours), "theirs": side(conflict.theirs),
    })
}
