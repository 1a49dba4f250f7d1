//! Every key from every source, what it takes and what it refuses.

use std::fs;

use super::{load_flag, load_text, load_variable, shown};
use crate::config::{Config, Origin, ValueKind};

/// What to try on a key: in TOML and in a variable or flag, what does and what does not.
struct Case {
    key: &'static str,
    good_toml: &'static str,
    good_text: &'static str,
    /// How both are shown.
    shown: &'static str,
    bad_toml: &'static str,
    /// `None` if the key takes any text.
    bad_text: Option<&'static str>,
}

const fn case(
    key: &'static str,
    (good_toml, good_text, shown): (&'static str, &'static str, &'static str),
    bad_toml: &'static str,
    bad_text: Option<&'static str>,
) -> Case {
    Case {
        key,
        good_toml,
        good_text,
        shown,
        bad_toml,
        bad_text,
    }
}

const CASES: [Case; 38] = [
    case(
        "server.bind",
        (r#"["fd:7"]"#, "fd:7", r#"["fd:7"]"#),
        r#""fd:7""#,
        Some("fd:1"),
    ),
    case("server.backlog", ("0x40", "6_4", "64"), "65536", Some("0")),
    case(
        "server.fd_store",
        ("true", "true", "true"),
        r#""true""#,
        Some("yes"),
    ),
    case(
        "server.max_connections",
        ("10_000", "10_000", "10000"),
        r#""10""#,
        Some("4294967296"),
    ),
    case(
        "server.overload",
        (r#""reset""#, "reset", r#""reset""#),
        r#""drop""#,
        Some("Reset"),
    ),
    case(
        "server.reject_message",
        (r#""a\tb""#, "a\tb", r#""a\tb""#),
        "5",
        None,
    ),
    case("server.queue_length", ("0", "0", "0"), "-1", Some("some")),
    case(
        "server.queue_timeout",
        (r#""90s""#, "90s", r#""1m30s""#),
        "5",
        Some("5"),
    ),
    case(
        "server.poison_after",
        ("1000", "1_000", "1000"),
        "1001",
        Some("-1"),
    ),
    case(
        "server.poison_time",
        (r#""1us""#, "1us", r#""1us""#),
        r#""0s""#,
        Some("0s"),
    ),
    case(
        "server.dispatch",
        (r#""direct""#, "direct", r#""direct""#),
        "true",
        Some("least_loaded"),
    ),
    case(
        "server.scheduling",
        (r#""normal""#, "normal", r#""normal""#),
        "true",
        Some("idle"),
    ),
    case(
        "server.wait_for_data",
        ("true", "true", "true"),
        r#""true""#,
        Some("yes"),
    ),
    case(
        "server.first_byte_timeout",
        (r#""90s""#, "90s", r#""1m30s""#),
        "5",
        Some("5"),
    ),
    case(
        "server.park_timeout",
        (r#""90s""#, "90s", r#""1m30s""#),
        "5",
        Some("5"),
    ),
    case(
        "server.upgrade_timeout",
        (r#""90s""#, "90s", r#""1m30s""#),
        r#""0s""#,
        Some("0s"),
    ),
    case("workers.count", ("4", "4", "4"), r#""3y""#, Some("0x")),
    case(
        "workers.max_concurrency",
        ("1", "1", "1"),
        "1.0",
        Some("1.0"),
    ),
    case(
        "workers.max_connections",
        (
            "9223372036854775807",
            "9223372036854775807",
            "9223372036854775807",
        ),
        "9223372036854775808",
        Some("-1"),
    ),
    case(
        "workers.max_memory",
        ("1048576", "1024KiB", r#""1MiB""#),
        r#""1 MiB""#,
        Some("1M"),
    ),
    case(
        "workers.memory_measure",
        (r#""pss""#, "pss", r#""pss""#),
        "true",
        Some("uss"),
    ),
    case(
        "workers.max_age",
        (r#""12h""#, "720m", r#""12h""#),
        "12",
        Some("12"),
    ),
    case(
        "workers.max_descriptors",
        ("4294967295", "4294967295", "4294967295"),
        "4294967296",
        Some("-1"),
    ),
    case(
        "workers.max_unavailable",
        ("1024", "1_024", "1024"),
        "0",
        Some("1025"),
    ),
    case(
        "workers.restart_intensity",
        ("1000000", "1_000_000", "1000000"),
        "1000001",
        Some("-1"),
    ),
    case(
        "workers.restart_window",
        (r#""1m""#, "60s", r#""1m""#),
        r#""0s""#,
        Some("0s"),
    ),
    case(
        "workers.restart_pause",
        (r#""1us""#, "1us", r#""1us""#),
        r#""0s""#,
        Some("0s"),
    ),
    case(
        "workers.start_timeout",
        (r#""1us""#, "1us", r#""1us""#),
        r#""0s""#,
        Some("0s"),
    ),
    case(
        "workers.stall_timeout",
        (r#""1m30s""#, "90s", r#""1m30s""#),
        "60",
        Some("-1s"),
    ),
    case(
        "workers.soft_deadline",
        (r#""10s""#, "10s", r#""10s""#),
        "10",
        Some("ten"),
    ),
    case(
        "workers.hard_deadline",
        (r#""1m""#, "60s", r#""1m""#),
        "60",
        Some("-1m"),
    ),
    case(
        "workers.drain_timeout",
        (r#""0s""#, "0s", r#""0s""#),
        "1979-05-27",
        Some("-1s"),
    ),
    case(
        "workers.kill_timeout",
        (r#""5s""#, "5s", r#""5s""#),
        "5",
        Some("-5s"),
    ),
    case(
        "workers.titles",
        ("false", "false", "false"),
        "1",
        Some("off"),
    ),
    case(
        "control.socket",
        (r#""/run/a.ctl""#, "/run/a.ctl", r#""/run/a.ctl""#),
        "7",
        Some("a\0b"),
    ),
    case(
        "admin.bind",
        (r#""[::1]:9180""#, "[::1]:9180", r#""[::1]:9180""#),
        r#""0.0.0.0:9180""#,
        Some("unix:@echo"),
    ),
    case(
        "log.format",
        (r#""json""#, "json", r#""json""#),
        r#""xml""#,
        Some("JSON"),
    ),
    case("log.access", ("true", "true", "true"), "1", Some("yes")),
];

#[test]
fn every_key_has_a_case() {
    let keys: Vec<_> = Config::keys().iter().map(|key| key.path()).collect();
    assert_eq!(CASES.map(|case| case.key).as_slice(), keys);
}

#[test]
fn every_key_is_read_from_a_file() {
    for case in &CASES {
        let good = format!("{} = {}", case.key, case.good_toml);
        let config = load_text(&good).unwrap();
        assert_eq!(shown(&config, case.key), case.shown);
        let origin = config.origin(case.key).unwrap().to_string();
        assert_eq!(origin, "hatchery.toml:1");

        let error = load_text(&format!("{} = {}", case.key, case.bad_toml)).unwrap_err();
        assert_eq!(error.key(), Some(case.key), "{error}");
    }
}

#[test]
fn every_key_is_read_from_the_environment() {
    for (case, key) in CASES.iter().zip(Config::keys()) {
        let config = load_variable(&key.variable(), case.good_text).unwrap();
        assert_eq!(shown(&config, case.key), case.shown);
        let origin = Origin::Environment(key.variable());
        assert_eq!(config.origin(case.key), Some(&origin));

        let Some(bad) = case.bad_text else { continue };
        let error = load_variable(&key.variable(), bad).unwrap_err();
        assert_eq!(error.key(), Some(case.key), "{error}");
        assert_eq!(error.origin(), Some(&origin));
    }
}

#[test]
fn every_key_is_read_from_a_flag() {
    for case in &CASES {
        let config = load_flag(case.key, case.good_text).unwrap();
        assert_eq!(shown(&config, case.key), case.shown);
        let origin = Origin::Flag("--flag".to_owned());
        assert_eq!(config.origin(case.key), Some(&origin));

        let Some(bad) = case.bad_text else { continue };
        let error = load_flag(case.key, bad).unwrap_err();
        assert_eq!(error.key(), Some(case.key), "{error}");
        assert_eq!(error.origin(), Some(&origin));
    }
}

#[test]
fn the_table_describes_every_key() {
    for key in Config::keys() {
        assert_eq!(format!("{}.{}", key.section(), key.name()), key.path());
        assert!(key.summary().ends_with('.'), "{}", key.path());
        let choices = key.choices();
        assert_eq!(choices.is_empty(), key.kind() != ValueKind::Choice);
        assert!(choices.iter().all(|choice| key.allowed().contains(choice)));
        if key.kind() == ValueKind::Integer {
            let limits = key.limits().unwrap();
            assert!(key.allowed().starts_with(&limits.start().to_string()));
            assert!(key.allowed().ends_with(&limits.end().to_string()));
        }
        let text = format!("{} = {}", key.path(), key.default_value());
        assert_eq!(
            shown(&load_text(&text).unwrap(), key.path()),
            key.default_value()
        );
    }
}

#[test]
fn a_list_is_commas_in_a_variable_and_repetition_in_flags() {
    let listed = r#"["fd:3", "unix:/a,b"]"#;
    let config = Config::loader()
        .flag("--listen", "server.bind", "fd:3")
        .flag("--workers", "workers.count", "2")
        .flag("--listen", "server.bind", "unix:/a,b")
        .load()
        .unwrap();
    assert_eq!(shown(&config, "server.bind"), listed);

    let config = load_variable("HATCHERY_SERVER_BIND", "fd:3, fd:4").unwrap();
    assert_eq!(shown(&config, "server.bind"), r#"["fd:3", "fd:4"]"#);
}

#[test]
fn a_port_that_the_kernel_chooses_may_be_asked_for_twice() {
    let text = r#"server.bind = ["127.0.0.1:0", "127.0.0.1:0"]"#;
    assert_eq!(load_text(text).unwrap().server.bind.len(), 2);
}

#[test]
fn variables_of_others_are_left_alone() {
    for name in [
        "HATCHERY_FORK_SERVER",
        "HATCHERY_TEST_PATIENCE",
        "HATCHERYS_LOG",
        "hatchery_server_bind",
        "PATH",
    ] {
        assert!(load_variable(name, "what").is_ok(), "{name}");
    }
}

#[test]
fn files_are_read_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    fs::write(&path, "\u{feff}[workers]\r\ncount = 2\r\n").unwrap();

    let config = Config::loader().file(&path).load().unwrap();
    let line = 2;
    let origin = Origin::File {
        path: path.clone(),
        line,
    };
    assert_eq!(config.origin("workers.count"), Some(&origin));

    let named = Config::loader()
        .default_file()
        .environment([("HATCHERY_CONFIG".into(), path.into())])
        .load()
        .unwrap();
    assert_eq!(named.origin("workers.count"), Some(&origin));
}

#[test]
fn the_default_file_need_not_exist() {
    let config = Config::loader()
        .default_file()
        .environment([("HATCHERY_CONFIG".into(), "".into())])
        .load()
        .unwrap();
    assert_eq!(config.origin("workers.count"), Some(&Origin::Default));
}
