//! The example that speaks TLS, asked by curl and by openssl.

use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use super::app::{App, process_in};
use crate::support::{Answer, Deadline, eventually};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n";

#[test]
fn axum_tls_speaks_http_2_to_who_can() {
    let app = App::start_with("axum_tls", "", "https");

    let [old, new] = ["--http1.1", "--http2"].map(|version| app.curl(&[version, "/", "/"]));

    for (said, version) in [(old, "HTTP/1.1"), (new, "HTTP/2.0")] {
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].contains(version), "{said}");
        assert_eq!(lines[0], lines[1], "one connection does for both requests");
    }
    app.end();
}

#[test]
fn axum_tls_shows_the_certificate_that_a_client_asks_for() {
    let app = App::start_with("axum_tls", "", "https");

    for (asked, shown) in [
        ("localhost", "localhost"),
        ("other.test", "other.test"),
        ("unknown.test", "localhost"),
    ] {
        let said = openssl(&app, &["-servername", asked]);

        assert_eq!(names_in(&said), format!("DNS:{shown}"), "{asked}");
    }
    app.end();
}

#[test]
fn axum_tls_resumes_a_session_in_whichever_worker() {
    let app = App::start_with("axum_tls", "", "https");
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session");
    let session = session.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = openssl(&app, &[version, "-sess_out", session]);
        assert!(first.contains("\nNew, TLSv1."), "{first}");

        let next = openssl(&app, &[version, "-sess_in", session]);
        app.reload();
        let last = openssl(&app, &[version, "-sess_in", session]);

        let all = [first, next, last];
        assert!(all[1].contains("\nReused, TLSv1."), "{}", all[1]);
        assert!(all[2].contains("\nReused, TLSv1."), "{}", all[2]);
        let workers = all.each_ref().map(|said| process_in(hello_in(said)));
        assert!(workers[0] != workers[1] && workers[1] != workers[2]);
    }
    app.end();
}

#[test]
fn axum_tls_takes_new_certificates_at_a_reload() {
    let files = CertificateFiles::new("old.test");
    let app = App::start_with("axum_tls", &files.arguments(), "https");
    assert_eq!(names_in(&openssl(&app, &[])), "DNS:old.test");

    files.replace("new.test");
    app.reload();

    assert_eq!(names_in(&openssl(&app, &[])), "DNS:new.test");
    app.end();
}

#[test]
fn axum_tls_goes_on_with_its_certificates_if_new_ones_cannot_be_read() {
    let files = CertificateFiles::new("good.test");
    let app = App::start_with("axum_tls", &files.arguments(), "https");
    let workers = app.workers();

    fs::write(&files.key, "nonsense").unwrap();
    app.server.process().signal(Signal::HUP);

    eventually(Deadline::usual(), "the reload fails", || {
        app.server.errors().contains("not reloaded")
    });
    let errors = app.server.errors();
    assert!(errors.contains("server.key"), "{errors}");
    assert_eq!(names_in(&openssl(&app, &[])), "DNS:good.test");
    assert_eq!(app.workers(), workers);
    app.end();
}

#[test]
fn axum_tls_loses_no_request_to_reloads() {
    let app = App::start_with("axum_tls", "", "https");
    let is_over = AtomicBool::new(false);
    let ask_on = || {
        while !is_over.load(Ordering::Relaxed) {
            app.curl(&["/"]);
        }
    };

    thread::scope(|scope| {
        let clients = [(); 2].map(|()| scope.spawn(ask_on));
        for _ in 0..3 {
            app.reload();
        }
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });

    app.end();
}

#[test]
fn axum_tls_answers_each_request_on_a_connection_that_it_has_not_said_it_closes() {
    let app = App::start_with("axum_tls", "", "https");
    let old = app.workers();
    let mut client = Session::begin(&app);
    let worker = process_in(&client.ask().body);

    app.server.process().signal(Signal::HUP);
    eventually(Deadline::usual(), "its end is announced", || {
        let answer = client.ask();
        assert_eq!(process_in(&answer.body), worker);
        answer.closes
    });

    eventually(Deadline::usual(), "the old workers are gone", || {
        !app.workers().iter().any(|pid| old.contains(pid))
    });
    app.end();
}

#[test]
fn axum_serve_speaks_tls_where_it_has_a_certificate_and_loses_no_request_to_a_reload() {
    let files = CertificateFiles::new("axum");
    let app = App::start_with("axum_serve", &files.arguments(), "https");
    for version in ["--http1.1", "--http2"] {
        let before = process_in(&app.curl(&[version, "/"]));

        app.reload();

        assert_ne!(process_in(&app.curl(&[version, "/"])), before);
    }
    app.end();
}

/// A connection with TLS that openssl keeps, for HTTP/1.1.
struct Session {
    openssl: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    #[track_caller]
    fn begin(app: &App) -> Self {
        let mut openssl = Command::new("openssl");
        let openssl = openssl.args(["s_client", "-quiet", "-connect", &app.address]);
        let openssl = openssl.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut openssl = openssl.stderr(Stdio::null()).spawn().expect("it is there");
        let answers = openssl.stdout.take().expect("it is a pipe");
        Self {
            openssl,
            answers: BufReader::new(answers),
        }
    }

    /// Asks for `/`, which has to be answered.
    #[track_caller]
    fn ask(&mut self) -> Answer {
        let requests = self.openssl.stdin.as_mut().expect("it is a pipe");
        let asked = requests.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n");
        asked.expect("the connection is there");
        Answer::read(&mut self.answers).expect("it is answered")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ended_before = self.openssl.kill();
        let _status = self.openssl.wait();
    }
}

/// A certificate that nobody vouches for, and its key.
pub(super) struct CertificateFiles {
    folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl CertificateFiles {
    #[track_caller]
    pub(super) fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let files = Self {
            certificate: folder.path().join("server.pem"),
            key: folder.path().join("server.key"),
            folder,
        };
        files.replace(name);
        files
    }

    /// Makes another certificate, with another key.
    #[track_caller]
    fn replace(&self, name: &str) {
        let [certificate, key] = ["new.pem", "new.key"].map(|it| self.folder.path().join(it));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=it"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext"])
            .arg(format!("subjectAltName=DNS:{name}"))
            .args([Path::new("-out"), &certificate, Path::new("-keyout"), &key])
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        for (from, to) in [(certificate, &self.certificate), (key, &self.key)] {
            fs::rename(from, to).expect("it was made");
        }
    }

    /// What an example is told of them.
    pub(super) fn arguments(&self) -> String {
        format!("{} {}", self.certificate.display(), self.key.display())
    }
}

/// Has openssl ask for `/` on a connection of its own, and returns what it says of it.
#[track_caller]
fn openssl(app: &App, options: &[&str]) -> String {
    let mut client = Command::new("openssl");
    client
        .args(["s_client", "-ign_eof", "-connect", &app.address])
        .args(options);
    run_with(client, REQUEST)
}

/// The names in the certificate that openssl was shown.
#[track_caller]
fn names_in(said: &str) -> String {
    let mut reader = Command::new("openssl");
    reader.args(["x509", "-noout", "-ext", "subjectAltName"]);
    let read = run_with(reader, said.as_bytes());
    read.lines().last().unwrap_or_default().trim().to_owned()
}

#[track_caller]
fn hello_in(said: &str) -> &str {
    let hello = said.find("Hello ").expect("the example greets");
    &said[hello..]
}

/// Runs a program on some input, to its good end.
#[track_caller]
fn run_with(mut command: Command, input: &[u8]) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().expect("it is there");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
