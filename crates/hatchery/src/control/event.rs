//! What happens to a server and its workers.

use serde::Serialize;

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
/// draining, exited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerEvent {
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
    /// A worker gets nothing more.
    #[non_exhaustive]
    WorkerDraining {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
    },
    /// A worker is gone.
    #[non_exhaustive]
    WorkerExited {
        /// Its number.
        worker: u32,
        /// How many workers were started before it.
        generation: u32,
        /// Its process id, if there was a process.
        pid: Option<u32>,
        /// How it ended, in words.
        how: String,
        /// What was wrong with it before, if anything was.
        complaint: Option<String>,
        /// Whether it was meant to end.
        is_expected: bool,
        /// How many connections were lost with it.
        in_hand: u32,
        /// How many went to other workers.
        passed_on: usize,
        /// How many it had been given.
        served: u32,
        /// How many milliseconds there had been this worker.
        age_ms: u64,
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
    /// The server accepts nothing more.
    Stopping,
    /// Whoever reads this was too slow, and so many events are lost to them.
    Missed {
        /// How many.
        events: u64,
    },
}
