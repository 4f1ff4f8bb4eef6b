//! The commands: one file each, its arguments and its `run` beside each other.

pub mod access;
pub mod add;
pub mod best;
pub mod branch;
pub mod cat;
pub mod checkout;
pub mod cherry_pick;
pub mod chunks;
pub mod clone;
pub mod commit;
pub mod completions;
pub mod config;
pub mod demo;
pub mod diff;
pub mod exp;
pub mod fetch;
pub mod fsck;
pub mod gc;
pub mod id;
pub mod info;
pub mod init;
pub mod lineage;
pub mod log;
pub mod ls;
pub mod merge;
pub mod metrics;
pub mod mv;
pub mod news;
pub mod op;
pub mod peers;
pub mod plot;
pub mod pull;
pub mod push;
pub mod reflog;
pub mod remote;
pub mod repack;
pub mod reset;
pub mod resolve;
pub mod restore;
pub mod revert;
pub mod rm;
pub mod search;
pub mod serve;
pub mod show;
pub mod stash;
pub mod stats;
pub mod status;
pub mod switch;
pub mod tag;
pub mod undo;
pub mod version;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Command;
use crate::context::Context;

/// Runs a command.
pub fn run(command: Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Init(args) => args.run(context),
        Command::Add(args) => args.run(context),
        Command::Status(args) => args.run(context),
        Command::Commit(args) => args.run(context),
        Command::Log(args) => args.run(context),
        Command::Exp(args) => args.run(context),
        Command::Metrics(args) => args.run(context),
        Command::Best(args) => args.run(context),
        Command::Plot(args) => args.run(context),
        Command::Lineage(args) => args.run(context),
        Command::Search(args) => args.run(context),
        Command::Show(args) => args.run(context),
        Command::Diff(args) => args.run(context),
        Command::Ls(args) => args.run(context),
        Command::Cat(args) => args.run(context),
        Command::Checkout(args) => args.run(context),
        Command::Branch(args) => args.run(context),
        Command::Switch(args) => args.run(context),
        Command::Tag(args) => args.run(context),
        Command::Reset(args) => args.run(context),
        Command::Restore(args) => args.run(context),
        Command::Stash(args) => args.run(context),
        Command::Merge(args) => args.run(context),
        Command::Resolve(args) => args.run(context),
        Command::CherryPick(args) => args.run(context),
        Command::Revert(args) => args.run(context),
        Command::Rm(args) => args.run(context),
        Command::Mv(args) => args.run(context),
        Command::Undo(args) => args.run(context),
        Command::Redo(args) => args.run(context),
        Command::Op(args) => args.run(context),
        Command::Reflog(args) => args.run(context),
        Command::Info(args) => args.run(context),
        Command::Chunks(args) => args.run(context),
        Command::Stats(args) => args.run(context),
        Command::Fsck(args) => args.run(context),
        Command::Gc(args) => args.run(context),
        Command::Repack(args) => args.run(context),
        Command::Config(args) => args.run(context),
        Command::Serve(args) => args.run(context),
        Command::Clone(args) => args.run(context),
        Command::Pull(args) => args.run(context),
        Command::Push(args) => args.run(context),
        Command::Fetch(args) => args.run(context),
        Command::Peers(args) => args.run(context),
        Command::Remote(args) => args.run(context),
        Command::Access(args) => args.run(context),
        Command::Id(args) => args.run(context),
        Command::Demo(args) => args.run(context),
        Command::Completions(args) => args.run(context),
        Command::Version(args) => args.run(context),
    }?;
    Ok(ExitCode::SUCCESS)
}
