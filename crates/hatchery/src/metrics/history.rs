//! What has happened lately, for whoever looks later.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::control::ServerEvent;

/// How many events are kept.
const EVENTS_MAX: usize = 100;

/// An event, with when it was.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoggedEvent {
    /// Its number; no other has the same.
    number: u64,
    /// Milliseconds since 1970.
    at_ms: u64,
    event: ServerEvent,
}

/// The last events of a server, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    events: VecDeque<LoggedEvent>,
    next: u64,
}

impl History {
    /// Keeps an event, and drops the oldest if there are too many.
    pub(super) fn keep(&mut self, event: ServerEvent) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = since.map_or(0, |since| since.as_millis());
        self.events.push_back(LoggedEvent {
            number: self.next,
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
            event,
        });
        self.next += 1;
    }

    pub(super) fn all(&self) -> Vec<LoggedEvent> {
        self.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_events_are_kept() {
        let mut history = History::default();

        for _ in 0..EVENTS_MAX + 3 {
            history.keep(ServerEvent::Reloading);
        }

        let events = history.all();
        assert_eq!((events.len(), events[0].number), (EVENTS_MAX, 3));
    }
}
