//! What is shown reads the same, and nothing panics.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{load_flag, load_text, load_variable};
use crate::config::{
    BindAddress, ByteSize, Config, ConfigError, Dispatch, MemoryMeasure, Overload, Scheduling,
    ServerConfig, WorkerCount, WorkersConfig,
};

pub(super) fn any_address() -> impl Strategy<Value = BindAddress> {
    prop_oneof![
        any::<SocketAddr>().prop_map(|address| match address {
            // Flow information is not part of the text.
            SocketAddr::V6(v6) => BindAddress::Tcp((*v6.ip(), v6.port()).into()),
            v4 @ SocketAddr::V4(_) => BindAddress::Tcp(v4),
        }),
        ("[^\0?@][^\0?]{0,20}", proptest::option::of(0..=0o777_u32)).prop_map(|(path, mode)| {
            BindAddress::Unix {
                path: path.into(),
                mode,
            }
        }),
        "[^\0?]{1,20}".prop_map(BindAddress::Abstract),
        (3..=i32::MAX).prop_map(BindAddress::Inherited),
        "[a-z][a-z0-9._@-]{0,20}".prop_map(BindAddress::Named),
        Just(BindAddress::Systemd),
    ]
}

fn any_server() -> impl Strategy<Value = ServerConfig> {
    let bind = vec(any_address(), 1..4).prop_filter("no duplicates", |list| {
        let clash = |one: &BindAddress, two: &BindAddress| {
            one.is_same_socket(two) || one.may_share_descriptor(two)
        };
        let mut pairs = (0..list.len()).flat_map(|one| (0..one).map(move |two| (one, two)));
        !pairs.any(|(one, two)| clash(&list[one], &list[two]))
    });
    let policies = prop_oneof![
        Just((Overload::Wait, Dispatch::Direct, Scheduling::Batch)),
        Just((Overload::Reject, Dispatch::RoundRobin, Scheduling::Normal)),
        Just((Overload::Reset, Dispatch::Hash, Scheduling::Batch)),
    ];
    let numbers = (1..=65_535_u32, 1..=u32::MAX, any::<u32>());
    let waits = (any::<u64>(), any::<bool>(), any::<u64>(), any::<u64>());
    (bind, policies, numbers, any::<String>(), waits).prop_map(
        |(
            bind,
            (overload, dispatch, scheduling),
            (backlog, max_connections, queue_length),
            message,
            (micros, wait_for_data, first_byte_micros, park_micros),
        )| {
            ServerConfig {
                bind,
                backlog: NonZeroU32::new(backlog).unwrap(),
                fd_store: backlog % 2 == 0,
                max_connections: NonZeroU32::new(max_connections).unwrap(),
                overload,
                reject_message: message,
                queue_length,
                queue_timeout: Duration::from_micros(micros),
                poison_after: queue_length % 1001,
                poison_time: Duration::from_micros(micros.max(1)),
                dispatch,
                scheduling,
                wait_for_data: wait_for_data && dispatch != Dispatch::Direct,
                first_byte_timeout: Duration::from_micros(first_byte_micros),
                park_timeout: Duration::from_micros(park_micros),
                upgrade_timeout: Duration::from_micros(micros.max(1)),
            }
        },
    )
}

fn any_workers() -> impl Strategy<Value = WorkersConfig> {
    let number = || (1..=1024_u32).prop_map(|number| NonZeroU32::new(number).unwrap());
    let count = prop_oneof![
        Just(WorkerCount::Auto),
        number().prop_map(WorkerCount::Times),
        number().prop_map(WorkerCount::Fixed),
    ];
    let timeouts = (1..=u64::MAX, any::<[u64; 6]>());
    let recycling = (any::<u64>(), any::<u32>(), number());
    let restarts = (0..=1_000_000_u32, 1..=u64::MAX, 1..=u64::MAX);
    let connections = 0..=i64::MAX.unsigned_abs();
    let lives = (recycling, restarts);
    (count, number(), connections, lives, timeouts).prop_map(
        |(
            count,
            max_concurrency,
            max_connections,
            ((bytes, max_descriptors, max_unavailable), (restart_intensity, window, pause)),
            (start, [drain, age, stall, soft, hard, kill]),
        )| WorkersConfig {
            count,
            max_concurrency,
            max_connections,
            max_memory: ByteSize::new(bytes),
            memory_measure: if bytes % 2 == 0 {
                MemoryMeasure::Resident
            } else {
                MemoryMeasure::Proportional
            },
            max_age: Duration::from_micros(age),
            max_descriptors,
            max_unavailable,
            restart_intensity,
            restart_window: Duration::from_micros(window),
            restart_pause: Duration::from_micros(pause),
            start_timeout: Duration::from_micros(start),
            stall_timeout: Duration::from_micros(stall),
            soft_deadline: Duration::from_micros(soft),
            hard_deadline: Duration::from_micros(hard),
            drain_timeout: Duration::from_micros(drain),
            kill_timeout: Duration::from_micros(kill),
            titles: kill % 2 == 0,
        },
    )
}

#[test]
fn the_printed_form_says_where_each_value_came_from() {
    let config = Config::loader()
        .text("hatchery.toml", "[server]\nbacklog = 64")
        .environment([("HATCHERY_SERVER_OVERLOAD".into(), "reset".into())])
        .flag("--workers", "workers.count", "4")
        .load()
        .unwrap();

    let printed = r#"[server]
bind = ["127.0.0.1:8080"]            # default
backlog = 64                         # hatchery.toml:2
fd_store = false                     # default
max_connections = 10000              # default
overload = "reset"                   # environment HATCHERY_SERVER_OVERLOAD
reject_message = "server is busy\n"  # default
queue_length = 128                   # default
queue_timeout = "5s"                 # default
poison_after = 3                     # default
poison_time = "1m"                   # default
dispatch = "least-loaded"            # default
scheduling = "batch"                 # default
wait_for_data = false                # default
first_byte_timeout = "30s"           # default
park_timeout = "0s"                  # default
upgrade_timeout = "1m"               # default

[workers]
count = 4                            # flag --workers
max_concurrency = 1024               # default
max_connections = 0                  # default
max_memory = "0"                     # default
memory_measure = "rss"               # default
max_age = "0s"                       # default
max_descriptors = 0                  # default
max_unavailable = 1                  # default
restart_intensity = 100              # default
restart_window = "10s"               # default
restart_pause = "5s"                 # default
start_timeout = "10s"                # default
stall_timeout = "1m"                 # default
soft_deadline = "0s"                 # default
hard_deadline = "0s"                 # default
drain_timeout = "30s"                # default
kill_timeout = "5s"                  # default
titles = true                        # default

[control]
socket = ""                          # default

[admin]
bind = ""                            # default

[log]
format = "human"                     # default
access = false                       # default
"#;
    assert_eq!(config.to_string(), printed);
}

#[test]
fn a_strange_origin_does_not_break_the_printed_form() {
    let config = Config::loader()
        .text("a\nb\u{1b}.toml", "workers.count = 2")
        .flag("--a\r\n[x]", "workers.max_connections", "3")
        .load()
        .unwrap();

    let again = load_text(&config.to_string()).unwrap();
    assert_eq!(again.workers, config.workers);
}

#[test]
fn a_deep_document_does_not_exhaust_the_stack() {
    for part in ["[", "{a=", "a."] {
        let deep = part.repeat(100_000);
        for text in [
            format!("a = {deep}"),
            format!("{deep}a = 1"),
            format!("server.bind = {deep}"),
        ] {
            load_text(&text).unwrap_err();
        }
    }
}

proptest! {
    #[test]
    fn what_is_printed_loads_to_the_same(server in any_server(), workers in any_workers()) {
        let config = Config { server, workers, ..Config::default() };
        prop_assert!(config.check().is_ok());

        let again = load_text(&config.to_string()).unwrap();

        prop_assert_eq!(again.server, config.server);
        prop_assert_eq!(again.workers, config.workers);
    }

    #[test]
    fn no_text_panics_or_is_refused_in_two_lines(text in any::<String>()) {
        let _ = load_text(&text).inspect_err(one_line);
    }

    #[test]
    fn nothing_like_toml_panics_or_is_refused_in_two_lines(
        words in vec("\\[server\\]\n|workers\\.|count|=|bind|\\[|\\]|\"|\\{|\\}|[0-9.]{1,4}|\n|\\PC", 0..20),
    ) {
        let _ = load_text(&words.concat()).inspect_err(one_line);
    }

    #[test]
    fn no_value_panics_or_is_refused_in_two_lines(key in 0..14_usize, value in any::<String>()) {
        let key = &Config::keys()[key];
        let _ = load_variable(&key.variable(), &value).inspect_err(one_line);
        let _ = load_flag(key.path(), &value).inspect_err(one_line);
        let _ = load_flag(&value, "1").inspect_err(one_line);
        let _ = load_variable(&format!("HATCHERY_SERVER_{value}"), "1").inspect_err(one_line);
    }
}

fn one_line(error: &ConfigError) {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "{message:?}");
}
