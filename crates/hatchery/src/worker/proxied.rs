//! Connections that a proxy passes on, each with a header that says whose it is.
//!
//! A header is read once. When a connection goes on in another worker, what it said goes along.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::{Connection, ConnectionInfo};

/// How long a client has to send something once its proxy has said who it is.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads who is at the other end of the proxy, for at most `limit`, and waits for the first bytes.
///
/// It is `None` if that does not come in time or cannot be read, and then the connection is closed. It
/// is `None` also if nothing has come when the worker is to drain: then the connection goes to another.
pub(super) async fn introduce(
    mut connection: Connection,
    limit: Duration,
    mut draining: watch::Receiver<bool>,
) -> Option<(Connection, ConnectionInfo)> {
    let source = match known_source(&connection) {
        Some(source) => source,
        None if has_spoken(&mut connection, limit, &mut draining).await => {
            read_header(&mut connection, limit).await?
        }
        None => return None,
    };
    if !has_spoken(&mut connection, FIRST_BYTES_TIMEOUT, &mut draining).await {
        if *draining.borrow() {
            // Where it cannot be parked, it ends.
            let _ended = connection.park(state_of(source)).await;
        }
        return None;
    }
    let info = source.map_or(*connection, |source| connection.comes_from(source));
    Some((connection, info))
}

/// What is parked with a connection that was introduced so.
#[cfg(feature = "hyper")]
pub(super) fn state_to_park(connection: &Connection, info: ConnectionInfo) -> Vec<u8> {
    match info.peer() {
        hatchery_process::Peer::Inet(source) if info.peer() != connection.peer() => {
            state_of(Some(source))
        }
        _ => state_of(None),
    }
}

fn state_of(source: Option<SocketAddr>) -> Vec<u8> {
    postcard::to_stdvec(&source).expect("an address can be serialised")
}

/// What the header said, if another worker has read it; one that had read nothing left nothing.
fn known_source(connection: &Connection) -> Option<Option<SocketAddr>> {
    postcard::from_bytes(connection.parked_state()?).ok()
}

/// Waits for something to read; false if nothing comes in time, or before the worker is to drain.
async fn has_spoken(
    connection: &mut Connection,
    limit: Duration,
    draining: &mut watch::Receiver<bool>,
) -> bool {
    tokio::select! {
        // What a client has sent is read before the connection is sent elsewhere.
        biased;
        spoken = timeout(limit, connection.peek()) => matches!(spoken, Ok(Ok(true))),
        // The sender lives as long as whoever waits for this.
        _ = draining.wait_for(|&it| it) => false,
    }
}

async fn read_header(connection: &mut Connection, limit: Duration) -> Option<Option<SocketAddr>> {
    let header = timeout(limit, connection.proxy_header()).await;
    let (id, peer) = (connection.id(), connection.peer());
    match header {
        Ok(Ok(header)) => Some(header.source()),
        // Who sends none is no proxy.
        Ok(Err(error)) => {
            tracing::warn!(connection = id, %peer, %error, "closed: no PROXY header");
            None
        }
        Err(_) => {
            tracing::warn!(connection = id, %peer, "closed: its PROXY header took too long");
            None
        }
    }
}
