//! The load generator.
//!
//! It checks every byte of every reply, tells the ways in which a connection is lost apart, and
//! accounts for the CPU time of the server. Everything runs on one thread: generator and server
//! share the machine, and what the one takes the other lacks.

mod args;
mod client;
mod compare;
mod connect;
mod contestant;
mod cpu;
mod duration;
mod exchange;
mod failure;
mod load;
mod medians;
mod message;
mod pace;
mod plot;
mod progress;
mod report;
mod stream;
mod summary;
mod table;
mod tally;
mod target;

use std::io;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;

pub(crate) use args::BenchArgs;
use contestant::StartError;
pub(crate) use duration::parse as parse_duration;
use plot::PlotError;
use target::LoadError;

/// Descriptors that are not connections: the standard ones, the runtime's, the servers' pipes.
const OTHER_DESCRIPTORS: u64 = 64;

/// Measures and prints, and returns whether the servers did what they must.
///
/// # Errors
///
/// Returns [`BenchError`] if there is nothing to measure, or the result cannot be written.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, BenchError> {
    if let Some(path) = &args.plot {
        // Now, and not when all is measured.
        plot::check(path)?;
    }
    let clients = u64::from(args.load().clients());
    raise_descriptor_limit(clients + OTHER_DESCRIPTORS)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match &args.connect {
            Some(address) => connect::run(args, address).await,
            None => compare::run(args).await,
        }
    })
}

/// Why nothing could be measured, or told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// We may not open so many connections.
    #[error("{needed} descriptors are needed and the limit is {limit}; raise it with ulimit -n")]
    Descriptors { needed: u64, limit: u64 },
    /// A server to compare did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A server could not be measured.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The picture could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// The JSON could not be written.
    #[error("cannot write the result")]
    Json(#[from] serde_json::Error),
    /// The system refused something else.
    #[error("the system refused")]
    Os(#[from] io::Error),
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Lets us, and the servers we start, open as many descriptors as the system allows.
fn raise_descriptor_limit(needed: u64) -> Result<(), BenchError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(io::Error::from)?;
    match maximum {
        Some(limit) if limit < needed => Err(BenchError::Descriptors { needed, limit }),
        _ => Ok(()),
    }
}
