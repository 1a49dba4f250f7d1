//! What tells a server to stop: signals, or a future of the program's own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A future that resolves when the server is to stop.
pub(crate) type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a server is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Let workers finish what they have.
    Drain,
    /// Kill the workers.
    Kill,
}

/// The sources that say when to stop.
pub(crate) struct Signals {
    streams: Vec<Signal>,
    shutdown: Option<Shutdown>,
    was_told: bool,
}

impl Signals {
    /// Listens to `SIGTERM` and `SIGINT`, if the program wants that, and to its own future.
    pub(crate) fn listen(signals: bool, shutdown: Option<Shutdown>) -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        let wanted = kinds.into_iter().filter(|_| signals);
        let streams: io::Result<Vec<Signal>> = wanted.map(signal).collect();
        Ok(Self {
            streams: streams?,
            shutdown,
            was_told: false,
        })
    }

    /// Returns how to stop, if something has said so since the last call.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Option<Urgency> {
        let mut is_told = false;
        for stream in &mut self.streams {
            is_told |= matches!(stream.poll_recv(context), Poll::Ready(Some(())));
        }
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.as_mut().poll(context).is_ready()
        {
            self.shutdown = None;
            is_told = true;
        }
        if !is_told {
            return None;
        }
        let urgency = if self.was_told {
            Urgency::Kill
        } else {
            Urgency::Drain
        };
        self.was_told = true;
        Some(urgency)
    }
}
