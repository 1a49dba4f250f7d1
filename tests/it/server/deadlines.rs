//! Handlers that have their connections for too long.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::client::Heard;
use super::control::Controlled;
use super::{Server, configure, server};
use crate::support::{Deadline, Process, eventually};

/// Starts a server whose first connections go to different workers.
#[track_caller]
fn start(arguments: &str, settings: &str) -> Server {
    let mut setup = server(arguments, "server.dispatch=round-robin");
    configure(&mut setup, settings);
    Server::start(&setup)
}

#[test]
fn a_handler_past_its_hard_deadline_costs_its_own_worker_and_no_other() {
    for (body, command) in [("talk", "stay"), ("talk", "spin"), ("blocking", "spin")] {
        let mut server = start(body, "workers.hard_deadline=600ms");
        let mut held = server.client();
        let about = held.about();
        held.ask(command);
        let victim = Process::find(about.worker).unwrap();

        assert!(victim.ends_by(Deadline::usual()), "{body} {command}");

        assert_eq!(held.hear(), Heard::End);
        server.settle(2);
        let mut later = server.clients(2);
        let workers: Vec<_> = later.iter_mut().map(|it| it.worker()).collect();
        let untouched = server.workers.iter().filter(|pid| workers.contains(pid));
        assert_eq!(untouched.count(), 1, "{body} {command}");
        let errors = server.errors();
        let words = "a handler is past its hard deadline, and its worker is killed";
        assert_eq!(errors.matches(words).count(), 1, "{errors}");
        assert!(
            errors.contains(&format!("pid={} connection={}", about.worker, about.id)),
            "{errors}"
        );
        assert!(errors.contains("in_hand=1"), "{errors}");
        drop(later);
        server.end();
    }
}

#[test]
fn a_handler_that_is_done_in_time_is_left_alone() {
    for body in ["talk", "blocking"] {
        let mut server = start(
            body,
            "workers.soft_deadline=200ms workers.hard_deadline=400ms",
        );
        let begin = Instant::now();

        while begin.elapsed() < Duration::from_secs(1) {
            let mut client = server.client();
            assert!(server.workers.contains(&client.worker()));
            client.close();
        }

        assert_eq!(server.errors(), "");
        server.end();
    }
}

#[test]
fn a_handler_that_extends_its_deadlines_passes_neither() {
    for (body, dispatch) in [
        ("talk soft", "round-robin"),
        ("talk soft", "direct"),
        ("blocking soft", "round-robin"),
    ] {
        let mut server = start(
            body,
            &format!(
                "workers.soft_deadline=300ms workers.hard_deadline=500ms server.dispatch={dispatch}"
            ),
        );
        let mut client = server.client();
        let worker = client.worker();
        let begin = Instant::now();

        while begin.elapsed() < Duration::from_millis(1500) {
            assert_eq!(client.ask("extend 1000"), "extended");
        }

        assert_eq!(client.worker(), worker);
        assert_eq!(server.errors(), "");
        assert!(
            Process::find(worker).unwrap().ends_by(Deadline::usual()),
            "it is not for ever"
        );
        assert!(begin.elapsed() >= Duration::from_millis(1500 + 1000 + 200));
        assert!(server.line_of("soft").starts_with("1 "));
    }
}

#[test]
fn a_soft_deadline_is_told_once_with_where_the_handler_is() {
    for (body, command, place) in [
        ("talk soft", "stay", "sleeps"),
        ("talk soft", "spin", "runs"),
        ("blocking soft", "nap 700", "sleeps"),
    ] {
        let mut server = start(body, "workers.soft_deadline=300ms");
        let mut client = server.client();
        let about = client.about();
        client.say(command);

        let told = server.line_of("soft");

        let words: Vec<_> = told.split(' ').collect();
        assert_eq!(
            (words[0], words[2]),
            (about.id.to_string().as_str(), place),
            "{told}"
        );
        assert!(words[1].parse::<u64>().unwrap() >= 300, "{told}");
        let log = format!("connection={} peer={}", about.id, client.address());
        eventually(Deadline::usual(), "it is logged", || {
            server.errors().contains(&log)
        });
        client.line();
        let errors = server.errors();
        assert_eq!(
            errors.matches("past its soft deadline").count(),
            1,
            "{errors}"
        );
        assert!(Process::find(about.worker).unwrap().is_alive());
    }
}

#[test]
fn deadlines_that_pass_are_events() {
    for (body, dispatch) in [
        ("talk", "round-robin"),
        ("talk", "direct"),
        ("blocking", "round-robin"),
    ] {
        let settings = format!(
            "server.dispatch={dispatch} workers.soft_deadline=300ms workers.hard_deadline=600ms"
        );
        let controlled = Controlled::new(body, &settings);
        let mut events = controlled.events();
        let mut client = controlled.server.client();
        let about = client.about();

        client.ask("spin");

        let soft = events.event("soft-deadline");
        assert_eq!(soft["connection"], about.id, "{soft}");
        assert_eq!(
            (&soft["listener"], &soft["peer"]),
            (&json!(0), &json!(about.peer))
        );
        assert!(
            soft["age_ms"].as_u64().is_some_and(|it| it >= 300),
            "{soft}"
        );
        assert!(
            soft["place"]
                .as_str()
                .is_some_and(|it| it.starts_with("runs")),
            "{soft}"
        );
        let hard = events.event("hard-deadline");
        assert_eq!(hard["connection"], about.id, "{hard}");
        assert_eq!(hard["worker"], soft["worker"]);
        let exited = events.event("worker-exited");
        assert_eq!(
            (&exited["worker"], &exited["pid"]),
            (&hard["worker"], &json!(about.worker))
        );
    }
}

#[test]
fn a_server_that_is_stopped_past_every_deadline_loses_nobody() {
    let mut server = start("talk", "workers.hard_deadline=2s");
    let mut clients = [server.client(), server.client()];
    let pids = clients.each_mut().map(|it| it.worker());
    let everything = server.everything();
    everything.iter().for_each(|it| it.signal(Signal::STOP));

    let let_pass = |millis| {
        let begin = Instant::now();
        eventually(Deadline::usual(), "time passes", || {
            begin.elapsed() > Duration::from_millis(millis)
        });
    };
    let_pass(2500);
    everything.iter().for_each(|it| it.signal(Signal::CONT));
    // Two rounds in time would be enough to find them overdue.
    let_pass(1000);

    for (client, pid) in clients.iter_mut().zip(pids) {
        assert_eq!(client.worker(), pid);
        client.close();
    }
    server.end();
}
