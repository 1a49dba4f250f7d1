//! What may go wrong with every connection: logged in full once, and then summed up.
//!
//! Plain code: the caller brings the clock, and logs. Where thousands are turned away a second, a
//! line for each of them would cost more than turning them away.

use std::time::Duration;

/// How often complaints of one kind are summed up.
const PERIOD: Duration = Duration::from_secs(1);

/// What is complained of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// A connection found no worker with room, and no place in the queue.
    QueueFull,
    /// A connection waited in the queue for too long.
    WaitedTooLong,
    /// A worker had no descriptor left for a connection.
    WorkerFull,
    /// This process had no descriptor left for a connection.
    FrontEndFull,
    /// A connection is like one of which workers have died.
    Poisoned,
}

/// The complaints since each kind was last logged.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    kinds: [Kind; Complaint::ALL.len()],
}

#[derive(Debug, Default)]
struct Kind {
    /// When it was last logged; `None` if that is long ago.
    logged: Option<Duration>,
    /// How many connections it was about since.
    count: u64,
}

impl Complaint {
    const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::WaitedTooLong,
        Self::WorkerFull,
        Self::FrontEndFull,
        Self::Poisoned,
    ];

    /// What happened, as the log says it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::QueueFull => "turned away: no worker has room and the queue is full",
            Self::WaitedTooLong => "turned away: no worker had room in time",
            Self::WorkerFull => "a worker's descriptor table is full",
            Self::FrontEndFull => "no room to accept another connection",
            Self::Poisoned => "refused: workers have died of connections like it",
        }
    }
}

impl Complaints {
    /// Notes that something happened to so many connections; true if it is to be logged in full.
    pub(crate) fn note(&mut self, complaint: Complaint, connections: usize, now: Duration) -> bool {
        let kind = &mut self.kinds[complaint as usize];
        if kind.logged.is_none() {
            kind.logged = Some(now);
            return true;
        }
        kind.count += connections as u64;
        false
    }

    /// When there may be something to sum up.
    pub(crate) fn due(&self) -> Option<Duration> {
        let logged = self.kinds.iter().filter_map(|kind| kind.logged);
        logged.min().map(|at| at.saturating_add(PERIOD))
    }

    /// Takes what is to be summed up now: how many connections each was about.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<(Complaint, u64)> {
        let mut due = Vec::new();
        for (complaint, kind) in Complaint::ALL.into_iter().zip(&mut self.kinds) {
            let is_due = kind
                .logged
                .is_some_and(|at| now.saturating_sub(at) >= PERIOD);
            if !is_due {
                continue;
            }
            // After a quiet time the next one is logged in full again.
            kind.logged = (kind.count > 0).then_some(now);
            if kind.count > 0 {
                due.push((complaint, std::mem::take(&mut kind.count)));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::Complaint::{QueueFull, WorkerFull};
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_of_each_kind_is_logged_in_full_and_the_rest_is_summed_up() {
        let mut complaints = Complaints::default();
        assert!(complaints.note(QueueFull, 1, at(0)));
        assert!(complaints.note(WorkerFull, 32, at(10)));
        assert!((1..=500).all(|ms| !complaints.note(QueueFull, 1, at(ms))));
        assert!(!complaints.note(WorkerFull, 7, at(501)));

        assert_eq!(complaints.due(), Some(at(1000)));
        assert_eq!(complaints.take_due(at(999)), []);
        assert_eq!(complaints.take_due(at(1000)), [(QueueFull, 500)]);
        assert_eq!(complaints.take_due(at(1010)), [(WorkerFull, 7)]);
        assert_eq!(complaints.due(), Some(at(2000)));
    }

    #[test]
    fn what_goes_on_has_one_line_a_second() {
        let mut complaints = Complaints::default();
        let mut lines = 0;
        for ms in 0..10_000 {
            lines += complaints.take_due(at(ms)).len();
            lines += usize::from(complaints.note(QueueFull, 1, at(ms)));
        }

        assert_eq!(lines, 10);
    }

    #[test]
    fn after_a_quiet_second_the_next_is_logged_in_full() {
        let mut complaints = Complaints::default();
        complaints.note(QueueFull, 1, at(0));

        assert_eq!(complaints.take_due(at(1000)), []);

        assert_eq!(complaints.due(), None);
        assert!(complaints.note(QueueFull, 1, at(1001)));
    }
}
