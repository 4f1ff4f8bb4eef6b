//! Where refs and `HEAD` were: `HEAD@{2}`, `main@{1}`, `@{-1}`, and the upstream that is written in the same way, `@{u}`.

use super::branches::short_name;
use super::{Error, Head, Repository, ref_candidates};
use crate::database::LoggedMove;
use crate::object::{CommitId, Time};

/// Moves that are read from the log at a time.
const PAGE: usize = 200;

/// A place where a ref was, and how it came there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedPlace {
    /// The commit; `None` when the ref was gone from then on.
    pub commit: Option<CommitId>,
    /// Where it was before.
    pub before: Option<CommitId>,
    /// When it came there.
    pub time: Time,
    /// By what.
    pub message: String,
}

/// Whose moves are moves of `HEAD`, going back through the log.
enum Standing {
    On(String),
    Detached,
    /// Old entries do not say where `HEAD` stood.
    Unknown,
}

impl Standing {
    fn of(said: Option<&str>) -> Self {
        match said.map(Head::parse) {
            Some(Some(Head::Branch(name))) => Standing::On(name),
            Some(Some(Head::Detached(_))) => Standing::Detached,
            _ => Standing::Unknown,
        }
    }
}

impl Repository {
    /// The newest `limit` places where a ref, by its full name, or `HEAD` was, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn reflog(&self, name: &str, limit: usize) -> Result<Vec<LoggedPlace>, Error> {
        let mut places = Vec::new();
        let mut standing = match self.head() {
            Ok(head) => Standing::of(Some(&head.text())),
            Err(_) => Standing::Unknown,
        };
        self.each_move((name != "HEAD").then_some(name), |logged| {
            if name == "HEAD" && !moves_head(&logged, &mut standing) {
                return true;
            }
            let operation = logged.operation;
            places.push(LoggedPlace {
                commit: operation.after,
                before: operation.before,
                time: operation.time,
                message: operation.command,
            });
            places.len() < limit
        })?;
        places.truncate(limit);
        Ok(places)
    }

    /// Shows moves, newest first, until `visit` has seen enough.
    fn each_move(&self, name: Option<&str>, mut visit: impl FnMut(LoggedMove) -> bool) -> Result<(), Error> {
        let mut below = i64::MAX;
        loop {
            let page = self.database().moves(name, below, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            below = last.id;
            for logged in page {
                if !visit(logged) {
                    return Ok(());
                }
            }
        }
    }

    /// What a text that ends with `@{...}` names; `None` when it is none.
    pub(super) fn resolve_at(&self, text: &str) -> Result<Option<CommitId>, Error> {
        let Some((name, inner)) = text.strip_suffix('}').and_then(|text| text.split_once("@{")) else {
            return Ok(None);
        };
        if let Some(back) = inner.strip_prefix('-') {
            let number = whole(back).filter(|number| name.is_empty() && *number > 0);
            let number = number.ok_or_else(|| Error::UnknownRevision(text.to_owned()))?;
            return self.commit_of(&self.stood_before(number, text)?);
        }
        if matches!(inner, "u" | "upstream") {
            return self.upstream_commit(name).map(Some);
        }
        let number = whole(inner).ok_or_else(|| Error::UnknownRevision(text.to_owned()))?;
        if name == "refs/stash" || name == "stash" && self.full_name(name)?.is_none() {
            return self.stash_numbered(number).map(|(_, commit)| Some(commit));
        }
        let full = match name {
            "HEAD" | "@" => "HEAD".to_owned(),
            "" => match self.head()? {
                Head::Branch(name) => name,
                Head::Detached(_) => "HEAD".to_owned(),
            },
            name => self
                .full_name(name)?
                .ok_or_else(|| Error::UnknownRevision(text.to_owned()))?,
        };
        let places = self.reflog(&full, number.saturating_add(1))?;
        let found = match (places.get(number), places.last()) {
            (Some(place), _) => place.commit,
            // Before the oldest entry it was where that one found it.
            (None, Some(oldest)) if places.len() == number => oldest.before,
            _ => None,
        };
        found.map(Some).ok_or_else(|| Error::ShortLog {
            name: short_name(&full).to_owned(),
            found: places.len(),
        })
    }

    /// The ref that `name` means, in full.
    ///
    /// # Errors
    /// When the database fails.
    pub fn full_name(&self, name: &str) -> Result<Option<String>, Error> {
        for full in ref_candidates(name) {
            if self.database().read_ref(&full)?.is_some() {
                return Ok(Some(full));
            }
        }
        Ok(None)
    }

    fn upstream_commit(&self, branch: &str) -> Result<CommitId, Error> {
        let branch = match (branch, self.head()?) {
            ("" | "HEAD" | "@", head) => head.branch().unwrap_or("HEAD").to_owned(),
            (name, _) => name.to_owned(),
        };
        let none = || Error::NoUpstream(branch.clone());
        let upstream = self.upstream(&branch)?.ok_or_else(none)?;
        let commit = self.database().read_ref(&upstream.tracking())?;
        commit.ok_or_else(|| Error::UnknownRevision(upstream.name()))
    }

    /// Where `HEAD` stood before it was moved the last time, or the `number`th last. `text` is how it was asked for.
    ///
    /// # Errors
    /// When it was not moved so often.
    pub fn stood_before(&self, number: usize, text: &str) -> Result<Head, Error> {
        let (mut left, mut found) = (number, None);
        self.each_move(Some("HEAD"), |logged| {
            // Commits on a detached HEAD, resets and renamed branches are no change of place.
            let command = logged.operation.command.as_str();
            let switched = ["checkout: ", "switch: "].iter().any(|verb| command.starts_with(verb));
            if switched && let Some(head) = logged.head_before.as_deref().and_then(Head::parse) {
                left -= 1;
                found = Some(head);
            }
            left > 0
        })?;
        found
            .filter(|_| left == 0)
            .ok_or_else(|| Error::UnknownRevision(text.to_owned()))
    }
}

/// True when this is a move of `HEAD`: of itself, or of the branch that it stood on at the time.
fn moves_head(logged: &LoggedMove, standing: &mut Standing) -> bool {
    let name = &logged.operation.name;
    if name == "HEAD" {
        *standing = Standing::of(logged.head_before.as_deref());
        return true;
    }
    match standing {
        Standing::On(branch) => branch == name,
        Standing::Detached => false,
        Standing::Unknown => name.starts_with("refs/heads/"),
    }
}

fn whole(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
