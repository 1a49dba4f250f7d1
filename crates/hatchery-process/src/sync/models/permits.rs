//! The semaphore's word.

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{ModelWord, model};
use crate::sync::permits::PermitsWord;
use crate::sync::wait::Attempt;
use crate::sync::word::Word;

/// A semaphore without accounts: the word, and its critical section.
struct Semaphore {
    word: ModelWord,
    section: Mutex<()>,
}

impl Semaphore {
    fn new(permits: u32) -> Arc<Self> {
        Arc::new(Self {
            word: ModelWord::new(permits),
            section: Mutex::new(()),
        })
    }

    fn acquire(&self) {
        let wakes = self.word.wait(|look| {
            let _entered = self.section.lock().unwrap();
            match PermitsWord(&self.word).take(look) {
                Attempt::Done(wakes) => Attempt::Done(wakes),
                Attempt::Wait(seen) => Attempt::Wait(seen),
            }
        });
        if wakes.0 {
            self.word.wake(1);
        }
    }

    fn release(&self) {
        let entered = self.section.lock().unwrap();
        let wakes = PermitsWord(&self.word).give();
        drop(entered);
        if wakes.0 {
            self.word.wake(1);
        }
    }
}

#[test]
fn each_who_waits_gets_the_permit_in_the_end() {
    model(|| {
        let semaphore = Semaphore::new(1);
        let shared = Arc::clone(&semaphore);
        let other = thread::spawn(move || {
            shared.acquire();
            shared.release();
        });

        for _ in 0..2 {
            semaphore.acquire();
            semaphore.release();
        }

        other.join().unwrap();
        assert_eq!(PermitsWord(&semaphore.word).value(), 1);
    });
}

#[test]
fn two_permits_wake_two_although_one_is_told() {
    model(|| {
        let semaphore = Semaphore::new(0);
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let semaphore = Arc::clone(&semaphore);
                thread::spawn(move || semaphore.acquire())
            })
            .collect();

        semaphore.release();
        semaphore.release();

        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(PermitsWord(&semaphore.word).value(), 0);
    });
}
