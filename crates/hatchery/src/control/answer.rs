//! What a server says of itself.

use serde::Serialize;

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// It serves, by the settings that it has.
    Serving,
    /// It serves, and workers by other settings are on their way.
    Reloading,
    /// It serves, and a new program that is to take over is on its way.
    Upgrading,
    /// It accepts nothing more, and its workers finish what they have.
    Draining,
    /// Its workers are being killed.
    Ending,
}

/// Whether workers that die are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BreakerState {
    /// They are.
    Closed,
    /// They are not, for too many have died; whoever lives works on.
    Open,
    /// One is, to see whether it lasts.
    HalfOpen,
}

/// A server at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerStatus {
    /// The version of this library.
    pub version: &'static str,
    /// The process id of the main process: the one to signal.
    pub pid: u32,
    /// What it is doing.
    pub phase: Phase,
    /// For how many milliseconds it has run.
    pub uptime_ms: u64,
    /// How often it has been reloaded.
    pub reloads: u32,
    /// Where it listens, in the order of the configuration.
    pub addresses: Vec<String>,
    /// Where its admin listener is, if it has one.
    pub admin: Option<String>,
    /// How many workers there should be.
    pub wanted: usize,
    /// How many are ready, with those that wait to be replaced.
    pub ready: usize,
    /// How many have been started and are not ready yet.
    pub starting: usize,
    /// How many get nothing more and finish what they have.
    pub draining: usize,
    /// How many connections workers have.
    pub connections: u64,
    /// How many accepted connections wait in the front end for their clients' first bytes.
    pub silent: usize,
    /// How many connections their handlers have parked, to wait for more from their clients.
    pub parked: usize,
    /// How many accepted connections wait for a worker with room.
    pub waiting: usize,
    /// Whether workers that die are replaced.
    pub breaker: BreakerState,
    /// How many connections were accepted so far; under direct dispatch, 0.
    pub accepted: u64,
    /// How many workers were started so far.
    pub started: u32,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WorkerState {
    /// It gets nothing yet.
    Starting,
    /// It is used.
    Ready,
    /// It is used until its successor is ready.
    Retiring,
    /// It gets nothing more, and finishes what it has.
    Draining,
}

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its number, as in the log and in [`Worker::id`](crate::Worker::id).
    pub worker: u32,
    /// How many workers were started before it: no other ever has the same.
    pub generation: u32,
    /// Its process id, once there is a process.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: WorkerState,
    /// How many connections it has; under direct dispatch, 0.
    pub connections: u32,
    /// How many it was given so far.
    pub served: u32,
    /// For how many milliseconds there has been this worker.
    pub age_ms: u64,
    /// Its resident memory, if it can be looked at.
    pub memory_bytes: Option<u64>,
}

/// That something was begun, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Accepted {
    /// How many workers the server will have.
    pub wanted: usize,
    /// The workers that it is about.
    pub workers: Vec<u32>,
}

/// That a new program has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Upgraded {
    /// The process id of its main process.
    pub pid: u32,
}

/// An answer of any kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Status(ServerStatus),
    Workers(Vec<WorkerStatus>),
    Accepted(Accepted),
    Upgraded(Upgraded),
    Config(String),
}
