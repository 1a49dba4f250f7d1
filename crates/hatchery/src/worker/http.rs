//! Serving HTTP on a worker's connections, with a service of hyper or tower.
//!
//! hyper speaks the protocol. Here is who is served, and that all end well when the worker is to.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::access::{measured, measured_now};
use super::beginnings::Beginnings;
use super::connection::{Connection, ConnectionInfo};
#[cfg(feature = "tls")]
use super::handshake::shake_hands;
use super::incoming::Worker;
use super::noted::Noted;
use super::proxied::{introduce, state_to_park};
use super::turns::{Lent, Turns};
use crate::error::HandlerError;

/// How long a client has for a last request when the worker is to end.
const LAST_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves HTTP/1.1 and HTTP/2 on the connections that come to a worker.
///
/// Which of the two a client speaks is seen from its first bytes.
///
/// When the worker is to drain, a connection of HTTP/1.1 between two requests is
/// [parked](Connection::park): its next request goes to another worker, and its client notices
/// nothing. So does one that has sent nothing. A request that is in hand is answered with
/// `Connection: close`, and a client of HTTP/2 is sent `GOAWAY`. A connection with TLS cannot be parked,
/// since its keys stay in the worker, and none can under direct dispatch, where there is nobody to give
/// it to. So its next request is waited for, two seconds at most, and answered with `Connection: close`: a
/// client that asks on loses nothing. An answer whose head is sent when the worker is to drain is finished first, and
/// then it is the same.
///
/// # Examples
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use hyper::body::Incoming;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
///
/// async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
///     Ok(Response::new(format!("You asked for {}.\n", request.uri())))
/// }
///
/// #[hatchery::main]
/// async fn main() -> hatchery::Result<()> {
///     hatchery::Server::builder()
///         .run(|worker| async move {
///             let server = hatchery::HttpServer::new(&worker);
///             server.serve(|_client| service_fn(hello)).await;
///             Ok(())
///         })
///         .await
/// }
/// ```
///
/// A service of tower, such as an axum `Router` or the `Routes` of tonic, becomes one of hyper by
/// `hyper_util::service::TowerToHyperService::new(app.clone())`; `WithConnectInfo::inform` tells an app
/// of axum who its client is.
#[derive(Clone)]
pub struct HttpServer {
    worker: Worker,
    protocol: auto::Builder<HttpExecutor>,
    /// How long a proxy has for its header, where there is one.
    header_limit: Option<Duration>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl HttpServer {
    /// Serves what comes to `worker`.
    #[must_use]
    pub fn new(worker: &Worker) -> Self {
        let mut protocol = auto::Builder::new(HttpExecutor(()));
        protocol.http1().timer(TokioTimer::new());
        protocol.http2().timer(TokioTimer::new());
        Self {
            worker: worker.clone(),
            protocol,
            header_limit: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Serves clients that speak TLS. See [`Tls`](crate::Tls).
    ///
    /// # Default
    ///
    /// They speak plain HTTP.
    #[cfg(feature = "tls")]
    pub fn tls(&mut self, acceptor: tokio_rustls::TlsAcceptor) -> &mut Self {
        self.tls = Some(acceptor);
        self
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, before all else, within `limit`.
    ///
    /// The service and the access log are then told of the client of the proxy. A connection whose
    /// header is missing, wrong or late is closed, and no other suffers from it. Let nobody but the
    /// proxy connect: anybody else could claim to be anybody.
    ///
    /// # Default
    ///
    /// None is expected, and the peer is whoever has connected.
    pub fn behind_proxy(&mut self, limit: Duration) -> &mut Self {
        self.header_limit = Some(limit);
        self
    }

    /// Changes what hyper can be told of the protocol: time limits, sizes, how many streams.
    ///
    /// # Default
    ///
    /// hyper's own: both versions, and 30 seconds for the head of a request of HTTP/1.1. That limit costs
    /// some hundredths of the CPU time of a small request; `header_read_timeout(None)` turns it off.
    pub fn protocol(
        &mut self,
        change: impl FnOnce(auto::Builder<HttpExecutor>) -> auto::Builder<HttpExecutor>,
    ) -> &mut Self {
        self.protocol = change(self.protocol.clone());
        self
    }

    /// Serves each connection with the service that `make` makes for it, until the worker is to end
    /// and all of them have.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call takes no more connections; those that it serves go on.
    pub async fn serve<F, S>(&self, make: F)
    where
        F: Fn(ConnectionInfo) -> S,
        S: HttpService,
    {
        let mut beginnings = Beginnings::new(self.worker.incoming());
        // One task waits for the drain, and not each connection: all would wake with every client.
        let (drain, draining) = watch::channel(false);
        while let Some((connection, info)) = self.next(&mut beginnings).await {
            let turns = Arc::<Turns>::default();
            let exchange = Exchange {
                info,
                service: Noted::new(make(info), Arc::clone(&turns)),
                protocol: self.protocol.clone(),
                draining: draining.clone(),
                turns,
                #[cfg(feature = "tls")]
                tls: self.tls.clone(),
            };
            let access = connection.guard.access.clone();
            tokio::spawn(measured(access, serve_connection(exchange, connection)));
        }
        drain.send_replace(true);
        self.worker.finished().await;
    }

    async fn next(
        &self,
        beginnings: &mut Beginnings<Connection>,
    ) -> Option<(Connection, ConnectionInfo)> {
        let Some(limit) = self.header_limit else {
            let connection = beginnings.next_at_once().await?;
            let info = *connection;
            return Some((connection, info));
        };
        let begin = |connection, draining| introduce(connection, limit, draining);
        beginnings.next(begin).await
    }
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("HttpServer");
        shown.field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// Runs what hyper does beside a connection, such as each request of HTTP/2, in tasks of their own.
///
/// It spawns them as hyper-util's `TokioExecutor` does, and has the access log count their CPU time.
#[derive(Clone, Copy, Debug)]
pub struct HttpExecutor(());

impl<F> Executor<F> for HttpExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, work: F) {
        match measured_now() {
            Some(access) => tokio::spawn(measured(Some(access), work)),
            None => tokio::spawn(work),
        };
    }
}

/// A service that an [`HttpServer`] serves with.
///
/// Every service of hyper is one that answers requests with responses, and whose futures, bodies
/// and errors can be sent to other threads. There is nothing to implement.
pub trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<Self::Body>,
        Error: Into<HandlerError>,
        Future: Send + 'static,
    > + Send
    + 'static
{
    /// What it answers with.
    type Body: Body<Data: Send, Error: Into<HandlerError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<HandlerError>,
    B: Body<Data: Send, Error: Into<HandlerError>> + Send + 'static,
{
    type Body = B;
}

/// What a connection is served with.
struct Exchange<S> {
    info: ConnectionInfo,
    service: Noted<S>,
    protocol: auto::Builder<HttpExecutor>,
    draining: watch::Receiver<bool>,
    turns: Arc<Turns>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

async fn serve_connection<S: HttpService>(exchange: Exchange<S>, connection: Connection) {
    let info = exchange.info;
    #[cfg(feature = "tls")]
    if let Some(acceptor) = exchange.tls.clone() {
        let shaken = shake_hands(acceptor, connection, exchange.draining.clone()).await;
        if let Some((stream, _)) = shaken {
            let lent = Lent::new(stream, Arc::clone(&exchange.turns));
            note_failure(info, speak(exchange, lent, false).await);
        }
        return;
    }
    let state = state_to_park(&connection, info);
    let can_be_parked = connection.can_be_parked();
    let lent = Lent::new(connection, Arc::clone(&exchange.turns));
    let back = lent.back();
    let outcome = speak(exchange, lent, can_be_parked).await;
    let back = back.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(connection) = back else {
        return note_failure(info, outcome);
    };
    // Where it cannot be parked it ends, as a server may end it between two requests.
    let parked = connection.park(state).await;
    note_failure(info, parked.map_err(HandlerError::from));
}

fn note_failure(info: ConnectionInfo, outcome: Result<(), HandlerError>) {
    if let Err(error) = outcome {
        // A client that leaves in the middle is no event.
        tracing::debug!(connection = info.id(), peer = %info.peer(), error, "HTTP failed");
    }
}

/// Speaks HTTP, and says at the drain that this is the end.
async fn speak<S: HttpService, T>(
    mut exchange: Exchange<S>,
    stream: Lent<T>,
    goes_on_elsewhere: bool,
) -> Result<(), HandlerError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (protocol, turns) = (exchange.protocol, exchange.turns);
    let spoken = protocol.serve_connection_with_upgrades(TokioIo::new(stream), exchange.service);
    let mut spoken = pin!(spoken);
    tokio::select! {
        // What a client has sent is read before it is told of the end.
        biased;
        ended = spoken.as_mut() => return ended,
        // The sender outlives whoever waits here, or has gone with the worker's body.
        _ = exchange.draining.wait_for(|&it| it) => {}
    }
    if !goes_on_elsewhere {
        turns.next_is_last();
    }
    let mut last_call = pin!(sleep(LAST_CALL_TIMEOUT));
    let ended = poll_fn(|task| {
        if turns.is_answering() {
            last_call.as_mut().reset(Instant::now() + LAST_CALL_TIMEOUT);
        }
        let is_late = last_call.as_mut().poll(task).is_ready();
        match spoken.as_mut().poll(task) {
            Poll::Pending if turns.may_end(goes_on_elsewhere, is_late) => Poll::Ready(None),
            ended => ended.map(Some),
        }
    });
    if let Some(ended) = ended.await {
        return ended;
    }
    if goes_on_elsewhere {
        turns.ends();
    }
    spoken.as_mut().graceful_shutdown();
    spoken.await
}
