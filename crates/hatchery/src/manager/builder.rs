//! How a manager is to be, and starting it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Manager;
use super::address::Address;
use super::client::ManagerClient;
use super::error::ManagerStartError;
use super::handshake::{Authkey, random};
use super::keeper::{Keeper, Running, reserve};
use super::plan::{Plan, SnapshotPlan};

/// The most bytes of one message, unless it is said otherwise.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// The least limit of messages that is of any use.
const FRAME_BYTES_LEAST: usize = 1024;

/// How many connections there may be, unless it is said otherwise.
const CONNECTIONS_MAX: usize = 4096;

/// How long the handshake may take, unless it is said otherwise.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a change waits to be in a snapshot, unless it is said otherwise.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// How a [`Manager`] is to be.
#[derive(Clone, Debug)]
pub struct ManagerBuilder {
    tcp: Option<String>,
    authkey: Option<Authkey>,
    is_supervised: bool,
    snapshot: Option<PathBuf>,
    snapshot_interval: Duration,
    frame_bytes_max: usize,
    connections_max: usize,
    handshake_timeout: Duration,
}

impl ManagerBuilder {
    pub(super) fn new() -> Self {
        Self {
            tcp: None,
            authkey: None,
            is_supervised: false,
            snapshot: None,
            snapshot_interval: SNAPSHOT_INTERVAL,
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// Listens on a TCP address, so that other machines can reach the manager.
    ///
    /// It takes an [`ManagerBuilder::authkey`]. Port 0 is any free port; see
    /// [`ManagerClient::tcp_address`]. Both sides prove that they know the key, but what follows is
    /// neither encrypted nor protected from whoever can change it on its way: use it in a network
    /// that you trust, or through a tunnel.
    ///
    /// # Default
    ///
    /// A Unix socket that only processes of this user on this machine can use.
    pub fn tcp(&mut self, address: impl Into<String>) -> &mut Self {
        self.tcp = Some(address.into());
        self
    }

    /// Sets the secret that clients on TCP have to know: best are 32 random bytes.
    ///
    /// Proxies do not carry it. This process has it; any other is given it with
    /// [`ManagerClient::provide_authkey`] or [`ManagerClient::connect`].
    ///
    /// # Default
    ///
    /// None; on a Unix socket it is not used, since the kernel tells who is there.
    pub fn authkey(&mut self, authkey: &[u8]) -> &mut Self {
        self.authkey = Some(Authkey(authkey.to_vec()));
        self
    }

    /// Starts the manager's process again when it dies, at the same address.
    ///
    /// A thread of this program watches over it. With a [`ManagerBuilder::snapshot`] the objects
    /// come back as they were when the last one was written, and old proxies work again; without
    /// one they are gone.
    ///
    /// # Default
    ///
    /// A manager that dies is lost.
    pub fn supervised(&mut self, is_supervised: bool) -> &mut Self {
        self.is_supervised = is_supervised;
        self
    }

    /// Keeps the state in a file, and starts with what is in it.
    ///
    /// Dicts, lists, sets, values, namespaces and queues are kept with their contents; locks,
    /// semaphores, events, conditions and barriers as they were made. Objects are found again in a
    /// later run by their names: see [`ManagerClient::named`]. The file is written beside its place
    /// and renamed into it, so there is always one that is whole.
    ///
    /// # Default
    ///
    /// The state ends with the process.
    pub fn snapshot(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.snapshot = Some(path.into());
        self
    }

    /// Sets how long a change may wait to be in the snapshot.
    ///
    /// What changed since the last one is lost if the process is killed.
    ///
    /// # Default
    ///
    /// One second.
    pub fn snapshot_interval(&mut self, interval: Duration) -> &mut Self {
        self.snapshot_interval = interval;
        self
    }

    /// Sets the most bytes that one request or answer may have.
    ///
    /// # Default
    ///
    /// 64 MiB.
    pub fn frame_bytes_max(&mut self, bytes: usize) -> &mut Self {
        self.frame_bytes_max = bytes;
        self
    }

    /// Sets how many connections there may be at once.
    ///
    /// On TCP it ends some 25 seconds after the machine at the other end has vanished without a word.
    /// A process uses one for each thread or task that is in a call, for each guard that it holds,
    /// and keeps up to 16 for later.
    ///
    /// # Default
    ///
    /// 4096, or as many as the process may have descriptors.
    pub fn connections_max(&mut self, count: usize) -> &mut Self {
        self.connections_max = count;
        self
    }

    /// Sets how long a client may take to show who it is.
    ///
    /// # Default
    ///
    /// Five seconds.
    pub fn handshake_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Starts the manager, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerStartError::NoAuthkey`] for TCP without an authkey, the other variants that
    /// name a setting if it cannot be used, [`ManagerStartError::Snapshot`] if there is a snapshot
    /// that cannot be read, and otherwise why there is no process that listens.
    pub fn start(&self) -> Result<Manager, ManagerStartError> {
        self.check()?;
        let (reserved, address) = match &self.tcp {
            Some(address) => Self::reserve(address).map(|(kept, at)| (Some(kept), at))?,
            None => (
                None,
                Address::unix(random().map_err(ManagerStartError::Os)?),
            ),
        };
        let plan = Plan {
            address: address.clone(),
            authkey: self.authkey.clone(),
            frame_bytes_max: self.frame_bytes_max,
            connections_max: self.connections_max,
            handshake_timeout: self.handshake_timeout,
            snapshot: self.snapshot.as_ref().map(|path| SnapshotPlan {
                path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
                interval: self.snapshot_interval,
            }),
        };
        let running = Running::launch(&plan)?;
        let client = ManagerClient::at(address);
        if let Some(key) = &self.authkey {
            client.learn(key.clone());
        }
        let keeper = if self.is_supervised {
            Keeper::supervise(plan, running).map_err(ManagerStartError::Os)?
        } else {
            Keeper::Owner(running)
        };
        Ok(Manager::new(client, keeper, reserved))
    }

    /// As [`ManagerBuilder::start`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagerBuilder::start`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the manager is started and ended again.
    pub async fn start_async(&self) -> Result<Manager, ManagerStartError> {
        let builder = self.clone();
        let started = tokio::task::spawn_blocking(move || builder.start()).await;
        started.unwrap_or_else(|error| Err(ManagerStartError::Os(std::io::Error::other(error))))
    }

    fn check(&self) -> Result<(), ManagerStartError> {
        let limit = |setting, value: u64, allowed| ManagerStartError::Limit {
            setting,
            value,
            allowed,
        };
        if let Some(Authkey(key)) = &self.authkey
            && key.is_empty()
        {
            return Err(ManagerStartError::EmptyAuthkey);
        }
        if self.tcp.is_some() && self.authkey.is_none() {
            return Err(ManagerStartError::NoAuthkey);
        }
        let bytes = self.frame_bytes_max;
        if !(FRAME_BYTES_LEAST..=u32::MAX as usize).contains(&bytes) {
            let allowed = "1024 to 4294967295 bytes";
            return Err(limit("frame_bytes_max", bytes as u64, allowed));
        }
        if self.connections_max == 0 {
            return Err(limit("connections_max", 0, "1 or more"));
        }
        for (setting, time) in [
            ("snapshot_interval", self.snapshot_interval),
            ("handshake_timeout", self.handshake_timeout),
        ] {
            if time.is_zero() {
                return Err(limit(setting, 0, "more than no time"));
            }
        }
        Ok(())
    }

    fn reserve(address: &str) -> Result<(socket2::Socket, Address), ManagerStartError> {
        let parsed: Result<SocketAddr, _> = address.parse();
        let parsed = parsed.map_err(|_| ManagerStartError::Address(address.to_owned()))?;
        reserve(parsed).map_err(|error| ManagerStartError::Listen {
            address: address.to_owned(),
            reason: error.to_string(),
        })
    }
}
