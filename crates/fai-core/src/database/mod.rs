//! SQLite: the index of records, what is known about files, refs, staging, the stat cache, the log of
//! moves and the effects of commands.
//!
//! One statement is one method, grouped by table. Which statements make a workflow is not here. Everything but
//! refs, staging, evicted paths, merges under way, operations and commands can be rebuilt from the packs.

mod commands;
mod condemned;
mod deltas;
mod evicted;
mod experiments;
mod files;
mod graph;
mod names;
mod newest;
mod operations;
mod pending;
mod records;
mod refs;
mod rescue;
mod search;
mod staging;
mod stat_cache;

use std::cell::{Cell, RefCell};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use commands::{CommandKind, CommandRow, Effect, State, What};
pub use condemned::{IndexedRecord, PackUsage};
pub use experiments::{ExperimentNode, ExperimentRow, RowId, ValueKind};
pub use files::{FileRecord, TensorRecord};
pub use graph::GraphRow;
pub use names::{TagMessage, Upstream};
pub use operations::{LoggedMove, Operation};
pub use pending::{Conflict, Pending};
pub use records::{PackRow, RecordTotals};
pub use rescue::Rescued;
pub use search::{Found, ModelRow, Words};
pub use staging::Staged;
pub use stat_cache::{CachedStat, FileStat};

use crate::object::Hash;

/// The schema, one script a version, applied in order.
const MIGRATIONS: [&str; 10] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
];

/// Marks the file as ours ("FAI\x01").
const APPLICATION_ID: i32 = 0x4641_4901;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refused.
    #[error("the database {} failed", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// There is no room for what must be written.
    #[error("no room is left on the disk of the database {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Written by a newer version of fai.
    #[error("{} has schema version {found}, and this fai knows versions up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: usize,
    },
    /// A SQLite file, but not one of fai.
    #[error("{} is not a database of fai", .0.display())]
    Foreign(PathBuf),
    /// A row that this version never writes.
    #[error("the database {} holds a damaged row in {table}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
    },
}

impl DatabaseError {
    /// What SQLite refused on the file at `path`.
    fn of(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| {
            use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_SHMSIZE};
            let path = path.to_owned();
            match source.sqlite_error().map(|error| error.extended_code) {
                Some(SQLITE_FULL | SQLITE_IOERR_SHMSIZE) => DatabaseError::Full { path, source },
                _ => DatabaseError::Sqlite { path, source },
            }
        }
    }

    /// True when the file itself is damaged, so that trying again cannot help.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
        match self {
            // `Unknown` is what SQLite says when a table is gone.
            DatabaseError::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(DatabaseCorrupt | NotADatabase | Unknown)
            ),
            DatabaseError::Foreign(_) | DatabaseError::Damaged { .. } => true,
            DatabaseError::Full { .. } | DatabaseError::Newer { .. } => false,
        }
    }

    /// True when the file for shared memory could not be made.
    fn lacks_shared_memory(&self) -> bool {
        use rusqlite::ffi::{SQLITE_CANTOPEN, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE};
        let codes = [SQLITE_CANTOPEN, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE];
        match self {
            DatabaseError::Sqlite { source, .. } | DatabaseError::Full { source, .. } => source
                .sqlite_error()
                .is_some_and(|error| codes.contains(&error.extended_code)),
            _ => false,
        }
    }
}

/// An open database. Not shared by threads; several may be open on one file.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// The command that transactions work for.
    current: RefCell<Option<commands::Current>>,
    has_triggers: Cell<bool>,
    /// Open for reading only, as the disk is full.
    alone: bool,
}

impl Database {
    /// Opens the database at `path`, creating it and bringing its schema up to date as needed. On a disk that is full
    /// it may be open for reading only.
    ///
    /// # Errors
    /// When the file cannot be opened, is not ours, or is newer than this program.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        match Self::open_shared(path) {
            // SQLite shares memory through a file that takes room. Whoever uses the database has that file, and it
            // stays when they crash; where it cannot be made nobody else is there, and all is in the main file.
            Err(error) if error.lacks_shared_memory() && is_checkpointed(path) => {
                Self::open_alone(path).map_err(|_| error)
            }
            other => other,
        }
    }

    /// Opens the database for reading, by assuming that nobody changes it meanwhile.
    fn open_alone(path: &Path) -> Result<Self, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let opened = Connection::open_with_flags(format!("file:{}?immutable=1", uri_path(path)), flags);
        let connection = opened.map_err(DatabaseError::of(path))?;
        let database = Self {
            connection,
            path: path.to_owned(),
            current: RefCell::default(),
            has_triggers: Cell::new(false),
            alone: true,
        };
        database.migrate()?;
        Ok(database)
    }

    fn open_shared(path: &Path) -> Result<Self, DatabaseError> {
        let wrap = DatabaseError::of(path);
        let connection = Connection::open(path).map_err(&wrap)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(&wrap)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Otherwise SQLite compiles a statement anew whenever another value is bound that could change its plan,
        // which for a lookup by key takes longer than the lookup.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(&wrap)?;
        let database = Self {
            connection,
            path: path.to_owned(),
            current: RefCell::default(),
            has_triggers: Cell::new(false),
            alone: false,
        };
        // journal_mode writes only on the first open; the others cost nothing.
        let set = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                   PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;";
        database.connection.execute_batch(set).map_err(&wrap)?;
        database.migrate()?;
        Ok(database)
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one transaction that takes the write lock at its start, so that nothing read inside can change
    /// before it commits. Everything is undone when `work` fails. Transactions do not nest: SQLite refuses.
    ///
    /// # Errors
    /// The error of `work`, or of SQLite.
    pub fn transaction<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let current = self.current.borrow().clone();
        let writer = self.begin(current.as_ref())?;
        let value = work(&writer)?;
        let current = writer.close_command(current.as_ref())?;
        writer.inner.commit().map_err(|source| self.wrap(source))?;
        if current.is_some() {
            *self.current.borrow_mut() = current;
        }
        Ok(value)
    }

    /// Runs `work` as [`Database::transaction`] would, and undoes it: what it refuses is known before anything else is done.
    ///
    /// # Errors
    /// The error of `work`, or of SQLite.
    pub fn rehearse<E: From<DatabaseError>>(&self, work: impl FnOnce(&Writer<'_>) -> Result<(), E>) -> Result<(), E> {
        let current = self.current.borrow().clone();
        work(&self.begin(current.as_ref())?)
    }

    fn begin(&self, current: Option<&commands::Current>) -> Result<Writer<'_>, DatabaseError> {
        self.ensure_triggers()?;
        let begun = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let mut writer = Writer {
            inner: begun.map_err(|source| self.wrap(source))?,
            database: self,
            command: None,
            unfinished: Cell::new(false),
            entered: Cell::new(false),
        };
        writer.open_command(current)?;
        Ok(writer)
    }

    /// What SQLite itself thinks of the file: empty when all is well.
    ///
    /// # Errors
    /// When the check cannot run.
    pub fn integrity_problems(&self) -> Result<Vec<String>, DatabaseError> {
        let mut problems: Vec<String> = self.rows("PRAGMA integrity_check", [], |row| row.get(0))?;
        problems.retain(|line| line != "ok");
        Ok(problems)
    }

    fn migrate(&self) -> Result<(), DatabaseError> {
        let known = MIGRATIONS.len();
        let (found, application) = (self.pragma("user_version")?, self.pragma("application_id")?);
        if found == known as i64 && application == i64::from(APPLICATION_ID) {
            return Ok(());
        }
        if found > known as i64 {
            return Err(DatabaseError::Newer {
                path: self.path.clone(),
                found,
                known,
            });
        }
        let tables: i64 = self
            .row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?
            .unwrap_or(0);
        if application != i64::from(APPLICATION_ID) && tables > 0 {
            return Err(DatabaseError::Foreign(self.path.clone()));
        }
        self.transaction(|writer| {
            // Another process may have done it while this one waited for the lock.
            let found = writer
                .row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?
                .unwrap_or(0);
            for script in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
                writer.batch(script)?;
            }
            writer.batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known};"
            ))
        })
    }

    fn pragma(&self, name: &str) -> Result<i64, DatabaseError> {
        Ok(self.row(&format!("PRAGMA {name}"), [], |row| row.get(0))?.unwrap_or(0))
    }

    fn wrap(&self, source: rusqlite::Error) -> DatabaseError {
        match source.sqlite_error_code() {
            // SQLite knows only that it may not write, and not why.
            Some(rusqlite::ErrorCode::ReadOnly) if self.alone => DatabaseError::Full {
                path: self.path.clone(),
                source,
            },
            _ => DatabaseError::of(&self.path)(source),
        }
    }

    fn damaged(&self, table: &'static str) -> DatabaseError {
        DatabaseError::Damaged {
            path: self.path.clone(),
            table,
        }
    }

    fn rows<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DatabaseError> {
        let query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement
                .query_map(parameters, read)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        query().map_err(|source| self.wrap(source))
    }

    fn row<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DatabaseError> {
        use rusqlite::OptionalExtension;
        let query = || {
            self.connection
                .prepare_cached(sql)?
                .query_row(parameters, read)
                .optional()
        };
        query().map_err(|source| self.wrap(source))
    }
}

/// A transaction that may write. Statements are grouped by table, as on [`Database`].
pub struct Writer<'a> {
    inner: Transaction<'a>,
    database: &'a Database,
    /// The number of the command that it works for.
    command: Option<i64>,
    /// Set when files are about to change.
    unfinished: Cell<bool>,
    /// Set when the command is to be known even without effects.
    entered: Cell<bool>,
}

impl Writer<'_> {
    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, DatabaseError> {
        let run = || self.inner.prepare_cached(sql)?.execute(parameters);
        run().map_err(|source| self.database.wrap(source))
    }

    fn batch(&self, sql: &str) -> Result<(), DatabaseError> {
        self.inner
            .execute_batch(sql)
            .map_err(|source| self.database.wrap(source))
    }

    fn row<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DatabaseError> {
        use rusqlite::OptionalExtension;
        let query = || self.inner.prepare_cached(sql)?.query_row(parameters, read).optional();
        query().map_err(|source| self.database.wrap(source))
    }
}

/// True when nothing waits in the log beside the database.
fn is_checkpointed(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).metadata().map_or(true, |metadata| metadata.len() == 0)
}

/// The path as it stands in a URI.
fn uri_path(path: &Path) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// A hash column; `None` when it does not hold 32 bytes.
fn hash_column(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<Hash>> {
    Ok(row
        .get_ref(index)?
        .as_blob_or_null()
        .map_err(rusqlite::Error::from)?
        .and_then(Hash::from_slice))
}

/// SQLite integers are signed: sizes above 2^63 - 1 do not occur, as no file system has them.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_schema_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;");
        connection.execute_batch(&marks).unwrap();
        let kept = "INSERT INTO refs VALUES ('refs/heads/main', zeroblob(32));
                    INSERT INTO stat_cache VALUES ('a/b', zeroblob(32), 1, 2, 3, 4, 5);";
        connection.execute_batch(kept).unwrap();
        drop(connection);
        let database = Database::open(&path).unwrap();
        assert_eq!(database.refs().unwrap().len(), 1);
        assert_eq!(database.stat_cache().unwrap().len(), 0, "it is learnt again");
        assert_eq!(database.pragma("user_version").unwrap(), MIGRATIONS.len() as i64);
    }

    #[test]
    fn a_database_that_cannot_grow_says_that_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite");
        let database = Database::open(&path).unwrap();
        let pages = database.pragma("page_count").unwrap();
        let limit = format!("PRAGMA max_page_count = {}", pages + 1);
        database.row(&limit, [], |row| row.get::<_, i64>(0)).unwrap();
        let fill = |writer: &Writer<'_>| {
            writer.batch("CREATE TABLE large (bytes BLOB); INSERT INTO large VALUES (zeroblob(1000000));")
        };
        let full = database.transaction(fill).unwrap_err();
        assert!(matches!(full, DatabaseError::Full { .. }), "{full:?}");
        assert!(full.to_string().contains("no room is left on the disk") && full.to_string().contains("db.sqlite"));
        assert!(!full.is_damage());
        // Nothing of it is there, and what fits can be written.
        assert_eq!(database.integrity_problems().unwrap(), Vec::<String>::new());
        database.transaction(|writer| writer.clear_staging()).unwrap();
        database
            .row("PRAGMA max_page_count = 100000", [], |row| row.get::<_, i64>(0))
            .unwrap();
        database.transaction(fill).unwrap();
    }

    #[test]
    fn a_database_can_be_read_alone_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["plain", "a?b#c%20d &=é", "*"] {
            let path = folder.path().join(name);
            drop(Database::open(&path).unwrap());
            assert!(is_checkpointed(&path));
            let database = Database::open_alone(&path).unwrap();
            assert_eq!(database.refs().unwrap(), []);
            let write = database.transaction(|writer| writer.clear_staging());
            // It is open for reading only, which happens on a full disk alone.
            assert!(matches!(write, Err(DatabaseError::Full { .. })), "{write:?}");
        }
        assert!(Database::open_alone(&folder.path().join("absent")).is_err());
    }
}
