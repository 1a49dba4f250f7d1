//! A process dies inside an operation, right after each of its writes in turn; the queue is whole.

use super::{TRANSPORTS, check};

#[track_caller]
fn check_all(operation: &str) {
    for transport in TRANSPORTS {
        check(&format!("fork crash {transport} {operation}"));
    }
}

#[test]
fn who_dies_in_a_put_leaves_all_of_its_item_or_nothing() {
    check_all("put");
    check_all("put-first");
    check_all("put-empty");
    check_all("put-long");
}

#[test]
fn who_dies_in_a_put_while_the_ring_grows_leaves_it_whole() {
    check("fork crash ring put-growing");
    check("fork crash ring put-growing-next");
}

#[test]
fn who_dies_in_a_put_keeps_nobody_from_the_next() {
    check_all("put-next");
}

#[test]
fn who_dies_in_a_get_takes_one_item_or_none() {
    check_all("get");
    check_all("get-last");
    check_all("get-long");
}

#[test]
fn who_dies_in_a_get_while_the_ring_gives_memory_back_leaves_it_whole() {
    check("fork crash ring get-giving-back");
}

#[test]
fn who_dies_in_a_put_that_waited_or_a_get_that_waited_leaves_the_queue_whole() {
    check_all("put-waiting");
    check_all("get-waiting");
}

#[test]
fn who_dies_with_an_item_on_lease_or_in_the_middle_of_it_has_not_lost_it() {
    for operation in ["put", "get", "done", "done-behind", "give-back"] {
        check(&format!("fork crash-joinable {operation}"));
    }
}
