//! What happens to a server and its workers.

use serde::Serialize;

use super::exit::WorkerExit;

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Retirement {
    /// It has served as many connections as it may.
    Connections,
    /// It is as old as it may be.
    Age,
    /// It uses more memory than it may.
    Memory,
    /// It has more descriptors open than it may.
    Descriptors,
    /// It said so itself.
    OwnWish,
    /// Somebody wished it through [`Control`](crate::Control).
    Control,
}

impl Retirement {
    /// Why, as one word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Age => "age",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::OwnWish => "own-wish",
            Self::Control => "control",
        }
    }

    /// Why, as the log says it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Connections => "it has served its connections",
            Self::Age => "it is old enough",
            Self::Memory => "it uses more memory than it may",
            Self::Descriptors => "it has more descriptors open than it may",
            Self::OwnWish => "it wishes to",
            Self::Control => "it was told to",
        }
    }
}

/// Something that happened to a server or to one of its workers.
///
/// A worker's events come in this order, of which some may be left out: started, ready, retiring,
/// draining, exited. Whether it stalls, or a handler of it takes too long, is told in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerEvent {
    /// The server listens, and starts its first workers.
    #[non_exhaustive]
    Starting {
        /// Where it listens.
        addresses: Vec<String>,
        /// How many workers it will have.
        workers: usize,
    },
    /// All workers are ready for the first time.
    Ready {
        /// Where the server listens.
        addresses: Vec<String>,
    },
    /// A worker has a process.
    #[non_exhaustive]
    WorkerStarted {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
        /// Its process id.
        pid: u32,
    },
    /// A worker can be used.
    #[non_exhaustive]
    WorkerReady {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
    },
    /// A worker is to be replaced, and works on until its successor is ready.
    #[non_exhaustive]
    WorkerRetiring {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
        /// Why.
        why: Retirement,
    },
    /// A worker's event loop does not turn: it gets nothing until it does, unless workers accept
    /// for themselves.
    #[non_exhaustive]
    WorkerStalled {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
    },
    /// It turns again.
    #[non_exhaustive]
    WorkerTurning {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
    },
    /// It has stood still for too long, and the worker is killed.
    #[non_exhaustive]
    StallTimeout {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
        /// Where it is, in words, as [`SoftDeadline::place`](crate::SoftDeadline::place).
        place: String,
    },
    /// A handler is past its soft deadline.
    #[non_exhaustive]
    SoftDeadline {
        /// The number of its worker.
        worker: u32,
        /// How many workers were started before that.
        generation: u32,
        /// The number of its connection.
        connection: u64,
        /// By which of the server's addresses that came in, counted from 0.
        listener: u16,
        /// Who is at the other end.
        peer: String,
        /// For how many milliseconds the handler has had it.
        age_ms: u64,
        /// Where the worker is, in words.
        place: String,
    },
    /// A handler is past its hard deadline, and its worker is killed.
    #[non_exhaustive]
    HardDeadline {
        /// The number of its worker.
        worker: u32,
        /// How many workers were started before that.
        generation: u32,
        /// The number of its connection.
        connection: u64,
        /// Where the worker is, in words.
        place: String,
    },
    /// A worker gets nothing more.
    #[non_exhaustive]
    WorkerDraining {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
    },
    /// A worker is gone.
    WorkerExited(WorkerExit),
    /// Too many workers have died: none is replaced for a while, and whoever lives works on.
    #[non_exhaustive]
    BreakerOpened {
        /// How many have died within the window.
        deaths: usize,
        /// After how many milliseconds one is tried; sooner if none is left.
        pause_ms: u64,
        /// How many workers are ready.
        ready: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// One worker is started, to see whether it lasts.
    BreakerTrying,
    /// The one that was tried has died as well.
    #[non_exhaustive]
    BreakerTrialFailed {
        /// After how many milliseconds another is tried; sooner if none is left.
        pause_ms: u64,
    },
    /// The one that was tried lasts, or a reload has replaced it: all workers are started again.
    BreakerClosed,
    /// Workers have died of a connection, and those like it are refused for a while.
    #[non_exhaustive]
    Poisoned {
        /// The address that it came from, without the port, if it has one.
        peer: Option<String>,
        /// By which of the server's addresses it came in, counted from 0.
        listener: u16,
        /// The hash of its first bytes.
        first_bytes: String,
        /// How many workers died of such connections.
        deaths: u32,
    },
    /// Nobody had room for connections: told at the first, and then once a second.
    #[non_exhaustive]
    Overloaded {
        /// Why, as the log says it.
        why: &'static str,
        /// How many connections it was since this was told last for the same reason.
        connections: u64,
    },
    /// Another number of workers is wanted.
    #[non_exhaustive]
    Scaled {
        /// How many there were to be.
        from: usize,
        /// How many there are to be.
        to: usize,
    },
    /// Workers by a new configuration are being started.
    Reloading,
    /// They have taken over.
    Reloaded,
    /// They have not, and the server goes on as it was.
    ReloadFailed {
        /// Why.
        reason: String,
    },
    /// A new program that is to take over is being started.
    Upgrading,
    /// It has taken over, and this one finishes what it has.
    #[non_exhaustive]
    Upgraded {
        /// The process id of its main process.
        pid: u32,
    },
    /// It has not, and the server goes on as it was.
    UpgradeFailed {
        /// Why.
        reason: String,
    },
    /// The server accepts nothing more.
    Stopping,
    /// Whoever reads this was too slow, and so many events are lost to them.
    Missed {
        /// How many.
        events: u64,
    },
}
