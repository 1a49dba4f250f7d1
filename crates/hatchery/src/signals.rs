//! What tells a server to stop: signals, or a future of the program's own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hatchery_os::{note_signal, take_noted};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

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
    sources: Vec<Source>,
    shutdown: Option<Shutdown>,
    was_told: bool,
}

impl Signals {
    /// Listens to `SIGTERM` and `SIGINT`, if the program wants that, and to its own future.
    pub(crate) fn listen(signals: bool, shutdown: Option<Shutdown>) -> io::Result<Self> {
        let wanted: &[Signal] = if signals {
            &[Signal::TERM, Signal::INT]
        } else {
            &[]
        };
        Self::listen_to(wanted, shutdown)
    }

    fn listen_to(signals: &[Signal], shutdown: Option<Shutdown>) -> io::Result<Self> {
        let sources: io::Result<_> = signals.iter().map(|&signal| Source::new(signal)).collect();
        Ok(Self {
            sources: sources?,
            shutdown,
            was_told: false,
        })
    }

    /// Returns how to stop, if something has said so since the last call.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Option<Urgency> {
        let mut is_told = false;
        for source in &mut self.sources {
            is_told |= source.poll(context);
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

/// Tells of one signal.
struct Source {
    signal: Signal,
    /// Whether it is noted by a handler that never loses one. tokio's does, if the signal comes while
    /// it is being installed; then tokio only wakes.
    is_noted: bool,
    stream: tokio::signal::unix::Signal,
}

impl Source {
    fn new(kind: Signal) -> io::Result<Self> {
        Ok(Self {
            signal: kind,
            is_noted: note_signal(kind)?,
            stream: signal(SignalKind::from_raw(kind.as_raw()))?,
        })
    }

    /// Whether the signal has come since the last call; sees to being woken when it does.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let mut has_streamed = false;
        while let Poll::Ready(Some(())) = self.stream.poll_recv(context) {
            has_streamed = true;
        }
        if self.is_noted {
            take_noted(self.signal)
        } else {
            has_streamed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rustix::process::{getpid, kill_process};

    use super::*;

    async fn next(signals: &mut Signals) -> Urgency {
        poll_fn(|context| match signals.poll(context) {
            Some(urgency) => Poll::Ready(urgency),
            None => Poll::Pending,
        })
        .await
    }

    #[tokio::test]
    async fn a_signal_that_came_while_nobody_listened_yet_is_heard_once() {
        const SIGNAL: Signal = Signal::USR1;
        assert!(note_signal(SIGNAL).unwrap());
        kill_process(getpid(), SIGNAL).unwrap();

        let mut signals = Signals::listen_to(&[SIGNAL], None).unwrap();

        assert_eq!(next(&mut signals).await, Urgency::Drain);
        let more = tokio::time::timeout(std::time::Duration::from_millis(20), next(&mut signals));
        assert!(more.await.is_err());

        kill_process(getpid(), SIGNAL).unwrap();
        assert_eq!(next(&mut signals).await, Urgency::Kill);
    }
}
