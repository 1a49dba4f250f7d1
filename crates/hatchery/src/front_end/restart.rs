//! When a worker that ended is started again, and when that is given up.
//!
//! Plain code: the caller says what happened, and is told how long to wait.

use std::time::Duration;

/// Failed starts in a row after which a server ends whose workers were never all ready.
pub(crate) const FAILED_STARTS_MAX: u32 = 5;

/// The wait after the first failed start; each further one doubles it.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The longest wait between two starts.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// What to do about a worker that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start another after this long.
    RestartAfter(Duration),
    /// End the server: it has never been complete, and does not get on.
    GiveUp,
}

/// How starts have gone so far.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    failed_in_a_row: u32,
    /// Failed starts since the last worker became ready.
    failed_since_ready: u32,
    /// Whether all workers were ready once.
    was_complete: bool,
}

impl Restarts {
    /// Notes that a worker became ready.
    pub(crate) fn ready(&mut self) {
        self.failed_since_ready = 0;
    }

    /// Notes that all workers are ready.
    pub(crate) fn complete(&mut self) {
        self.was_complete = true;
    }

    /// Decides about a worker that ended after it had been ready.
    ///
    /// One that ended by itself before it had served anything has failed to start, only later.
    pub(crate) fn ended(&mut self, was_useless: bool) -> Verdict {
        if was_useless {
            return self.failed();
        }
        self.failed_in_a_row = 0;
        Verdict::RestartAfter(Duration::ZERO)
    }

    /// Decides about a worker that ended before it was ready.
    pub(crate) fn failed(&mut self) -> Verdict {
        self.failed_in_a_row += 1;
        self.failed_since_ready += 1;
        if !self.was_complete && self.failed_since_ready >= FAILED_STARTS_MAX {
            return Verdict::GiveUp;
        }
        let doublings = (self.failed_in_a_row - 1).min(16);
        Verdict::RestartAfter((BACK_OFF * (1 << doublings)).min(BACK_OFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_had_been_ready_is_replaced_at_once() {
        let mut restarts = Restarts::default();
        restarts.ready();

        assert_eq!(restarts.ended(false), Verdict::RestartAfter(Duration::ZERO));
    }

    #[test]
    fn starts_that_keep_failing_are_spaced_out_and_never_given_up_after_a_success() {
        let mut restarts = Restarts::default();
        restarts.ready();
        restarts.complete();

        let waits: Vec<Verdict> = (0..9).map(|_| restarts.failed()).collect();

        let millis = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        let expected = millis.map(|ms| Verdict::RestartAfter(Duration::from_millis(ms)));
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_server_that_never_had_a_worker_gives_up_at_the_fifth_failure() {
        let mut restarts = Restarts::default();

        let verdicts: Vec<Verdict> = (0..5).map(|_| restarts.failed()).collect();

        assert!(!verdicts[..4].contains(&Verdict::GiveUp));
        assert_eq!(verdicts[4], Verdict::GiveUp);
    }

    #[test]
    fn a_server_that_never_had_all_workers_gives_up_five_failures_after_the_last_ready_one() {
        let mut restarts = Restarts::default();
        for _ in 0..4 {
            restarts.failed();
        }
        restarts.ready();

        let verdicts: Vec<Verdict> = (0..5).map(|_| restarts.failed()).collect();

        assert!(!verdicts[..4].contains(&Verdict::GiveUp));
        assert_eq!(verdicts[4], Verdict::GiveUp);
    }

    #[test]
    fn a_worker_that_is_ready_and_then_ends_by_itself_unused_is_spaced_out_too() {
        let mut restarts = Restarts::default();

        let waits = [(); 3].map(|()| {
            restarts.ready();
            restarts.ended(true)
        });

        let millis = [100, 200, 400];
        let expected = millis.map(|ms| Verdict::RestartAfter(Duration::from_millis(ms)));
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_success_starts_the_count_anew() {
        let mut restarts = Restarts::default();
        for _ in 0..4 {
            restarts.failed();
        }
        restarts.ready();
        restarts.ended(false);

        assert_eq!(
            restarts.failed(),
            Verdict::RestartAfter(Duration::from_millis(100))
        );
    }
}
