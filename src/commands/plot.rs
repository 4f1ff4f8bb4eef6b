//! `fai plot`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use fai_core::Repository;
use fai_core::object::CommitId;
use fai_core::repo::{Among, Error, SeriesOfCommit};
use serde_json::json;

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::Symbol;
use crate::ui::errors::Hinted;
use crate::ui::file::write_whole;
use crate::ui::format;
use crate::ui::plot::{Line, Look, MAX_LINES, Plot, lacks_letters, png, svg, terminal};

/// Names that an error lists.
const NAMED: usize = 10;

/// Said of a PNG that shows boxes.
const LACKING: &str =
    "PNG files have Latin, Greek and Cyrillic letters, and boxes for others; an SVG file has them all";

/// Draw metrics: over the steps of a run, or from commit to commit
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai plot loss\n  fai plot loss val_loss HEAD~1 HEAD --x step -o loss.svg\n  fai plot accuracy --x commit main -o accuracy.png\n\n\
    Words that name revisions are revisions, the others are metrics; --rev says so. Steps come from metrics.csv, events.jsonl and \
    dvclive/plots/metrics/**/*.tsv of the commit."
)]
pub struct Args {
    /// Metrics, and revisions whose runs are drawn (by default the one here)
    #[arg(required = true, value_name = "METRIC|REV")]
    words: Vec<String>,
    /// A revision; several make a line each
    #[arg(long = "rev", value_name = "REV")]
    revisions: Vec<String>,
    /// What goes to the right: steps of one run, or the commits up to each revision
    #[arg(long, value_name = "step|commit")]
    x: Option<Across>,
    /// Write a picture instead: SVG or PNG, as the file's name ends
    #[arg(short, long, value_name = "FILE.svg|FILE.png")]
    output: Option<PathBuf>,
}

/// The horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Across {
    /// Steps of a run
    Step,
    /// Commits, from the oldest to the revision
    Commit,
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Svg,
    Png,
}

/// A revision as it was typed, and the commit it names.
struct Run {
    name: String,
    commit: CommitId,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        // Before anything is read or fetched.
        let output = match &self.output {
            Some(path) => Some((path, kind(path)?)),
            None => None,
        };
        let repository = context.repository()?;
        let (metrics, runs) = self.sorted(&repository)?;
        let (plot, warnings) = self.plot(context, &repository, &metrics, &runs)?;
        warnings.iter().for_each(|warning| context.out.warn(warning));
        let nothing = || Error::NoNumber(metrics.join(", "));
        let mut document = json!({ "x": plot.x, "lines": plot.lines.iter().map(line_document).collect::<Vec<_>>() });
        match output {
            Some((path, kind)) => {
                let picture = match kind {
                    Kind::Svg => svg(&plot).map(String::into_bytes),
                    Kind::Png => png(&plot)?,
                };
                let target = context.folder.join(path);
                write_whole(&target, &picture.ok_or_else(nothing)?)?;
                if kind == Kind::Png && lacks_letters(&plot)? {
                    context.out.warn(LACKING);
                }
                let line = format!("Wrote {}", context.shown(&target));
                context.out.say(Symbol::Done, line)?;
                if let Some(fields) = document.as_object_mut() {
                    fields.insert("file".into(), json!(target.display().to_string()));
                }
            }
            None => {
                let look = Look {
                    columns: context.out.columns().unwrap_or(80),
                    utf8: context.out.shows_utf8(),
                    color: context.out.shows_color(),
                };
                let lines = terminal(&plot, look, |code, text| context.out.paint(code, text)).ok_or_else(nothing)?;
                lines.iter().try_for_each(|line| context.out.line(line))?;
            }
        }
        context.out.document(&document)
    }

    /// Metrics and runs, told apart.
    fn sorted(&self, repository: &Repository) -> Result<(Vec<String>, Vec<Run>)> {
        let (mut metrics, mut runs) = (Vec::new(), Vec::new());
        let run = |name: &String, commit| Run {
            name: name.clone(),
            commit,
        };
        for (index, word) in self.words.iter().enumerate() {
            match repository.resolve(word) {
                // The first word is a metric, even when a branch is named like it.
                Ok(commit) if index > 0 => runs.push(run(word, commit)),
                _ => metrics.push(word.clone()),
            }
        }
        for name in &self.revisions {
            runs.push(run(name, repository.resolve(name)?));
        }
        if runs.is_empty() {
            runs.push(run(&"HEAD".to_owned(), repository.resolve("HEAD")?));
        }
        if metrics.len() * runs.len() > MAX_LINES {
            return Err(Error::Usage(format!("a plot shows {MAX_LINES} lines at the most")).into());
        }
        Ok((metrics, runs))
    }

    /// The plot, and what could not be read for it.
    fn plot(
        &self,
        context: &Context,
        repository: &Repository,
        metrics: &[String],
        runs: &[Run],
    ) -> Result<(Plot, Vec<String>)> {
        let mut warnings = Vec::new();
        let mut all = Vec::new();
        if self.x != Some(Across::Commit) {
            for run in runs {
                ensure_present(context, repository, repository.series_files(run.commit)?)?;
                let found = repository.series(run.commit)?;
                warnings.extend(found.warnings.iter().map(|warning| format!("{}: {warning}", run.name)));
                all.push(found);
            }
        }
        let any = |metric: &String| all.iter().any(|found| found.series.contains_key(metric));
        let by_step = match self.x {
            Some(x) => x == Across::Step,
            None => metrics.iter().any(any),
        };
        let lines = match by_step {
            true => by_steps(metrics, runs, &all)?,
            false => by_commits(repository, metrics, runs)?,
        };
        let plot = Plot {
            title: format::safe(&metrics.join(", ")),
            x: if by_step { "step" } else { "commit" }.to_owned(),
            lines,
        };
        Ok((plot, warnings))
    }
}

/// What a file's name says that it is.
fn kind(path: &Path) -> Result<Kind> {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_ref().and_then(|ending| ending.to_str()) {
        Some("svg") => Ok(Kind::Svg),
        Some("png") => Ok(Kind::Png),
        _ => {
            let error = "plots are written as SVG or PNG: the file's name must end with .svg or .png";
            let hint = "-o FILE.svg can be enlarged as you like, -o FILE.png is read everywhere";
            Err(Hinted::new(Error::Usage(error.into()), hint).into())
        }
    }
}

fn label(metric: &str, metrics: &[String], run: &Run) -> String {
    let name = match run.commit.short() {
        short if run.name == short || run.commit.to_string() == run.name => short,
        short => format!("{} ({short})", run.name),
    };
    let text = match metrics.len() {
        1 => name,
        _ => format!("{metric}, {name}"),
    };
    format::safe(&text)
}

fn by_steps(metrics: &[String], runs: &[Run], all: &[SeriesOfCommit]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for metric in metrics {
        let before = lines.len();
        for (run, found) in runs.iter().zip(all) {
            if let Some(series) = found.series.get(metric) {
                let mut points = series.points.clone();
                points.sort_by(|one, other| one.0.total_cmp(&other.0));
                let label = label(metric, metrics, run);
                lines.push(Line { label, points });
            }
        }
        if lines.len() == before {
            let names: BTreeSet<&String> = all.iter().flat_map(|found| found.series.keys()).collect();
            let known: Vec<String> = names.iter().take(NAMED).map(|name| (*name).clone()).collect();
            let more = names.len() - known.len();
            let error = Error::NoSuchSeries {
                name: metric.clone(),
                known,
                more,
            };
            return Err(Hinted::new(error, "--x commit draws what commits have, from one to the next").into());
        }
    }
    Ok(lines)
}

fn by_commits(repository: &Repository, metrics: &[String], runs: &[Run]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for metric in metrics {
        for run in runs {
            let found = repository.values_over_commits(&Among::Before(vec![run.commit]), metric)?;
            let numbers = found.iter().filter_map(|(_, value)| value.as_number());
            let points = numbers
                .enumerate()
                .map(|(index, value)| ((index + 1) as f64, value))
                .collect();
            let label = label(metric, metrics, run);
            lines.push(Line { label, points });
        }
    }
    Ok(lines)
}

fn line_document(line: &Line) -> serde_json::Value {
    let number = |value: f64| fai_core::object::Value::Float(value).to_json();
    let points: Vec<_> = line
        .points
        .iter()
        .map(|(x, y)| json!([number(*x), number(*y)]))
        .collect();
    json!({ "label": line.label, "points": points })
}
