//! Where one sleeps until somebody rings: a worker, and the main process of a pool.

use loom::sync::Arc;
use loom::sync::atomic::{Ordering, fence};
use loom::thread;

use super::{ModelWord, model};
use crate::sync::word::Word;
use crate::tasks::{Berth, Fenced};

impl Fenced for ModelWord {
    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// The two places where a main process sleeps, and how many results there are and were taken.
struct Pool {
    leader: ModelWord,
    pump: ModelWord,
    /// One word for each worker.
    results: [ModelWord; 2],
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            leader: ModelWord::new(0),
            pump: ModelWord::new(0),
            results: [ModelWord::new(0), ModelWord::new(0)],
        })
    }

    fn leader(&self) -> Berth<'_, ModelWord> {
        Berth(&self.leader)
    }

    fn pump(&self) -> Berth<'_, ModelWord> {
        Berth(&self.pump)
    }

    /// Puts a result and rings, as a worker does.
    fn put(&self, worker: usize) {
        self.results[worker].write(1);
        ModelWord::fence();
        if !self.leader().ring() {
            self.pump().ring();
        }
    }

    fn count(&self) -> u32 {
        self.results.iter().map(Word::read).sum()
    }

    /// Waits as the leader for so many results, and leaves.
    fn lead(&self, count: u32) {
        self.leader().look();
        while self.count() < count {
            self.leader().lie_down();
            if self.count() < count {
                self.leader.sleep(ASLEEP);
            }
            self.leader().look();
        }
        self.leader().leave();
        if self.count() > count {
            self.pump().ring_again();
        }
    }

    /// Waits as the pump for so many results.
    fn pump_until(&self, count: u32) {
        while self.count() < count {
            self.pump().lie_down();
            if self.count() < count {
                self.pump.sleep(ASLEEP);
            }
            self.pump().leave();
        }
    }
}

/// What the word says while somebody sleeps.
const ASLEEP: u32 = 2;

#[test]
fn who_sleeps_until_there_is_a_result_wakes() {
    model(|| {
        let pool = Pool::new();
        let worker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.put(0))
        };

        pool.lead(1);

        worker.join().unwrap();
    });
}

#[test]
fn who_sleeps_until_there_are_two_results_wakes_although_one_ring_wakes_it() {
    model(|| {
        let pool = Pool::new();
        let workers: Vec<_> = (0..2)
            .map(|place| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.put(place))
            })
            .collect();

        pool.lead(2);

        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn what_a_leader_leaves_behind_is_told_to_the_pump() {
    model(|| {
        let pool = Pool::new();
        let pump = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.pump_until(1))
        };
        let worker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.put(0))
        };

        // It waits for nothing, and leaves whatever has come.
        pool.lead(0);

        worker.join().unwrap();
        pump.join().unwrap();
    });
}
