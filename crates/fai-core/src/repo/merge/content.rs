//! Files that both sides changed: merged by tensors, keys or lines, and stored.

use std::collections::BTreeMap;
use std::io::Read;

use super::choice::Choice;
use super::keys::Keyed;
use super::model::{self, Composed, Version};
use super::text::{MAX_TEXT, MergedText};
use super::trees::{self, Undecided, executable};
use super::{Sides, keys, text};
use crate::chunking::{STEP, plan};
use crate::database::{Conflict, Staged};
use crate::object::{ContentHash, FileId, RepoPath};
use crate::repo::add::Known;
use crate::repo::ahead::Begun;
use crate::repo::bases::Bases;
use crate::repo::describe::describe_layout;
use crate::repo::output::WriteBack;
use crate::repo::progress::{Event, Progress};
use crate::repo::read_ahead::{Copied, ReadAhead};
use crate::repo::snapshot::{Entry, Snapshot};
use crate::repo::{Error, Repository};
use crate::storage::{Feeder, IngestError};
use crate::tensor::{Layout, ReadAt, examine};

/// Stores the bytes of a source.
type Pour<'a> = dyn FnMut(&dyn ReadAt) -> Result<ContentHash, IngestError> + 'a;

/// Everything merged as far as it could be.
#[derive(Debug, Default)]
pub(in crate::repo) struct Combined {
    /// What the worktree is to hold.
    pub files: Snapshot,
    /// What waits for decisions.
    pub conflicts: BTreeMap<RepoPath, Conflict>,
}

/// Bytes of chunks that are held while versions are read that stand on each other: several for each thread and version.
const HELD: usize = 32 << 20;

/// What becomes of a path.
enum Decided {
    /// A file that is stored, or none.
    Known(Option<Entry>),
    /// What was fed to the store just now.
    Fed {
        executable: bool,
        known: Box<Known>,
        /// The same, as a file.
        written: Option<Begun>,
    },
}

/// The same once everything is stored.
type Settled = (RepoPath, Option<Entry>, Option<Conflict>);

/// A path, what becomes of it, and what is left to decide.
type Decision = (RepoPath, Decided, Option<Conflict>);

impl Repository {
    /// Merges three snapshots. Files that come of it are stored, not written. `theirs` is how the other side is called.
    pub(in crate::repo) fn combine(
        &self,
        sides: Sides<Snapshot>,
        theirs: &str,
        choice: Option<Choice>,
        progress: &dyn Progress,
    ) -> Result<Combined, Error> {
        let ours = sides.ours.clone();
        let moves = (
            self.moves(&sides.base, &sides.ours)?,
            self.moves(&sides.base, &sides.theirs)?,
        );
        let merged = trees::merge(sides, &moves, "theirs");
        let size = |undecided: &Undecided| undecided.sides.ours.map_or(0, |entry| entry.size);
        progress.on(Event::Total {
            files: merged.undecided.len() as u64,
            bytes: merged.undecided.iter().map(size).sum(),
        });
        let mut combined = Combined {
            files: merged.files,
            conflicts: BTreeMap::new(),
        };
        for (path, entry, conflict) in self.decide_all(&merged.undecided, &ours, theirs, choice, progress)? {
            combined
                .conflicts
                .extend(conflict.map(|conflict| (path.clone(), conflict)));
            combined.files.extend(entry.map(|entry| (path, entry)));
        }
        Ok(combined)
    }

    /// Decides about each path; what it becomes is stored and described when this returns.
    pub(super) fn decide_all(
        &self,
        undecided: &[Undecided],
        ours: &Snapshot,
        theirs: &str,
        choice: Option<Choice>,
        progress: &dyn Progress,
    ) -> Result<Vec<Settled>, Error> {
        if undecided.is_empty() {
            return Ok(Vec::new());
        }
        let advance = |bytes| progress.on(Event::Bytes(bytes));
        let _holding = self.store.hold_chunks(HELD);
        let mut bases = Bases::new(self, ours, Vec::new());
        let (decisions, summaries) = self.store.write(self.threads, &advance, |feeder| {
            let mut decisions = Vec::new();
            for one in undecided {
                progress.on(Event::File(one.path.as_str()));
                decisions.push(self.decide(feeder, &mut bases, one, theirs, choice)?);
                progress.on(Event::FileDone);
            }
            Ok(decisions)
        })?;
        let mut summaries = summaries.into_iter();
        self.database().transaction(|writer| {
            let mut done = Vec::new();
            for (path, decided, conflict) in decisions {
                let entry = match decided {
                    Decided::Known(entry) => entry,
                    Decided::Fed {
                        executable,
                        known,
                        written,
                    } => match summaries.next() {
                        Some(summary) => {
                            if let Some(written) = written {
                                self.ready.put(summary.file, executable, written);
                            }
                            let record = known.record(summary.file, summary.content, summary.size);
                            writer.insert_file(&record, &known.tensors)?;
                            let (file, size) = (summary.file, summary.size);
                            Some(Entry { file, size, executable })
                        }
                        None => None,
                    },
                };
                done.push((path, entry, conflict));
            }
            Ok(done)
        })
    }

    fn decide(
        &self,
        feeder: &mut Feeder<'_>,
        bases: &mut Bases<'_>,
        undecided: &Undecided,
        theirs: &str,
        choice: Option<Choice>,
    ) -> Result<Decision, Error> {
        let Undecided { path, sides, kind } = undecided;
        let conflict = |kind: &str, detail: Vec<String>| Conflict {
            kind: kind.to_owned(),
            detail,
            sides: [sides.base, sides.ours, sides.theirs].map(|entry| entry.map_or(Staged::Removed, Staged::from)),
        };
        let known = |entry, conflict| (path.clone(), Decided::Known(entry), conflict);
        let whole = match choice {
            Some(Choice::Ours) => Some(sides.ours),
            Some(Choice::Theirs) => Some(sides.theirs),
            _ => None,
        };
        let another = match kind {
            trees::Kind::Folder(free) => {
                let placed = sides.ours.or(sides.theirs);
                let conflict = conflict("folder", vec![path.to_string()]);
                return Ok((free.clone(), Decided::Known(placed), Some(conflict)));
            }
            trees::Kind::DeleteModify => {
                return Ok(match whole {
                    Some(side) => known(side, None),
                    None => {
                        let side = if sides.ours.is_none() {
                            "removed here"
                        } else {
                            "removed there"
                        };
                        known(
                            sides.ours.or(sides.theirs),
                            Some(conflict("delete_modify", vec![side.to_owned()])),
                        )
                    }
                });
            }
            trees::Kind::Renamed(other) => Some(conflict("renamed", vec![other.to_string()])),
            trees::Kind::Content => None,
        };
        let (Some(one), Some(other)) = (sides.ours, sides.theirs) else {
            return Ok(known(sides.ours.or(sides.theirs), another));
        };
        let bit = executable(sides);
        let with_bit = |entry: Entry| {
            Some(Entry {
                executable: bit,
                ..entry
            })
        };
        if one.file == other.file {
            return Ok(known(with_bit(one), another));
        }
        let fed = |known: Known, written: Option<Begun>, conflict: Option<Conflict>| {
            let decided = Decided::Fed {
                executable: bit,
                known: Box::new(known),
                written,
            };
            (path.clone(), decided, conflict.or(another.clone()))
        };

        let open = |entry: Option<Entry>| match entry {
            Some(entry) => Version::open(self, entry.file, path),
            None => Ok(None),
        };
        let versions = Sides {
            base: open(sides.base)?,
            ours: open(sides.ours)?,
            theirs: open(sides.theirs)?,
        };
        if let Some(merged) = model::merge(&versions, choice)? {
            let (stored, written) = self.feed_model(feeder, bases, path, &merged.bytes, bit)?;
            let left = (!merged.conflicts.is_empty()).then(|| conflict("tensors", merged.conflicts));
            return Ok(fed(stored, written, left));
        }
        if let Some((bytes, left)) = self.lines(path, sides, theirs, choice)? {
            let stored = self.feed(feeder, bases, path, &bytes, |pour| pour(&bytes))?;
            return Ok(fed(stored, None, left.map(|(kind, detail)| conflict(kind, detail))));
        }
        Ok(match whole.flatten() {
            Some(side) => known(with_bit(side), another),
            None => {
                let kind = if sides.base.is_none() { "both_added" } else { "binary" };
                known(with_bit(one), Some(conflict(kind, Vec::new())))
            }
        })
    }

    /// Merges texts by keys where they have some, else by lines. `None` for what is no text.
    #[allow(clippy::type_complexity)]
    fn lines(
        &self,
        path: &RepoPath,
        sides: &Sides<Option<Entry>>,
        theirs: &str,
        choice: Option<Choice>,
    ) -> Result<Option<(Vec<u8>, Option<(&'static str, Vec<String>)>)>, Error> {
        let mut texts = Vec::new();
        for side in [sides.base, sides.ours, sides.theirs] {
            match side {
                Some(entry) if entry.size > MAX_TEXT => return Ok(None),
                Some(entry) => texts.push(self.read_whole(entry.file, path)?),
                None => texts.push(Vec::new()),
            }
        }
        let [base, ours, other] = texts.as_slice() else {
            return Ok(None);
        };
        let Some(by_lines) = text::merge(base, ours, other, theirs) else {
            return Ok(None);
        };
        let strings = [base, ours, other].map(|text| std::str::from_utf8(text).unwrap_or_default());
        let clean = match &by_lines {
            MergedText::Clean(text) => std::str::from_utf8(text).ok(),
            MergedText::Conflict(_) => None,
        };
        let by_keys = Keyed::of(path).and_then(|format| keys::merge(format, strings, clean));
        Ok(Some(match (by_keys, by_lines) {
            (Some(Ok(text)), _) => (text.into_bytes(), None),
            (None, MergedText::Clean(text)) => (text, None),
            (by_keys, by_lines) => match text::favoured(base, ours, other, choice) {
                Some(text) => (text, None),
                None => {
                    let (MergedText::Clean(text) | MergedText::Conflict(text)) = by_lines;
                    let left = match by_keys {
                        Some(Err(keys)) => ("keys", keys),
                        _ => ("content", Vec::new()),
                    };
                    (text, Some(left))
                }
            },
        }))
    }

    fn read_whole(&self, file: FileId, path: &RepoPath) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.open_file(file)?.reader().take(MAX_TEXT).read_to_end(&mut bytes);
        read.map_err(Error::io("read", path.as_str().as_ref()))?;
        Ok(bytes)
    }

    /// Stores a merged model. Its tensors are computed on all cores, and written into a file for the worktree on the way, if
    /// there is room for it.
    fn feed_model(
        &self,
        feeder: &mut Feeder<'_>,
        bases: &mut Bases<'_>,
        path: &RepoPath,
        model: &Composed<'_>,
        executable: bool,
    ) -> Result<(Known, Option<Begun>), Error> {
        let (temporary, write_back) = (self.directory.join("tmp"), WriteBack::start());
        let begun = Begun::with_room(&temporary, model.len(), executable);
        let copied = begun.as_ref().map(|begun| Copied {
            output: &begun.output,
            write_back: &write_back,
        });
        let borders = model.borders();
        let known = self.feed(feeder, bases, path, model, |pour| {
            ReadAhead::run(model, (&borders, STEP), self.threads, copied, |ahead| pour(ahead))
        })?;
        let written = write_back.end().is_ok();
        Ok((known, begun.filter(|begun| written && begun.output.remaining() == 0)))
    }

    /// Stores a file that is nowhere yet. `read` says how its bytes are read when all of them are, once and in order.
    fn feed(
        &self,
        feeder: &mut Feeder<'_>,
        bases: &mut Bases<'_>,
        path: &RepoPath,
        source: &dyn ReadAt,
        read: impl FnOnce(&mut Pour<'_>) -> Result<ContentHash, IngestError>,
    ) -> Result<Known, Error> {
        let detected = examine(source).map_err(Error::io("read", path.as_str().as_ref()))?;
        let layout = detected.as_ref().ok().and_then(Option::as_ref);
        let regions = layout.map(Layout::regions).unwrap_or_default();
        let known = describe_layout(detected);
        let near = bases.of(feeder, path, &regions, &known.tensors, source)?;
        let mut hints = |offset, len, element| near.hint(self, offset, len, element);
        let content = read(&mut |bytes| feeder.chunks(bytes, plan(source.len(), &regions), &mut hints))?;
        feeder.end_file(content)?;
        bases.ended(&known.tensors);
        Ok(known)
    }
}
