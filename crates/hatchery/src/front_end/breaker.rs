//! When workers die too often: none is started for a while, and then one, to see whether it lasts.
//!
//! Plain code: the caller says what happened and when. Whoever lives works on; what the breaker
//! keeps back is successors alone.
//!
//! ```text
//! closed ──too many deaths──▶ open ──after a pause, one is started──▶ half open
//!    ▲                          ▲                                       │   │
//!    │                          └────────────── it dies ────────────────┘   │
//!    └────────────────────────────── it lasts ──────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::roster::Seat;

/// The wait before another is tried where nobody is left; each one that dies doubles it.
const ALONE: Duration = Duration::from_millis(100);

/// How often a pause is doubled at most.
const DOUBLINGS_MAX: u32 = 4;

/// How many deaths are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intensity {
    /// So many within the window open the breaker; 0 is never.
    pub(crate) deaths: u32,
    pub(crate) window: Duration,
    /// How long it stays open, and how long the one that is tried then has to last.
    pub(crate) pause: Duration,
}

/// Something to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerNews {
    /// It opened after so many deaths, and one is tried after this long.
    Opened { deaths: usize, pause: Duration },
    /// One is tried.
    Trying,
    /// The one that was tried died, and another is tried after this long.
    Failed { pause: Duration },
    /// The one that was tried has lasted.
    Closed,
}

/// How the one that is tried is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    Starting,
    Ready,
    /// It was told to leave, for another reason.
    Leaving,
}

/// Keeps a team from dying as fast as it can be started.
#[derive(Debug)]
pub(crate) struct Breaker {
    intensity: Intensity,
    /// When the latest died; none of them longer ago than the window.
    deaths: VecDeque<Duration>,
    state: State,
    /// How many that were tried have died since it opened.
    failed: u32,
    news: VecDeque<BreakerNews>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        /// When one is tried.
        trial_at: Duration,
        /// When one is tried if nobody is left.
        alone_at: Duration,
    },
    HalfOpen {
        trial: Seat,
        /// When it has lasted, once it is ready.
        closes_at: Option<Duration>,
    },
}

impl Intensity {
    /// No number of deaths is too many.
    pub(crate) const ANY: Self = Self {
        deaths: 0,
        window: Duration::ZERO,
        pause: Duration::ZERO,
    };
}

impl Breaker {
    pub(crate) fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            deaths: VecDeque::new(),
            state: State::Closed,
            failed: 0,
            news: VecDeque::new(),
        }
    }

    /// Changes how many deaths are too many from now on.
    pub(crate) fn change(&mut self, intensity: Intensity) {
        self.intensity = intensity;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Which worker is tried, if one is.
    pub(crate) fn trial(&self) -> Option<Seat> {
        match self.state {
            State::HalfOpen { trial, .. } => Some(trial),
            State::Closed | State::Open { .. } => None,
        }
    }

    /// From when on a worker may be started; `None` if one is tried already.
    pub(crate) fn start(&self, is_anybody_left: bool) -> Option<Duration> {
        match self.state {
            State::Closed => Some(Duration::ZERO),
            State::Open { trial_at, .. } if is_anybody_left => Some(trial_at),
            State::Open { alone_at, .. } => Some(alone_at),
            State::HalfOpen { .. } => None,
        }
    }

    /// When it closes if nothing happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        match self.state {
            State::HalfOpen { closes_at, .. } => closes_at,
            State::Closed | State::Open { .. } => None,
        }
    }

    /// Takes the next thing that is to be told.
    pub(crate) fn take_news(&mut self) -> Option<BreakerNews> {
        self.news.pop_front()
    }

    /// Notes that a worker is started in this seat.
    pub(crate) fn started(&mut self, seat: Seat) {
        if matches!(self.state, State::Open { .. }) {
            self.state = State::HalfOpen {
                trial: seat,
                closes_at: None,
            };
            self.news.push_back(BreakerNews::Trying);
        }
    }

    /// Notes that a worker died that was not meant to.
    pub(crate) fn died(&mut self, seat: Seat, now: Duration) {
        match self.state {
            State::Closed => self.count(now),
            State::HalfOpen { trial, .. } if trial == seat => self.fail(now),
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// Notes that a worker could not even be started.
    pub(crate) fn not_started(&mut self, now: Duration) {
        match self.state {
            State::Closed => self.count(now),
            State::Open { .. } => self.fail(now),
            State::HalfOpen { .. } => {}
        }
    }

    /// Notes how the one that is tried is now.
    pub(crate) fn look(&mut self, trial: Trial, now: Duration) {
        let State::HalfOpen { closes_at, .. } = &mut self.state else {
            return;
        };
        match trial {
            Trial::Starting => {}
            Trial::Ready => {
                let at = *closes_at.get_or_insert(now.saturating_add(self.intensity.pause));
                if at <= now {
                    self.close();
                }
            }
            // It has proved nothing, and neither has it failed.
            Trial::Leaving => {
                self.state = State::Open {
                    trial_at: now,
                    alone_at: now,
                }
            }
        }
    }

    /// Closes it after the pause, for there is nobody whom it keeps back.
    pub(crate) fn lapse(&mut self, now: Duration) {
        if let State::Open { trial_at, .. } = self.state
            && trial_at <= now
        {
            self.close();
        }
    }

    /// Begins where another ends, whose team is over; what that one had still to tell is told first.
    pub(crate) fn succeed(&mut self, other: Self) {
        let was_closed = other.is_closed();
        self.news = other.news;
        if !was_closed {
            self.close();
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.deaths.clear();
        self.failed = 0;
        self.news.push_back(BreakerNews::Closed);
    }

    fn count(&mut self, now: Duration) {
        let Intensity { deaths, window, .. } = self.intensity;
        if deaths == 0 {
            return;
        }
        self.deaths.push_back(now);
        let since = now.saturating_sub(window);
        while self.deaths.front().is_some_and(|&at| at < since) {
            self.deaths.pop_front();
        }
        let recent = self.deaths.len();
        if recent >= deaths as usize {
            self.deaths.clear();
            let pause = self.open(now);
            let deaths = recent;
            self.news.push_back(BreakerNews::Opened { deaths, pause });
        }
    }

    fn fail(&mut self, now: Duration) {
        self.failed += 1;
        let pause = self.open(now);
        self.news.push_back(BreakerNews::Failed { pause });
    }

    /// Opens it, and says for how long.
    fn open(&mut self, now: Duration) -> Duration {
        let factor = 1 << self.failed.min(DOUBLINGS_MAX);
        let pause = self.intensity.pause.saturating_mul(factor);
        let alone = ALONE * (1 << self.failed.min(16));
        self.state = State::Open {
            trial_at: now.saturating_add(pause),
            alone_at: now.saturating_add(alone.min(pause)),
        };
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Three deaths within a second are too many, and the pause is five seconds.
    fn breaker() -> Breaker {
        Breaker::new(Intensity {
            deaths: 3,
            window: at(1000),
            pause: at(5000),
        })
    }

    /// A breaker that opened at 0.
    fn open() -> Breaker {
        let mut breaker = breaker();
        (0..3).for_each(|seat| breaker.died(Seat(seat), at(0)));
        breaker.take_news();
        breaker
    }

    #[test]
    fn so_many_deaths_within_the_window_open_it() {
        let mut breaker = breaker();

        breaker.died(Seat(0), at(0));
        breaker.not_started(at(900));
        assert_eq!(breaker.start(true), Some(at(0)));
        breaker.died(Seat(0), at(1000));

        assert_eq!(breaker.start(true), Some(at(6000)));
        let (deaths, pause) = (3, at(5000));
        let opened = BreakerNews::Opened { deaths, pause };
        assert_eq!(breaker.take_news(), Some(opened));
        assert_eq!(breaker.take_news(), None);
    }

    #[test]
    fn deaths_that_are_spaced_out_do_not_open_it() {
        let mut breaker = breaker();

        (0..100).for_each(|round| breaker.died(Seat(0), at(501 * round)));

        assert!(breaker.is_closed());
        assert_eq!(breaker.take_news(), None);
    }

    #[test]
    fn no_number_of_deaths_opens_one_without_an_intensity() {
        let mut breaker = Breaker::new(Intensity::ANY);

        (0..1000).for_each(|seat| breaker.died(Seat(seat), at(0)));

        assert!(breaker.is_closed());
    }

    #[test]
    fn one_is_tried_at_a_time_and_one_that_lasts_closes_it() {
        let mut breaker = open();

        breaker.started(Seat(7));
        assert_eq!((breaker.start(true), breaker.start(false)), (None, None));
        breaker.look(Trial::Starting, at(9000));
        assert_eq!(breaker.due(), None);
        breaker.look(Trial::Ready, at(9000));
        assert_eq!(breaker.due(), Some(at(14_000)));
        breaker.died(Seat(1), at(13_000));
        breaker.look(Trial::Ready, at(14_000));

        assert!(breaker.is_closed());
        assert_eq!(breaker.take_news(), Some(BreakerNews::Trying));
        assert_eq!(breaker.take_news(), Some(BreakerNews::Closed));
    }

    #[test]
    fn each_one_that_dies_makes_the_pause_longer_up_to_sixteen_times() {
        let mut breaker = open();

        let pauses = [0; 6].map(|_| {
            breaker.started(Seat(7));
            breaker.died(Seat(7), at(0));
            breaker.start(true).unwrap().as_secs()
        });

        assert_eq!(pauses, [10, 20, 40, 80, 80, 80]);
    }

    #[test]
    fn where_nobody_is_left_one_is_tried_soon() {
        let mut breaker = open();
        assert_eq!(breaker.start(false), Some(at(100)));

        breaker.started(Seat(0));
        breaker.died(Seat(0), at(100));

        assert_eq!(breaker.start(false), Some(at(300)));
    }

    #[test]
    fn one_that_keeps_nobody_back_closes_after_the_pause() {
        let mut breaker = open();

        breaker.lapse(at(4999));
        assert!(!breaker.is_closed());
        breaker.lapse(at(5000));

        assert!(breaker.is_closed());
    }

    #[test]
    fn a_successor_tells_what_was_left_to_tell_and_is_closed() {
        let mut other = open();
        other.started(Seat(7));
        let mut breaker = breaker();

        breaker.succeed(other);

        assert!(breaker.is_closed());
        assert_eq!(breaker.take_news(), Some(BreakerNews::Trying));
        assert_eq!(breaker.take_news(), Some(BreakerNews::Closed));
    }

    #[test]
    fn one_that_is_told_to_leave_has_proved_nothing() {
        let mut breaker = open();
        breaker.started(Seat(7));

        breaker.look(Trial::Leaving, at(8000));

        assert_eq!(breaker.start(true), Some(at(8000)));
        assert!(!breaker.is_closed());
    }
}
