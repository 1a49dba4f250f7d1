//! A server behind a proxy that says whose connections it passes on.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Deadline, Fixture, Process, eventually, fixture};

const HEADER: &str = "PROXY TCP4 192.0.2.7 192.0.2.8 80 81\r\n";

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_proxy_says_whose_connection_it_is() {
    let mut server = fixture!("proxied").start();
    let address = server.line_of("main");
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    binary.extend([192, 0, 2, 7, 192, 0, 2, 8, 0, 80, 0, 81]);
    let cases: [(&[u8], &str); 4] = [
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.8 80 81\r\n",
            "192.0.2.7:80: hello",
        ),
        (&binary, "192.0.2.7:80: hello"),
        (
            b"PROXY TCP4 nonsense\r\n",
            "the PROXY header cannot be read",
        ),
        (
            b"GET / HTTP/1.1\r\n",
            "the connection does not begin with a PROXY header",
        ),
    ];
    for (header, expected) in cases {
        let mut client = TcpStream::connect(&address).unwrap();

        client.write_all(&[header, b"hello"].concat()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();

        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
}

/// A server behind a proxy, with an app.
struct App {
    server: Fixture,
    address: String,
}

impl App {
    #[track_caller]
    fn start(arguments: &str, set_up: &[(&str, &str)]) -> Self {
        let mut setup = fixture!("proxied");
        setup.args(arguments);
        for (key, value) in set_up {
            setup.env(key, value);
        }
        let mut server = setup.start();
        let address = server.line_of("main");
        Self { server, address }
    }

    /// Connects as the proxy does, which then has said this.
    #[track_caller]
    fn connect(&self, said: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("the server is there");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the server is there");
        stream
            .write_all(said.as_bytes())
            .expect("the server is there");
        BufReader::new(stream)
    }

    #[track_caller]
    fn reload(&self) {
        let workers = || -> Vec<i32> {
            let workers = self.server.fork_server().children();
            workers.iter().map(Process::pid).collect()
        };
        let old = workers();
        self.server.process().signal(Signal::HUP);
        eventually(Deadline::usual(), "there is another worker alone", || {
            let now = workers();
            now.len() == 1 && now != old
        });
    }
}

/// Asks who one is, and returns what is answered: an address and a process.
#[track_caller]
fn ask(client: &mut BufReader<TcpStream>) -> (String, String) {
    let request = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";
    client
        .get_mut()
        .write_all(request.as_bytes())
        .expect("the server is there");
    answer(client)
}

#[track_caller]
fn answer(client: &mut BufReader<TcpStream>) -> (String, String) {
    let mut len = 0;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).expect("the server is there");
        match line.trim_end().split_once(": ") {
            Some(("content-length", text)) => len = text.parse().expect("it is a number"),
            Some(_) => {}
            None if line.starts_with("HTTP/1.1 200 ") => {}
            None if line == "\r\n" => break,
            None => panic!("{line:?}"),
        }
    }
    let mut body = vec![0; len];
    client.read_exact(&mut body).expect("the server is there");
    let body = String::from_utf8(body).expect("it is text");
    let (peer, process) = body.split_once(", process ").expect("it says both");
    (peer.to_owned(), process.to_owned())
}

#[test]
fn the_app_and_the_access_log_are_told_of_the_proxys_client() {
    for body in ["axum", "hyper"] {
        let app = App::start(&format!("{body} 60000"), &[("HATCHERY_LOG_ACCESS", "true")]);
        let mut client = app.connect(HEADER);

        let (peer, _) = ask(&mut client);
        drop(client);

        assert_eq!(peer, "192.0.2.7:80");
        eventually(Deadline::usual(), "it is logged", || {
            app.server.errors().contains("peer=192.0.2.7:80")
        });
    }
}

#[test]
fn a_wrong_or_late_header_ends_its_own_connection_alone() {
    for body in ["axum", "hyper"] {
        let app = App::start(&format!("{body} 500"), &[]);
        let mut good = app.connect(HEADER);
        let mut wrong = app.connect("GET / HTTP/1.1\r\n");
        let begun = Instant::now();
        let mut late = app.connect("PROXY TCP4 192.0.2.7");
        let mut silent = app.connect("");

        // What nobody has read may end a connection with a reset.
        let end = wrong.read(&mut [0; 1]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)));
        assert_eq!(ask(&mut good).0, "192.0.2.7:80");
        for client in [&mut late, &mut silent] {
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            assert!(begun.elapsed() >= Duration::from_millis(400));
        }
        assert_eq!(ask(&mut good).0, "192.0.2.7:80");
        for word in ["no PROXY header", "took too long"] {
            assert!(app.server.errors().contains(word), "{word}");
        }
    }
}

#[test]
fn who_has_said_only_the_header_or_nothing_goes_to_another_worker_at_a_reload() {
    for body in ["axum", "hyper"] {
        let app = App::start(&format!("{body} 60000"), &[]);
        let (mut introduced, mut silent) = (app.connect(HEADER), app.connect(""));
        let mut asked = app.connect(HEADER);
        let (_, old) = ask(&mut asked);

        app.reload();
        silent.get_mut().write_all(HEADER.as_bytes()).unwrap();

        for client in [&mut introduced, &mut silent] {
            let (peer, process) = ask(client);
            assert_eq!(peer, "192.0.2.7:80");
            assert_ne!(process, old);
        }
    }
}

#[test]
fn under_hyper_a_client_keeps_its_address_in_all_workers() {
    let app = App::start("hyper 60000", &[]);
    let mut client = app.connect(HEADER);
    let mut processes = Vec::new();

    for _ in 0..5 {
        let (peer, process) = ask(&mut client);
        assert_eq!(peer, "192.0.2.7:80");
        processes.push(process);
        app.reload();
    }

    processes.dedup();
    assert_eq!(processes.len(), 5);
}
