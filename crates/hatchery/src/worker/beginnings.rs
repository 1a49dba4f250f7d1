//! Connections that have something to say before they are served: side by side, so that none waits
//! for another.

use std::pin::Pin;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::connection::{Connection, ConnectionInfo};
use super::incoming::Incoming;

/// What comes of a connection that begins, if anything does.
type Beginning<T> = Pin<Box<dyn Future<Output = Option<(T, ConnectionInfo)>> + Send>>;

/// The connections that come to a worker, as soon as they have begun.
pub(super) struct Beginnings<T> {
    /// `None` when there will be no more.
    incoming: Option<Incoming>,
    beginnings: FuturesUnordered<Beginning<T>>,
    drain: watch::Sender<bool>,
}

impl<T> Beginnings<T> {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            beginnings: FuturesUnordered::new(),
            drain: watch::Sender::new(false),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.beginnings.len()
    }

    /// Waits for the next connection, whatever it has said; `None` when there will be no more.
    pub(super) async fn next_at_once(&mut self) -> Option<Connection> {
        let incoming = self.incoming.as_mut()?;
        let connection = incoming.accept().await?;
        Some(connection.go_on_elsewhere())
    }

    /// Waits for one to have begun, as `begin` says; `None` when there will be no more.
    ///
    /// What begins is told when the worker is to drain.
    pub(super) async fn next<F>(
        &mut self,
        begin: impl Fn(Connection, watch::Receiver<bool>) -> F,
    ) -> Option<(T, ConnectionInfo)>
    where
        F: Future<Output = Option<(T, ConnectionInfo)>> + Send + 'static,
    {
        loop {
            let Some(incoming) = &mut self.incoming else {
                return self.next_of_the_last().await;
            };
            tokio::select! {
                // Futures that nobody waits for end at once: then there is only the other.
                Some(begun) = self.beginnings.next() => {
                    if begun.is_some() {
                        return begun;
                    }
                }
                connection = incoming.accept() => match connection {
                    Some(connection) => {
                        let draining = self.drain.subscribe();
                        let beginning = begin(connection.go_on_elsewhere(), draining);
                        self.beginnings.push(Box::pin(beginning));
                    }
                    None => {
                        self.incoming = None;
                        self.drain.send_replace(true);
                    }
                },
            }
        }
    }

    async fn next_of_the_last(&mut self) -> Option<(T, ConnectionInfo)> {
        while let Some(begun) = self.beginnings.next().await {
            if begun.is_some() {
                return begun;
            }
        }
        None
    }
}

impl<T> std::fmt::Debug for Beginnings<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Beginnings");
        shown.field("count", &self.count()).finish_non_exhaustive()
    }
}
