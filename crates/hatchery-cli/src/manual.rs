//! `hatchery completions` and `hatchery man`: what a shell and `man(1)` want to know of the command.
//!
//! Both are made of the definition of the command line itself, so they know what `--help` knows.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;

use crate::Cli;

/// Print what a shell completes the command by.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: hatchery completions bash > ~/.local/share/bash-completion/completions/hatchery\n\
    Or:      hatchery completions zsh > ~/.zfunc/_hatchery\n\
    Or:      hatchery completions fish > ~/.config/fish/completions/hatchery.fish"
)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page, or write all pages to a folder.
#[derive(Debug, Args)]
#[command(after_help = "Example: hatchery man | man -l -\n\
    Or:      hatchery man --folder ~/.local/share/man/man1 && man hatchery-echo")]
pub(crate) struct ManArgs {
    /// Write a page for the command and one for each of its commands there, instead of printing the first
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Prints the completions.
pub(crate) fn completions(args: &CompletionsArgs) -> io::Result<ExitCode> {
    let mut command = visible();
    command.set_bin_name("hatchery");
    command.build();
    let mut script = Vec::new();
    args.shell.try_generate(&command, &mut script)?;
    print(&script)
}

/// Prints or writes the manual.
pub(crate) fn man(args: &ManArgs) -> io::Result<ExitCode> {
    let mut command = visible().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return print(&page);
    };
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the command line without the commands that are for the command itself.
fn visible() -> Command {
    let whole = Cli::command();
    let shown = whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let shown: Vec<Command> = shown.cloned().collect();
    let mut command = Command::new("hatchery")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true);
    if let Some(about) = whole.get_about() {
        command = command.about(about.clone());
    }
    if let Some(example) = whole.get_after_help() {
        command = command.after_help(example.clone());
    }
    command.subcommands(shown)
}

fn print(text: &[u8]) -> io::Result<ExitCode> {
    io::stdout().lock().write_all(text)?;
    Ok(ExitCode::SUCCESS)
}
