//! A server as the first process of a container, and what loses its parent.

use std::process::Command;

use rustix::process::Signal;

use super::client::Client;
use super::{Server, server};
use crate::support::{Deadline, Fixture, Process, eventually};

const LEFT_OUT: &str = "left out: no namespace of processes can be made here";

/// A server that is the first process of a namespace of its own.
struct Contained {
    outside: Fixture,
    address: String,
}

impl Contained {
    /// Starts one; `None` where that is not permitted.
    fn start() -> Option<Self> {
        let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
        let mut trial = Command::new(unshare[0]);
        let tried = trial.args(&unshare[1..]).arg("true").output();
        if !tried.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mut outside = server("talk", "").through(&unshare).start();
        let address = outside.line_of("addresses");
        assert_eq!(outside.line_of("pid"), "1");
        Some(Self { outside, address })
    }

    /// The server, as it is seen from outside.
    fn main(&self) -> Process {
        let mut children = self.outside.process().children();
        assert_eq!(children.len(), 1);
        children.remove(0)
    }
}

fn sleepers(server: &Fixture) -> Vec<Process> {
    let mut found = server.everything();
    found.retain(|process| process.stat().is_some_and(|stat| stat.name == "sleep"));
    found
}

#[test]
fn the_first_process_of_a_container_ends_by_every_signal_that_ends_servers() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let Some(mut contained) = Contained::start() else {
            eprintln!("{LEFT_OUT}");
            return;
        };
        let mut client = Client::connect(&contained.address);
        assert_eq!(client.ask("on"), "ON");

        contained.main().signal(signal);

        assert_eq!(client.ask("last words"), "LAST WORDS");
        drop(client);
        let errors = contained.outside.errors();
        assert_eq!(contained.outside.wait().code(), Some(0), "{errors}");
    }
}

#[test]
fn the_first_process_of_a_container_reloads_and_refuses_to_be_upgraded() {
    let Some(contained) = Contained::start() else {
        eprintln!("{LEFT_OUT}");
        return;
    };
    let before = Client::connect(&contained.address).worker();

    contained.main().signal(Signal::HUP);
    contained.main().signal(Signal::USR2);

    eventually(Deadline::usual(), "other workers serve", || {
        Client::connect(&contained.address).worker() != before
    });
    eventually(Deadline::usual(), "the upgrade is refused", || {
        contained.outside.errors().contains("not upgraded")
    });
}

#[test]
fn no_zombie_stays_in_a_container() {
    let Some(contained) = Contained::start() else {
        eprintln!("{LEFT_OUT}");
        return;
    };
    let mut client = Client::connect(&contained.address);
    assert_eq!(client.ask("orphan"), "left true");
    let main = contained.main();
    // As `docker exec` does it: a stranger whose parent ends is given to the first process.
    let entered = Command::new("nsenter")
        .arg(format!("--target={}", main.pid()))
        .args(["--pid", "sh", "-c", "setsid sleep 601 & exit 0"])
        .status();
    assert!(entered.is_ok_and(|status| status.success()));
    let mut stranger = None;
    eventually(Deadline::usual(), "the stranger has a new parent", || {
        let mut children = main.children();
        children.retain(|child| child.stat().is_some_and(|stat| stat.name == "sleep"));
        stranger = children.pop();
        stranger.is_some()
    });
    let orphans = sleepers(&contained.outside);
    assert_eq!(orphans.len(), 1);

    for process in orphans.iter().chain(&stranger) {
        process.kill();
    }

    let is_gone = |process: &Process| process.stat().is_none();
    eventually(Deadline::usual(), "both are collected", || {
        orphans.iter().chain(&stranger).all(is_gone)
    });
    assert_eq!(client.ask("on"), "ON");
}

#[test]
fn what_a_dead_fork_server_leaves_is_collected_too() {
    let server = Server::new("talk", "");
    assert_eq!(server.client().ask("orphan"), "left true");
    let mut orphans = Vec::new();
    eventually(Deadline::usual(), "it is called by its name", || {
        orphans = sleepers(&server);
        !orphans.is_empty()
    });
    let orphan = orphans.remove(0);
    server.fork_server().kill();
    eventually(Deadline::usual(), "main has it", || {
        let stat = orphan.stat();
        stat.is_some_and(|stat| stat.parent == server.process().pid())
    });

    orphan.kill();

    eventually(Deadline::usual(), "it is collected", || {
        orphan.stat().is_none()
    });
    assert_eq!(server.client().ask("on"), "ON");
}
