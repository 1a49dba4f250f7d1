//! The staff, over random histories.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngAlgorithm;

use super::roster::Seat;
use super::staff::{End, Epoch, Failure, Staff, Step};

/// Longer than any wait between two starts.
const LONG: Duration = Duration::from_secs(11);

/// One event; what it names is counted modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    Wait { millis: u64 },
    Ready { which: usize },
    Lose { which: usize, is_useless: bool },
    Retire { which: usize },
    Dismiss { which: usize },
    Scale { wanted: usize },
    AtOnce { at_once: usize },
    Renew { wanted: usize },
    Cancel,
    FailStarts { count: usize },
}

fn any_op() -> impl Strategy<Value = Op> {
    let which = 0..16_usize;
    prop_oneof![
        4 => (0..400_u64).prop_map(|millis| Op::Wait { millis }),
        12 => which.clone().prop_map(|which| Op::Ready { which }),
        6 => (which.clone(), any::<bool>())
            .prop_map(|(which, is_useless)| Op::Lose { which, is_useless }),
        6 => which.clone().prop_map(|which| Op::Retire { which }),
        1 => which.prop_map(|which| Op::Dismiss { which }),
        3 => (1..6_usize).prop_map(|wanted| Op::Scale { wanted }),
        1 => (1..4_usize).prop_map(|at_once| Op::AtOnce { at_once }),
        2 => (1..6_usize).prop_map(|wanted| Op::Renew { wanted }),
        1 => Just(Op::Cancel),
        1 => (1..3_usize).prop_map(|count| Op::FailStarts { count }),
    ]
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
    was_retired: bool,
    /// Whether it goes although nobody is ready in its place.
    is_dismissed: bool,
}

/// The staff, and the workers that it has in truth.
#[derive(Debug)]
struct World {
    staff: Staff,
    workers: BTreeMap<usize, Worker>,
    serving: Epoch,
    renewal: Option<(Epoch, usize)>,
    at_once: usize,
    failing: usize,
    now: Duration,
}

impl World {
    fn new(wanted: usize, at_once: usize) -> Self {
        let mut staff = Staff::new(wanted, at_once);
        staff.complete();
        Self {
            serving: staff.epoch(),
            staff,
            workers: BTreeMap::new(),
            renewal: None,
            at_once,
            failing: 0,
            now: Duration::ZERO,
        }
    }

    fn apply(&mut self, op: &Op) {
        let pick = |which: usize| {
            let index = which.checked_rem(self.workers.len())?;
            self.workers.keys().copied().nth(index)
        };
        match *op {
            Op::Wait { millis } => self.now += Duration::from_millis(millis),
            Op::Ready { which } => pick(which).into_iter().for_each(|seat| self.ready(seat)),
            Op::Lose { which, is_useless } => {
                let end = if is_useless { End::Useless } else { End::Usual };
                pick(which)
                    .into_iter()
                    .for_each(|seat| self.lose(seat, end));
            }
            Op::Retire { which } => pick(which).into_iter().for_each(|seat| self.retire(seat)),
            Op::Dismiss { which } => pick(which).into_iter().for_each(|seat| self.dismiss(seat)),
            Op::Scale { wanted } => self.staff.scale(wanted),
            Op::AtOnce { at_once } => {
                self.at_once = self.at_once.max(at_once);
                self.staff.replace_at_once(at_once);
            }
            Op::Renew { wanted } if self.renewal.is_none() => {
                self.renewal = Some((self.staff.renew(wanted), wanted));
            }
            Op::Renew { .. } => {}
            Op::Cancel => {
                self.staff.cancel_renewal();
                self.renewal = None;
            }
            Op::FailStarts { count } => self.failing += count,
        }
        self.obey();
    }

    fn ready(&mut self, seat: usize) {
        let worker = self.workers.get_mut(&seat).unwrap();
        if worker.state == State::Starting {
            worker.state = State::Ready;
        }
        self.staff.ready(Seat(seat));
    }

    fn retire(&mut self, seat: usize) {
        let worker = self.workers.get_mut(&seat).unwrap();
        let is_news = worker.state != State::Told && !worker.was_retired;
        assert_eq!(
            self.staff.retire(Seat(seat)),
            is_news && !worker.is_dismissed
        );
        worker.was_retired = true;
    }

    fn dismiss(&mut self, seat: usize) {
        let worker = self.workers.get_mut(&seat).unwrap();
        let is_ready = worker.state == State::Ready;
        assert_eq!(self.staff.dismiss(Seat(seat)), is_ready);
        worker.is_dismissed = is_ready;
    }

    fn lose(&mut self, seat: usize, end: End) {
        self.workers.remove(&seat);
        let failure = self.staff.gone(Seat(seat), end, self.now);
        self.failed(failure);
    }

    fn failed(&mut self, failure: Option<Failure>) {
        assert_ne!(failure, Some(Failure::Server), "it was complete once");
        if failure == Some(Failure::Renewal) {
            assert!(self.renewal.take().is_some());
        }
    }

    /// Does what the staff says, and checks that each step may be taken.
    fn obey(&mut self) {
        for _ in 0..200 {
            let Some(step) = self.staff.next(self.now) else {
                self.check();
                return;
            };
            match step {
                Step::Start { post, epoch } => self.start(post, epoch),
                Step::Drain(seat) => self.drain(seat.0),
                Step::Kill(seat) => {
                    let worker = self.workers.get_mut(&seat.0).unwrap();
                    assert_eq!(worker.state, State::Starting, "it may have work");
                    worker.state = State::Told;
                }
                Step::Tell(news) => panic!("there is no intensity: {news:?}"),
                Step::Renewed(epoch) => {
                    let (expected, wanted) = self.renewal.take().unwrap();
                    assert_eq!(epoch, expected);
                    assert!(self.ready_posts(epoch).len() >= wanted);
                    self.serving = epoch;
                }
            }
        }
        panic!("the staff never rests: {self:?}");
    }

    fn start(&mut self, post: usize, epoch: Epoch) {
        if self.failing > 0 {
            self.failing -= 1;
            let failure = self.staff.not_started(post, epoch, self.now);
            self.failed(failure);
            return;
        }
        let seat = (0..).find(|seat| !self.workers.contains_key(seat)).unwrap();
        self.staff.started(Seat(seat), post, epoch);
        let worker = Worker {
            post,
            epoch,
            state: State::Starting,
            was_retired: false,
            is_dismissed: false,
        };
        self.workers.insert(seat, worker);
    }

    fn drain(&mut self, seat: usize) {
        let before = self.ready_posts(self.serving).len();
        let worker = self.workers.get_mut(&seat).unwrap();
        assert_eq!(worker.state, State::Ready);
        worker.state = State::Told;
        let worker = *worker;
        let after = self.ready_posts(self.serving).len();
        let is_needed = after < before && after < self.staff.wanted();
        assert!(!is_needed || worker.is_dismissed, "{worker:?} was needed");
    }

    /// The posts of an epoch at which a worker has all that one can have.
    fn ready_posts(&self, epoch: Epoch) -> Vec<usize> {
        let workers = self.workers.values();
        let ready = workers.filter(|it| it.state == State::Ready && it.epoch == epoch);
        let mut posts: Vec<usize> = ready.map(|worker| worker.post).collect();
        posts.sort_unstable();
        posts.dedup();
        posts
    }

    /// Checks what must be true when the staff has nothing more to say.
    fn check(&self) {
        assert_eq!(self.staff.epoch(), self.serving);
        assert_eq!(self.staff.is_renewing(), self.renewal.is_some());
        assert_eq!(
            self.staff.ready_posts(),
            self.ready_posts(self.serving).len()
        );
        let mut staying = BTreeMap::new();
        for worker in self.workers.values().filter(|it| it.state != State::Told) {
            *staying.entry((worker.epoch, worker.post)).or_insert(0) += 1;
        }
        let surplus: usize = staying.values().map(|count| count - 1).sum();
        assert!(surplus <= self.at_once, "too many at once: {staying:?}");
    }

    /// Lets everything come to its end.
    fn settle(&mut self) {
        self.failing = 0;
        for _ in 0..100 {
            self.now += LONG;
            self.obey();
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
        self.obey();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5_000,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_nobody_goes_who_is_needed_and_all_posts_are_filled_in_the_end(
        wanted in 1..6_usize,
        at_once in 1..3_usize,
        ops in vec(any_op(), 1..80),
    ) {
        let mut world = World::new(wanted, at_once);
        world.obey();

        ops.iter().for_each(|op| world.apply(op));
        world.settle();

        prop_assert!(world.renewal.is_none(), "a renewal comes to its end");
        let wanted: Vec<usize> = (0..world.staff.wanted()).collect();
        prop_assert_eq!(world.ready_posts(world.serving), &wanted[..]);
        prop_assert_eq!(world.workers.len(), wanted.len());
        for worker in world.workers.values() {
            prop_assert!(!worker.was_retired);
            prop_assert_eq!(worker.epoch, world.serving);
        }
    }
}

/// A staff of `wanted` workers that are ready, in seats of the numbers of their posts.
fn ready_staff(wanted: usize) -> Staff {
    let mut staff = Staff::new(wanted, 1);
    while let Some(step) = staff.next(Duration::ZERO) {
        let Step::Start { post, epoch } = step else {
            panic!("{step:?}");
        };
        staff.started(Seat(post), post, epoch);
        staff.ready(Seat(post));
    }
    staff.complete();
    staff
}

#[test]
fn a_worker_that_retires_goes_when_its_successor_is_ready() {
    let mut staff = ready_staff(2);
    let (now, epoch) = (Duration::ZERO, staff.epoch());

    assert!(staff.retire(Seat(1)));

    assert_eq!(staff.next(now), Some(Step::Start { post: 1, epoch }));
    staff.started(Seat(2), 1, epoch);
    assert_eq!(staff.next(now), None);
    staff.ready(Seat(2));
    assert_eq!(staff.next(now), Some(Step::Drain(Seat(1))));
    assert_eq!(staff.next(now), None);
}

#[test]
fn the_next_to_retire_waits_until_the_first_is_gone() {
    let mut staff = ready_staff(2);
    let (now, epoch) = (Duration::ZERO, staff.epoch());
    staff.retire(Seat(1));
    staff.retire(Seat(0));
    staff.next(now);
    staff.started(Seat(2), 1, epoch);
    staff.ready(Seat(2));
    staff.next(now);
    assert_eq!(staff.next(now), None);

    assert_eq!(staff.gone(Seat(1), End::Usual, now), None);

    assert_eq!(staff.next(now), Some(Step::Start { post: 0, epoch }));
}

#[test]
fn a_renewal_that_fails_five_times_is_over_and_its_workers_go() {
    let mut staff = ready_staff(2);
    let (now, epoch) = (Duration::ZERO, staff.renew(2));
    staff.next(now);
    staff.started(Seat(2), 0, epoch);
    staff.ready(Seat(2));

    let failures: Vec<_> = (0..5).map(|_| staff.not_started(1, epoch, now)).collect();

    assert_eq!(failures[..4], [None; 4]);
    assert_eq!(failures[4], Some(Failure::Renewal));
    assert_eq!(staff.next(now), Some(Step::Drain(Seat(2))));
    assert_eq!(staff.next(now), None);
    assert_eq!(staff.ready_posts(), 2);
}

#[test]
fn a_smaller_staff_keeps_who_works_until_the_others_are_ready() {
    let mut staff = ready_staff(3);
    let now = Duration::ZERO;
    staff.gone(Seat(0), End::Usual, now);

    staff.scale(1);

    assert_eq!(staff.next(now), Some(Step::Drain(Seat(2))));
    let epoch = staff.epoch();
    assert_eq!(staff.next(now), Some(Step::Start { post: 0, epoch }));
    staff.started(Seat(3), 0, epoch);
    assert_eq!(staff.next(now), None);
    staff.ready(Seat(3));
    assert_eq!(staff.next(now), Some(Step::Drain(Seat(1))));
}
