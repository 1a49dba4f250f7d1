//! The configuration of a server: what can be set, where it is read from, and what each value is.
//!
//! Defaults give way to `hatchery.toml`, that to `HATCHERY_*` variables, and those to flags. One
//! table, [`Config::keys`], says of every key how it is read, shown and described; the file, the
//! environment, the flags, the messages and the printed form all follow it. Nothing here opens a
//! socket, resolves a name or starts a process.

mod admin;
mod bind;
mod control;
mod duration;
mod environment;
mod error;
mod file;
mod given;
mod key;
mod loader;
mod log;
mod origin;
mod schema;
mod server;
mod show;
mod size;
mod suggest;
mod unknown;
mod value;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::given::Given;

pub use self::admin::AdminConfig;
pub use self::bind::{BindAddress, BindAddressProblem};
pub use self::control::ControlConfig;
pub use self::error::{ConfigError, ValueError, ValueProblem};
pub use self::key::{ConfigKey, ValueKind};
pub use self::loader::ConfigLoader;
pub use self::log::{LogConfig, LogFormat};
pub use self::origin::{Origin, Setting};
pub use self::server::{Dispatch, Overload, Scheduling, ServerConfig};
pub use self::size::ByteSize;
pub use self::workers::{MemoryMeasure, WorkerCount, WorkersConfig};

/// Everything that can be set about a server.
///
/// A program may change the public fields after loading; [`Config::check`] then says whether the
/// whole still makes sense. Displayed, a configuration is a `hatchery.toml` that loads to the same
/// values, with a comment on each line that says where the value came from.
///
/// # Examples
///
/// ```
/// use hatchery::Config;
///
/// let config = Config::loader()
///     .text("hatchery.toml", "[workers]\ncount = 4")
///     .flag("--drain", "workers.drain_timeout", "1m30s")
///     .load()?;
/// assert_eq!(config.workers.count.resolve().get(), 4);
/// assert_eq!(config.workers.drain_timeout.as_secs(), 90);
/// assert_eq!(config.origin("workers.count").unwrap().to_string(), "hatchery.toml:2");
/// # Ok::<(), hatchery::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The sockets, and who gets what arrives on them.
    pub server: ServerConfig,
    /// The worker processes, and how long one may live.
    pub workers: WorkersConfig,
    /// How it is controlled while it runs.
    pub control: ControlConfig,
    /// Where it shows how it is.
    pub admin: AdminConfig,
    /// What it writes to standard error.
    pub log: LogConfig,
    /// What it was loaded from, if it was.
    loader: Option<Arc<ConfigLoader>>,
    /// Where a source set a key; a key that none did set has no entry.
    assigned: BTreeMap<&'static str, Assigned>,
}

/// What a source made of a key.
#[derive(Clone, Debug)]
struct Assigned {
    origin: Origin,
    /// Where each member stands, of a value that is a list.
    members: Vec<Origin>,
    /// The value as it was then, to notice that the program changed it since.
    shown: String,
}

/// The origin of a value that no source has set.
static DEFAULT: Origin = Origin::Default;
/// The origin of a value that is not what the sources made it.
static PROGRAM: Origin = Origin::Program;

impl Config {
    /// Loads the configuration file and the environment of this process.
    ///
    /// The file is the one that `HATCHERY_CONFIG` names, else `hatchery.toml` in the working
    /// directory if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`ConfigLoader::load`].
    pub fn load() -> Result<Self, ConfigError> {
        Self::loader()
            .default_file()
            .environment(std::env::vars_os())
            .load()
    }

    /// Reads again what this configuration was loaded from.
    ///
    /// Files are read anew; variables and flags are those of the first time. What the program has
    /// set itself stays. A configuration that was not loaded is returned as it is.
    ///
    /// # Errors
    ///
    /// Those of [`ConfigLoader::load`].
    pub fn reload(&self) -> Result<Self, ConfigError> {
        let Some(loader) = &self.loader else {
            return Ok(self.clone());
        };
        let mut fresh = loader.load()?;
        let own = self.settings().filter(|setting| *setting.origin == PROGRAM);
        for setting in own {
            let key = ConfigKey::named(setting.key).expect("a setting has a key of the table");
            let given = file::value(&setting.value, setting.origin)?;
            key.read(&mut fresh, &given)?;
        }
        fresh.check_conflicts()?;
        Ok(fresh)
    }

    /// Starts a loader that reads no source yet.
    pub fn loader() -> ConfigLoader {
        ConfigLoader::default()
    }

    /// Returns the table of all keys, in the order in which they are printed.
    pub fn keys() -> &'static [ConfigKey] {
        key::KEYS
    }

    /// Says where the value of `key`, such as `server.bind`, came from.
    ///
    /// Answers `None` if there is no such key.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        let key = ConfigKey::named(key)?;
        Some(self.origin_of(key, &key.show(self)))
    }

    /// Lists every key with its value and where that came from.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'_>> {
        Self::keys().iter().map(|key| {
            let value = key.show(self);
            Setting {
                key: key.path(),
                origin: self.origin_of(key, &value),
                value,
            }
        })
    }

    /// Checks values that the program has set, as loading checks those it reads.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Invalid`] for a value that no source could have given, and
    /// [`ConfigError::Conflict`] for two that exclude each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut copy = self.clone();
        for setting in self.settings() {
            let key = ConfigKey::named(setting.key).expect("a setting has a key of the table");
            let given = file::value(&setting.value, setting.origin)?;
            key.read(&mut copy, &given)?;
        }
        self.check_conflicts()
    }

    /// Sets `key` to what a source gave for it.
    fn assign(&mut self, key: &'static ConfigKey, given: &Given) -> Result<(), ConfigError> {
        key.read(self, given)?;
        let assigned = Assigned {
            origin: given.origin.clone(),
            members: given.member_origins(),
            shown: key.show(self),
        };
        self.assigned.insert(key.path(), assigned);
        Ok(())
    }

    /// Says of each address where it came from, which may be a line of its own.
    pub(crate) fn bind_origins(&self) -> Vec<Origin> {
        let path = "server.bind";
        let key = self.origin(path).expect("the table has this key");
        let members = self.assigned.get(path).map(|assigned| &assigned.members);
        let addresses = self.server.bind.len();
        match members {
            Some(members) if *key != PROGRAM && members.len() == addresses => members.clone(),
            _ => vec![key.clone(); addresses],
        }
    }

    fn origin_of(&self, key: &ConfigKey, shown: &str) -> &Origin {
        match self.assigned.get(key.path()) {
            Some(assigned) if assigned.shown == shown => &assigned.origin,
            None if key.default_value() == shown => &DEFAULT,
            _ => &PROGRAM,
        }
    }

    /// Refuses pairs of values of which each alone would do.
    fn check_conflicts(&self) -> Result<(), ConfigError> {
        let (key, reason) = match &self.server {
            server if server.dispatch != Dispatch::Direct => return Ok(()),
            server if server.overload != Overload::Wait => (
                "server.overload",
                "under \"direct\" the workers accept for themselves, so only \"wait\" is possible",
            ),
            server if server.wait_for_data => (
                "server.wait_for_data",
                "under \"direct\" the workers accept for themselves, so nobody could wait for data",
            ),
            _ => return Ok(()),
        };
        let origin = |key| self.origin(key).expect("the table has this key").clone();
        Err(ConfigError::Conflict {
            key,
            origin: origin(key),
            other_key: "server.dispatch",
            other_origin: origin("server.dispatch"),
            reason,
        })
    }
}

#[cfg(test)]
mod tests;
