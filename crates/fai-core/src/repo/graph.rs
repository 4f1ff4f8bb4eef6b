//! What leads to what among commits: merge bases, ancestry, and by how much two histories differ.
//!
//! Commits are met in the order of their generation numbers (one more than the highest of the parents), the highest first.
//! So no commit is met before all that lead to it, and a walk ends when nothing of interest can come any more: the idea is that
//! of Git's commit-graph. Numbers are kept in the database and learnt when they are first needed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use super::shallow::Cuts;
use super::{Error, Repository};
use crate::database::GraphRow;
use crate::object::{Commit, CommitId};

/// Commits that are written down in one transaction.
const BATCH: usize = 10_000;

/// Commits that are looked up one by one: walks are mostly short. Then they are read by generations, twice as many every time, at
/// the most so many.
const SINGLE: usize = 32;
const AHEAD: u64 = 1 << 14;

const LEFT: u8 = 1;
const RIGHT: u8 = 2;
const BOTH: u8 = LEFT | RIGHT;
/// Behind a common ancestor that was found.
const STALE: u8 = 4;

/// How far two histories are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distance {
    /// Commits that only the first one leads to.
    pub ahead: u64,
    /// Commits that only the second one leads to.
    pub behind: u64,
}

impl Repository {
    /// The best common ancestors of two commits: those that lead to no other common one. None for unrelated histories, several
    /// when each was merged into the other.
    ///
    /// # Errors
    /// When a commit among their ancestors is missing.
    pub fn merge_bases(&self, one: CommitId, other: CommitId) -> Result<Vec<CommitId>, Error> {
        let mut graph = Graph::new(self)?;
        let mut found = Vec::new();
        graph.walk(one, other, &mut |id, flags| {
            if flags == BOTH {
                found.push(id);
                return STALE;
            }
            0
        })?;
        graph.remember();
        Ok(found)
    }

    /// How many commits lead to one of the two alone.
    ///
    /// # Errors
    /// As [`Repository::merge_bases`].
    pub fn distance(&self, one: CommitId, other: CommitId) -> Result<Distance, Error> {
        let mut graph = Graph::new(self)?;
        let mut distance = Distance::default();
        graph.walk(one, other, &mut |_, flags| match flags & BOTH {
            LEFT => {
                distance.ahead += 1;
                0
            }
            RIGHT => {
                distance.behind += 1;
                0
            }
            _ => STALE,
        })?;
        graph.remember();
        Ok(distance)
    }

    /// True when `older` is `newer` or one of its ancestors, as far as history goes back here.
    ///
    /// # Errors
    /// As [`Repository::merge_bases`].
    pub fn is_ancestor(&self, older: CommitId, newer: CommitId) -> Result<bool, Error> {
        let mut graph = Graph::new(self)?;
        let lowest = graph.row(older)?.generation;
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![newer]);
        while let Some(id) = waiting.pop() {
            if id == older {
                graph.remember();
                return Ok(true);
            }
            let row = graph.row(id)?;
            if row.generation > lowest && seen.insert(id) {
                graph.read_ahead(row.generation)?;
                waiting.extend(row.parents.iter().copied());
            }
        }
        graph.remember();
        Ok(false)
    }
}

struct Graph<'a> {
    repository: &'a Repository,
    cuts: Cuts,
    known: HashMap<CommitId, GraphRow>,
    fresh: Vec<CommitId>,
    /// Commits that were looked up one by one.
    looked_up: usize,
    /// How many generations are read at once next, and the lowest one that was.
    ahead: u64,
    read_down_to: u64,
}

impl<'a> Graph<'a> {
    fn new(repository: &'a Repository) -> Result<Self, Error> {
        Ok(Self {
            repository,
            cuts: repository.store.cuts()?,
            known: HashMap::new(),
            fresh: Vec::new(),
            looked_up: 0,
            ahead: SINGLE as u64,
            read_down_to: u64::MAX,
        })
    }

    /// Meets the ancestors of both commits, each once and after all that lead to it, with what leads to it; what `met`
    /// returns is said of its ancestors, too. Ends when only stale ones are left.
    fn walk(&mut self, one: CommitId, other: CommitId, met: &mut dyn FnMut(CommitId, u8) -> u8) -> Result<(), Error> {
        let (mut flags, mut queue) = (HashMap::<CommitId, u8>::new(), BinaryHeap::new());
        // How many in the queue are of interest.
        let mut fresh = 0usize;
        for (id, flag) in [(one, LEFT), (other, RIGHT)] {
            let generation = self.row(id)?.generation;
            let known = flags.entry(id).or_default();
            if *known == 0 {
                queue.push((generation, id));
                fresh += 1;
            }
            *known |= flag;
        }
        while fresh > 0 {
            let Some((generation, id)) = queue.pop() else { break };
            let mine = flags.get(&id).copied().unwrap_or_default();
            let said = match mine & STALE {
                0 => {
                    fresh -= 1;
                    mine | met(id, mine)
                }
                _ => mine,
            };
            self.read_ahead(generation)?;
            for parent in self.row(id)?.parents.iter() {
                match flags.entry(*parent) {
                    Entry::Vacant(place) => {
                        place.insert(said);
                        queue.push((self.row(*parent)?.generation, *parent));
                        fresh += usize::from(said & STALE == 0);
                    }
                    Entry::Occupied(mut place) => {
                        let before = *place.get();
                        *place.get_mut() |= said;
                        fresh -= usize::from(before & STALE == 0 && said & STALE != 0);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is known about a commit, learnt if need be. Without recursion: histories are long.
    fn row(&mut self, id: CommitId) -> Result<GraphRow, Error> {
        if let Some(row) = self.known.get(&id) {
            return Ok(row.clone());
        }
        let mut waiting = vec![id];
        while let Some(next) = waiting.last().copied() {
            if self.known.contains_key(&next) {
                waiting.pop();
                continue;
            }
            self.looked_up += 1;
            if let Some(row) = self.repository.database().graph_row(next)? {
                self.known.insert(next, row);
                waiting.pop();
                continue;
            }
            let commit = self.repository.store.get::<Commit>(next)?;
            let parents = self.repository.store.parents(&self.cuts, next, &commit)?;
            let unknown = |parent: &&CommitId| !self.known.contains_key(parent);
            match parents.iter().filter(unknown).copied().collect::<Vec<_>>() {
                missing if missing.is_empty() => {
                    let generations = parents.iter().filter_map(|parent| self.known.get(parent));
                    let generation = 1 + generations.map(|row| row.generation).max().unwrap_or(0);
                    let parents = parents.into();
                    self.known.insert(next, GraphRow { generation, parents });
                    self.fresh.push(next);
                    waiting.pop();
                }
                missing => waiting.extend(missing),
            }
        }
        self.known
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::UnknownRevision(id.to_string()))
    }

    /// Reads what comes below a generation, when a walk is long enough.
    fn read_ahead(&mut self, generation: u64) -> Result<(), Error> {
        if self.looked_up < SINGLE || generation > self.read_down_to || generation <= 1 {
            return Ok(());
        }
        let from = generation.saturating_sub(self.ahead);
        let rows = self.repository.database().graph_rows(from..generation)?;
        self.known.extend(rows);
        (self.read_down_to, self.ahead) = (from, (2 * self.ahead).min(AHEAD));
        Ok(())
    }

    /// Writes down what was learnt. Where that is impossible, on a full disk, it is learnt again. Where history is cut nothing
    /// is remembered: numbers would be others once the rest has come, whereas those of whole histories hold for ever.
    fn remember(self) {
        if !self.cuts.is_empty() {
            return;
        }
        for batch in self.fresh.chunks(BATCH) {
            let rows = batch.iter().filter_map(|id| Some((*id, self.known.get(id)?)));
            let written = self
                .repository
                .database()
                .transaction(|writer| rows.clone().try_for_each(|(id, row)| writer.remember_in_graph(id, row)));
            if written.is_err() {
                return;
            }
        }
    }
}
