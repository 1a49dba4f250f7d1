//! What pipes promise between processes.

use super::METHODS;
use crate::support::fixture;

#[track_caller]
fn check(test: &str) {
    for method in METHODS {
        let arguments = format!("{method} {test}");
        let mut main = fixture!("pipes").args(&arguments).start();
        assert_eq!(main.line_of("main"), "ok", "{arguments}");
        assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    }
}

#[test]
fn messages_of_no_byte_to_64_mib_arrive_whole() {
    check("sizes 67108864");
}

#[test]
fn sockets_go_through_a_pipe() {
    check("sockets");
}

#[test]
fn two_processes_talk_through_a_pipe_that_was_sent_to_them() {
    check("ends");
}

#[test]
fn of_a_sender_that_is_killed_only_whole_messages_arrive() {
    check("killed");
}

#[test]
fn a_receiver_with_a_full_table_loses_a_message_and_not_the_next() {
    check("full-table");
}

#[test]
fn a_sender_of_too_many_descriptors_waits_for_the_receiver() {
    // Root may have any number of them, and only root can be another user, whom nobody disturbs.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let user = 20_000 + std::process::id() % 40_000;

    let mut main = fixture!("pipes").args("fork crowded").user(user).start();

    assert_eq!(main.line_of("main"), "ok", "{}", main.errors());
}

#[test]
fn receiving_in_a_select_with_a_timer_loses_nothing() {
    check("select");
}

#[test]
fn four_tasks_that_share_a_sender_keep_the_stream_whole() {
    check("four");
}

#[test]
fn a_send_that_is_given_up_sends_nothing_and_leaves_nothing() {
    check("given-up");
}
