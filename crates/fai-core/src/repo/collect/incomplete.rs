//! Objects that nothing leads to and that lead to what is not here. An index that is made anew finds them in packs that
//! a collection was about to rewrite. They must not stay in it: whatever is there counts as complete.

use std::collections::HashMap;

use super::mark::Marks;
use crate::object::{Hash, Kind};
use crate::repo::{Error, Repository};

/// An object and, once it was read, what it leads to.
struct Visit {
    kind: Kind,
    hash: Hash,
    below: Option<Vec<(Kind, Hash)>>,
}

impl Repository {
    /// Takes out of the index what nothing leads to and what leads to something missing. What refs, `HEAD` and staging
    /// lead to stays, whole or not: that something is missing there must be seen. Returns how many records it was.
    pub(in crate::repo) fn drop_incomplete(&self) -> Result<usize, Error> {
        let roots = match self.collection_roots(None) {
            Ok(roots) => roots,
            // Without knowing what must stay, everything does.
            Err(Error::Database(error)) => return Err(error.into()),
            Err(_) => return Ok(0),
        };
        let live = self.mark_what_can_be_read(&roots)?;
        let mut objects = Vec::new();
        self.each_indexed(|record| {
            if record.kind != Kind::Chunk && !live.has(record.kind, &record.hash) {
                objects.push((record.kind, record.hash));
            }
            Ok(())
        })?;
        let mut whole = HashMap::new();
        for (kind, hash) in &objects {
            self.judge(*kind, *hash, &live, roots.partial(), &mut whole)?;
        }
        let broken: Vec<Hash> = objects
            .into_iter()
            .map(|(_, hash)| hash)
            .filter(|hash| whole.get(hash) == Some(&false))
            .collect();
        self.drop_records(&broken)?;
        Ok(broken.len())
    }

    /// Finds out whether everything below an object is here. What is live is taken to be.
    fn judge(
        &self,
        kind: Kind,
        hash: Hash,
        live: &Marks,
        partial: bool,
        whole: &mut HashMap<Hash, bool>,
    ) -> Result<(), Error> {
        let mut waiting = vec![Visit {
            kind,
            hash,
            below: None,
        }];
        while let Some(Visit { kind, hash, below }) = waiting.pop() {
            if whole.contains_key(&hash) {
                continue;
            }
            if let Some(below) = below {
                let all = below.iter().all(|(_, hash)| whole.get(hash) == Some(&true));
                whole.insert(hash, all);
                continue;
            }
            let Some(below) = self.leads_to(kind, hash)? else {
                whole.insert(hash, false);
                continue;
            };
            let (mut open, mut missing) = (Vec::new(), false);
            for (kind, hash) in below.into_iter().filter(|(kind, hash)| !live.has(*kind, hash)) {
                match kind {
                    Kind::Chunk if partial => {}
                    _ if !self.store.has_here(kind, &hash)? => missing = true,
                    Kind::Chunk => {}
                    _ => open.push((kind, hash)),
                }
            }
            if missing || open.is_empty() {
                whole.insert(hash, !missing);
                continue;
            }
            let next: Vec<Visit> = open
                .iter()
                .map(|(kind, hash)| Visit {
                    kind: *kind,
                    hash: *hash,
                    below: None,
                })
                .collect();
            waiting.push(Visit {
                kind,
                hash,
                below: Some(open),
            });
            waiting.extend(next);
        }
        Ok(())
    }
}
