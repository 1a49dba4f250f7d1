//! The examples that speak HTTP, asked by curl and by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;

use super::app::{App, Client, PATIENCE, WORKERS, process_in};
use super::example;
use super::tls::CertificateFiles;
use crate::support::{Answer, Deadline, Process, eventually};

/// Checks that so many clients ask on, each as `ask_on` does until `is_over`, while workers are reloaded.
#[track_caller]
fn assert_asked_during_reloads(
    app: &App,
    clients: usize,
    reloads: usize,
    is_over: &AtomicBool,
    ask_on: impl Fn() -> u32 + Sync,
) {
    let asked: Vec<u32> = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(&ask_on)).collect();
        for _ in 0..reloads {
            app.reload();
        }
        is_over.store(true, Ordering::Relaxed);
        let counts = clients
            .into_iter()
            .map(|client| client.join().expect("no client panics"));
        counts.collect()
    });
    assert!(asked.iter().all(|&count| count > 0), "{asked:?}");
}

#[test]
fn axum_app_answers_all_requests_of_a_client_in_one_worker() {
    let app = App::start("axum_app");

    let said = app.curl(&["-w", "%{num_connects}\n", "/", "/"]);

    let lines: Vec<&str> = said.lines().collect();
    let [first, "1", second, "0"] = lines[..] else {
        panic!("{said}");
    };
    assert_eq!(first, second);
    assert!(first.starts_with("Hello 127.0.0.1:"), "{first}");
    app.end();
}

#[test]
fn axum_app_speaks_http_2_on_the_same_port() {
    let app = App::start("axum_app");

    let options = ["-w", "%{http_version}\n", "-d", "grün", "/upper"];
    let old = app.curl(&options);
    let new = app.curl(&[&["--http2-prior-knowledge"], &options[..]].concat());

    assert_eq!((old.as_str(), new.as_str()), ("GRÜN1.1\n", "GRÜN2\n"));
    app.end();
}

#[test]
fn axum_app_goes_on_after_a_crash() {
    let app = App::start("axum_app");
    let before = app.workers();

    let answer = app.try_curl(&["/crash"]);

    assert_eq!(answer, Err(52), "curl: empty reply from server");
    eventually(Deadline::usual(), "there is another worker", || {
        let now = app.workers();
        now.len() == WORKERS && now.iter().any(|pid| !before.contains(pid))
    });
    assert!(app.curl(&["/"]).starts_with("Hello "));
    app.end();
}

#[test]
fn axum_app_finishes_a_request_while_it_reloads_and_closes_its_connection_then() {
    let app = App::start("axum_app");
    let mut client = app.connect();
    let old = process_in(&client.ask("/").unwrap().body);
    client.send("/slow/300").unwrap();

    app.server.process().signal(Signal::HUP);
    let answer = client.answer().unwrap();

    assert_eq!(process_in(&answer.body), old);
    assert!(answer.closes, "there is a successor to go to");
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    app.end();
}

#[test]
fn axum_serve_reloads_without_losing_connections_that_have_sent_nothing() {
    lose_no_silent_client(&App::start("axum_serve"));
}

#[test]
fn axum_serve_tells_its_app_who_its_client_is_and_closes_idle_connections_at_a_reload() {
    let app = App::start("axum_serve");
    let mut client = app.connect();
    let own = client.0.get_ref().local_addr().unwrap();
    let answer = client.ask("/").unwrap();

    app.reload();

    assert!(answer.body.starts_with(&format!("Hello {own}!")));
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    app.end();
}

#[test]
fn axum_app_loses_no_request_to_reloads() {
    let app = App::start("axum_app");
    let is_over = AtomicBool::new(false);
    let ask_on = || {
        let mut asked = 0;
        while !is_over.load(Ordering::Relaxed) {
            app.connect()
                .ask("/slow/2")
                .expect("every request is answered");
            asked += 1;
        }
        asked
    };

    assert_asked_during_reloads(&app, 4, 3, &is_over, ask_on);
    app.end();
}

#[test]
fn axum_app_answers_what_a_killed_worker_had_not_read() {
    let app = App::start("axum_app");
    let stuck = Process::find(app.workers()[0]).unwrap();
    stuck.signal(Signal::STOP);
    let (answers, answered) = mpsc::channel();
    thread::scope(|scope| {
        for mut client in (0..2 * WORKERS).map(|_| app.connect()) {
            let answers = answers.clone();
            scope.spawn(move || answers.send(client.ask("/").unwrap()));
        }
        let next = || answered.recv_timeout(PATIENCE).expect("it is answered");
        // Connections go round: two of them have come to the worker that does nothing.
        let mut said: Vec<Answer> = (2..2 * WORKERS).map(|_| next()).collect();

        stuck.kill();
        said.extend([next(), next()]);

        let killed = |answer: &Answer| process_in(&answer.body) == stuck.pid();
        assert!(!said.iter().any(killed));
    });
    app.end();
}

#[test]
fn axum_app_keeps_idle_clients_through_twenty_reloads() {
    let app = App::start("axum_app");
    let mut client = app.connect();
    let own = client.0.get_ref().local_addr().unwrap();
    let mut processes = Vec::new();

    for _ in 0..20 {
        let answer = client.ask("/").expect("the connection is still there");
        assert!(answer.body.starts_with(&format!("Hello {own}!")));
        processes.push(process_in(&answer.body));
        app.reload();
    }

    processes.dedup();
    assert_eq!(processes.len(), 20);
    app.end();
}

#[test]
fn axum_app_is_controlled_where_its_environment_says_so_and_keeps_clients_of_recycled_workers() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ctl");
    let mut setup = example("axum_app");
    setup.args("127.0.0.1:0");
    setup.env("HATCHERY_CONTROL_SOCKET", &socket);
    let app = App::set_up(&setup, "http");
    let mut client = app.connect();
    let before = process_in(&client.ask("/").unwrap().body);

    app.replace_workers(|| {
        let mut control = UnixStream::connect(&socket).expect("it listens");
        let asked = control.write_all(b"{\"v\":1,\"do\":\"recycle\"}\n");
        asked.expect("it listens");
    });

    let after = client.ask("/").expect("the connection is still there");
    assert_ne!(process_in(&after.body), before);
    app.end();
}

#[test]
fn hyper_h2_answers_each_client_in_its_version() {
    let app = App::start("hyper_h2");

    let old = app.curl(&["/"]);
    let new = app.curl(&["--http2-prior-knowledge", "/"]);

    assert!(old.starts_with("HTTP/1.1 from 127.0.0.1:"), "{old}");
    assert!(new.starts_with("HTTP/2.0 from 127.0.0.1:"), "{new}");
    app.end();
}

#[test]
fn hyper_h2_answers_what_is_in_hand_when_it_ends_and_says_that_this_is_the_end() {
    let app = App::start("hyper_h2");
    let mut old = app.connect();
    process_in(&old.ask("/").unwrap().body);
    let new = app.curl_command(&["-v", "--http2-prior-knowledge", "/last"]);
    let mut new = start(new);
    // It has sent its request; from then on it is told of the server's end.
    let said = read_until(&mut new, "GET /last");
    old.send("/last").unwrap();
    eventually(Deadline::usual(), "both are read", || !has_unread(&app));

    app.server.process().signal(Signal::INT);
    let answer = old.answer().unwrap();
    let rest = read_until(&mut new, "GOAWAY");

    assert!(answer.closes);
    assert_eq!(old.0.read(&mut [0]).unwrap(), 0);
    assert!(rest.is_some(), "{said:?}");
    assert_eq!(new.wait().unwrap().code(), Some(0), "it is answered");
    app.wait();
}

#[test]
fn hyper_h2_speaks_tls_where_it_has_a_certificate() {
    let files = CertificateFiles::new("hyper");
    let app = App::start_with("hyper_h2", &files.arguments(), "https");

    let [old, new] = ["--http1.1", "--http2"].map(|version| app.curl(&[version, "/"]));

    assert!(old.starts_with("HTTP/1.1 from 127.0.0.1:"), "{old}");
    assert!(new.starts_with("HTTP/2.0 from 127.0.0.1:"), "{new}");
    app.end();
}

#[test]
fn hyper_h2_reloads_without_losing_connections_that_have_sent_nothing() {
    lose_no_silent_client(&App::start("hyper_h2"));
}

#[test]
fn hyper_h2_keeps_idle_clients_through_twenty_reloads() {
    let app = App::start("hyper_h2");
    let mut clients: Vec<Client> = (0..2 * WORKERS).map(|_| app.connect()).collect();
    let mut post = app.connect();

    for _ in 0..20 {
        let old = app.workers();
        for client in &mut clients {
            let answer = client.ask("/").expect("the connection is still there");
            assert!(old.contains(&process_in(&answer.body)) && !answer.closes);
        }
        let request = "POST / HTTP/1.1\r\nHost: example\r\nContent-Length: 3\r\n\r\nyes";
        post.0.get_mut().write_all(request.as_bytes()).unwrap();
        process_in(&post.answer().expect("it is still there").body);
        app.reload();
    }
    app.end();
}

#[test]
fn hyper_h2_answers_each_request_on_a_connection_that_it_has_not_said_it_closes() {
    let app = App::start("hyper_h2");
    let is_over = AtomicBool::new(false);
    let ask_on = || {
        let (mut asked, mut client) = (0, app.connect());
        while !is_over.load(Ordering::Relaxed) {
            if client.ask("/").expect("every request is answered").closes {
                client = app.connect();
            }
            asked += 1;
        }
        asked
    };

    assert_asked_during_reloads(&app, WORKERS, 5, &is_over, ask_on);
    app.end();
}

#[test]
fn hyper_h2_waits_at_a_reload_for_the_rest_of_a_request_that_has_begun() {
    for has_asked_before in [false, true] {
        let app = App::start("hyper_h2");
        let old = app.workers();
        let mut client = app.connect();
        if has_asked_before {
            client.ask("/").unwrap();
        }
        let begun = client.0.get_mut().write_all(b"GET / HTTP/1.1\r\n");
        begun.unwrap();
        eventually(Deadline::usual(), "it is read", || !has_unread(&app));

        app.server.process().signal(Signal::HUP);
        eventually(Deadline::usual(), "others are there", || {
            let now = app.workers();
            now.iter().filter(|pid| !old.contains(pid)).count() == WORKERS
                && now.len() == WORKERS + 1
        });
        client
            .0
            .get_mut()
            .write_all(b"Host: example\r\n\r\n")
            .unwrap();

        let answer = client.answer().expect("it is answered");
        assert!(old.contains(&process_in(&answer.body)));
        let next = client.ask("/").expect("the connection goes on");
        assert!(!old.contains(&process_in(&next.body)));
        app.end();
    }
}

#[test]
fn hyper_h2_parks_no_connection_on_which_a_part_of_the_next_request_came_with_the_last() {
    let app = App::start("hyper_h2");
    let mut client = app.connect();
    let both = b"GET / HTTP/1.1\r\nHost: example\r\n\r\nGET / HTTP/1.1\r\nHo";
    client.0.get_mut().write_all(both).unwrap();
    client.answer().expect("the first is answered");

    app.reload();
    // Nobody reads it; that may be known already.
    let _rest = client.0.get_mut().write_all(b"st: example\r\n\r\n");

    let closed = client.0.read(&mut [0]);
    assert!(closed.is_err() || closed.is_ok_and(|bytes| bytes == 0));
    app.end();
}

#[test]
fn hyper_h2_ends_without_waiting_for_idle_clients() {
    let app = App::start("hyper_h2");
    let mut client = app.connect();
    client.ask("/").unwrap();

    app.end();

    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
}

/// Reloads while workers have connections that have sent nothing, and then asks on each.
#[track_caller]
fn lose_no_silent_client(app: &App) {
    let old = app.workers();
    let sockets = || old.iter().map(|&pid| sockets_of(pid)).sum::<usize>();
    let before = sockets();
    let mut silent: Vec<Client> = (0..2 * WORKERS).map(|_| app.connect()).collect();
    eventually(Deadline::usual(), "workers have them", || {
        sockets() >= before + silent.len()
    });

    app.reload();
    let mut answers = silent
        .iter_mut()
        .map(|client| client.ask("/").expect("it is answered"));

    assert!(answers.all(|it| !old.contains(&process_in(&it.body))));
}

/// Starts a program whose standard error is read.
fn start(mut command: Command) -> Child {
    let command = command.stderr(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("it is installed")
}

/// Reads standard error up to a line that has `words` in it; `None` if it ends without.
fn read_until(child: &mut Child, words: &str) -> Option<String> {
    let errors = child.stderr.as_mut().expect("it is a pipe");
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        if errors.read(&mut byte).ok()? == 0 {
            return None;
        }
        line.extend(byte);
        if byte == *b"\n" {
            let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
            if text.contains(words) {
                return Some(text);
            }
        }
    }
}

/// Whether something waits in the server's sockets: bytes, or a connection that is to be accepted.
fn has_unread(app: &App) -> bool {
    let (_, port) = app.address.split_once(':').expect("it ends with a port");
    let port: u16 = port.parse().expect("it is a number");
    let own = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("it is there for all to read");
    let fields = table.lines().map(|line| line.split_whitespace());
    // The number of the line, the server's end, the client's, the state, what is unsent and unread.
    let of_server = fields.filter(|line| line.clone().nth(1) == Some(&own));
    let mut queues = of_server.filter_map(|mut line| line.nth(4));
    queues.any(|queues| !queues.ends_with(":00000000"))
}

/// How many sockets a process has.
fn sockets_of(pid: i32) -> usize {
    let descriptors = Process::find(pid).map(|it| it.descriptors());
    let descriptors = descriptors.unwrap_or_default().into_values();
    descriptors
        .filter(|path| path.to_string_lossy().starts_with("socket:"))
        .count()
}
