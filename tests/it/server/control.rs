//! Asking a running server, and telling it what to do, through its socket.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Heard;
use super::{Server, server};
use crate::support::{Deadline, Fixture, Process, Setup, eventually, fixture};

/// Who may not control a server of another user.
const NOBODY: u32 = 65534;

/// A server with a control socket, and the folder that holds it.
pub(super) struct Controlled {
    pub(super) server: Server,
    pub(super) folder: TempDir,
}

/// A connection to a control socket.
pub(super) struct Voice(BufReader<UnixStream>);

impl Controlled {
    #[track_caller]
    pub(super) fn new(arguments: &str, settings: &str) -> Self {
        Self::start(server(arguments, settings))
    }

    /// Starts a server with a control socket.
    #[track_caller]
    pub(super) fn start(mut setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        setup.env("HATCHERY_CONTROL_SOCKET", folder.path().join("ctl"));
        Self {
            server: Server::start(&setup),
            folder,
        }
    }

    pub(super) fn voice(&self) -> Voice {
        Voice::at(&self.folder.path().join("ctl"))
    }

    /// Listens to what happens from now on.
    #[track_caller]
    pub(super) fn events(&self) -> Voice {
        let mut voice = self.voice();
        voice.ask(r#"{"v":1,"do":"events"}"#);
        voice
    }

    /// Has the workers recycled while the fork server is stopped: one more is asked for, and does not
    /// come. Returns the fork server.
    #[track_caller]
    pub(super) fn ask_for_successor(&self, voice: &mut Voice) -> Process {
        let fork_server = self.server.fork_server();
        fork_server.signal(Signal::STOP);
        let before = self.server.workers().len();
        voice.ask(r#"{"v":1,"do":"recycle"}"#);
        eventually(Deadline::usual(), "another worker is asked for", || {
            let workers = voice.ask(r#"{"v":1,"do":"workers"}"#);
            workers.as_array().map(Vec::len) == Some(before + 1)
        });
        fork_server
    }

    /// Asks one thing, which has to be done.
    #[track_caller]
    pub(super) fn ask(&self, request: &str) -> Value {
        self.voice().ask(request)
    }

    /// Finds the numbers of the workers that are ready.
    #[track_caller]
    fn ready(&self) -> Vec<u64> {
        let workers = self.ask(r#"{"v":1,"do":"workers"}"#);
        let workers = workers.as_array().expect("workers are a list").iter();
        let ready = workers.filter(|worker| worker["state"] == "ready");
        ready
            .map(|worker| worker["worker"].as_u64().expect("it has a number"))
            .collect()
    }

    /// Runs `hatchery ctl` with these arguments to its end.
    #[track_caller]
    fn ctl(&self, arguments: &str) -> (Option<i32>, Vec<String>, String) {
        let socket = self.folder.path().join("ctl");
        let mut setup = fixture!("hatchery-command");
        let mut main = setup
            .args(&format!("ctl --socket {} {arguments}", socket.display()))
            .start();
        finish(&mut main)
    }
}

#[track_caller]
fn finish(main: &mut Fixture) -> (Option<i32>, Vec<String>, String) {
    let code = main.wait().code();
    (code, main.rest(), main.errors())
}

impl Voice {
    #[track_caller]
    pub(super) fn at(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the server can be controlled");
        let patience = Duration::try_from(Deadline::usual().left());
        let set = stream.set_read_timeout(patience.ok());
        set.expect("the time is not zero");
        Self(BufReader::new(stream))
    }

    #[track_caller]
    pub(super) fn say(&mut self, line: &str) -> Value {
        self.0
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .expect("the server listens");
        self.hear()
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        assert_ne!(read.expect("the server answers in time"), 0, "it hung up");
        let answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
        assert_eq!(answer["v"], 1, "{answer}");
        answer
    }

    #[track_caller]
    pub(super) fn ask(&mut self, line: &str) -> Value {
        let answer = self.say(line);
        assert!(answer.get("ok").is_some(), "{answer}");
        answer["ok"].clone()
    }

    /// Waits for an event of this type.
    #[track_caller]
    pub(super) fn event(&mut self, wanted: &str) -> Value {
        loop {
            let heard = self.hear();
            if heard["event"]["type"] == wanted {
                return heard["event"].clone();
            }
        }
    }
}

#[test]
fn a_server_tells_how_it_and_its_workers_are() {
    let controlled = Controlled::new("talk", "workers.count=3");
    let server = &controlled.server;
    let mut clients = server.clients(2);
    let mut busy: Vec<i32> = clients.iter_mut().map(|client| client.worker()).collect();
    busy.sort_unstable();
    let mut voice = controlled.voice();

    let status = voice.ask(r#"{"v":1,"do":"status"}"#);
    let workers = voice.ask(r#"{"v":1,"do":"workers"}"#);
    let config = voice.ask(r#"{"v":1,"do":"config"}"#);

    assert_eq!(status["pid"], server.process().pid());
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["addresses"], json!(server.addresses));
    assert_eq!(
        (&status["wanted"], &status["ready"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(status["connections"], 2);
    let workers = workers.as_array().unwrap();
    let pids: Vec<&Value> = workers.iter().map(|worker| &worker["pid"]).collect();
    assert_eq!(json!(pids), json!(server.workers));
    let mut used: Vec<i32> = workers
        .iter()
        .filter(|worker| worker["connections"] == 1)
        .map(|worker| i32::try_from(worker["pid"].as_i64().unwrap()).unwrap())
        .collect();
    used.sort_unstable();
    assert_eq!(used, busy);
    assert!(
        workers
            .iter()
            .all(|worker| worker["memory_bytes"].as_u64() > Some(100_000))
    );
    let config = config.as_str().unwrap();
    assert!(config.contains("count = 3"), "{config}");
}

#[test]
fn a_request_that_cannot_be_is_refused_with_what_is_allowed_and_the_next_is_obeyed() {
    let controlled = Controlled::new("talk", "");
    let mut voice = controlled.voice();
    for (line, kind, words) in [
        ("hello", "malformed", "{\"v\":1,\"do\":\"status\"}"),
        (r#"{"v":7,"do":"status"}"#, "version", "\"v\":1"),
        (
            r#"{"v":1,"do":"dance"}"#,
            "unknown-request",
            "status, workers, scale",
        ),
        (r#"{"v":1,"do":"scale","workers":0}"#, "count", "1 to 1024"),
        (r#"{"v":1,"do":"scale"}"#, "arguments", "1 to 1024"),
        (
            r#"{"v":1,"do":"kill","worker":77}"#,
            "unknown-worker",
            "0, 1",
        ),
        (
            r#"{"v":1,"do":"kill","worker":1,"generation":9}"#,
            "other-generation",
            "generation 1",
        ),
    ] {
        let answer = voice.say(line);

        assert_eq!(answer["error"]["kind"], kind, "{line}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("allowed"), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let long = format!("\"{}", "x".repeat(70_000));
    assert_eq!(controlled.voice().say(&long)["error"]["kind"], "malformed");
    assert_eq!(voice.ask(r#"{"v":1,"do":"status"}"#)["ready"], 2);
    assert_eq!(controlled.server.errors(), "");
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_server() {
    let mut controlled = Controlled::new("talk", "");
    let path = controlled.folder.path().join("ctl");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    controlled.server.end();

    assert!(!path.exists());
}

#[test]
fn another_user_is_refused_even_where_the_file_lets_them_in() {
    if !geteuid().is_root() {
        eprintln!("left out: only root can become another user");
        return;
    }
    let controlled = Controlled::new("talk", "");
    let socket = controlled.folder.path().join("ctl");
    for (path, mode) in [(controlled.folder.path(), 0o755), (&socket, 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut setup = fixture!("hatchery-command");
    setup.args(&format!("ctl --socket {} status", socket.display()));

    let mut main = setup.user(NOBODY).start();

    let (code, _, errors) = finish(&mut main);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("user 65534 may not control"), "{errors}");
}

#[test]
fn the_events_of_a_worker_come_in_order() {
    let controlled = Controlled::new("talk", "workers.count=1");
    let mut voice = controlled.voice();
    assert_eq!(voice.ask(r#"{"v":1,"do":"events"}"#), "events");

    controlled.server.worker(0).signal(Signal::KILL);

    let exited = voice.event("worker-exited");
    assert_eq!(exited["worker"], 0);
    assert_eq!(exited["pid"], controlled.server.workers[0]);
    assert_eq!(exited["how"], "ended with signal: 9 (SIGKILL)");
    assert_eq!(exited["is_expected"], false);
    let started = voice.event("worker-started");
    assert_eq!(started["generation"], 1);
    assert_eq!(voice.event("worker-ready")["generation"], 1);
}

#[test]
fn all_workers_are_recycled_one_after_the_other_and_nobody_notices() {
    let controlled = Controlled::new("talk", "workers.count=3");
    let server = &controlled.server;
    let mut events = controlled.voice();
    events.ask(r#"{"v":1,"do":"events"}"#);

    let recycled = controlled.ask(r#"{"v":1,"do":"recycle"}"#);

    assert_eq!(recycled["workers"], json!([0, 1, 2]));
    for _ in 0..3 {
        events.event("worker-ready");
        events.event("worker-draining");
        assert_eq!(events.event("worker-exited")["is_expected"], true);
    }
    let first = |pid| server.workers.contains(&pid);
    assert!((0..20).all(|_| !first(server.client().worker())));
    server.settle(3);
    assert_eq!(server.errors(), "");
}

#[test]
fn a_worker_that_drains_gets_nothing_more_and_finishes_what_it_has() {
    let controlled = Controlled::new("talk", "");
    let mut lasting = controlled.server.client();
    let worker = lasting.worker();
    let seat = controlled
        .server
        .workers
        .iter()
        .position(|&pid| pid == worker);
    let line = json!({ "v": 1, "do": "drain", "worker": seat });

    controlled.ask(&line.to_string());

    assert!((0..20).all(|_| controlled.server.client().worker() != worker));
    let again = controlled.voice().say(&line.to_string());
    assert_eq!(again["error"]["kind"], "not-ready");
    assert_eq!(lasting.worker(), worker);
    lasting.hang_up();
    assert_eq!(lasting.hear(), Heard::End);
    controlled.server.settle(2);
}

#[test]
fn a_worker_is_killed_and_replaced() {
    let controlled = Controlled::new("talk", "");

    controlled.ask(r#"{"v":1,"do":"kill","worker":1,"generation":1}"#);

    let killed = controlled.server.workers[1];
    let is_gone = || {
        controlled
            .server
            .workers()
            .iter()
            .all(|it| it.pid() != killed)
    };
    eventually(Deadline::usual(), "it is gone", is_gone);
    eventually(Deadline::usual(), "there are two again", || {
        controlled.ready().len() == 2
    });
    let errors = controlled.server.errors();
    assert!(
        errors.contains("was killed through the control"),
        "{errors}"
    );
}

#[test]
fn whoever_does_not_read_or_says_half_a_line_hinders_nobody() {
    let mut controlled = Controlled::new("talk", "workers.max_connections=1");
    let mut silent = controlled.voice();
    silent.ask(r#"{"v":1,"do":"events"}"#);
    let half = controlled.voice();
    half.0.get_ref().write_all(br#"{"v":1,"#).unwrap();

    // Each visit has a worker replaced, which is several events that nobody reads.
    for _ in 0..300 {
        assert_eq!(controlled.server.client().ask("on"), "ON");
    }

    assert_eq!(controlled.ask(r#"{"v":1,"do":"status"}"#)["wanted"], 2);
    controlled.server.end();
}

#[test]
fn the_command_says_what_the_server_says() {
    let controlled = Controlled::new("talk", "");

    let (code, lines, errors) = controlled.ctl("status");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("phase") && line.ends_with("serving"))
    );

    let (code, lines, _) = controlled.ctl("workers --json");
    assert_eq!((code, lines.len()), (Some(0), 1));
    let answer: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(answer["ok"][1]["pid"], controlled.server.workers[1]);

    let (code, lines, _) = controlled.ctl("workers");
    assert_eq!((code, lines.len()), (Some(0), 3), "{lines:?}");

    let (code, lines, _) = controlled.ctl("scale 3");
    assert_eq!(
        (code, lines),
        (Some(0), vec!["3 workers are wanted".to_owned()])
    );

    let (code, _, errors) = controlled.ctl("drain 99");
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("there is no worker 99; allowed: 0, 1"),
        "{errors}"
    );

    let (code, ..) = controlled.ctl("scale 2000");
    assert_eq!(code, Some(2));

    let mut setup = fixture!("hatchery-command");
    let (code, _, errors) = finish(&mut setup.args("ctl status").start());
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("--socket PATH, or control.socket"),
        "{errors}"
    );

    let mut setup = fixture!("hatchery-command");
    let (code, _, errors) = finish(&mut setup.args("ctl --socket /nowhere/s status").start());
    assert_eq!(code, Some(1));
    assert!(errors.contains("/nowhere/s"), "{errors}");
}

#[test]
fn top_prints_plain_tables_where_there_is_no_terminal() {
    let controlled = Controlled::new("talk", "");
    let socket = controlled.folder.path().join("ctl");
    let mut setup = fixture!("hatchery-command");
    setup.args(&format!("top --socket {} --once", socket.display()));

    let (code, lines, errors) = finish(&mut setup.start());

    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(
        lines[0].starts_with("serving up") && lines[0].contains("2 of 2 workers ready"),
        "{lines:?}"
    );
    let pids = controlled.server.workers.iter().map(i32::to_string);
    for (pid, line) in pids.zip(&lines[2..]) {
        assert!(line.contains(&pid), "{lines:?}");
    }
}

#[test]
fn top_goes_on_until_the_server_ends() {
    let mut controlled = Controlled::new("talk", "");
    let socket = controlled.folder.path().join("ctl");
    let mut setup = fixture!("hatchery-command");
    setup.args(&format!(
        "top --socket {} --interval 10ms",
        socket.display()
    ));
    let mut watcher = setup.start();
    for _ in 0..3 {
        watcher.line_of("serving");
    }

    controlled.server.end();

    assert_eq!(watcher.wait().code(), Some(0), "{}", watcher.errors());
}

#[test]
fn the_command_follows_the_events_until_the_server_ends() {
    let mut controlled = Controlled::new("talk", "");
    let socket = controlled.folder.path().join("ctl");
    let mut setup = fixture!("hatchery-command");
    setup.env("HATCHERY_CONTROL_SOCKET", &socket);
    let mut watcher = setup.args("ctl events").start();
    // It hears only what comes after it has come, so it is told until it has heard.
    let has_heard = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            let deadline = Deadline::usual();
            while !has_heard.load(Ordering::Relaxed) && !deadline.has_passed() {
                controlled.ask(r#"{"v":1,"do":"scale","workers":2}"#);
            }
        });
        assert!(watcher.line_of("scaled").contains("to=2"));
        has_heard.store(true, Ordering::Relaxed);
    });

    controlled.server.end();

    let (code, lines, errors) = finish(&mut watcher);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(lines.iter().any(|line| line == "stopping"), "{lines:?}");
}

#[test]
fn a_program_scales_its_own_server() {
    let mut server = Server::new("talk scale=4", "");

    assert_eq!(server.line_of("scaled"), "4");

    server.settle(4);
    server.end();
}
