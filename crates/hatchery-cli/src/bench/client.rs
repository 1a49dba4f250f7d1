//! One of the concurrent clients that make up the load.
//!
//! It has at most one request in flight. A connection that fails is counted and replaced, so that
//! the load goes on whatever the server does.

use std::sync::Arc;
use std::time::Duration;

use super::exchange::{Connection, Watchdog, scratch};
use super::failure::Failure;
use super::load::Load;
use super::message::Message;
use super::pace::Pace;
use super::stream::Dialer;
use super::tally::SharedTally;

/// How long a client waits after a failure, so as not to spin on a server that is gone.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// A client, with its connection if it has one.
#[derive(Debug)]
pub(super) struct Client {
    dialer: Arc<Dialer>,
    tally: SharedTally,
    churn: bool,
    connection: Option<Connection>,
    message: Message,
    scratch: Vec<u8>,
    watchdog: Watchdog,
}

impl Client {
    /// Returns a client without a connection; no two may have the same number.
    pub(super) fn new(number: u32, load: &Load, dialer: &Arc<Dialer>, tally: &SharedTally) -> Self {
        Self {
            dialer: Arc::clone(dialer),
            tally: tally.clone(),
            churn: load.churn,
            connection: None,
            message: Message::new(number, load.size_bytes),
            scratch: scratch(load.size_bytes),
            watchdog: Watchdog::new(load.timeout),
        }
    }

    /// Opens the connection, or counts why not.
    ///
    /// # Cancel safety
    ///
    /// A connection that is not open yet is given up.
    pub(super) async fn connect(&mut self) {
        match self.watchdog.guard(self.dialer.dial()).await {
            Some(Ok(stream)) => self.connection = Some(Connection::new(stream)),
            Some(Err(error)) => self.tally.lock().refused(&error),
            None => self.tally.lock().failed(Failure::TimedOut),
        }
    }

    /// Sends requests at `pace` until that ends.
    ///
    /// # Cancel safety
    ///
    /// A request in flight is given up and not counted.
    pub(super) async fn run(mut self, mut pace: Pace) {
        while let Some(intended) = pace.next().await {
            if self.request().await {
                self.tally.lock().answered(intended.elapsed());
            } else {
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
            if self.churn {
                self.connection = None;
            }
        }
        self.tally.lock().not_sent(pace.unsent());
    }

    /// Sends the next message, and returns whether the right reply came.
    ///
    /// What went wrong otherwise is counted.
    pub(super) async fn request(&mut self) -> bool {
        if self.connection.is_none() {
            self.connect().await;
        }
        let Some(connection) = &mut self.connection else {
            return false;
        };
        self.message.advance();
        let exchange = connection.exchange(&self.message, &mut self.scratch);
        let outcome = self.watchdog.guard(exchange).await;
        let failure = match outcome {
            Some(Ok(())) => return true,
            Some(Err(failure)) => failure,
            None => Failure::TimedOut,
        };
        // Whatever else it brings belongs to no request.
        self.connection = None;
        self.tally.lock().failed(failure);
        false
    }

    /// Returns whether it has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }
}
