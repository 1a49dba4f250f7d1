//! The end of a pool, and how many workers it has until then.

use super::check;

#[test]
fn a_closed_pool_does_what_it_has_and_takes_no_more() {
    check("close");
}

#[test]
fn terminating_ends_every_task_in_time() {
    check("terminate");
}

#[test]
fn a_shutdown_waits_until_its_deadline_and_says_what_was_left() {
    check("shutdown");
}

#[test]
fn a_join_with_a_timeout_keeps_it_and_can_be_repeated() {
    check("join-timeout");
}

#[test]
fn dropping_the_last_of_a_pool_terminates_it() {
    check("drop");
}

#[test]
fn a_worker_that_has_done_so_many_tasks_is_replaced() {
    check("max-tasks");
}

#[test]
fn more_workers_come_when_they_are_needed_and_go_when_they_are_not() {
    check("idle");
}

#[test]
fn a_pool_is_resized_while_it_works() {
    check("resize");
}

#[test]
fn progress_is_told_of_now_and_then_and_at_the_end() {
    check("progress");
}

#[test]
fn impossible_settings_say_what_is_allowed() {
    check("settings");
}
