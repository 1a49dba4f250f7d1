//! The front end's clock, and when its next turn is if nothing else wakes it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Tells the time since the front end began, and wakes it.
#[derive(Debug)]
pub(super) struct Alarm {
    born: Instant,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to; `None` if it has gone off.
    set_to: Option<Duration>,
    turns_again: bool,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            set_to: None,
            turns_again: false,
        }
    }

    /// The time since the front end began.
    pub(super) fn now(&self) -> Duration {
        self.born.elapsed()
    }

    /// Has another turn follow this one: there is something that only the next one sees to.
    pub(super) fn turn_again(&mut self) {
        self.turns_again = true;
    }

    /// Whether another turn is to follow this one, said once.
    pub(super) fn take_turn(&mut self) -> bool {
        std::mem::take(&mut self.turns_again)
    }

    /// Sets the timer if the deadline is another, and polls it.
    pub(super) fn poll(
        &mut self,
        deadline: Option<Duration>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(at) = deadline else {
            return Poll::Pending;
        };
        if self.set_to != deadline {
            self.set_to = deadline;
            let Some(instant) = self.born.checked_add(at) else {
                // Later than time itself goes.
                return Poll::Pending;
            };
            self.timer.as_mut().reset(instant.into());
        }
        let fired = self.timer.as_mut().poll(context);
        if fired.is_ready() {
            self.set_to = None;
        }
        fired
    }
}
