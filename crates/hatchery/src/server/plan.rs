//! Everything the front end needs to know about the server it runs.

use std::num::NonZeroU32;

use hatchery_process::Entry;
use rustix::net::SocketFlags;

use super::handler::SocketKind;
use super::hooks::Hooks;
use crate::config::{Config, Dispatch, Origin, Overload, ServerConfig, WorkersConfig};
use crate::control::{Control, Exchange};
use crate::error::{BindError, Error, Result};
use crate::front_end::{Intensity, Listener};
use crate::signals::Shutdown;

/// A server whose workers are all ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ready {
    /// Where it listens, in the order of the configuration, with the ports the kernel chose.
    pub addresses: Vec<String>,
    /// The process id of the main process: the one to signal.
    pub pid: u32,
    /// The process ids of the workers.
    pub workers: Vec<u32>,
}

/// What workers run.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) entry: Entry,
    /// Runs in each worker before it is ready.
    pub(crate) start_hook: Option<Entry>,
    /// Is told of soft deadlines in each worker.
    pub(crate) soft_hook: Option<Entry>,
    /// The state's serialised form, and the function that installs it.
    pub(crate) state: Option<(Entry, Vec<u8>)>,
    /// Whether a worker has one connection at a time, in blocking mode.
    pub(crate) is_blocking: bool,
    /// Whether its handler takes sockets of a kind.
    pub(crate) accepts: fn(SocketKind) -> bool,
}

impl Body {
    /// The functions that are passed to a worker: the hooks, then that of the state.
    pub(crate) fn functions(&self) -> Vec<Entry> {
        let state = self.state.as_ref().map(|(install, _)| *install);
        let hooks = self.start_hook.into_iter().chain(self.soft_hook);
        hooks.chain(state).collect()
    }

    pub(crate) fn state_bytes(&self) -> Option<Vec<u8>> {
        self.state.as_ref().map(|(_, bytes)| bytes.clone())
    }
}

/// A callback that is told when the server is ready.
pub(crate) type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// A server as it is to be run.
pub(crate) struct Launch {
    pub(crate) plan: Plan,
    pub(crate) on_ready: Option<OnReady>,
    pub(crate) hooks: Hooks,
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) signals: bool,
    pub(crate) control: Control,
    pub(crate) exchange: Exchange,
}

/// The settings of a server, and what its workers run.
#[derive(Clone)]
pub(crate) struct Plan {
    /// What the settings are from, to be read again for a reload.
    pub(crate) config: Config,
    pub(crate) server: ServerConfig,
    pub(crate) workers: WorkersConfig,
    /// Where each address was set.
    pub(crate) bind_origins: Vec<Origin>,
    /// Where the limit of a worker's memory was set.
    pub(crate) memory_origin: Origin,
    pub(crate) count: usize,
    pub(crate) body: Body,
}

impl Plan {
    /// Plans what a configuration says.
    ///
    /// # Errors
    ///
    /// Returns [`Error::BlockingDirect`] if blocking workers were to accept for themselves.
    pub(crate) fn new(config: &Config, body: Body) -> Result<Self> {
        if body.is_blocking && config.server.dispatch == Dispatch::Direct {
            return Err(Error::BlockingDirect);
        }
        let count = config.workers.count.resolve().get();
        let memory_origin = config.origin("workers.max_memory");
        Ok(Self {
            server: config.server.clone(),
            workers: config.workers.clone(),
            bind_origins: config.bind_origins(),
            memory_origin: memory_origin.cloned().unwrap_or(Origin::Program),
            count: usize::try_from(count).unwrap_or(usize::MAX),
            body,
            config: config.clone(),
        })
    }

    /// Where a key was set.
    pub(crate) fn origin(&self, key: &'static str) -> Origin {
        self.config.origin(key).cloned().unwrap_or(Origin::Program)
    }

    /// How many accepted connections may wait.
    pub(crate) fn queue_len(&self) -> usize {
        match self.server.overload {
            // Whoever may wait for ever waits in the kernel's queue.
            Overload::Wait => 0,
            _ => self.server.queue_length as usize,
        }
    }

    /// How many connections one worker has at most.
    pub(crate) fn per_worker(&self) -> u32 {
        if self.body.is_blocking {
            1
        } else {
            self.workers.max_concurrency.get()
        }
    }

    /// How many workers may be in the middle of being replaced.
    pub(crate) fn max_unavailable(&self) -> usize {
        usize::try_from(self.workers.max_unavailable.get()).unwrap_or(usize::MAX)
    }

    /// How many deaths of workers are too many.
    pub(crate) fn intensity(&self) -> Intensity {
        Intensity {
            deaths: self.workers.restart_intensity,
            window: self.workers.restart_window,
            pause: self.workers.restart_pause,
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.server.dispatch == Dispatch::Direct
    }

    /// Whether systemd is to keep the listeners for the next start.
    pub(crate) fn keeps_listeners(&self) -> bool {
        self.server.fd_store && !self.is_direct()
    }

    /// How many connections a worker that accepts for itself has at most: its own limit, and its
    /// share of the limit over all.
    pub(crate) fn direct_share(&self) -> u32 {
        let count = NonZeroU32::try_from(u32::try_from(self.count).unwrap_or(u32::MAX))
            .unwrap_or(NonZeroU32::MIN);
        let share = self.server.max_connections.get().div_ceil(count.get());
        share.min(self.per_worker())
    }

    /// Whether workers must be looked at from time to time.
    pub(crate) fn checks_up(&self) -> bool {
        let counts = self.is_direct() && self.workers.max_connections > 0;
        counts || self.workers.max_memory.bytes() > 0 || self.workers.max_descriptors > 0
    }

    /// The flags with which a socket is accepted for the kind of workers there are.
    pub(crate) fn accept_flags(&self) -> SocketFlags {
        if self.body.is_blocking {
            SocketFlags::empty()
        } else {
            SocketFlags::NONBLOCK
        }
    }

    /// Checks that the handler can be given what the listeners accept.
    pub(crate) fn check_listeners(&self, listeners: &[Vec<Listener>]) -> Result<()> {
        for listener in listeners.iter().flatten() {
            if (self.body.accepts)(listener.kind()) {
                continue;
            }
            let problem = match listener.kind() {
                SocketKind::Tcp => "its handler takes no TCP streams",
                SocketKind::Unix => "its handler takes no Unix streams",
            };
            return Err(Error::Bind(BindError {
                origin: listener.origin().clone(),
                key: "server.bind",
                address: listener.address().to_owned(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidInput, problem),
            }));
        }
        Ok(())
    }
}
