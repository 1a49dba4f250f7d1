//! Workers that die too often are not started for a while, and who lives works on.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::control::Controlled;
use crate::support::Process;

/// Three deaths are too many.
const SETTINGS: &str = "workers.restart_intensity=3 workers.restart_window=10m";

fn breaker_of(controlled: &Controlled) -> Value {
    controlled.ask(r#"{"v":1,"do":"status"}"#)["breaker"].clone()
}

/// Kills a worker three times.
fn kill_three(controlled: &Controlled, count: usize) {
    for _ in 0..2 {
        controlled.server.workers()[0].kill();
        controlled.server.settle(count);
    }
    controlled.server.workers()[0].kill();
}

#[test]
fn too_many_deaths_leave_the_others_at_work_until_one_has_lasted() {
    let settings = format!("{SETTINGS} workers.restart_pause=1s workers.count=3");
    let controlled = Controlled::new("talk", &settings);
    let mut events = controlled.events();

    kill_three(&controlled, 3);

    let opened = events.event("breaker-opened");
    assert_eq!(
        (&opened["deaths"], &opened["ready"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(breaker_of(&controlled), "open");
    assert_eq!(controlled.server.workers().len(), 2);
    assert_eq!(controlled.server.client().ask("on"), "ON");
    events.event("breaker-trying");
    let pid = events.event("worker-started")["pid"].as_i64().unwrap();
    assert_eq!(breaker_of(&controlled), "half-open");
    let tried = Process::find(i32::try_from(pid).unwrap()).unwrap();
    tried.signal(Signal::KILL);
    assert_eq!(events.event("breaker-trial-failed")["pause_ms"], 2000);
    events.event("breaker-trying");
    events.event("breaker-closed");
    controlled.server.settle(3);
    assert_eq!(breaker_of(&controlled), "closed");
    let log = controlled.server.errors();
    assert!(log.contains("workers die too often"), "{log}");
}

#[test]
fn where_no_worker_is_left_one_is_tried_soon() {
    let settings = format!("{SETTINGS} workers.restart_pause=10m workers.count=1");
    let controlled = Controlled::new("talk", &settings);

    kill_three(&controlled, 1);

    assert_eq!(controlled.server.client().ask("on"), "ON");
    assert_eq!(breaker_of(&controlled), "half-open");
}

#[test]
fn a_worker_killed_through_the_control_is_no_accident() {
    let settings = format!("{SETTINGS} workers.restart_pause=10m workers.count=1");
    let controlled = Controlled::new("talk", &settings);
    let mut events = controlled.events();

    for _ in 0..5 {
        controlled.ask(r#"{"v":1,"do":"kill","worker":0}"#);
        events.event("worker-ready");
    }

    assert_eq!(breaker_of(&controlled), "closed");
}

#[test]
fn a_reload_closes_the_breaker() {
    let settings = format!("{SETTINGS} workers.restart_pause=10m workers.count=2");
    let controlled = Controlled::new("talk", &settings);
    let mut events = controlled.events();
    kill_three(&controlled, 2);
    events.event("breaker-opened");

    controlled.ask(r#"{"v":1,"do":"reload"}"#);

    events.event("breaker-closed");
    controlled.server.settle(2);
}
