//! The index of records: where every chunk and object lies.

use rusqlite::params;

use super::{Database, DatabaseError, Writer, from_sql, hash_column, to_sql};
use crate::codec::Codec;
use crate::object::{Hash, Kind};
use crate::storage::{IndexEntry, Location, RecordHeader, SealedPack};

/// A pack as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    /// Its name.
    pub name: Hash,
    /// Length of its file.
    pub bytes: u64,
}

/// Sums over records of one kind and codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordTotals {
    /// The kind.
    pub kind: Kind,
    /// The codec.
    pub codec: Codec,
    /// Number of records.
    pub count: u64,
    /// Sum of raw lengths.
    pub raw_bytes: u64,
    /// Sum of payload lengths.
    pub encoded_bytes: u64,
}

/// The columns that [`location`] reads.
macro_rules! columns {
    () => {
        "r.hash, r.kind, r.codec, r.raw_len, r.encoded_len, r.base, r.offset, p.name"
    };
}

impl Database {
    /// True when the record is indexed.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_record(&self, hash: &Hash) -> Result<bool, DatabaseError> {
        let sql = "SELECT 1 FROM records WHERE hash = ?1";
        Ok(self.row(sql, [hash.as_bytes()], |_| Ok(()))?.is_some())
    }

    /// Where the record lies.
    ///
    /// # Errors
    /// When SQLite fails or the row is damaged.
    pub fn locate(&self, hash: &Hash) -> Result<Option<Location>, DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM records r JOIN packs p ON p.id = r.pack WHERE r.hash = ?1"
        );
        let found = self.row(sql, [hash.as_bytes()], location)?;
        found
            .map(|location| location.ok_or_else(|| self.damaged("records")))
            .transpose()
    }

    /// All records in the order in which packs hold them, handed to `visit` one by one.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged; or the error of `visit`.
    pub fn for_each_record<E: From<DatabaseError>>(
        &self,
        mut visit: impl FnMut(Location) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = "FROM records r JOIN packs p ON p.id = r.pack ORDER BY p.name, r.offset";
        let mut statement = self
            .connection
            .prepare(&format!("SELECT {} {from}", columns!()))
            .map_err(|source| self.wrap(source))?;
        let mut rows = statement.query([]).map_err(|source| self.wrap(source))?;
        while let Some(row) = rows.next().map_err(|source| self.wrap(source))? {
            let found = location(row).map_err(|source| self.wrap(source))?;
            visit(found.ok_or_else(|| self.damaged("records"))?)?;
        }
        Ok(())
    }

    /// All deltas with their bases, handed to `visit` one by one.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged; or the error of `visit`.
    pub fn for_each_delta<E: From<DatabaseError>>(
        &self,
        mut visit: impl FnMut(Hash, Hash) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT hash, base FROM records WHERE base IS NOT NULL";
        let mut statement = self.connection.prepare(sql).map_err(|source| self.wrap(source))?;
        let mut rows = statement.query([]).map_err(|source| self.wrap(source))?;
        while let Some(row) = rows.next().map_err(|source| self.wrap(source))? {
            let column = |index| hash_column(row, index).map_err(|source| self.wrap(source));
            let (hash, base) = column(0)?.zip(column(1)?).ok_or_else(|| self.damaged("records"))?;
            visit(hash, base)?;
        }
        Ok(())
    }

    /// The records of one pack by their offsets. Reads the whole index: for damaged packs only.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn records_of_pack(&self, name: &Hash) -> Result<Vec<Location>, DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM records r JOIN packs p ON p.id = r.pack WHERE p.name = ?1 ORDER BY r.offset"
        );
        let found = self.rows(sql, [name.as_bytes()], location)?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("records")))
            .collect()
    }

    /// The records of one kind. Reads the whole index.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn records_of_kind(&self, kind: Kind) -> Result<Vec<Hash>, DatabaseError> {
        let sql = "SELECT hash FROM records WHERE kind = ?1";
        let found = self.rows(sql, [kind as u8], |row| hash_column(row, 0))?;
        found
            .into_iter()
            .map(|hash| hash.ok_or_else(|| self.damaged("records")))
            .collect()
    }

    /// Up to `limit` hashes of records that start with the hexadecimal digits `prefix`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn records_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(Hash, Kind)>, DatabaseError> {
        let Some((low, high)) = prefix_range(prefix) else {
            return Ok(Vec::new());
        };
        let sql = "SELECT hash, kind FROM records WHERE hash BETWEEN ?1 AND ?2 ORDER BY hash LIMIT ?3";
        let read = |row: &rusqlite::Row<'_>| {
            let kind = row.get::<_, u8>(1)?;
            Ok(hash_column(row, 0)?.zip(Kind::from_code(kind)))
        };
        let found = self.rows(sql, params![low, high, limit as i64], read)?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("records")))
            .collect()
    }

    /// Sums by kind and codec.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn record_totals(&self) -> Result<Vec<RecordTotals>, DatabaseError> {
        let sql = "SELECT kind, codec, count(*), sum(raw_len), sum(encoded_len) FROM records GROUP BY kind, codec";
        let read = |row: &rusqlite::Row<'_>| {
            let codes = (row.get::<_, u8>(0)?, row.get::<_, u8>(1)?);
            let (count, raw, encoded) = (row.get(2)?, row.get(3)?, row.get(4)?);
            Ok(Kind::from_code(codes.0)
                .zip(Codec::from_code(codes.1))
                .map(|(kind, codec)| RecordTotals {
                    kind,
                    codec,
                    count: from_sql(count),
                    raw_bytes: from_sql(raw),
                    encoded_bytes: from_sql(encoded),
                }))
        };
        let found = self.rows(sql, [], read)?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("records")))
            .collect()
    }

    /// All packs that the index knows.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn packs(&self) -> Result<Vec<PackRow>, DatabaseError> {
        let found = self.rows("SELECT name, bytes FROM packs ORDER BY id", [], |row| {
            let bytes = row.get::<_, i64>(1)?;
            Ok(hash_column(row, 0)?.map(|name| PackRow {
                name,
                bytes: from_sql(bytes),
            }))
        })?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("packs")))
            .collect()
    }
}

impl Writer<'_> {
    /// Indexes a pack. Returns how many of its records were new; a pack that brings none is not entered.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn insert_pack(&self, pack: &SealedPack) -> Result<usize, DatabaseError> {
        let id = self.insert_pack_row(pack)?;
        let mut fresh = 0;
        for entry in &pack.entries {
            fresh += self.insert_record(id, entry)?;
        }
        // What a collection took out of the index is in it again.
        let filled = "UPDATE packs SET dropped = max(dropped - ?2, 0) WHERE id = ?1 AND dropped > 0";
        self.execute(filled, params![id, fresh as i64])?;
        if fresh == 0 {
            let used = "SELECT 1 FROM records WHERE pack = ?1 LIMIT 1";
            if self.row(used, [id], |_| Ok(()))?.is_none() {
                self.execute("DELETE FROM packs WHERE id = ?1", [id])?;
            }
        }
        Ok(fresh)
    }

    /// Enters a pack and those of its records that `chosen` chooses and that are not indexed. Returns their hashes. The
    /// pack is entered in any case.
    ///
    /// # Errors
    /// When SQLite fails; the error of `chosen`.
    pub fn insert_some(
        &self,
        pack: &SealedPack,
        chosen: impl Fn(&IndexEntry) -> Result<bool, DatabaseError>,
    ) -> Result<Vec<Hash>, DatabaseError> {
        let id = self.insert_pack_row(pack)?;
        let mut fresh = Vec::new();
        for entry in &pack.entries {
            if chosen(entry)? && self.insert_record(id, entry)? > 0 {
                fresh.push(entry.header.hash);
            }
        }
        Ok(fresh)
    }

    /// True when the record is indexed.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_record(&self, hash: &Hash) -> Result<bool, DatabaseError> {
        let sql = "SELECT 1 FROM records WHERE hash = ?1";
        Ok(self.row(sql, [hash.as_bytes()], |_| Ok(()))?.is_some())
    }

    pub(super) fn insert_pack_row(&self, pack: &SealedPack) -> Result<i64, DatabaseError> {
        let sql =
            "INSERT INTO packs (name, bytes) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET bytes = ?2 RETURNING id";
        let parameters = params![pack.name.as_bytes(), to_sql(pack.len)];
        Ok(self.row(sql, parameters, |row| row.get(0))?.unwrap_or_default())
    }

    fn insert_record(&self, pack: i64, entry: &IndexEntry) -> Result<usize, DatabaseError> {
        let RecordHeader {
            kind,
            codec,
            raw_len,
            encoded_len,
            hash,
            base,
        } = entry.header;
        self.execute(
            "INSERT OR IGNORE INTO records (hash, kind, codec, raw_len, encoded_len, base, pack, offset) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                hash.as_bytes(),
                kind as u8,
                codec as u8,
                raw_len,
                encoded_len,
                base.as_ref().map(|base| &base.as_bytes()[..]),
                pack,
                to_sql(entry.offset),
            ],
        )
    }

    /// Forgets a pack and its records: it is gone or damaged.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn remove_pack(&self, name: &Hash) -> Result<(), DatabaseError> {
        let id = self.row("SELECT id FROM packs WHERE name = ?1", [name.as_bytes()], |row| {
            row.get::<_, i64>(0)
        })?;
        if let Some(id) = id {
            self.execute("DELETE FROM records WHERE pack = ?1", [id])?;
            self.execute("DELETE FROM packs WHERE id = ?1", [id])?;
        }
        Ok(())
    }

    /// Forgets all packs and records, before they are read again from the packs themselves.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_records(&self) -> Result<(), DatabaseError> {
        self.batch("DELETE FROM records; DELETE FROM packs;")
    }
}

/// A row of `columns!()`; `None` when it is damaged.
fn location(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Location>> {
    let (kind, codec) = (row.get::<_, u8>(1)?, row.get::<_, u8>(2)?);
    let (raw_len, encoded_len) = (row.get(3)?, row.get(4)?);
    let offset = from_sql(row.get(6)?);
    let parts = (
        hash_column(row, 0)?,
        Kind::from_code(kind),
        Codec::from_code(codec),
        hash_column(row, 7)?,
    );
    let base = hash_column(row, 5)?;
    let (Some(hash), Some(kind), Some(codec), Some(pack)) = parts else {
        return Ok(None);
    };
    let header = RecordHeader {
        kind,
        codec,
        raw_len,
        encoded_len,
        hash,
        base,
    };
    Ok(Some(Location { pack, offset, header }))
}

/// The smallest and largest hash that start with these hexadecimal digits.
fn prefix_range(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    if prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let parse = |text: String| text.parse::<Hash>().ok().map(|hash| *hash.as_bytes());
    Some((parse(format!("{prefix:0<64}"))?, parse(format!("{prefix:f<64}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_ranges() {
        let (low, high) = prefix_range("abc").unwrap();
        assert_eq!((low[0], low[1], low[31]), (0xab, 0xc0, 0));
        assert_eq!((high[0], high[1], high[31]), (0xab, 0xcf, 0xff));
        assert_eq!(prefix_range("xyz"), None);
        assert_eq!(prefix_range(&"a".repeat(65)), None);
    }
}
