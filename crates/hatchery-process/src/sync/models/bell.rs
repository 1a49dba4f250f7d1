//! The bells of a queue: who waits for a message, and who for room.

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{ModelWord, model};
use crate::sync::bell::Bell;
use crate::sync::wait::Attempt;
use crate::sync::word::Word;

/// A bell in the words of the model.
struct ModelBell {
    number: ModelWord,
    is_awaited: ModelWord,
}

impl ModelBell {
    fn new() -> Self {
        Self {
            number: ModelWord::new(0),
            is_awaited: ModelWord::new(0),
        }
    }

    fn bell(&self) -> Bell<'_, ModelWord> {
        Bell {
            number: &self.number,
            is_awaited: &self.is_awaited,
        }
    }

    fn wake_if(&self, wakes: bool) {
        if wakes {
            self.number.wake(1);
        }
    }
}

/// A queue whose messages are only counted.
struct Queue {
    count: Mutex<u32>,
    count_max: u32,
    getters: ModelBell,
    putters: ModelBell,
}

impl Queue {
    fn new(count_max: u32) -> Arc<Self> {
        Arc::new(Self {
            count: Mutex::new(0),
            count_max,
            getters: ModelBell::new(),
            putters: ModelBell::new(),
        })
    }

    fn put(&self) {
        let (wakes_getter, wakes_putter) = self.putters.number.wait(|look| {
            let mut count = self.count.lock().unwrap();
            let (getters, putters) = (self.getters.bell(), self.putters.bell());
            if *count == self.count_max {
                return Attempt::Wait(putters.wait_for());
            }
            *count += 1;
            let is_more = *count < self.count_max;
            let passes = look.has_slept() && putters.pass_on(is_more);
            Attempt::Done((getters.ring_if_awaited(), passes))
        });
        self.getters.wake_if(wakes_getter);
        self.putters.wake_if(wakes_putter);
    }

    fn get(&self) {
        let (wakes_getter, wakes_putter) = self.getters.number.wait(|look| {
            let mut count = self.count.lock().unwrap();
            let (getters, putters) = (self.getters.bell(), self.putters.bell());
            if *count == 0 {
                return Attempt::Wait(getters.wait_for());
            }
            *count -= 1;
            let passes = look.has_slept() && getters.pass_on(*count > 0);
            Attempt::Done((passes, putters.ring_if_awaited()))
        });
        self.getters.wake_if(wakes_getter);
        self.putters.wake_if(wakes_putter);
    }
}

#[test]
fn two_messages_reach_two_getters_although_one_is_rung_for() {
    model(|| {
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
    model(|| {
        let queue = Queue::new(1);
        queue.put();
        let putters: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.put())
            })
            .collect();

        for _ in 0..3 {
            queue.get();
        }

        for putter in putters {
            putter.join().unwrap();
        }
    });
}
