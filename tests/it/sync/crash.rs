//! A process killed right after any of its writes into shared memory leaves an object whole.

use super::Locks;

/// More writes than using any object once takes.
const WRITES_MAX: u32 = 100;

/// Has processes use an object, each of which is killed one write later, until one is not; calls
/// `check` after each, and returns how many were killed.
#[track_caller]
fn killed_at_each_write(
    main: &mut Locks,
    what: &str,
    mut prepare: impl FnMut(&mut Locks),
    mut check: impl FnMut(&mut Locks),
) -> u32 {
    for writes in 1..WRITES_MAX {
        prepare(main);
        main.child("crashes");
        main.tell("crashes", &format!("crash-{what} {writes}"));
        let end = main.end_of("crashes");
        check(main);
        if end == "exited 0" {
            assert_eq!(main.line_of("crashes"), "survived");
            return writes - 1;
        }
        assert_eq!(end, "killed 9");
    }
    panic!("using a {what} takes more than {WRITES_MAX} writes");
}

fn nothing(_main: &mut Locks) {}

#[test]
fn a_lock_is_to_be_had_wherever_its_owner_was_killed() {
    let mut main = Locks::new(1);
    main.child("checks");

    let killed = killed_at_each_write(&mut main, "lock", nothing, |main| {
        let locked = main.ask("checks", "lock");
        assert!(["locked", "owner died"].contains(&&*locked), "{locked}");
        assert_eq!(main.ask("checks", "lock-release"), "ok");
    });

    assert_eq!(killed, 2, "it is taken and given up");
}

#[test]
fn an_rlock_is_to_be_had_wherever_its_owner_was_killed() {
    let mut main = Locks::new(1);
    main.child("checks");

    let killed = killed_at_each_write(&mut main, "rlock", nothing, |main| {
        while main.ask("checks", "rlock") != "locked" {}
        assert_eq!(main.ask("checks", "rlock-release"), "ok");
    });

    assert!(killed >= 5, "{killed}");
}

#[test]
fn a_semaphore_has_its_permits_wherever_a_holder_was_killed() {
    let mut main = Locks::new(1);
    main.child("checks");

    let killed = killed_at_each_write(&mut main, "semaphore", nothing, |main| {
        assert_eq!(main.ask("checks", "semaphore-ms 5000"), "ok");
        assert_eq!(main.ask("checks", "semaphore-ms 5000"), "ok");
        let third = main.ask("checks", "semaphore-ms 0");
        assert_eq!(third, "error: all permits are held by others");
        assert_eq!(main.ask("checks", "semaphore-release"), "ok");
        assert_eq!(main.ask("checks", "semaphore-release"), "ok");
        assert_eq!(main.ask("checks", "semaphore-value"), "2");
    });

    assert!(killed >= 20, "{killed}");
}

#[test]
fn a_value_is_the_former_or_the_new_one_wherever_its_writer_was_killed() {
    let mut main = Locks::new(1);
    main.child("checks");
    let mut seen = Vec::new();

    let killed = killed_at_each_write(&mut main, "value", nothing, |main| {
        let row = main.ask("checks", "value-row");
        seen.push(row);
    });

    assert_eq!(killed, 6, "lock, three words, version, lock");
    let rows = [0, 0, 0, 0, 1, 2, 3].map(|value| format!("{:?}", [value; 3]));
    assert_eq!(seen, rows);
}

#[test]
fn a_condition_works_wherever_one_who_waited_was_killed() {
    let mut main = Locks::new(1);
    main.child("waits");
    main.child("notifies");

    let killed = killed_at_each_write(&mut main, "condition", nothing, |main| {
        // The lock may have been the dead one's.
        while main.ask("notifies", "condition-notify 0") != "0" {}
        assert_eq!(main.ask("waits", "condition-wait"), "waits");
        assert_eq!(main.ask("notifies", "condition-notify 1"), "1");
        assert_eq!(main.line_of("waits"), "ok");
    });

    assert!(killed >= 10, "{killed}");
}

#[test]
fn who_waits_for_a_condition_is_woken_wherever_a_notifier_was_killed() {
    let mut main = Locks::new(1);
    main.child("waits");
    main.child("notifies");
    let wait = |main: &mut Locks| {
        assert_eq!(main.ask("waits", "condition-wait"), "waits");
        assert_eq!(main.ask("notifies", "condition-notify 0"), "0");
    };

    let killed = killed_at_each_write(&mut main, "notify", wait, |main| {
        while main.ask("notifies", "condition-all") != "ok" {}
        let woken = main.line_of("waits");
        let died = "error: the process that held the lock died";
        assert!(woken == "ok" || woken.starts_with(died), "{woken}");
    });

    assert!(killed >= 5, "{killed}");
}

#[test]
fn an_event_can_be_set_wherever_one_who_set_it_was_killed() {
    let mut main = Locks::new(1);
    main.child("checks");

    let killed = killed_at_each_write(&mut main, "event", nothing, |main| {
        assert_eq!(main.ask("checks", "event-set"), "ok");
        assert_eq!(main.ask("checks", "event-ms 0"), "true");
        assert_eq!(main.ask("checks", "event-blink"), "ok");
    });

    assert_eq!(killed, 2, "it is set and cleared");
}

#[test]
fn a_barrier_ends_a_round_for_all_wherever_the_last_party_was_killed() {
    let mut main = Locks::new(2);
    main.child("waits");
    main.child("checks");
    let wait = |main: &mut Locks| {
        main.tell("waits", "barrier-ms 60000");
        while main.ask("checks", "barrier-waiting") != "1" {}
    };

    let mut ends = Vec::new();
    let killed = killed_at_each_write(&mut main, "barrier-last", wait, |main| {
        // One killed before it was there is not missed yet.
        let next = main.ask("checks", "barrier-ms 20");
        let end = main.line_of("waits");
        ends.push((end, next));
        assert_eq!(main.ask("checks", "barrier-reset"), "ok");
        main.tell("waits", "barrier-wait");
        let index = main.ask("checks", "barrier-ms 5000");
        assert!(index.starts_with("index"), "{index}");
        assert!(main.line_of("waits").starts_with("index"));
    });

    assert!(killed >= 8, "{killed}");
    let broken = "error: the barrier is broken: a party gave up, died or aborted";
    // One killed before it had arrived leaves its place to the next.
    ends.retain(|(_, next)| next != "index 1");
    let waits: Vec<&str> = ends.iter().map(|(waits, _)| &**waits).collect();
    // From the write that ends the round on, it has ended well.
    let passed = waits.iter().position(|&end| end == "index 0");
    let (before, after) = waits.split_at(passed.expect("the last one survives"));
    assert!(!before.is_empty() && before.iter().all(|&end| end == broken));
    assert!(after.iter().all(|&end| end == "index 0"), "{waits:?}");
    assert_eq!(
        after.len(),
        9,
        "the end, two records, the word, the lock, a record"
    );
}
