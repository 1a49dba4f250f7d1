//! The table of all keys: the one place that says how each is called, read, shown and described.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::admin::AdminConfig;
use super::bind::BindAddress;
use super::error::{ConfigError, ValueError};
use super::given::{Given, Refusal};
use super::log::LogFormat;
use super::server::{Dispatch, Overload, Scheduling};
use super::size::ByteSize;
use super::value::{Choice, Value};
use super::workers::{MemoryMeasure, WorkerCount};

/// One key of the configuration: what a reference says about it.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    path: &'static str,
    kind: ValueKind,
    limits: (u64, u64),
    allowed: &'static str,
    summary: &'static str,
    choices: fn() -> Vec<&'static str>,
    read: Read,
    show: fn(&Config) -> String,
}

/// Reads into a configuration what a source gave, if it is within the limits.
type Read = fn(&mut Config, &Given, (u64, u64)) -> Result<(), Refusal>;

/// What type of value a key has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ValueKind {
    /// A TOML boolean.
    Boolean,
    /// A TOML integer.
    Integer,
    /// A string of any text.
    Text,
    /// A string with a duration, such as `1m30s`.
    Duration,
    /// A string with a size, such as `512MiB`, or an integer of bytes.
    Size,
    /// A string with one of [`ConfigKey::choices`].
    Choice,
    /// A string with a [`WorkerCount`], or an integer.
    WorkerCount,
    /// A string with the path of a file, or an empty one.
    Path,
    /// A string with a [`BindAddress`] of this machine alone, or an empty one.
    LocalAddress,
    /// An array of strings, each a [`BindAddress`].
    Addresses,
}

impl ConfigKey {
    /// Returns the key with its section, such as `server.bind`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns the section, such as `server`.
    pub fn section(&self) -> &'static str {
        self.split().0
    }

    /// Returns the key within its section, such as `bind`.
    pub fn name(&self) -> &'static str {
        self.split().1
    }

    /// Returns the environment variable that sets it, such as `HATCHERY_SERVER_BIND`.
    pub fn variable(&self) -> String {
        let path = self.path.replace('.', "_").to_ascii_uppercase();
        format!("HATCHERY_{path}")
    }

    /// Returns the type of its value.
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Returns the least and the greatest value.
    ///
    /// That is the integer itself, the microseconds of a duration or the bytes of a size; the
    /// other kinds have none.
    pub fn limits(&self) -> Option<RangeInclusive<u64>> {
        use ValueKind::{Duration, Integer, Size};
        let (min, max) = self.limits;
        matches!(self.kind, Integer | Duration | Size).then_some(min..=max)
    }

    /// Lists the values of a [`ValueKind::Choice`]; the other kinds have none.
    pub fn choices(&self) -> Vec<&'static str> {
        (self.choices)()
    }

    /// Says in words what its value may be.
    pub fn allowed(&self) -> &'static str {
        self.allowed
    }

    /// Says in one sentence what it is for.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Returns the value that it has if no source sets it, as TOML.
    pub fn default_value(&self) -> String {
        self.show(&Config::default())
    }

    /// Finds the key of this path.
    pub(super) fn named(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// Lists the keys of a section.
    pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static Self> {
        KEYS.iter().filter(move |key| key.section() == section)
    }

    /// Reads into `config` what a source gave.
    pub(super) fn read(&self, config: &mut Config, given: &Given) -> Result<(), ConfigError> {
        (self.read)(config, given, self.limits).map_err(|refusal| ConfigError::Invalid {
            origin: refusal.origin,
            key: self.path,
            error: Box::new(ValueError {
                value: refusal.value,
                problem: refusal.problem,
                allowed: self.allowed,
            }),
        })
    }

    /// Writes the value that `config` has for it as TOML.
    pub(super) fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }

    fn split(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').expect("a path has a section")
    }
}

/// The sections, in the order in which they are printed.
pub(super) const SECTIONS: [&str; 5] = ["server", "workers", "control", "admin", "log"];

type Addresses = Vec<BindAddress>;

/// No limits but those of the type.
const ANY: (u64, u64) = (0, u64::MAX);

/// Writes a row of the table: the field, its type and limits, what is allowed, what it is for.
macro_rules! key {
    ($section:ident . $name:ident, $type:ty, $limits:expr, $allowed:expr, $summary:literal) => {
        ConfigKey {
            path: concat!(stringify!($section), ".", stringify!($name)),
            kind: <$type as Value>::KIND,
            limits: $limits,
            allowed: $allowed,
            summary: $summary,
            choices: <$type as Value>::choices,
            read: |config, given, limits| {
                config.$section.$name = Value::read(given, limits)?;
                Ok(())
            },
            show: |config| Value::show(&config.$section.$name),
        }
    };
}

/// Every key, section by section.
pub(super) const KEYS: &[ConfigKey] = &[
    key!(
        server.bind,
        Addresses,
        ANY,
        BindAddress::ALLOWED_LIST,
        "The addresses to listen on."
    ),
    key!(
        server.backlog,
        NonZeroU32,
        (1, 65_535),
        "1 to 65535",
        "How many connections the kernel may hold that nobody has accepted yet."
    ),
    key!(
        server.fd_store,
        bool,
        ANY,
        "true or false",
        "Whether systemd keeps the TCP ports and abstract names that the server bound while it is started again, so that nobody is refused; takes FileDescriptorStoreMax= in the unit. No effect without systemd, and none under \"direct\"."
    ),
    key!(
        server.max_connections,
        NonZeroU32,
        (1, 4_294_967_295),
        "1 to 4294967295",
        "How many connections may be open at once, over all workers."
    ),
    key!(
        server.overload,
        Overload,
        ANY,
        Overload::ALLOWED,
        "What happens to a connection that no worker has room for: it waits in the kernel, gets reject_message, or is reset."
    ),
    key!(
        server.reject_message,
        String,
        ANY,
        "any string",
        "What overload = \"reject\" writes before it closes; empty writes nothing."
    ),
    key!(
        server.queue_length,
        u32,
        (0, 4_294_967_295),
        "0 (none) to 4294967295",
        "How many accepted connections may wait for a worker with room."
    ),
    key!(
        server.queue_timeout,
        Duration,
        ANY,
        r#"a number and a unit (us, ms, s, m, h), such as "5s""#,
        "How long an accepted connection may wait before overload = \"reject\" or \"reset\" is applied to it."
    ),
    key!(
        server.poison_after,
        u32,
        (0, 1000),
        "0 (never) to 1000",
        "After how many deaths of workers a connection that may be why is closed, and those of the same peer and first bytes are refused."
    ),
    key!(
        server.poison_time,
        Duration,
        (1, u64::MAX),
        r#"more than 0: a number and a unit (us, ms, s, m, h), such as "1m""#,
        "For how long such deaths are remembered, and such connections refused."
    ),
    key!(
        server.dispatch,
        Dispatch,
        ANY,
        Dispatch::ALLOWED,
        "How a worker is chosen for a connection; under \"direct\" the workers accept for themselves, and what one has accepted dies with it."
    ),
    key!(
        server.scheduling,
        Scheduling,
        ANY,
        Scheduling::ALLOWED,
        "How the kernel schedules the front end and the workers that do not block."
    ),
    key!(
        server.wait_for_data,
        bool,
        ANY,
        "true or false",
        "Whether a connection is given to a worker only once its client has sent something, or has ended; not under \"direct\"."
    ),
    key!(
        server.first_byte_timeout,
        Duration,
        ANY,
        r#""0s" (never), or a number and a unit (us, ms, s, m, h), such as "30s""#,
        "After what time wait_for_data closes a connection whose client has sent nothing."
    ),
    key!(
        server.park_timeout,
        Duration,
        ANY,
        r#""0s" (never), or a number and a unit (us, ms, s, m, h), such as "5m""#,
        "After what time a parked connection is closed whose client has sent nothing."
    ),
    key!(
        server.upgrade_timeout,
        Duration,
        (1, u64::MAX),
        r#"more than 0: a number and a unit (us, ms, s, m, h), such as "60s""#,
        "How long a new program that is to take over may take to become ready."
    ),
    key!(
        workers.count,
        WorkerCount,
        ANY,
        WorkerCount::ALLOWED,
        "How many workers there are; auto is one for each CPU that the affinity and the cgroup allow."
    ),
    key!(
        workers.max_concurrency,
        NonZeroU32,
        (1, 1_048_576),
        "1 to 1048576",
        "How many connections one worker may have at once."
    ),
    key!(
        workers.max_connections,
        u64,
        (0, i64::MAX.unsigned_abs()),
        "0 (never) to 9223372036854775807",
        "After how many connections, give or take some jitter, a worker is recycled."
    ),
    key!(
        workers.max_memory,
        ByteSize,
        ANY,
        r#""0" (never), or a number of bytes with or without a unit (KiB, MiB, GiB, TiB, KB, MB, GB, TB), such as "512MiB""#,
        "Above how much memory a worker is recycled; more than it takes when it starts."
    ),
    key!(
        workers.memory_measure,
        MemoryMeasure,
        ANY,
        MemoryMeasure::ALLOWED,
        "What of a worker's memory counts for max_memory: all that is resident, or of what several processes share only its share, which costs more to find out."
    ),
    key!(
        workers.max_age,
        Duration,
        ANY,
        r#""0s" (never), or a number and a unit (us, ms, s, m, h), such as "12h""#,
        "After what time, give or take some jitter, a worker is recycled."
    ),
    key!(
        workers.max_descriptors,
        u32,
        (0, 4_294_967_295),
        "0 (never) to 4294967295",
        "Above how many open descriptors, besides its connections, a worker is recycled; under \"direct\", connections count as well."
    ),
    key!(
        workers.max_unavailable,
        NonZeroU32,
        (1, 1024),
        "1 to 1024",
        "How many workers may be in the middle of being replaced; each keeps its work until its successor is ready."
    ),
    key!(
        workers.restart_intensity,
        u32,
        (0, 1_000_000),
        "0 (never) to 1000000",
        "After how many deaths of workers within restart_window no more are started for a while; who lives works on."
    ),
    key!(
        workers.restart_window,
        Duration,
        (1, u64::MAX),
        r#"more than 0: a number and a unit (us, ms, s, m, h), such as "10s""#,
        "Within what time restart_intensity deaths are too many."
    ),
    key!(
        workers.restart_pause,
        Duration,
        (1, u64::MAX),
        r#"more than 0: a number and a unit (us, ms, s, m, h), such as "5s""#,
        "How long no workers are started then, and how long the one that is tried after that has to last."
    ),
    key!(
        workers.start_timeout,
        Duration,
        (1, u64::MAX),
        r#"more than 0: a number and a unit (us, ms, s, m, h), such as "10s""#,
        "How long a worker may take to become ready."
    ),
    key!(
        workers.stall_timeout,
        Duration,
        ANY,
        r#""0s" (never), or a number and a unit (us, ms, s, m, h), such as "1m""#,
        "After what time a worker is killed whose event loop stands still; until then it gets nothing more."
    ),
    key!(
        workers.soft_deadline,
        Duration,
        ANY,
        r#""0s" (never), or a number and a unit (us, ms, s, m, h), such as "10s""#,
        "After what time it is logged, and told to the program, that a handler still has its connection."
    ),
    key!(
        workers.hard_deadline,
        Duration,
        ANY,
        r#""0s" (never), or a number and a unit (us, ms, s, m, h), such as "1m""#,
        "After what time a worker is killed one of whose handlers still has its connection; handlers can extend it."
    ),
    key!(
        workers.drain_timeout,
        Duration,
        ANY,
        r#"a number and a unit (us, ms, s, m, h), such as "30s"; "0s" kills at once"#,
        "How long a worker may take to finish what it has in hand."
    ),
    key!(
        workers.kill_timeout,
        Duration,
        ANY,
        r#"a number and a unit (us, ms, s, m, h), such as "5s"; "0s" kills at once"#,
        "How long a worker that did not finish may take to break off its handlers and close, before it is killed."
    ),
    key!(
        workers.titles,
        bool,
        ANY,
        "true or false",
        "Whether ps shows of the fork server and its children what they are, and of workers how many connections they have."
    ),
    key!(
        control.socket,
        Option<PathBuf>,
        ANY,
        r#""" (none), or the path of a socket file, at most 107 bytes, such as "/run/echo.ctl""#,
        "The socket file, mode 0600, through which `hatchery ctl` controls the server."
    ),
    key!(
        admin.bind,
        Option<BindAddress>,
        ANY,
        AdminConfig::ALLOWED,
        "Where the server shows how it is: a page, status.json, metrics and probes."
    ),
    key!(
        log.format,
        LogFormat,
        ANY,
        LogFormat::ALLOWED,
        "How a line on standard error reads."
    ),
    key!(
        log.access,
        bool,
        ANY,
        "true or false",
        "Whether a line is written for each connection that is over."
    ),
];
