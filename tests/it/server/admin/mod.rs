//! The admin listener, as probes, scrapers and browsers find it.

mod browser;
mod figures;
mod page;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::Value;

use super::control::Controlled;
use super::{Server, server};
use crate::support::{Deadline, eventually};

/// An answer of the admin listener.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// A server with an admin listener.
struct Shown {
    controlled: Controlled,
    address: String,
}

impl Shown {
    #[track_caller]
    fn new(arguments: &str, settings: &str) -> Self {
        let settings = format!("{settings} admin.bind=127.0.0.1:0");
        let controlled = Controlled::new(arguments, &settings);
        let status = controlled.ask(r#"{"v":1,"do":"status"}"#);
        let address = status["admin"].as_str().expect("it has an admin listener");
        let address = address.to_owned();
        Self {
            controlled,
            address,
        }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        ))
    }

    #[track_caller]
    fn ask(&self, request: &str) -> Answer {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        ask(stream, request)
    }

    #[track_caller]
    fn status(&self) -> Value {
        let answer = self.get("/status.json");
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).expect("it is JSON")
    }

    fn server(&self) -> &Server {
        &self.controlled.server
    }
}

#[track_caller]
fn ask(mut stream: impl Read + Write, request: &str) -> Answer {
    stream
        .write_all(request.as_bytes())
        .expect("the listener takes a request");
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .expect("an answer ends with its connection");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("an answer has a status"),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

#[test]
fn probes_are_answered_by_what_the_server_does() {
    let shown = Shown::new("talk", "workers.count=1");

    assert_eq!(shown.get("/healthz").status, 200);
    assert_eq!(shown.get("/readyz").status, 200);

    let mut lasting = shown.server().client();
    assert_eq!(lasting.ask("on"), "ON");
    shown.server().process().signal(Signal::TERM);
    eventually(Deadline::usual(), "it is not ready any more", || {
        shown.get("/readyz").status == 503
    });
    assert_eq!(shown.get("/healthz").status, 200);
    lasting.hang_up();
}

#[test]
fn a_server_without_a_ready_worker_is_healthy_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let settings = format!(
        "workers.start_timeout=1h admin.bind=unix:{}",
        path.display()
    );
    let _main = server("sulk", &settings).start();
    eventually(Deadline::usual(), "it listens", || {
        UnixStream::connect(&path).is_ok()
    });
    let get = |path_of: &str| {
        let stream = UnixStream::connect(&path).unwrap();
        ask(stream, &format!("GET {path_of} HTTP/1.1\r\n\r\n")).status
    };

    assert_eq!(get("/healthz"), 200);
    assert_eq!(get("/readyz"), 503);
}

#[test]
fn what_is_no_request_for_a_page_is_refused_and_the_next_is_answered() {
    let shown = Shown::new("talk", "");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n", 404),
        ("POST / HTTP/1.1\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("hello\r\n\r\n", 400),
        (long.as_str(), 431),
    ] {
        assert_eq!(shown.ask(request).status, status, "{request:.40}");
    }
    let answer = shown.get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/html"));
    assert!(answer.head.contains("content-security-policy"));
}

#[test]
fn whoever_says_nothing_hinders_nobody_but_their_like() {
    let shown = Shown::new("talk", "");
    let silent: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(&shown.address).unwrap())
        .collect();

    assert_eq!(shown.get("/healthz").status, 200);
    assert_eq!(shown.server().client().ask("on"), "ON");
    drop(silent);
}

#[test]
fn a_socket_file_is_for_its_user_alone_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let settings = format!("admin.bind=unix:{}", path.display());
    let mut server = Server::start(&server("talk", &settings));

    let request = "GET /healthz HTTP/1.1\r\nHost: any.example\r\n\r\n";
    assert_eq!(
        ask(UnixStream::connect(&path).unwrap(), request).status,
        200
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    server.end();
    assert!(!path.exists());
}

#[test]
fn an_address_that_others_could_reach_is_refused() {
    let mut main = server("talk", "admin.bind=0.0.0.0:9180").start();

    let code = main.wait().code();

    assert_eq!(code, Some(2), "{}", main.errors());
    let errors = main.errors();
    assert!(errors.contains("neither a loopback address"), "{errors}");
}

#[test]
fn a_dead_worker_and_its_successor_are_in_the_status() {
    let shown = Shown::new("talk", "workers.count=1");
    let killed = shown.server().workers[0];

    shown.server().worker(0).signal(Signal::KILL);

    eventually(Deadline::usual(), "a successor is ready", || {
        let worker = shown.status()["workers"][0].clone();
        worker["generation"] == 1 && worker["state"] == "ready"
    });
    let status = shown.status();
    assert_eq!(status["workers"][0]["restarts"], 1);
    assert_eq!(status["totals"]["restarts"], 1);
    let events = status["events"].as_array().unwrap().iter();
    let died = events
        .map(|logged| &logged["event"])
        .find(|event| event["type"] == "worker-exited");
    assert_eq!(died.unwrap()["pid"], killed);
    let mut client = shown.server().client();
    assert_eq!(client.ask("on"), "ON");
}
