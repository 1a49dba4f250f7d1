//! What a program is told that starts the fork server wrongly.

use crate::support::fixture;

use super::{METHODS, children};

#[test]
fn a_second_thread_at_the_start_is_an_error_that_names_the_way_out() {
    let mut main = fixture!("children").args("fork thread").start();

    let answer = main.line_of("main");

    assert!(answer.starts_with("error: "), "{answer}");
    assert!(answer.contains("it has 2"), "{answer}");
    assert!(answer.contains("call hatchery::init() first"), "{answer}");
    assert!(answer.contains("StartMethod::Spawn"), "{answer}");
}

#[test]
fn a_second_start_does_nothing() {
    for method in METHODS {
        let mut main = children(method);
        let first = main.fork_server().pid();

        assert_eq!(main.ask("init"), "ready");

        assert_eq!(main.fork_server().pid(), first);
    }
}

#[test]
fn the_fork_servers_variable_set_by_hand_is_one_clear_line() {
    for value in ["1", concat!("stdin-", env!("CARGO_PKG_VERSION"))] {
        let mut main = fixture!("children")
            .args("fork")
            .env("HATCHERY_FORK_SERVER", value)
            .start();

        let status = main.wait();

        let errors = main.errors();
        assert_eq!(status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        let start = "hatchery: HATCHERY_FORK_SERVER is set, but ";
        let reason = errors.strip_prefix(start).unwrap_or_default();
        let reasons = [
            "standard input is not a queue of orders\n",
            "it is another version's\n",
        ];
        assert!(reasons.contains(&reason), "{errors}");
    }
}

#[test]
fn a_program_that_a_child_executes_does_not_take_itself_for_a_fork_server() {
    let mut main = children("spawn");

    main.start_process("a", "execute panic");

    assert_eq!(main.line_of("a"), "exited 101");
}
