//! A worker's connections as a listener of axum, once they speak TLS.

use std::future::pending;
use std::io;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{self, IncomingStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::beginnings::Beginnings;
use super::connection::{Connection, ConnectionInfo};
use super::handshake::shake_hands;
use super::incoming::Worker;
use super::listener::DrainHold;
use super::proxied::introduce;

impl Worker {
    /// As [`listener`](Self::listener), for clients that speak TLS. See [`Tls`](crate::Tls).
    ///
    /// Clients shake hands side by side, none for longer than ten seconds; axum has them once they have
    /// sent something, and the drain waits two seconds for that.
    #[must_use]
    pub fn tls_listener(&self, acceptor: TlsAcceptor) -> TlsListener {
        TlsListener {
            hold: DrainHold::new(self),
            beginnings: Beginnings::new(self.incoming()),
            acceptor,
            header_limit: None,
        }
    }
}

/// The connections that come to a worker and speak TLS, for `axum::serve`.
pub struct TlsListener {
    hold: DrainHold,
    beginnings: Beginnings<TlsStream<Connection>>,
    acceptor: TlsAcceptor,
    /// How long a proxy has for its header, where there is one.
    header_limit: Option<Duration>,
}

impl TlsListener {
    /// Expects a header of the PROXY protocol before TLS begins, within `limit`.
    ///
    /// As [`WorkerListener::behind_proxy`](crate::WorkerListener::behind_proxy).
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

    async fn next(&mut self) -> Option<(TlsStream<Connection>, ConnectionInfo)> {
        let (acceptor, limit) = (&self.acceptor, self.header_limit);
        let begin = |connection, draining| begin(acceptor.clone(), limit, connection, draining);
        self.beginnings.next(begin).await
    }
}

/// Begins with a proxy's header, where there is a limit for it, and then with TLS.
async fn begin(
    acceptor: TlsAcceptor,
    header_limit: Option<Duration>,
    mut connection: Connection,
    draining: watch::Receiver<bool>,
) -> Option<(TlsStream<Connection>, ConnectionInfo)> {
    let mut info = *connection;
    if let Some(limit) = header_limit {
        (connection, info) = introduce(connection, limit, draining.clone()).await?;
    }
    let (stream, _) = shake_hands(acceptor, connection, draining).await?;
    Some((stream, info))
}

impl serve::Listener for TlsListener {
    type Io = TlsStream<Connection>;
    type Addr = ConnectionInfo;

    async fn accept(&mut self) -> (TlsStream<Connection>, ConnectionInfo) {
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

impl std::fmt::Debug for TlsListener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsListener")
            .field("handshakes", &self.beginnings.count())
            .finish_non_exhaustive()
    }
}

/// Makes `ConnectInfo<ConnectionInfo>` work in handlers.
impl Connected<IncomingStream<'_, TlsListener>> for ConnectionInfo {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        *stream.remote_addr()
    }
}
