//! The exact text of every kind of error.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{load_flag, load_text, load_variable};
use crate::config::{Config, ConfigError};

fn refusal(text: &str) -> String {
    load_text(text).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_answered_with_the_one_meant_and_all_others() {
    assert_eq!(
        refusal("\n[workers]\ncount = 1\ncuont = 2"),
        "hatchery.toml:4: unknown key workers.cuont; did you mean workers.count? allowed here: count, max_concurrency, max_connections, max_memory, memory_measure, max_age, max_descriptors, max_unavailable, restart_intensity, restart_window, restart_pause, start_timeout, stall_timeout, soft_deadline, hard_deadline, drain_timeout, kill_timeout, titles"
    );
    assert_eq!(
        refusal("workers.colour = 1"),
        "hatchery.toml:1: unknown key workers.colour; allowed here: count, max_concurrency, max_connections, max_memory, memory_measure, max_age, max_descriptors, max_unavailable, restart_intensity, restart_window, restart_pause, start_timeout, stall_timeout, soft_deadline, hard_deadline, drain_timeout, kill_timeout, titles"
    );
    assert_eq!(
        refusal("[workers]\ndispatch = \"hash\""),
        "hatchery.toml:2: unknown key workers.dispatch; did you mean server.dispatch? allowed here: count, max_concurrency, max_connections, max_memory, memory_measure, max_age, max_descriptors, max_unavailable, restart_intensity, restart_window, restart_pause, start_timeout, stall_timeout, soft_deadline, hard_deadline, drain_timeout, kill_timeout, titles"
    );
    assert_eq!(
        refusal("backlog = 5"),
        "hatchery.toml:1: unknown key backlog; did you mean server.backlog? allowed here: [server], [workers], [control], [admin], [log]"
    );
    assert_eq!(
        refusal("[server]\n\"a\\nb\" = 5"),
        "hatchery.toml:2: unknown key \"server.a\\nb\"; allowed here: bind, backlog, fd_store, max_connections, overload, reject_message, queue_length, queue_timeout, poison_after, poison_time, dispatch, scheduling, wait_for_data, first_byte_timeout, park_timeout, upgrade_timeout"
    );
}

#[test]
fn an_unknown_section_is_answered_with_the_one_meant_and_all_others() {
    assert_eq!(
        refusal("# one\n[wrokers]\ncount = 1"),
        "hatchery.toml:2: unknown section wrokers; did you mean workers? allowed here: server, workers, control, admin, log"
    );
    assert_eq!(
        refusal("[logging]"),
        "hatchery.toml:1: unknown section logging; allowed here: server, workers, control, admin, log"
    );
    assert_eq!(
        refusal("[[server]]"),
        "hatchery.toml:1: server: [...] is an array, not a table; allowed: a table of keys"
    );
}

#[test]
fn a_value_is_refused_with_its_line_and_what_is_allowed() {
    for (text, message) in [
        (
            "[server]\n\nqueue_timeout = \"5 parsecs\"",
            r#"hatchery.toml:3: server.queue_timeout: "5 parsecs" is not a duration; allowed: a number and a unit (us, ms, s, m, h), such as "5s""#,
        ),
        (
            "[server]\nqueue_timeout = 5",
            r#"hatchery.toml:2: server.queue_timeout: 5 has no unit, write "5s"; allowed: a number and a unit (us, ms, s, m, h), such as "5s""#,
        ),
        (
            "[workers]\ncount = 0",
            r#"hatchery.toml:2: workers.count: 0 is out of range; allowed: "auto", a multiple of the CPUs such as "2x", or 1 to 1024"#,
        ),
        (
            "[workers]\ncount = 2.5",
            r#"hatchery.toml:2: workers.count: 2.5 is a float, not a string or an integer; allowed: "auto", a multiple of the CPUs such as "2x", or 1 to 1024"#,
        ),
        (
            "[server]\nbacklog = true",
            "hatchery.toml:2: server.backlog: true is a boolean, not an integer; allowed: 1 to 65535",
        ),
        (
            "[server]\nbacklog = \"9\"",
            "hatchery.toml:2: server.backlog: \"9\" is a string, not an integer; allowed: 1 to 65535",
        ),
        (
            "[server.overload]\nwait = 1",
            r#"hatchery.toml:1: server.overload: {...} is a table, not a string; allowed: "wait", "reject" or "reset""#,
        ),
        (
            "server.overload = \"drop\"",
            r#"hatchery.toml:1: server.overload: "drop" is not an overload policy; allowed: "wait", "reject" or "reset""#,
        ),
        (
            "server.dispatch = \"random\"",
            r#"hatchery.toml:1: server.dispatch: "random" is not a way to dispatch; allowed: "least-loaded", "round-robin", "hash" or "direct""#,
        ),
        (
            "workers.max_memory = 1.5",
            r#"hatchery.toml:1: workers.max_memory: 1.5 is a float, not a string or an integer; allowed: "0" (never), or a number of bytes with or without a unit (KiB, MiB, GiB, TiB, KB, MB, GB, TB), such as "512MiB""#,
        ),
        (
            "workers.start_timeout = \"0s\"",
            r#"hatchery.toml:1: workers.start_timeout: "0s" is out of range; allowed: more than 0: a number and a unit (us, ms, s, m, h), such as "10s""#,
        ),
    ] {
        assert_eq!(refusal(text), message);
    }
}

#[test]
fn a_member_of_a_list_is_refused_with_its_own_line() {
    let allowed = r#"allowed: a list of "127.0.0.1:8080", "[::1]:8080", "unix:/run/echo.sock", "unix:/run/echo.sock?mode=0660", "unix:@echo", "fd:3", "fd:http" or "systemd""#;
    for (members, message) in [
        (
            "\n\"127.0.0.1:80\",\n\"127.0.0.1:99999\",\n",
            r#"hatchery.toml:3: server.bind: "127.0.0.1:99999" is not an address to listen on, the port is not 0 to 65535"#,
        ),
        (
            "\"unix:/a\",\n\"unix:/a?mode=0600\"",
            r#"hatchery.toml:2: server.bind: "unix:/a?mode=0600" is in the list already"#,
        ),
        (
            "\"systemd\", \"fd:3\"",
            r#"hatchery.toml:1: server.bind: "fd:3" may be the same socket as another of the list"#,
        ),
        (
            "8080",
            "hatchery.toml:1: server.bind: 8080 is an integer, not a string",
        ),
        ("", "hatchery.toml:1: server.bind: [] is an empty list"),
    ] {
        let text = format!("server.bind = [{members}]");
        assert_eq!(refusal(&text), format!("{message}; {allowed}"));
    }
}

#[test]
fn the_first_wrong_line_is_the_one_reported() {
    let text = "[workers]\nzebra = 1\n[server]\nant = 1";
    assert!(refusal(text).starts_with("hatchery.toml:2: unknown key workers.zebra;"));
}

#[test]
fn a_syntax_error_has_line_and_column() {
    assert_eq!(
        refusal("[server]\nbacklog = = 5"),
        "hatchery.toml:2:11: extra `=`, expected nothing"
    );
    assert_eq!(
        refusal("[server]\nbacklog = 5\nbacklog = 6"),
        "hatchery.toml:3:1: duplicate key backlog"
    );
    assert_eq!(
        refusal("[server"),
        "hatchery.toml:1:8: unclosed table, expected `]`"
    );
}

#[test]
fn a_variable_is_named_by_itself() {
    let refusal = |name, value| load_variable(name, value).unwrap_err().to_string();
    assert_eq!(
        refusal("HATCHERY_WORKERS_COUNT", "0"),
        r#"HATCHERY_WORKERS_COUNT: 0 is out of range; allowed: "auto", a multiple of the CPUs such as "2x", or 1 to 1024"#
    );
    assert_eq!(
        refusal("HATCHERY_SERVER_BACKLOG", "many\n"),
        "HATCHERY_SERVER_BACKLOG: \"many\\n\" is not an integer; allowed: 1 to 65535"
    );
    assert_eq!(
        refusal("HATCHERY_WORKERS_CUONT", "1"),
        "HATCHERY_WORKERS_CUONT: unknown variable; did you mean HATCHERY_WORKERS_COUNT? allowed here: HATCHERY_WORKERS_COUNT, HATCHERY_WORKERS_MAX_CONCURRENCY, HATCHERY_WORKERS_MAX_CONNECTIONS, HATCHERY_WORKERS_MAX_MEMORY, HATCHERY_WORKERS_MEMORY_MEASURE, HATCHERY_WORKERS_MAX_AGE, HATCHERY_WORKERS_MAX_DESCRIPTORS, HATCHERY_WORKERS_MAX_UNAVAILABLE, HATCHERY_WORKERS_RESTART_INTENSITY, HATCHERY_WORKERS_RESTART_WINDOW, HATCHERY_WORKERS_RESTART_PAUSE, HATCHERY_WORKERS_START_TIMEOUT, HATCHERY_WORKERS_STALL_TIMEOUT, HATCHERY_WORKERS_SOFT_DEADLINE, HATCHERY_WORKERS_HARD_DEADLINE, HATCHERY_WORKERS_DRAIN_TIMEOUT, HATCHERY_WORKERS_KILL_TIMEOUT, HATCHERY_WORKERS_TITLES"
    );
}

#[test]
fn a_variable_of_no_section_is_answered_with_the_one_meant() {
    let families = "allowed here: HATCHERY_CONFIG, HATCHERY_SERVER_…, HATCHERY_WORKERS_…, HATCHERY_CONTROL_…, HATCHERY_ADMIN_…, HATCHERY_LOG_…";
    for (name, meant) in [
        ("HATCHERY_WORKERS", Some("HATCHERY_WORKERS_COUNT")),
        ("HATCHERY_WORKER_COUNT", Some("HATCHERY_WORKERS_COUNT")),
        ("HATCHERY_DISPATCH", Some("HATCHERY_SERVER_DISPATCH")),
        ("HATCHERY_CONFIGS", Some("HATCHERY_CONFIG")),
        ("HATCHERY_SERVERS", None),
        ("HATCHERY_FOO", None),
        ("HATCHERY_", None),
    ] {
        let refusal = load_variable(name, "5").unwrap_err().to_string();

        let hint = meant.map_or(";".to_owned(), |meant| format!("; did you mean {meant}?"));
        assert_eq!(
            refusal,
            format!("{name}: unknown variable{hint} {families}")
        );
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_refused_and_not_shown() {
    let value = OsString::from_vec(vec![b'4', 0xff]);
    let error = Config::loader()
        .environment([("HATCHERY_SERVER_BACKLOG".into(), value)])
        .load()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "HATCHERY_SERVER_BACKLOG: the value is not UTF-8; allowed: 1 to 65535"
    );
}

#[test]
fn a_flag_is_named_by_itself() {
    let refusal = |key, value| load_flag(key, value).unwrap_err().to_string();
    assert_eq!(
        refusal("workers.count", "two"),
        r#"--flag: "two" is not a number of workers; allowed: "auto", a multiple of the CPUs such as "2x", or 1 to 1024"#
    );
    assert_eq!(
        refusal("workers.cuont", "2"),
        "--flag: unknown key workers.cuont; did you mean workers.count? allowed here: count, max_concurrency, max_connections, max_memory, memory_measure, max_age, max_descriptors, max_unavailable, restart_intensity, restart_window, restart_pause, start_timeout, stall_timeout, soft_deadline, hard_deadline, drain_timeout, kill_timeout, titles"
    );
    assert_eq!(
        refusal("wrokers.count", "2"),
        "--flag: unknown section wrokers; did you mean workers? allowed here: server, workers, control, admin, log"
    );
    assert_eq!(
        refusal("count", "2"),
        "--flag: unknown key count; did you mean workers.count? allowed here: [server], [workers], [control], [admin], [log]"
    );
}

#[test]
fn an_unreadable_file_is_named_and_the_source_says_why() {
    let error = Config::loader().file("/nowhere/a.toml").load().unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/a.toml: cannot read the configuration file"
    );
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    assert!(std::error::Error::source(&error).is_some());

    let error = Config::loader()
        .default_file()
        .environment([("HATCHERY_CONFIG".into(), "/nowhere/b.toml".into())])
        .load()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/b.toml: cannot read the configuration file that HATCHERY_CONFIG names"
    );
}

#[test]
fn two_values_that_exclude_each_other_are_both_named() {
    let error = Config::loader()
        .text("hatchery.toml", "server.overload = \"reject\"")
        .flag("--dispatch", "server.dispatch", "direct")
        .load()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "server.overload (hatchery.toml:1) conflicts with server.dispatch (flag --dispatch): under \"direct\" the workers accept for themselves, so only \"wait\" is possible"
    );
}

#[test]
fn nobody_can_wait_for_data_of_what_workers_accept_themselves() {
    assert_eq!(
        refusal("[server]\ndispatch = \"direct\"\nwait_for_data = true"),
        "server.wait_for_data (hatchery.toml:3) conflicts with server.dispatch (hatchery.toml:2): under \"direct\" the workers accept for themselves, so nobody could wait for data"
    );
}
