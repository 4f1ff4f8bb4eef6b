//! The report while it grows: one problem for each thing that is wrong, however often it is met.

use std::collections::HashMap;

use super::{FsckReport, Problem};
use crate::object::{Hash, Kind};
use crate::repo::{Error, Repository};
use crate::storage::StorageError;

/// What needs a broken thing is listed up to this many.
const MAX_AFFECTED: usize = 20;

/// Problems of one pack, or of the database, are listed up to this many; a lost disk must not fill the memory.
pub(super) const MAX_LISTED: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub report: FsckReport,
    known: HashMap<(&'static str, String), usize>,
    /// Records that are damaged, and packs that are gone, with their problems.
    records: HashMap<Hash, usize>,
    packs: HashMap<Hash, usize>,
}

impl Findings {
    /// Adds to what was looked at.
    pub fn count(&mut self, what: &'static str, more: u64) {
        *self.report.checked.entry(what).or_default() += more;
    }

    /// Reports a problem and returns its number; one that is known already stays as it was.
    pub fn problem(&mut self, kind: &'static str, subject: String, detail: String) -> usize {
        let problems = &mut self.report.problems;
        *self.known.entry((kind, subject)).or_insert_with_key(|(_, subject)| {
            problems.push(Problem {
                kind,
                subject: subject.clone(),
                detail,
                affected: Vec::new(),
            });
            problems.len() - 1
        })
    }

    /// Tells what a rebuild did.
    pub fn recovered(&mut self, what: String) {
        self.report.recovered.push(what);
    }

    /// Reports what is wrong with the database; every text once.
    pub fn database(&mut self, repository: &Repository, detail: String) {
        let subject = repository.database_path().display().to_string();
        let said = |problem: &Problem| problem.kind == "database" && problem.detail == detail;
        if self.report.problems.len() < MAX_LISTED && !self.report.problems.iter().any(said) {
            self.report.problems.push(Problem {
                kind: "database",
                subject,
                detail,
                affected: Vec::new(),
            });
        }
    }

    /// Says that something needs what the problem is about.
    pub fn affects(&mut self, problem: usize, what: &str) {
        if let Some(problem) = self.report.problems.get_mut(problem)
            && problem.affected.len() < MAX_AFFECTED
            && !problem.affected.iter().any(|known| known == what)
        {
            problem.affected.push(what.to_owned());
        }
    }

    /// Remembers which problem a record has.
    pub fn damaged_record(&mut self, hash: Hash, problem: usize) {
        self.records.insert(hash, problem);
    }

    /// Remembers that a pack is gone.
    pub fn missing_pack(&mut self, pack: Hash, problem: usize) {
        self.packs.insert(pack, problem);
    }

    /// The problem that a record has, if it is known to have one.
    pub fn of_record(&self, hash: &Hash) -> Option<usize> {
        self.records.get(hash).copied()
    }

    /// The problem of a pack that is gone.
    pub fn of_pack(&self, pack: &Hash) -> Option<usize> {
        self.packs.get(pack).copied()
    }

    /// Reports a record that could not be read, unless its problem is known, and returns the problem. `None` when it
    /// is the database that failed.
    pub fn unreadable(&mut self, repository: &Repository, kind: Kind, hash: Hash, error: &Error) -> Option<usize> {
        if let Some(problem) = self.of_record(&hash) {
            return Some(problem);
        }
        let name = match error {
            Error::Database(_) => {
                self.database(repository, explain(error));
                return None;
            }
            Error::Missing { .. } => "missing_object",
            Error::Invalid { .. } => "invalid_object",
            Error::Storage(StorageError::Io { .. }) => {
                let location = repository.store().locate(kind, &hash).ok();
                if let Some(problem) = location.and_then(|location| self.of_pack(&location.pack)) {
                    self.records.insert(hash, problem);
                    return Some(problem);
                }
                "damaged_record"
            }
            _ => "damaged_record",
        };
        let problem = self.problem(name, record_name(kind, &hash), explain(error));
        self.records.insert(hash, problem);
        Some(problem)
    }
}

/// How a record is named in reports.
pub(super) fn record_name(kind: Kind, hash: &Hash) -> String {
    format!("{} {hash}", kind.name())
}

/// An error with its causes.
pub(in crate::repo) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
