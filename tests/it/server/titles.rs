//! What `ps` shows of a server's processes.

use std::fs;
use std::time::Duration;

use rustix::process::geteuid;

use super::stalls::{let_pass, rest};
use super::{Server, server};
use crate::support::{Deadline, Process, Setup, eventually};

/// A user who may do nothing.
const NOBODY: u32 = 65534;

/// What `ps` shows of a process.
fn shown(process: &Process) -> String {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    String::from_utf8_lossy(line).replace('\0', " ")
}

/// Waits until a worker is shown with so many connections.
#[track_caller]
fn await_connections(server: &Server, seat: usize, count: usize) {
    let title = format!("hatchery: worker {seat} [{count} conns]");
    eventually(Deadline::usual(), &title, || {
        shown(&server.worker(seat)) == title
    });
}

#[track_caller]
fn assert_all_are_shown(setup: &Setup) {
    let mut server = Server::start(setup);

    await_connections(&server, 0, 0);
    await_connections(&server, 1, 0);
    assert_eq!(shown(&server.fork_server()), "hatchery: fork server");
    let main = shown(server.process());
    assert!(main.ends_with("server talk"), "{main}");
    server.end();
}

#[test]
fn workers_and_fork_server_show_what_they_are_and_the_main_process_its_command_line() {
    assert_all_are_shown(&server("talk", ""));
}

#[test]
fn no_privilege_is_needed_for_a_title() {
    if !geteuid().is_root() {
        eprintln!("left out: only root can become another user");
        return;
    }
    assert_all_are_shown(server("talk", "").user(NOBODY));
}

#[test]
fn a_worker_shows_how_many_connections_it_has() {
    let mut server = Server::new("talk", "workers.count=1");

    let mut clients = server.clients(12);
    for client in &mut clients {
        assert_eq!(client.ask("on"), "ON");
    }
    await_connections(&server, 0, 12);

    let few = clients.split_off(9);
    drop(few);
    await_connections(&server, 0, 9);

    drop(clients);
    await_connections(&server, 0, 0);
    server.end();
}

#[test]
fn a_count_that_stays_the_same_wakes_nobody() {
    let settings = "workers.count=1 workers.stall_timeout=0s";
    let mut server = Server::new("talk", settings);
    let mut client = server.client();
    assert_eq!(client.ask("on"), "ON");
    await_connections(&server, 0, 1);
    client.close();
    await_connections(&server, 0, 0);
    let worker = server.worker(0);
    let before = rest(&worker);

    let_pass(Duration::from_secs(2));

    assert_eq!(worker.sleeps(), before);
    server.end();
}

#[test]
fn a_blocking_worker_shows_its_connection() {
    let mut server = Server::new("blocking", "workers.count=1");
    await_connections(&server, 0, 0);

    let mut client = server.client();
    assert_eq!(client.ask("on"), "ON");
    await_connections(&server, 0, 1);

    client.close();
    await_connections(&server, 0, 0);
    server.end();
}

#[test]
fn the_arguments_of_a_worker_are_those_of_the_program() {
    for body in ["talk", "blocking"] {
        let mut server = Server::new(body, "workers.count=1");

        let arguments = server.client().ask("arguments");

        assert!(
            arguments.ends_with(&format!("server\", \"{body}\"]")),
            "{arguments}"
        );
        server.end();
    }
}

#[test]
fn without_titles_all_show_the_command_line() {
    let mut server = Server::new("talk", "workers.titles=false");

    let line = shown(server.process());

    assert!(line.ends_with("server talk"), "{line}");
    for process in server.everything() {
        assert_eq!(shown(&process), line);
    }
    server.end();
}

#[test]
fn where_the_kernel_refuses_all_show_the_command_line_and_serve() {
    for body in ["talk", "blocking"] {
        let mut setup = server(body, "workers.count=1");
        let mut server = Server::start(setup.forbid_titles());

        assert_eq!(server.client().ask("on"), "ON");
        server.worker(0).kill();
        server.settle(1);
        assert_eq!(server.client().ask("on"), "ON");

        let line = shown(server.process());
        assert!(line.ends_with(&format!("server {body}")), "{line}");
        for process in server.everything() {
            assert_eq!(shown(&process), line);
        }
        server.end();
    }
}

#[test]
fn successors_of_workers_and_of_the_fork_server_have_titles_too() {
    let mut server = Server::new("talk", "workers.count=1");
    server.worker(0).kill();
    server.fork_server().kill();

    eventually(Deadline::usual(), "there are successors", || {
        let mut titles: Vec<_> = server.everything().iter().map(shown).collect();
        titles.sort();
        titles.len() == 3
            && titles[1..] == ["hatchery: fork server", "hatchery: worker 0 [0 conns]"]
    });
    server.end();
}
