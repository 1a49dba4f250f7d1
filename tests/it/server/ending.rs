//! How a server ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{Client, Heard};
use super::{Server, configure, server};
use crate::support::{Deadline, Process, Setup, eventually, fixture};

/// How long anything may outlive a main process that was killed.
const PROMISE: Duration = Duration::from_secs(1);

/// Waits until a server that was told to end takes nobody on any more.
#[track_caller]
fn wait_until_closed(server: &Server) {
    eventually(
        Deadline::usual(),
        "the server has stopped listening",
        || Client::try_connect(&server.addresses[0]).is_err(),
    );
}

#[test]
fn a_request_in_flight_is_finished_and_the_exit_code_is_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::new("talk", "");
        let mut clients = server.clients(8);
        clients.iter_mut().for_each(|client| {
            client.worker();
        });

        server.process().signal(signal);
        wait_until_closed(&server);

        for mut client in clients {
            assert_eq!(client.ask("last words"), "LAST WORDS");
        }
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
        assert!(server.everything().is_empty());
        assert_eq!(server.errors(), "");
    }
}

#[test]
fn a_silent_connection_is_served_after_the_server_was_told_to_end() {
    let mut server = Server::new("talk", "");
    let clients = server.clients(8);

    server.process().signal(Signal::TERM);
    wait_until_closed(&server);

    for mut client in clients {
        assert_eq!(client.ask("first words"), "FIRST WORDS");
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn what_waits_in_the_kernel_when_the_server_is_told_to_end_is_served() {
    for count in [1, 40, 200] {
        let mut server = Server::new("talk", "");
        server.process().signal(Signal::STOP);
        let mut clients = server.clients(count);
        clients.iter().for_each(|client| client.say("here"));

        server.process().signal(Signal::TERM);
        server.process().signal(Signal::CONT);

        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(
                client.hear(),
                Heard::Line("HERE".to_owned()),
                "{number} of {count}"
            );
        }
        drop(clients);
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    }
}

#[test]
fn a_handler_that_does_not_end_in_time_is_broken_off_and_its_client_sees_the_end() {
    let mut server = Server::new("talk", "workers.drain_timeout=300ms");
    let mut clients = server.clients(4);
    for client in &mut clients {
        client.ask("stay");
        // What nobody reads would make closing a reset.
        client.say("unread");
    }

    server.process().signal(Signal::TERM);

    for client in &mut clients {
        assert_eq!(client.hear(), Heard::End);
    }
    drop(clients);
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    let errors = server.errors();
    assert_eq!(
        errors.matches("handlers were broken off").count(),
        2,
        "{errors}"
    );
}

#[test]
fn a_handler_that_blocks_and_waits_for_its_client_reads_the_end_and_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", folder.path().join("s").display());
    for (body, address) in [
        ("blocking", "127.0.0.1:0"),
        ("blocking-tcp", "127.0.0.1:0"),
        ("blocking-unix", unix.as_str()),
    ] {
        let settings = format!("server.bind={address} workers.drain_timeout=300ms");
        let mut server = Server::new(body, &settings);
        let mut clients = server.clients(2);
        for client in &mut clients {
            assert_eq!(client.ask("hello"), "HELLO");
        }

        server.process().signal(Signal::TERM);

        for client in &mut clients {
            assert_eq!(client.hear(), Heard::End, "{body}");
        }
        drop(clients);
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
        let errors = server.errors();
        let told = errors.matches("the handler gets no more of its client");
        assert_eq!(told.count(), 2, "{errors}");
    }
}

#[test]
fn a_handler_that_blocks_and_is_broken_off_can_still_answer_a_client_that_goes_on_sending() {
    let mut server = Server::new("blocking", "workers.drain_timeout=300ms");
    let mut client = server.client();
    assert_eq!(client.ask("until the end"), "listening");

    server.process().signal(Signal::TERM);
    eventually(Deadline::usual(), "its input has ended", || {
        server.errors().contains("gets no more of its client")
    });
    // What nobody reads would make closing a reset.
    client.say("late");

    assert_eq!(client.line(), "the last answer");
    assert_eq!(client.hear(), Heard::End);
    drop(client);
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn what_a_blocking_worker_takes_when_it_is_to_break_off_is_answered_as_far_as_it_has_come() {
    let settings = "workers.count=1 workers.drain_timeout=300ms";
    let mut server = Server::new("blocking", settings);
    server.worker(0).signal(Signal::STOP);
    let mut client = server.client();
    client.say("here");
    server.process().signal(Signal::TERM);
    wait_until_closed(&server);
    let begin = Instant::now();
    eventually(Deadline::usual(), "it is told to break off", || {
        begin.elapsed() > Duration::from_millis(600)
    });

    server.worker(0).signal(Signal::CONT);

    assert_eq!(client.line(), "HERE");
    assert_eq!(client.hear(), Heard::End);
    drop(client);
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn a_worker_that_is_replaced_while_its_handler_waits_for_a_client_ends_without_being_killed() {
    let settings = "workers.count=1 workers.drain_timeout=300ms";
    let mut server = Server::new("blocking", settings);
    let mut client = server.client();
    assert_eq!(client.ask("hello"), "HELLO");
    let worker = server.worker(0);

    server.process().signal(Signal::HUP);

    assert_eq!(client.hear(), Heard::End);
    drop(client);
    assert!(worker.ends_by(Deadline::usual()));
    server.settle(1);
    let errors = server.errors();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("gets no more of its client"), "{errors}");
    server.end();
}

#[test]
fn what_a_handler_has_parked_is_not_broken_off_with_it() {
    for body in ["async", "blocking"] {
        let mut setup: Setup = fixture!("parking");
        setup.args(body);
        configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=1");
        let timeouts = "workers.drain_timeout=200ms workers.kill_timeout=400ms";
        configure(&mut setup, timeouts);
        let server = Server::start(&setup);
        let mut client = server.client();
        client.ask("spin after");
        let spinning = server.worker(0);

        server.process().signal(Signal::HUP);

        assert!(spinning.ends_by(Deadline::usual()), "{body}");
        let answer = client.ask("go on");
        assert!(
            answer.starts_with("2 ") && answer.ends_with(" GO ON"),
            "{answer}"
        );
    }
}

#[test]
fn a_handler_learns_that_its_worker_drains() {
    for body in ["talk", "blocking"] {
        let mut server = Server::new(body, "");
        let mut client = server.client();
        assert_eq!(client.ask("draining"), "draining false");

        server.process().signal(Signal::TERM);

        wait_until_closed(&server);
        eventually(Deadline::usual(), "it is told", || {
            client.ask("draining") == "draining true"
        });
        client.close();
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    }
}

#[test]
fn a_handler_that_awaits_the_drain_ends_with_it() {
    for body in ["talk", "blocking"] {
        let mut server = Server::new(body, "workers.drain_timeout=1h");
        let mut client = server.client();
        client.ask("until draining");

        server.process().signal(Signal::TERM);

        assert_eq!(client.hear(), Heard::End);
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    }
}

#[test]
fn a_handler_that_cannot_be_broken_off_is_killed_in_time_and_the_exit_code_is_1() {
    for (body, settings) in [
        (
            "talk",
            "workers.drain_timeout=300ms workers.kill_timeout=300ms",
        ),
        (
            "talk",
            "workers.drain_timeout=300ms workers.kill_timeout=0s",
        ),
        (
            "blocking",
            "workers.drain_timeout=300ms workers.kill_timeout=300ms",
        ),
    ] {
        let mut server = Server::new(body, settings);
        server.client().ask("spin");

        server.process().signal(Signal::TERM);

        assert_eq!(server.wait().code(), Some(1));
        assert!(server.everything().is_empty());
        let errors = server.errors();
        let last = "error: 1 of the workers did not finish in time and had to be killed";
        assert_eq!(errors.lines().last(), Some(last), "{errors}");
    }
}

#[test]
fn a_second_signal_kills_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let mut server = Server::new("talk", "workers.drain_timeout=1h");
        server.client().ask("spin");
        server.process().signal(first);
        wait_until_closed(&server);

        server.process().signal(second);

        assert_eq!(server.wait().code(), Some(1), "{}", server.errors());
        assert!(server.everything().is_empty());
    }
}

#[test]
fn nothing_is_left_a_second_after_main_was_killed() {
    for command in ["on", "stay", "spin"] {
        let server = Server::new("talk", "workers.count=4");
        let mut clients = server.clients(4);
        for client in &mut clients {
            client.ask(command);
        }
        let everything = server.everything();
        assert_eq!(everything.len(), 6, "main, fork server, four workers");

        server.process().signal(Signal::KILL);

        let deadline = Deadline::after(PROMISE);
        let is_left = |process: &&Process| !process.ends_by(deadline);
        assert_eq!(everything.iter().filter(is_left).count(), 0);
    }
}

#[test]
fn a_server_that_is_told_to_end_while_it_starts_leaves_nothing() {
    for round in 0..20 {
        let mut main = server("talk", "workers.count=4").start();
        let booted = || main.everything().len() > round % 6;
        eventually(Deadline::usual(), "it has some processes", booted);

        main.process().signal(Signal::TERM);

        main.wait();
        let nothing_is_left = || !main.everything().iter().any(Process::is_alive);
        let in_time = Deadline::after(PROMISE);
        eventually(in_time, "everything is gone", nothing_is_left);
    }
}

#[test]
fn a_socket_file_goes_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let setting = format!("server.bind=unix:{}", path.display());
    let mut server = Server::new("talk", &setting);
    assert_eq!(server.client().ask("on"), "ON");

    server.end();

    assert!(!path.exists());
}

#[test]
fn a_server_that_ends_and_can_start_nobody_for_who_is_left_gives_up_at_the_fifth_failure() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    let mut setup = server("talk hook", "workers.count=1");
    let mut server = Server::start(setup.env("FIXTURE_ORDER", &order));
    let worker = server.worker(0);
    worker.signal(Signal::STOP);
    let mut client = server.client();
    client.say("here");
    server.process().signal(Signal::TERM);
    wait_until_closed(&server);
    std::fs::write(&order, "fail the disk is gone").unwrap();

    worker.signal(Signal::KILL);

    assert!(matches!(client.hear(), Heard::End | Heard::Reset));
    server.wait();
    let errors = server.errors();
    let last = errors
        .lines()
        .rfind(|line| line.contains("no worker for them"));
    let last = last.unwrap_or_else(|| panic!("{errors}"));
    assert!(last.contains("the disk is gone"), "{last}");
}

#[test]
fn a_server_that_ends_starts_another_worker_for_who_is_left() {
    let mut server = Server::new("talk", "workers.count=1");
    let worker = server.worker(0);
    worker.signal(Signal::STOP);
    let mut client = server.client();
    client.say("here");
    server.process().signal(Signal::TERM);
    wait_until_closed(&server);

    worker.signal(Signal::KILL);

    assert_eq!(client.line(), "HERE");
    client.close();
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}
