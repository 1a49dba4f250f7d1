//! The access log: a line for each connection that is over.

use std::thread;

use serde_json::Value;

use super::Server;
use crate::support::{Deadline, eventually};

/// Waits until so many lines are logged, and returns them.
#[track_caller]
fn lines(server: &Server, count: usize) -> Vec<String> {
    eventually(Deadline::usual(), "all is logged", || {
        server.errors().lines().count() >= count
    });
    let lines: Vec<String> = server.errors().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

#[test]
fn a_connection_that_is_over_is_a_line_with_its_bytes_and_its_outcome() {
    let mut server = Server::new("talk", "workers.count=1 log.access=true");

    let mut client = server.client();
    assert_eq!(client.ask("hello"), "HELLO");
    let peer = client.address();
    client.close();

    let line = lines(&server, 1).remove(0);
    for part in [
        "INFO connection worker=0 connection=1",
        &format!("peer={peer}"),
        "bytes_in=6 bytes_out=6 cpu_ms=",
        " duration_ms=",
        "outcome=\"ok\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    server.end();
}

#[test]
fn in_json_each_line_is_an_object_also_from_many_processes() {
    const CLIENTS: usize = 40;
    let settings = "workers.count=4 log.access=true log.format=json";
    let server = Server::new("talk", settings);

    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..CLIENTS / 4 {
                    let mut client = server.client();
                    assert_eq!(client.ask("on"), "ON");
                    client.close();
                }
            });
        }
    });

    let mut ids = Vec::new();
    for line in lines(&server, CLIENTS) {
        let line: Value = serde_json::from_str(&line).expect("a line is an object");
        assert_eq!(line["message"], "connection");
        assert_eq!(
            (&line["bytes_in"], &line["outcome"]),
            (&3.into(), &"ok".into())
        );
        assert!(line["worker"].as_u64() < Some(4), "{line}");
        ids.push(line["connection"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=CLIENTS as u64).collect::<Vec<_>>());
}

#[test]
fn how_a_handler_ended_is_in_its_line() {
    for (body, word) in [("talk", "bytes_in="), ("blocking", "duration_ms=")] {
        let server = Server::new(body, "workers.count=1 log.access=true");

        for (command, outcome) in [("fail on purpose", "failed"), ("panic now", "panicked")] {
            let mut client = server.client();
            client.say(command);
            client.close();

            let outcome = format!("outcome=\"{outcome}\"");
            eventually(Deadline::usual(), &outcome, || {
                let errors = server.errors();
                errors
                    .lines()
                    .any(|line| line.contains(&outcome) && line.contains(word))
            });
        }
        let failed = "the handler failed worker=0 connection=1";
        assert!(server.errors().contains(failed), "{}", server.errors());
    }
}

#[test]
fn the_cpu_time_of_a_handler_is_what_it_computes_and_not_how_long_it_waits() {
    for body in ["talk", "blocking"] {
        let server = Server::new(body, "workers.count=1 log.access=true log.format=json");

        let mut client = server.client();
        assert_eq!(client.ask("burn 30"), "burnt");
        assert_eq!(client.ask("nap 200"), "awake");
        client.close();

        let line: Value = serde_json::from_str(&lines(&server, 1)[0]).unwrap();
        let [cpu, duration] = ["cpu_ms", "duration_ms"].map(|key| line[key].as_f64().unwrap());
        assert!((30.0..100.0).contains(&cpu), "{line}");
        assert!(duration >= 230.0, "{line}");
    }
}

#[test]
fn a_body_of_ones_own_is_not_said_to_take_no_cpu_time() {
    let settings = "workers.count=1 log.access=true log.format=json";
    let mut server = Server::new("run", settings);
    let mut client = server.client();
    client.hear();

    server.end();

    let line: Value = serde_json::from_str(&lines(&server, 1)[0]).unwrap();
    assert_eq!(line.get("cpu_ms"), None, "{line}");
}

#[test]
fn without_it_no_connection_is_logged() {
    let mut server = Server::new("talk", "");

    server.client().ask("on");
    server.end();

    assert_eq!(server.errors(), "");
}
