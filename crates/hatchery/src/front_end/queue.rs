//! Connections that wait for a worker with credit.
//!
//! Plain code: the caller brings the clock.

use std::collections::VecDeque;
use std::time::Duration;

/// A bounded queue whose entries know since when they wait.
#[derive(Debug)]
pub(crate) struct WaitQueue<C> {
    waiting: VecDeque<(C, Duration)>,
    len_max: usize,
    timeout: Duration,
}

impl<C> WaitQueue<C> {
    /// Makes a queue for `len_max` connections, each of which may wait for `timeout`.
    pub(crate) fn new(len_max: usize, timeout: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            len_max,
            timeout,
        }
    }

    /// Changes how many may wait, and for how long.
    pub(crate) fn change(&mut self, len_max: usize, timeout: Duration) {
        self.len_max = len_max;
        self.timeout = timeout;
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Appends a connection that was just accepted.
    ///
    /// # Errors
    ///
    /// Gives the connection back if the queue is full.
    pub(crate) fn push(&mut self, connection: C, now: Duration) -> Result<(), C> {
        if self.is_full() {
            return Err(connection);
        }
        self.waiting.push_back((connection, now));
        Ok(())
    }

    /// Appends a connection whatever the length: one that must not be turned away any more.
    pub(crate) fn push_anyway(&mut self, connection: C, now: Duration) {
        self.waiting.push_back((connection, now));
    }

    /// Puts a connection that had been given out before all others, whatever the length.
    pub(crate) fn put_back(&mut self, connection: C, now: Duration) {
        self.waiting.push_front((connection, now));
    }

    /// Takes the connection that is next.
    pub(crate) fn pop(&mut self) -> Option<(C, Duration)> {
        self.waiting.pop_front()
    }

    /// Takes the next connection that has waited too long at `now`.
    pub(crate) fn pop_expired(&mut self, now: Duration) -> Option<C> {
        let expired = |&(_, since): &(C, Duration)| now.saturating_sub(since) >= self.timeout;
        // What was put back carries a newer time than what waits behind it.
        let place = self.waiting.iter().position(expired)?;
        self.waiting.remove(place).map(|(connection, _)| connection)
    }

    /// When the connection that waits longest will have waited too long.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        let oldest = self.waiting.iter().map(|&(_, since)| since).min()?;
        Some(oldest.saturating_add(self.timeout))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.len_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_queue_gives_the_connection_back() {
        let mut queue = WaitQueue::new(2, at(5));
        queue.push('a', at(0)).unwrap();
        queue.push('b', at(0)).unwrap();

        assert_eq!(queue.push('c', at(0)), Err('c'));
    }

    #[test]
    fn what_is_put_back_comes_first_and_is_never_refused() {
        let mut queue = WaitQueue::new(1, at(5));
        queue.push('b', at(0)).unwrap();

        queue.put_back('a', at(1));

        assert_eq!(queue.pop(), Some(('a', at(1))));
        assert_eq!(queue.pop(), Some(('b', at(0))));
    }

    #[test]
    fn who_waited_too_long_is_found_also_behind_who_did_not() {
        let mut queue = WaitQueue::new(4, at(5));
        queue.push('b', at(0)).unwrap();
        queue.push('c', at(3)).unwrap();
        queue.put_back('a', at(4));

        assert_eq!(queue.next_expiry(), Some(at(5)));
        assert_eq!(queue.pop_expired(at(4)), None);
        assert_eq!(queue.pop_expired(at(5)), Some('b'));
        assert_eq!(queue.pop_expired(at(5)), None);
    }
}
