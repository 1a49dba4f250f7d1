//! What is left behind: nothing.

use crate::support::{Deadline, Main, Process, eventually, fixture};

use super::{METHODS, children};

/// What a fork server without children holds: the standard descriptors, the orders, the end of the
/// main process, the signal of its children, and the epoll that watches them.
const IDLE_DESCRIPTORS: usize = 7;

/// Waits until a fork server holds nothing of any child.
#[track_caller]
fn wait_until_idle(fork_server: &Process) {
    // It closes what it has of a child a moment before it collects it.
    let holds_nothing =
        || fork_server.descriptors().len() == IDLE_DESCRIPTORS && fork_server.children().is_empty();
    eventually(Deadline::usual(), "the fork server lets go", holds_nothing);
    assert_eq!(fork_server.children().len(), 0);
}

#[test]
fn a_thousand_children_leave_no_descriptor_and_no_zombie() {
    for method in METHODS {
        let mut main = children(method);
        wait_until_idle(&main.fork_server());
        let before = main.process().descriptors();

        main.tell("churn 1000");

        assert_eq!(main.process().descriptors(), before);
        wait_until_idle(&main.fork_server());
        main.wait_for_no_zombie();
    }
}

#[test]
fn a_hundred_children_live_at_once_and_leave_nothing() {
    for method in METHODS {
        let mut main = children(method);
        let before = main.process().descriptors();

        main.tell("crowd 100");

        assert_eq!(main.process().descriptors(), before);
        wait_until_idle(&main.fork_server());
        main.wait_for_no_zombie();
    }
}

#[test]
fn a_fork_server_sleeps_while_ended_children_are_held() {
    let mut main = children("fork");
    let fork_server = main.fork_server();
    for name in ["a", "b", "c"] {
        main.start_process(name, "exit 0");
        assert_eq!(main.ask(&format!("wait {name}")), "exited 0");
    }

    let mut asleep = 0;
    eventually(Deadline::usual(), "the fork server sleeps on", || {
        let sleeps = fork_server.stat().is_some_and(|stat| stat.state == 'S');
        asleep = if sleeps { asleep + 1 } else { 0 };
        asleep == 20
    });
}

#[test]
fn threads_start_children_at_once() {
    for habit in ["", "thread"] {
        let mut main = children(&format!("spawn {habit}"));

        main.tell("threads 8 50");

        main.wait_for_no_zombie();
    }
}

#[test]
fn a_full_descriptor_table_is_an_error_and_leaves_no_child_that_nobody_knows() {
    for (method, limit) in METHODS
        .into_iter()
        .flat_map(|method| [(method, 40), (method, 41)])
    {
        for raise in [false, true] {
            let mut main = Main::start(fixture!("children").args(method).limit("nofile", limit));
            if raise {
                // From now on the fork server's table fills first.
                main.tell("raise");
            }

            let answer = main.ask("fill");

            let (known, reason) = answer.split_once(' ').unwrap_or_default();
            assert!(!reason.is_empty(), "{answer}");
            let fork_server = main.fork_server();
            eventually(
                Deadline::usual(),
                &format!("{known} children are left"),
                || fork_server.children().len().to_string() == known,
            );
            main.tell("kill f0");
            assert_eq!(main.ask("wait f0"), "killed 9");
            main.tell("drop f0");
            main.tell("churn 3");
        }
    }
}

#[test]
fn too_many_descriptors_on_their_way_are_an_error_and_not_a_hang() {
    // Root may have any number of them, and only root can be another user, whom nobody disturbs.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let user = 20_000 + std::process::id() % 40_000;
    for raise in [false, true] {
        let mut setup = fixture!("children");
        let setup = setup.args("fork").limit("nofile", 64).user(user);
        let mut main = Main::start(setup);
        if raise {
            // From now on the fork server alone is at its limit.
            main.tell("raise");
        }
        main.tell("flood 65");

        let answer = main.ask("start a idle");

        assert!(answer.starts_with("error: "), "{answer}");
        assert!(answer.contains("Too many references"), "{answer}");
        let fork_server = main.fork_server();
        let nobody_is_left = || fork_server.children().is_empty();
        eventually(Deadline::usual(), "no child is left", nobody_is_left);
        main.tell("ebb");
        main.tell("churn 3");
    }
}

#[test]
fn what_a_child_leaves_behind_becomes_no_zombie() {
    for method in METHODS {
        let mut main = children(method);

        main.start_process("a", "abandon");
        main.line_of("a");
        main.ask("wait a");

        main.wait_for_no_zombie();
    }
}
