//! `commit`: what is staged becomes a version.

use std::collections::BTreeMap;

use super::expected::{Changes, Expected};
use super::snapshot::write_tree;
use super::{CodeRevision, Error, Head, Origin, Repository};
use crate::database::{Operation, Staged};
use crate::object::{Author, Commit, CommitId, Id, Kind, Object, RepoPath, Time, TreeId, Value};

/// What to commit, by whom and when.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Why. `None` keeps the message of the commit that is amended, or that a merge under way would make.
    pub message: Option<String>,
    /// Who. `None` keeps the author of that commit.
    pub author: Option<Author>,
    /// When.
    pub time: Time,
    /// Replaces the commit at `HEAD` instead of following it.
    pub amend: bool,
    /// Typed parameters; they win over harvested ones.
    pub params: BTreeMap<String, Value>,
    /// Typed metrics; they win over harvested ones.
    pub metrics: BTreeMap<String, Value>,
    /// Labels of the commit.
    pub labels: Vec<String>,
    /// What was fine-tuned. With `amend`, `None` keeps what was said before.
    pub base_model: Option<String>,
    /// What it was trained on. With `amend`, none keep what was said before.
    pub datasets: Vec<Origin>,
    /// With which code. With `amend`, `None` keeps what was said before.
    pub code: Option<CodeRevision>,
}

/// A new commit.
#[derive(Debug, Clone)]
pub struct CommitReport {
    /// Its id.
    pub id: CommitId,
    /// The commit itself.
    pub commit: Commit,
    /// Metrics and parameter files that could not be understood; the commit went on without them.
    pub warnings: Vec<String>,
}

impl Repository {
    /// Commits what is staged. The commit is durable when this returns.
    ///
    /// # Errors
    /// [`Error::NothingToCommit`] when nothing is staged and nothing amended; when the commit would break a rule; when
    /// the branch moved meanwhile.
    pub fn commit(&self, request: &CommitRequest) -> Result<CommitReport, Error> {
        let _pin = self.pin()?;
        // A detached HEAD moves, and a checkout would move it, too.
        let detached = |head: &Head| matches!(head, Head::Detached(_));
        let alone = detached(&self.head()?).then(|| self.alone()).transpose()?;
        let _lock = super::durable::lock(&self.directory.join("commit.lock"), false)?;
        let (head, parent) = (self.head()?, self.head_commit()?);
        if detached(&head) && alone.is_none() {
            return Err(Error::RefMoved("HEAD".to_owned()));
        }
        let earlier = self.earlier(request, &head, parent)?;
        let staging = self.database().staging()?;
        let base = self.tree_of(parent)?;
        let changes = self.staged_changes(Expected {
            tree: self.tree_id_of(parent)?,
            changes: Some(&Changes::of(&staging)),
        })?;
        let joins = earlier.as_ref().is_some_and(|earlier| earlier.parents.len() > 1);
        if changes.is_empty() && !request.amend && !joins {
            return Err(Error::NothingToCommit);
        }
        let (metadata, warnings) = self.metadata(request, earlier.as_ref(), &changes)?;
        let (parents, author, message) = match earlier {
            Some(earlier) => (earlier.parents, Some(earlier.author), earlier.message),
            None => (parent.into_iter().collect(), None, String::new()),
        };
        let author = request.author.clone().or(author);
        let commit = Commit {
            // Known only once the trees are written; everything else can be checked before.
            tree: TreeId::of(&[]),
            parents,
            author: author.ok_or_else(|| Error::Usage("a commit needs an author".into()))?,
            time: request.time,
            message: request.message.clone().unwrap_or(message),
            metadata,
            signature: None,
        };
        commit.validate().map_err(Error::BadCommit)?;

        let (commit, _) = self.store.write(1, &|_| (), |feeder| {
            let commit = Commit {
                tree: write_tree(&self.store, feeder, &base, &staging)?,
                ..commit
            };
            feeder.object(Kind::Commit, commit.encode())?;
            Ok(commit)
        })?;
        let id = commit.id();
        if let Some(replaced) = parent.filter(|_| request.amend) {
            self.cut_like(replaced, id)?;
        }
        let verb = if request.amend { "commit (amend)" } else { "commit" };
        let command = format!("{verb}: {}", commit.title());
        let name = match &head {
            Head::Branch(name) => name.clone(),
            Head::Detached(_) => "HEAD".to_owned(),
        };
        let operation = Operation {
            time: request.time,
            command,
            name,
            before: parent,
            after: Some(id),
        };
        self.advance(&head, id, &operation, &staging)?;
        Ok(CommitReport { id, commit, warnings })
    }

    /// The commit that this one takes the place of: the amended one, or the draft of what is under way.
    fn earlier(&self, request: &CommitRequest, head: &Head, parent: Option<CommitId>) -> Result<Option<Commit>, Error> {
        let replaced = match (self.database().pending()?, parent) {
            (Some(pending), _) => {
                let conflicts: Vec<RepoPath> = self.database().conflicts()?.into_keys().collect();
                if !conflicts.is_empty() {
                    return Err(Error::Undecided(conflicts));
                }
                if request.amend || !pending.placed || parent != Some(pending.head) {
                    return Err(Error::Underway { kind: pending.kind });
                }
                Some(pending.draft)
            }
            (None, None) if request.amend => return Err(Error::NoCommits(branch_name(head))),
            (None, parent) => parent.filter(|_| request.amend),
        };
        replaced.map(|id| self.store.get::<Commit>(id)).transpose()
    }

    /// Moves the branch, or a detached `HEAD`, and unstages what was committed.
    fn advance(
        &self,
        head: &Head,
        after: CommitId,
        operation: &Operation,
        committed: &BTreeMap<RepoPath, Staged>,
    ) -> Result<(), Error> {
        // A detached HEAD moves first: staged entries that equal the commit are no changes, lost ones would be.
        if let Head::Detached(_) = head {
            self.move_head(&Head::Detached(after), operation.time, &operation.command)?;
        }
        self.database().transaction(|writer| {
            if let Head::Branch(name) = head
                && !writer.move_ref(name, operation.before, Some(after))?
            {
                return Err(Error::RefMoved(branch_name(head)));
            }
            // What another process staged since then stays.
            for (path, staged) in committed {
                writer.unstage_exactly(path, staged)?;
            }
            writer.end_pending()?;
            match head {
                Head::Branch(_) => Ok(writer.log_operation(operation)?),
                Head::Detached(_) => Ok(()),
            }
        })?;
        Ok(self.database().finish_command()?)
    }

    /// Parameters, metrics and labels: those of the commit that is replaced, then harvested ones, then typed ones.
    fn metadata(
        &self,
        request: &CommitRequest,
        earlier: Option<&Commit>,
        changes: &[super::StatusEntry],
    ) -> Result<(BTreeMap<String, Value>, Vec<String>), Error> {
        let mut metadata = earlier.map(|commit| commit.metadata.clone()).unwrap_or_default();
        let harvest = self.harvest(changes)?;
        for (name, harvested, typed) in [
            ("params", harvest.params, &request.params),
            ("metrics", harvest.metrics, &request.metrics),
        ] {
            let mut values = metadata.get(name).and_then(Value::as_map).cloned().unwrap_or_default();
            values.extend(harvested);
            values.extend(typed.clone());
            if !values.is_empty() {
                metadata.insert(name.to_owned(), Value::Map(values));
            }
        }
        if !request.labels.is_empty() {
            let labels = request.labels.iter().cloned().map(Value::Text).collect();
            metadata.insert("tags".to_owned(), Value::List(labels));
        }
        if let Some(base) = &request.base_model {
            metadata.insert("base_model".to_owned(), Value::Text(base.clone()));
            // What the name means now: `HEAD` is this commit's parent only until it is made.
            let origin = self.origin(base)?;
            match origin.file.is_some() || origin.path.is_some() {
                true => metadata.insert("base".to_owned(), origin.to_value()),
                false => metadata.remove("base"),
            };
        }
        if !request.datasets.is_empty() {
            let datasets = request.datasets.iter().map(Origin::to_value).collect();
            metadata.insert("datasets".to_owned(), Value::List(datasets));
        }
        if let Some(code) = &request.code {
            metadata.insert("code".to_owned(), code.to_value());
        }
        Ok((metadata, harvest.warnings))
    }
}

fn branch_name(head: &Head) -> String {
    head.branch()
        .map_or_else(|| "HEAD".to_owned(), |name| format!("branch {name}"))
}
