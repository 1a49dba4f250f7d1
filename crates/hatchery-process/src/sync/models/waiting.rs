//! The records of a condition.

use std::sync::atomic::AtomicU64;

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{ModelWord, model};
use crate::sync::waiters::Waiters;
use crate::sync::word::Word;

/// How many can wait in a model.
const RECORDS: usize = 2;

/// A condition without a lock of its own: the records, and their critical section.
struct Condition {
    words: Vec<ModelWord>,
    wides: Vec<AtomicU64>,
    next_ticket: Mutex<u64>,
}

impl Condition {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            words: (0..RECORDS).map(|_| ModelWord::new(0)).collect(),
            wides: (0..=2 * RECORDS).map(|_| AtomicU64::new(0)).collect(),
            next_ticket: Mutex::new(0),
        })
    }

    fn waiters(&self) -> Waiters<'_, ModelWord> {
        Waiters {
            words: &self.words,
            wides: &self.wides,
        }
    }

    fn enlist(&self) -> usize {
        let mut ticket = self.next_ticket.lock().unwrap();
        *ticket += 1;
        self.waiters().enlist(1, *ticket, |_| true).unwrap()
    }

    fn wait(&self, record: usize) {
        self.words[record].wait(|_| self.waiters().attempt(record));
        let _section = self.next_ticket.lock().unwrap();
        assert!(self.waiters().finish(record));
    }

    fn give_up(&self, record: usize) {
        let section = self.next_ticket.lock().unwrap();
        let told = self.waiters().give_up(record, |_| true);
        drop(section);
        self.wake(told);
    }

    fn notify(&self, count: usize) -> usize {
        let ticket = self.next_ticket.lock().unwrap();
        let told = self.waiters().notify(count, *ticket + 1, |_| true);
        drop(ticket);
        let count = told.len();
        self.wake(told);
        count
    }

    fn wake(&self, told: Vec<usize>) {
        for record in told {
            self.words[record].wake(1);
        }
    }
}

#[test]
fn two_who_wait_are_woken_by_two_notifications() {
    model(|| {
        let condition = Condition::new();
        let records = [condition.enlist(), condition.enlist()];
        let waiters = records.map(|record| {
            let condition = Arc::clone(&condition);
            thread::spawn(move || condition.wait(record))
        });

        assert_eq!(condition.notify(1), 1);
        assert_eq!(condition.notify(1), 1);

        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(condition.notify(1), 0);
    });
}

#[test]
fn a_notification_reaches_the_one_who_stays_when_another_gives_up() {
    model(|| {
        let condition = Condition::new();
        let leaves = condition.enlist();
        let stays = condition.enlist();
        let shared = Arc::clone(&condition);
        let leaver = thread::spawn(move || shared.give_up(leaves));
        let shared = Arc::clone(&condition);
        let stayer = thread::spawn(move || shared.wait(stays));

        assert_eq!(condition.notify(1), 1);

        leaver.join().unwrap();
        stayer.join().unwrap();
    });
}
