//! What tells a server to stop, to reload, to upgrade or to scale: signals, or a future of the program's own.

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

/// What a signal or the program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Stop(Urgency),
    /// Read the configuration again.
    Reload,
    /// Let a new program take over.
    Upgrade,
    /// Have so many workers more, or fewer.
    ScaleBy(i32),
}

/// The sources that say what to do.
pub(crate) struct Signals {
    stops: Vec<Source>,
    /// Those that say something else, with what they say.
    others: Vec<(Source, Told)>,
    shutdown: Option<Shutdown>,
    was_told: bool,
}

impl Signals {
    /// Listens to signals, if the program wants that, and to its own future.
    pub(crate) fn listen(signals: bool, shutdown: Option<Shutdown>) -> io::Result<Self> {
        if !signals {
            return Self::listen_to(&[], &[], shutdown);
        }
        let others = [
            (Signal::HUP, Told::Reload),
            (Signal::USR2, Told::Upgrade),
            (Signal::TTIN, Told::ScaleBy(1)),
            (Signal::TTOU, Told::ScaleBy(-1)),
        ];
        // The kernel ignores for the first process of a container what would end any other.
        let stops: &[Signal] = match std::process::id() {
            1 => &[Signal::TERM, Signal::INT, Signal::QUIT],
            _ => &[Signal::TERM, Signal::INT],
        };
        Self::listen_to(stops, &others, shutdown)
    }

    fn listen_to(
        stops: &[Signal],
        others: &[(Signal, Told)],
        shutdown: Option<Shutdown>,
    ) -> io::Result<Self> {
        let stops: io::Result<_> = stops.iter().map(|&signal| Source::new(signal)).collect();
        let others = others.iter();
        let others: io::Result<_> = others
            .map(|&(signal, told)| Ok((Source::new(signal)?, told)))
            .collect();
        Ok(Self {
            stops: stops?,
            others: others?,
            shutdown,
            was_told: false,
        })
    }

    /// Returns the next thing that was said since the last call.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Option<Told> {
        if let Some(urgency) = self.poll_stop(context) {
            return Some(Told::Stop(urgency));
        }
        let mut others = self.others.iter_mut();
        others.find_map(|(source, told)| source.poll(context).then_some(*told))
    }

    fn poll_stop(&mut self, context: &mut Context<'_>) -> Option<Urgency> {
        let mut is_told = false;
        for source in &mut self.stops {
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

    async fn next(signals: &mut Signals) -> Told {
        poll_fn(|context| match signals.poll(context) {
            Some(told) => Poll::Ready(told),
            None => Poll::Pending,
        })
        .await
    }

    #[tokio::test]
    async fn a_signal_that_came_while_nobody_listened_yet_is_heard_once() {
        const SIGNAL: Signal = Signal::USR1;
        assert!(note_signal(SIGNAL).unwrap());
        kill_process(getpid(), SIGNAL).unwrap();

        let mut signals = Signals::listen_to(&[SIGNAL], &[], None).unwrap();

        assert_eq!(next(&mut signals).await, Told::Stop(Urgency::Drain));
        let more = tokio::time::timeout(std::time::Duration::from_millis(20), next(&mut signals));
        assert!(more.await.is_err());

        kill_process(getpid(), SIGNAL).unwrap();
        assert_eq!(next(&mut signals).await, Told::Stop(Urgency::Kill));
    }
}
