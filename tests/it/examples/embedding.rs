//! The example `embed`: the program's own service, and the server inside it.

use std::io::{BufRead, BufReader, Read, Write};

use super::servers::{connect, exchange, interrupt};
use super::{example, wait_for_nothing_left};

#[test]
fn embed_serves_by_its_own_threads_and_by_workers_at_the_same_time() {
    let mut program = example("embed").args("127.0.0.1:0 127.0.0.1:0").start();
    let own = program.line_of("status at");
    let heavy = program.line_of("heavy work at");
    let mut worker = BufReader::new(connect(&heavy));
    worker.get_ref().write_all(b"20000003\n7\n").unwrap();

    let mut status = String::new();
    connect(&own).read_to_string(&mut status).unwrap();
    let other = exchange(&connect(&heavy), b"7\n9\nnine\n");
    let other = String::from_utf8(other).unwrap();

    let pid = program.process().pid();
    assert_eq!(status, format!("process {pid} has 2 workers\n"));
    let answers: Vec<(&str, &str)> = other
        .lines()
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let said: Vec<&str> = answers.iter().map(|(_, answer)| *answer).collect();
    assert_eq!(said, ["7 is prime", "9 is not prime", "nine is no number"]);
    assert_ne!(answers[0].0, format!("process {pid}"), "a worker answers");
    let mut line = String::new();
    worker.read_line(&mut line).unwrap();
    assert!(line.ends_with(": 20000003 is prime\n"), "{line}");
    assert_ne!(line.split(": ").next(), Some(answers[0].0), "it was busy");
    drop(worker);
    interrupt(&mut program);
    assert_eq!(program.rest(), ["both have ended"]);
    wait_for_nothing_left(&program);
}
