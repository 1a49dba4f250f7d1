//! What the program wants to be called for while its server runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use hatchery_process::panic_text;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::sync::oneshot;

use super::builder::ServerBuilder;
use crate::control::{ServerEvent, WorkerExit};
use crate::error::{Error, Result};

/// How long the end of a server waits for hooks that have still to be called.
const END: Duration = Duration::from_secs(5);

/// A server that is about to start its first workers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStart {
    /// Where it listens, in the order of the configuration.
    pub addresses: Vec<String>,
    /// How many workers it will have.
    pub workers: usize,
}

/// A worker to which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerName {
    /// Its number.
    pub worker: u32,
    /// How many workers were started before it: no other ever has the same.
    pub generation: u32,
}

/// How far a reload is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadStage {
    /// The configuration is read, and workers by it are started.
    Begun,
    /// They have taken over.
    Done,
    /// They have not, for this reason, and the server goes on as it was.
    Failed(String),
}

/// Who gets nothing more, and finishes what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Draining {
    /// The server: it ends once all workers have.
    Server,
    /// One worker.
    Worker(WorkerName),
}

/// Connections that nobody had room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overloaded {
    /// Why, as the log says it.
    pub why: &'static str,
    /// How many connections it was since the hook was called last for the same reason.
    pub connections: u64,
}

type Hook<T> = Option<Box<dyn FnMut(&T) + Send>>;

/// What is to be called.
#[derive(Default)]
pub(crate) struct Hooks {
    start: Hook<ServerStart>,
    worker_start: Hook<WorkerName>,
    worker_ready: Hook<WorkerName>,
    worker_exit: Hook<WorkerExit>,
    reload: Hook<ReloadStage>,
    drain: Hook<Draining>,
    overload: Hook<Overloaded>,
}

/// The thread that calls hooks.
#[derive(Debug)]
pub(crate) struct HookThread(Option<oneshot::Receiver<()>>);

/// # Hooks
///
/// Hooks run in the main process, in a thread of their own, one after the other and in the order in
/// which things happened: `on_start`, then for each worker `on_worker_start`, `on_worker_ready`,
/// `on_drain` and `on_worker_exit`, of which some may be left out; `on_reload` with `Begun` before the
/// workers of that reload, and with `Done` or `Failed` after they are ready or given up.
///
/// The server never waits for a hook while it serves. One that is slow delays the hooks after it, and
/// if more than a thousand wait, the oldest are left out, which is logged. Before the server returns
/// it waits for those that are left, for 5 seconds at most. A hook that panics is logged, and called
/// again the next time.
impl ServerBuilder {
    /// Calls `hook` when the server listens, before it starts its first workers.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_start(&mut self, hook: impl FnMut(&ServerStart) + Send + 'static) -> &mut Self {
        self.hooks.start = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a worker has a process. To run something in the worker itself there is
    /// [`worker_start`](Self::worker_start).
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_worker_start(&mut self, hook: impl FnMut(&WorkerName) + Send + 'static) -> &mut Self {
        self.hooks.worker_start = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a worker can be used.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_worker_ready(&mut self, hook: impl FnMut(&WorkerName) + Send + 'static) -> &mut Self {
        self.hooks.worker_ready = Some(Box::new(hook));
        self
    }

    /// Calls `hook` with the death report of each worker that is gone.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_worker_exit(&mut self, hook: impl FnMut(&WorkerExit) + Send + 'static) -> &mut Self {
        self.hooks.worker_exit = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a reload begins, and when it has succeeded or failed.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_reload(&mut self, hook: impl FnMut(&ReloadStage) + Send + 'static) -> &mut Self {
        self.hooks.reload = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a worker, or the server, gets nothing more.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_drain(&mut self, hook: impl FnMut(&Draining) + Send + 'static) -> &mut Self {
        self.hooks.drain = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when connections are turned away or refused for want of room: at the first, and
    /// then once a second while that goes on.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_overload(&mut self, hook: impl FnMut(&Overloaded) + Send + 'static) -> &mut Self {
        self.hooks.overload = Some(Box::new(hook));
        self
    }
}

impl Hooks {
    /// Starts to call hooks for what happens from now on, if there are any.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Os`] if there can be no thread for them.
    pub(crate) fn run(mut self, events: &Sender<ServerEvent>) -> Result<HookThread> {
        if self.are_none() {
            return Ok(HookThread(None));
        }
        let mut events = events.subscribe();
        let (done, ended) = oneshot::channel();
        thread::Builder::new()
            .name("hatchery-hooks".to_owned())
            .spawn(move || {
                self.call_all(&mut events);
                // Nobody waits if the server was cancelled.
                let _cancelled = done.send(());
            })
            .map_err(Error::os("there can be no thread for hooks"))?;
        Ok(HookThread(Some(ended)))
    }

    fn are_none(&self) -> bool {
        let workers = self.worker_start.is_none() && self.worker_ready.is_none();
        let server = self.start.is_none() && self.reload.is_none() && self.drain.is_none();
        workers && server && self.worker_exit.is_none() && self.overload.is_none()
    }

    /// Calls hooks until the server has ended.
    fn call_all(&mut self, events: &mut Receiver<ServerEvent>) {
        loop {
            match events.blocking_recv() {
                Ok(event) => self.call(event),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "hooks are too slow, and some were not called");
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn call(&mut self, event: ServerEvent) {
        let name = |worker, generation| WorkerName { worker, generation };
        match event {
            ServerEvent::Starting { addresses, workers } => {
                call(
                    "on_start",
                    &mut self.start,
                    &ServerStart { addresses, workers },
                );
            }
            ServerEvent::WorkerStarted {
                worker, generation, ..
            } => {
                call(
                    "on_worker_start",
                    &mut self.worker_start,
                    &name(worker, generation),
                );
            }
            ServerEvent::WorkerReady { worker, generation } => {
                call(
                    "on_worker_ready",
                    &mut self.worker_ready,
                    &name(worker, generation),
                );
            }
            ServerEvent::WorkerExited(exit) => call("on_worker_exit", &mut self.worker_exit, &exit),
            ServerEvent::Reloading => call("on_reload", &mut self.reload, &ReloadStage::Begun),
            ServerEvent::Reloaded => call("on_reload", &mut self.reload, &ReloadStage::Done),
            ServerEvent::ReloadFailed { reason } => {
                call("on_reload", &mut self.reload, &ReloadStage::Failed(reason));
            }
            ServerEvent::WorkerDraining { worker, generation } => {
                let draining = Draining::Worker(name(worker, generation));
                call("on_drain", &mut self.drain, &draining);
            }
            ServerEvent::Stopping => call("on_drain", &mut self.drain, &Draining::Server),
            ServerEvent::Overloaded { why, connections } => {
                let overloaded = Overloaded { why, connections };
                call("on_overload", &mut self.overload, &overloaded);
            }
            _ => {}
        }
    }
}

impl HookThread {
    /// Waits until the hooks for all that happened were called, but not for ever.
    pub(crate) async fn finish(self) {
        let Some(ended) = self.0 else {
            return;
        };
        if tokio::time::timeout(END, ended).await.is_err() {
            tracing::warn!(waited = ?END, "hooks are too slow, and are not waited for any longer");
        }
    }
}

fn call<T>(name: &str, hook: &mut Hook<T>, argument: &T) {
    let Some(hook) = hook else {
        return;
    };
    let called = catch_unwind(AssertUnwindSafe(|| hook(argument)));
    if let Err(panic) = called {
        tracing::error!(hook = name, panic = panic_text(&*panic), "a hook panicked");
    }
}
