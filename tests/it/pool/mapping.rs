//! Many tasks of one function, and tasks with many results.

use super::check;

#[test]
fn a_map_returns_the_results_in_order() {
    check("map");
}

#[test]
fn a_starmap_spreads_tuples_over_the_arguments() {
    check("starmap");
}

#[test]
fn an_imap_takes_from_an_endless_iterator_only_a_little_ahead() {
    check("imap-lazy");
}

#[test]
fn an_unordered_imap_returns_what_is_there_first() {
    check("imap-unordered");
}

#[test]
fn an_imap_is_a_stream_too() {
    check("imap-async");
}

#[test]
fn what_has_not_begun_when_an_imap_is_dropped_never_does() {
    check("imap-dropped");
}

#[test]
fn of_a_map_that_fails_here_and_there_the_rest_is_right() {
    check("map-failing");
}

#[test]
fn a_stream_brings_all_items_and_then_the_error() {
    check("stream");
}

#[test]
fn a_stream_is_a_stream_for_tasks_too() {
    check("stream-async");
}

#[test]
fn a_stream_is_not_far_ahead_of_who_takes_its_items() {
    check("stream-credit");
}

#[test]
fn a_stream_that_is_dropped_stops_and_costs_no_worker() {
    check("stream-dropped");
}

#[test]
fn a_stream_whose_worker_dies_brings_what_there_was_and_says_so() {
    check("stream-dies");
}

#[test]
fn an_asynchronous_function_is_a_task() {
    check("future");
}
