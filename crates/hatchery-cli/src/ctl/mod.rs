//! `hatchery ctl`: asks a running server how it is, and tells it what to do.

mod show;

pub(crate) use self::show::{memory, time, workers as show_workers};

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hatchery::{Config, ConfigError};
use serde_json::{Value, json};

/// The version of what is said over the socket.
const VERSION: u32 = 1;

/// The exit code for a wrong command line or configuration.
const USAGE: u8 = 2;

/// Ask a running server how it is, and tell it what to do.
#[derive(Debug, Args)]
#[command(after_help = "Example: hatchery echo --control /tmp/echo.ctl\n\
    Then:    hatchery ctl --socket /tmp/echo.ctl status\n\
    Or:      hatchery ctl --socket /tmp/echo.ctl scale 8\n\n\
    Exit codes: 0 done, 1 refused by the server or no server there, 2 wrong command line or configuration")]
pub(crate) struct CtlArgs {
    /// The server's control socket [default: control.socket of the configuration]
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// The server's configuration file [default: hatchery.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print the server's answer as it is: lines of JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum CtlCommand {
    /// How the server is
    Status,
    /// How its workers are
    Workers,
    /// Have another number of workers
    Scale {
        /// How many: 1 to 1024
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
        workers: u32,
    },
    /// Read the configuration again; returns once new workers have taken over
    Reload,
    /// Replace a worker or all of them, each once its successor is ready
    Recycle {
        /// Which worker [default: all]
        #[arg(value_name = "ID")]
        worker: Option<u32>,
        /// Only if it is of this generation, and not a successor
        #[arg(long, value_name = "N", requires = "worker")]
        generation: Option<u32>,
    },
    /// Give a worker nothing more from now on; it finishes what it has
    Drain(Which),
    /// Kill a worker; what it has in hand is lost
    Kill(Which),
    /// Start the server's program anew; returns once it has taken over
    Upgrade,
    /// The configuration in force
    Config,
    /// All that happens from now on, until the server ends
    Events,
}

#[derive(Clone, Copy, Debug, Args)]
struct Which {
    /// Which worker
    #[arg(value_name = "ID")]
    worker: u32,
    /// Only if it is of this generation, and not a successor
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
}

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    #[error(
        "there is no control socket to be found; allowed: --socket PATH, or control.socket in the configuration"
    )]
    NoSocket,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot reach a server at {}: {source}", .path.display())]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("the server hung up")]
    HungUp,
    #[error("the server cannot be heard: {0}")]
    Broken(io::Error),
    #[error("the server says what is no answer: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Refused(String),
}

impl CtlError {
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::NoSocket | Self::Config(_))
    }
}

/// Says it to the server, and prints the answer.
pub(crate) fn run(args: &CtlArgs) -> ExitCode {
    exit_code(args.talk())
}

/// Says what went wrong, if anything did, and returns the exit code for it.
pub(crate) fn exit_code(outcome: Result<(), CtlError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if error.is_usage() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Finds the control socket: the one that is named, or that of the configuration.
pub(crate) fn find_socket(
    socket: Option<&Path>,
    config: Option<&Path>,
) -> Result<PathBuf, CtlError> {
    if let Some(path) = socket {
        return Ok(path.to_owned());
    }
    let mut loader = Config::loader();
    match config {
        Some(file) => loader.file(file),
        None => loader.default_file(),
    };
    let config = loader.environment(std::env::vars_os()).load()?;
    config.control.socket.ok_or(CtlError::NoSocket)
}

impl CtlArgs {
    fn talk(&self) -> Result<(), CtlError> {
        let path = find_socket(self.socket.as_deref(), self.config.as_deref())?;
        let mut stream =
            UnixStream::connect(&path).map_err(|source| CtlError::Unreachable { path, source })?;
        let request = format!("{}\n", self.command.request());
        // A server that refuses whoever it is says so without listening, and hangs up.
        let sent = stream.write_all(request.as_bytes());
        let mut answers = BufReader::new(stream);
        let answer = self.next_answer(&mut answers)?;
        sent.map_err(CtlError::Broken)?;
        let answer = answer.ok_or(CtlError::HungUp)?;
        if !matches!(self.command, CtlCommand::Events) {
            return self.print(&answer);
        }
        while let Some(event) = self.next_answer(&mut answers)? {
            self.print(&event)?;
        }
        Ok(())
    }

    fn next_answer(&self, answers: &mut impl BufRead) -> Result<Option<Value>, CtlError> {
        let mut line = String::new();
        if answers.read_line(&mut line).map_err(CtlError::Broken)? == 0 {
            return Ok(None);
        }
        let answer: Value =
            serde_json::from_str(&line).map_err(|_| CtlError::Unreadable(line.clone()))?;
        match &answer["error"]["message"] {
            Value::String(message) => {
                if self.json {
                    self.print(&answer)?;
                }
                Err(CtlError::Refused(message.clone()))
            }
            _ => Ok(Some(answer)),
        }
    }

    fn print(&self, answer: &Value) -> Result<(), CtlError> {
        let text = if self.json {
            format!("{answer}\n")
        } else {
            self.command.show(answer)
        };
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        match written {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CtlError::HungUp),
            other => other.map_err(CtlError::Broken),
        }
    }
}

impl CtlCommand {
    fn request(self) -> Value {
        let plain = |name: &str| json!({ "v": VERSION, "do": name });
        let about = |name: &str, which: Which| {
            let Which { worker, generation } = which;
            json!({ "v": VERSION, "do": name, "worker": worker, "generation": generation })
        };
        match self {
            Self::Status => plain("status"),
            Self::Workers => plain("workers"),
            Self::Reload => plain("reload"),
            Self::Upgrade => plain("upgrade"),
            Self::Config => plain("config"),
            Self::Events => plain("events"),
            Self::Scale { workers } => json!({ "v": VERSION, "do": "scale", "workers": workers }),
            Self::Recycle { worker: None, .. } => plain("recycle"),
            Self::Recycle {
                worker: Some(worker),
                generation,
            } => about("recycle", Which { worker, generation }),
            Self::Drain(which) => about("drain", which),
            Self::Kill(which) => about("kill", which),
        }
    }

    fn show(self, answer: &Value) -> String {
        let ok = &answer["ok"];
        match self {
            Self::Status => show::status(ok),
            Self::Workers => show::workers(ok),
            Self::Config => ok.as_str().unwrap_or_default().to_owned(),
            Self::Events => show::event(&answer["event"]),
            Self::Scale { .. } => format!("{} workers are wanted\n", ok["wanted"]),
            Self::Reload => format!("reloaded, with {} workers\n", ok["wanted"]),
            Self::Upgrade => format!("upgraded, the main process is {} now\n", ok["pid"]),
            Self::Recycle { .. } => show::about("being replaced", ok),
            Self::Drain(_) => show::about("draining", ok),
            Self::Kill(_) => show::about("killed", ok),
        }
    }
}
