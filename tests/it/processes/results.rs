//! What a function returned, or why it did not, comes to whoever joins.

use super::{METHODS, processes};
use crate::support::{Deadline, eventually};

#[test]
fn what_a_function_returns_is_what_join_returns_each_time() {
    for method in METHODS {
        let mut main = processes(method);
        main.start_process("a", "echo some text");

        for _ in 0..3 {
            assert_eq!(main.ask("join a"), "returned some text");
        }

        assert_eq!(main.ask("code a"), "Some(0)");
        assert_eq!(main.ask("alive a"), "false");
    }
}

#[test]
fn a_large_result_does_not_hold_up_the_process() {
    let mut main = processes("fork");

    main.start_process("a", "large 10485760");

    eventually(Deadline::usual(), "it ends before it is joined", || {
        main.ask("alive a") == "false"
    });

    assert_eq!(main.ask("join a"), "returned 10485760 bytes");
}

#[test]
fn an_exit_code_is_reported_as_it_was() {
    for method in METHODS {
        let mut main = processes(method);
        for code in [0, 8, 255] {
            main.start_process("a", &format!("exit {code}"));

            let expected = format!("the process ended with exit code {code}");
            assert_eq!(main.ask("join a"), expected);
            assert_eq!(main.ask("code a"), format!("Some({code})"));
        }
    }
}

#[test]
fn a_panic_is_reported_with_its_words_and_place_and_printed_all_the_same() {
    for method in METHODS {
        let mut main = processes(method);
        main.start_process("a", "panic something");

        let outcome = main.ask("join a");

        let place = "the process panicked at tests/fixtures/processes.rs:";
        assert!(outcome.starts_with(place), "{outcome}");
        assert!(outcome.ends_with(": told: something"), "{outcome}");
        assert_eq!(main.ask("code a"), "Some(101)");
        assert!(main.errors().contains("told: something"));
    }
}

#[test]
fn the_signal_that_ended_a_process_is_reported_as_a_negative_number() {
    for method in METHODS {
        let mut main = processes(method);
        for (verb, signal) in [("interrupt", 2), ("kill", 9), ("terminate", 15)] {
            main.hold("a", "");
            assert_eq!(main.ask("code a"), "None");
            assert_eq!(main.ask("alive a"), "true");

            main.tell(&format!("{verb} a"));

            let expected = format!("signal {signal} ended the process");
            assert_eq!(main.ask("join a"), expected);
            assert_eq!(main.ask("code a"), format!("Some(-{signal})"));
            main.tell(&format!("{verb} a"));
        }
    }
}

#[test]
fn arguments_are_given_as_they_are_or_borrowed() {
    for method in METHODS {
        processes(method).tell("check arguments");
    }
}

#[test]
fn what_cannot_be_serialised_is_an_error_of_its_own() {
    processes("fork").tell("check codec");
}

#[test]
fn a_function_that_ends_by_an_error_of_any_type_tells_it() {
    processes("fork").tell("check errors");
}

#[test]
fn descriptors_in_a_result_outlive_the_process() {
    processes("fork").tell("check descriptors");
}
