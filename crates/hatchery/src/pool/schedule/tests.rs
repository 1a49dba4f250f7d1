//! The schedule in a world of workers that do as they like, in many random orders.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::*;

/// How many worlds are tried, and how much happens in each.
const WORLDS: u64 = 100;
const EVENTS: usize = 2_000;

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.throw(sides) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let sides = u64::try_from(from.len()).unwrap();
        (sides > 0).then(|| from[usize::try_from(self.throw(sides)).unwrap()])
    }
}

/// A worker as it really is.
#[derive(Default)]
struct Worker {
    /// What it was sent; the first is what it runs if `runs`.
    has: VecDeque<Sending>,
    runs: bool,
    is_ready: bool,
    is_told_to_end: bool,
    is_condemned: bool,
    taken: u32,
}

/// What is known of a task.
#[derive(Default)]
struct Fate {
    retries: u32,
    began: u32,
    ended: u32,
}

struct World {
    dice: Dice,
    schedule: Schedule<()>,
    workers: HashMap<WorkerId, Worker>,
    fates: HashMap<TaskId, Fate>,
    lanes: Vec<LaneId>,
    now: Instant,
    queue_max: Option<usize>,
    tasks_max: Option<u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let workers_min = 1 + usize::try_from(dice.throw(3)).unwrap();
        let queue_max = dice.one_in(2).then_some(20);
        let tasks_max = dice
            .one_in(3)
            .then(|| 1 + u32::try_from(dice.throw(6)).unwrap());
        let settings = Settings {
            workers_min,
            workers_max: workers_min + usize::try_from(dice.throw(3)).unwrap(),
            idle_timeout: dice.one_in(2).then(|| Duration::from_millis(20)),
            tasks_max,
            queue_max,
            ahead: dice
                .one_in(3)
                .then(|| u32::try_from(dice.throw(5)).unwrap()),
            task_timeout: dice.one_in(3).then(|| Duration::from_millis(5)),
        };
        let mut schedule = Schedule::new(settings);
        let lanes = (0..3).map(|_| schedule.open_lane()).collect();
        Self {
            dice,
            schedule,
            workers: HashMap::new(),
            fates: HashMap::new(),
            lanes,
            now: Instant::now(),
            queue_max,
            tasks_max,
        }
    }

    fn happen(&mut self) {
        self.now += Duration::from_micros(self.dice.throw(1000));
        match self.dice.throw(20) {
            0..6 => self.submit(),
            6..10 => self.work(),
            10..13 => self.begin(),
            13 => self.stop(),
            14 if self.dice.one_in(4) => self.kill(),
            15 if self.dice.one_in(30) => {
                let min = 1 + usize::try_from(self.dice.throw(4)).unwrap();
                let max = min + usize::try_from(self.dice.throw(2)).unwrap();
                self.schedule.resize(min, max);
            }
            16 => self.start_fails(),
            17 => self.steal(),
            _ => self.time_passes(),
        }
        self.act();
        self.check();
    }

    fn submit(&mut self) {
        let room = self.schedule.room();
        if let Some(max) = self.queue_max {
            assert!(room <= max);
        }
        if room == 0 {
            return;
        }
        let priorities = [Priority::High, Priority::Normal, Priority::Low];
        let options = TaskOptions {
            priority: self.dice.pick(&priorities).unwrap(),
            timeout: self.dice.one_in(4).then(|| Duration::from_millis(3)),
            retries: if self.dice.one_in(4) { 2 } else { 0 },
            key: self.dice.one_in(4).then(|| self.dice.throw(5)),
        };
        let lane = self.dice.pick(&self.lanes).unwrap();
        let id = self.schedule.submit(lane, &options, ());
        let fate = Fate {
            retries: options.retries,
            ..Fate::default()
        };
        assert!(
            self.fates.insert(id, fate).is_none(),
            "names are not used twice"
        );
    }

    fn some_worker(&mut self) -> Option<WorkerId> {
        let mut ids: Vec<_> = self.workers.keys().copied().collect();
        ids.sort();
        self.dice.pick(&ids)
    }

    /// A worker becomes ready, or begins its next task.
    fn begin(&mut self) {
        let Some(id) = self.some_worker() else { return };
        let worker = self.workers.get_mut(&id).unwrap();
        if !worker.is_ready {
            worker.is_ready = true;
            self.schedule.ready(id);
            return;
        }
        if let Some(sending) = worker.has.front().filter(|_| !worker.runs) {
            worker.runs = true;
            let fate = self.fates.get_mut(&sending.task).unwrap();
            fate.began += 1;
            assert!(fate.began <= 1 + fate.retries, "begun too often");
            assert_eq!(fate.ended, 0, "begun when it was over");
        }
    }

    /// A worker does what it has begun.
    fn work(&mut self) {
        self.begin();
        let Some(id) = self.some_worker() else { return };
        let worker = self.workers.get_mut(&id).unwrap();
        if !worker.runs {
            return;
        }
        worker.runs = false;
        let done = worker.has.pop_front().unwrap();
        let run_time = Duration::from_nanos(100 << self.dice.throw(16));
        let (task, _) = self.schedule.returned(id, done.seq, run_time).unwrap();
        assert_eq!(task, done.task);
        self.over(task);
    }

    fn over(&mut self, task: TaskId) {
        self.fates.get_mut(&task).unwrap().ended += 1;
        assert_eq!(self.fates[&task].ended, 1, "over once");
        assert!(self.schedule.task(task).unwrap().is_over());
        if self.dice.one_in(2) {
            self.fates.remove(&task);
            self.schedule.forget(task).unwrap();
        }
    }

    fn stop(&mut self) {
        let mut ids: Vec<_> = self.fates.keys().copied().collect();
        ids.sort();
        let Some(id) = self.dice.pick(&ids) else {
            return;
        };
        self.stop_task(id, Stop::Cancelled);
    }

    fn stop_task(&mut self, id: TaskId, why: Stop) {
        match self.schedule.stop(id) {
            StopStep::Over => self.over(id),
            StopStep::Nothing => {}
            StopStep::Revoke(sending) => {
                if self.take_back(sending) {
                    self.schedule.withdrawn(sending);
                    self.over(id);
                } else {
                    let until = self.now + Duration::from_millis(2);
                    self.schedule.stopping(id, why, until);
                }
            }
        }
    }

    /// Takes a task back from a worker that has not begun it.
    fn take_back(&mut self, sending: Sending) -> bool {
        let worker = self.workers.get_mut(&sending.worker).unwrap();
        let place = worker.has.iter().position(|other| *other == sending);
        let place = place.expect("the worker has what the schedule says");
        if place == 0 && worker.runs {
            return false;
        }
        worker.has.remove(place);
        worker.taken -= 1;
        true
    }

    fn steal(&mut self) {
        if let Some(sending) = self.schedule.stealable()
            && self.take_back(sending)
        {
            self.schedule.revoked(sending);
        }
    }

    fn kill(&mut self) {
        if let Some(id) = self.some_worker() {
            let by_itself = self.dice.one_in(2);
            self.end_worker(id, by_itself);
        }
    }

    fn end_worker(&mut self, id: WorkerId, by_itself: bool) {
        let worker = self.workers.remove(&id).unwrap();
        let running = worker
            .has
            .front()
            .filter(|_| worker.runs)
            .map(|sending| sending.seq);
        let end = WorkerEnd {
            by_itself,
            at: self.now,
        };
        for lost in self.schedule.lost(id, end, |seq| Some(seq) == running) {
            match lost {
                Lost::Again(task) => assert!(self.fates[&task].retries > 0),
                Lost::Stopped(task, _) | Lost::Unknown(task) => self.over(task),
                Lost::Quarantined(task, kills) => {
                    assert_eq!(kills, self.fates[&task].retries + 1);
                    self.over(task);
                }
            }
        }
    }

    fn start_fails(&mut self) {
        let starting = self.workers.iter().filter(|(_, worker)| !worker.is_ready);
        let mut starting: Vec<_> = starting.map(|(id, _)| *id).collect();
        starting.sort();
        if let Some(id) = self.dice.pick(&starting) {
            self.end_worker(id, true);
        }
    }

    fn time_passes(&mut self) {
        self.now += Duration::from_millis(self.dice.throw(10));
        self.schedule.retire_idle(self.now);
        let mut ids: Vec<_> = self.workers.keys().copied().collect();
        ids.sort();
        for id in ids {
            let worker = &self.workers[&id];
            let began = worker.has.front().filter(|_| worker.runs);
            let began = began.map(|sending| (sending.seq, self.now - Duration::from_millis(4)));
            match self.schedule.overdue(id, began, self.now) {
                Overdue::NotBefore(_) => {}
                Overdue::Stop(sending) => self.stop_task(sending.task, Stop::TimedOut),
                Overdue::Kill(_) => {
                    for ahead in self.schedule.ahead_of(id) {
                        assert!(self.take_back(ahead), "only the first has begun");
                        self.schedule.revoked(ahead);
                    }
                    self.schedule.condemn(id);
                    self.workers.get_mut(&id).unwrap().is_condemned = true;
                    self.end_worker(id, false);
                }
            }
        }
    }

    /// Does what the schedule says.
    fn act(&mut self) {
        while let Some(id) = self.schedule.next_start(self.now) {
            let former = self.workers.insert(id, Worker::default());
            assert!(former.is_none(), "a name is given to one worker at a time");
        }
        while let Some(sending) = self.schedule.next() {
            if self.dice.one_in(20) {
                self.schedule.unsent(sending);
                continue;
            }
            let worker = self.workers.get_mut(&sending.worker).unwrap();
            assert!(worker.is_ready && !worker.is_told_to_end && !worker.is_condemned);
            worker.taken += 1;
            assert!(self.tasks_max.is_none_or(|max| worker.taken <= max));
            worker.has.push_back(sending);
        }
        if self.dice.one_in(4) {
            self.schedule.try_all_again();
        }
        for id in self.schedule.leaving() {
            let worker = self.workers.get_mut(&id).unwrap();
            assert!(worker.has.is_empty() && !worker.is_told_to_end);
            worker.is_told_to_end = true;
        }
        if self.dice.one_in(3) {
            let gone = self
                .workers
                .iter()
                .filter(|(_, worker)| worker.is_told_to_end);
            let mut gone: Vec<_> = gone.map(|(id, _)| *id).collect();
            gone.sort();
            gone.into_iter().for_each(|id| self.end_worker(id, true));
        }
        if self.schedule.is_hopeless() {
            for id in self.schedule.end_waiting() {
                self.over(id);
            }
        }
    }

    fn check(&self) {
        let pending = self.fates.values().filter(|fate| fate.ended == 0).count();
        let waiting = self.schedule.waiting();
        assert_eq!(waiting + self.schedule.outstanding(), pending);
        let sent: usize = self.workers.values().map(|worker| worker.has.len()).sum();
        assert_eq!(sent, self.schedule.outstanding());
        assert_eq!(self.schedule.kept(), self.fates.len());
    }

    /// Lets all come to its end.
    fn finish(&mut self) {
        self.schedule.close();
        for _ in 0..100_000 {
            if self.schedule.is_over() {
                assert!(self.fates.values().all(|fate| fate.ended == 1));
                return;
            }
            self.now += Duration::from_millis(100);
            self.begin();
            self.work();
            self.act();
            self.check();
        }
        panic!("the pool does not come to its end");
    }
}

#[test]
fn every_task_ends_once_and_runs_once_whatever_happens_in_whatever_order() {
    for seed in 1..=WORLDS {
        let mut world = World::new(seed);
        for _ in 0..EVENTS {
            world.happen();
        }
        world.finish();
    }
}

fn schedule(workers: usize) -> Schedule<()> {
    Schedule::new(Settings {
        workers_min: workers,
        workers_max: workers,
        idle_timeout: None,
        tasks_max: None,
        queue_max: None,
        ahead: None,
        task_timeout: None,
    })
}

fn staffed(workers: usize) -> (Schedule<()>, LaneId) {
    let mut schedule = schedule(workers);
    while let Some(worker) = schedule.next_start(Instant::now()) {
        schedule.ready(worker);
    }
    let lane = schedule.open_lane();
    (schedule, lane)
}

fn killed() -> WorkerEnd {
    WorkerEnd {
        by_itself: false,
        at: Instant::now(),
    }
}

#[test]
fn of_a_lost_worker_only_the_task_that_it_had_begun_is_lost() {
    let (mut schedule, lane) = staffed(1);
    schedule.settings.ahead = Some(2);
    let ids = [(); 4].map(|()| schedule.submit(lane, &TaskOptions::default(), ()));
    let sent: Vec<Sending> = std::iter::from_fn(|| schedule.next()).collect();
    assert_eq!(sent.len(), 3);

    let lost = schedule.lost(sent[0].worker, killed(), |seq| seq == sent[0].seq);

    assert_eq!(lost, [Lost::Unknown(ids[0])]);
    let worker = schedule.next_start(Instant::now()).unwrap();
    schedule.ready(worker);
    let again: Vec<TaskId> = std::iter::from_fn(|| schedule.next())
        .map(|sent| sent.task)
        .collect();
    assert_eq!(again, ids[1..]);
}

#[test]
fn a_task_that_may_be_run_again_is_quarantined_when_it_has_lost_too_many() {
    let (mut schedule, lane) = staffed(1);
    let options = TaskOptions {
        retries: 1,
        ..TaskOptions::default()
    };
    let id = schedule.submit(lane, &options, ());

    let outcomes = [(); 2].map(|()| {
        let sent = schedule.next().unwrap();
        let lost = schedule.lost(sent.worker, killed(), |_| true);
        let worker = schedule.next_start(Instant::now()).unwrap();
        schedule.ready(worker);
        lost
    });

    assert_eq!(outcomes[0], [Lost::Again(id)]);
    assert_eq!(outcomes[1], [Lost::Quarantined(id, 2)]);
}

#[test]
fn what_waits_behind_a_busy_worker_goes_to_one_that_has_nothing_to_do() {
    let (mut schedule, lane) = staffed(2);
    schedule.settings.ahead = Some(5);
    let ids = [(); 6].map(|()| schedule.submit(lane, &TaskOptions::default(), ()));
    let sent: Vec<Sending> = std::iter::from_fn(|| schedule.next()).collect();
    let (busy, quick) = (sent[0].worker, sent[1].worker);
    for done in sent.iter().filter(|sent| sent.worker == quick) {
        schedule
            .returned(quick, done.seq, Duration::from_nanos(100))
            .unwrap();
    }

    let stolen = schedule.stealable().unwrap();
    schedule.revoked(stolen);

    assert_eq!((stolen.worker, stolen.task), (busy, ids[4]));
    assert_eq!(schedule.next().map(|sent| sent.worker), Some(quick));
}

#[test]
fn tasks_of_one_key_go_to_one_place_and_wait_for_it() {
    let (mut schedule, lane) = staffed(3);
    let options = TaskOptions {
        key: Some(7),
        ..TaskOptions::default()
    };
    let ids = [(); 3].map(|()| schedule.submit(lane, &options, ()));
    let first = schedule.next().unwrap();
    assert_eq!(schedule.next(), None, "the others' workers are not asked");

    schedule.lost(first.worker, killed(), |_| true);
    assert_eq!(schedule.next(), None);
    let successor = schedule.next_start(Instant::now()).unwrap();
    schedule.ready(successor);

    let next = schedule.next().unwrap();
    assert_eq!((next.worker, next.task), (successor, ids[1]));
}

#[test]
fn a_worker_that_has_had_its_tasks_is_replaced_by_one_that_is_ready() {
    let (mut schedule, lane) = staffed(1);
    schedule.settings.tasks_max = Some(4);
    let first = schedule.workers().next().unwrap();
    for count in 1..=4 {
        schedule.submit(lane, &TaskOptions::default(), ());
        let sent = schedule.next().unwrap();
        assert_eq!(sent.worker, first);
        schedule.returned(first, sent.seq, Duration::ZERO).unwrap();
        if let Some(successor) = schedule.next_start(Instant::now()) {
            assert_eq!(count, 2, "early enough, and once");
            schedule.ready(successor);
        }
    }

    assert_eq!(schedule.leaving(), [first]);
    schedule.submit(lane, &TaskOptions::default(), ());
    assert_ne!(schedule.next().unwrap().worker, first);
}

#[test]
fn a_worker_that_tells_of_what_it_does_not_have_is_found_out() {
    let (mut schedule, lane) = staffed(1);
    schedule.submit(lane, &TaskOptions::default(), ());
    let sent = schedule.next().unwrap();

    assert_eq!(
        schedule.returned(sent.worker, sent.seq + 1, Duration::ZERO),
        Err(Impossible)
    );
    assert!(
        schedule
            .returned(sent.worker, sent.seq, Duration::ZERO)
            .is_ok()
    );
    assert_eq!(
        schedule.returned(sent.worker, sent.seq, Duration::ZERO),
        Err(Impossible)
    );
}

#[test]
fn room_that_is_kept_for_one_is_not_given_to_another() {
    let (mut schedule, lane) = staffed(1);
    schedule.settings.queue_max = Some(2);

    assert!(schedule.reserve());
    schedule.submit(lane, &TaskOptions::default(), ());
    assert_eq!(schedule.room(), 0);
    assert!(!schedule.reserve());

    schedule.unreserve();
    assert_eq!(schedule.room(), 1);
}
