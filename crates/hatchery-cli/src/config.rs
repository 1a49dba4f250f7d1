//! `hatchery config`: says whether a configuration is right, and what one may look like.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hatchery::{Config, ConfigError, Origin};

/// The exit code for a wrong configuration.
const USAGE: u8 = 2;

/// Check a configuration, or print what one may look like.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: hatchery config check hatchery.toml && kill -HUP $(cat echo.pid)\n\
    Or:      hatchery config schema > hatchery.schema.json\n\n\
    Exit codes: 0 right, 2 wrong; the message names the line, the key and what is allowed"
)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read a configuration as a server would, and say whether it is right
    Check {
        /// The file [default: hatchery.toml, if there is one]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the JSON schema of hatchery.toml, for editors
    Schema,
}

/// Does what the arguments say, and returns the exit code.
pub(crate) fn run(args: &ConfigArgs) -> io::Result<ExitCode> {
    let text = match &args.command {
        ConfigCommand::Schema => Config::schema(),
        ConfigCommand::Check { file } => match check(file.as_deref()) {
            Ok(text) => text,
            Err(error) => {
                crate::fail(&error);
                return Ok(ExitCode::from(USAGE));
            }
        },
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the configuration, with the environment, and says what it found.
fn check(file: Option<&Path>) -> Result<String, ConfigError> {
    let mut loader = Config::loader();
    match file {
        Some(file) => loader.file(file),
        None => loader.default_file(),
    };
    let config = loader.environment(std::env::vars_os()).load()?;
    let set = config.settings();
    let set = set.filter(|setting| !matches!(setting.origin, Origin::Default));
    let lines = set.map(|setting| {
        format!(
            "{} = {}  # {}\n",
            setting.key, setting.value, setting.origin
        )
    });
    let lines: String = lines.collect();
    Ok(format!("{lines}right: all else is as by default\n"))
}
