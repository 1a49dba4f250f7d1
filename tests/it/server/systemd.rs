//! What systemd is told, and what it passes.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::Client;
use super::{Server, server};
use crate::support::{Deadline, Process, Setup, eventually};

/// A socket that listens as systemd does.
struct Systemd {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let socket = UnixDatagram::bind(folder.path().join("notify"));
        Self {
            socket: socket.expect("a socket can be bound"),
            folder,
        }
    }

    fn setup(&self, settings: &str) -> Setup {
        let path = |name: &str| self.folder.path().join(name);
        let mut setup = server("talk hook", settings);
        setup
            .env("NOTIFY_SOCKET", path("notify"))
            .env("FIXTURE_ORDER", path("order"));
        setup
    }

    /// Waits for what comes next; `None` if nothing comes in time.
    fn hear_within(&self, time: Duration) -> Option<String> {
        let set = self.socket.set_read_timeout(Some(time));
        set.expect("the time is not zero");
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("nothing can be heard: {error}"),
        }
    }

    /// Waits for news that has this line.
    #[track_caller]
    fn wait_for(&self, start: &str) -> String {
        let deadline = Deadline::usual();
        let mut heard = Vec::new();
        while !deadline.has_passed() {
            let left = Duration::try_from(deadline.left()).unwrap_or_default();
            let news = self.hear_within(left.max(Duration::from_millis(1)));
            let news = news.unwrap_or_default();
            if news.lines().any(|line| line.starts_with(start)) {
                return news;
            }
            heard.push(news);
        }
        panic!("{start} was not heard, but {heard:?}");
    }
}

#[test]
fn systemd_is_told_when_the_server_is_ready_reloads_and_stops() {
    let systemd = Systemd::new();
    let mut server = Server::start(&systemd.setup(""));
    let ready = systemd.wait_for("READY=1");
    let status = format!("STATUS=serving {} with 2 workers", server.addresses[0]);
    assert!(ready.contains(&status), "{ready}");

    server.process().signal(Signal::HUP);

    let reloading = systemd.wait_for("RELOADING=1");
    let since = reloading.lines().nth(1).unwrap_or_default();
    let since = since.strip_prefix("MONOTONIC_USEC=").unwrap_or_default();
    assert!(
        since.parse::<u64>().is_ok_and(|micros| micros > 0),
        "{reloading}"
    );
    systemd.wait_for("READY=1");
    server.end();
    systemd.wait_for("STOPPING=1");
}

#[test]
fn systemd_is_not_told_that_the_server_is_ready_before_its_workers_are() {
    let systemd = Systemd::new();
    let setup = systemd.setup("workers.count=1");
    fs::write(systemd.folder.path().join("order"), "fail no licence").unwrap();

    let mut main = setup.start();

    assert_eq!(main.wait().code(), Some(1));
    let heard = systemd.hear_within(Duration::from_secs(1));
    assert!(heard.is_none_or(|news| !news.contains("READY")));
}

#[test]
fn systemd_is_told_of_the_new_main_process_and_never_that_the_old_one_stops() {
    let systemd = Systemd::new();
    let mut server = Server::start(&systemd.setup(""));
    systemd.wait_for("READY=1");

    server.process().signal(Signal::USR2);

    let news = systemd.wait_for("MAINPID=");
    let pid = news
        .trim()
        .strip_prefix("MAINPID=")
        .and_then(|pid| pid.parse().ok());
    systemd.wait_for("READY=1");
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    let main = pid.and_then(Process::find).expect("it is a pid");
    assert_eq!(Client::connect(&server.addresses[0]).ask("on"), "ON");
    assert!(systemd.hear_within(Duration::from_millis(100)).is_none());
    main.signal(Signal::TERM);
    systemd.wait_for("STOPPING=1");
    assert!(main.ends_by(Deadline::usual()));
}

#[test]
fn the_watchdog_is_fed_while_a_worker_is_ready() {
    let systemd = Systemd::new();
    let mut setup = systemd.setup("");
    let server = Server::start(setup.env("WATCHDOG_USEC", "200000"));
    for _ in 0..3 {
        systemd.wait_for("WATCHDOG=1");
    }

    fs::write(systemd.folder.path().join("order"), "fail no licence").unwrap();
    for worker in server.workers() {
        worker.kill();
    }

    let silence = Duration::from_millis(400);
    eventually(Deadline::usual(), "nothing is said any more", || {
        systemd.hear_within(silence).is_none()
    });
    fs::remove_file(systemd.folder.path().join("order")).unwrap();
    systemd.wait_for("WATCHDOG=1");
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let systemd = Systemd::new();
    let mut setup = systemd.setup("");
    setup.env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");

    let _server = Server::start(&setup);

    systemd.wait_for("READY=1");
    assert!(systemd.hear_within(Duration::from_millis(200)).is_none());
}

#[test]
fn workers_cannot_speak_to_systemd() {
    let systemd = Systemd::new();
    let mut setup = systemd.setup("server.bind=systemd");
    let server = Server::start(setup.listen("127.0.0.1:0").env("LISTEN_FDNAMES", "http"));

    let mut client = server.client();

    for name in [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
    ] {
        assert_eq!(client.ask(&format!("variable {name}")), "None");
    }
    assert_ne!(client.ask("variable FIXTURE_ORDER"), "None");
}

#[test]
fn sockets_are_found_by_the_name_that_systemd_gave_them_and_survive_an_upgrade() {
    let mut setup = server("talk", "server.bind=fd:admin,fd:http");
    setup
        .listen("127.0.0.1:0")
        .listen("127.0.0.1:0")
        .env("LISTEN_FDNAMES", "http:admin");
    let mut server = Server::start(&setup);
    let before = server.addresses.clone();
    assert_eq!(Client::connect(&before[1]).about().listener, 1);

    server.process().signal(Signal::USR2);

    assert_eq!(server.line_of("addresses"), before.join(" "));
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    assert_eq!(Client::connect(&before[0]).about().listener, 0);
}

#[test]
fn a_name_that_nothing_was_passed_under_is_refused_with_those_there_are() {
    let mut setup = server("talk", "server.bind=fd:web");
    setup.listen("127.0.0.1:0").env("LISTEN_FDNAMES", "http");

    let mut main = setup.start();

    assert_eq!(main.wait().code(), Some(1));
    let errors = main.errors();
    assert!(errors.contains("fd:web"), "{errors}");
    assert!(errors.contains("LISTEN_FDNAMES is \"http\""), "{errors}");
}

#[test]
fn the_unit_files_are_right() {
    let tool = Command::new("systemd-analyze").arg("--version").output();
    if !tool.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: systemd-analyze is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hatchery-cli/systemd");
    let names = ["hatchery-echo.service", "hatchery-echo.socket"];
    for name in names {
        let text = fs::read_to_string(units.join(name)).unwrap();
        // The program has to be there.
        let text = text.replace("/usr/bin/hatchery", env!("CARGO_BIN_EXE_hatchery-command"));
        fs::write(folder.path().join(name), text).unwrap();
    }

    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(names.map(|name| folder.path().join(name)))
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    let about_ours = said.lines().filter(|line| line.contains("hatchery-echo"));
    assert_eq!(about_ours.count(), 0, "{said}");
}
