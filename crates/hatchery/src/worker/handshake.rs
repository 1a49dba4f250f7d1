//! The beginning of TLS on a worker's connection, and what becomes of it at a drain.
//!
//! A server of HTTP closes what has sent no request yet when it is to end. Once TLS has begun a
//! connection cannot go to another worker, so it comes to that server with its first request.

use std::io;
use std::time::Duration;

use tokio::io::AsyncBufReadExt as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, ConnectionInfo};

/// How long a client has to begin with TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it has then to send something.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it still has for that when the worker is to end.
const LAST_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Begins with TLS, and waits for the first bytes inside of it.
///
/// It is `None` if they do not come, or if the client has sent nothing at all when the worker is to
/// drain: then the connection goes to another one.
pub(super) async fn shake_hands(
    acceptor: TlsAcceptor,
    connection: Connection,
    mut draining: watch::Receiver<bool>,
) -> Option<(TlsStream<Connection>, ConnectionInfo)> {
    let info = *connection;
    let mut stream = match shake(&acceptor, connection, &mut draining).await {
        Ok(stream) => stream?,
        Err(error) => {
            // Anybody can cause it, by connecting.
            tracing::debug!(connection = info.id(), peer = %info.peer(), %error, "no TLS");
            return None;
        }
    };
    let has_spoken = await_first_bytes(&mut stream, &mut draining).await;
    has_spoken.then_some((stream, info))
}

async fn shake(
    acceptor: &TlsAcceptor,
    connection: Connection,
    draining: &mut watch::Receiver<bool>,
) -> io::Result<Option<TlsStream<Connection>>> {
    let mut accepting = acceptor.accept(connection);
    tokio::select! {
        // What a client has sent is read before it is sent elsewhere.
        biased;
        accepted = timeout(HANDSHAKE_TIMEOUT, &mut accepting) => return accepted?.map(Some),
        // The sender lives as long as whoever waits for this.
        _ = draining.wait_for(|&it| it) => {}
    }
    if accepting.get_ref().is_some_and(Connection::is_unused) {
        return Ok(None);
    }
    timeout(HANDSHAKE_TIMEOUT, accepting).await?.map(Some)
}

/// Waits until a client has sent something; false if it has not in time.
async fn await_first_bytes(
    stream: &mut TlsStream<Connection>,
    draining: &mut watch::Receiver<bool>,
) -> bool {
    tokio::select! {
        biased;
        filled = timeout(FIRST_BYTES_TIMEOUT, stream.fill_buf()) => {
            return matches!(filled, Ok(Ok(_)));
        }
        _ = draining.wait_for(|&it| it) => {}
    }
    matches!(
        timeout(LAST_CALL_TIMEOUT, stream.fill_buf()).await,
        Ok(Ok(_))
    )
}
