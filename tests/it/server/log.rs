//! What is logged, how much of it, and what happens when nobody reads it.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use super::client::{Client, Heard};
use super::{Server, server};
use crate::support::{Deadline, eventually};

/// The least that a pipe holds.
const PIPE_BYTES: usize = 4096;

/// Two workers with room for two connections each; the next one is rejected.
const SMALL: &str = "workers.max_concurrency=2 server.overload=reject server.queue_length=0";

/// Makes a pipe in which there is no room.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe can be had");
    fcntl_setpipe_size(&writer, PIPE_BYTES).expect("an empty pipe can be made smaller");
    let filled = writer.write_all(&[b'x'; PIPE_BYTES]);
    filled.expect("an empty pipe takes as much as it holds");
    (reader, writer)
}

/// Fills the server, then checks that so many more are told that it is busy.
#[track_caller]
fn fill_and_be_rejected(server: &Server, count: usize) -> Vec<Client> {
    let mut held = server.clients(4);
    assert!(held.iter_mut().all(|client| client.ask("on") == "ON"));
    for _ in 0..count {
        let mut rejected = server.client();
        assert_eq!(rejected.line(), "server is busy");
        assert_eq!(rejected.hear(), Heard::End);
    }
    held
}

#[test]
fn a_server_whose_log_nobody_reads_serves_on_and_ends_when_told() {
    let (mut reader, writer) = full_pipe();
    let mut server = Server::start(server("talk", SMALL).errors_into(OwnedFd::from(writer)));
    let mut held = fill_and_be_rejected(&server, 10);

    held[0].say("fail and have it logged");
    assert_eq!(held[0].hear(), Heard::End);
    server.worker(1).signal(Signal::KILL);
    server.settle(2);

    drop(held);
    eventually(Deadline::usual(), "there is room again", || {
        server.client().ask("on") == "ON"
    });
    server.process().signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    reader.read_exact(&mut [0; PIPE_BYTES]).unwrap();
}

#[test]
fn lines_that_were_dropped_are_counted_in_the_log_once_it_is_read_again() {
    let (mut reader, writer) = full_pipe();
    let mut server = Server::start(server("talk", "").errors_into(OwnedFd::from(writer)));
    for _ in 0..3 {
        let victim = &server.workers()[0];
        victim.kill();
        server.settle(2);
    }
    reader.read_exact(&mut [0; PIPE_BYTES]).unwrap();

    server.workers()[0].kill();
    server.settle(2);

    server.process().signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    drop(server);
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!(
        lines[0],
        "3 log lines were dropped: standard error was full"
    );
    assert!(lines[1].contains("a worker ended with signal: 9"), "{log}");
}

#[test]
fn of_many_that_are_turned_away_the_first_is_logged_and_the_rest_summed_up() {
    let mut server = Server::new("talk", SMALL);

    let held = fill_and_be_rejected(&server, 200);

    let line = "turned away: no worker has room and the queue is full";
    let is_summed_up = || server.errors().contains(", again");
    let patient = Deadline::after(Duration::from_secs(10));
    eventually(patient, "the others are summed up", is_summed_up);
    drop(held);
    server.end();
    let errors = server.errors();
    let in_full = errors.lines().filter(|line| line.contains("peer=")).count();
    assert_eq!(in_full, 1, "{errors}");
    assert!(errors.lines().all(|other| other.contains(line)), "{errors}");
    let others = errors
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("connections=")?.parse::<u32>().ok());
    assert_eq!(others.sum::<u32>(), 199, "{errors}");
}
