//! Children of a program that has threads: this test harness.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use hatchery_process::{Child, Entry, Program, Start, StartMethod, init_with, start};
use rustix::pipe::{PipeFlags, pipe_with};

/// Runs `entry` as a user's test would.
fn run(entry: Entry, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Child {
    init_with(StartMethod::Spawn).expect("this method is for programs with threads");
    let child = start(Program {
        bytes,
        descriptors,
        ..Program::new("in-harness", entry)
    });
    child.expect("a child starts")
}

trait Answer {
    const CODE: u8;
}

struct Yes;
struct No;

impl Answer for Yes {
    const CODE: u8 = 43;
}

impl Answer for No {
    const CODE: u8 = 44;
}

fn answer<A: Answer>(start: Start) -> u8 {
    drop(start);
    A::CODE
}

#[test]
fn a_function_runs() {
    fn sum(start: Start) -> u8 {
        start.bytes.into_iter().sum()
    }

    let status = run(Entry::new(sum), &[1, 2, 4], &[]).wait().unwrap();

    assert_eq!(status.code(), Some(7));
}

#[test]
fn each_instance_of_a_generic_function_runs() {
    let yes = run(Entry::new(answer::<Yes>), b"", &[]);
    let no = run(Entry::new(answer::<No>), b"", &[]);

    assert_eq!(yes.wait().unwrap().code(), Some(43));
    assert_eq!(no.wait().unwrap().code(), Some(44));
}

#[test]
fn a_closure_that_captures_nothing_runs() {
    let closure = |start: Start| start.bytes[0] ^ 1;

    let status = run(Entry::new(closure), &[9], &[]).wait().unwrap();

    assert_eq!(status.code(), Some(8));
}

#[test]
fn large_arguments_arrive_whole_and_descriptors_work() {
    let (mut reader, writer) = pipe_with(PipeFlags::CLOEXEC)
        .map(|(reader, writer)| (File::from(reader), writer))
        .unwrap();
    let bytes: Vec<u8> = (0..3 << 20).map(|index: u32| (index % 251) as u8).collect();
    let echo = |start: Start| {
        let mut pipe = start.descriptors.into_iter().map(File::from);
        let written = pipe.next().map(|mut pipe| pipe.write_all(&start.bytes));
        u8::from(!matches!(written, Some(Ok(()))))
    };

    let child = run(Entry::new(echo), &bytes, &[writer.as_fd()]);
    drop(writer);
    let mut echoed = Vec::new();
    reader.read_to_end(&mut echoed).unwrap();

    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(echoed == bytes, "{} bytes came back", echoed.len());
}

#[test]
fn a_function_calls_the_functions_that_it_was_passed() {
    init_with(StartMethod::Spawn).unwrap();
    let functions = [Entry::new(answer::<No>), Entry::new(answer::<Yes>)];
    let entry = Entry::new(|start: Start| start.functions[1].run(Start::default()));

    let child = start(Program {
        functions: &functions,
        ..Program::new("in-harness", entry)
    });

    assert_eq!(child.unwrap().wait().unwrap().code(), Some(43));
}

#[test]
fn threads_run_children_at_once() {
    let starters: Vec<_> = (0..8)
        .map(|code: u8| {
            thread::spawn(move || {
                let tell = |start: Start| start.bytes[0];
                run(Entry::new(tell), &[code], &[]).wait().unwrap().code()
            })
        })
        .collect();

    for (code, starter) in (0..).zip(starters) {
        assert_eq!(starter.join().unwrap(), Some(code));
    }
}
