//! How deep deltas stand on each other, counted over the whole index. Where a record lies is in `records`.

use std::collections::HashMap;

use super::{Database, DatabaseError, hash_column};
use crate::object::Hash;
use crate::storage::LONGEST_CHAIN;

impl Database {
    /// The number of deltas by the number of deltas that it takes to decode them, itself included: the first entry
    /// counts those whose base stands alone. Chains that are too long to read count as the longest. Reads the whole
    /// index, and holds some fifty bytes for each delta.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn delta_depths(&self) -> Result<Vec<u64>, DatabaseError> {
        let sql = "SELECT hash, base FROM records WHERE base IS NOT NULL";
        let read = |row: &rusqlite::Row<'_>| {
            let heads = hash_column(row, 0)?.zip(hash_column(row, 1)?);
            Ok(heads.map(|(hash, base)| (head(&hash), head(&base))))
        };
        let mut bases = HashMap::new();
        for row in self.rows(sql, [], read)? {
            let (hash, base) = row.ok_or_else(|| self.damaged("records"))?;
            bases.insert(hash, base);
        }
        let mut depths = Vec::new();
        for base in bases.values() {
            let below = std::iter::successors(bases.get(base), |base| bases.get(*base));
            let depth = below.take(LONGEST_CHAIN).count();
            if depths.len() <= depth {
                depths.resize(depth + 1, 0);
            }
            depths.get_mut(depth).into_iter().for_each(|count| *count += 1);
        }
        Ok(depths)
    }
}

/// Enough of a hash to tell records apart for a count.
fn head(hash: &Hash) -> u64 {
    hash.as_bytes()
        .iter()
        .take(8)
        .fold(0, |head, byte| head << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::object::Kind;
    use crate::storage::{RecordHeader, SealedPack};

    #[test]
    fn chains_are_counted_and_loops_end() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db.sqlite")).unwrap();
        assert_eq!(database.delta_depths().unwrap(), [0; 0]);
        let chunk = |number: u8| Kind::Chunk.hash(&[number]);
        let insert = |name: u8, records: &[(u8, Option<u8>)]| {
            let entry = |(offset, (number, base)): (usize, &(u8, Option<u8>))| crate::storage::IndexEntry {
                offset: offset as u64,
                header: RecordHeader {
                    kind: Kind::Chunk,
                    codec: if base.is_some() { Codec::Delta } else { Codec::Raw },
                    raw_len: 9,
                    encoded_len: 1,
                    hash: chunk(*number),
                    base: base.map(chunk),
                },
            };
            let pack = SealedPack {
                name: Kind::Chunk.hash(&[name, 0]),
                len: 1,
                entries: records.iter().enumerate().map(entry).collect(),
            };
            database.transaction(|writer| writer.insert_pack(&pack)).unwrap();
        };
        insert(
            1,
            &[
                (1, None),
                (2, Some(1)),
                (3, Some(1)),
                (4, Some(3)),
                (5, Some(4)),
                (6, Some(99)),
            ],
        );
        assert_eq!(database.delta_depths().unwrap(), [3, 1, 1]);
        insert(2, &[(7, Some(8)), (8, Some(7))]);
        assert_eq!(
            database.delta_depths().unwrap().last(),
            Some(&2),
            "a loop ends somewhere"
        );
    }
}
