//! Whole servers, under the fixtures `server` and `hatchery-command`.

mod access_log;
mod admin;
mod blocking;
mod breaker;
mod chaos;
mod client;
mod command;
mod container;
mod control;
mod deadlines;
mod deaths;
mod direct;
mod distribution;
mod embedded;
mod ending;
mod fd_store;
mod first_bytes;
mod handlers;
mod hooks;
mod layers;
mod leases;
mod listening;
mod load;
mod log;
mod overload;
mod parking;
mod poison;
mod proxied;
mod recycling;
mod reloading;
mod replacement;
mod requests;
mod room;
mod scaling;
mod stalls;
mod start;
mod storm;
mod systemd;
mod titles;
mod upgrading;

use std::ops::{Deref, DerefMut};

use rustix::process::Signal;

use self::client::Client;
use crate::support::{Deadline, Fixture, Process, Setup, eventually, fixture};

/// The fixture `server`, ready.
struct Server {
    main: Fixture,
    addresses: Vec<String>,
    /// The first workers, in the order of their seats.
    workers: Vec<i32>,
}

/// Sets up the fixture `server` with settings such as `workers.count=4`.
///
/// Unless they say otherwise it has two workers and one port.
fn server(arguments: &str, settings: &str) -> Setup {
    let mut setup = fixture!("server");
    setup.args(arguments);
    configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=2");
    configure(&mut setup, settings);
    setup
}

/// Sets what is to be configured through the environment.
fn configure(setup: &mut Setup, settings: &str) {
    for setting in settings.split_ascii_whitespace() {
        let (key, value) = setting.split_once('=').expect("a setting is KEY=VALUE");
        let variable = key.replace('.', "_").to_ascii_uppercase();
        setup.env(&format!("HATCHERY_{variable}"), value);
    }
}

impl Server {
    #[track_caller]
    fn new(arguments: &str, settings: &str) -> Self {
        Self::start(&server(arguments, settings))
    }

    /// Starts the fixture and waits until it is ready.
    #[track_caller]
    fn start(setup: &Setup) -> Self {
        let mut main = setup.start();
        let addresses = main.line_of("addresses");
        assert_eq!(main.line_of("pid"), main.process().pid().to_string());
        let workers = main.line_of("workers");
        let workers = workers.split(' ').map(|pid| pid.parse());
        Self {
            addresses: addresses.split(' ').map(str::to_owned).collect(),
            workers: workers.map(|pid| pid.expect("it is a pid")).collect(),
            main,
        }
    }

    /// Connects a client to the first address.
    #[track_caller]
    fn client(&self) -> Client {
        Client::connect(&self.addresses[0])
    }

    /// Connects clients to the first address.
    #[track_caller]
    fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.client()).collect()
    }

    /// Finds one of the first workers.
    #[track_caller]
    fn worker(&self, seat: usize) -> Process {
        Process::find(self.workers[seat]).expect("the worker is there")
    }

    /// Lists the workers that live, the first ones or later ones.
    fn workers(&self) -> Vec<Process> {
        let mut found = self.everything();
        found.retain(|process| {
            let name = process.stat().map(|stat| stat.name).unwrap_or_default();
            let seat = name.strip_prefix("hatchery-").unwrap_or_default();
            seat.parse::<u32>().is_ok() && process.is_alive()
        });
        found
    }

    /// Waits until as many workers live as there should, and no process is a zombie.
    #[track_caller]
    fn settle(&self, count: usize) {
        eventually(Deadline::usual(), "the server has settled", || {
            // The others are the main process and the fork server.
            let is_complete = self.everything().len() == count + 2;
            !self.has_zombie() && is_complete && self.workers().len() == count
        });
    }

    /// Tells it to end, and checks that it does so as it should.
    #[track_caller]
    fn end(&mut self) {
        self.process().signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0), "{}", self.errors());
    }
}

impl Deref for Server {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.main
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Fixture {
        &mut self.main
    }
}
