//! An example that serves HTTP, and its clients.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::example;
use crate::support::{Answer, Deadline, Fixture, Process, Setup, eventually};

/// How long a client waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How many workers the examples have.
pub(super) const WORKERS: usize = 4;

/// An example that serves HTTP.
pub(super) struct App {
    pub(super) server: Fixture,
    pub(super) address: String,
    scheme: &'static str,
}

impl App {
    #[track_caller]
    pub(super) fn start(name: &str) -> Self {
        Self::start_with(name, "", "http")
    }

    /// Starts an example with further arguments, to be spoken to by `scheme`.
    #[track_caller]
    pub(super) fn start_with(name: &str, arguments: &str, scheme: &'static str) -> Self {
        let mut setup = example(name);
        setup.args("127.0.0.1:0").args(arguments);
        Self::set_up(&setup, scheme)
    }

    /// Starts an example that was set up, to be spoken to by `scheme`.
    #[track_caller]
    pub(super) fn set_up(setup: &Setup, scheme: &'static str) -> Self {
        let mut server = setup.start();
        let address = server.line_of("listening on");
        Self {
            server,
            address,
            scheme,
        }
    }

    /// Ends the server, as Ctrl-C does.
    #[track_caller]
    pub(super) fn end(self) {
        self.server.process().signal(Signal::INT);
        self.wait();
    }

    /// Waits for the good end of a server that was told to end.
    #[track_caller]
    pub(super) fn wait(mut self) {
        let code = self.server.wait().code();
        assert_eq!(code, Some(0), "{}", self.server.errors());
    }

    /// Has curl ask for paths, and returns what it printed.
    #[track_caller]
    pub(super) fn curl(&self, arguments: &[&str]) -> String {
        let said = self.try_curl(arguments);
        said.unwrap_or_else(|code| panic!("curl: {code}\n{}", self.server.errors()))
    }

    /// As [`curl`](Self::curl); an error is what curl exited with.
    pub(super) fn try_curl(&self, arguments: &[&str]) -> Result<String, i32> {
        let output = self
            .curl_command(arguments)
            .output()
            .expect("curl is installed");
        match output.status.code() {
            Some(0) => Ok(String::from_utf8(output.stdout).expect("it is text")),
            code => Err(code.expect("curl exits")),
        }
    }

    pub(super) fn curl_command(&self, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--max-time", "5"]);
        for argument in arguments {
            match argument.strip_prefix('/') {
                Some(path) => curl.arg(format!("{}://{}/{path}", self.scheme, self.address)),
                None => curl.arg(argument),
            };
        }
        curl
    }

    pub(super) fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("the server listens");
        let limited = stream.set_read_timeout(Some(PATIENCE));
        limited.expect("the time is not zero");
        Client(BufReader::new(stream))
    }

    pub(super) fn workers(&self) -> Vec<i32> {
        let workers = self.server.fork_server().children();
        let living = workers.iter().filter(|worker| worker.is_alive());
        living.map(Process::pid).collect()
    }

    /// Has all workers replaced, and waits until the old ones are gone.
    #[track_caller]
    pub(super) fn reload(&self) {
        self.replace_workers(|| self.server.process().signal(Signal::HUP));
    }

    /// Has all workers replaced by what `act` does, and waits until the old ones are gone.
    #[track_caller]
    pub(super) fn replace_workers(&self, act: impl FnOnce()) {
        let old = self.workers();
        act();
        eventually(Deadline::usual(), "the old workers are gone", || {
            let now = self.workers();
            now.len() == WORKERS && !now.iter().any(|pid| old.contains(pid))
        });
    }
}

/// A client that reuses its connection.
pub(super) struct Client(pub(super) BufReader<TcpStream>);

impl Client {
    pub(super) fn ask(&mut self, path: &str) -> io::Result<Answer> {
        self.send(path)?;
        self.answer()
    }

    pub(super) fn send(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: example\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())
    }

    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        Answer::read(&mut self.0)
    }
}

/// The process that an answer names.
#[track_caller]
pub(super) fn process_in(body: &str) -> i32 {
    let (_, rest) = body.split_once("process ").expect("it names one");
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next();
    let process = digits.and_then(|digits| digits.parse().ok());
    process.unwrap_or_else(|| panic!("no process in {body}"))
}
