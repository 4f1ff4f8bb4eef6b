//! A repository that holds only a part: all commits, folders and lists of chunks, but the contents of selected files
//! alone. Which those are stands in its settings; what was fetched besides stays.
//!
//! Nothing here fetches anything. What is not here on purpose is told apart from what is lost by the selection: a file
//! that it selects must be here. What that means for the worktree is in `absence`.

use std::collections::HashSet;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::content::FileReader;
use super::reach::place;
use super::snapshot::Entry;
use super::worktree::Looker;
use super::{Config, Error, Quarantine, Repository, Store};
use crate::object::{CommitId, EntryKind, Extent, FileId, Hash, Id, Kind, MAX_PATH_LEN, PathError, RepoPath, Tree};

const INCLUDE: &str = "partial.include";
const EXCLUDE: &str = "partial.exclude";

/// Most patterns of one kind.
const MOST_PATTERNS: usize = 1000;

/// Which files' contents a repository takes from others.
#[derive(Debug, Clone)]
pub struct Selection {
    include: Vec<String>,
    exclude: Vec<String>,
    included: Gitignore,
    excluded: Gitignore,
}

/// A file whose contents are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentFile {
    /// Where it is, if somebody said so.
    pub path: Option<RepoPath>,
    /// The file.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
}

impl Selection {
    /// Takes the files that match one of `include`, or all when there are none, and none that match one of `exclude`.
    /// Patterns are those of ignore files: `*.safetensors` anywhere, `/models/` and `models/**` from the root.
    ///
    /// # Errors
    /// When a pattern is none.
    pub fn new(include: Vec<String>, exclude: Vec<String>) -> Result<Self, Error> {
        let (included, excluded) = (rules(&include)?, rules(&exclude)?);
        Ok(Self {
            include,
            exclude,
            included,
            excluded,
        })
    }

    /// True when the contents of the file at `path` are wanted.
    pub fn selects(&self, path: &RepoPath) -> bool {
        let matches = |rules: &Gitignore| rules.matched_path_or_any_parents(path.as_str(), false).is_ignore();
        (self.include.is_empty() || matches(&self.included)) && !matches(&self.excluded)
    }
}

fn rules(patterns: &[String]) -> Result<Gitignore, Error> {
    let mut builder = GitignoreBuilder::new("");
    let bad = |pattern: &str, reason: &str| Error::Usage(format!("{pattern:?} is no pattern of paths: {reason}"));
    if patterns.len() > MOST_PATTERNS {
        return Err(Error::Usage(format!("more than {MOST_PATTERNS} patterns")));
    }
    for pattern in patterns {
        // In an ignore file these would be a comment and an exception.
        if pattern.trim().is_empty() || pattern.starts_with(['#', '!']) {
            return Err(bad(pattern, "it may not be empty or begin with '#' or '!'"));
        }
        let added = builder.add_line(None, pattern);
        added.map_err(|error| bad(pattern, &error.to_string()))?;
    }
    builder.build().map_err(|error| bad("", &error.to_string()))
}

impl Repository {
    /// Which files' contents this repository takes from others; `None` when it takes everything.
    ///
    /// # Errors
    /// When the settings cannot be read.
    pub fn selection(&self) -> Result<Option<Selection>, Error> {
        let config = Config::read(&self.config_path())?;
        let (include, exclude) = (config.list(INCLUDE), config.list(EXCLUDE));
        if include.is_empty() && exclude.is_empty() {
            return Ok(None);
        }
        Selection::new(include, exclude).map(Some)
    }

    /// Remembers which files' contents this repository takes from others. What is here stays here.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub fn select(&self, selection: Option<&Selection>) -> Result<(), Error> {
        let (include, exclude): (&[String], &[String]) = match selection {
            Some(selection) => (&selection.include, &selection.exclude),
            None => (&[], &[]),
        };
        let path = self.config_path();
        if selection.is_none() && self.selection()?.is_none() {
            return Ok(());
        }
        // Both at once: with neither of them the repository would count as whole.
        Config::change_lists(&path, &[(INCLUDE, include), (EXCLUDE, exclude)])
    }

    /// Those of `files` whose contents are not all here. None in a repository that takes everything: what is missing
    /// there is lost.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn absent(&self, files: impl IntoIterator<Item = AbsentFile>) -> Result<Vec<AbsentFile>, Error> {
        let mut absent = Vec::new();
        if self.selection()?.is_none() {
            return Ok(absent);
        }
        let mut met = HashSet::new();
        for file in files {
            if met.insert(file.file) && !self.store.holds(file.file)? {
                absent.push(file);
            }
        }
        Ok(absent)
    }

    /// What a checkout of `commit` may write.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn files_to_check_out(&self, commit: CommitId) -> Result<Vec<AbsentFile>, Error> {
        Ok(named(self.kept(self.snapshot(Some(commit))?, &[])?))
    }

    /// What a restore of `paths` from `source` may write; without a source, what is staged or committed.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn files_to_restore(&self, paths: &[RepoPath], source: Option<CommitId>) -> Result<Vec<AbsentFile>, Error> {
        let files = match source {
            Some(commit) => self.snapshot_within(Some(commit), paths)?,
            None => self.expected(paths)?.0,
        };
        Ok(named(self.kept(files, paths)?))
    }

    /// The files of `commit` at and below `path`.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn files_within(&self, commit: CommitId, path: &RepoPath) -> Result<Vec<AbsentFile>, Error> {
        Ok(named(self.snapshot_within(Some(commit), std::slice::from_ref(path))?))
    }

    /// The files that `newer` leads to and that none of `have` leads to: what somebody needs who has those.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn files_between(&self, have: &[CommitId], newer: CommitId) -> Result<Vec<AbsentFile>, Error> {
        let (mut known, mut met, mut files) = (HashSet::new(), HashSet::new(), Vec::new());
        for commit in have {
            if self.store.has(commit.hash())? {
                self.each_file(&self.store, *commit, &mut met, |_, entry| {
                    known.insert(entry.file);
                    Ok(())
                })?;
            }
        }
        for commit in self.store.commits_between(have, newer)? {
            self.each_file(&self.store, commit, &mut met, |path, entry| {
                if known.insert(entry.file) {
                    files.push((path, entry));
                }
                Ok(())
            })?;
        }
        Ok(named(files))
    }

    /// The paths of `HEAD` that are not in the worktree on purpose.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn absent_paths(&self) -> Result<Vec<RepoPath>, Error> {
        if self.worktree.is_none() || self.absences()?.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.snapshot(self.head_commit()?)?;
        let kept = self.kept(all.clone(), &[])?;
        Ok(all.into_keys().filter(|path| !kept.contains_key(path)).collect())
    }

    /// The files of which a transfer must bring the contents when it has brought all objects: those that the selection
    /// selects in the commits that are new in `quarantine` and in `tips`, and of the tips those that stand in the
    /// worktree, too. Only files that are new or lack chunks. With `all`, of every commit that `tips` lead to.
    ///
    /// # Errors
    /// When objects are missing or damaged.
    pub fn contents_to_fetch(
        &self,
        quarantine: &Quarantine,
        tips: &[CommitId],
        (selection, all): (&Selection, bool),
    ) -> Result<Vec<(FileId, u64)>, Error> {
        let store = quarantine.store();
        let (mut met, mut wanted) = (HashSet::new(), HashSet::new());
        let mut looker = self.worktree.as_deref().map(Looker::new);
        for tip in tips {
            self.each_file(store, *tip, &mut met, |path, entry| {
                let stands = |looker: &mut Looker<'_>| looker.look(&path).is_ok_and(|found| found.is_file());
                if selection.selects(&path) || looker.as_mut().is_some_and(stands) {
                    wanted.insert((entry.file, entry.size));
                }
                Ok(())
            })?;
        }
        let mut commits: HashSet<CommitId> = HashSet::new();
        if all {
            for tip in tips {
                commits.extend(store.commits_between(&[], *tip)?);
            }
        } else {
            let new = store.index().records_of_kind(Kind::Commit)?;
            commits.extend(new.into_iter().map(CommitId::from_hash));
        }
        for commit in commits {
            self.each_file(store, commit, &mut met, |path, entry| {
                if selection.selects(&path) {
                    wanted.insert((entry.file, entry.size));
                }
                Ok(())
            })?;
        }
        let mut files = Vec::new();
        for (file, size) in wanted {
            if store.has_here(Kind::Manifest, file.hash())? || !store.holds(file)? {
                files.push((file, size));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Visits the files of a commit that were not met before at the same path.
    fn each_file(
        &self,
        store: &Store,
        commit: CommitId,
        met: &mut HashSet<Hash>,
        mut visit: impl FnMut(RepoPath, Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let root = store.get::<crate::object::Commit>(commit)?.tree;
        let mut waiting = vec![(RepoPath::root(), root)];
        while let Some((folder, id)) = waiting.pop() {
            if !met.insert(place(&folder, id.hash())) {
                continue;
            }
            for entry in store.get::<Tree>(id)?.into_entries() {
                let path = folder.join(&entry.name);
                if path.as_str().len() > MAX_PATH_LEN {
                    return Err(PathError::TooLong(path.as_str().chars().take(60).collect()).into());
                }
                if let Some(below) = entry.tree_id() {
                    waiting.push((path, below));
                } else if let Some(file) = entry.file_id() {
                    let (size, executable) = (entry.size, entry.kind == EntryKind::Executable);
                    visit(path, Entry { file, size, executable })?;
                }
            }
        }
        Ok(())
    }
}

/// Files that have a path.
pub(super) fn named(files: impl IntoIterator<Item = (RepoPath, Entry)>) -> Vec<AbsentFile> {
    let name = |(path, Entry { file, size, .. })| AbsentFile {
        path: Some(path),
        file,
        size,
    };
    files.into_iter().map(name).collect()
}

impl Store {
    /// True when all chunks of a file are here, whose manifest and pages are.
    ///
    /// # Errors
    /// When its manifest or a page is missing or damaged.
    pub fn holds(&self, file: FileId) -> Result<bool, Error> {
        let reader = FileReader::open(self, file)?;
        let manifest = reader.manifest();
        let mut lists: Vec<(u8, Vec<Extent>)> = vec![(manifest.level, manifest.entries.clone())];
        // Pages may repeat, so a few stored bytes can stand for any number of chunks.
        let mut met = HashSet::new();
        while let Some((level, entries)) = lists.pop() {
            for extent in entries {
                match level.checked_sub(1) {
                    None if !self.has(&extent.hash)? => return Ok(false),
                    None => {}
                    Some(below) if met.insert((extent.hash, extent.len)) => {
                        lists.push((below, reader.page(below, &extent)?.entries));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(include: &[&str], exclude: &[&str], path: &str) -> bool {
        let own = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let selection = Selection::new(own(include), own(exclude)).unwrap();
        selection.selects(&RepoPath::parse(path).unwrap())
    }

    #[test]
    fn patterns_mean_what_they_mean_in_ignore_files() {
        for (include, path, expected) in [
            ("*.safetensors", "a/b/model.safetensors", true),
            ("*.safetensors", "model.gguf", false),
            ("models/**", "models/a/b.bin", true),
            ("models/**", "other/models/b.bin", false),
            ("models", "models/a/b.bin", true),
            ("models/", "x/models/b.bin", true),
            ("/models/", "x/models/b.bin", false),
            ("a?c", "abc", true),
        ] {
            assert_eq!(selects(&[include], &[], path), expected, "{include} {path}");
        }
        assert!(selects(&[], &["*.bin"], "a.txt") && !selects(&[], &["*.bin"], "b/a.bin"));
        assert!(!selects(&["models/"], &["*.bin"], "models/a.bin"));
        for wrong in ["", " ", "!a", "#a", "{a"] {
            assert!(Selection::new(vec![wrong.into()], Vec::new()).is_err(), "{wrong:?}");
        }
    }
}
