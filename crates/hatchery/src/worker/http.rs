//! Serving HTTP on a worker's connections, with a service of hyper or tower.
//!
//! hyper speaks the protocol. Here is who is served, and that all end well when the worker is to.

use std::pin::pin;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::connection::{Connection, ConnectionInfo};
#[cfg(feature = "tls")]
use super::handshake::shake_hands;
use super::incoming::Worker;
use crate::error::HandlerError;

/// Serves HTTP/1.1 and HTTP/2 on the connections that come to a worker.
///
/// Which of the two a client speaks is seen from its first bytes. When the worker is to drain, a
/// client of HTTP/1.1 is answered with `Connection: close`, one of HTTP/2 is sent `GOAWAY`, and a
/// connection that has sent nothing goes to another worker.
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
/// `hyper_util::service::TowerToHyperService::new(app.clone())`.
#[derive(Clone)]
pub struct HttpServer {
    worker: Worker,
    protocol: auto::Builder<TokioExecutor>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl HttpServer {
    /// Serves what comes to `worker`.
    #[must_use]
    pub fn new(worker: &Worker) -> Self {
        let mut protocol = auto::Builder::new(TokioExecutor::new());
        protocol.http1().timer(TokioTimer::new());
        protocol.http2().timer(TokioTimer::new());
        Self {
            worker: worker.clone(),
            protocol,
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

    /// Changes what hyper can be told of the protocol: time limits, sizes, how many streams.
    ///
    /// # Default
    ///
    /// hyper's own: both versions, and 30 seconds for the head of a request of HTTP/1.1.
    pub fn protocol(
        &mut self,
        change: impl FnOnce(auto::Builder<TokioExecutor>) -> auto::Builder<TokioExecutor>,
    ) -> &mut Self {
        self.protocol = change(self.protocol.clone());
        self
    }

    /// Serves each connection with the service that `make` makes for it, until the worker is to end
    /// and all of them have.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call takes no more connections; those that it has taken go on.
    pub async fn serve<F, S, B>(&self, make: F)
    where
        F: Fn(ConnectionInfo) -> S,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<HandlerError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<HandlerError>,
    {
        let mut incoming = self.worker.incoming();
        // One task waits for the drain, and not each connection: all would wake with every client.
        let (drain, draining) = watch::channel(false);
        while let Some(connection) = incoming.accept().await {
            let info = *connection;
            let exchange = Exchange {
                info,
                service: make(info),
                protocol: self.protocol.clone(),
                draining: draining.clone(),
                #[cfg(feature = "tls")]
                tls: self.tls.clone(),
            };
            tokio::spawn(serve_connection(exchange, connection.go_on_elsewhere()));
        }
        drain.send_replace(true);
        self.worker.finished().await;
    }
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("HttpServer");
        shown.field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// What a connection is served with.
struct Exchange<S> {
    info: ConnectionInfo,
    service: S,
    protocol: auto::Builder<TokioExecutor>,
    draining: watch::Receiver<bool>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

async fn serve_connection<S, B>(exchange: Exchange<S>, connection: Connection)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<HandlerError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<HandlerError>,
{
    let info = exchange.info;
    #[cfg(feature = "tls")]
    if let Some(acceptor) = exchange.tls.clone() {
        let shaken = shake_hands(acceptor, connection, exchange.draining.clone()).await;
        if let Some((stream, _)) = shaken {
            note_failure(info, speak(exchange, stream).await);
        }
        return;
    }
    note_failure(info, speak(exchange, connection).await);
}

fn note_failure(info: ConnectionInfo, outcome: Result<(), HandlerError>) {
    if let Err(error) = outcome {
        // A client that leaves in the middle is no event.
        tracing::debug!(connection = info.id(), peer = %info.peer(), error, "HTTP failed");
    }
}

/// Speaks HTTP, and says at the drain that this is the end.
async fn speak<S, B>(
    mut exchange: Exchange<S>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), HandlerError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<HandlerError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<HandlerError>,
{
    let (protocol, service) = (exchange.protocol, exchange.service);
    let spoken = protocol.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut spoken = pin!(spoken);
    tokio::select! {
        // What a client has sent is read before it is told of the end.
        biased;
        ended = spoken.as_mut() => return ended,
        // The sender outlives whoever waits here, or has gone with the worker's body.
        _ = exchange.draining.wait_for(|&it| it) => spoken.as_mut().graceful_shutdown(),
    }
    spoken.await
}
