//! The command line: global options and the list of commands. What a command does is in `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    access, add, best, branch, cat, checkout, cherry_pick, chunks, clone, commit, completions, config, demo, diff, exp,
    fetch, fsck, gc, id, info, init, lineage, log, ls, merge, metrics, mv, op, peers, plot, pull, push, reflog, remote,
    repack, reset, resolve, restore, revert, rm, search, serve, show, stash, stats, status, switch, tag, undo, version,
};

/// Version control for AI models and their data, between peers, with no server that must exist.
#[derive(Debug, Parser)]
#[command(name = "fai", version, propagate_version = true)]
#[command(after_help = "Start with:\n  fai init\n  fai add models/\n  fai commit -m \"First model\"")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Run as if fai was started in DIR
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log what happens to stderr; twice for more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// The commands, in the order in which people meet them.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::Args),
    Add(add::Args),
    Status(status::Args),
    Commit(commit::Args),
    Log(log::Args),
    Exp(exp::Args),
    Metrics(metrics::Args),
    Best(best::Args),
    Plot(plot::Args),
    Lineage(lineage::Args),
    Search(search::Args),
    Show(show::Args),
    Diff(diff::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Checkout(checkout::Args),
    Branch(branch::Args),
    Switch(switch::Args),
    Tag(tag::Args),
    Reset(reset::Args),
    Restore(restore::Args),
    Stash(stash::Args),
    Merge(merge::Args),
    Resolve(resolve::Args),
    CherryPick(cherry_pick::Args),
    Revert(revert::Args),
    Rm(rm::Args),
    Mv(mv::Args),
    Undo(undo::UndoArgs),
    Redo(undo::RedoArgs),
    Op(op::Args),
    Reflog(reflog::Args),
    Info(info::Args),
    Chunks(chunks::Args),
    Stats(stats::Args),
    Fsck(fsck::Args),
    Gc(gc::Args),
    Repack(repack::Args),
    Config(config::Args),
    Serve(serve::Args),
    Clone(clone::Args),
    Pull(pull::Args),
    Push(push::Args),
    Fetch(fetch::Args),
    Peers(peers::Args),
    Remote(remote::Args),
    Access(access::Args),
    Id(id::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Version(version::Args),
}
