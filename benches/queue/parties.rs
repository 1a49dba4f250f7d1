//! Those who send and receive: processes that all begin at once.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hatchery_process::{Child, Entry, Parcel, Passed, Program, Start, start};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::means::{Carrier, Means};
use crate::{Taken, timed};

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

/// Runs a case, and checks that every message arrived.
pub(crate) fn run(case: Case) -> Taken {
    let carrier = case.means.make();
    let (report, reporter) = pipe();
    let (go, gun) = pipe();
    let share = case.messages / case.parties;
    let mut children = Vec::new();
    let mut parties = Parties {
        case,
        carrier: Some(carrier),
        reporter: Some(Passed(reporter)),
        go: Some(Passed(go)),
    };
    for index in 0..case.parties {
        children.push(parties.start(false, index * share, share));
        children.push(parties.start(true, index * share, share));
    }
    parties.close();
    let mut report = File::from(report);
    let mut ready = vec![0; children.len()];
    report.read_exact(&mut ready).expect("all get ready");
    let (answers, wall) = timed(|| {
        drop(gun);
        let mut answers = vec![0; children.len() * 16];
        report.read_exact(&mut answers).expect("all come to an end");
        answers
    });
    for child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let (answers, _) = answers.as_chunks::<16>();
    let mut sum = 0_u64;
    let mut cpu = Duration::ZERO;
    for answer in answers {
        let (one, other) = answer.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("8 bytes"));
        sum = sum.wrapping_add(number(one));
        cpu += Duration::from_nanos(number(other));
    }
    let expected = (0..case.messages).fold(0_u64, u64::wrapping_add);
    assert_eq!(sum, expected, "every message arrives once");
    Taken { wall, cpu }
}

/// What all processes of a run are given.
struct Parties {
    case: Case,
    carrier: Option<Carrier>,
    reporter: Option<Passed>,
    go: Option<Passed>,
}

impl Parties {
    fn start(&mut self, is_producer: bool, first: u64, count: u64) -> Child {
        let task = Task {
            carrier: self.carrier.take().expect("it is put back"),
            is_producer,
            first,
            count,
            size: self.case.size,
            report: self.reporter.take().expect("it is put back"),
            go: self.go.take().expect("it is put back"),
        };
        let parcel = Parcel::encode(&task).expect("a task can be sent");
        let descriptors: Vec<BorrowedFd<'_>> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        let child = start(Program {
            bytes: &parcel.bytes,
            descriptors: &descriptors,
            ..Program::new("bench", Entry::new(work))
        });
        self.carrier = Some(task.carrier);
        self.reporter = Some(task.report);
        self.go = Some(task.go);
        child.expect("a process starts")
    }

    fn close(self) {}
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
    let mut answer = [0; 16];
    answer[..8].copy_from_slice(&sum.to_le_bytes());
    answer[8..].copy_from_slice(&cpu.to_le_bytes());
    report.write_all(&answer).expect("somebody listens");
    0
}

/// The CPU time of this process, in nanoseconds.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("a pipe can be made")
}
