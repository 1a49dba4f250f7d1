//! Who has a task: the worker that begins with it, or the main process that takes it back.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::model;
use crate::tasks::{Slot, State, Wide};

impl Wide for AtomicU64 {
    fn read(&self) -> u64 {
        self.load(Ordering::Acquire)
    }

    fn write(&self, value: u64) {
        // Loom takes it for possible that a store comes before an exchange that did not see it.
        self.swap(value, Ordering::AcqRel);
    }

    fn replace(&self, seen: u64, value: u64) -> bool {
        self.compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Two tasks that have the same place one after the other.
const FIRST: u64 = 1;
const SECOND: u64 = FIRST + crate::TASKS_AHEAD_MAX as u64;

fn slot(word: &AtomicU64, seq: u64) -> Slot<'_, AtomicU64> {
    Slot { word, seq }
}

#[test]
fn a_task_is_begun_with_or_taken_back_and_never_both() {
    model(|| {
        let word = Arc::new(AtomicU64::new(0));
        slot(&word, FIRST).send();
        let worker = {
            let word = Arc::clone(&word);
            thread::spawn(move || slot(&word, FIRST).start())
        };

        let is_revoked = slot(&word, FIRST).revoke();

        let is_started = worker.join().unwrap();
        assert_ne!(is_revoked, is_started);
        let state = slot(&word, FIRST).state();
        let expected = [State::Revoked, State::Running][usize::from(is_started)];
        assert_eq!(state, Some(expected));
    });
}

#[test]
fn a_task_that_was_taken_back_is_not_taken_for_its_successor() {
    model(|| {
        let word = Arc::new(AtomicU64::new(0));
        slot(&word, FIRST).send();
        let worker = {
            let word = Arc::clone(&word);
            thread::spawn(move || {
                let first = slot(&word, FIRST).start();
                if first {
                    slot(&word, FIRST).finish();
                }
                first
            })
        };

        if slot(&word, FIRST).revoke() {
            slot(&word, SECOND).send();
        }

        let first = worker.join().unwrap();
        assert_ne!(slot(&word, SECOND).start(), first);
    });
}

#[test]
fn a_worker_that_is_done_late_does_not_spoil_the_next_task_in_the_place() {
    model(|| {
        let word = Arc::new(AtomicU64::new(0));
        let results = Arc::new(AtomicU64::new(0));
        slot(&word, FIRST).send();
        let worker = {
            let (word, results) = (Arc::clone(&word), Arc::clone(&results));
            thread::spawn(move || {
                assert!(slot(&word, FIRST).start());
                results.write(1);
                slot(&word, FIRST).finish();
            })
        };

        // The result is there before the worker has noted that.
        let is_sent = results.read() == 1;
        if is_sent {
            slot(&word, SECOND).send();
        }

        worker.join().unwrap();
        if is_sent {
            assert!(slot(&word, SECOND).start());
        }
    });
}
