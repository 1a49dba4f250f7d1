//! Those who send and receive: processes that all begin at once.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hatchery_process::{Child, Entry, Parcel, Passed, Program, Start, start};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use crate::means::{Carrier, Means};
use crate::others::{cpu_time, run_python, run_threads};
use crate::timed;

/// What one run took.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) messages: u64,
}

/// One run.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) means: Means,
    pub(crate) size: usize,
    pub(crate) parties: u64,
    pub(crate) messages: u64,
}

/// What one process is to do.
#[derive(Serialize, Deserialize)]
struct Task {
    carrier: Carrier,
    is_producer: bool,
    first: u64,
    count: u64,
    size: usize,
    /// Says that it is ready, and later what it took.
    report: Passed,
    /// Ends when all are to begin.
    go: Passed,
}

/// Runs a case, and checks that every message arrived; `None` where it cannot be run.
pub(crate) fn run(case: Case) -> Option<Taken> {
    match case.means {
        Means::Threads => Some(run_threads(case)),
        Means::Python => run_python(case),
        means => means.make().map(|carrier| run_processes(case, carrier)),
    }
}

fn run_processes(case: Case, carrier: Carrier) -> Taken {
    let (report, reporter) = pipe();
    let (go, gun) = pipe();
    let share = case.messages / case.parties;
    let mut children = Vec::new();
    let mut parties = Parties {
        size: case.size,
        given: Some((carrier, Passed(reporter), Passed(go))),
    };
    for index in 0..case.parties {
        children.push(parties.start(false, index * share, share));
        children.push(parties.start(true, index * share, share));
    }
    drop(parties);
    let mut report = File::from(report);
    let mut ready = vec![0; children.len()];
    report.read_exact(&mut ready).expect("all get ready");
    let (answers, wall) = timed(|| {
        drop(gun);
        let mut answers = vec![0; children.len() * ANSWER_BYTES];
        report.read_exact(&mut answers).expect("all come to an end");
        answers
    });
    for child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let (sum, cpu) = add_up(&answers);
    let expected = (0..case.messages).fold(0_u64, u64::wrapping_add);
    assert_eq!(sum, expected, "every message arrives once");
    Taken {
        wall,
        cpu,
        messages: case.messages,
    }
}

/// Adds up what the processes answered: the numbers that they got, and their CPU time.
fn add_up(answers: &[u8]) -> (u64, Duration) {
    let (numbers, _) = answers.as_chunks::<8>();
    let number = |index: usize| u64::from_le_bytes(numbers[index]);
    let answers = (0..numbers.len()).step_by(2);
    answers.fold((0, Duration::ZERO), |(sum, cpu), index| {
        let spent = Duration::from_nanos(number(index + 1));
        (u64::wrapping_add(sum, number(index)), cpu + spent)
    })
}

/// A sum and a CPU time.
const ANSWER_BYTES: usize = 16;

/// What all processes of a run are given.
struct Parties {
    size: usize,
    given: Option<(Carrier, Passed, Passed)>,
}

impl Parties {
    fn start(&mut self, is_producer: bool, first: u64, count: u64) -> Child {
        let (carrier, report, go) = self.given.take().expect("it is put back");
        let task = Task {
            carrier,
            is_producer,
            first,
            count,
            size: self.size,
            report,
            go,
        };
        let parcel = Parcel::encode(&task).expect("a task can be sent");
        let descriptors: Vec<BorrowedFd<'_>> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        let child = start(Program {
            bytes: &parcel.bytes,
            descriptors: &descriptors,
            ..Program::new("bench", Entry::new(work))
        });
        self.given = Some((task.carrier, task.report, task.go));
        child.expect("a process starts")
    }
}

fn work(start: Start) -> u8 {
    let parcel = Parcel {
        bytes: start.bytes,
        descriptors: start.descriptors,
    };
    let task: Task = parcel.decode().expect("a task arrives as it was sent");
    let mut report = File::from(OwnedFd::from(task.report));
    report.write_all(b"r").expect("somebody listens");
    let mut go = File::from(OwnedFd::from(task.go));
    let _end = go.read(&mut [0]).expect("the pipe can be read");
    let before = cpu_time();
    let sum = if task.is_producer {
        task.carrier.produce(task.first, task.count, task.size);
        0
    } else {
        task.carrier.consume(task.count, task.size)
    };
    let cpu = cpu_time() - before;
    let cpu = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
    let answer = [sum.to_le_bytes(), cpu.to_le_bytes()].concat();
    report.write_all(&answer).expect("somebody listens");
    0
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("a pipe can be made")
}
