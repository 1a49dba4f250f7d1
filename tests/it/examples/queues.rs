//! The examples of queues.

use super::{lines_of, run};

/// How far a producer is ahead at most: what is in the queue, what the consumer has in hand, and
/// what is to be put next.
const AHEAD_MAX: usize = 3 + 1 + 1;

#[test]
fn queue_put_blocks_until_somebody_gets() {
    let said = run("queue_put_blocks", "--fast");

    let expected = [
        "writer: three are in, and the fourth waits",
        "main: after 50ms it still waits; I take one",
        "writer: the fourth is in",
        "main: I have got [1, 2, 3, 4]",
    ];
    assert_eq!(said, expected);
}

#[test]
fn queue_full_says_so_and_gives_the_item_back() {
    let said = run("queue_full", "--fast");

    let expected = [
        "3 items, full: true",
        "try_put says: the queue is full; full: true",
        "and gives back \"four\"",
        "I take \"one\"",
        "I take \"two\"",
        "I take \"three\"",
        "I take \"four\"",
        "try_get says: the queue is empty",
    ];
    assert_eq!(lines_of("main", &said), expected);
}

#[test]
fn producer_consumer_main_eats_all_that_main_makes() {
    let said = run("producer_consumer_main", "--fast");

    assert_each_is_made_and_eaten(&said, "main", "chris");
    assert_eq!(said.last().unwrap(), "main: chris has eaten 10");
}

#[test]
fn producer_consumer_ends_by_itself() {
    let said = run("producer_consumer", "--fast");

    assert_each_is_made_and_eaten(&said, "producer", "consumer");
    let last = lines_of("consumer", &said).last().copied();
    assert_eq!(last, Some("there is no more"));
    assert_eq!(lines_of("main", &said).len(), 1);
    assert_eq!(said.len(), 22, "{said:?}");
}

#[test]
fn producer_consumer_sentinel_ends_by_none() {
    let said = run("producer_consumer_sentinel", "--fast");

    assert_each_is_made_and_eaten(&said, "producer", "consumer");
    let last = lines_of("consumer", &said).last().copied();
    assert_eq!(last, Some("I have got None"));
    assert_eq!(lines_of("main", &said).len(), 1);
    assert_eq!(said.len(), 22, "{said:?}");
}

#[test]
fn producer_consumer_join_waits_for_both() {
    let said = run("producer_consumer_join", "--fast");

    assert_each_is_made_and_eaten(&said, "producer", "consumer");
    let last = "main: both have finished, 10 made and 10 eaten";
    assert_eq!(said.last().unwrap(), last);
    assert_eq!(said.len(), 21, "{said:?}");
}

#[test]
fn joinable_queue_keeps_its_producer_until_every_item_is_done() {
    let said = run("joinable_queue", "--fast");

    let mut eaten = lines_of("chris", &said);
    eaten.extend(lines_of("dana", &said));
    eaten.sort_unstable();
    let mut expected: Vec<String> = (1..=10).map(has_eaten).collect();
    expected.sort_unstable();
    assert_eq!(eaten, expected);
    let producer = ["all are in", "all are done with"];
    assert_eq!(lines_of("producer", &said), producer);
    let last = [
        "producer: all are done with",
        "main: the producer has finished, and so do I",
    ];
    assert!(said.ends_with(&last.map(String::from)), "{said:?}");
    assert_eq!(said.len(), 13, "{said:?}");
}

/// Checks that ten are eaten in the order in which they are made, and that the queue is bounded.
#[track_caller]
fn assert_each_is_made_and_eaten(said: &[String], producer: &str, consumer: &str) {
    let (mut made, mut eaten) = (0, 0);
    for line in said {
        if *line == format!("{producer}: I have made dumpling {}", made + 1) {
            made += 1;
        } else if *line == format!("{consumer}: {}", has_eaten(eaten + 1)) {
            eaten += 1;
        }
        assert!(eaten <= made, "eaten before it is made: {said:?}");
        assert!(made <= eaten + AHEAD_MAX, "too far ahead: {said:?}");
    }
    assert_eq!((made, eaten), (10, 10), "{said:?}");
}

fn has_eaten(number: usize) -> String {
    format!("I have eaten dumpling {number}")
}
