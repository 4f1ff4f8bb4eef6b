//! What a collection knows and does: records that nothing leads to, packs with what is left in them.

use rusqlite::params;

use super::{Database, DatabaseError, Writer, from_sql, hash_column, to_sql};
use crate::object::{Hash, Kind};
use crate::storage::{Location, SealedPack};

/// A record as a collection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedRecord {
    /// Its hash.
    pub hash: Hash,
    /// Its kind.
    pub kind: Kind,
    /// Bytes that it takes in its pack, header and index entry not counted.
    pub encoded_len: u64,
    /// The chunk that it is a difference to.
    pub base: Option<Hash>,
    /// Since when it is condemned, in seconds since 1970; `None` when it is not.
    pub condemned: Option<i64>,
}

/// A pack and what the index has in it. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackUsage {
    /// Its name.
    pub name: Hash,
    /// Length of its file.
    pub bytes: u64,
    /// Records that lie there.
    pub records: u64,
    /// Length of their headers.
    pub headers: u64,
    /// Length of their payloads.
    pub payloads: u64,
    /// Records of the file that a collection took out of the index.
    pub dropped: u64,
}

/// The columns that [`indexed`] reads.
macro_rules! columns {
    () => {
        "r.hash, r.kind, r.encoded_len, r.base, c.since"
    };
}

impl Database {
    /// Up to `limit` records behind `after`, by their hashes; from the first one on when `after` is `None`.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn records_after(&self, after: Option<&Hash>, limit: usize) -> Result<Vec<IndexedRecord>, DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM records r LEFT JOIN condemned c ON c.hash = r.hash WHERE r.hash > ?1 ORDER BY r.hash LIMIT ?2"
        );
        self.indexed(sql, after, limit)
    }

    /// The same of deltas only.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn deltas_after(&self, after: Option<&Hash>, limit: usize) -> Result<Vec<IndexedRecord>, DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM records r LEFT JOIN condemned c ON c.hash = r.hash \
              WHERE r.hash > ?1 AND r.base IS NOT NULL ORDER BY r.hash LIMIT ?2"
        );
        self.indexed(sql, after, limit)
    }

    /// The same of those records only that are condemned.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn condemned_after(&self, after: Option<&Hash>, limit: usize) -> Result<Vec<IndexedRecord>, DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM condemned c JOIN records r ON r.hash = c.hash WHERE c.hash > ?1 ORDER BY c.hash LIMIT ?2"
        );
        self.indexed(sql, after, limit)
    }

    fn indexed(&self, sql: &str, after: Option<&Hash>, limit: usize) -> Result<Vec<IndexedRecord>, DatabaseError> {
        // Every hash is behind the empty one.
        let after = after.map_or(&[][..], |hash| &hash.as_bytes()[..]);
        let found = self.rows(sql, params![after, limit as i64], |row| {
            let (kind, encoded_len) = (row.get::<_, u8>(1)?, from_sql(row.get(2)?));
            let (base, condemned) = (hash_column(row, 3)?, row.get(4)?);
            let known = hash_column(row, 0)?.zip(Kind::from_code(kind));
            Ok(known.map(|(hash, kind)| IndexedRecord {
                hash,
                kind,
                encoded_len,
                base,
                condemned,
            }))
        })?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("records")))
            .collect()
    }

    /// The bases of all deltas.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn bases(&self) -> Result<Vec<Hash>, DatabaseError> {
        let sql = "SELECT DISTINCT base FROM records WHERE base IS NOT NULL";
        let found = self.rows(sql, [], |row| hash_column(row, 0))?;
        Ok(found.into_iter().flatten().collect())
    }

    /// All packs with what the index has in them, in the order in which they were entered.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn pack_usage(&self) -> Result<Vec<PackUsage>, DatabaseError> {
        let sql = "SELECT p.name, p.bytes, p.dropped, n.count, n.headers, n.payloads FROM packs p LEFT JOIN \
                   (SELECT pack, count(*) AS count, sum(CASE WHEN base IS NULL THEN 52 ELSE 84 END) AS headers, \
                    sum(encoded_len) AS payloads FROM records GROUP BY pack) n ON n.pack = p.id ORDER BY p.id";
        let found = self.rows(sql, [], |row| {
            let sum = |index| Ok::<_, rusqlite::Error>(from_sql(row.get::<_, Option<i64>>(index)?.unwrap_or(0)));
            let (bytes, dropped, records, headers, payloads) = (sum(1)?, sum(2)?, sum(3)?, sum(4)?, sum(5)?);
            Ok(hash_column(row, 0)?.map(|name| PackUsage {
                name,
                bytes,
                records,
                headers,
                payloads,
                dropped,
            }))
        })?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("packs")))
            .collect()
    }

    /// Forgets packs, whose files are gone, in one transaction. The caller knows that no record lies in them.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget_empty_packs(&self, names: &[Hash]) -> Result<(), DatabaseError> {
        // SQLite would look through all records for each of them.
        let enforce = |on: &str| {
            let set = format!("PRAGMA foreign_keys = {on}");
            self.connection.execute_batch(&set).map_err(|source| self.wrap(source))
        };
        enforce("OFF")?;
        let done = self.transaction(|writer| {
            names.iter().try_for_each(|name| {
                let sql = "DELETE FROM packs WHERE name = ?1";
                writer.execute(sql, [name.as_bytes()]).map(drop)
            })
        });
        enforce("ON")?;
        done
    }
}

impl Writer<'_> {
    /// Condemns a record; one that is condemned already stays so since then.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn condemn(&self, hash: &Hash, since: i64) -> Result<(), DatabaseError> {
        let sql = "INSERT OR IGNORE INTO condemned (hash, since) VALUES (?1, ?2)";
        self.execute(sql, params![hash.as_bytes(), since]).map(drop)
    }

    /// Takes that back: something leads to the record again.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn absolve(&self, hash: &Hash) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM condemned WHERE hash = ?1", [hash.as_bytes()])
            .map(drop)
    }

    /// Makes `now` of all times that lie behind it: a clock was wrong.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn cap_condemned(&self, now: i64) -> Result<(), DatabaseError> {
        self.execute("UPDATE condemned SET since = ?1 WHERE since > ?1", [now])
            .map(drop)
    }

    /// Takes a record out of the index. It stays in its pack, which remembers that it holds one such more.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn drop_record(&self, hash: &Hash) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM records WHERE hash = ?1 RETURNING pack";
        if let Some(pack) = self.row(sql, [hash.as_bytes()], |row| row.get::<_, i64>(0))? {
            self.execute("UPDATE packs SET dropped = dropped + 1 WHERE id = ?1", [pack])?;
        }
        self.absolve(hash)
    }

    /// Forgets what is known about records that are not there any more.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget_gone(&self) -> Result<(), DatabaseError> {
        self.batch(
            "DELETE FROM condemned WHERE hash NOT IN (SELECT hash FROM records);
             DELETE FROM newest_tensors WHERE file NOT IN (SELECT hash FROM records);
             DELETE FROM tensors WHERE file NOT IN (SELECT hash FROM records);
             DELETE FROM files WHERE file NOT IN (SELECT hash FROM records);
             DELETE FROM stat_cache WHERE file NOT IN (SELECT hash FROM records);",
        )
    }

    /// Enters a pack whose records lay at `from`, in the same order, and has the index find them in it. Returns how
    /// many of them do; those that lie elsewhere by now stay where they are.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn move_records(&self, pack: &SealedPack, from: &[Location]) -> Result<u64, DatabaseError> {
        let id = self.insert_pack_row(pack)?;
        let mut moved = 0;
        for (entry, from) in pack.entries.iter().zip(from) {
            let sql = "UPDATE records SET codec = ?1, encoded_len = ?2, base = ?3, pack = ?4, offset = ?5 \
                       WHERE hash = ?6 AND offset = ?7 AND pack = (SELECT id FROM packs WHERE name = ?8)";
            let header = &entry.header;
            moved += self.execute(
                sql,
                params![
                    header.codec as u8,
                    header.encoded_len,
                    header.base.as_ref().map(|base| &base.as_bytes()[..]),
                    id,
                    to_sql(entry.offset),
                    header.hash.as_bytes(),
                    to_sql(from.offset),
                    from.pack.as_bytes(),
                ],
            )? as u64;
        }
        let dropped = to_sql((pack.entries.len() as u64).saturating_sub(moved));
        self.execute("UPDATE packs SET dropped = ?2 WHERE id = ?1", [id, dropped])?;
        Ok(moved)
    }
}
