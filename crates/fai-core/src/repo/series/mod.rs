//! Step series: how metrics went during a run, from the files that training tools write. They stay in those files: here they
//! are read, each time somebody asks, from the files of a commit. Only their last values go into the commit's metadata.

mod events;
mod table;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use super::snapshot::Entry;
use super::{AbsentFile, Error, Repository};
use crate::object::{CommitId, RepoPath};

/// The longest file of series that is read, in bytes.
const MAX_LEN: u64 = 64 << 20;

/// The longest line of one.
const MAX_LINE: usize = 1 << 20;

/// Points of all series of a file at the most.
const MAX_POINTS: usize = 2_000_000;

/// Series of a file at the most.
const MAX_SERIES: usize = 1024;

/// Series with longer names are left out.
const MAX_NAME: usize = 256;

/// Files of series of a commit that are read at the most.
const MAX_FILES: usize = 4096;

/// Where DVCLive keeps a file for each metric.
const DVCLIVE: &str = "dvclive/plots/metrics";

/// Columns and fields that say when, and not how well.
const STEPS: [&str; 5] = ["step", "global_step", "iteration", "iter", "epoch"];
const TIMES: [&str; 4] = ["timestamp", "time", "wall_time", "datetime"];

/// How one metric went, in the order of its file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Step and value. The value may be NaN, the step is not.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// The last value.
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }
}

/// The series of one commit by name, and what could not be read.
#[derive(Debug, Clone, Default)]
pub struct SeriesOfCommit {
    /// The series.
    pub series: BTreeMap<String, Series>,
    /// Files that could not be understood, and why.
    pub warnings: Vec<String>,
}

/// What kind of file of series a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// One metric of this name, separated by tabs.
    Single(String),
    /// A column each, separated by commas.
    Table,
    /// A JSON document a line.
    Events,
}

impl Source {
    /// What `path` is by its name.
    pub fn of(path: &RepoPath) -> Option<Self> {
        let text = path.as_str();
        match text {
            "metrics.csv" | "dvclive/metrics.csv" => return Some(Source::Table),
            "events.jsonl" | "dvclive/events.jsonl" => return Some(Source::Events),
            _ => {}
        }
        let below = text.strip_prefix(DVCLIVE)?.strip_prefix('/')?;
        let name = below.strip_suffix(".tsv").filter(|name| !name.is_empty())?;
        // As DVCLive itself names it in metrics.json, whose keys are joined by dots here.
        Some(Source::Single(name.replace('/', ".")))
    }
}

/// What a file holds, or why it could not be understood.
type Parsed = Result<BTreeMap<String, Series>, String>;

impl Repository {
    /// The files of a commit that hold step series.
    ///
    /// # Errors
    /// When the commit cannot be read.
    pub fn series_files(&self, commit: CommitId) -> Result<Vec<AbsentFile>, Error> {
        let mut scopes = Vec::new();
        for path in ["metrics.csv", "events.jsonl", "dvclive"] {
            scopes.push(RepoPath::parse(path)?);
        }
        let files = self.snapshot_within(Some(commit), &scopes)?;
        let of_series = files.into_iter().filter(|(path, _)| Source::of(path).is_some());
        let named = of_series.map(|(path, entry)| AbsentFile {
            path: Some(path),
            file: entry.file,
            size: entry.size,
        });
        Ok(named.take(MAX_FILES).collect())
    }

    /// All step series of a commit.
    ///
    /// # Errors
    /// When the commit or one of its files cannot be read; what cannot be understood is a warning.
    pub fn series(&self, commit: CommitId) -> Result<SeriesOfCommit, Error> {
        let mut found = SeriesOfCommit::default();
        for file in self.series_files(commit)? {
            let (Some(path), size) = (file.path, file.size) else {
                continue;
            };
            let entry = Entry {
                file: file.file,
                size,
                executable: false,
            };
            match self.read_series(&path, &entry)? {
                Some(Ok(series)) => found.series.extend(series),
                Some(Err(reason)) => found.warnings.push(format!("{path} holds no usable series: {reason}")),
                None => {}
            }
        }
        Ok(found)
    }

    /// The series in one file, or why there are none; `None` when its name is none of such a file.
    pub(super) fn read_series(&self, path: &RepoPath, entry: &Entry) -> Result<Option<Parsed>, Error> {
        let Some(source) = Source::of(path) else {
            return Ok(None);
        };
        if entry.size > MAX_LEN {
            return Ok(Some(Err(format!("it is longer than {MAX_LEN} bytes"))));
        }
        let file = self.open_file(entry.file)?;
        let mut lines = Lines::new(file.reader().take(MAX_LEN));
        let parsed = match source {
            Source::Single(name) => table::parse(&mut lines, '\t', Some(&name)),
            Source::Table => table::parse(&mut lines, ',', None),
            Source::Events => events::parse(&mut lines),
        };
        match (parsed, lines.failure) {
            (_, Some(failure)) => Err(Error::io("read", path.as_str().as_ref())(failure)),
            (parsed, None) => Ok(Some(parsed)),
        }
    }
}

/// The lines of a file, one in memory at a time.
struct Lines<'a> {
    input: BufReader<Box<dyn Read + 'a>>,
    number: usize,
    failure: Option<std::io::Error>,
}

impl<'a> Lines<'a> {
    fn new(input: impl Read + 'a) -> Self {
        Self {
            input: BufReader::new(Box::new(input)),
            number: 0,
            failure: None,
        }
    }

    /// The next line without its end.
    fn next(&mut self) -> Result<Option<String>, String> {
        self.number += 1;
        let mut bytes = Vec::new();
        let most = MAX_LINE as u64 + 1;
        let count = match self.input.by_ref().take(most).read_until(b'\n', &mut bytes) {
            Ok(count) => count,
            Err(error) => {
                self.failure = Some(error);
                return Ok(None);
            }
        };
        if count == 0 {
            return Ok(None);
        }
        if count > MAX_LINE {
            return Err(self.wrong(&format!("is longer than {MAX_LINE} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| self.wrong("is not UTF-8"))?;
        Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
    }

    fn wrong(&self, what: &str) -> String {
        format!("line {} {what}", self.number)
    }
}

/// Series that are being read, within their bounds.
#[derive(Default)]
struct Collected {
    series: BTreeMap<String, Series>,
    points: usize,
}

impl Collected {
    fn push(&mut self, name: &str, step: f64, value: f64) -> Result<(), String> {
        self.points += 1;
        if self.points > MAX_POINTS {
            return Err(format!("it holds more than {MAX_POINTS} values"));
        }
        if let Some(series) = self.series.get_mut(name) {
            series.points.push((step, value));
            return Ok(());
        }
        if self.series.len() >= MAX_SERIES {
            return Err(format!("it holds more than {MAX_SERIES} series"));
        }
        if !name.is_empty() && name.len() <= MAX_NAME {
            let points = vec![(step, value)];
            self.series.insert(name.to_owned(), Series { points });
        }
        Ok(())
    }
}

/// A number as tools write it; NaN and infinities included.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// How much a name says of when: the lower the more. `None` when it says how well.
fn says_when(name: &str) -> Option<usize> {
    STEPS
        .iter()
        .chain(&TIMES)
        .position(|known| known.eq_ignore_ascii_case(name))
}
