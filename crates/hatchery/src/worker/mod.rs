//! A worker process: how it starts, and the three bodies it may have.
//!
//! A worker is forked from the fork server with a channel to the front end and a ledger. It sets
//! itself up, says that it is ready, and runs its body: an asynchronous handler a connection, a
//! blocking handler, or whatever the program gave it.

mod access;
#[cfg(any(feature = "axum", feature = "hyper"))]
mod beginnings;
mod blocking;
mod breaking_off;
mod clocks;
mod connection;
mod context;
#[cfg(feature = "tower")]
mod declining;
mod direct;
mod handling;
#[cfg(all(feature = "tls", any(feature = "axum", feature = "hyper")))]
mod handshake;
#[cfg(feature = "hyper")]
mod http;
mod incoming;
#[cfg(feature = "axum")]
mod listener;
#[cfg(feature = "hyper")]
mod noted;
mod parking;
#[cfg(any(feature = "axum", feature = "hyper"))]
mod proxied;
mod proxy_header;
mod pulse;
#[cfg(feature = "tower")]
mod service;
mod start;
mod stream;
mod title;
#[cfg(all(feature = "axum", feature = "tls"))]
mod tls_listener;
#[cfg(feature = "hyper")]
mod turns;

use std::future::Future;

use hatchery_process::{Farewell, Start};

pub use self::blocking::BlockingConnection;
pub use self::clocks::SoftDeadline;
pub use self::connection::{Connection, ConnectionGuard, ConnectionInfo};
pub use self::context::retire_worker;
#[cfg(feature = "hyper")]
pub use self::http::{HttpExecutor, HttpServer, HttpService};
pub use self::incoming::{Incoming, Worker};
#[cfg(feature = "axum")]
pub use self::listener::{Informed, WithConnectInfo, WorkerListener};
pub use self::parking::{ParkError, ParkFailure};
pub use self::proxy_header::{ProxyHeader, ProxyHeaderError};

#[cfg(all(feature = "axum", feature = "tls"))]
pub use self::tls_listener::TlsListener;

pub(crate) use self::clocks::soft_hook;
pub(crate) use self::start::{WorkerStart, start_hook, state_installer};

use self::handling::handle;
use self::incoming::Receiver;
use crate::error::HandlerResult;
use crate::server::FromSocket;

/// The exit code of a worker that could not be set up or whose body failed.
const FAILED: u8 = 1;

/// Runs a worker that spawns `handler` for each connection.
pub(crate) fn serve<F, Fut>(start: Start, handler: F) -> u8
where
    F: Fn(Connection) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    run(start, move |worker| async move {
        let mut incoming = worker.incoming();
        while let Some(connection) = incoming.accept().await {
            handle(connection, handler);
        }
        worker.finished().await;
        Ok(())
    })
}

/// Runs a worker with a body of the program's own.
pub(crate) fn run<F, Fut>(start: Start, body: F) -> u8
where
    F: Fn(Worker) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + 'static,
{
    let Some(context) = start::set_up(start) else {
        return FAILED;
    };
    if context.is_batch {
        // Where that is not allowed, it is scheduled as any other.
        let _refused = hatchery_os::schedule_as_batch();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return context.fail(&format!("its runtime cannot be built: {error}")),
    };
    let outcome = runtime.block_on(async {
        pulse::start(context).map_err(|error| error.to_string())?;
        tokio::spawn(context.title.follow(|| context.live()));
        let receiver = Receiver::new(context).map_err(|error| error.to_string())?;
        let worker = Worker::new(context, receiver);
        tokio::select! {
            ended = body(worker) => ended.map(Some).map_err(|error| error.to_string()),
            () = context.until(Farewell::BreakOff) => Ok(None),
        }
    });
    match outcome {
        Ok(Some(())) => {
            // What the body has left running ends with it.
            drop(runtime);
            0
        }
        Ok(None) => {
            // Its handlers end here, and nobody waits for threads that block.
            runtime.shutdown_background();
            breaking_off::close_all(context);
            0
        }
        Err(reason) => {
            drop(runtime);
            context.fail(&reason)
        }
    }
}

/// Runs a worker that gives `handler` one connection after the other.
pub(crate) fn serve_blocking<F, S>(start: Start, handler: F) -> u8
where
    F: Fn(S) -> HandlerResult + Copy + Send + Sync + 'static,
    S: FromSocket,
{
    let Some(context) = start::set_up(start) else {
        return FAILED;
    };
    if let Err(error) = breaking_off::listen(context) {
        return context.fail(&format!("it cannot listen for the end: {error}"));
    }
    match blocking::serve(context, handler) {
        Ok(()) => {
            breaking_off::close_gently(context);
            0
        }
        Err(error) => context.fail(&error.to_string()),
    }
}
