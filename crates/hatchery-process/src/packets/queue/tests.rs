//! What a queue of messages promises, within one process.

use std::sync::atomic::AtomicUsize;

use futures::executor::block_on;

use super::*;

/// How many wait at once where it is counted how many are woken.
const READERS: usize = 8;

/// How many messages they get.
const ITEMS: usize = 50;

fn message(text: &str) -> Outgoing<'_> {
    Outgoing::new(text.as_bytes(), Vec::new()).unwrap()
}

fn past() -> Option<Instant> {
    Some(Instant::now())
}

#[test]
fn messages_are_counted_as_they_come_and_go() {
    let queue = PacketQueue::new(2).unwrap();
    queue.try_put(&message("a")).unwrap();
    queue.put(&message("b"), None).unwrap();

    let full = queue.try_put(&message("c"));
    assert!(matches!(full, Err(PacketSendError::Full)));
    let full = queue.put(&message("c"), past());
    assert!(matches!(full, Err(PacketSendError::Timeout)));
    assert_eq!(queue.len(), 2);

    assert_eq!(queue.try_get().unwrap().bytes, b"a");
    assert_eq!(queue.get(None).unwrap().bytes, b"b");
    assert!(matches!(queue.try_get(), Err(PacketRecvError::Empty)));
    assert!(matches!(queue.get(past()), Err(PacketRecvError::Timeout)));
    assert!(queue.is_empty());
}

#[test]
fn a_closed_queue_is_emptied_and_then_closed() {
    let queue = PacketQueue::new(0).unwrap();
    queue.try_put(&message("last")).unwrap();
    queue.close().unwrap();

    let closed = queue.try_put(&message("more"));
    assert!(matches!(closed, Err(PacketSendError::Closed)));
    assert_eq!(queue.try_get().unwrap().bytes, b"last");
    assert!(matches!(queue.get(None), Err(PacketRecvError::Closed)));
}

#[test]
fn what_the_kernel_has_no_room_for_waits_until_it_has() {
    const COUNT: usize = 2_000;
    let queue = PacketQueue::new(0).unwrap();

    let got = std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..COUNT {
                queue
                    .put(&message("some more bytes than none"), None)
                    .unwrap();
            }
            queue.close().unwrap();
        });
        std::iter::from_fn(|| queue.get(None).ok()).count()
    });

    assert_eq!(got, COUNT);
}

/// A queue that many wait for, and what they do meanwhile.
struct Watched {
    queue: PacketQueue,
    /// How many are about to sleep, or do.
    idle: AtomicUsize,
    woken: AtomicUsize,
    got: AtomicUsize,
}

impl Watched {
    fn attempt(&self, look: Look) -> Attempt<Result<Parcel, PacketRecvError>> {
        if look.has_slept() {
            self.idle.fetch_sub(1, Relaxed);
        }
        self.woken.fetch_add(usize::from(look.was_woken()), Relaxed);
        let attempt = self.queue.get_attempt(look);
        match &attempt {
            Attempt::Wait(_) => self.idle.fetch_add(1, Relaxed),
            Attempt::Done(got) => self.got.fetch_add(usize::from(got.is_ok()), Relaxed),
        };
        attempt
    }

    /// Has many get by `get`, puts messages one by one, each while all wait, and returns how often
    /// anybody was woken.
    fn wake_ups(get: impl Fn(&Self) -> bool + Sync) -> usize {
        fn repeat(mut get: impl FnMut() -> bool) {
            while get() {}
        }
        let watched = Self {
            queue: PacketQueue::new(0).unwrap(),
            idle: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
            got: AtomicUsize::new(0),
        };
        std::thread::scope(|threads| {
            for _ in 0..READERS {
                threads.spawn(|| repeat(|| get(&watched)));
            }
            for item in 0..ITEMS {
                watched.wait_until_all_sleep(item);
                watched.queue.try_put(&message("item")).unwrap();
            }
            watched.wait_until_all_sleep(ITEMS);
            let woken = watched.woken.load(Relaxed);
            watched.queue.close().unwrap();
            woken
        })
    }

    fn wait_until_all_sleep(&self, got: usize) {
        while self.got.load(Relaxed) < got || self.idle.load(Relaxed) < READERS {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_message_wakes_one_of_the_threads_that_wait() {
    let woken = Watched::wake_ups(|watched| {
        let got = watched
            .queue
            .wait_to_get(None, |look| watched.attempt(look));
        got.is_some_and(|got| got.is_ok())
    });

    // Who is about to sleep when a message comes looks once more.
    assert!(woken <= 2 * ITEMS, "{woken} wake-ups");
}

#[test]
fn a_message_wakes_one_of_the_tasks_that_wait() {
    let woken = Watched::wake_ups(|watched| {
        let get = watched
            .queue
            .wait_to_get_async(|look| watched.attempt(look));
        block_on(get).is_ok()
    });

    assert!(woken <= 2 * ITEMS, "{woken} wake-ups");
}

#[test]
fn who_gives_up_waiting_leaves_every_message_to_others() {
    let queue = PacketQueue::new(0).unwrap();

    let got = std::thread::scope(|threads| {
        let others = threads.spawn(|| std::iter::from_fn(|| queue.get(None).ok()).count());
        let mut got = 0;
        for _ in 0..ITEMS {
            let mut given_up = std::pin::pin!(queue.get_async());
            let first = block_on(async { futures::poll!(given_up.as_mut()) });
            got += usize::from(first.is_ready());
            queue.try_put(&message("item")).unwrap();
        }
        queue.close().unwrap();
        got + others.join().unwrap()
    });

    assert_eq!(got, ITEMS);
}

#[test]
fn a_queue_that_was_sent_is_the_same_queue_and_carries_descriptors() {
    let queue = PacketQueue::new(1).unwrap();
    let received: PacketQueue = Parcel::encode(&queue).unwrap().decode().unwrap();
    let inner = Parcel::encode(&queue).unwrap();
    let outgoing = Outgoing::try_from(inner).unwrap();
    queue.try_put(&outgoing).unwrap();

    assert_eq!(received.len(), 1);
    let again: PacketQueue = received.try_get().unwrap().decode().unwrap();
    assert!(again.is_empty());
}
