//! Serving the connections that come to a worker with a service of tower.
//!
//! Here is when a connection is taken: only once the service is ready for it. What a service and its
//! layers do with one is theirs.

use std::future::poll_fn;

use tokio::task::yield_now;
use tower_service::Service;

use super::connection::Connection;
use super::declining::Declining;
use super::handling::handle;
use super::incoming::Worker;
use crate::error::HandlerError;

impl Worker {
    /// Serves each connection with a call of a tower service, until the worker is to end and all
    /// calls have.
    ///
    /// A call is a task of its own, and what becomes of it is what becomes of a handler: an error and a
    /// panic end its connection alone, and are logged and counted. So layers of tower go around
    /// connections as they do around requests: limits, timeouts, whatever implements `Layer`.
    ///
    /// The worker becomes ready when its service does, for which it has the server's `start_timeout`. From
    /// then on a connection is taken only for a service that is ready. While it is not, the server gives what
    /// comes to other workers, also what was on its way here; if none of them is ready either, connections
    /// wait and the server's overload policy counts for them. Under direct dispatch nobody distributes:
    /// what the kernel has queued for this worker waits for it.
    ///
    /// So it is when the worker is to drain: what the service is not ready for goes to the successor, and
    /// the calls are waited for.
    ///
    /// # Errors
    ///
    /// Returns the error of `poll_ready`, by which a service says that it is of no more use. The first
    /// time, the worker fails to start. Later it has declined what came, asked to be replaced and
    /// waited for its calls before; nothing more is sent to it. A body that returns this error ends the
    /// worker, and the server logs why.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call takes no more connections; those that it serves go on.
    ///
    /// # Examples
    ///
    /// At most a hundred connections in each worker, none of them for longer than a minute:
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hatchery::{Connection, HandlerResult, Worker};
    /// use tower::ServiceBuilder;
    ///
    /// async fn greet(mut connection: Connection) -> HandlerResult {
    ///     connection.write_all(b"Hello!\n").await?;
    ///     Ok(())
    /// }
    ///
    /// async fn live(worker: Worker) -> HandlerResult {
    ///     let service = ServiceBuilder::new()
    ///         .concurrency_limit(100)
    ///         .timeout(Duration::from_secs(60))
    ///         .service_fn(greet);
    ///     worker.serve(service).await
    /// }
    ///
    /// #[hatchery::main]
    /// async fn main() -> hatchery::Result<()> {
    ///     hatchery::Server::builder().run(live).await
    /// }
    /// ```
    pub async fn serve<S>(&self, mut service: S) -> Result<(), S::Error>
    where
        S: Service<Connection, Response = ()>,
        S::Future: Send + 'static,
        S::Error: Into<HandlerError> + 'static,
    {
        poll_fn(|task| service.poll_ready(task)).await?;
        let mut incoming = self.incoming();
        while let Some(connection) = incoming.accept().await {
            handle(connection, |connection| service.call(connection));
            match self.until_ready(&mut service).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.wind_up().await;
                    return Err(error);
                }
            }
        }
        self.finished().await;
        Ok(())
    }

    /// Waits until the service is ready, and declines what comes meanwhile; false if nothing more will.
    async fn until_ready<S: Service<Connection>>(&self, service: &mut S) -> Result<bool, S::Error> {
        tokio::select! {
            biased;
            ready = poll_fn(|task| service.poll_ready(task)) => return ready.map(|()| true),
            // Calls that were just made have their turn, and with it this task gets a new budget from
            // tokio: without one, a service would not be ready that is.
            () = yield_now() => {}
        }
        let _declining = Declining::begin(&self.receiver);
        tokio::select! {
            biased;
            ready = poll_fn(|task| service.poll_ready(task)) => ready.map(|()| true),
            () = self.receiver.decline_all() => Ok(false),
        }
    }

    /// Has this worker replaced, and waits for its calls.
    async fn wind_up(&self) {
        // For good: what came between now and the end would be taken for what the worker ends of.
        self.receiver.set_declining(true);
        self.retire();
        tokio::select! {
            () = self.finished() => {}
            () = self.receiver.decline_all() => self.finished().await,
        }
    }
}
