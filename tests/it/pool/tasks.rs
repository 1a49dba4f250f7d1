//! Tasks that do what they are to.

use super::{check, check_both};

#[test]
fn a_task_that_is_submitted_has_its_result_and_its_own_error_comes_back_as_itself() {
    check_both("submit");
}

#[test]
fn a_handle_is_a_future_and_a_pool_is_built_and_joined_without_holding_a_thread() {
    check_both("await");
}

#[test]
fn a_child_and_a_worker_may_have_pools_of_their_own() {
    check_both("in-child");
}

#[test]
fn a_pool_that_is_made_inside_of_a_runtime_has_workers_outside_of_it() {
    check_both("in-runtime");
}

#[test]
fn a_waiting_task_of_sixteen_bytes_takes_less_than_two_hundred() {
    check("memory");
}

#[test]
fn a_task_that_has_begun_does_not_count_as_waiting_again() {
    check("figures");
}
