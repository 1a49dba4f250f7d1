//! The lock's word.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use loom::thread;

use super::{ModelWord, model};
use crate::sync::lock_word::{LockWord, Taken};
use crate::sync::wait::{Attempt, Look};

/// A lock, and how often it was held.
struct Counter {
    word: ModelWord,
    count: AtomicU32,
}

impl Counter {
    fn new(held_by: u32) -> Arc<Self> {
        Arc::new(Self {
            word: ModelWord::new(held_by),
            count: AtomicU32::new(0),
        })
    }

    fn lock(&self) -> LockWord<'_, ModelWord> {
        LockWord(&self.word)
    }

    fn count_one(&self, own: u32) {
        self.word
            .wait(|look| self.lock().attempt(own, look, |_| true));
        // Two at once would see the same count.
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
        assert!(self.lock().release());
    }
}

#[test]
fn the_lock_excludes_and_nobody_waits_for_ever() {
    model(|| {
        let counter = Counter::new(0);
        let others: Vec<_> = (2..=3)
            .map(|own| {
                let counter = Arc::clone(&counter);
                thread::spawn(move || counter.count_one(own))
            })
            .collect();

        counter.count_one(1);

        for other in others {
            other.join().unwrap();
        }
        assert_eq!(counter.count.load(Relaxed), 3);
        assert_eq!(counter.lock().owner(), 0);
    });
}

#[test]
fn one_of_those_who_look_takes_a_dead_owners_lock() {
    /// The number of an owner that is dead.
    const DEAD: u32 = 9;
    model(|| {
        let counter = Counter::new(DEAD);
        let take = |counter: &Counter, own| {
            let attempt = counter
                .lock()
                .attempt(own, Look::Due, |owner| owner != DEAD);
            matches!(attempt, Attempt::Done(Taken::FromDead(DEAD)))
        };
        let shared = Arc::clone(&counter);
        let other = thread::spawn(move || take(&shared, 2));

        let is_mine = take(&counter, 1);

        assert!(is_mine != other.join().unwrap(), "one of two takes it over");
    });
}
