//! `status`: what is staged, what differs in the worktree, what is unknown there.
//!
//! Goes folder by folder, on all cores: a folder's tree, its staged changes, its part of the stat cache and what is
//! on disk are merged by name while they are at hand, so that a file costs a path only when there is something to say.

use super::expected::{Changes, Expected};
use super::local_changes::{Verdict, judge};
use super::progress::Progress;
use super::snapshot::Entry;
use super::walk::{Extent, Found, Listed, Listing};
use super::{Error, Head, Repository, Underway};
use crate::database::CachedStat;
use crate::object::{CommitId, RepoPath};

/// Where the worktree stands.
#[derive(Debug)]
pub struct Status {
    /// Where `HEAD` is.
    pub head: Head,
    /// The commit there, if any.
    pub commit: Option<CommitId>,
    /// A merge, cherry-pick or revert that is not over.
    pub underway: Option<Underway>,
    /// What the next commit changes.
    pub staged: Vec<StatusEntry>,
    /// Tracked files whose content or executable bit differs from what is staged or committed.
    pub modified: Vec<RepoPath>,
    /// Tracked files that are gone.
    pub deleted: Vec<RepoPath>,
    /// Tracked files that are not here on purpose: this repository holds only a part.
    pub absent: Vec<RepoPath>,
    /// Tracked files that were taken out of the worktree on purpose, and what they are.
    pub evicted: Vec<(RepoPath, Entry)>,
    /// Files that are neither tracked nor ignored.
    pub untracked: Vec<RepoPath>,
    /// Symbolic links, which are never tracked.
    pub symlinks: Vec<RepoPath>,
    /// Names and folders that could not be looked at.
    pub refused: Vec<Error>,
}

/// A staged change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// The path.
    pub path: RepoPath,
    /// `added`, `modified` or `removed`.
    pub change: &'static str,
    /// The file that will be there; for a removal, the one that was.
    pub entry: Entry,
}

impl Repository {
    /// Compares `HEAD`, staging and worktree. Reads only files that the stat cache cannot vouch for.
    ///
    /// # Errors
    /// When the repository is bare or cannot be read.
    pub fn status(&self, progress: &dyn Progress) -> Result<Status, Error> {
        self.need_worktree("status")?;
        let (head, commit) = (self.head()?, self.head_commit()?);
        let staging = self.database().staging()?;
        let changes = Changes::of(&staging);
        let root = Expected {
            tree: self.tree_id_of(commit)?,
            changes: (!staging.is_empty()).then_some(&changes),
        };
        let extent = Extent {
            scopes: &[],
            all: false,
        };
        let visit = |folder: &RepoPath, expected, listing: Listing, part: &mut Part| {
            self.compare_folder(folder, expected, listing, part)
        };
        let (parts, passed) = self.walk_folders(extent, root, visit)?;
        let mut all = Part::default();
        parts.into_iter().for_each(|part| all.absorb(part));

        // Tracked files that an ignore rule hides are looked at one by one.
        all.unmet.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let (hidden, mut deleted) = self.look_at(&all.unmet.iter().map(|(path, _)| path).collect::<Vec<_>>());
        for found in hidden {
            let position = all.unmet.binary_search_by(|(path, _)| path.cmp(&found.path));
            let Some((_, entry)) = position.ok().and_then(|index| all.unmet.get(index)).cloned() else {
                continue;
            };
            let cached = self.database().stat_of(&found.path)?;
            match judge(&found.stat, found.executable, &entry, cached.as_ref()) {
                Verdict::Same => {}
                Verdict::Modified => all.modified.push(found.path),
                Verdict::Unsure => all.unsure.push((found, entry)),
            }
        }
        let absences = self.absences()?;
        let absent = absences.take(&mut deleted);
        let (evicted, absent): (Vec<_>, Vec<_>) = absent.into_iter().partition(|path| absences.is_evicted(path));
        let entry = |path: RepoPath| {
            let position = all.unmet.binary_search_by(|(unmet, _)| unmet.cmp(&path)).ok()?;
            Some((path, all.unmet.get(position)?.1))
        };
        let evicted = evicted.into_iter().filter_map(entry).collect();
        let unsure: Vec<_> = all.unsure.iter().map(|(found, entry)| (found, *entry)).collect();
        all.modified.extend(self.unlike(&unsure, progress)?);
        all.staged.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        all.modified.sort_unstable();
        let underway = self.underway()?;
        for conflict in underway.iter().flat_map(|underway| &underway.conflicts) {
            all.modified.retain(|path| *path != conflict.path);
            deleted.retain(|path| *path != conflict.path);
            all.untracked.retain(|path| *path != conflict.path);
        }
        all.untracked.sort_unstable();
        Ok(Status {
            head,
            commit,
            underway,
            staged: all.staged,
            modified: all.modified,
            deleted,
            absent,
            evicted,
            untracked: all.untracked,
            symlinks: passed.symlinks,
            refused: passed.refused,
        })
    }

    /// Compares one folder of the worktree with what it should hold, and says what the folders below should hold.
    fn compare_folder<'c>(
        &self,
        folder: &RepoPath,
        expected: Expected<'c>,
        listing: Listing,
        part: &mut Part,
    ) -> Result<Vec<Expected<'c>>, Error> {
        let content = self.content_of(folder, expected, &mut part.staged)?;
        let mut remembered = if content.files.is_empty() {
            Vec::new()
        } else {
            self.remembered(folder, &listing.files)?
        }
        .into_iter();
        let mut tracked = content.files.into_iter().peekable();
        for file in listing.files {
            let cached = remembered.next().flatten();
            while let Some((name, entry)) = tracked.next_if(|(name, _)| *name < file.name) {
                part.unmet.push((folder.join(&name), entry));
            }
            let Some((_, entry)) = tracked.next_if(|(name, _)| *name == file.name) else {
                part.untracked.push(file.in_folder(folder).path);
                continue;
            };
            match judge(&file.stat, file.executable, &entry, cached.as_ref()) {
                Verdict::Same => {}
                Verdict::Modified => part.modified.push(file.in_folder(folder).path),
                Verdict::Unsure => part.unsure.push((file.in_folder(folder), entry)),
            }
        }
        part.unmet
            .extend(tracked.map(|(name, entry)| (folder.join(&name), entry)));

        let mut below = Vec::with_capacity(listing.folders.len());
        let mut tracked = content.folders.into_iter().peekable();
        for name in &listing.folders {
            while let Some((name, expected)) = tracked.next_if(|(tracked, _)| tracked < name) {
                self.absent_folder(&folder.join(&name), expected, part)?;
            }
            let expected = tracked.next_if(|(tracked, _)| tracked == name);
            below.push(expected.map(|(_, expected)| expected).unwrap_or_default());
        }
        for (name, expected) in tracked {
            self.absent_folder(&folder.join(&name), expected, part)?;
        }
        Ok(below)
    }

    /// What the stat cache says of each of `files`, which are sorted by name.
    fn remembered(&self, folder: &RepoPath, files: &[Listed]) -> Result<Vec<Option<CachedStat>>, Error> {
        let mut remembered = Vec::with_capacity(files.len());
        self.database().for_each_stat_in(folder, |name, cached| {
            while let Some(file) = files.get(remembered.len())
                && file.name.as_str() <= name
            {
                remembered.push((file.name == name).then_some(cached));
            }
        })?;
        Ok(remembered)
    }

    /// Notes the files of a folder that the walk did not enter: it is gone, or ignored.
    fn absent_folder(&self, folder: &RepoPath, expected: Expected<'_>, part: &mut Part) -> Result<(), Error> {
        let content = self.content_of(folder, expected, &mut part.staged)?;
        let paths = content
            .files
            .into_iter()
            .map(|(name, entry)| (folder.join(&name), entry));
        part.unmet.extend(paths);
        for (name, expected) in content.folders {
            self.absent_folder(&folder.join(&name), expected, part)?;
        }
        Ok(())
    }
}

/// What one thread found.
#[derive(Default)]
struct Part {
    staged: Vec<StatusEntry>,
    modified: Vec<RepoPath>,
    untracked: Vec<RepoPath>,
    /// Tracked, but not met.
    unmet: Vec<(RepoPath, Entry)>,
    /// Must be read to know.
    unsure: Vec<(Found, Entry)>,
}

impl Part {
    fn absorb(&mut self, other: Self) {
        self.staged.extend(other.staged);
        self.modified.extend(other.modified);
        self.untracked.extend(other.untracked);
        self.unmet.extend(other.unmet);
        self.unsure.extend(other.unsure);
    }
}
