//! What refs, `HEAD` and staging lead to: every object is read, every chunk must be there.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::findings::{Findings, explain};
use crate::object::{Commit, CommitId, Extent, FileId, Hash, Id, Kind, TreeId};
use crate::repo::content::FileReader;
use crate::repo::reach::{NeededBy, Roots, Visit};
use crate::repo::snapshot::Entry;
use crate::repo::{Error, Repository, Selection};

impl Repository {
    /// Walks everything reachable from `roots` and reports what is broken, with the paths that need it.
    pub(super) fn check_reachable(&self, roots: &Roots, findings: &mut Findings) -> Result<(), Error> {
        let mut check = Check {
            repository: self,
            findings,
            files: HashMap::new(),
            selection: self.selection()?,
        };
        self.walk_reachable(roots, &mut check)
    }
}

struct Check<'a> {
    repository: &'a Repository,
    findings: &'a mut Findings,
    /// By file, and by whether its contents must be here.
    files: HashMap<(FileId, bool), FileState>,
    /// What of the contents must be here, unless all of it must.
    selection: Option<Selection>,
}

/// What is known of a file that was looked at.
#[derive(Clone, Default)]
struct FileState {
    /// Its size, when its manifest can be read.
    size: Option<u64>,
    /// Problems of parts of it.
    problems: BTreeSet<usize>,
}

/// How a file is being looked at.
struct Looked {
    /// Its contents must be here.
    whole: bool,
    /// Pages that were looked at.
    pages: HashSet<(Hash, u64)>,
}

impl Visit for Check<'_> {
    fn commit(&mut self, _: CommitId, _: &Commit) {
        self.findings.count("commits", 1);
    }

    fn tree(&mut self, _: TreeId) {
        self.findings.count("trees", 1);
    }

    fn file(&mut self, from: NeededBy<'_>, entry: Entry) -> Result<(), Error> {
        let whole = match (&self.selection, from) {
            (Some(selection), NeededBy::Path(path, _)) => selection.selects(path),
            // What was added here is nowhere else. Only what a commit has already, at a path that is left out, may be missing: a
            // file that was moved without its contents.
            (Some(selection), NeededBy::Staged(path)) => {
                selection.selects(path) || !self.files.contains_key(&(entry.file, false))
            }
            _ => true,
        };
        let key = (entry.file, whole);
        if !self.files.contains_key(&key) {
            let known = self.files.contains_key(&(entry.file, !whole));
            let state = self.check_file(entry.file, whole, known);
            self.files.insert(key, state);
        }
        let Some(state) = self.files.get(&key) else {
            return Ok(());
        };
        if !state.problems.is_empty() {
            let from = from.to_string();
            for problem in &state.problems {
                self.findings.affects(*problem, &from);
            }
        }
        if let Some(size) = state.size.filter(|size| *size != entry.size) {
            let detail = format!(
                "it is listed with {} bytes, and its file {} has {size}",
                entry.size, entry.file
            );
            self.findings.problem("invalid_object", from.to_string(), detail);
        }
        Ok(())
    }

    fn broken(&mut self, from: NeededBy<'_>, kind: Kind, hash: Hash, error: Error) -> Result<(), Error> {
        if let NeededBy::Root(name) = from {
            let what = if name == "HEAD" { "bad_head" } else { "bad_ref" };
            self.findings.problem(what, name.to_owned(), explain(&error));
            // A commit that never was here is no more than a bad ref.
            if matches!(error, Error::Missing { .. }) {
                return Ok(());
            }
        }
        if let Some(problem) = self.findings.unreadable(self.repository, kind, hash, &error) {
            self.findings.affects(problem, &from.to_string());
        }
        Ok(())
    }
}

impl Check<'_> {
    /// `whole` says that its contents must be here, `known` that it was counted.
    fn check_file(&mut self, file: FileId, whole: bool, known: bool) -> FileState {
        self.findings.count("files", u64::from(!known));
        if !whole && !self.repository.store().holds(file).unwrap_or(true) {
            self.findings.count("absent", 1);
        }
        let mut state = FileState::default();
        let reader = match FileReader::open(self.repository.store(), file) {
            Ok(reader) => reader,
            Err(error) => {
                let problem = self
                    .findings
                    .unreadable(self.repository, Kind::Manifest, *file.hash(), &error);
                state.problems.extend(problem);
                return state;
            }
        };
        let manifest = reader.manifest();
        state.size = Some(manifest.size);
        let known = self.repository.database().file(file);
        match known {
            Ok(Some(known)) if known.content != manifest.content || known.size != manifest.size => {
                let detail = format!("what it says about file {file} is not what the file is");
                self.findings.database(self.repository, detail);
            }
            Ok(_) => {}
            Err(error) => self.findings.database(self.repository, explain(&error)),
        }
        // A chunk's id is the hash of its bytes: of a file with one chunk, or none, it is the content's hash as well.
        let content = match (manifest.level, manifest.entries.as_slice()) {
            (0, []) => Some(Kind::Chunk.hash(&[])),
            (0, [only]) => Some(only.hash),
            _ => None,
        };
        if content.is_some_and(|content| content != *manifest.content.hash()) {
            let detail = "its content has another hash than it says".to_owned();
            state.problems.insert(self.invalid(file, detail));
        }
        self.check_entries(
            &reader,
            manifest.level,
            &manifest.entries,
            &mut Looked {
                whole,
                pages: HashSet::new(),
            },
            &mut state,
        );
        state
    }

    /// Looks at chunks, or at pages below; a page that the file has several times is looked at once.
    fn check_entries(
        &mut self,
        reader: &FileReader<'_>,
        level: u8,
        entries: &[Extent],
        looked: &mut Looked,
        state: &mut FileState,
    ) {
        for extent in entries {
            let Some(below) = level.checked_sub(1) else {
                let problem = self.check_chunk(reader.id(), extent, looked.whole);
                state.problems.extend(problem);
                continue;
            };
            if !looked.pages.insert((extent.hash, extent.len)) {
                continue;
            }
            match reader.page(below, extent) {
                Ok(page) => self.check_entries(reader, page.level, &page.entries, looked, state),
                Err(error) => {
                    let problem = self
                        .findings
                        .unreadable(self.repository, Kind::Page, extent.hash, &error);
                    state.problems.extend(problem);
                }
            }
        }
    }

    fn check_chunk(&mut self, file: FileId, extent: &Extent, needed: bool) -> Option<usize> {
        self.findings.count("chunks", 1);
        if let Some(problem) = self.findings.of_record(&extent.hash) {
            return Some(problem);
        }
        let location = match self.repository.store().locate(Kind::Chunk, &extent.hash) {
            Ok(location) => location,
            Err(Error::Missing { .. }) if !needed => return None,
            Err(error) => {
                return self
                    .findings
                    .unreadable(self.repository, Kind::Chunk, extent.hash, &error);
            }
        };
        if let Some(problem) = self.findings.of_pack(&location.pack) {
            return Some(problem);
        }
        let header = location.header;
        if header.kind == Kind::Chunk && u64::from(header.raw_len) == extent.len {
            return None;
        }
        let (kind, hash) = (header.kind.name(), extent.hash);
        let detail = format!(
            "it needs a chunk {hash} of {} bytes, and that is a {kind} of {}",
            extent.len, header.raw_len
        );
        Some(self.invalid(file, detail))
    }

    fn invalid(&mut self, file: FileId, detail: String) -> usize {
        self.findings.problem("invalid_object", format!("file {file}"), detail)
    }
}
