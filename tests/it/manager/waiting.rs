//! Queues, locks and their kin, as the threads of one process see them.

use std::time::{Duration, Instant};

use hatchery::{ManagedGetError, ManagedPutError, ManagerError};

use super::{SHORT, finish, in_thread, manager, patience};
use crate::support::{Deadline, eventually};

#[test]
fn a_queue_gives_back_what_has_no_room_and_says_when_it_is_empty() {
    let manager = manager();
    let queue = manager.queue::<String>(2).unwrap();
    queue.put("a".to_owned()).unwrap();
    queue.put("b".to_owned()).unwrap();

    let full = queue.try_put("c".to_owned()).unwrap_err();
    let late = queue.put_timeout("d".to_owned(), SHORT).unwrap_err();

    assert!(matches!(&full, ManagedPutError::Full(item) if item == "c"));
    assert_eq!(late.into_inner(), "d");
    assert!(queue.is_full().unwrap() && queue.len().unwrap() == 2);
    assert_eq!(queue.get().unwrap(), "a");
    assert_eq!(queue.try_get().unwrap(), "b");
    assert!(matches!(queue.try_get(), Err(ManagedGetError::Empty)));
    assert!(matches!(
        queue.get_timeout(SHORT),
        Err(ManagedGetError::Empty)
    ));
    assert!(queue.is_empty().unwrap());
}

#[test]
fn an_item_that_was_put_is_there_for_whoever_looks_next() {
    let manager = manager();
    let queue = manager.queue::<u32>(0).unwrap();
    for number in 0..200 {
        queue.put(number).unwrap();
        assert_eq!(queue.try_get().unwrap(), number);
    }
}

#[test]
fn a_put_waits_for_room_and_a_get_for_an_item() {
    let manager = manager();
    let queue = manager.queue::<u32>(1).unwrap();
    queue.put(1).unwrap();
    let putter = queue.clone();
    let putter = in_thread(move || putter.put(2));

    assert_eq!(queue.get_timeout(patience()).unwrap(), 1);
    finish(putter).unwrap();
    assert_eq!(queue.get_timeout(patience()).unwrap(), 2);
    let getter = queue.clone();
    let getter = in_thread(move || getter.get());
    queue.put(3).unwrap();

    assert_eq!(finish(getter).unwrap(), 3);
}

#[test]
fn a_closed_queue_is_drained_and_wakes_who_waits() {
    let manager = manager();
    let queue = manager.queue::<u32>(1).unwrap();
    queue.put(1).unwrap();
    queue.close().unwrap();

    assert!(matches!(queue.put(2), Err(ManagedPutError::Closed(2))));
    assert_eq!(queue.get().unwrap(), 1);
    assert!(matches!(queue.get(), Err(ManagedGetError::Closed)));
}

#[test]
fn a_joinable_queue_is_joined_when_all_is_done() {
    let manager = manager();
    let jobs = manager.joinable_queue::<u32>(0).unwrap();
    for number in 0..3 {
        jobs.put(number).unwrap();
    }
    drop(jobs.get().unwrap());
    let again = jobs.get().unwrap();
    assert_eq!((*again, again.deliveries()), (0, 2));
    again.done().unwrap();
    jobs.get().unwrap().task_done().unwrap();
    let kept = jobs.get().unwrap().into_inner().unwrap();
    assert_eq!((kept, jobs.unfinished().unwrap()), (2, 1));
    assert!(!jobs.join_timeout(SHORT).unwrap());
    let joiner = jobs.clone();
    let joiner = in_thread(move || joiner.join());

    jobs.task_done().unwrap();

    finish(joiner).unwrap();
    assert!(matches!(jobs.task_done(), Err(ManagerError::TooManyDone)));
}

#[test]
fn a_lock_that_is_dropped_is_free_for_whoever_looks_next() {
    let manager = manager();
    let lock = manager.lock().unwrap();
    for _ in 0..100 {
        let guard = lock.lock().unwrap();
        assert!(lock.is_locked().unwrap());
        assert!(lock.try_lock().unwrap().is_none());
        let other = lock.clone();
        drop(guard);
        let tried = in_thread(move || other.try_lock().unwrap().is_some());
        assert!(finish(tried));
    }
}

#[test]
fn a_reentrant_lock_opens_to_its_thread_alone_and_as_often_as_it_is_taken() {
    let manager = manager();
    let lock = manager.rlock().unwrap();
    let outer = lock.lock().unwrap();
    let inner = lock.lock().unwrap();
    let try_elsewhere = || {
        let lock = lock.clone();
        finish(in_thread(move || lock.try_lock().unwrap().is_some()))
    };

    assert!(!try_elsewhere());
    outer.unlock().unwrap();
    assert!(!try_elsewhere());
    inner.unlock().unwrap();
    assert!(try_elsewhere());
}

#[test]
fn times_are_kept() {
    let manager = manager();
    let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(0).unwrap());
    let (event, queue) = (manager.event().unwrap(), manager.queue::<u8>(0).unwrap());
    let condition = manager.condition().unwrap();
    let _held = lock.lock().unwrap();
    let timeout = Duration::from_millis(50);
    let lateness = |call: &dyn Fn()| {
        let begun = Instant::now();
        call();
        let took = begun.elapsed();
        assert!(took >= timeout, "too early: {took:?}");
        took - timeout
    };
    // Where others have the CPU it may be late now and then, but not each time.
    let allowed = Deadline::after(Duration::from_millis(10)).left();
    let allowed = Duration::try_from(allowed).expect("it is not negative");
    let timed = |call: &dyn Fn()| {
        let late: Vec<_> = (0..10).map(|_| lateness(call)).collect();
        let least = late.iter().min().expect("it was called");
        assert!(*least < allowed, "{late:?}");
    };

    timed(&|| assert!(lock.lock_timeout(timeout).unwrap().is_none()));
    timed(&|| assert!(semaphore.acquire_timeout(timeout).unwrap().is_none()));
    timed(&|| assert!(!event.wait_timeout(timeout).unwrap()));
    timed(&|| drop(queue.get_timeout(timeout).unwrap_err()));
    timed(&|| {
        let guard = condition.lock().unwrap();
        let (_guard, is_notified) = guard.wait_timeout(timeout).unwrap();
        assert!(!is_notified);
    });
}

#[test]
fn a_time_that_is_over_leaves_the_connection_for_the_next_call() {
    let manager = manager();
    let event = manager.event().unwrap();
    for _ in 0..50 {
        assert!(!event.wait_timeout(Duration::from_millis(1)).unwrap());
    }
    event.set().unwrap();

    assert!(event.wait_timeout(patience()).unwrap());
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());
}

#[test]
fn a_semaphore_has_as_many_permits_as_it_was_given() {
    let manager = manager();
    let semaphore = manager.bounded_semaphore(2).unwrap();
    let (one, two) = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
    assert_eq!(semaphore.value().unwrap(), 0);
    assert!(semaphore.try_acquire().unwrap().is_none());

    one.forget().unwrap();
    drop(two);

    assert_eq!(semaphore.value().unwrap(), 1);
    semaphore.release(1).unwrap();
    let over = semaphore.release(1).unwrap_err();
    assert!(matches!(over, ManagerError::OverRelease { permits: 2 }));
    let unbounded = manager.semaphore(0).unwrap();
    unbounded.release(3).unwrap();
    assert_eq!(unbounded.value().unwrap(), 3);
}

#[test]
fn a_condition_wakes_two_of_six_when_told_to() {
    let manager = manager();
    let condition = manager.condition().unwrap();
    let (waiting, woken) = (
        manager.value(&0_u32).unwrap(),
        manager.value(&0_u32).unwrap(),
    );
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let condition = condition.clone();
            let (waiting, woken) = (waiting.clone(), woken.clone());
            in_thread(move || {
                let guard = condition.lock().unwrap();
                waiting.add(1).unwrap();
                let _guard = guard.wait().unwrap();
                woken.add(1).unwrap();
            })
        })
        .collect();
    let all_wait = || waiting.get().unwrap() == 6;
    eventually(Deadline::usual(), "six wait", all_wait);

    let notified = condition.lock().unwrap().notify(2).unwrap();

    assert_eq!(notified, 2);
    eventually(Deadline::usual(), "two are woken", || {
        woken.get().unwrap() == 2
    });
    let others = condition.lock().unwrap().notify_all().unwrap();
    assert_eq!(others, 4, "no more than two were woken");
    for thread in threads {
        finish(thread);
    }
}

#[test]
fn a_predicate_is_waited_for() {
    let manager = manager();
    let (condition, value) = (manager.condition().unwrap(), manager.value(&0_u8).unwrap());
    let (waiter, seen) = (condition.clone(), value.clone());
    let waiter = in_thread(move || {
        let guard = waiter.lock()?;
        waiter_result(guard.wait_for(|| Ok(seen.get()? == 3)))
    });

    for _ in 0..3 {
        let mut guard = condition.lock().unwrap();
        value.add(1).unwrap();
        guard.notify_all().unwrap();
    }

    finish(waiter).unwrap();
    let guard = condition.lock().unwrap();
    let (_guard, holds) = guard.wait_for_timeout(SHORT, || Ok(false)).unwrap();
    assert!(!holds);
}

fn waiter_result<T>(outcome: Result<T, ManagerError>) -> Result<(), ManagerError> {
    outcome.map(drop)
}

#[test]
fn a_barrier_of_five_passes_ten_times_in_lockstep() {
    let manager = manager();
    let barrier = manager.barrier(5).unwrap();
    let round = manager.value(&0_usize).unwrap();
    let threads: Vec<_> = (0..5)
        .map(|_| {
            let (barrier, round) = (barrier.clone(), round.clone());
            in_thread(move || {
                for number in 0..10 {
                    // The first to come leaves word that all have passed the barrier before.
                    if barrier.wait().unwrap() == 0 {
                        assert_eq!(round.add(1).unwrap(), number + 1);
                    }
                    barrier.wait().unwrap();
                    assert_eq!(round.get().unwrap(), number + 1);
                    barrier.wait().unwrap();
                }
            })
        })
        .collect();

    for thread in threads {
        finish(thread);
    }

    assert_eq!(round.get().unwrap(), 10);
}

#[test]
fn a_barrier_breaks_for_all_and_is_mended_by_a_reset() {
    let manager = manager();
    let barrier = manager.barrier(3).unwrap();
    let waiter = barrier.clone();
    let waiter = in_thread(move || waiter.wait());
    let one_waits = || barrier.status().unwrap().waiting == 1;
    eventually(Deadline::usual(), "one waits", one_waits);

    let late = barrier.wait_timeout(SHORT);

    assert!(matches!(late, Err(ManagerError::BrokenBarrier)));
    assert!(matches!(finish(waiter), Err(ManagerError::BrokenBarrier)));
    assert!(matches!(barrier.wait(), Err(ManagerError::BrokenBarrier)));
    barrier.reset().unwrap();
    assert!(!barrier.status().unwrap().is_broken);
    barrier.abort().unwrap();
    assert!(barrier.status().unwrap().is_broken);
    assert!(matches!(manager.barrier(0), Err(ManagerError::NoParties)));
}
