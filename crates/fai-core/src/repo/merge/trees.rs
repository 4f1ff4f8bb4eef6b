//! Three versions of a folder made one, by path. What is inside files is compared elsewhere: those that both sides changed
//! are only named here.

use std::collections::{BTreeMap, BTreeSet};

use super::Sides;
use crate::object::RepoPath;
use crate::repo::renames::Candidate;
use crate::repo::snapshot::{Entry, Snapshot};
use crate::repo::{Error, Repository};

/// What is known of a path that cannot be decided by comparing ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undecided {
    pub path: RepoPath,
    pub sides: Sides<Option<Entry>>,
    pub kind: Kind,
}

/// Why a path is undecided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Both sides have it and changed it, or both added it.
    Content,
    /// One side changed what the other one removed.
    DeleteModify,
    /// The two sides gave it different names; the other one is said.
    Renamed(RepoPath),
    /// It is a file on one side and a folder on the other; the path is a free name for the file.
    Folder(RepoPath),
}

/// The result as far as ids tell.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// What is decided.
    pub files: Snapshot,
    /// What is not.
    pub undecided: Vec<Undecided>,
}

/// Old and new path of files that a side moved.
pub(super) type Moves = BTreeMap<RepoPath, RepoPath>;

impl Repository {
    /// The files that `side` moved away from where `base` has them.
    pub(super) fn moves(&self, base: &Snapshot, side: &Snapshot) -> Result<Moves, Error> {
        let only = |these: &Snapshot, those: &Snapshot| -> Vec<Candidate> {
            let gone = these.iter().filter(|(path, _)| !those.contains_key(*path));
            let candidate = |(path, entry): (&RepoPath, &Entry)| Candidate {
                path: path.clone(),
                side: (*entry).into(),
            };
            gone.map(candidate).collect()
        };
        let (removed, added) = (only(base, side), only(side, base));
        let found = self.find_renames(&removed, &added)?;
        let pair = |rename: crate::repo::renames::Rename| {
            Some((
                removed.get(rename.removed)?.path.clone(),
                added.get(rename.added)?.path.clone(),
            ))
        };
        Ok(found.into_iter().filter_map(pair).collect())
    }
}

/// Merges snapshots. `moves` are those of each side; `suffix` makes a free name where a file stands in the way of a folder.
pub(super) fn merge(mut snapshots: Sides<Snapshot>, moves: &(Moves, Moves), suffix: &str) -> Merged {
    let mut renamed = BTreeMap::new();
    let mut follow = |from: &RepoPath, to: &RepoPath, other_to: Option<&RepoPath>, ours: bool| {
        let Sides {
            base,
            ours: mine,
            theirs,
        } = &mut snapshots;
        let other = match ours {
            true => theirs,
            false => mine,
        };
        // The other side has something else at the new place: this is no mere move.
        if other.contains_key(to) && other_to != Some(to) {
            return;
        }
        match other_to {
            Some(same) if same == to => {}
            // Both moved it, to different places: ours counts, and the user is asked.
            Some(elsewhere) if ours => {
                renamed.insert(to.clone(), elsewhere.clone());
                if let Some(entry) = other.remove(elsewhere) {
                    other.insert(to.clone(), entry);
                }
            }
            Some(_) => return,
            None => {
                if let Some(entry) = other.remove(from) {
                    other.insert(to.clone(), entry);
                }
            }
        }
        if let Some(entry) = base.remove(from) {
            base.insert(to.clone(), entry);
        }
    };
    let (mine, theirs) = moves;
    for (from, to) in mine {
        follow(from, to, theirs.get(from), true);
    }
    for (from, to) in theirs {
        follow(from, to, mine.get(from), false);
    }
    let mut merged = by_path(&snapshots, &renamed);
    free_folders(&mut merged, &snapshots, suffix);
    merged
}

fn by_path(snapshots: &Sides<Snapshot>, renamed: &BTreeMap<RepoPath, RepoPath>) -> Merged {
    let Sides { base, ours, theirs } = snapshots;
    let paths: BTreeSet<&RepoPath> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
    let mut merged = Merged::default();
    for path in paths {
        let sides = Sides {
            base: base.get(path).copied(),
            ours: ours.get(path).copied(),
            theirs: theirs.get(path).copied(),
        };
        let kind = match renamed.get(path) {
            Some(other) => Kind::Renamed(other.clone()),
            None => match decide(&sides) {
                Ok(entry) => {
                    merged.files.extend(entry.map(|entry| (path.clone(), entry)));
                    continue;
                }
                Err(kind) => kind,
            },
        };
        merged.undecided.push(Undecided {
            path: path.clone(),
            sides,
            kind,
        });
    }
    merged
}

/// What ids and bits tell.
fn decide(sides: &Sides<Option<Entry>>) -> Result<Option<Entry>, Kind> {
    let Sides { base, ours, theirs } = *sides;
    if ours == theirs || theirs == base {
        return Ok(ours);
    }
    if ours == base {
        return Ok(theirs);
    }
    let (Some(one), Some(other)) = (ours, theirs) else {
        return Err(Kind::DeleteModify);
    };
    let executable = executable(sides);
    let whole = match (base, one.file == other.file) {
        (_, true) => Some(one),
        (Some(base), _) if base.file == other.file => Some(one),
        (Some(base), _) if base.file == one.file => Some(other),
        _ => None,
    };
    whole
        .map(|entry| Some(Entry { executable, ..entry }))
        .ok_or(Kind::Content)
}

/// The executable bit of what both sides have: that of the side which changed it.
pub(super) fn executable(sides: &Sides<Option<Entry>>) -> bool {
    let bit = |entry: Option<Entry>| entry.is_some_and(|entry| entry.executable);
    match bit(sides.ours) == bit(sides.base) {
        true => bit(sides.theirs),
        false => bit(sides.ours),
    }
}

/// Files that stand where the result has a folder get another name, and are told of.
fn free_folders(merged: &mut Merged, snapshots: &Sides<Snapshot>, suffix: &str) {
    let undecided = merged.undecided.iter().map(|undecided| &undecided.path);
    let paths: BTreeSet<RepoPath> = merged.files.keys().chain(undecided).cloned().collect();
    let mut folders = BTreeSet::new();
    for path in &paths {
        let mut above = path.split_last().map(|(folder, _)| folder);
        while let Some(folder) = above.filter(|folder| !folder.is_root()) {
            above = folder.split_last().map(|(folder, _)| folder);
            folders.insert(folder);
        }
    }
    for path in paths.iter().filter(|path| folders.contains(*path)) {
        let Some(free) = free_name(path, suffix, &paths, &folders) else {
            continue;
        };
        if let Some(entry) = merged.files.remove(path) {
            let at = |snapshot: &Snapshot| snapshot.get(path).copied();
            let sides = Sides {
                base: at(&snapshots.base),
                ours: at(&snapshots.ours).filter(|_| snapshots.ours.get(path) == Some(&entry)),
                theirs: at(&snapshots.theirs),
            };
            merged.undecided.push(Undecided {
                path: path.clone(),
                sides,
                kind: Kind::Folder(free),
            });
        } else if let Some(undecided) = merged.undecided.iter_mut().find(|undecided| undecided.path == *path) {
            undecided.kind = Kind::Folder(free);
        }
    }
}

fn free_name(
    path: &RepoPath,
    suffix: &str,
    files: &BTreeSet<RepoPath>,
    folders: &BTreeSet<RepoPath>,
) -> Option<RepoPath> {
    let (folder, name) = path.split_last()?;
    let candidates = (0..1000).map(|number| match number {
        0 => folder.join(&format!("{name}~{suffix}")),
        number => folder.join(&format!("{name}~{suffix}-{number}")),
    });
    candidates
        .into_iter()
        .find(|path| !files.contains(path) && !folders.contains(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{FileId, Id};

    fn snapshot(files: &[(&str, &str)]) -> Snapshot {
        let entry = |(path, content): &(&str, &str)| {
            let entry = Entry {
                file: FileId::of(content.as_bytes()),
                size: content.len() as u64,
                executable: content.ends_with('*'),
            };
            (RepoPath::parse(path).unwrap(), entry)
        };
        files.iter().map(entry).collect()
    }

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text).unwrap()
    }

    fn merged(
        base: &[(&str, &str)],
        ours: &[(&str, &str)],
        theirs: &[(&str, &str)],
        moves: [&[(&str, &str)]; 2],
    ) -> Merged {
        let sides = Sides {
            base: snapshot(base),
            ours: snapshot(ours),
            theirs: snapshot(theirs),
        };
        let [mine, other] = moves.map(|moves| moves.iter().map(|(from, to)| (path(from), path(to))).collect());
        merge(sides, &(mine, other), "theirs")
    }

    fn kinds(merged: &Merged) -> Vec<(&str, &Kind)> {
        let pair =
            |undecided: &'_ Undecided| -> (String, Kind) { (undecided.path.to_string(), undecided.kind.clone()) };
        let _ = pair;
        merged
            .undecided
            .iter()
            .map(|undecided| (undecided.path.as_str(), &undecided.kind))
            .collect()
    }

    #[test]
    fn what_one_side_changed_is_taken() {
        let base = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        let ours = [("a", "2"), ("b", "1"), ("c", "1"), ("new", "x")];
        let theirs = [("a", "1"), ("b", "3"), ("d", "1"), ("other", "y")];
        let result = merged(&base, &ours, &theirs, [&[], &[]]);
        assert_eq!(
            result.files,
            snapshot(&[("a", "2"), ("b", "3"), ("new", "x"), ("other", "y")])
        );
        assert_eq!(result.undecided, []);
    }

    #[test]
    fn what_both_changed_is_named() {
        let base = [("a", "1"), ("b", "1"), ("c", "1")];
        let ours = [("a", "2"), ("c", "2"), ("d", "x")];
        let theirs = [("a", "3"), ("b", "3"), ("d", "y")];
        let result = merged(&base, &ours, &theirs, [&[], &[]]);
        assert_eq!(result.files, Snapshot::new());
        let expected = [
            ("a", &Kind::Content),
            ("b", &Kind::DeleteModify),
            ("c", &Kind::DeleteModify),
            ("d", &Kind::Content),
        ];
        assert_eq!(kinds(&result), expected);
    }

    #[test]
    fn the_executable_bit_is_merged_by_itself() {
        let side = |content: &str, executable| {
            Some(Entry {
                file: FileId::of(content.as_bytes()),
                size: 1,
                executable,
            })
        };
        let sides = Sides {
            base: side("1", false),
            ours: side("1", true),
            theirs: side("2", false),
        };
        assert_eq!(decide(&sides), Ok(side("2", true)));
        let sides = Sides {
            base: side("1", true),
            ours: side("2", true),
            theirs: side("1", false),
        };
        assert_eq!(decide(&sides), Ok(side("2", false)));
    }

    #[test]
    fn changes_follow_a_moved_file() {
        let base = [("old", "1"), ("gone", "1")];
        let result = merged(
            &base,
            &[("new", "1"), ("gone", "1")],
            &[("old", "2")],
            [&[("old", "new")], &[]],
        );
        assert_eq!(
            (result.files, result.undecided),
            (snapshot(&[("new", "2")]), Vec::new())
        );
        let result = merged(&base, &[("old", "2")], &[("new", "1")], [&[], &[("old", "new")]]);
        assert_eq!(
            (result.files, result.undecided),
            (snapshot(&[("new", "2")]), Vec::new())
        );
        // Both moved it to the same place.
        let moved: &[(&str, &str)] = &[("old", "new")];
        let result = merged(&base, &[("new", "1")], &[("new", "2")], [moved, moved]);
        assert_eq!(result.files, snapshot(&[("new", "2")]));
        // And to different ones.
        let result = merged(&base, &[("x", "1")], &[("y", "2")], [&[("old", "x")], &[("old", "y")]]);
        assert_eq!(kinds(&result), [("x", &Kind::Renamed(path("y")))]);
        assert_eq!(result.files, Snapshot::new());
    }

    #[test]
    fn a_file_makes_way_for_a_folder() {
        let result = merged(&[], &[("a", "file")], &[("a/b", "1"), ("a/c", "1")], [&[], &[]]);
        assert_eq!(result.files, snapshot(&[("a/b", "1"), ("a/c", "1")]));
        assert_eq!(kinds(&result), [("a", &Kind::Folder(path("a~theirs")))]);
    }
}
