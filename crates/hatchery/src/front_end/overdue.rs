//! Which handler is past its hard deadline.
//!
//! Plain code: no clock, no memory shared with anybody. A handler is overdue only if the front end saw
//! so in two rounds that were in time. What the front end has missed, because the machine slept or
//! everything was stopped, is given to every handler that was there on top.

use std::collections::HashMap;
use std::time::Duration;

use super::pulse::Lapse;

/// The handlers of one worker that are overdue, or have more time than they know.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    notes: HashMap<u32, Note>,
}

/// What there is to remember of the handler in one place.
#[derive(Clone, Copy, Debug)]
struct Note {
    /// Its deadline then: with another one it is another handler, or has been given time.
    deadline: Duration,
    extra: Duration,
    was_overdue: bool,
}

impl Overdue {
    /// Looks at the deadline of every handler, and returns the place of the first that is overdue.
    pub(crate) fn look(
        &mut self,
        handlers: impl Iterator<Item = (u32, Duration)>,
        now: Duration,
        lapse: Lapse,
    ) -> Option<u32> {
        let before = std::mem::take(&mut self.notes);
        let mut found = None;
        for (place, deadline) in handlers {
            let known = before.get(&place).filter(|note| note.deadline == deadline);
            let mut note = known.copied().unwrap_or(Note {
                deadline,
                extra: Duration::ZERO,
                was_overdue: false,
            });
            note.extra = note.extra.saturating_add(lapse.missed);
            if !lapse.seen.is_zero() {
                let is_overdue = deadline.saturating_add(note.extra) <= now;
                if is_overdue && note.was_overdue {
                    found = found.or(Some(place));
                }
                note.was_overdue = is_overdue;
            }
            if note.was_overdue || !note.extra.is_zero() {
                self.notes.insert(place, note);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn in_time() -> Lapse {
        Lapse {
            seen: at(1),
            missed: at(0),
        }
    }

    #[test]
    fn who_is_past_the_deadline_in_two_rounds_is_overdue() {
        let mut overdue = Overdue::default();
        let mut look =
            |now| overdue.look([(3, at(50)), (4, at(10))].into_iter(), at(now), in_time());

        assert_eq!([9, 10, 11].map(&mut look), [None, None, Some(4)]);
    }

    #[test]
    fn who_is_given_time_or_done_in_between_is_not() {
        let mut overdue = Overdue::default();
        overdue.look([(1, at(10)), (2, at(10))].into_iter(), at(10), in_time());

        let found = overdue.look([(1, at(20))].into_iter(), at(11), in_time());

        assert_eq!(found, None);
        assert_eq!(
            overdue.look([(2, at(10))].into_iter(), at(12), in_time()),
            None
        );
    }

    #[test]
    fn what_the_front_end_has_missed_is_given_on_top() {
        let mut overdue = Overdue::default();
        let missed = Lapse {
            seen: at(0),
            missed: at(100),
        };
        assert_eq!(
            overdue.look([(1, at(10))].into_iter(), at(105), missed),
            None
        );

        let mut look = |now| overdue.look([(1, at(10))].into_iter(), at(now), in_time());

        assert_eq!(
            [106, 109, 110, 111].map(&mut look),
            [None, None, None, Some(1)]
        );
    }

    #[test]
    fn the_first_round_after_a_rest_judges_nobody() {
        let mut overdue = Overdue::default();
        let rested = Lapse {
            seen: at(0),
            missed: at(0),
        };

        for _ in 0..3 {
            assert_eq!(
                overdue.look([(1, at(10))].into_iter(), at(20), rested),
                None
            );
        }
    }
}
