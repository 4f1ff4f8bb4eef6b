//! What is new at remembered peers, without merging any of it: for `fai fetch` and `fai remote update`.

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, Id};
use fai_core::repo::{Config, Error, RefMove, Upstream};
use fai_network::Folder;
use fai_network::fetch::{FetchReport, fetch_from};
use serde_json::{Value, json};

use crate::context::Context;
use crate::peers::{Peers, Place, place, transferred};
use crate::ui::errors::Hinted;
use crate::ui::format::{FROM_A_FOLDER, OVER_THE_WIRE, traffic};
use crate::ui::{Bar, Symbol};

/// True when a peer or folder is remembered under this name.
pub fn is_remembered(repository: &Repository, name: &str) -> Result<bool> {
    let config = Config::read(&repository.config_path())?;
    Ok(config.get(&format!("remote.{name}.source")).is_some())
}

/// Brings the commits of all branches of a remembered peer, and tags that are not here, and takes note of where they are.
pub fn update(context: &Context, repository: &Repository, name: &str) -> Result<Value> {
    if !is_remembered(repository, name)? {
        let error = Error::Usage(format!("no peer is remembered as {name:?}"));
        let hint =
            "`fai remote add NAME SOURCE` remembers one; `fai fetch SOURCE FILE` takes a single file from anywhere";
        return Err(Hinted::new(error, hint).into());
    }
    let known = repository.remote_refs()?;
    let (refs, (quarantine, report), how) = match place(context, Some(repository), name)? {
        Place::Peer(source) => {
            let peers = Peers::asking(context)?;
            let mut remote = peers.remote(&source)?;
            remote.must_be(repository.id()?)?;
            let refs = peers.runtime.block_on(remote.refs())?;
            let wants = missing(repository, &refs)?;
            let remotes = match wants.is_empty() {
                true => vec![remote],
                false => peers.with_companions(remote),
            };
            let bar = Bar::new(context.out, "Receiving");
            let brought = peers.transfer(repository, remotes, &bar).commits(&wants)?;
            (refs, brought, OVER_THE_WIRE)
        }
        Place::Folder(folder) => {
            let source = Folder::open(&folder)?;
            source.must_be(repository.id()?)?;
            let refs = source.refs()?;
            let bar = Bar::new(context.out, "Copying");
            let wants = missing(repository, &refs)?;
            let brought = fetch_from(&source.repository, repository, &wants, None, &bar)?;
            (refs, brought, FROM_A_FOLDER)
        }
    };
    let (tags, bar) = (new_tags(repository, &refs)?, Bar::new(context.out, "Writing"));
    repository.accept(quarantine, &tags, context.now()?, "fetch", &bar)?;
    drop(bar);
    repository.remember_remote(name, &refs, context.now()?)?;
    say(context, repository, name, &known, (&report, how))
}

fn missing(repository: &Repository, refs: &[(String, CommitId)]) -> Result<Vec<CommitId>> {
    let mut wants = Vec::new();
    for (_, commit) in refs {
        if !repository.store().has(commit.hash())? && !wants.contains(commit) {
            wants.push(*commit);
        }
    }
    Ok(wants)
}

/// Tags there that are not here.
pub fn new_tags(repository: &Repository, refs: &[(String, CommitId)]) -> Result<Vec<RefMove>> {
    let ours = repository.refs()?;
    let new = |(name, _): &&(String, CommitId)| {
        name.starts_with("refs/tags/") && !ours.iter().any(|(known, _)| known == name)
    };
    let moves = refs.iter().filter(new).map(|(name, commit)| RefMove {
        name: name.clone(),
        before: None,
        after: Some(*commit),
    });
    Ok(moves.collect())
}

/// Which branches moved.
fn say(
    context: &Context,
    repository: &Repository,
    name: &str,
    before: &[(String, CommitId)],
    (report, how): (&FetchReport, &str),
) -> Result<Value> {
    let within = format!("refs/remotes/{name}/");
    let after = repository.remote_refs()?;
    let mut moved = Vec::new();
    for (full, commit) in after.iter().filter(|(full, _)| full.starts_with(&within)) {
        let old = before
            .iter()
            .find(|(known, _)| known == full)
            .map(|(_, commit)| *commit);
        if old == Some(*commit) {
            continue;
        }
        let shown = Upstream::of_tracking(full)
            .map(|upstream| upstream.name())
            .unwrap_or_default();
        let from = old.map_or_else(|| "new".to_owned(), |old| format!("{}..", old.short()));
        context
            .out
            .say(Symbol::Inbox, format!("{shown}  {from} {}", commit.short()))?;
        moved.push(json!({
            "name": shown, "before": old.map(|old| old.to_string()), "after": commit.to_string(),
        }));
    }
    for (full, commit) in before.iter().filter(|(full, _)| full.starts_with(&within)) {
        if !after.iter().any(|(known, _)| known == full) {
            let shown = Upstream::of_tracking(full)
                .map(|upstream| upstream.name())
                .unwrap_or_default();
            context.out.say(Symbol::Inbox, format!("{shown}  is gone there"))?;
            moved.push(json!({ "name": shown, "before": commit.to_string(), "after": null }));
        }
    }
    match moved.is_empty() {
        true => context.out.say(Symbol::Done, format!("Nothing new at {name}"))?,
        false => context.out.say(Symbol::Item, traffic(report, how))?,
    }
    Ok(transferred([("remote", name.into()), ("moved", moved.into())], report))
}
