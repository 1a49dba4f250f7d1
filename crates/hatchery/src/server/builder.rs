//! Describing a server, and running it.

use std::future::Future;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use hatchery_process::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handler::{FromSocket, SocketKind};
use super::hooks::Hooks;
use super::plan::{Body, Launch, OnReady, Plan, Ready};
use crate::config::{BindAddress, Config, Dispatch, LogFormat, Overload, Scheduling, WorkerCount};
use crate::control::{self, Control, Exchange};
use crate::error::{Error, HandlerResult, Result};
use crate::front_end;
use crate::signals::Shutdown;
use crate::worker::{self, Connection, SoftDeadline, Worker};

/// A server on a pool of pre-forked workers.
///
/// # Examples
///
/// ```no_run
/// #[hatchery::main]
/// async fn main() -> hatchery::Result<()> {
///     hatchery::Server::builder()
///         .bind("127.0.0.1:8080")
///         .workers(4)
///         .serve(|mut conn: hatchery::Connection| async move {
///             let mut buf = vec![0; 4096];
///             loop {
///                 let n = conn.read(&mut buf).await?;
///                 if n == 0 {
///                     return Ok(());
///                 }
///                 buf[..n].make_ascii_uppercase();
///                 conn.write_all(&buf[..n]).await?;
///             }
///         })
///         .await
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Server;

impl Server {
    /// Describes a server, from the defaults on.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        Self::from_config(&Config::default())
    }

    /// Describes a server, from a configuration on.
    #[must_use]
    pub fn from_config(config: &Config) -> ServerBuilder {
        ServerBuilder {
            config: config.clone(),
            replaces_bind: true,
            refused: None,
            state: None,
            start_hook: None,
            soft_hook: None,
            on_ready: None,
            hooks: Hooks::default(),
            shutdown: None,
            signals: true,
            control: None,
        }
    }
}

/// The description of a server; [`serve`](Self::serve), [`serve_blocking`](Self::serve_blocking)
/// and [`run`](Self::run) run it.
///
/// The handler is a function, or a closure that captures nothing, for it runs in other processes:
/// this is checked when the program is compiled. Values reach it through
/// [`state`](Self::state) or [`preload`](crate::preload).
pub struct ServerBuilder {
    pub(super) config: Config,
    /// Whether the next address replaces those of the configuration.
    replaces_bind: bool,
    /// The first setting that was wrong.
    refused: Option<Error>,
    state: Option<(Entry, Vec<u8>)>,
    start_hook: Option<Entry>,
    soft_hook: Option<Entry>,
    on_ready: Option<OnReady>,
    pub(super) hooks: Hooks,
    shutdown: Option<Shutdown>,
    signals: bool,
    control: Option<(Control, Exchange)>,
}

impl ServerBuilder {
    /// Listens on an address, written as in `hatchery.toml`; call it again for further addresses.
    ///
    /// An address that cannot be read is reported when the server is run.
    ///
    /// # Default
    ///
    /// The addresses of the configuration, or `127.0.0.1:8080`.
    pub fn bind(&mut self, address: impl AsRef<str>) -> &mut Self {
        match address.as_ref().parse::<BindAddress>() {
            Ok(address) => {
                if std::mem::take(&mut self.replaces_bind) {
                    self.config.server.bind.clear();
                }
                self.config.server.bind.push(address);
            }
            Err(error) => self.refuse(Error::Setting {
                setting: "bind",
                error,
            }),
        }
        self
    }

    /// Starts this many workers, 1 to 1024; another number is reported when the server is run.
    ///
    /// # Default
    ///
    /// One for each CPU that the process may use.
    pub fn workers(&mut self, count: u32) -> &mut Self {
        match count.to_string().parse::<WorkerCount>() {
            Ok(count) => self.config.workers.count = count,
            Err(error) => self.refuse(Error::Setting {
                setting: "workers",
                error,
            }),
        }
        self
    }

    /// Chooses how a connection finds its worker.
    ///
    /// # Default
    ///
    /// [`Dispatch::LeastLoaded`].
    pub fn dispatch(&mut self, dispatch: Dispatch) -> &mut Self {
        self.config.server.dispatch = dispatch;
        self
    }

    /// Chooses how the kernel schedules the front end and the workers that do not block.
    ///
    /// # Default
    ///
    /// [`Scheduling::Batch`].
    pub fn scheduling(&mut self, scheduling: Scheduling) -> &mut Self {
        self.config.server.scheduling = scheduling;
        self
    }

    /// Limits how many connections one worker has at once; a blocking worker always has one.
    ///
    /// # Default
    ///
    /// 1024.
    pub fn max_concurrency(&mut self, connections: NonZeroU32) -> &mut Self {
        self.config.workers.max_concurrency = connections;
        self
    }

    /// Limits how many connections all workers together have at once.
    ///
    /// # Default
    ///
    /// 10,000.
    pub fn max_connections(&mut self, connections: NonZeroU32) -> &mut Self {
        self.config.server.max_connections = connections;
        self
    }

    /// Chooses what happens to connections that no worker has room for.
    ///
    /// # Default
    ///
    /// [`Overload::Wait`].
    pub fn overload(&mut self, policy: Overload) -> &mut Self {
        self.config.server.overload = policy;
        self
    }

    /// Limits how many connections may wait for a worker with room, and for how long, before
    /// [`overload`](Self::overload) turns them away. [`Overload::Wait`] has no use for it.
    ///
    /// # Default
    ///
    /// 128 connections, 5 seconds.
    pub fn queue(&mut self, length: u32, timeout: Duration) -> &mut Self {
        self.config.server.queue_length = length;
        self.config.server.queue_timeout = timeout;
        self
    }

    /// Gives a connection to a worker only once its client has sent something or has ended, and
    /// closes it if neither has happened after `first_byte_timeout`; 0 waits for ever.
    ///
    /// Until then no worker has it, so that silent clients occupy nobody. Handlers that speak first
    /// would wait for ever for clients that do, too. It does not go with [`Dispatch::Direct`].
    ///
    /// # Default
    ///
    /// Connections are given to workers at once.
    pub fn wait_for_data(&mut self, first_byte_timeout: Duration) -> &mut Self {
        self.config.server.wait_for_data = true;
        self.config.server.first_byte_timeout = first_byte_timeout;
        self
    }

    /// Closes a parked connection whose client has sent nothing for this long; 0 never does.
    ///
    /// See [`Connection::park`](crate::Connection::park).
    ///
    /// # Default
    ///
    /// Never.
    pub fn park_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.config.server.park_timeout = timeout;
        self
    }

    /// Calls `hook` in the worker when a handler is past its soft deadline, beside logging it.
    ///
    /// It is called once for each deadline that passes, on a thread of its own: the handler may keep
    /// the worker's loop.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_soft_deadline<F>(&mut self, hook: F) -> &mut Self
    where
        F: Fn(&SoftDeadline) + Copy + Send + Sync + 'static,
    {
        self.soft_hook = Some(worker::soft_hook(hook));
        self
    }

    /// Gives each worker a copy of `value`, serialised; handlers reach it through
    /// [`Connection::state`](crate::ConnectionInfo::state) and [`Worker::state`].
    ///
    /// A value that cannot be serialised is reported when the server is run.
    ///
    /// # Default
    ///
    /// None.
    pub fn state<T>(&mut self, value: &T) -> &mut Self
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        match postcard::to_stdvec(value) {
            Ok(bytes) => self.state = Some((worker::state_installer::<T>(), bytes)),
            Err(error) => self.refuse(Error::State(error.to_string())),
        }
        self
    }

    /// Runs `hook` in each worker before it is ready, for example to set logging up.
    ///
    /// An error keeps the worker from starting, and is reported as the worker's own.
    ///
    /// # Default
    ///
    /// Nothing is run.
    pub fn worker_start<F>(&mut self, hook: F) -> &mut Self
    where
        F: Fn() -> HandlerResult + Copy + Send + Sync + 'static,
    {
        self.start_hook = Some(worker::start_hook(hook));
        self
    }

    /// Calls `announce` in this process once all workers are ready for the first time.
    ///
    /// # Default
    ///
    /// Nothing is called.
    pub fn on_ready(&mut self, announce: impl FnOnce(&Ready) + Send + 'static) -> &mut Self {
        self.on_ready = Some(Box::new(announce));
        self
    }

    /// Ends the server, as `SIGTERM` does, when `shutdown` resolves.
    ///
    /// # Default
    ///
    /// Only signals end the server.
    pub fn shutdown(&mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> &mut Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Returns the means to ask the server how it is, and to tell it what to do, while it runs.
    ///
    /// All that were made before the server is run belong to that run.
    pub fn control(&mut self) -> Control {
        let (control, _) = self.control.get_or_insert_with(control::channel);
        control.clone()
    }

    /// Listens for `hatchery ctl` at this path, for this user and root alone.
    ///
    /// A path that cannot be had is reported when the server is run.
    ///
    /// # Default
    ///
    /// That of the configuration, or none.
    pub fn control_socket(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.config.control.socket = Some(path.into());
        self
    }

    /// Shows how the server is at this address: a page, JSON, metrics and probes.
    ///
    /// It is a loopback address such as `127.0.0.1:9180`, or a socket file such as
    /// `unix:/run/echo.admin`: whoever can connect can look. An address that cannot be is reported
    /// when the server is run.
    ///
    /// # Default
    ///
    /// That of the configuration, or none.
    pub fn admin(&mut self, address: impl AsRef<str>) -> &mut Self {
        match address.as_ref().parse() {
            Ok(address) => self.config.admin.bind = Some(address),
            Err(error) => self.refuse(Error::Setting {
                setting: "admin",
                error,
            }),
        }
        self
    }

    /// Chooses how a line on standard error reads, where the program has set no subscriber.
    ///
    /// # Default
    ///
    /// [`LogFormat::Human`].
    pub fn log_format(&mut self, format: LogFormat) -> &mut Self {
        self.config.log.format = format;
        self
    }

    /// Chooses whether a line is logged for each connection that is over.
    ///
    /// # Default
    ///
    /// None is.
    pub fn access_log(&mut self, is_on: bool) -> &mut Self {
        self.config.log.access = is_on;
        self
    }

    /// Chooses whether the server listens to signals: `SIGTERM` and `SIGINT` stop it, `SIGHUP` has
    /// it read its configuration again, `SIGUSR2` has a new program take over, `SIGTTIN` and `SIGTTOU` give it a worker more or fewer.
    ///
    /// # Default
    ///
    /// It does.
    pub fn handle_signals(&mut self, listens: bool) -> &mut Self {
        self.signals = listens;
        self
    }

    /// Runs the server with an asynchronous handler for each connection.
    ///
    /// A handler that panics or returns an error ends its own connection, which is logged. The
    /// first signal or [`shutdown`](Self::shutdown) lets workers finish; a second kills them.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot start, if none of its workers ever can, or if workers
    /// had to be killed at the end. See [`Error`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the workers to end when this program does, and closes their
    /// channels, at which they end by themselves.
    pub async fn serve<F, Fut>(&mut self, handler: F) -> Result<()>
    where
        F: Fn(Connection) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let entry = Entry::new(move |start| worker::serve(start, handler));
        self.run_body(entry, false, |_| true).await
    }

    /// Runs the server with a blocking handler: one connection at a time in each worker.
    ///
    /// The connection is the handler's from its start on, and is lost if the worker dies then.
    ///
    /// A handler that waits for its client does not notice that the server is to stop: have it ask
    /// [`is_draining`](crate::ConnectionInfo::is_draining) and give its socket a read timeout, or the server a [`drain_timeout`](Self::drain_timeout) that you are
    /// ready to wait for.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve); and [`Error::Bind`] if the handler takes a standard stream of
    /// another kind than an address has.
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_blocking<F, S>(&mut self, handler: F) -> Result<()>
    where
        F: Fn(S) -> HandlerResult + Copy + Send + Sync + 'static,
        S: FromSocket + 'static,
    {
        let entry = Entry::new(move |start| worker::serve_blocking(start, handler));
        self.run_body(entry, true, S::accepts).await
    }

    /// Runs the server with a body of one's own in each worker.
    ///
    /// A worker is ready when its body first asks for [`Worker::incoming`], and ends with it.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub async fn run<F, Fut>(&mut self, body: F) -> Result<()>
    where
        F: Fn(Worker) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + 'static,
    {
        let entry = Entry::new(move |start| worker::run(start, body));
        self.run_body(entry, false, |_| true).await
    }

    async fn run_body(
        &mut self,
        entry: Entry,
        is_blocking: bool,
        accepts: fn(SocketKind) -> bool,
    ) -> Result<()> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        self.config.check()?;
        let body = Body {
            entry,
            start_hook: self.start_hook,
            soft_hook: self.soft_hook,
            state: self.state.clone(),
            is_blocking,
            accepts,
        };
        let plan = Plan::new(&self.config, body)?;
        let (control, exchange) = self.control.take().unwrap_or_else(control::channel);
        front_end::run(Launch {
            plan,
            on_ready: self.on_ready.take(),
            hooks: std::mem::take(&mut self.hooks),
            shutdown: self.shutdown.take(),
            signals: self.signals,
            control,
            exchange,
        })
        .await
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServerBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::net::TcpStream;

    use super::*;

    fn run(server: &mut ServerBuilder) -> Error {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let served = server.serve_blocking(|_: TcpStream| Ok(()));
        runtime.block_on(served).unwrap_err()
    }

    #[test]
    fn a_blocking_handler_does_not_go_with_direct_dispatch() {
        let error = run(Server::builder().dispatch(Dispatch::Direct));

        assert!(matches!(error, Error::BlockingDirect));
        assert!(error.is_usage());
    }

    #[test]
    fn the_first_wrong_setting_is_named_with_what_is_allowed() {
        let error = run(Server::builder().workers(0).bind("nowhere"));

        let text = error.to_string();
        assert!(text.starts_with("ServerBuilder::workers: "), "{text}");
        assert!(text.contains("1 to 1024"), "{text}");
    }

    #[test]
    fn without_a_fork_server_the_way_to_one_is_named() {
        let error = run(Server::builder().bind("127.0.0.1:0"));

        let text = error.source().unwrap().to_string();
        assert!(text.contains("#[hatchery::main]"), "{text}");
    }
}
