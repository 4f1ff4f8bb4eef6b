//! Contents that a command needs and that are not here, because the repository holds only a part: fetched at once,
//! before the work, from whoever is remembered or nearby. What is needed the command says; what is missing the core.

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{FileId, RepoPath};
use fai_core::repo::{AbsentFile, Config, Error};
use fai_network::Source;
use fai_network::fetch::{Remote, nearby};

use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers};
use crate::ui::Bar;
use crate::ui::format::size;

/// How people are told of so many files whose contents are not here.
pub fn not_here(files: usize) -> String {
    match files {
        1 => "1 file is not here (fai checkout PATH brings it)".to_owned(),
        files => format!("{files} files are not here (fai checkout PATH brings them)"),
    }
}

/// Makes sure that the contents of `files` are here.
pub fn ensure_present(
    context: &Context,
    repository: &Repository,
    files: impl IntoIterator<Item = AbsentFile>,
) -> Result<()> {
    let absent = repository.absent(files)?;
    if absent.is_empty() {
        return Ok(());
    }
    let bytes = absent.iter().map(|file| file.size).sum();
    let what = match absent.as_slice() {
        [one] => format!("{} ({})", name(one), size(bytes)),
        several => format!("{} files ({})", several.len(), size(bytes)),
    };
    context.out.aside(format!("Fetching {what}, not here yet..."));
    let reason = match context.offline() {
        true => "FAI_OFFLINE is set".to_owned(),
        false => match fetch(context, repository, &absent)? {
            None => return Ok(()),
            Some(reason) => reason,
        },
    };
    let files = absent.iter().map(name).collect();
    Err(Error::NotHere { files, reason }.into())
}

/// The same for one file.
pub fn ensure_file(context: &Context, repository: &Repository, file: FileId, path: Option<&RepoPath>) -> Result<()> {
    let size = repository.open_file(file)?.manifest().size;
    let path = path.cloned();
    ensure_present(context, repository, [AbsentFile { path, file, size }])
}

fn name(file: &AbsentFile) -> String {
    match &file.path {
        Some(path) => path.to_string(),
        None => file.file.short(),
    }
}

/// Asks the remembered peers, and when none of them has it all, whoever is nearby. Says why nobody brought it.
fn fetch(context: &Context, repository: &Repository, absent: &[AbsentFile]) -> Result<Option<String>> {
    let peers = Peers::asking(context)?;
    let mut reasons = Vec::new();
    for (name, source) in remembered(repository)? {
        let reached = peers.remote(&source).and_then(|remote| {
            remote.must_be(repository.id()?)?;
            Ok(peers.with_companions(remote))
        });
        match reached.and_then(|remotes| bring(context, &peers, repository, remotes, absent)) {
            Ok(()) => return Ok(None),
            Err(error) if error.is::<fai_network::Error>() => reasons.push(format!("{name}: {error}")),
            Err(error) => return Err(error),
        }
    }
    let found = peers.runtime.block_on(nearby(&peers.node, repository.id()?));
    if !found.is_empty() {
        match bring(context, &peers, repository, found, absent) {
            Ok(()) => return Ok(None),
            Err(error) if error.is::<fai_network::Error>() => reasons.push(format!("neighbours: {error}")),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(match reasons.is_empty() {
        true => "nobody is known who may have it".to_owned(),
        false => format!("nobody brings it: {}", reasons.join("; ")),
    }))
}

/// Remembered peers, the one that the repository was cloned from first.
fn remembered(repository: &Repository) -> Result<Vec<(String, Source)>> {
    let config = Config::read(&repository.config_path())?;
    let mut found = Vec::new();
    for (key, text) in config.entries() {
        let name = key
            .strip_prefix("remote.")
            .and_then(|rest| rest.strip_suffix(".source"));
        if let (Some(name), Ok(Some(source))) = (name, Source::parse(&text)) {
            found.push((name.to_owned(), source));
        }
    }
    found.sort_by_key(|(name, _)| name != DEFAULT_REMOTE);
    Ok(found)
}

fn bring(
    context: &Context,
    peers: &Peers,
    repository: &Repository,
    remotes: Vec<Remote>,
    absent: &[AbsentFile],
) -> Result<()> {
    let files: Vec<_> = absent.iter().map(|file| (file.file, file.size)).collect();
    let bar = Bar::new(context.out, "Receiving");
    let (quarantine, _) = peers.transfer(repository, remotes, &bar).contents(&files)?;
    repository.accept(quarantine, &[], context.now()?, "fetch contents", &bar)?;
    Ok(())
}
