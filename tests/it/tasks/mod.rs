//! What becomes of tasks whose worker dies, under the fixture `tasks`.

use crate::support::fixture;

/// Has a worker die after each of its writes; returns how many there are.
#[track_caller]
fn writes_of(arguments: &str) -> u32 {
    let mut main = fixture!("tasks").args(arguments).start();
    let said = main.line_of("main");
    assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    let writes = said
        .strip_prefix("ok ")
        .and_then(|count| count.parse().ok());
    writes.unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn a_worker_that_dies_after_any_write_costs_no_task_but_the_one_that_ran() {
    assert!(writes_of("fork light") > 40);
}

#[test]
fn a_worker_that_dies_with_packets_on_their_way_leaves_no_descriptor() {
    assert!(writes_of("fork heavy") > 20);
}

#[test]
fn a_worker_that_dies_between_items_leaves_the_items_before() {
    assert!(writes_of("fork items") > 60);
}
