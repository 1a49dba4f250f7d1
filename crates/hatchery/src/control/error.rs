//! Why a server did not do what it was told.

use crate::config::{ConfigError, Origin};
use crate::error::{BindError, Error};
use crate::upgrade::UpgradeError;

/// Why a server did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no server any more.
    #[error("the server has ended")]
    Ended,
    /// The server is about to end.
    #[error("the server is stopping; allowed until it has: status, workers, config, events, kill")]
    Stopping,
    /// There is no such worker.
    #[error("there is no worker {worker}; allowed: {allowed}")]
    UnknownWorker {
        /// The number that was given.
        worker: u32,
        /// The numbers of those that there are.
        allowed: String,
    },
    /// The worker that was meant is gone, and another has its number.
    #[error("worker {worker} is of generation {actual} now; allowed: that, or no generation")]
    OtherGeneration {
        /// The number that was given.
        worker: u32,
        /// The generation of the worker that has it now.
        actual: u32,
    },
    /// The worker is starting, or goes already.
    #[error("worker {worker} is not ready or leaves already; allowed: a worker that is ready")]
    NotReady {
        /// The number that was given.
        worker: u32,
    },
    /// So many workers cannot be.
    #[error("there cannot be {0} workers; allowed: 1 to 1024")]
    Count(u32),
    /// Workers that accept for themselves have a socket each.
    #[error(
        "under dispatch = \"direct\" each worker has a socket of its own, and their number is \
         fixed; allowed: another dispatch, or a restart with workers.count"
    )]
    Direct,
    /// The server has never had all its workers.
    #[error("the server is starting; allowed once all its workers have been ready")]
    Starting,
    /// Another reload has not come to its end.
    #[error("a reload is underway; allowed once it is over")]
    Reloading,
    /// A new program that is to take over is on its way.
    #[error("an upgrade is underway; allowed once it is over")]
    Upgrading,
    /// No new program has taken over; the server goes on as it was.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The new configuration is wrong; the server goes on as it was.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The new configuration changes what only a restart can; the server goes on as it was.
    #[error("{origin}: {key} cannot change while the server runs; allowed: a restart")]
    NeedsRestart {
        /// The key.
        key: &'static str,
        /// Where it was set.
        origin: Origin,
    },
    /// A new address cannot be listened on; the server goes on as it was.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The new workers did not become ready; the server goes on as it was.
    #[error("the new workers failed, and the old ones stay: {0}")]
    Workers(#[source] Box<Error>),
}

impl ControlError {
    /// What kind of error it is, in one word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Stopping => "stopping",
            Self::UnknownWorker { .. } => "unknown-worker",
            Self::OtherGeneration { .. } => "other-generation",
            Self::NotReady { .. } => "not-ready",
            Self::Count(_) => "count",
            Self::Direct => "direct",
            Self::Starting => "starting",
            Self::Reloading => "reloading",
            Self::Upgrading => "upgrading",
            Self::Upgrade(_) => "upgrade",
            Self::Config(_) => "config",
            Self::NeedsRestart { .. } => "needs-restart",
            Self::Bind(_) => "bind",
            Self::Workers(_) => "workers",
        }
    }
}
