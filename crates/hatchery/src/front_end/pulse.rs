//! Whether the loops of workers turn, and whether the front end may be the judge of that.
//!
//! Plain code: no clock, no memory shared with anybody. In each round the front end asks the loops
//! of workers that have work, by a number, and in the next it looks who has answered. Time counts
//! against a worker only if the front end came to its round in time: of a round that is late, because
//! the machine slept, because everything was stopped or because this process had no CPU, nobody can
//! say whether the workers could run. So a worker is given up only after several rounds in time, in
//! none of which it answered.

use std::time::Duration;

/// How many rounds there are in the shortest time that is watched.
const ROUNDS: u32 = 8;

/// The longest time between two rounds.
const PACE_MAX: Duration = Duration::from_secs(1);

/// How many times its length the time between two rounds may have for the second to be in time.
const LATE: u32 = 2;

/// When the front end looks at its workers.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    last: Duration,
    /// When the next round is, while there is anything to look at.
    due: Option<Duration>,
}

/// How long it was since the last round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lapse {
    /// The time that the front end has seen pass; zero if it came late.
    pub(crate) seen: Duration,
    /// The time in which the front end did not run, for all that is known.
    pub(crate) missed: Duration,
}

/// Returns the time between two rounds where these times are watched; zero is none.
pub(crate) fn pace(watched: &[Duration]) -> Option<Duration> {
    let shortest = watched.iter().filter(|time| !time.is_zero()).min()?;
    Some((*shortest / ROUNDS).clamp(Duration::from_millis(1), PACE_MAX))
}

impl Rounds {
    /// When the next round is, if there is to be one.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Begins a round if it is time for one; `pace` is `None` where there is nothing to look at.
    pub(crate) fn begin(&mut self, pace: Option<Duration>, now: Duration) -> Option<Lapse> {
        let Some(pace) = pace else {
            self.due = None;
            return None;
        };
        let Some(due) = self.due else {
            // The first round after a rest: nothing has been asked, and nothing can be said.
            self.last = now;
            self.due = Some(now.saturating_add(pace));
            return Some(Lapse {
                seen: Duration::ZERO,
                missed: Duration::ZERO,
            });
        };
        if due > now {
            return None;
        }
        let passed = now.saturating_sub(self.last);
        self.last = now;
        self.due = Some(now.saturating_add(pace));
        let is_late = passed > pace * LATE;
        let (seen, missed) = if is_late {
            (Duration::ZERO, passed)
        } else {
            (passed, Duration::ZERO)
        };
        Some(Lapse { seen, missed })
    }
}

/// Whether the loop of one worker answers.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The number of the last question.
    asked: u32,
    /// For how long the front end has waited for the answer, as far as it has seen.
    silence: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It answered, and nothing was asked since.
    #[default]
    Quiet,
    /// It was asked, and no round has passed.
    Asked,
    /// It has not answered for a round or more.
    Silent,
    /// It has been given up.
    GivenUp,
}

/// What is to be done about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing.
    Nothing,
    /// Its loop does not answer: give it nothing more.
    PassOver,
    /// Its loop answers again.
    TakeBack,
    /// Its loop has not answered for the whole time: end it.
    GiveUp,
}

impl Pulse {
    /// Takes in the number that the worker last answered; what was asked may be answered any time.
    pub(crate) fn heard(&mut self, answered: u32) -> Finding {
        if answered != self.asked || self.state == State::GivenUp {
            return Finding::Nothing;
        }
        self.silence = Duration::ZERO;
        match std::mem::replace(&mut self.state, State::Quiet) {
            State::Silent => Finding::TakeBack,
            _ => Finding::Nothing,
        }
    }

    /// Counts a round in which nothing was heard.
    pub(crate) fn wait(&mut self, lapse: Lapse, timeout: Duration) -> Finding {
        if !matches!(self.state, State::Asked | State::Silent) || lapse.seen.is_zero() {
            return Finding::Nothing;
        }
        self.silence = self.silence.saturating_add(lapse.seen);
        if self.silence >= timeout {
            self.state = State::GivenUp;
            return Finding::GiveUp;
        }
        match std::mem::replace(&mut self.state, State::Silent) {
            State::Asked => Finding::PassOver,
            _ => Finding::Nothing,
        }
    }

    /// Whether everything that was asked has been answered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state == State::Quiet
    }

    /// Begins a question, and returns its number.
    pub(crate) fn ask(&mut self) -> u32 {
        debug_assert!(self.is_quiet(), "one question at a time");
        self.state = State::Asked;
        self.asked = self.asked.wrapping_add(1);
        self.asked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(8);
    const PACE: Duration = Duration::from_secs(1);

    fn seen(seconds: u64) -> Lapse {
        Lapse {
            seen: Duration::from_secs(seconds),
            missed: Duration::ZERO,
        }
    }

    fn missed(seconds: u64) -> Lapse {
        Lapse {
            seen: Duration::ZERO,
            missed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_loop_that_never_answers_is_passed_over_and_then_given_up_once() {
        let mut pulse = Pulse::default();
        pulse.ask();

        let findings: Vec<_> = (0..10).map(|_| pulse.wait(seen(1), TIMEOUT)).collect();

        assert_eq!(findings[0], Finding::PassOver);
        assert_eq!(findings[7], Finding::GiveUp);
        let others = findings[1..7].iter().chain(&findings[8..]);
        assert!(others.copied().all(|finding| finding == Finding::Nothing));
        assert_eq!(pulse.heard(1), Finding::Nothing, "it is too late");
    }

    #[test]
    fn a_loop_that_answers_late_is_taken_back_and_starts_afresh() {
        let mut pulse = Pulse::default();
        let number = pulse.ask();
        (0..7).for_each(|_| {
            pulse.wait(seen(1), TIMEOUT);
        });

        assert_eq!(pulse.heard(number), Finding::TakeBack);

        assert!(pulse.is_quiet());
        pulse.ask();
        assert_eq!(pulse.heard(number), Finding::Nothing, "that was the first");
        assert_eq!(pulse.wait(seen(7), TIMEOUT), Finding::PassOver);
    }

    #[test]
    fn time_that_the_front_end_has_not_seen_counts_against_nobody() {
        let mut pulse = Pulse::default();
        pulse.ask();

        for _ in 0..1000 {
            assert_eq!(pulse.wait(missed(3600), TIMEOUT), Finding::Nothing);
        }

        assert_eq!(pulse.wait(seen(1), TIMEOUT), Finding::PassOver);
    }

    #[test]
    fn a_loop_that_was_not_asked_is_not_judged() {
        let mut pulse = Pulse::default();

        assert_eq!(pulse.wait(seen(100), TIMEOUT), Finding::Nothing);
        assert!(pulse.is_quiet());
    }

    #[test]
    fn a_round_that_is_late_is_told_from_one_in_time() {
        let mut rounds = Rounds::default();
        let mut begin = |seconds| rounds.begin(Some(PACE), Duration::from_secs(seconds));

        let lapses = [10, 10, 11, 13, 16, 17].map(&mut begin);

        let first = Some(seen(0));
        assert_eq!(
            lapses,
            [
                first,
                None,
                Some(seen(1)),
                Some(seen(2)),
                Some(missed(3)),
                Some(seen(1))
            ]
        );
    }

    #[test]
    fn there_is_no_round_while_there_is_nothing_to_look_at() {
        let mut rounds = Rounds::default();
        rounds.begin(Some(PACE), Duration::from_secs(1));
        assert_eq!(rounds.due(), Some(Duration::from_secs(2)));

        assert_eq!(rounds.begin(None, Duration::from_secs(2)), None);
        assert_eq!(rounds.due(), None);

        let after_the_rest = rounds.begin(Some(PACE), Duration::from_secs(900));
        assert_eq!(after_the_rest, Some(seen(0)));
    }

    #[test]
    fn the_shortest_time_that_is_watched_sets_the_pace() {
        let pace_of = |millis: &[u64]| {
            let watched: Vec<_> = millis.iter().copied().map(Duration::from_millis).collect();
            pace(&watched).map(|pace| pace.as_millis())
        };

        assert_eq!(pace_of(&[0, 0]), None);
        assert_eq!(pace_of(&[60_000, 0]), Some(1000));
        assert_eq!(pace_of(&[60_000, 400]), Some(50));
        assert_eq!(pace_of(&[1]), Some(1));
    }

    proptest! {
        /// Whatever the rounds are, what counts against a worker is time in which it was asked, had
        /// not answered, and the front end was there at both ends.
        #[test]
        fn nobody_is_given_up_before_the_whole_time_was_seen_in_several_rounds(
            steps in proptest::collection::vec((1..3000_u64, any::<bool>()), 1..200),
        ) {
            let (mut rounds, mut pulse) = (Rounds::default(), Pulse::default());
            let (mut now, mut silence, mut in_time) = (0, Duration::ZERO, 0);
            for (millis, answers) in steps {
                now += millis;
                let now = Duration::from_millis(now);
                if answers {
                    pulse.heard(pulse.asked);
                    (silence, in_time) = (Duration::ZERO, 0);
                }
                let Some(lapse) = rounds.begin(Some(PACE), now) else {
                    continue;
                };
                if !pulse.is_quiet() && !lapse.seen.is_zero() {
                    silence += lapse.seen;
                    in_time += 1;
                }
                if pulse.wait(lapse, TIMEOUT) == Finding::GiveUp {
                    prop_assert!(silence >= TIMEOUT && in_time >= 4);
                    return Ok(());
                }
                prop_assert!(silence < TIMEOUT);
                if pulse.is_quiet() {
                    pulse.ask();
                }
            }
        }
    }
}
