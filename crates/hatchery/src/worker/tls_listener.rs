//! A worker's connections as a listener of axum, once they speak TLS.

use std::future::pending;
use std::io;
use std::pin::Pin;

use axum::extract::connect_info::Connected;
use axum::serve::{self, IncomingStream};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, ConnectionInfo};
use super::handshake::shake_hands;
use super::incoming::{Incoming, Worker};
use super::listener::DrainHold;

/// A handshake, and what comes of it.
type Handshake = Pin<Box<dyn Future<Output = Option<Accepted>> + Send>>;

type Accepted = (TlsStream<Connection>, ConnectionInfo);

impl Worker {
    /// As [`listener`](Self::listener), for clients that speak TLS. See [`Tls`](crate::Tls).
    ///
    /// Clients shake hands side by side, none for longer than ten seconds; axum has them once they have
    /// sent something, and the drain waits two seconds for that.
    #[must_use]
    pub fn tls_listener(&self, acceptor: TlsAcceptor) -> TlsListener {
        TlsListener {
            hold: DrainHold::new(self),
            incoming: Some(self.incoming()),
            acceptor,
            handshakes: FuturesUnordered::new(),
            drain: watch::Sender::new(false),
        }
    }
}

/// The connections that come to a worker and speak TLS, for `axum::serve`.
pub struct TlsListener {
    hold: DrainHold,
    /// `None` when there will be no more.
    incoming: Option<Incoming>,
    acceptor: TlsAcceptor,
    handshakes: FuturesUnordered<Handshake>,
    drain: watch::Sender<bool>,
}

impl TlsListener {
    /// Waits for a client to begin, or to have begun; `None` when there will be no more.
    async fn next(&mut self) -> Option<Accepted> {
        loop {
            let Some(incoming) = &mut self.incoming else {
                return self.next_of_the_last().await;
            };
            tokio::select! {
                // Futures that nobody waits for end at once: then there is only the other.
                Some(shaken) = self.handshakes.next() => {
                    if shaken.is_some() {
                        return shaken;
                    }
                }
                connection = incoming.accept() => match connection {
                    Some(connection) => self.begin(connection.go_on_elsewhere()),
                    None => {
                        self.incoming = None;
                        self.drain.send_replace(true);
                    }
                },
            }
        }
    }

    async fn next_of_the_last(&mut self) -> Option<Accepted> {
        while let Some(shaken) = self.handshakes.next().await {
            if shaken.is_some() {
                return shaken;
            }
        }
        None
    }

    fn begin(&self, connection: Connection) {
        let (acceptor, draining) = (self.acceptor.clone(), self.drain.subscribe());
        let handshake = shake_hands(acceptor, connection, draining);
        self.handshakes.push(Box::pin(handshake));
    }
}

impl serve::Listener for TlsListener {
    type Io = TlsStream<Connection>;
    type Addr = ConnectionInfo;

    async fn accept(&mut self) -> Accepted {
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
            .field("handshakes", &self.handshakes.len())
            .finish_non_exhaustive()
    }
}

/// Makes `ConnectInfo<ConnectionInfo>` work in handlers.
impl Connected<IncomingStream<'_, TlsListener>> for ConnectionInfo {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        *stream.remote_addr()
    }
}
