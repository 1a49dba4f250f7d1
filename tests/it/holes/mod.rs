//! Somebody is killed at the worst moment: nothing hangs, nothing is lost unseen, nothing is left.
//!
//! Each test runs one of the fixture `holes`, in which processes die right after one of their writes
//! to shared memory, each in turn, or kill themselves with something in hand.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Deadline, Fixture, fixture};

/// The start methods, for what both promise.
const METHODS: [&str; 2] = ["fork", "spawn"];

#[track_caller]
fn start(method: &str, test: &str) -> Fixture {
    let mut setup = fixture!("holes");
    // A backtrace takes longer than all the rest.
    let setup = setup.args(method).args(test).env("RUST_BACKTRACE", "0");
    setup.start()
}

#[track_caller]
fn check(test: &str) {
    for method in METHODS {
        let mut main = start(method, test);
        assert_eq!(main.line_of("main"), "ok", "{method} {test}");
        assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    }
}

#[test]
fn the_task_whose_worker_is_killed_is_lost_and_the_pool_goes_on() {
    check("task-killed");
}

#[test]
fn the_task_that_ends_its_worker_is_lost_with_the_exit_code() {
    check("task-exits");
}

#[test]
fn the_task_that_panics_says_so_and_its_worker_lives_on() {
    check("task-panics");
}

#[test]
fn the_task_whose_result_does_not_get_through_fails_and_later_ones_run() {
    check("task-result");
}

#[test]
fn an_idle_worker_that_is_killed_is_replaced_and_later_tasks_run() {
    check("idle-worker");
}

#[test]
fn a_pool_that_is_terminated_at_work_returns_in_time_and_every_task_has_an_error() {
    check("terminated");
}

#[test]
fn of_nine_tasks_one_loses_its_worker_and_the_others_succeed() {
    check("one-of-nine");
}

#[test]
fn after_a_reader_was_killed_inside_a_get_the_next_get_works() {
    check("reader");
}

#[test]
fn of_a_writer_killed_in_a_large_message_no_part_appears_and_timeouts_are_kept() {
    check("writer");
}

#[test]
fn a_put_that_cannot_be_serialised_says_so_and_takes_no_room() {
    check("unserialisable");
}

#[test]
fn what_was_put_is_delivered_although_its_producer_was_killed() {
    check("producer");
}

#[test]
fn what_a_process_has_put_it_can_get_at_once() {
    check("own-put");
}

#[test]
fn a_child_that_is_joined_before_anyone_reads_waits_for_room_and_the_join_says_so() {
    check("joined-first");
}

#[test]
fn the_lock_of_a_killed_owner_is_had_by_the_next_who_is_told() {
    check("lock");
}

#[test]
fn the_permit_of_a_killed_holder_comes_back() {
    check("semaphore");
}

#[test]
fn notifying_all_returns_at_once_although_one_who_waits_was_killed() {
    check("condition");
}

#[test]
fn setting_an_event_returns_at_once_although_one_who_waits_was_killed() {
    check("event");
}

#[test]
fn a_barrier_with_a_killed_party_is_broken_at_once_or_in_time() {
    check("barrier");
}

#[test]
fn the_item_of_a_killed_consumer_is_delivered_again_and_join_returns_when_it_is_done() {
    check("consumer");
}

#[test]
fn a_process_inherits_no_thread_and_no_lock_that_one_held() {
    check("thread");
}

#[test]
fn everything_is_gone_within_a_second_when_the_parent_is_killed() {
    for method in METHODS {
        let mut main = start(method, "parent");
        assert_eq!(main.line_of("main"), "ready", "{}", main.errors());
        let everything = main.everything();
        assert!(everything.len() >= 6, "main, two fork servers, children");

        main.process().signal(Signal::KILL);

        let deadline = Deadline::after(Duration::from_secs(1));
        for process in &everything {
            assert!(process.ends_by(deadline), "alive: {:?}", process.stat());
        }
    }
}

#[test]
fn a_killed_manager_is_lost_at_once_and_a_supervised_one_comes_back() {
    check("manager");
}

#[test]
fn a_killed_fork_server_is_restarted_and_running_children_end_as_they_would() {
    for method in METHODS {
        let mut main = start(method, "fork-server");

        assert_eq!(main.line_of("main"), "done", "{}", main.errors());

        main.wait_for_no_zombie();
        main.hang_up();
        assert_eq!(main.line_of("main"), "ok");
    }
}

#[test]
fn sending_leaks_no_descriptor_whatever_becomes_of_it() {
    check("descriptors");
}

#[test]
fn every_asynchronous_get_in_a_select_with_a_timer_loses_nothing() {
    check("select");
}

#[test]
fn four_tasks_that_share_a_queue_keep_the_stream_whole() {
    check("four-tasks");
}
