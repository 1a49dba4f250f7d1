//! A place where a number of processes wait for each other.

mod round;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::monitor::ShareError;
use super::object::shared_object;
use super::wait::{Wake, wait_async, wait_until};
use round::{Arrival, Outcome, PARTIES_MAX, Rounds};

/// A place that a number of parties pass together, again and again.
///
/// It breaks, for all of them, if one gives up waiting, is killed while it waits, or calls
/// [`abort`](Self::abort). It stays so until [`reset`](Self::reset). A party is a call: threads
/// of one process are as good as processes.
#[derive(Clone, Debug)]
pub struct Barrier {
    monitor: Rounds,
}

/// The barrier is broken: not all parties came, or came and stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the barrier is broken: a party gave up, died or aborted")]
pub struct BrokenBarrier;

/// Why a barrier was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// So many parties cannot wait for each other.
    #[error("a barrier for {asked} parties cannot be; allowed: 1 to {max}")]
    Parties {
        /// How many were asked for.
        asked: u32,
        /// The most that may be.
        max: u32,
    },
    /// The memory for it was not to be had.
    #[error("the barrier could not be made")]
    Share(#[from] ShareError),
}

impl Barrier {
    /// Makes a barrier for so many parties, 1 to 1024.
    ///
    /// # Errors
    ///
    /// Returns [`BarrierError::Parties`] for any other number, and [`BarrierError::Share`] for any error
    /// of the kernel.
    pub fn new(parties: u32) -> Result<Self, BarrierError> {
        if !(1..=PARTIES_MAX).contains(&parties) {
            let (asked, max) = (parties, PARTIES_MAX);
            return Err(BarrierError::Parties { asked, max });
        }
        let monitor = Rounds::create(parties)?;
        Ok(Self { monitor })
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Rounds::map(memory)?;
        Ok(Self { monitor })
    }

    /// Waits for all parties; each gets another index, from 0.
    ///
    /// # Errors
    ///
    /// Returns [`BrokenBarrier`] if it is broken or breaks meanwhile.
    pub fn wait(&self) -> Result<usize, BrokenBarrier> {
        self.wait_until(None, || ())
    }

    /// Waits for all parties, for at most `timeout`; when the time is up, the barrier breaks.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BrokenBarrier> {
        // A time too long to be reckoned with is for ever.
        self.wait_until(Instant::now().checked_add(timeout), || ())
    }

    /// Waits for all parties; the last to come runs `action` before any goes on.
    ///
    /// If the action panics, or its process is killed, the barrier breaks.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        self.wait_until(None, action)
    }

    /// Does as [`wait_with`](Self::wait_with), for at most `timeout`, which includes the action.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_with(
        &self,
        timeout: Duration,
        action: impl FnOnce(),
    ) -> Result<usize, BrokenBarrier> {
        self.wait_until(Instant::now().checked_add(timeout), action)
    }

    /// Waits for all parties without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is giving up: the barrier breaks, unless all had come.
    pub async fn wait_async(&self) -> Result<usize, BrokenBarrier> {
        let rounds = &self.monitor;
        let arrived = wait_async(rounds.place(), Wake::All, |look| rounds.arrive(look)).await;
        let party = self.party(arrived)?;
        let Arrival { record, .. } = party.arrival;
        if party.arrival.is_last {
            rounds.pass(record);
        } else {
            let attempt = |look| rounds.attempt(record, look);
            wait_async(rounds.place(), Wake::All, attempt).await;
        }
        party.leave()
    }

    /// Breaks the barrier: those who wait and those who come find it broken.
    pub fn abort(&self) {
        self.monitor.abort();
    }

    /// Makes the barrier whole; those who wait find it broken.
    pub fn reset(&self) {
        self.monitor.reset();
    }

    /// Whether it is broken, at this moment.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.monitor.is_broken()
    }

    /// How many wait, at this moment.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.monitor.arrived()
    }

    /// How many have to come.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.monitor.parties()
    }

    fn wait_until(
        &self,
        deadline: Option<Instant>,
        action: impl FnOnce(),
    ) -> Result<usize, BrokenBarrier> {
        let rounds = &self.monitor;
        let Some(arrived) = wait_until(rounds.word(), deadline, |look| rounds.arrive(look)) else {
            rounds.abort();
            return Err(BrokenBarrier);
        };
        let party = self.party(arrived)?;
        let Arrival { record, .. } = party.arrival;
        if party.arrival.is_last {
            action();
            rounds.pass(record);
        } else {
            wait_until(rounds.word(), deadline, |look| rounds.attempt(record, look));
        }
        party.leave()
    }

    fn party(&self, arrived: Result<Arrival, Outcome>) -> Result<Party<'_>, BrokenBarrier> {
        let arrival = arrived.map_err(|_| BrokenBarrier)?;
        Ok(Party {
            rounds: &self.monitor,
            arrival,
        })
    }
}

shared_object!(Barrier);

/// A party that waits; dropping it is leaving.
#[derive(Debug)]
struct Party<'a> {
    rounds: &'a Rounds,
    arrival: Arrival,
}

impl Party<'_> {
    fn leave(self) -> Result<usize, BrokenBarrier> {
        let party = std::mem::ManuallyDrop::new(self);
        match party.rounds.leave(party.arrival.record) {
            Outcome::Passed => Ok(party.arrival.index),
            Outcome::Broken => Err(BrokenBarrier),
        }
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        self.rounds.leave(self.arrival.record);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use super::*;
    use crate::Parcel;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn five_pass_ten_times_in_lockstep_and_each_index_is_there_once() {
        let barrier = Barrier::new(5).unwrap();
        let (arrived, actions) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run = |_| {
            (1..=10)
                .map(|round| {
                    arrived.fetch_add(1, SeqCst);
                    let index = barrier.wait_with(|| {
                        assert_eq!(arrived.load(SeqCst), 5 * round);
                        actions.fetch_add(1, SeqCst);
                    });
                    assert_eq!(actions.load(SeqCst), round);
                    barrier.wait().unwrap();
                    index.unwrap()
                })
                .collect::<Vec<_>>()
        };

        let indices: Vec<Vec<usize>> = thread::scope(|threads| {
            let parties: Vec<_> = (0..5).map(|_| threads.spawn(move || run(()))).collect();
            let join = |party: thread::ScopedJoinHandle<'_, _>| party.join().unwrap();
            parties.into_iter().map(join).collect()
        });

        for round in 0..10 {
            let mut of_round: Vec<usize> = indices.iter().map(|of| of[round]).collect();
            of_round.sort_unstable();
            assert_eq!(of_round, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_barrier_for_none_or_too_many_is_refused_with_what_is_allowed() {
        for parties in [0, 1025] {
            let error = Barrier::new(parties).unwrap_err().to_string();

            let expected = format!("a barrier for {parties} parties cannot be; allowed: 1 to 1024");
            assert_eq!(error, expected);
        }
        assert_eq!(Barrier::new(1024).unwrap().parties(), 1024);
    }

    #[test]
    fn one_that_does_not_come_breaks_it_until_it_is_reset() {
        let barrier = Barrier::new(2).unwrap();

        let waited = barrier.wait_timeout(Duration::from_millis(3));

        assert_eq!(waited, Err(BrokenBarrier));
        assert_eq!(barrier.wait(), Err(BrokenBarrier));
        barrier.reset();
        assert!(!barrier.is_broken());
        assert_eq!(barrier.n_waiting(), 0);
    }

    #[test]
    fn aborting_and_resetting_wake_who_waits_with_an_error() {
        for end in [Barrier::abort, Barrier::reset] {
            let barrier = Barrier::new(3).unwrap();
            let received: Barrier = Parcel::encode(&barrier).unwrap().decode().unwrap();
            assert_eq!(received.parties(), 3);
            thread::scope(|threads| {
                let waits = || barrier.wait_timeout(LONG);
                let parties = [threads.spawn(waits), threads.spawn(waits)];
                while received.n_waiting() < 2 {
                    thread::yield_now();
                }

                end(&received);

                let ends = parties.map(|party| party.join().unwrap());
                assert_eq!(ends, [Err(BrokenBarrier), Err(BrokenBarrier)]);
            });
        }
    }

    #[test]
    fn an_action_that_panics_breaks_it() {
        let barrier = Barrier::new(1).unwrap();
        assert_eq!(barrier.wait(), Ok(0));

        let panicked = catch_unwind(AssertUnwindSafe(|| barrier.wait_with(|| panic!("no"))));

        assert!(panicked.is_err());
        assert!(barrier.is_broken());
    }
}
