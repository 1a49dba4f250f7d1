//! Bounds, priorities, fairness and keys.

use super::check;

#[test]
fn a_full_queue_gives_the_arguments_back() {
    check("bounded");
}

#[test]
fn who_submits_to_a_full_queue_waits_for_room() {
    check("bounded-blocks");
}

#[test]
fn who_submits_to_a_full_queue_from_a_task_holds_no_thread() {
    check("bounded-async");
}

#[test]
fn a_map_and_many_threads_keep_to_the_bound() {
    check("bounded-map");
}

#[test]
fn urgent_tasks_go_first() {
    check("priority");
}

#[test]
fn a_thousand_tasks_of_one_submitter_do_not_keep_another_waiting() {
    check("fairness");
}

#[test]
fn tasks_of_one_key_run_in_one_place() {
    check("keys");
}

#[test]
fn many_threads_that_wait_have_each_its_own_result() {
    check("many-waiters");
}

#[test]
fn a_service_is_ready_when_there_is_room_which_is_kept_for_it() {
    check("service");
}
