//! The `[server]` section: the sockets, and who gets what arrives on them.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::bind::BindAddress;
use super::error::ValueError;
use super::value::Choice;

/// The sockets of a server, and who gets what arrives on them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The addresses to listen on: at least one, and none twice.
    pub bind: Vec<BindAddress>,
    /// How many connections the kernel may hold that nobody has accepted yet.
    pub backlog: NonZeroU32,
    /// Whether systemd is to keep the listening sockets while the server is started again, so that
    /// nobody is refused meanwhile: not even if the main process is killed.
    ///
    /// This is for TCP ports and abstract names that the server bound itself. It takes
    /// `FileDescriptorStoreMax=` in the unit, and has no effect without systemd or under
    /// [`Dispatch::Direct`].
    pub fd_store: bool,
    /// How many connections may be open at once, over all workers.
    pub max_connections: NonZeroU32,
    /// What happens to a connection that no worker has room for.
    pub overload: Overload,
    /// What [`Overload::Reject`] writes before it closes; empty writes nothing.
    pub reject_message: String,
    /// How many accepted connections may wait for a worker with room; 0 lets none wait.
    ///
    /// Under [`Overload::Wait`] they wait in the kernel's queue instead.
    pub queue_length: u32,
    /// How long an accepted connection may wait before [`ServerConfig::overload`] is applied.
    ///
    /// [`Overload::Wait`] never gives up, so it has no use for this.
    pub queue_timeout: Duration,
    /// After how many deaths of workers a connection that may be why is closed, and those like it
    /// are refused; 0 is never.
    ///
    /// Alike are those of one peer address and one listener that begin with the same bytes.
    pub poison_after: u32,
    /// For how long such deaths are remembered, and such connections refused; never zero.
    pub poison_time: Duration,
    /// How a worker is chosen for a connection.
    pub dispatch: Dispatch,
    /// How the kernel schedules the front end and the workers that do not block.
    pub scheduling: Scheduling,
    /// Whether a connection is given to a worker only once its client has sent something, or has
    /// ended.
    ///
    /// Until then it stays in the front end, and counts among
    /// [`ServerConfig::max_connections`]. It does not go with [`Dispatch::Direct`].
    pub wait_for_data: bool,
    /// After what time [`ServerConfig::wait_for_data`] closes a connection whose client has sent
    /// nothing; 0 waits for ever.
    pub first_byte_timeout: Duration,
    /// After what time a connection that a handler has [parked](crate::Connection::park) is closed,
    /// if its client has sent nothing; 0 waits for ever.
    pub park_timeout: Duration,
    /// How long a new program that is to take over may take to become ready; never zero.
    pub upgrade_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: vec![BindAddress::Tcp(([127, 0, 0, 1], 8080).into())],
            backlog: const { NonZeroU32::new(1024).expect("1024 is not zero") },
            fd_store: false,
            max_connections: const { NonZeroU32::new(10_000).expect("10000 is not zero") },
            overload: Overload::Wait,
            reject_message: "server is busy\n".to_owned(),
            queue_length: 128,
            queue_timeout: Duration::from_secs(5),
            poison_after: 3,
            poison_time: Duration::from_secs(60),
            dispatch: Dispatch::LeastLoaded,
            scheduling: Scheduling::Batch,
            wait_for_data: false,
            first_byte_timeout: Duration::from_secs(30),
            park_timeout: Duration::ZERO,
            upgrade_timeout: Duration::from_secs(60),
        }
    }
}

/// What happens to a connection that no worker has room for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Overload {
    /// Stop accepting until a worker has room; the kernel holds what arrives.
    #[default]
    Wait,
    /// Write [`ServerConfig::reject_message`] and close.
    Reject,
    /// Reset the connection.
    Reset,
}

impl Choice for Overload {
    const ALL: &'static [Self] = &[Self::Wait, Self::Reject, Self::Reset];
    const WHAT: &'static str = "an overload policy";
    const ALLOWED: &'static str = r#""wait", "reject" or "reset""#;

    fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Reject => "reject",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Overload {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::from_name(text)
    }
}

/// How a worker is chosen for a connection.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Dispatch {
    /// The worker with the fewest connections gets the next one.
    #[default]
    LeastLoaded,
    /// The workers take turns.
    RoundRobin,
    /// One peer address always gets the same worker, while it lives.
    Hash,
    /// The workers accept for themselves, and the kernel chooses; only [`Overload::Wait`] goes
    /// with it.
    ///
    /// Nobody keeps a copy of what a worker has accepted: it is lost if that worker dies, even if
    /// its handler had not read or written yet.
    Direct,
}

impl Choice for Dispatch {
    const ALL: &'static [Self] = &[
        Self::LeastLoaded,
        Self::RoundRobin,
        Self::Hash,
        Self::Direct,
    ];
    const WHAT: &'static str = "a way to dispatch";
    const ALLOWED: &'static str = r#""least-loaded", "round-robin", "hash" or "direct""#;

    fn name(self) -> &'static str {
        match self {
            Self::LeastLoaded => "least-loaded",
            Self::RoundRobin => "round-robin",
            Self::Hash => "hash",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dispatch {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::from_name(text)
    }
}

/// How the kernel schedules the front end and the workers that do not block.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scheduling {
    /// As work that comes in batches (`SCHED_BATCH`): a fair share of the CPU as ever, but whoever
    /// is woken does not interrupt whoever runs.
    ///
    /// Under load more is done at each wake-up, which costs less CPU. Where others compute on the
    /// same CPUs and there is little load, an answer may come a little later.
    #[default]
    Batch,
    /// As any other program.
    Normal,
}

impl Choice for Scheduling {
    const ALL: &'static [Self] = &[Self::Batch, Self::Normal];
    const WHAT: &'static str = "a way to schedule";
    const ALLOWED: &'static str = r#""batch" or "normal""#;

    fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Normal => "normal",
        }
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scheduling {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::from_name(text)
    }
}
