//! Values that children share with the fork server.

use crate::support::{Main, Process};

use super::children;

#[test]
fn a_preloaded_value_is_there_in_later_children_and_the_last_one_counts() {
    let mut main = children("fork");
    let word = |main: &mut Main| {
        main.start_process("a", "word");
        main.line_of("a")
    };
    assert_eq!(word(&mut main), "nothing");

    main.tell("preload word");
    assert_eq!(word(&mut main), "egg");
    main.tell("preload other-word");

    assert_eq!(word(&mut main), "nest");
}

#[test]
fn a_preloaded_value_is_in_memory_once() {
    const LARGE: u64 = 64 << 20;
    let mut main = children("fork");
    main.tell("preload large");

    for name in ["a", "b", "c"] {
        main.child(name, "large");
        assert_eq!(main.line_of(name), (7 * LARGE).to_string());
    }

    let total: u64 = main.everything().iter().map(Process::pss_bytes).sum();
    assert!(total > LARGE && total < LARGE * 5 / 4, "{total} bytes");
}

#[test]
fn a_preload_that_panics_is_an_error_with_its_words() {
    let mut main = children("fork");

    let answer = main.ask("preload panic");

    assert!(answer.starts_with("error: "), "{answer}");
    assert!(answer.contains("could not be preloaded"), "{answer}");
    assert!(answer.ends_with("it panicked: no egg today"), "{answer}");
    main.start_process("a", "exit 3");
    assert_eq!(main.ask("wait a"), "exited 3");
}

#[test]
fn a_preload_that_panics_at_length_is_an_error_with_the_first_words() {
    let mut main = children("fork");

    let answer = main.ask("preload long-panic");

    assert!(answer.contains("it panicked: no egg no egg"), "{answer}");
}

#[test]
fn a_preload_that_leaves_a_thread_is_an_error_that_says_so() {
    let mut main = children("fork");

    let answer = main.ask("preload thread");

    assert!(answer.starts_with("error: "), "{answer}");
    assert!(answer.contains("2 threads"), "{answer}");
}

#[test]
fn a_preload_may_use_a_thread_that_it_joins() {
    let mut main = children("fork");
    for _ in 0..50 {
        main.tell("preload joined-thread");
    }

    main.start_process("a", "word");

    assert_eq!(main.line_of("a"), "joined");
}

#[test]
fn what_a_preload_prints_is_printed_once() {
    let mut main = children("fork");

    main.say("preload print");

    assert_eq!(main.line(), "half a line main ok");
    main.start_process("a", "exit 0");
    assert_eq!(main.ask("wait a"), "exited 0");
    main.hang_up();
    assert_eq!(main.rest(), [""; 0]);
}
