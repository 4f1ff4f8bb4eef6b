//! Eviction: a file that is stored and staged goes from the worktree, and nothing takes its place. What it means that a
//! file is not there is in `absence`; how it comes back, in `restore`.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::fsck::explain;
use super::progress::{Event, Progress};
use super::walk::Found;
use super::worktree::{Looker, file_stat, hash_file};
use super::{Error, Repository};
use crate::database::{Effect, FileStat, State, What};
use crate::object::{FileId, Manifest, RepoPath};

/// Files are stored, staged and evicted in groups of at most so many bytes, or of one larger file: what a group frees is
/// there for the next one, so an archive needs no more room beside what it takes when it is stored than its largest group.
const GROUP: u64 = 1 << 30;

/// Most files of a group.
const GROUP_FILES: usize = 10_000;

/// Most names that are tried for a file that makes way.
const MOST_NAMES: u32 = 1000;

/// How the names of files that make way begin. The id of what should be in them follows.
pub(super) const ASIDE: &str = "evicted-";

/// A file that may go once it is proven to be in the packs.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub path: RepoPath,
    pub file: FileId,
    /// How it looked when what is stored was its content.
    pub stat: FileStat,
    pub executable: bool,
}

impl Candidate {
    /// What becomes of it, for the log of operations.
    fn effect(&self, goes: bool) -> Effect {
        let state = State::File {
            file: self.file,
            size: self.stat.size,
            executable: self.executable,
        };
        Effect {
            what: What::File,
            name: self.path.to_string(),
            after: if goes { State::Nothing } else { state.clone() },
            before: state,
        }
    }
}

/// `files` in groups of at most [`GROUP`] bytes, in their order. A larger file is a group of its own.
pub(super) fn groups(files: Vec<Found>) -> Vec<Vec<Found>> {
    let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::new(), 0u64);
    for file in files {
        let with_it = bytes.saturating_add(file.stat.size);
        if with_it > GROUP || group.len() >= GROUP_FILES {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes = bytes.saturating_add(file.stat.size);
        group.push(file);
    }
    groups.push(group);
    groups.retain(|group| !group.is_empty());
    groups
}

impl Repository {
    /// Takes files out of the worktree that are stored and staged, or committed. Returns why some stay, one error each.
    /// The caller holds the lock of the worktree alone.
    ///
    /// A process that is killed at any point leaves each file in the worktree, or stored, staged and marked as evicted:
    /// they are marked before they go.
    pub(super) fn evict(
        &self,
        candidates: Vec<Candidate>,
        progress: &dyn Progress,
    ) -> Result<(Vec<RepoPath>, Vec<Error>), Error> {
        let root = self.need_worktree("add")?;
        let temporary = self.directory.join("tmp");
        self.finish_evictions(&temporary, progress)?;
        let (mut ready, mut refused, mut verified) = (Vec::new(), Vec::new(), HashMap::new());
        for candidate in candidates {
            progress.on(Event::File(candidate.path.as_str()));
            // So far every byte was hashed on its way in, and never seen again. A fault of memory, of the encoder or of
            // the file system behind that hash has done no harm as long as the file is there, and can be mended by adding
            // it again. From here on the packs hold the only copy, so they are asked for it first.
            let found = verified.entry(candidate.file).or_insert_with(|| {
                let advance = |bytes| progress.on(Event::Bytes(bytes));
                self.store
                    .verify(candidate.file, self.threads, &advance)
                    .map_err(|error| explain(&error))
            });
            match found {
                Ok(()) => ready.push(candidate),
                Err(reason) => refused.push(Error::NotEvicted {
                    path: candidate.path,
                    reason: format!("what is stored of it cannot be read back: {reason}"),
                }),
            }
        }
        self.database().transaction(|writer| {
            ready.iter().try_for_each(|candidate| {
                writer.note_effect(&candidate.effect(true))?;
                writer.evict(&candidate.path)
            })
        })?;
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        for candidate in ready {
            match remove(root, &temporary, &candidate) {
                Ok(()) => gone.push(candidate.path),
                Err(reason) => stay.push((candidate, reason)),
            }
        }
        self.database().transaction(|writer| {
            gone.iter().try_for_each(|path| writer.forget_stat(path))?;
            stay.iter().try_for_each(|(candidate, _)| {
                writer.note_effect(&candidate.effect(false))?;
                writer.end_eviction(&candidate.path)
            })
        })?;
        refused.extend(
            stay.into_iter()
                .map(|(Candidate { path, .. }, reason)| Error::NotEvicted { path, reason }),
        );
        Ok((gone, refused))
    }

    /// Removes what killed processes had taken aside, if it is what is stored. Anything else is told of, and stays.
    pub(super) fn finish_evictions(&self, temporary: &Path, progress: &dyn Progress) -> Result<(), Error> {
        let listing = fs::read_dir(temporary).map_err(Error::io("list", temporary))?;
        for entry in listing {
            let path = entry.map_err(Error::io("list", temporary))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(rest) = name.strip_prefix(ASIDE) else { continue };
            let file = rest.split('-').next().and_then(|id| id.parse::<FileId>().ok());
            let stored = file.and_then(|file| self.store.get::<Manifest>(file).ok());
            let content = || hash_file(&path, &super::Silent).map(|(_, content)| content);
            match stored.is_some_and(|stored| content().is_ok_and(|found| found == stored.content)) {
                true => fs::remove_file(&path).map_err(Error::io("remove", &path))?,
                false => progress.on(Event::Warning(&format!(
                    "{} was changed while a killed process evicted it, and is kept there",
                    path.display()
                ))),
            }
        }
        Ok(())
    }

    /// Those of `paths` that were evicted and are not in the worktree. What is staged for such a path may be nowhere
    /// else: whoever unstages it must ask.
    pub(super) fn evicted_and_gone<'a>(
        &self,
        paths: impl Iterator<Item = &'a RepoPath>,
    ) -> Result<Vec<RepoPath>, Error> {
        let absences = self.absences()?;
        let evicted: Vec<&RepoPath> = paths.filter(|path| absences.is_evicted(path)).collect();
        Ok(self.look_at(&evicted).1)
    }
}

/// Removes the file if it still is what was stored; otherwise says why it stays.
fn remove(root: &Path, temporary: &Path, candidate: &Candidate) -> Result<(), String> {
    const CHANGED: &str = "it changed after it was stored";
    let Candidate { path, file, stat, .. } = candidate;
    let place = path.below(root);
    let unchanged = Looker::new(root)
        .look(path)
        .is_ok_and(|found| found.is_file() && file_stat(&found) == *stat);
    if !unchanged {
        return Err(CHANGED.into());
    }
    let failed = |error: std::io::Error| format!("it cannot be removed: {error}");
    // Another file may be renamed to this place between the look above and the removal. So what stands here is first
    // taken aside, where nobody knows it, and looked at once more.
    let aside = free_name(temporary, file)?;
    fs::rename(&place, &aside).map_err(failed)?;
    let moved = aside.symlink_metadata().map(|found| file_stat(&found));
    // Renaming changes this one time.
    let same = moved.is_ok_and(|moved| {
        moved
            == FileStat {
                ctime: moved.ctime,
                ..*stat
            }
    });
    let removed = match same {
        true => fs::remove_file(&aside).map_err(failed),
        false => Err(CHANGED.to_owned()),
    };
    removed.map_err(|reason| match put_back(&aside, &place) {
        Ok(()) => reason,
        Err(error) => format!("{reason}, and is now {}: {error}", aside.display()),
    })
}

/// A name in the folder for temporary files that is not taken.
fn free_name(temporary: &Path, file: &FileId) -> Result<PathBuf, String> {
    let name = |number| temporary.join(format!("{ASIDE}{file}-{number}"));
    let free = |name: &PathBuf| {
        name.symlink_metadata()
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let found = (0..MOST_NAMES).map(name).find(free);
    found.ok_or_else(|| format!("there is no free name in {}", temporary.display()))
}

/// Undoes a renaming, but never over what has come to that place meanwhile.
fn put_back(aside: &Path, place: &Path) -> std::io::Result<()> {
    match fs::hard_link(aside, place) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // Some file systems have no links.
        Err(_) => fs::rename(aside, place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Id;

    fn candidate(root: &Path, name: &str) -> Candidate {
        Candidate {
            path: RepoPath::parse(name).unwrap(),
            file: FileId::of(b"any"),
            stat: file_stat(&root.join(name).metadata().unwrap()),
            executable: false,
        }
    }

    #[test]
    fn only_what_is_as_it_was_goes() {
        let (folder, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = folder.path().join("a");
        fs::write(&place, "one").unwrap();
        let before = candidate(folder.path(), "a");
        fs::write(&place, "two, longer").unwrap();
        assert!(
            remove(folder.path(), aside.path(), &before)
                .unwrap_err()
                .contains("changed")
        );
        assert_eq!(fs::read(&place).unwrap(), b"two, longer");
        remove(folder.path(), aside.path(), &candidate(folder.path(), "a")).unwrap();
        for folder in [&folder, &aside] {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        assert!(
            remove(folder.path(), aside.path(), &before).is_err(),
            "it is gone already"
        );
    }

    #[test]
    fn what_is_put_back_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (aside, place) = (folder.path().join("aside"), folder.path().join("place"));
        fs::write(&aside, "mine").unwrap();
        fs::write(&place, "theirs").unwrap();
        assert!(put_back(&aside, &place).is_err());
        assert_eq!(
            (fs::read(&aside).unwrap(), fs::read(&place).unwrap()),
            (b"mine".to_vec(), b"theirs".to_vec())
        );
        fs::remove_file(&place).unwrap();
        put_back(&aside, &place).unwrap();
        assert!(fs::read(&place).unwrap() == b"mine" && !aside.exists());
    }

    #[test]
    fn a_taken_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = FileId::of(b"any");
        let first = free_name(folder.path(), &file).unwrap();
        fs::write(&first, "left by a killed process").unwrap();
        assert_ne!(free_name(folder.path(), &file).unwrap(), first);
    }

    #[test]
    fn groups_end_before_they_get_too_large() {
        let found = |size| Found {
            path: RepoPath::parse("a").unwrap(),
            stat: FileStat {
                size,
                mtime: 0,
                ctime: 0,
                inode: 0,
            },
            executable: false,
        };
        let sizes = |files: Vec<u64>| -> Vec<usize> {
            groups(files.into_iter().map(found).collect())
                .iter()
                .map(Vec::len)
                .collect()
        };
        assert_eq!(sizes(vec![]), [0; 0]);
        assert_eq!(sizes(vec![1, 2, 3]), [3]);
        assert_eq!(sizes(vec![GROUP / 2, GROUP / 2, 1, u64::MAX, 5]), [2, 1, 1, 1]);
        // One byte too many, and the file before it does not wait for it.
        assert_eq!(sizes(vec![GROUP - 1, 2, GROUP - 2, 1]), [1, 2, 1]);
        assert_eq!(sizes(vec![GROUP + 1, GROUP, 0, 0]), [1, 3]);
        assert_eq!(sizes(vec![0; GROUP_FILES + 1]), [GROUP_FILES, 1]);
    }
}
