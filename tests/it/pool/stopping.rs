//! Tasks that are cancelled or take too long.

use super::check;

#[test]
fn a_task_that_waits_is_cancelled_at_once() {
    check("cancel-waiting");
}

#[test]
fn a_task_that_looks_stops_when_it_is_cancelled_and_costs_no_worker() {
    check("cancel-soft");
}

#[test]
fn a_task_that_does_not_stop_is_killed_and_its_worker_replaced() {
    check("cancel-hard");
}

#[test]
fn a_task_that_is_over_is_not_cancelled() {
    check("cancel-over");
}

#[test]
fn a_task_that_takes_too_long_is_stopped_in_time() {
    check("timeout");
}

#[test]
fn what_was_sent_ahead_behind_a_task_that_is_killed_is_not_hurt() {
    check("timeout-spares-others");
}

#[test]
fn the_time_of_a_task_begins_when_it_does() {
    check("timeout-from-start");
}

#[test]
fn a_task_that_stops_when_its_time_is_up_costs_no_worker() {
    check("stop-in-time");
}
