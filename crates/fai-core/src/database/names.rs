//! What is said of names besides where they stand: messages of tags, and what branches follow.

use rusqlite::params;

use super::{Database, DatabaseError, Writer};
use crate::object::{Author, CommitId, Time};

/// What was said of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagMessage {
    /// The message.
    pub message: String,
    /// By whom.
    pub author: Author,
    /// When.
    pub time: Time,
}

/// A branch of a remembered peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The name under which the peer is remembered.
    pub remote: String,
    /// The branch's full name there (`refs/heads/main`).
    pub theirs: String,
}

impl Database {
    /// What was said of a tag, by its full name, if it stands on that commit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tag_message(&self, name: &str, target: CommitId) -> Result<Option<TagMessage>, DatabaseError> {
        let sql = "SELECT message, author, email, time, \"offset\" FROM tag_messages WHERE name = ?1 AND target = ?2";
        self.row(sql, params![name, target.as_bytes()], |row| {
            Ok(TagMessage {
                message: row.get(0)?,
                author: Author {
                    name: row.get(1)?,
                    email: row.get(2)?,
                },
                time: Time {
                    seconds: row.get(3)?,
                    offset_minutes: row.get(4)?,
                },
            })
        })
    }

    /// What a branch, by its short name, follows.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn upstream(&self, branch: &str) -> Result<Option<Upstream>, DatabaseError> {
        let sql = "SELECT remote, theirs FROM upstreams WHERE branch = ?1";
        self.row(sql, [branch], |row| {
            Ok(Upstream {
                remote: row.get(0)?,
                theirs: row.get(1)?,
            })
        })
    }
}

impl Writer<'_> {
    /// Says something of a tag on that commit, or nothing.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_tag_message(
        &self,
        name: &str,
        target: CommitId,
        said: Option<&TagMessage>,
    ) -> Result<(), DatabaseError> {
        let Some(TagMessage { message, author, time }) = said else {
            let sql = "DELETE FROM tag_messages WHERE name = ?1 AND target = ?2";
            return self.execute(sql, params![name, target.as_bytes()]).map(drop);
        };
        let sql = "INSERT OR REPLACE INTO tag_messages (name, target, message, author, email, time, \"offset\") \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let values = params![
            name,
            target.as_bytes(),
            message,
            author.name,
            author.email,
            time.seconds,
            time.offset_minutes
        ];
        self.execute(sql, values).map(drop)
    }

    /// Makes a branch, by its short name, follow another one, or none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_upstream(&self, branch: &str, upstream: Option<&Upstream>) -> Result<(), DatabaseError> {
        let Some(Upstream { remote, theirs }) = upstream else {
            return self
                .execute("DELETE FROM upstreams WHERE branch = ?1", [branch])
                .map(drop);
        };
        let sql = "INSERT OR REPLACE INTO upstreams (branch, remote, theirs) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![branch, remote, theirs]).map(drop)
    }

    /// What followed branches of one remembered peer follows those of another, or none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn rename_remote(&self, remote: &str, to: Option<&str>) -> Result<(), DatabaseError> {
        match to {
            Some(to) => self.execute(
                "UPDATE upstreams SET remote = ?2 WHERE remote = ?1",
                params![remote, to],
            ),
            None => self.execute("DELETE FROM upstreams WHERE remote = ?1", [remote]),
        }
        .map(drop)
    }

    /// A ref whose name begins with `name` and a slash, or the other way round.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn ref_in_the_way(&self, name: &str) -> Result<Option<String>, DatabaseError> {
        // "0" is what follows "/".
        let sql = "SELECT name FROM refs WHERE name > ?1 || '/' AND name < ?1 || '0' LIMIT 1";
        let below = self.row(sql, [name], |row| row.get::<_, String>(0))?;
        if below.is_some() {
            return Ok(below);
        }
        for (at, _) in name.match_indices('/') {
            let above = name.get(..at).unwrap_or_default();
            if self.read_ref(above)?.is_some() {
                return Ok(Some(above.to_owned()));
            }
        }
        Ok(None)
    }
}
