//! The command: its configuration, its complaints, its ready line.

use std::fs;
use std::net::TcpListener;

use rustix::process::{Signal, geteuid};

use super::client::Client;
use crate::support::{Deadline, Fixture, Process, Setup, eventually, fixture};

/// Who may not listen on a port of the system.
const NOBODY: u32 = 65534;

/// The address of the ready line, and the pids in it.
struct Ready {
    address: String,
    pid: i32,
    workers: Vec<i32>,
}

fn command(arguments: &str) -> Setup {
    let mut setup = fixture!("hatchery-command");
    setup.args(arguments);
    setup
}

#[track_caller]
fn ready(main: &mut Fixture) -> Ready {
    let line = main.line_of("ready");
    let mut words = line.split(' ');
    let mut word = |name: &str| {
        let word = words.next().and_then(|word| word.strip_prefix(name));
        word.unwrap_or_else(|| panic!("{line} has no {name}"))
            .to_owned()
    };
    let address = word("addresses=");
    let pid = word("pid=").parse().expect("it is a pid");
    let workers = word("workers=");
    let workers = workers.split(',').map(|pid| pid.parse());
    let workers = workers.map(|pid| pid.expect("it is a pid")).collect();
    Ready {
        address,
        pid,
        workers,
    }
}

/// Checks that the command ends with this code and one line that has all of these words.
#[track_caller]
fn assert_refused(setup: &Setup, code: i32, words: &[&str]) {
    let mut main = setup.start();

    assert_eq!(main.wait().code(), Some(code), "{}", main.errors());

    let errors = main.errors();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for word in words {
        assert!(errors.contains(word), "no {word} in: {errors}");
    }
    assert_eq!(main.rest(), [""; 0]);
    assert!(!main.everything().iter().any(Process::is_alive));
}

#[test]
fn the_ready_line_has_addresses_and_pids() {
    let mut main = command("echo --listen 127.0.0.1:0 --workers 3").start();

    let ready = ready(&mut main);

    assert_eq!(ready.pid, main.process().pid());
    assert_eq!(ready.workers.len(), 3);
    let everything: Vec<i32> = main.everything().iter().map(Process::pid).collect();
    assert!(ready.workers.iter().all(|pid| everything.contains(pid)));
    assert_eq!(Client::connect(&ready.address).ask("hello é"), "HELLO é");
    main.process().signal(Signal::INT);
    assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    assert_eq!(main.errors(), "");
    assert_eq!(main.rest(), [""; 0]);
}

#[test]
fn a_quiet_command_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listen = format!("echo --quiet --workers 1 --listen unix:{}", path.display());
    let mut main = command(&listen).start();
    let address = format!("unix:{}", path.display());
    let mut client = None;
    eventually(Deadline::usual(), "it listens", || {
        client = Client::try_connect(&address).ok();
        client.is_some()
    });
    assert_eq!(
        client.map(|mut client| client.ask("on")).as_deref(),
        Some("ON")
    );

    main.process().signal(Signal::TERM);

    assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    assert_eq!(main.rest(), [""; 0]);
    assert_eq!(main.errors(), "");
}

#[test]
fn a_mistake_in_the_file_is_one_line_with_file_line_key_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hatchery.toml");
    for (text, words) in [
        (
            "[workers]\ncuont = 4\n",
            ["hatchery.toml:2", "workers.cuont", "workers.count"],
        ),
        (
            "[workers]\n\ncount = 0\n",
            ["hatchery.toml:3", "workers.count", "allowed"],
        ),
        (
            "[workers]\ndrain_timeout = \"30 parsecs\"\n",
            ["hatchery.toml:2", "workers.drain_timeout", "\"30s\""],
        ),
        (
            "[server]\nbind = [\"nowhere\"]\n",
            ["hatchery.toml:2", "server.bind", "\"127.0.0.1:8080\""],
        ),
        ("[wrokers]\n", ["hatchery.toml:1", "wrokers", "workers"]),
        ("[server]\nbind = [\n", ["hatchery.toml:", "", ""]),
    ] {
        fs::write(&file, text).unwrap();

        let mut setup = command("echo");
        assert_refused(setup.directory(folder.path()), 2, &words);
    }
}

#[test]
fn a_mistake_in_a_variable_or_a_flag_is_one_line_that_names_it() {
    let mut setup = command("echo");
    setup.env("HATCHERY_WORKERS_COUNT", "none");
    assert_refused(&setup, 2, &["HATCHERY_WORKERS_COUNT", "none", "auto"]);

    let mut setup = command("echo");
    setup.env("HATCHERY_WORKERS_CUONT", "1");
    assert_refused(
        &setup,
        2,
        &["HATCHERY_WORKERS_CUONT", "HATCHERY_WORKERS_COUNT"],
    );

    for (name, meant) in [
        ("HATCHERY_WORKERS", "HATCHERY_WORKERS_COUNT"),
        ("HATCHERY_FOO", "HATCHERY_SERVER_"),
    ] {
        let mut setup = command("echo");
        setup.env(name, "3");
        assert_refused(&setup, 2, &[name, meant]);
    }

    let setup = command("echo --workers -1");
    assert_refused(&setup, 2, &["--workers: -1 is out of range", "1 to 1024"]);

    let setup = command("echo --workers 0");
    assert_refused(&setup, 2, &["--workers: 0 is out of range", "1 to 1024"]);

    let setup = command("echo --dispatch direct --overload reject");
    assert_refused(
        &setup,
        2,
        &["server.overload", "server.dispatch", "--dispatch"],
    );

    let setup = command("echo --config /nowhere/hatchery.toml");
    assert_refused(&setup, 2, &["/nowhere/hatchery.toml"]);
}

#[test]
fn an_address_that_cannot_be_had_is_one_line_that_names_it_and_where_it_was_set() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let setup = command(&format!("echo --listen {address}"));
    assert_refused(&setup, 1, &["--listen", &address, "in use"]);

    let setup = command("echo --listen fd:7777");
    assert_refused(&setup, 1, &["--listen", "fd:7777", "not open", "allowed: "]);

    let setup = command("echo --listen systemd");
    assert_refused(&setup, 1, &["--listen", "systemd", "LISTEN_PID"]);

    let setup = command("echo --listen unix:/nowhere/s");
    assert_refused(
        &setup,
        1,
        &["--listen", "unix:/nowhere/s", "allowed: a path in a folder"],
    );
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_its_own_line_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nbind = [\n  \"127.0.0.1:0\",\n  \"unix:/nowhere/s\",\n]\n";
    fs::write(folder.path().join("hatchery.toml"), text).unwrap();

    let mut setup = command("echo");

    let words = ["hatchery.toml:4: ", "unix:/nowhere/s"];
    assert_refused(setup.directory(folder.path()), 1, &words);
}

#[test]
fn a_port_of_the_system_is_refused_to_who_is_not_root() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first.ok().and_then(|port| port.trim().parse::<u16>().ok());
    if !geteuid().is_root() || first.is_some_and(|port| port <= 80) {
        eprintln!("left out: only root can become another user, and only where 80 is the system's");
        return;
    }

    let mut setup = command("echo --listen 127.0.0.1:80");

    let words = [
        "127.0.0.1:80",
        "Permission denied",
        "allowed: a port from 1024 on: ",
    ];
    assert_refused(setup.user(NOBODY), 1, &words);
}

#[test]
fn the_printed_configuration_shows_what_won_and_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nbacklog = 64\n\n[workers]\ncount = 3\nmax_concurrency = 7\n";
    fs::write(folder.path().join("hatchery.toml"), text).unwrap();
    let mut setup = command("echo --print-config --workers 5 --listen 127.0.0.1:0");
    setup
        .directory(folder.path())
        .env("HATCHERY_WORKERS_COUNT", "4")
        .env("HATCHERY_WORKERS_MAX_CONCURRENCY", "8");

    let mut main = setup.start();

    assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    let printed = main.rest();
    let line = |key: &str| {
        let line = printed.iter().find(|line| line.starts_with(key));
        let line = line.unwrap_or_else(|| panic!("no {key} in {printed:?}"));
        let (value, origin) = line.split_once('#').expect("each value has an origin");
        (value.trim().to_owned(), origin.trim().to_owned())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    let flag = pair("bind = [\"127.0.0.1:0\"]", "flag --listen");
    assert_eq!(line("bind"), flag);
    assert_eq!(line("count"), pair("count = 5", "flag --workers"));
    let variable = "environment HATCHERY_WORKERS_MAX_CONCURRENCY";
    assert_eq!(
        line("max_concurrency"),
        pair("max_concurrency = 8", variable)
    );
    assert_eq!(line("backlog"), pair("backlog = 64", "hatchery.toml:2"));
    let default = pair("dispatch = \"least-loaded\"", "default");
    assert_eq!(line("dispatch"), default);
    assert!(!main.everything().iter().any(Process::is_alive));
}

#[test]
fn a_printed_count_that_depends_on_the_machine_says_what_it_comes_to() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    for (count, number) in [("auto", cpus), ("2x", 2 * cpus)] {
        let mut main = command(&format!("echo --print-config --workers {count}")).start();

        assert_eq!(main.wait().code(), Some(0), "{}", main.errors());

        let line = format!("# flag --workers; here {number}");
        let printed = main.rest();
        assert!(printed.iter().any(|it| it.ends_with(&line)), "{printed:?}");
    }
}

#[test]
fn a_limit_of_memory_below_what_a_worker_starts_with_is_refused() {
    for limit in ["1", "1MiB"] {
        let mut setup = command("echo --quiet --listen 127.0.0.1:0");
        setup.env("HATCHERY_WORKERS_MAX_MEMORY", limit);

        let words = [
            "HATCHERY_WORKERS_MAX_MEMORY",
            "workers.max_memory",
            limit,
            "allowed: \"0\"",
        ];
        assert_refused(&setup, 2, &words);
    }
}
