//! What does starting a process cost, and does it depend on how large the program has grown?
//!
//! Run it with `cargo bench -p hatchery-benches --bench process_start`. A process is started, ends
//! at once, and is waited for. `raw_fork` is the floor: `fork`, `_exit` and `waitid` in this
//! process while it is small; `raw_fork_grown` the same once it has touched 256 MiB. `fork_server` and
//! `fork_server_grown` are a bare child of the fork server, before and after that; `process` and
//! `process_grown` are a `Process` whose argument and result are serialised. `command` is
//! `std::process::Command` with `true`, for which another program has to be loaded.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::os::fd::AsFd;
use std::process::Command;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use hatchery::Process;
use hatchery_os::{Fork, exit_now, fork};
use hatchery_process::{Entry, Program, Start, start};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// How much the program grows.
const GROWN_BYTES: usize = 256 << 20;

/// A page, which is what has to be touched for memory to be there.
const PAGE_BYTES: usize = 4096;

fn main() {
    // The fork server is forked first, while this process is small and has one thread.
    hatchery_process::init().expect("this process has one thread");
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("process_start");
    fork_server(&mut group, "fork_server");
    process(&mut group, "process");
    raw_fork(&mut group, "raw_fork");
    command(&mut group);
    let mut grown = vec![0_u8; GROWN_BYTES];
    for page in grown.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    let grown = black_box(grown);
    fork_server(&mut group, "fork_server_grown");
    process(&mut group, "process_grown");
    raw_fork(&mut group, "raw_fork_grown");
    drop(grown);
    group.finish();
    criterion.final_summary();
    hatchery_process::end();
}

fn fork_server(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    let entry = Entry::new(|_: Start| 0);
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let child = start(Program::new("bench", entry)).expect("a process starts");
            child.wait().expect("its status is known")
        });
    });
}

fn process(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let process = Process::spawn(|number: u64| number + 1, 41_u64).expect("it starts");
            assert_eq!(process.join().expect("it returns"), 42);
        });
    });
}

fn command(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.bench_function("command", |bencher| {
        bencher.iter(|| {
            let status = Command::new("true")
                .status()
                .expect("there is such a program");
            assert!(status.success());
        });
    });
}

fn raw_fork(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    if !matches!(hatchery_os::thread_count(), Ok(1)) {
        // A process with threads must not fork.
        return;
    }
    group.bench_function(name, |bencher| {
        bencher.iter(|| match fork().expect("this process has one thread") {
            Fork::Child => exit_now(0),
            Fork::Parent(pidfd, _) => {
                waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).expect("it ends")
            }
        });
    });
}
