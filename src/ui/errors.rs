//! Errors as people read them: what failed, on what, why, and what to do now.

use std::io::{self, Write};
use std::process::ExitCode;

use fai_core::database::DatabaseError;
use fai_core::object::PathError;
use fai_core::repo::Error;
use fai_core::storage::StorageError;
use fai_network::Error as PeerError;
use fai_network::wire::message::Reason;
use serde_json::{Value, json};

use super::Output;

/// Exit code of a command line that makes no sense.
const WRONG_USAGE: u8 = 2;

/// What to do about a full disk, whoever met it.
const NO_ROOM: &str = "free some space and run the command again: what was stored already is not stored twice";

/// An error with advice that only the command knows.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Hinted {
    #[source]
    error: Error,
    hint: String,
}

impl Hinted {
    /// Adds advice to an error.
    pub fn new(error: Error, hint: impl Into<String>) -> Self {
        Self {
            error,
            hint: hint.into(),
        }
    }
}

/// A command that did its work and found the answer to be no: nothing more to print, exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("the answer is no")]
pub struct Negative;

/// Prints an error to stderr and gives the exit code.
pub fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    // Whoever read our output has heard enough: that is no failure.
    if error.chain().any(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    if error.is::<Negative>() {
        return ExitCode::FAILURE;
    }
    let (kind, hint) = (kind(error), hint(error));
    let message = chain(error.as_ref());
    if json {
        print_json(kind, &message, hint.as_deref());
    } else {
        let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let _ = writeln!(io::stderr().lock(), "error: {message}{hint}");
    }
    match kind {
        "usage" => WRONG_USAGE.into(),
        _ => ExitCode::FAILURE,
    }
}

/// Answers a command line that could not be read, or one that asks for help.
pub fn misuse(error: &clap::Error) -> ExitCode {
    // What was typed could not be read, so nobody else knows whether a script asked.
    let json = std::env::args_os().any(|argument| argument == "--json");
    if !error.use_stderr() || !json {
        let _ = error.print();
        return if error.use_stderr() {
            WRONG_USAGE.into()
        } else {
            ExitCode::SUCCESS
        };
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().skip_while(|word| *word == "error:").collect();
    print_json(
        "usage",
        &words.join(" "),
        Some("`fai help COMMAND` shows what a command takes"),
    );
    WRONG_USAGE.into()
}

fn print_json(kind: &str, message: &str, hint: Option<&str>) {
    let document = json!({ "error": { "kind": kind, "message": message, "hint": hint } });
    let _ = writeln!(io::stderr().lock(), "{document}");
}

/// The chain of causes in one line, without repeating what a cause already says.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            let gap = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{gap}{part}");
        }
        next = cause.source();
    }
    text
}

/// An error of one file among others that went well, as scripts are told of it.
pub fn document(error: &Error) -> Value {
    json!({ "kind": error.kind(), "message": chain(error), "hint": advice(error) })
}

/// Warns of errors of single files, in the words in which they would have stopped the command. Advice that several of
/// them share is given once.
pub fn warn_all(out: &Output, errors: &[Error]) {
    let mut hints = Vec::new();
    for error in errors {
        out.warn(chain(error));
        hints.extend(advice(error).filter(|hint| !hints.contains(hint)));
    }
    hints.iter().for_each(|hint| out.hint(hint));
}

fn core_error(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<Error>()
            .or_else(|| cause.downcast_ref::<Hinted>().map(|hinted| &hinted.error))
            .or_else(|| match cause.downcast_ref::<PeerError>() {
                Some(PeerError::Core(error)) => Some(error),
                _ => None,
            })
    })
}

fn kind(error: &anyhow::Error) -> &'static str {
    match error.chain().find_map(|cause| cause.downcast_ref::<PeerError>()) {
        Some(error) => error.kind(),
        None => core_error(error).map_or("error", Error::kind),
    }
}

fn peer_hint(error: &PeerError) -> Option<&'static str> {
    Some(match error {
        PeerError::LooseKey { .. } => {
            "whoever has read the key can pretend to be you: take the rights away with chmod go-rwx"
        }
        PeerError::BadKey(_) => "move it away: a new key, and with it a new peer id, is made at the next use",
        PeerError::BadSource { .. } => {
            "a source is a ticket (fai1...), a peer id (12D3KooW...), an address (/ip4/1.2.3.4/tcp/4001 or 1.2.3.4:4001), \
             with /NAME where several repositories are served, or a folder"
        }
        PeerError::Listen { .. } => "choose another one with --port or --listen",
        PeerError::NotFound(_) => {
            "is `fai serve` running there, on the same network? Across networks, a ticket or an address works, and so does \
             network.bootstrap set on both sides"
        }
        PeerError::NoDirectory { .. } => "is `fai serve --relay` running where `fai config network.bootstrap` points?",
        PeerError::Unreachable { .. } => "is `fai serve` running there, and does a firewall let its port through?",
        PeerError::Connection { .. } => "run the same command again: what has come already is kept",
        PeerError::WrongData { .. } => "`fai fsck --full` there finds the damage; another peer may have it right",
        PeerError::Refused {
            reason: Reason::Several,
            ..
        } => "name one: PEER/NAME",
        PeerError::Damaged { .. } => {
            "`fai fsck --full` there names the files that need these bytes; add them again from a good copy"
        }
        PeerError::Nowhere { kind: "commit", .. } => {
            "the peer's history may be cut there: another one may have all of it; `fai clone --depth N` takes less"
        }
        PeerError::Nowhere { kind: "file", .. } => {
            "`fai ls REV` there lists the ids of files; for a file of a commit write REV:PATH"
        }
        PeerError::Nowhere { .. } => {
            "the peer may hold only a part of the repository: ask one that has all of it; `fai fsck` there tells"
        }
        PeerError::Contradiction(_) => {
            "it is the commit that is wrong, whoever sends it, and nothing of it was kept: whoever made it must make it anew"
        }
        _ => return None,
    })
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(hinted) = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()) {
        return Some(hinted.hint.clone());
    }
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(full)) {
        return Some(NO_ROOM.to_owned());
    }
    let peer = error.chain().find_map(|cause| cause.downcast_ref::<PeerError>());
    if let Some(error) = peer.filter(|error| !matches!(error, PeerError::Core(_))) {
        return peer_hint(error).map(str::to_owned);
    }
    advice(core_error(error)?).map(str::to_owned)
}

/// What to do about an error.
fn advice(error: &Error) -> Option<&'static str> {
    let text = match error {
        error if error.is_full_disk() => NO_ROOM,
        Error::NotARepository(_) => "run `fai init` to make this folder a repository, or go into one",
        Error::Bare { .. } => "a bare repository only stores: clone it to work on its files",
        Error::UnknownRevision(_) => "`fai log --oneline` lists commits; a short id needs 4 digits or more",
        Error::NoParent { .. } => "`fai log --graph` shows how far the history goes back",
        Error::NoCommits(_) => "make the first one with `fai add` and `fai commit -m MESSAGE`",
        Error::Ambiguous { .. } => "type more digits of the one you mean",
        Error::NotInRevision { .. } => "`fai ls REV` lists what it holds",
        Error::NoSuchPath(_) => "`fai ls` lists tracked files, `fai status` what is in the worktree",
        Error::Exists(_) => "`--force` overwrites it, `-o FILE` writes another file",
        Error::NoSuchValue { .. } => {
            "`fai exp --all` shows what commits have; `fai commit --metric NAME=VALUE` gives one"
        }
        Error::NoSuchTensor { .. } => "`fai info` lists the tensors of a file",
        Error::Ignored(_) => "use `fai add --force` to add it all the same, or change .faiignore",
        Error::NothingToCommit => "stage changes with `fai add PATH` first; `fai status` shows what there is",
        Error::Underway { .. } => {
            "finish it with --continue, or end it with --abort; `fai status` shows where it stands"
        }
        Error::NothingUnderway => "`fai merge REV` begins one",
        Error::Undecided(_) => {
            "`fai resolve PATH --ours`, `--theirs` or `--tensors HOW` decides, and so does editing the file and `fai add PATH`"
        }
        Error::NotInConflict(_) => "`fai resolve` alone lists what is open",
        Error::StillInConflict { .. } => "`--ours` and `--theirs` always decide",
        Error::Unrelated(_) => "--allow-unrelated-histories merges them all the same",
        Error::LocalChanges(_) => {
            "commit or move them first; where the command has `--force`, `fai undo` brings them back after it"
        }
        Error::CannotKeep { .. } => {
            "make room or take the files away; `--force` goes on all the same, and they are lost"
        }
        Error::NothingToUndo(_) => "`fai op log` lists what commands changed here",
        Error::TooOld { .. } => "`fai reflog` lists where branches were; gc keeps what is newer than its --prune age",
        Error::ChangedSince { .. } => {
            "commit or move those first; `--force` overwrites them, after storing what files hold"
        }
        Error::RefExists { kind: "tag", .. } => "`fai tag --force` moves it",
        Error::RefExists { .. } => "`fai switch` goes there; `fai branch --force` moves it",
        Error::NoSuchRef { kind: "tag", .. } => "`fai tag` lists them",
        Error::NoSuchRef { .. } => "`fai branch --all` lists them",
        Error::RefInTheWay { .. } => "a name cannot be a branch or tag and a folder of others: choose another one",
        Error::CurrentBranch(_) => "`fai switch` to another one first",
        Error::Unmerged { .. } => "`fai branch -D` deletes it all the same; `fai undo` brings it back",
        Error::NoUpstream(_) => "`fai branch -u REMOTE/BRANCH` says what it follows",
        Error::ShortLog { .. } => "`fai reflog` lists them",
        Error::Unstable(_) => "wait until whatever writes it is done, then add it again",
        Error::NotEvicted { .. } => {
            "nothing is lost: `fai add --evict` tries it again; `fai fsck --full` checks what is stored"
        }
        Error::OnlyStaged(_) => {
            "`fai commit` keeps them, `fai checkout PATH` brings one back, `fai rm --force` gives them up"
        }
        Error::FalseFile(_) => "whoever made the commit lied about it, or their disk did: do not trust that copy",
        Error::Diverged { .. } => "`fai merge` joins both; `fai log --graph --all` shows where they part",
        Error::NoSuchBranch { .. } => "`fai push` makes it there, where you may push",
        Error::Busy(_) => "wait until another one is done",
        Error::BeingWritten(_) => {
            "an add, a commit or a transfer runs (a peer may be pushing to `fai serve`): run it again when that is done"
        }
        Error::BeingCollected(_) => "wait until it is done",
        Error::CannotCollect(_) => "`fai fsck` names everything that is missing and which files need it",
        Error::NoRoots { .. } => {
            "`fai fsck --rebuild` names lost commits again; then make sure that a branch leads to them"
        }
        Error::RefMoved(_) => "look at `fai log` and try again",
        Error::Cut(_) => "`fai pull --unshallow` brings the rest",
        Error::NotHere { .. } => {
            "when a peer that has it can be reached, run this again, or `fai remote add NAME PEER` first; `fai peers` looks around"
        }
        Error::Missing { .. } => "`fai fsck` says what else is missing and which files need it",
        Error::Storage(StorageError::Damaged { .. } | StorageError::NotAPack { .. }) => {
            "`fai fsck --full` names the files that need these bytes; add them again from a good copy"
        }
        Error::Storage(StorageError::Io {
            operation: "open",
            source,
            ..
        }) if source.kind() == io::ErrorKind::NotFound => "a pack is gone: `fai fsck` names the files that need it",
        Error::Database(DatabaseError::Newer { .. }) | Error::Storage(StorageError::Newer(_)) => {
            "use the newer fai that wrote this repository"
        }
        Error::Database(DatabaseError::Foreign(_) | DatabaseError::Damaged { .. }) => {
            "`fai fsck --rebuild` makes a new database from the packs"
        }
        Error::Path(PathError::Outside(_)) => "name a path inside the repository; `-C DIR` works in another one",
        Error::Path(_) | Error::BadTree { .. } => "rename it: the rules are in docs/format.md, under \"Tree\"",
        Error::BadConfig { .. } => "correct the file in an editor",
        Error::WrongKind { .. } | Error::BadCommit(_) | Error::Usage(_) => return None,
        Error::BadHead(_) => "`fai checkout main` writes it anew",
        _ => return None,
    };
    Some(text)
}
