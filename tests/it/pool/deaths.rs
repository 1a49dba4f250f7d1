//! Workers that die.

use super::check;

#[test]
fn a_task_whose_worker_is_killed_is_lost_and_the_pool_goes_on() {
    check("killed");
}

#[test]
fn a_task_that_exits_is_lost_with_its_exit_code() {
    check("exit");
}

#[test]
fn a_task_that_panics_says_what_and_where_and_its_worker_lives_on() {
    check("panic");
}

#[test]
fn idle_workers_that_are_killed_are_replaced() {
    check("idle-killed");
}

#[test]
fn of_nine_tasks_one_kills_its_worker_and_eight_have_results() {
    check("one-of-nine");
}

#[test]
fn what_was_sent_ahead_to_a_worker_that_dies_runs_once_and_elsewhere() {
    check("ahead-survive");
}

#[test]
fn a_task_is_run_again_only_if_it_may() {
    check("retry");
}

#[test]
fn a_task_that_loses_every_worker_is_quarantined() {
    check("quarantine");
}

#[test]
fn every_failure_at_every_stage_is_the_failure_of_one_task() {
    check("matrix");
}

#[test]
fn a_worker_that_writes_over_its_memory_is_replaced() {
    check("scribble");
}

#[test]
fn an_initializer_that_fails_is_why_there_is_no_pool_and_what_it_returns_is_there_for_tasks() {
    check("initializer");
}

#[test]
fn tasks_do_not_wait_for_workers_that_cannot_be_started() {
    check("no-workers");
}

#[test]
fn nothing_is_left_of_workers_that_died() {
    check("tidy");
}
