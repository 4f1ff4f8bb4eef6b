//! What people type for a version or a file: `HEAD~2`, `main`, `9f01cc2e`, `HEAD:model.safetensors`.

use std::path::Path;

use super::content::FileReader;
use super::snapshot::Entry;
use super::{Error, Repository, ref_candidates};
use crate::object::{Commit, CommitId, FileId, Hash, Id, Kind, RepoPath};

/// Fewest digits of an id.
const SHORTEST_PREFIX: usize = 4;

/// Candidates that an ambiguous id lists.
const CANDIDATES: usize = 16;

/// A file that somebody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The file.
    pub file: FileId,
    /// Its path, when it was named by path.
    pub path: Option<RepoPath>,
    /// The commit it was found in, when one was named.
    pub commit: Option<CommitId>,
}

/// A revision taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps<'a> {
    /// The name or id that it begins with.
    pub base: &'a str,
    /// Which parent to go to, the first being 1, and how many times.
    pub steps: Vec<(usize, usize)>,
}

/// Takes `BASE`, followed by any number of `~N` and `^N`, apart.
///
/// # Errors
/// When something else follows.
pub fn steps(text: &str) -> Result<Steps<'_>, Error> {
    let split = text.find(['~', '^']).unwrap_or(text.len());
    let (base, mut rest) = text.split_at(split);
    let unknown = || Error::UnknownRevision(text.to_owned());
    let mut steps = Vec::new();
    while let Some(sign) = rest.chars().next() {
        let after = rest.get(1..).unwrap_or_default();
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, following) = after.split_at(digits);
        let number = match number {
            "" => 1,
            digits => digits.parse::<usize>().map_err(|_| unknown())?,
        };
        match sign {
            '~' => steps.push((1, number)),
            '^' if number == 0 => {}
            '^' => steps.push((number, 1)),
            _ => return Err(unknown()),
        }
        rest = following;
    }
    Ok(Steps { base, steps })
}

impl Repository {
    /// The commit that `text` names: `HEAD` or `@`, a branch, a tag, a branch of a remembered peer, a
    /// full or short id, where one of them was (`HEAD@{2}`, `@{-1}`, `@{u}`), or what was put aside (`stash@{0}`), each
    /// with any number of `~N` and `^N` behind it.
    ///
    /// # Errors
    /// When it names nothing or several things.
    pub fn resolve(&self, text: &str) -> Result<CommitId, Error> {
        let Steps { base, steps } = steps(text)?;
        let mut commit = self.resolve_base(base, text)?;
        for (number, generations) in steps {
            for _ in 0..generations {
                commit = self.parent(commit, number)?;
            }
        }
        Ok(commit)
    }

    /// The branch whose name `text` is, in full.
    pub(super) fn branch_named(&self, text: &str) -> Result<Option<String>, Error> {
        let full = format!("refs/heads/{}", text.strip_prefix("refs/heads/").unwrap_or(text));
        Ok(self.database().read_ref(&full)?.map(|_| full))
    }

    fn resolve_base(&self, base: &str, whole: &str) -> Result<CommitId, Error> {
        if matches!(base, "HEAD" | "@" | "") {
            return match (base, self.head_commit()?) {
                ("", _) => Err(Error::UnknownRevision(whole.to_owned())),
                (_, Some(commit)) => Ok(commit),
                (_, None) => Err(Error::NoCommits(self.head()?.branch().unwrap_or("HEAD").to_owned())),
            };
        }
        if let Some(commit) = self.resolve_at(base)? {
            return Ok(commit);
        }
        for full in ref_candidates(base) {
            if let Some(commit) = self.database().read_ref(&full)? {
                return Ok(commit);
            }
        }
        // Without any it may well be the name of a folder.
        if base == "stash"
            && let Ok((_, commit)) = self.stash_numbered(0)
        {
            return Ok(commit);
        }
        let found = self.with_prefix(base, &[Kind::Commit])?;
        found
            .map(|(hash, _)| CommitId::from_hash(hash))
            .ok_or_else(|| Error::UnknownRevision(whole.to_owned()))
    }

    fn parent(&self, commit: CommitId, number: usize) -> Result<CommitId, Error> {
        let parents = self.store.get::<Commit>(commit)?.parents;
        let parent = number.checked_sub(1).and_then(|index| parents.get(index));
        let parent = *parent.ok_or(Error::NoParent { commit, number })?;
        match self.store.has(parent.hash())? || !self.is_shallow()? {
            true => Ok(parent),
            false => Err(Error::Cut(commit)),
        }
    }

    /// The one record of these kinds whose id starts with `text`.
    fn with_prefix(&self, text: &str, kinds: &[Kind]) -> Result<Option<(Hash, Kind)>, Error> {
        if text.len() < SHORTEST_PREFIX || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let lower = text.to_ascii_lowercase();
        let mut found = self.database().records_with_prefix(&lower, 64 * CANDIDATES)?;
        found.retain(|(_, kind)| kinds.contains(kind));
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            several => {
                let name = |(hash, kind): &(Hash, Kind)| format!("{hash} ({})", kind.name());
                let candidates = several.iter().take(CANDIDATES).map(name).collect();
                Err(Error::Ambiguous {
                    text: text.to_owned(),
                    candidates,
                })
            }
        }
    }

    /// The file that `text` names: `REV:PATH`, a path in what is staged or committed (seen from the folder
    /// `current`), or the id or content hash of a file.
    ///
    /// # Errors
    /// When it names nothing, several things, or a folder.
    pub fn resolve_file(&self, text: &str, current: &Path) -> Result<NamedFile, Error> {
        if let Some((revision, path)) = text.split_once(':') {
            let commit = self.resolve(revision)?;
            let path = RepoPath::parse(path)?;
            let entry = self.file_in(commit, &path, revision)?;
            return Ok(NamedFile {
                file: entry.file,
                path: Some(path),
                commit: Some(commit),
            });
        }
        if self.worktree.is_some()
            && let Ok(path) = self.repo_path(current, Path::new(text))
            && let Some(entry) = self.expected(std::slice::from_ref(&path))?.0.get(&path)
        {
            return Ok(NamedFile {
                file: entry.file,
                path: Some(path),
                commit: None,
            });
        }
        let (path, commit) = (None, None);
        match self.file_with_id(text)? {
            Some(file) => Ok(NamedFile { file, path, commit }),
            None => Err(Error::NoSuchPath(text.into())),
        }
    }

    /// The file whose id begins with `text`, or whose content has that hash.
    ///
    /// # Errors
    /// When there are several.
    pub fn file_with_id(&self, text: &str) -> Result<Option<FileId>, Error> {
        if let Some((hash, _)) = self.with_prefix(text, &[Kind::Manifest])? {
            return Ok(Some(FileId::from_hash(hash)));
        }
        match text.parse() {
            Ok(content) => Ok(self.database().files_with_content(content)?.first().copied()),
            Err(_) => Ok(None),
        }
    }

    /// The file at `path` of a commit; `revision` is how the commit was named.
    ///
    /// # Errors
    /// When there is nothing at that path, or a folder.
    pub fn file_in(&self, commit: CommitId, path: &RepoPath, revision: &str) -> Result<Entry, Error> {
        let tree = self.tree_of(Some(commit))?;
        let missing = || Error::NotInRevision {
            path: path.clone(),
            revision: revision.to_owned(),
        };
        let folder = || Error::WrongKind {
            path: path.to_string(),
            found: "a folder",
            wanted: "a file",
        };
        if path.is_root() {
            return Err(folder());
        }
        let entry = self.lookup(&tree, path)?.ok_or_else(missing)?;
        let file = entry.file_id().ok_or_else(folder)?;
        Ok(Entry {
            file,
            size: entry.size,
            executable: entry.kind == crate::object::EntryKind::Executable,
        })
    }

    /// Opens a stored file for reading.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn open_file(&self, file: FileId) -> Result<FileReader<'_>, Error> {
        FileReader::open(&self.store, file)
    }
}
