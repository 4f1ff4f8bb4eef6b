//! What must stay: everything that refs, `HEAD`, staging and recent operations lead to, and what those records are
//! encoded against.
//!
//! Objects are remembered by their whole ids, as what is taken for visited is not entered. Chunks lead nowhere, and there
//! may be millions of them: eight bytes stand for each. Where two share them, one may stay that could go.

use std::collections::{BTreeMap, HashSet};

use crate::database::{IndexedRecord, Staged};
use crate::object::{
    Commit, CommitId, Extent, FileId, Hash, Id, Kind, Manifest, Page, PageId, RepoPath, Tree, TreeEntry, TreeId,
};
use crate::repo::shallow::Cuts;
use crate::repo::{Error, Repository, Store};

/// Rows of the index that are looked at together.
pub(super) const PAGE: usize = 20_000;

/// A set of records.
#[derive(Debug, Default)]
pub(super) struct Marks {
    objects: HashSet<Hash>,
    chunks: HashSet<u64>,
}

impl Marks {
    pub fn has(&self, kind: Kind, hash: &Hash) -> bool {
        match kind {
            Kind::Chunk => self.chunks.contains(&start(hash)),
            _ => self.objects.contains(hash),
        }
    }

    /// True when it is new.
    pub fn insert(&mut self, kind: Kind, hash: &Hash) -> bool {
        match kind {
            Kind::Chunk => self.chunks.insert(start(hash)),
            _ => self.objects.insert(*hash),
        }
    }
}

/// The first eight bytes of a hash.
pub(super) fn start(hash: &Hash) -> u64 {
    hash.as_bytes()
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Where everything begins that must stay. As long as this is the same, so is what it leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Roots {
    /// Refs, and `HEAD` where it is detached.
    commits: Vec<(String, CommitId)>,
    staging: BTreeMap<RepoPath, Staged>,
    /// What recent operations moved from and to. Some of it may be gone.
    recent: Vec<CommitId>,
    /// What recent commands overwrote, staged and unstaged. Some of it may be gone.
    kept: Vec<FileId>,
    cuts: Cuts,
    /// Chunks may be missing on purpose.
    partial: bool,
}

impl Roots {
    /// True when nothing is committed here and nothing staged.
    pub fn are_none(&self) -> bool {
        let staged = |staged: &Staged| matches!(staged, Staged::File { .. });
        self.commits.is_empty() && self.recent.is_empty() && !self.staging.values().any(staged)
    }

    /// True when chunks may be missing on purpose.
    pub fn partial(&self) -> bool {
        self.partial
    }
}

/// A walk from ids to ids; every object is read once.
struct Walk<'a> {
    store: &'a Store,
    cuts: &'a Cuts,
    /// Every object must be there and readable, and every chunk be there.
    strict: bool,
    partial: bool,
    marks: &'a mut Marks,
    waiting: Vec<(Kind, Hash)>,
}

impl Walk<'_> {
    fn meet(&mut self, kind: Kind, hash: &Hash) -> Result<(), Error> {
        if !self.marks.insert(kind, hash) {
            return Ok(());
        }
        if kind != Kind::Chunk {
            self.waiting.push((kind, *hash));
        } else if self.strict && !self.partial && !self.store.has_here(kind, hash)? {
            return Err(Error::Missing { kind, hash: *hash });
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        while let Some((kind, hash)) = self.waiting.pop() {
            match self.enter(kind, hash) {
                Err(error) if !self.strict && error.is_of_an_object() => {
                    tracing::debug!(%error, "something unreachable is not whole");
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, kind: Kind, hash: Hash) -> Result<(), Error> {
        let below = below(self.store, self.cuts, kind, hash)?;
        below.iter().try_for_each(|(kind, hash)| self.meet(*kind, hash))
    }
}

/// What an object leads to.
fn below(store: &Store, cuts: &Cuts, kind: Kind, hash: Hash) -> Result<Vec<(Kind, Hash)>, Error> {
    let entries = |level: u8, entries: &[Extent]| {
        let kind = if level == 0 { Kind::Chunk } else { Kind::Page };
        entries.iter().map(|extent| (kind, extent.hash)).collect()
    };
    Ok(match kind {
        Kind::Commit => {
            let id = CommitId::from_hash(hash);
            let commit: Commit = store.get(id)?;
            let parents = store.parents(cuts, id, &commit)?;
            let parents = parents.iter().map(|parent| (Kind::Commit, *parent.hash()));
            parents.chain([(Kind::Tree, *commit.tree.hash())]).collect()
        }
        Kind::Tree => {
            let tree: Tree = store.get(TreeId::from_hash(hash))?;
            let entry = |entry: &TreeEntry| match entry.tree_id() {
                Some(below) => (Kind::Tree, *below.hash()),
                None => (Kind::Manifest, entry.hash),
            };
            tree.entries().iter().map(entry).collect()
        }
        Kind::Manifest => {
            let manifest: Manifest = store.get(FileId::from_hash(hash))?;
            entries(manifest.level, &manifest.entries)
        }
        Kind::Page => {
            let page: Page = store.get(PageId::from_hash(hash))?;
            entries(page.level, &page.entries)
        }
        Kind::Chunk => Vec::new(),
    })
}

impl Error {
    /// True when one object is to blame, not the index or the machine.
    fn is_of_an_object(&self) -> bool {
        matches!(
            self,
            Error::Missing { .. }
                | Error::Invalid { .. }
                | Error::Storage(crate::storage::StorageError::Damaged { .. })
        )
    }
}

impl Repository {
    /// Where everything begins that must stay. `recent` is the time, in seconds since 1970, from which on operations
    /// count.
    pub(super) fn collection_roots(&self, recent: Option<i64>) -> Result<Roots, Error> {
        let crate::repo::reach::Roots { commits, staging } = self.roots()?;
        Ok(Roots {
            commits,
            staging,
            recent: match recent {
                Some(time) => {
                    let database = self.database();
                    let mut commits = database.commits_since(time)?;
                    commits.extend(database.commits_of_commands_since(time)?);
                    commits.sort_unstable();
                    commits.dedup();
                    commits
                }
                None => Vec::new(),
            },
            kept: match recent {
                Some(time) => self.database().files_of_commands_since(time)?,
                None => Vec::new(),
            },
            cuts: self.store.cuts()?,
            partial: self.selection()?.is_some(),
        })
    }

    /// What `roots` lead to, and what that is encoded against.
    ///
    /// # Errors
    /// When anything on the way is missing or damaged.
    pub(super) fn mark(&self, roots: &Roots) -> Result<Marks, Error> {
        self.mark_from(roots, true)
    }

    /// The same, without what is missing or damaged.
    pub(super) fn mark_what_can_be_read(&self, roots: &Roots) -> Result<Marks, Error> {
        self.mark_from(roots, false)
    }

    /// What an object leads to, unless it cannot be read.
    pub(super) fn leads_to(&self, kind: Kind, hash: Hash) -> Result<Option<Vec<(Kind, Hash)>>, Error> {
        match below(&self.store, &self.store.cuts()?, kind, hash) {
            Err(error) if error.is_of_an_object() => Ok(None),
            other => other.map(Some),
        }
    }

    fn mark_from(&self, roots: &Roots, strict: bool) -> Result<Marks, Error> {
        let mut marks = Marks::default();
        let mut walk = Walk {
            store: &self.store,
            cuts: &roots.cuts,
            strict,
            partial: roots.partial,
            marks: &mut marks,
            waiting: Vec::new(),
        };
        for (_, commit) in &roots.commits {
            walk.meet(Kind::Commit, commit.hash())?;
        }
        for commit in &roots.recent {
            // An earlier collection that was told not to wait may have removed it.
            if self.store.has_here(Kind::Commit, commit.hash())? {
                walk.meet(Kind::Commit, commit.hash())?;
            }
        }
        for file in &roots.kept {
            if self.store.has_here(Kind::Manifest, file.hash())? {
                walk.meet(Kind::Manifest, file.hash())?;
            }
        }
        for staged in roots.staging.values() {
            if let Staged::File { file, .. } = staged {
                walk.meet(Kind::Manifest, file.hash())?;
            }
        }
        walk.run()?;
        self.mark_bases(&mut marks, strict, |marks, record| marks.has(record.kind, &record.hash))?;
        Ok(marks)
    }

    /// What the records lead to that `stays` chooses, and what that is encoded against: nothing leads to them, but they
    /// are not to go yet, and what is here must be whole. Interrupted transfers count as such.
    pub(super) fn mark_spared(&self, roots: &Roots, stays: impl Fn(&IndexedRecord) -> bool) -> Result<Marks, Error> {
        let mut marks = Marks::default();
        let mut walk = Walk {
            store: &self.store,
            cuts: &roots.cuts,
            strict: false,
            partial: true,
            marks: &mut marks,
            waiting: Vec::new(),
        };
        self.each_indexed(|record| match record.kind != Kind::Chunk && stays(record) {
            true => walk.meet(record.kind, &record.hash),
            false => Ok(()),
        })?;
        walk.run()?;
        for base in self.quarantined_bases()? {
            marks.insert(Kind::Chunk, &base);
        }
        self.mark_bases(&mut marks, false, |marks, record| {
            stays(record) || marks.has(record.kind, &record.hash)
        })?;
        Ok(marks)
    }

    /// Adds the bases of all records that `stays` chooses, theirs, and so on.
    fn mark_bases(
        &self,
        marks: &mut Marks,
        strict: bool,
        stays: impl Fn(&Marks, &IndexedRecord) -> bool,
    ) -> Result<(), Error> {
        loop {
            let mut more = false;
            each_page(
                |after| Ok(self.database().deltas_after(after, PAGE)?),
                |records| {
                    for record in records {
                        let Some(hash) = record.base.filter(|_| stays(marks, record)) else {
                            continue;
                        };
                        if !marks.insert(Kind::Chunk, &hash) {
                            continue;
                        }
                        more = true;
                        if strict && !self.store.has_here(Kind::Chunk, &hash)? {
                            let kind = Kind::Chunk;
                            return Err(Error::Missing { kind, hash });
                        }
                    }
                    Ok(())
                },
            )?;
            if !more {
                return Ok(());
            }
        }
    }

    /// What interrupted transfers brought may be encoded against what is here.
    fn quarantined_bases(&self) -> Result<Vec<Hash>, Error> {
        let all = self.directory.join("quarantine");
        let mut bases = Vec::new();
        let listing = match std::fs::read_dir(&all) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(bases),
            other => other.map_err(Error::io("list", &all))?,
        };
        for entry in listing {
            let path = entry.map_err(Error::io("list", &all))?.path().join("db.sqlite");
            if path.is_file() {
                bases.extend(crate::database::Database::open(&path)?.bases()?);
            }
        }
        Ok(bases)
    }

    /// Visits every record of the index.
    pub(super) fn each_indexed(&self, mut visit: impl FnMut(&IndexedRecord) -> Result<(), Error>) -> Result<(), Error> {
        self.each_indexed_page(|records| records.iter().try_for_each(&mut visit))
    }

    /// The same, many at once.
    pub(super) fn each_indexed_page(
        &self,
        visit: impl FnMut(&[IndexedRecord]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        each_page(|after| Ok(self.database().records_after(after, PAGE)?), visit)
    }

    /// Visits every condemned record, many at once.
    pub(super) fn each_condemned_page(
        &self,
        visit: impl FnMut(&[IndexedRecord]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        each_page(|after| Ok(self.database().condemned_after(after, PAGE)?), visit)
    }
}

fn each_page(
    page: impl Fn(Option<&Hash>) -> Result<Vec<IndexedRecord>, Error>,
    mut visit: impl FnMut(&[IndexedRecord]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut last = None;
    loop {
        let records = page(last.as_ref())?;
        visit(&records)?;
        match records.last() {
            Some(record) if records.len() == PAGE => last = Some(record.hash),
            _ => return Ok(()),
        }
    }
}
