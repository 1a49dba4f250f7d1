//! The load generator against the echo server.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Deadline, Fixture, Process, fixture};

/// Starts the echo server, and returns it with its address.
fn echo(options: &str) -> (Fixture, String) {
    let mut setup = fixture!("hatchery-command");
    setup.args("echo --workers 2 --listen 127.0.0.1:0");
    let mut server = setup.args(options).start();
    let ready = server.line_of("ready");
    let address = ready.split(' ').next();
    let address = address.and_then(|word| word.strip_prefix("addresses="));
    let address = address.expect("the line begins with the addresses");
    (server, address.to_owned())
}

/// Measures the server for a moment, and returns what the load generator reports.
#[track_caller]
fn bench(server: &Fixture, address: &str, load: &str) -> Value {
    let pid = server.process().pid();
    let arguments = format!("bench --connect {address} --pid {pid} --json --duration 500ms {load}");
    let mut bench = fixture!("hatchery-command").args(&arguments).start();
    let report = bench.rest().join("\n");
    let ended = bench.process().ends_by(Deadline::usual());
    assert!(ended, "{load}: {}", bench.errors());
    assert_eq!(
        bench.wait().code(),
        Some(0),
        "{load}: {report} {}",
        bench.errors()
    );
    let report: Value = serde_json::from_str(&report).expect("the report is JSON");
    report["result"].clone()
}

#[track_caller]
fn assert_no_failure(result: &Value, load: &str) {
    let failures = result["failures"].as_object().expect("failures have names");
    assert_eq!(failures.len(), 5, "{failures:?}");
    for (name, count) in failures {
        assert_eq!(count.as_u64(), Some(0), "{load}: {name}");
    }
    assert!(result["operations"].as_u64() > Some(0), "{load}: {result}");
    // A short measurement may use less than a tick.
    assert!(result["cpu_us_per_operation"].is_number(), "{load}");
}

#[test]
fn every_kind_of_load_is_served_without_a_failure() {
    for options in [
        "--dispatch least-loaded",
        "--dispatch direct",
        "--park --wait-for-data",
    ] {
        let (mut server, address) = echo(options);
        for load in [
            "--connections 16",
            "--connections 16 --churn",
            "--connections 4 --rate 500",
            "--connections 4 --size 100000",
            "--connections 4 --idle 300",
        ] {
            let result = bench(&server, &address, load);

            assert_no_failure(&result, load);
            let idle = if load.contains("--idle") { 300 } else { 0 };
            assert_eq!(result["idle_alive"].as_u64(), Some(idle), "{load}");
        }
        server.process().signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
        assert_eq!(server.errors(), "");
        assert!(!server.everything().iter().any(Process::is_alive));
    }
}

#[test]
fn a_server_that_is_not_there_is_refused_connections_and_exit_code_1() {
    let (server, address) = echo("--dispatch least-loaded");
    drop(server);

    let arguments = format!("bench --connect {address} --duration 100ms");
    let mut bench = fixture!("hatchery-command").args(&arguments).start();

    assert_eq!(bench.wait().code(), Some(1), "{}", bench.errors());
}
