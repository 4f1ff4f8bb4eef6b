//! Finding one file at a peer: what `REV:PATH` and the first digits of an id mean there. Only commits and folders on the
//! way are asked for.

use std::collections::{HashMap, HashSet, VecDeque};

use fai_core::object::{Commit, CommitId, FileId, Hash, Id, Kind, RepoPath, Tree, TreeEntry, TreeId};
use fai_core::repo::Error as CoreError;
use fai_core::repo::{Steps, ref_candidates, steps};

use super::Remote;
use super::records::Records;
use crate::session::plan::{Contradiction, Promise};
use crate::{Error, Node};

/// Fewest digits of an id.
const SHORTEST_PREFIX: usize = 4;

/// Most commits named in one request.
const ASK: usize = 1024;

/// Answers of up to 1 MiB that are kept at the same time.
const MOST_ANSWERS: usize = 64;

/// Commits that are looked at for the sake of a name.
const MOST_COMMITS: usize = 200_000;

/// Folders that are looked at for the sake of a file's first digits.
const MOST_TREES: usize = 20_000;

/// Candidates that an ambiguous id lists.
const CANDIDATES: usize = 16;

/// A file at a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its id.
    pub file: FileId,
    /// Its size, as the folder that it was found in says.
    pub size: Option<u64>,
    /// Its executable bit.
    pub executable: bool,
    /// Where it was found.
    pub path: Option<RepoPath>,
    /// In which commit.
    pub commit: Option<CommitId>,
}

/// The file at `path` in the version that `revision` names at the peer: `HEAD` or `@`, a branch, a tag, a full or short
/// id, each with any number of `~N` and `^N` behind it.
///
/// # Errors
/// When it names nothing or several things, or the conversation fails.
pub async fn locate_path(node: &Node, remote: &mut Remote, revision: &str, path: &RepoPath) -> Result<Located, Error> {
    let commit = Past::new(remote).resolve(revision).await?;
    let root = Past::new(remote).commit(commit).await?.tree;
    let mut records = Records::open(node, remote).await?;
    let missing = || CoreError::NotInRevision {
        path: path.clone(),
        revision: revision.to_owned(),
    };
    let (mut tree, mut entry): (TreeId, Option<TreeEntry>) = (root, None);
    let mut names = path.names().peekable();
    while let Some(name) = names.next() {
        let size = entry.as_ref().map(|entry| entry.size);
        let folder = one_tree(&mut records, tree, size).await?;
        let found = folder.get(name).cloned().ok_or_else(missing)?;
        match found.tree_id() {
            Some(below) => tree = below,
            None if names.peek().is_some() => return Err(missing().into()),
            None => {}
        }
        entry = Some(found);
    }
    let file = entry.as_ref().and_then(|entry| Some((entry, entry.file_id()?)));
    let (entry, file) = file.ok_or_else(|| CoreError::WrongKind {
        path: path.to_string(),
        found: "a folder",
        wanted: "a file",
    })?;
    Ok(Located {
        file,
        size: Some(entry.size),
        executable: entry.kind == fai_core::object::EntryKind::Executable,
        path: Some(path.clone()),
        commit: Some(commit),
    })
}

/// The file whose id begins with `text`, among the files of the peer's branches and tags. A whole id need not be among
/// them.
///
/// # Errors
/// When there is none or several, or the conversation fails.
pub async fn locate_id(node: &Node, remote: &mut Remote, text: &str) -> Result<Located, Error> {
    if let Ok(file) = text.parse() {
        return Ok(Located {
            file,
            size: None,
            executable: false,
            path: None,
            commit: None,
        });
    }
    let prefix = prefix(text).ok_or_else(|| CoreError::NoSuchPath(text.into()))?;
    let refs = remote.refs().await?;
    let mut past = Past::new(remote);
    let tips: HashSet<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
    past.ask(&tips.into_iter().collect::<Vec<_>>()).await?;
    let mut waiting: VecDeque<(TreeId, CommitId, RepoPath)> = VecDeque::new();
    for (_, commit) in refs {
        waiting.push_back((past.commit(commit).await?.tree, commit, RepoPath::root()));
    }
    let mut records = Records::open(node, remote).await?;
    let (mut met, mut found): (HashSet<TreeId>, HashMap<FileId, Located>) = (HashSet::new(), HashMap::new());
    while !waiting.is_empty() && met.len() < MOST_TREES {
        let level: Vec<_> = waiting.drain(..).filter(|(tree, _, _)| met.insert(*tree)).collect();
        let ids: Vec<TreeId> = level.iter().map(|(tree, _, _)| *tree).collect();
        let trees = records
            .objects::<Tree>(&ids, Promise::Tree { size: None, depth: 0 })
            .await?;
        for ((_, commit, folder), tree) in level.into_iter().zip(trees) {
            for entry in tree.entries() {
                let path = folder.join(&entry.name);
                match (entry.tree_id(), entry.file_id()) {
                    (Some(below), _) if path.as_str().len() <= fai_core::object::MAX_PATH_LEN => {
                        waiting.push_back((below, commit, path));
                    }
                    (None, Some(file)) if file.to_string().starts_with(&prefix) => {
                        found.entry(file).or_insert(Located {
                            file,
                            size: Some(entry.size),
                            executable: entry.kind == fai_core::object::EntryKind::Executable,
                            path: Some(path),
                            commit: Some(commit),
                        });
                    }
                    _ => {}
                }
            }
        }
    }
    let candidates = found.keys().map(ToString::to_string);
    match found.len() {
        0 => Err(CoreError::NoSuchPath(text.into()).into()),
        1 => found
            .into_values()
            .next()
            .ok_or_else(|| CoreError::NoSuchPath(text.into()).into()),
        _ => Err(ambiguous(text, candidates)),
    }
}

async fn one_tree(records: &mut Records, id: TreeId, size: Option<u64>) -> Result<Tree, Error> {
    let trees = records.objects::<Tree>(&[id], Promise::Tree { size, depth: 0 }).await?;
    let tree = trees.into_iter().next().unwrap_or_default();
    if size.is_some_and(|size| size != tree.size()) {
        let reason = "its files have another size than its folder says".to_owned();
        let (kind, hash) = (Kind::Tree, *id.hash());
        return Err(Contradiction { kind, hash, reason }.into());
    }
    Ok(tree)
}

/// A peer's commits, as far as they were asked for.
struct Past<'a> {
    remote: &'a mut Remote,
    commits: HashMap<CommitId, Commit>,
    answers: usize,
}

impl<'a> Past<'a> {
    fn new(remote: &'a mut Remote) -> Self {
        Self {
            remote,
            commits: HashMap::new(),
            answers: 0,
        }
    }

    async fn commit(&mut self, id: CommitId) -> Result<Commit, Error> {
        if !self.commits.contains_key(&id) {
            self.ask(&[id]).await?;
        }
        self.commits.get(&id).cloned().ok_or(Error::Nowhere {
            kind: Kind::Commit.name(),
            hash: *id.hash(),
        })
    }

    /// Asks for commits, and keeps what else comes: answers go back a while, so that parents need no question of their
    /// own.
    async fn ask(&mut self, ids: &[CommitId]) -> Result<(), Error> {
        let mut missing: Vec<CommitId> = ids.to_vec();
        while !missing.is_empty() {
            let wanted: Vec<CommitId> = missing.iter().copied().take(ASK).collect();
            let came = self.remote.commits(&wanted, &[]).await?;
            self.answers += 1;
            if self.answers.is_multiple_of(MOST_ANSWERS) {
                self.commits.clear();
            }
            self.commits.extend(came);
            let before = missing.len();
            missing.retain(|id| !self.commits.contains_key(id));
            if missing.len() == before {
                // The peer has none of these.
                missing.retain(|id| !wanted.contains(id));
            }
        }
        Ok(())
    }

    async fn resolve(&mut self, text: &str) -> Result<CommitId, Error> {
        let Steps { base, steps } = steps(text)?;
        let mut commit = self.base(base, text).await?;
        if steps
            .iter()
            .map(|(_, generations)| *generations)
            .fold(0, usize::saturating_add)
            > MOST_COMMITS
        {
            return Err(CoreError::UnknownRevision(text.to_owned()).into());
        }
        for (number, generations) in steps {
            for _ in 0..generations {
                let parents = self.commit(commit).await?.parents;
                let parent = number.checked_sub(1).and_then(|index| parents.get(index));
                commit = *parent.ok_or(CoreError::NoParent { commit, number })?;
            }
        }
        Ok(commit)
    }

    async fn base(&mut self, base: &str, whole: &str) -> Result<CommitId, Error> {
        let unknown = || Error::from(CoreError::UnknownRevision(whole.to_owned()));
        let refs = self.remote.refs().await?;
        let at = |name: &str| refs.iter().find(|(known, _)| known == name).map(|(_, commit)| *commit);
        if matches!(base, "HEAD" | "@") {
            let branch = self.remote.head.clone();
            return branch.and_then(|branch| at(&branch)).ok_or_else(unknown);
        }
        if let Some(commit) = ref_candidates(base).find_map(|name| at(&name)) {
            return Ok(commit);
        }
        if let Ok(commit) = base.parse() {
            return Ok(commit);
        }
        let prefix = prefix(base).ok_or_else(unknown)?;
        let mut found: HashSet<CommitId> = HashSet::new();
        let mut met: HashSet<CommitId> = HashSet::new();
        let mut waiting: Vec<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
        while let Some(id) = waiting.pop().filter(|_| met.len() < MOST_COMMITS) {
            if met.insert(id) {
                if id.to_string().starts_with(&prefix) {
                    found.insert(id);
                }
                // History may end here: a peer need not have all of it.
                match self.commit(id).await {
                    Ok(commit) => waiting.extend(commit.parents),
                    Err(Error::Nowhere { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match found.len() {
            0 => Err(unknown()),
            1 => found.into_iter().next().ok_or_else(unknown),
            _ => Err(ambiguous(base, found.iter().map(ToString::to_string))),
        }
    }
}

/// The first digits of an id, as ids are written.
fn prefix(text: &str) -> Option<String> {
    let digits = (SHORTEST_PREFIX..=2 * Hash::LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| text.to_ascii_lowercase())
}

fn ambiguous(text: &str, candidates: impl Iterator<Item = String>) -> Error {
    let mut candidates: Vec<String> = candidates.take(CANDIDATES).collect();
    candidates.sort();
    let text = text.to_owned();
    CoreError::Ambiguous { text, candidates }.into()
}
