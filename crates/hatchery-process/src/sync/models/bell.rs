//! The bells of a queue: who waits for a message, and who for room.

use loom::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{ModelWord, model_with};
use crate::sync::bell::Bell;
use crate::sync::wait::{Attempt, Look};
use crate::sync::word::Word;

/// Two locks and two bells take many steps, so fewer interruptions are tried.
const PREEMPTIONS_MAX: usize = 2;

/// One side of a queue: those who put, or those who get.
struct Side {
    /// One at a time.
    section: Mutex<()>,
    /// The lock's word, as far as others see it.
    lock: ModelWord,
    /// How many messages have passed here.
    passed: AtomicU32,
    number: ModelWord,
    is_awaited: ModelWord,
}

impl Side {
    fn new() -> Self {
        Self {
            section: Mutex::new(()),
            lock: ModelWord::new(0),
            passed: AtomicU32::new(0),
            number: ModelWord::new(0),
            is_awaited: ModelWord::new(0),
        }
    }

    /// The bell for those who wait on this side, rung by those on the other.
    fn bell<'a>(&'a self, other: &'a Self) -> Bell<'a, ModelWord> {
        Bell {
            number: &self.number,
            is_awaited: &self.is_awaited,
            lock: &other.lock,
        }
    }

    /// Lets a message pass, if `may_pass` with so many before it, once there is none in the way.
    fn pass(&self, other: &Self, may_pass: impl Fn(u32, u32) -> bool) {
        let passes_on = self
            .number
            .wait(|look| self.attempt(other, &may_pass, look));
        if passes_on {
            self.number.add_one();
            self.number.wake(1);
        }
        let bell = other.bell(self);
        if bell.is_awaited() && bell.ring_awaited() {
            other.number.wake(1);
        }
    }

    /// One attempt at that; whether the ring is to be passed on.
    fn attempt(
        &self,
        other: &Self,
        may_pass: &impl Fn(u32, u32) -> bool,
        look: Look,
    ) -> Attempt<bool> {
        let _section = self.section.lock().unwrap();
        let is_free = || may_pass(self.passed.load(Relaxed), other.passed.load(Acquire));
        let mut seen = None;
        if !is_free() {
            seen = Some(self.bell(other).wait_for());
        }
        let attempt = match seen {
            Some(seen) if !is_free() => Attempt::Wait(seen),
            _ => {
                self.passed.store(self.passed.load(Relaxed) + 1, Release);
                Attempt::Done(look.has_slept() && self.bell(other).pass_on(is_free))
            }
        };
        self.lock.exchange(0);
        attempt
    }
}

/// A queue whose messages are only counted.
struct Queue {
    count_max: u32,
    putters: Side,
    getters: Side,
}

impl Queue {
    fn new(count_max: u32) -> Arc<Self> {
        Arc::new(Self {
            count_max,
            putters: Side::new(),
            getters: Side::new(),
        })
    }

    fn put(&self) {
        let max = self.count_max;
        self.putters.pass(&self.getters, |put, got| put - got < max);
    }

    fn get(&self) {
        self.getters.pass(&self.putters, |got, put| got < put);
    }
}

#[test]
fn two_messages_reach_two_getters_although_one_is_rung_for() {
    model_with(PREEMPTIONS_MAX, || {
        let queue = Queue::new(2);
        let getters: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.get())
            })
            .collect();

        queue.put();
        queue.put();

        for getter in getters {
            getter.join().unwrap();
        }
    });
}

#[test]
fn two_who_wait_for_room_get_it_although_one_is_rung_for() {
    model_with(PREEMPTIONS_MAX, || {
        let queue = Queue::new(1);
        queue.putters.passed.store(1, Relaxed);
        let putters: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.put())
            })
            .collect();

        for _ in 0..2 {
            queue.get();
        }

        for putter in putters {
            putter.join().unwrap();
        }
    });
}
