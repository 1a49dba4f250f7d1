//! The deciding half of supervision, over millions of random events.
//!
//! `HATCHERY_TEST_EVENTS` says how many in all, and `HATCHERY_TEST_SEED` with which seed to begin.
//! A failure prints its seed and is made shorter: with that seed and its number of events it comes
//! again.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::breaker::{BreakerNews, Intensity};
use super::roster::{Seat, mix};
use super::staff::{End, Epoch, Failure, Staff, Step};

/// How many events there are unless something else is asked for: a few seconds' worth.
const EVENTS: u64 = 200_000;

/// How many events one history has.
const HISTORY: u64 = 400;

/// Longer than any wait between two starts, and than any pause of the breaker.
const LONG: Duration = Duration::from_secs(200);

/// Random numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % sides
    }

    fn size(&mut self, sides: u64) -> usize {
        usize::try_from(self.roll(sides)).expect("sides are few")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Told,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    post: usize,
    epoch: Epoch,
    state: State,
    /// Whether it goes although nobody is ready in its place: somebody said so.
    is_dismissed: bool,
}

/// The staff, the workers that there are in truth, and what the breaker has said.
#[derive(Debug)]
struct World {
    staff: Staff,
    workers: BTreeMap<usize, Worker>,
    renewal: Option<Epoch>,
    at_once: usize,
    intensity: Intensity,
    now: Duration,
    /// Whether the breaker was said to be open.
    is_open: bool,
    /// How many were started since it opened or a trial ended.
    tried: usize,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let (wanted, at_once) = (1 + dice.size(6), 1 + dice.size(3));
        let deaths = [0, 1, 3, 8][dice.size(4)];
        let intensity = Intensity {
            deaths,
            window: Duration::from_millis(1 + dice.roll(3000)),
            pause: Duration::from_millis(1 + dice.roll(5000)),
        };
        let mut staff = Staff::new(wanted, at_once);
        staff.limit_deaths(intensity);
        staff.complete();
        Self {
            staff,
            workers: BTreeMap::new(),
            renewal: None,
            at_once,
            intensity,
            now: Duration::ZERO,
            is_open: false,
            tried: 0,
        }
    }

    /// Lets one thing happen.
    fn happen(&mut self, dice: &mut Dice) {
        let seat = self.any_seat(dice);
        match (dice.roll(32), seat) {
            (0..6, _) => self.now += Duration::from_millis(dice.roll(500)),
            (6..16, Some(seat)) => self.ready(seat),
            (16..24, Some(seat)) => {
                let end = [End::Usual, End::Usual, End::Useless, End::Wished][dice.size(4)];
                self.lose(seat, end);
            }
            (24..27, Some(seat)) => {
                self.staff.retire(Seat(seat));
            }
            (27, Some(seat)) => self.dismiss(seat),
            (28, _) => self.staff.scale(1 + dice.size(6)),
            (29, _) if self.renewal.is_none() => {
                self.renewal = Some(self.staff.renew(1 + dice.size(6)));
            }
            (30, _) if dice.roll(4) == 0 => {
                self.staff.cancel_renewal();
                self.renewal = None;
            }
            (31, _) if dice.roll(4) == 0 => self.now += LONG,
            _ => {}
        }
        self.obey(dice.roll(8) == 0);
    }

    fn any_seat(&self, dice: &mut Dice) -> Option<usize> {
        let count = u64::try_from(self.workers.len()).expect("workers are few");
        (count > 0).then(|| {
            let index = dice.size(count);
            self.workers.keys().copied().nth(index)
        })?
    }

    fn ready(&mut self, seat: usize) {
        let worker = self.workers.get_mut(&seat).expect("it is there");
        if worker.state == State::Starting {
            worker.state = State::Ready;
        }
        self.staff.ready(Seat(seat));
    }

    fn dismiss(&mut self, seat: usize) {
        let worker = self.workers.get_mut(&seat).expect("it is there");
        let is_ready = worker.state == State::Ready && !worker.is_dismissed;
        assert_eq!(self.staff.dismiss(Seat(seat)), is_ready);
        worker.is_dismissed |= is_ready;
    }

    fn lose(&mut self, seat: usize, end: End) {
        self.workers.remove(&seat);
        let failure = self.staff.gone(Seat(seat), end, self.now);
        self.failed(failure);
    }

    fn failed(&mut self, failure: Option<Failure>) {
        assert_ne!(failure, Some(Failure::Server), "it was complete once");
        if failure == Some(Failure::Renewal) {
            assert!(self.renewal.take().is_some(), "there was a renewal");
        }
    }

    /// Does what the staff says, and checks that each step may be taken.
    fn obey(&mut self, starts_fail: bool) {
        for _ in 0..200 {
            let Some(step) = self.staff.next(self.now) else {
                self.check();
                return;
            };
            match step {
                Step::Start { post, epoch } => self.start(post, epoch, starts_fail),
                Step::Drain(seat) => self.drain(seat.0),
                Step::Kill(seat) => {
                    let worker = self
                        .workers
                        .get_mut(&seat.0)
                        .expect("nobody else is killed");
                    assert_eq!(worker.state, State::Starting, "it may have work");
                    worker.state = State::Told;
                }
                Step::Tell(news) => self.hear(news),
                Step::Renewed(epoch) => {
                    assert_eq!(self.renewal.take(), Some(epoch));
                    // Another team has another breaker, and no trial.
                    self.tried = 0;
                }
            }
        }
        panic!("the staff never rests");
    }

    fn hear(&mut self, news: BreakerNews) {
        match news {
            BreakerNews::Opened { deaths, .. } => {
                assert!(!self.is_open && self.intensity.deaths > 0);
                assert!(deaths >= self.intensity.deaths as usize);
                (self.is_open, self.tried) = (true, 0);
            }
            BreakerNews::Trying => assert!(self.is_open),
            BreakerNews::Failed { .. } => {
                assert!(self.is_open);
                self.tried = 0;
            }
            BreakerNews::Closed => {
                assert!(self.is_open, "what was not open does not close");
                self.is_open = false;
            }
        }
    }

    fn start(&mut self, post: usize, epoch: Epoch, fails: bool) {
        assert!(
            !self.staying(epoch).any(|it| it.post == post) || self.is_any_replaced(epoch, post)
        );
        if fails {
            let failure = self.staff.not_started(post, epoch, self.now);
            self.failed(failure);
            return;
        }
        if epoch == self.staff.epoch() {
            assert!(!self.is_tried(), "one is tried at a time");
        }
        let seat = (0..).find(|seat| !self.workers.contains_key(seat));
        let seat = seat.expect("numbers do not end");
        self.staff.started(Seat(seat), post, epoch);
        let (state, is_dismissed) = (State::Starting, false);
        let worker = Worker {
            post,
            epoch,
            state,
            is_dismissed,
        };
        self.workers.insert(seat, worker);
    }

    /// Whether the worker is there that the breaker tries.
    fn is_tried(&self) -> bool {
        let trial = self.staff.breaker().trial();
        let worker = trial.and_then(|seat| self.workers.get(&seat.0));
        worker.is_some_and(|worker| worker.state != State::Told && !worker.is_dismissed)
    }

    /// Whether somebody at this post waits for a successor.
    fn is_any_replaced(&self, epoch: Epoch, post: usize) -> bool {
        let seats = self
            .workers
            .iter()
            .filter(|(_, it)| it.epoch == epoch && it.post == post);
        seats
            .into_iter()
            .any(|(&seat, _)| self.staff.is_retiring(Seat(seat)))
    }

    fn staying(&self, epoch: Epoch) -> impl Iterator<Item = &Worker> {
        let workers = self.workers.values();
        workers.filter(move |it| it.epoch == epoch && it.state != State::Told && !it.is_dismissed)
    }

    fn drain(&mut self, seat: usize) {
        let serving = self.staff.epoch();
        let before = self.ready_posts(serving);
        let worker = self.workers.get_mut(&seat).expect("nobody else is drained");
        assert_eq!(worker.state, State::Ready);
        worker.state = State::Told;
        let worker = *worker;
        let after = self.ready_posts(serving);
        let is_needed = after < before && after < self.staff.wanted();
        assert!(!is_needed || worker.is_dismissed, "{worker:?} was needed");
    }

    fn ready_posts(&self, epoch: Epoch) -> usize {
        let workers = self.workers.values();
        let ready = workers.filter(|it| it.state == State::Ready && it.epoch == epoch);
        let posts = ready.fold(0_u64, |posts, worker| posts | 1 << worker.post);
        posts.count_ones() as usize
    }

    /// Checks what must be true when the staff has nothing more to say.
    fn check(&self) {
        let serving = self.staff.epoch();
        assert_eq!(self.staff.is_renewing(), self.renewal.is_some());
        assert_eq!(self.staff.ready_posts(), self.ready_posts(serving));
        assert_eq!(self.is_open, !self.staff.breaker().is_closed());
        let mut staying = [0_usize; 64];
        self.staying(serving)
            .for_each(|worker| staying[worker.post] += 1);
        let surplus: usize = staying.iter().map(|count| count.saturating_sub(1)).sum();
        assert!(surplus <= self.at_once, "too many are being replaced");
        let is_vacant = staying[..self.staff.wanted()].contains(&0);
        // A post without anybody waits for a time, or for the one that is tried.
        assert!(
            !is_vacant || self.is_tried() || self.staff.due().is_some_and(|at| at > self.now),
            "a post is forgotten"
        );
        for worker in self.workers.values().filter(|it| it.state != State::Told) {
            let is_of_a_team = worker.epoch == serving || Some(worker.epoch) == self.renewal;
            assert!(is_of_a_team, "{worker:?} is forgotten");
        }
    }

    /// Lets everything come to its end, and checks that all posts are filled.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.now += LONG;
            self.obey(false);
            let workers: Vec<(usize, State)> = self
                .workers
                .iter()
                .map(|(&seat, it)| (seat, it.state))
                .collect();
            for (seat, state) in workers {
                match state {
                    State::Starting => self.ready(seat),
                    State::Told => self.lose(seat, End::Usual),
                    State::Ready => {}
                }
            }
        }
        self.obey(false);
        assert!(
            self.renewal.is_none() && !self.is_open,
            "all comes to its end: {self:?}"
        );
        assert_eq!(self.ready_posts(self.staff.epoch()), self.staff.wanted());
        assert_eq!(self.workers.len(), self.staff.wanted());
    }
}

/// Lets so many things happen.
fn history(seed: u64, events: u64) {
    let mut dice = Dice(mix(seed));
    let mut world = World::new(&mut dice);
    world.obey(false);
    (0..events).for_each(|_| world.happen(&mut dice));
    world.settle();
}

fn number_from(variable: &str, otherwise: u64) -> u64 {
    let Ok(text) = env::var(variable) else {
        return otherwise;
    };
    text.parse()
        .unwrap_or_else(|error| panic!("{variable}: {error}"))
}

/// The fewest events with which a seed fails.
fn shortest(seed: u64) -> u64 {
    let fails = |events| catch_unwind(AssertUnwindSafe(|| history(seed, events))).is_err();
    (0..HISTORY)
        .find(|&events| fails(events))
        .unwrap_or(HISTORY)
}

#[test]
fn in_any_history_nobody_goes_who_is_needed_and_no_post_and_no_worker_is_forgotten() {
    let events = number_from("HATCHERY_TEST_EVENTS", EVENTS);
    let first = number_from("HATCHERY_TEST_SEED", 1);

    for seed in first..first + events.div_ceil(HISTORY) {
        let outcome = catch_unwind(AssertUnwindSafe(|| history(seed, HISTORY)));

        if let Err(panic) = outcome {
            let events = shortest(seed);
            println!("HATCHERY_TEST_SEED={seed} fails, and with {events} events already");
            resume_unwind(panic);
        }
    }
}
