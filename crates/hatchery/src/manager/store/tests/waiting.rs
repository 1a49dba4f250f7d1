//! Locks, semaphores, events, conditions and barriers.

use super::*;

#[test]
fn a_lock_passes_in_order_and_from_the_dead() {
    let mut world = World::new();
    let id = world.make(Spec::Lock);
    assert_eq!(world.answer(1, id, lock(1, true)), YES);
    assert_eq!(
        world.answer(2, id, lock(1, false)),
        NO,
        "not even to its owner"
    );
    for client in 2..=4 {
        assert_eq!(world.call(client, id, lock(client, true)), []);
    }
    assert_eq!(world.ask(3, Request::Cancel), [(3, NO)]);

    assert_eq!(world.leave(1), [(2, YES)]);
    assert_eq!(world.call(2, id, UNLOCK), [(2, Reply::Done), (4, YES)]);

    let not_held = world.answer(2, id, UNLOCK);
    assert_eq!(not_held, Reply::Refused(Refusal::NotHeld));
}

#[test]
fn a_reentrant_lock_needs_as_many_releases() {
    let mut world = World::new();
    let id = world.make(Spec::RLock);
    for client in 1..=3 {
        assert_eq!(world.answer(client, id, lock(7, true)), YES);
    }
    assert_eq!(world.call(9, id, lock(8, true)), []);
    assert_eq!(world.answer(4, id, lock(7, true)), YES, "others may wait");

    assert_eq!(world.answer(1, id, UNLOCK), Reply::Done);
    assert_eq!(world.leave(2), []);
    assert_eq!(world.leave(4), []);
    let last = world.call(3, id, UNLOCK);

    assert_eq!(last, [(3, Reply::Done), (9, YES)]);
}

#[test]
fn permits_come_back_from_the_dead_and_not_when_forgotten() {
    let mut world = World::new();
    let id = world.make(Spec::BoundedSemaphore { permits: 2 });
    let acquire = || semaphore(SemaphoreOperation::Acquire { waits: true });
    assert_eq!(world.answer(1, id, acquire()), YES);
    assert_eq!(world.answer(2, id, acquire()), YES);
    assert_eq!(world.call(3, id, acquire()), []);
    assert_eq!(world.leave(1), [(3, YES)]);
    world.answer(3, id, semaphore(SemaphoreOperation::Forget));
    assert_eq!(world.leave(3), []);

    let value = world.answer(4, id, semaphore(SemaphoreOperation::Value));
    let added = world.answer(4, id, semaphore(SemaphoreOperation::Add(1)));
    let over = world.answer(4, id, semaphore(SemaphoreOperation::Add(1)));

    assert_eq!(value, Reply::Count(0));
    assert_eq!(added, Reply::Done);
    let permits = 2;
    assert_eq!(over, Reply::Refused(Refusal::OverRelease { permits }));
}

#[test]
fn an_event_wakes_all_who_live() {
    let mut world = World::new();
    let id = world.make(Spec::Event);
    let wait = || Operation::Event(EventOperation::Wait);
    for client in 1..=3 {
        assert_eq!(world.call(client, id, wait()), []);
    }
    world.leave(2);

    let woken = world.call(9, id, Operation::Event(EventOperation::Set));

    assert_eq!(woken, [(9, Reply::Done), (1, YES), (3, YES)]);
    assert_eq!(world.answer(4, id, wait()), YES);
    world.answer(9, id, Operation::Event(EventOperation::Clear));
    assert_eq!(world.call(4, id, wait()), []);
}

/// Has `clients` wait on a condition, one after the other.
fn waiting(clients: impl IntoIterator<Item = u64>) -> (World, ObjectId) {
    let mut world = World::new();
    let id = world.make(Spec::Condition);
    for client in clients {
        let acquire = ConditionOperation::Acquire { waits: true };
        assert_eq!(world.answer(client, id, condition(acquire)), YES);
        assert_eq!(
            world.call(client, id, condition(ConditionOperation::Wait)),
            []
        );
    }
    (world, id)
}

#[test]
fn a_condition_wakes_as_many_as_it_is_told_one_after_the_other() {
    let (mut world, id) = waiting(1..=4);
    world.leave(1);
    let acquire = || condition(ConditionOperation::Acquire { waits: true });
    let release = || condition(ConditionOperation::Release);
    world.answer(9, id, acquire());

    let notified = world.answer(9, id, condition(ConditionOperation::Notify(2)));

    assert_eq!(notified, Reply::Count(2));
    assert_eq!(world.call(9, id, release()), [(9, Reply::Done), (2, YES)]);
    assert_eq!(world.call(2, id, release()), [(2, Reply::Done), (3, YES)]);
    assert_eq!(world.call(3, id, release()), [(3, Reply::Done)]);
    world.answer(9, id, acquire());
    let notified = world.answer(9, id, condition(ConditionOperation::Notify(u64::MAX)));
    assert_eq!(notified, Reply::Count(1));
}

#[test]
fn a_condition_is_notified_by_its_holder_alone() {
    let (mut world, id) = waiting([1]);

    let refused = world.answer(2, id, condition(ConditionOperation::Notify(1)));

    assert_eq!(refused, Reply::Refused(Refusal::NotHeld));
}

#[test]
fn a_notified_waiter_that_dies_before_it_knows_passes_it_on() {
    let (mut world, id) = waiting([1, 2]);
    let acquire = ConditionOperation::Acquire { waits: true };
    world.answer(9, id, condition(acquire));
    world.answer(9, id, condition(ConditionOperation::Notify(1)));

    assert_eq!(world.leave(1), []);
    let released = world.call(9, id, condition(ConditionOperation::Release));

    assert_eq!(released, [(9, Reply::Done), (2, YES)]);
}

#[test]
fn a_waiter_whose_time_is_up_has_the_lock_again_before_it_goes_on() {
    let (mut world, id) = waiting([1]);
    let acquire = ConditionOperation::Acquire { waits: true };
    world.answer(9, id, condition(acquire));

    assert_eq!(world.ask(1, Request::Cancel), []);
    assert_eq!(world.ask(1, Request::Cancel), [], "it cannot give that up");
    let released = world.call(9, id, condition(ConditionOperation::Release));

    assert_eq!(released, [(9, Reply::Done), (1, NO)]);
}

#[test]
fn a_barrier_opens_again_and_again_and_breaks_by_whoever_gives_up() {
    let mut world = World::new();
    let id = world.make(Spec::Barrier { parties: 3 });
    let wait = || Operation::Barrier(BarrierOperation::Wait);
    for _ in 0..3 {
        assert_eq!(world.call(5, id, wait()), []);
        assert_eq!(world.call(6, id, wait()), []);
        let opened = world.call(7, id, wait());
        let counts = [5, 6, 7].map(|client| (client, Reply::Count(client - 5)));
        assert_eq!(opened, counts);
    }
    let broken = |client| (client, Reply::Refused(Refusal::Broken));

    world.call(5, id, wait());
    world.call(6, id, wait());
    assert_eq!(world.leave(6), [broken(5)]);
    assert_eq!(world.call(7, id, wait()), [broken(7)]);
    world.answer(7, id, Operation::Barrier(BarrierOperation::Reset));
    world.call(5, id, wait());
    world.call(7, id, wait());

    assert_eq!(world.ask(5, Request::Cancel), [broken(5), broken(7)]);
}
