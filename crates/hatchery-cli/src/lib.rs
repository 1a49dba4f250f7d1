//! The `hatchery` command, as a function that any program can be.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to whoever typed it"
)]

mod bench;
mod config;
mod ctl;
mod echo;
mod manual;
mod peer;
mod top;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the command that the arguments of this program name.
///
/// Call it before the process has a second thread: it may become a server.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Echo(args) => Ok(echo::run(&args)),
        Command::Bench(args) => bench::run(&args).map_err(Box::from),
        Command::Ctl(args) => Ok(ctl::run(&args)),
        Command::Config(args) => config::run(&args).map_err(Box::from),
        Command::Completions(args) => manual::completions(&args).map_err(Box::from),
        Command::Man(args) => manual::man(&args).map_err(Box::from),
        Command::Top(args) => Ok(top::run(&args)),
        Command::Peer(args) => peer::run(&args).map_err(Box::from),
    };
    outcome.unwrap_or_else(|error| fail(&*error))
}

/// A pre-fork server framework's tools.
#[derive(Debug, Parser)]
#[command(
    name = "hatchery",
    version,
    after_help = "Example: hatchery echo --listen 127.0.0.1:7000 --workers 4"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Echo(echo::EchoArgs),
    Bench(bench::BenchArgs),
    Ctl(ctl::CtlArgs),
    Config(config::ConfigArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
    Top(top::TopArgs),
    #[command(hide = true)]
    Peer(peer::PeerArgs),
}

/// Prints an error and each of its causes, on one line.
fn fail(error: &dyn Error) -> ExitCode {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    eprintln!("error: {line}");
    ExitCode::FAILURE
}
