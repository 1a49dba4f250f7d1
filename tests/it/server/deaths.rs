//! What is told of a worker that ended.

use serde_json::{Value, json};

use super::client::Heard;
use super::control::{Controlled, Voice};
use crate::support::{Deadline, eventually};

/// A mebibyte.
const MIB: u64 = 1 << 20;

/// Begins to listen to what happens.
fn events(controlled: &Controlled) -> Voice {
    let mut voice = controlled.voice();
    voice.ask(r#"{"v":1,"do":"events"}"#);
    voice
}

#[test]
fn a_crash_is_reported_with_what_the_worker_had_and_had_used() {
    let mut controlled = Controlled::new("talk", "workers.count=1");
    let mut events = events(&controlled);
    let server = &mut controlled.server;
    let (mut used, mut deadly, mut silent) = (server.client(), server.client(), server.client());
    assert_eq!(used.ask("hoard 64"), "hoarded");
    assert_eq!(deadly.worker(), server.workers[0]);

    deadly.say("abort");

    let exit = events.event("worker-exited");
    assert_eq!(exit["pid"], server.workers[0]);
    assert_eq!(
        (&exit["signal"], &exit["exit_code"]),
        (&json!(6), &Value::Null)
    );
    assert_eq!(
        (&exit["oom_killed"], &exit["is_expected"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        (&exit["in_hand"], &exit["leased"], &exit["passed_on"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(exit["served"], 3);
    let figure = |name: &str| {
        exit[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {exit}"))
    };
    assert!(
        (64 * MIB..1024 * MIB).contains(&figure("memory_peak_bytes")),
        "{exit}"
    );
    assert!(figure("quiet_ms") <= figure("age_ms"), "{exit}");
    assert!(
        figure("cpu_user_ms") + figure("cpu_system_ms") < 60_000,
        "{exit}"
    );
    assert_ne!(silent.worker(), server.workers[0]);
    eventually(
        Deadline::usual(),
        "the report is one line of the log",
        || {
            let log = server.errors();
            let mut lines = log
                .lines()
                .filter(|line| line.contains("a worker ended with signal: 6"));
            lines.any(|line| line.contains("in_hand=2") && line.contains("memory_peak_bytes="))
        },
    );
}

#[test]
fn what_a_worker_has_used_is_known_also_when_its_fork_server_is_dead() {
    let controlled = Controlled::new("talk", "workers.count=1");
    let mut events = events(&controlled);
    let mut client = controlled.server.client();
    assert_eq!(client.ask("hoard 64"), "hoarded");
    controlled.server.fork_server().kill();

    client.say("abort");

    assert_eq!(client.hear(), Heard::End);
    let exit = events.event("worker-exited");
    assert_eq!(exit["signal"], 6);
    assert!(
        exit["memory_peak_bytes"].as_u64() > Some(64 * MIB),
        "{exit}"
    );
}

#[test]
fn a_worker_that_was_told_to_end_is_reported_with_its_code() {
    let controlled = Controlled::new("talk", "workers.count=1");
    let mut events = events(&controlled);

    controlled.ask(r#"{"v":1,"do":"recycle"}"#);

    let exit = events.event("worker-exited");
    assert_eq!(
        (&exit["exit_code"], &exit["signal"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(
        (&exit["is_expected"], &exit["quiet_ms"]),
        (&json!(true), &Value::Null)
    );
}
