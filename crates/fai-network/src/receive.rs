//! Taking commits that somebody gives: the rules of a push, whether it comes from a peer or from a folder on this
//! machine. How what is missing gets here is the caller's business.

use fai_core::Repository;
use fai_core::object::{CommitId, Time};
use fai_core::repo::{Error as CoreError, Head, Progress, Quarantine, RefMove};

use crate::Error;
use crate::wire::message::Reason;

/// A ref to move, whose name was checked.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// From where to where.
    pub moved: RefMove,
    /// Where it will be.
    pub after: CommitId,
    /// Also where that loses commits.
    pub force: bool,
}

/// Who gives, when, and how it is told of.
pub(crate) struct Push<'a> {
    /// For the log of operations.
    pub time: Time,
    /// For the log of operations.
    pub command: &'a str,
    /// Hears of it.
    pub progress: &'a dyn Progress,
    /// Makes an error of a refusal.
    pub refuse: &'a dyn Fn(Reason, String) -> Error,
}

/// Has `fetch` bring what `wanted` lead to, told which of them the worktree will hold, and moves the refs of `repository`,
/// all of them or none. Returns their names.
pub(crate) fn receive<T>(
    repository: &Repository,
    wanted: &[Wanted],
    push: &Push<'_>,
    fetch: impl FnOnce(&[CommitId], Option<CommitId>) -> Result<(Quarantine, T), Error>,
) -> Result<(Vec<String>, T), Error> {
    let refuse = push.refuse;
    let refs = repository.refs()?;
    for Wanted { moved, .. } in wanted {
        let now = refs
            .iter()
            .find(|(name, _)| *name == moved.name)
            .map(|(_, commit)| *commit);
        if now != moved.before {
            let message = format!("{} has moved here meanwhile: pull first", moved.name);
            return Err(refuse(Reason::NotForward, message));
        }
    }
    let wants: Vec<CommitId> = wanted.iter().map(|wanted| wanted.after).collect();
    let current = match repository.head()? {
        Head::Branch(branch) => wanted.iter().find(|wanted| wanted.moved.name == branch),
        Head::Detached(_) => None,
    };
    let (quarantine, fetched) = fetch(&wants, current.map(|wanted| wanted.after))?;
    for Wanted { moved, after, force } in wanted {
        if let Some(before) = moved.before
            && !force
            && !quarantine.store().is_ancestor(before, *after)?
        {
            let message = format!(
                "{} would lose commits: pull first, or push with --force-with-lease",
                moved.name
            );
            return Err(refuse(Reason::NotForward, message));
        }
    }
    let moves: Vec<RefMove> = wanted.iter().map(|wanted| wanted.moved.clone()).collect();
    match repository.accept(quarantine, &moves, push.time, push.command, push.progress) {
        Err(CoreError::LocalChanges(paths)) => {
            let shown: Vec<String> = paths.iter().take(5).map(ToString::to_string).collect();
            let message = format!(
                "the branch is checked out there, and these files have changes: {}",
                shown.join(", ")
            );
            Err(refuse(Reason::Unclean, message))
        }
        Err(CoreError::RefMoved(name)) => Err(refuse(
            Reason::NotForward,
            format!("{name} has moved there meanwhile: pull first"),
        )),
        other => {
            other?;
            Ok((moves.into_iter().map(|moved| moved.name).collect(), fetched))
        }
    }
}
