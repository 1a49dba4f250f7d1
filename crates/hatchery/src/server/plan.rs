//! Everything the front end needs to know about the server it runs.

use std::num::NonZeroU32;

use hatchery_process::Entry;
use rustix::net::SocketFlags;

use super::handler::SocketKind;
use crate::config::{Dispatch, Origin, ServerConfig, WorkersConfig};
use crate::error::{BindError, Error, Result};
use crate::front_end::Listener;
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
    /// The state's serialised form, and the function that installs it.
    pub(crate) state: Option<(Entry, Vec<u8>)>,
    /// Whether a worker has one connection at a time, in blocking mode.
    pub(crate) is_blocking: bool,
    /// Whether its handler takes sockets of a kind.
    pub(crate) accepts: fn(SocketKind) -> bool,
}

impl Body {
    /// The functions that are passed to a worker: the hook, then that of the state.
    pub(crate) fn functions(&self) -> Vec<Entry> {
        let state = self.state.as_ref().map(|(install, _)| *install);
        self.start_hook.into_iter().chain(state).collect()
    }

    pub(crate) fn state_bytes(&self) -> Option<Vec<u8>> {
        self.state.as_ref().map(|(_, bytes)| bytes.clone())
    }
}

/// A callback that is told when the server is ready.
pub(crate) type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// A server as it is to be run.
pub(crate) struct Plan {
    pub(crate) server: ServerConfig,
    pub(crate) workers: WorkersConfig,
    /// Where each address was set.
    pub(crate) bind_origins: Vec<Origin>,
    /// Where the limit of a worker's memory was set.
    pub(crate) memory_origin: Origin,
    pub(crate) count: usize,
    pub(crate) body: Body,
    pub(crate) on_ready: Option<OnReady>,
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) signals: bool,
}

impl Plan {
    /// How many connections one worker has at most.
    pub(crate) fn per_worker(&self) -> u32 {
        if self.body.is_blocking {
            1
        } else {
            self.workers.max_concurrency.get()
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.server.dispatch == Dispatch::Direct
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
        counts || self.workers.max_memory.bytes() > 0
    }

    /// The flags with which a socket is accepted for the kind of workers there are.
    pub(crate) fn accept_flags(&self) -> SocketFlags {
        if self.body.is_blocking {
            SocketFlags::empty()
        } else {
            SocketFlags::NONBLOCK
        }
    }

    pub(crate) fn announce(&mut self, ready: &Ready) {
        if let Some(on_ready) = self.on_ready.take() {
            on_ready(ready);
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
                address: listener.address().to_owned(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidInput, problem),
            }));
        }
        Ok(())
    }
}
