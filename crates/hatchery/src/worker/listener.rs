//! A worker's connections as a listener of axum.
//!
//! axum serves what it accepts, with its own graceful shutdown. Here is only what it accepts from,
//! and who is at the other end.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::serve::{self, IncomingStream};
use hatchery_process::Peer;
use tokio::task::yield_now;
use tower_service::Service;

use super::beginnings::Beginnings;
use super::connection::{Connection, ConnectionInfo};
use super::incoming::{Receiver, Worker};
use super::proxied::introduce;

impl Worker {
    /// The connections that come to this worker, for `axum::serve`. It is ready from now on.
    ///
    /// While there is a listener, [`draining`](Self::draining) resolves once it has accepted all
    /// that came before. A connection that has sent nothing when axum closes it then goes to another
    /// worker, so that no request is lost by a reload.
    ///
    /// Between two requests a connection is closed at the drain, for axum has hyper close it and gives
    /// nobody the socket back. With the feature `hyper`, `HttpServer` serves the same app and parks
    /// such connections instead: see [`WithConnectInfo::inform`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run() -> hatchery::Result<()> {
    /// use axum::{Router, routing::get};
    ///
    /// hatchery::Server::builder()
    ///     .bind("127.0.0.1:8080")
    ///     .run(|worker| async move {
    ///         let app = Router::new().route("/", get(async || "Hello!\n"));
    ///         axum::serve(worker.listener(), app)
    ///             .with_graceful_shutdown(worker.draining())
    ///             .await?;
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    #[must_use]
    pub fn listener(&self) -> WorkerListener {
        WorkerListener::new(self)
    }
}

/// The connections that come to a worker, for `axum::serve`.
#[derive(Debug)]
pub struct WorkerListener {
    hold: DrainHold,
    beginnings: Beginnings<Connection>,
    /// How long a proxy has for its header, where there is one.
    header_limit: Option<Duration>,
}

impl WorkerListener {
    fn new(worker: &Worker) -> Self {
        Self {
            hold: DrainHold::new(worker),
            beginnings: Beginnings::new(worker.incoming()),
            header_limit: None,
        }
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, before all else, within `limit`.
    ///
    /// `ConnectInfo` and the access log then name the client of the proxy. A connection whose header
    /// is missing, wrong or late is closed, and no other suffers from it. axum has a connection once its
    /// client has sent something too. Let nobody but the proxy connect: anybody else could claim to be
    /// anybody.
    ///
    /// # Default
    ///
    /// None is expected, and the peer is whoever has connected.
    #[must_use]
    pub fn behind_proxy(self, limit: Duration) -> Self {
        Self {
            header_limit: Some(limit),
            ..self
        }
    }

    async fn next(&mut self) -> Option<(Connection, ConnectionInfo)> {
        let Some(limit) = self.header_limit else {
            let connection = self.beginnings.next_at_once().await?;
            let info = *connection;
            return Some((connection, info));
        };
        let begin = |connection, draining| introduce(connection, limit, draining);
        self.beginnings.next(begin).await
    }
}

/// Keeps whoever waits for the drain waiting until it is released or dropped.
#[derive(Debug)]
pub(super) struct DrainHold(Arc<Receiver>);

impl DrainHold {
    pub(super) fn new(worker: &Worker) -> Self {
        worker.receiver.hold_drain(true);
        Self(Arc::clone(&worker.receiver))
    }

    /// Lets the drain go: all is accepted.
    ///
    /// Before that the tasks of what was accepted last have their turn. A server of HTTP that is told to
    /// end before it has looked at a connection closes it, with the request that is there.
    pub(super) async fn release(&self) {
        yield_now().await;
        self.0.hold_drain(false);
    }
}

impl Drop for DrainHold {
    fn drop(&mut self) {
        self.0.hold_drain(false);
    }
}

impl serve::Listener for WorkerListener {
    type Io = Connection;
    type Addr = ConnectionInfo;

    async fn accept(&mut self) -> (Connection, ConnectionInfo) {
        if let Some(accepted) = self.next().await {
            return accepted;
        }
        // The graceful shutdown ends this wait.
        self.hold.release().await;
        pending().await
    }

    /// A worker has no address: its connections may have come in by several.
    fn local_addr(&self) -> io::Result<ConnectionInfo> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Makes `ConnectInfo<ConnectionInfo>` work in handlers.
impl Connected<IncomingStream<'_, WorkerListener>> for ConnectionInfo {
    fn connect_info(stream: IncomingStream<'_, WorkerListener>) -> Self {
        *stream.remote_addr()
    }
}

/// An app whose handlers are told who is at the other end.
///
/// `ConnectInfo<SocketAddr>` is the address of a TCP client, as under axum alone; of a Unix socket
/// there is none, and a handler that asks for it fails as it does where nothing is known.
/// `ConnectInfo<ConnectionInfo>` is always there.
///
/// # Examples
///
/// ```no_run
/// # async fn run(worker: hatchery::Worker) -> hatchery::HandlerResult {
/// use std::net::SocketAddr;
///
/// use axum::extract::ConnectInfo;
/// use axum::{Router, routing::get};
/// use hatchery::WithConnectInfo;
///
/// async fn who(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
///     format!("You are {peer}.\n")
/// }
///
/// let app = Router::new().route("/", get(who));
/// axum::serve(worker.listener(), WithConnectInfo::new(app)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WithConnectInfo<S> {
    app: S,
}

impl<S> WithConnectInfo<S> {
    /// Tells the handlers of `app`, which is a `Router` or another service.
    pub fn new(app: S) -> Self {
        Self { app }
    }
}

impl<S: Clone> WithConnectInfo<S> {
    /// Makes the app of one client, where something else than `axum::serve` serves it.
    ///
    /// # Examples
    ///
    /// An app that `HttpServer` serves, so that its idle clients outlive their worker:
    ///
    /// ```no_run
    /// # #[cfg(feature = "hyper")]
    /// # async fn run(worker: hatchery::Worker, app: axum::Router) {
    /// use hatchery::{HttpServer, WithConnectInfo};
    /// use hyper_util::service::TowerToHyperService;
    ///
    /// let app = WithConnectInfo::new(app);
    /// HttpServer::new(&worker)
    ///     .serve(|client| TowerToHyperService::new(app.inform(client)))
    ///     .await;
    /// # }
    /// ```
    pub fn inform(&self, client: ConnectionInfo) -> Informed<S> {
        Informed {
            app: self.app.clone(),
            info: client,
        }
    }
}

impl<L, S> Service<IncomingStream<'_, L>> for WithConnectInfo<S>
where
    L: serve::Listener<Addr = ConnectionInfo>,
    S: Clone,
{
    type Response = Informed<S>;
    type Error = Infallible;
    type Future = Ready<Result<Informed<S>, Infallible>>;

    fn poll_ready(&mut self, _task: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, L>) -> Self::Future {
        ready(Ok(self.inform(*stream.remote_addr())))
    }
}

/// The app of one connection, as [`WithConnectInfo`] makes it.
#[derive(Clone, Debug)]
pub struct Informed<S> {
    app: S,
    info: ConnectionInfo,
}

impl<B, S: Service<Request<B>>> Service<Request<B>> for Informed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.info));
        if let Peer::Inet(address) = self.info.peer() {
            extensions.insert(ConnectInfo(address));
        }
        self.app.call(request)
    }
}
