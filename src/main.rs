//! The `fai` program: parses the command line, runs one command, turns its result into an exit code.

mod allocator;
mod cli;
mod code;
mod commands;
mod context;
mod experiments;
mod known;
mod peers;
mod present;
mod ui;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ui::errors::misuse(&error),
    };
    ui::logging::start(cli.global.verbose);
    let json = cli.global.json;
    let result = context::Context::new(&cli.global).and_then(|context| commands::run(cli.command, &context));
    match result {
        Ok(code) => code,
        Err(error) => ui::errors::report(&error, json),
    }
}
