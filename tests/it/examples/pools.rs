//! The examples of pools.

use super::run;

#[test]
fn pool_map_counts_what_one_process_counts() {
    let said = run("pool_map", "--fast --workers 2");

    assert_eq!(
        said[..4],
        [
            "10 of 40 texts",
            "20 of 40 texts",
            "30 of 40 texts",
            "40 of 40 texts"
        ]
    );
    assert!(said[4].starts_with("20000 words, most often "), "{said:?}");
    assert!(said[5].starts_with("2 workers: "), "{said:?}");
}

#[test]
fn pool_map_says_which_file_it_cannot_read() {
    let mut program = super::example("pool_map").args("/no/such/file").start();

    program.rest();

    assert_eq!(program.wait().code(), Some(1));
    assert!(
        program.errors().contains("/no/such/file"),
        "{}",
        program.errors()
    );
}

#[test]
fn pool_crash_shows_each_task_fail_alone() {
    let mut program = super::example("pool_crash").start();

    let said = program.rest();

    let expected = [
        "Square(1): returned 1",
        "Fail: failed by itself: I would rather not",
        "Square(2): returned 4",
        "Panic: panicked: this should not have happened",
        "Square(3): returned 9",
        "Exit: has ended its worker with exit code 3",
        "Square(4): returned 16",
        "Crash: has lost its worker to signal 11",
        "Square(5): returned 25",
        "Hang: the task took too long and was stopped",
        "Square(6): returned 36",
        "one more: returned 49",
        "8 tasks returned, 4 did not",
    ];
    assert_eq!(said, expected);
    assert_eq!(program.wait().code(), Some(0));
    super::wait_for_nothing_left(&program);
}

#[test]
fn pool_async_has_its_results_and_ends_what_was_given_up() {
    let said = run("pool_async", "--fast");

    let said: Vec<_> = said.iter().filter(|line| *line != "tick").collect();
    let expected = [
        "below 2000: 303 primes",
        "below 4000: 550 primes",
        "below 6000: 783 primes",
        "below 8000: 1007 primes",
        "square: 1",
        "square: 4",
        "square: 9",
        "square: 16",
        "square: 25",
        "endless: the task was cancelled",
        "all workers have ended",
    ];
    assert_eq!(said, expected.iter().collect::<Vec<_>>());
}

#[test]
fn pool_progress_loses_only_the_tasks_that_fail() {
    let said = run("pool_progress", "--fast");

    // The numbers to 299, without 49, 99, … 299.
    assert_eq!(said, ["300 tasks, 6 failed; the others make 43806"]);
}
