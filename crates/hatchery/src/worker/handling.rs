//! Giving a connection to its handler, in a task of its own, and noting how that ends.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt as _;

use super::access;
use super::connection::Connection;
use super::context;
use crate::error::HandlerError;
use crate::metrics::Tally;

/// Spawns what `handler` makes of a connection. If it fails or panics, that is logged and counted.
pub(super) fn handle<H, Fut, E>(connection: Connection, handler: H)
where
    H: FnOnce(Connection) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError> + 'static,
{
    let (id, peer) = (connection.id(), connection.peer());
    let access = connection.guard.access.clone();
    let measured_for = access.clone();
    let ended = move |how| {
        if let Some(access) = &access {
            access.ended(how);
        }
    };
    let worker = context::seat();
    // Calling the handler runs the program's code: it may panic, like its future.
    let Ok(future) = catch_unwind(AssertUnwindSafe(|| handler(connection))) else {
        context::count(Tally::Panicked);
        ended("panicked");
        tracing::error!(worker, connection = id, %peer, "the handler panicked");
        return;
    };
    tokio::spawn(async move {
        let handler = access::measured(measured_for, future);
        match AssertUnwindSafe(handler).catch_unwind().await {
            Ok(Ok(())) => ended("ok"),
            Ok(Err(error)) => {
                let error: HandlerError = error.into();
                context::count(Tally::Failed);
                ended("failed");
                tracing::warn!(worker, connection = id, %peer, %error, "the handler failed");
            }
            Err(_) => {
                context::count(Tally::Panicked);
                ended("panicked");
                tracing::error!(worker, connection = id, %peer, "the handler panicked");
            }
        }
    });
}
