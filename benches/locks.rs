//! What does a lock between processes cost, beside the one between threads?
//!
//! Run it with `cargo bench -p hatchery-benches --bench locks`. `uncontended` is one lock and
//! unlock: `mutex` is `std::sync::Mutex`, a bare futex and the floor. The measurements take turns,
//! so what else the machine does hits both. `contended` is the same by four at once, threads
//! for the mutex, processes for the lock, and threads for the lock too, each adding to a counter
//! two hundred thousand times.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use hatchery_process::{
    Barrier, Entry, Lock, Parcel, Program, RLock, Semaphore, Start, Value, start,
};

/// How many want the lock at once.
const CONTENDERS: u32 = 4;

/// How often each takes it in one measurement.
const TIMES: u64 = 200_000;

fn main() {
    // The fork server is forked first, while this process has one thread.
    hatchery_process::init().expect("this process has one thread");
    let mut criterion = Criterion::default().configure_from_args();
    uncontended(&mut criterion);
    contended(&mut criterion);
    criterion.final_summary();
    hatchery_process::end();
}

fn uncontended(criterion: &mut Criterion) {
    let mutex = Mutex::new(());
    let lock = Lock::new().expect("there is memory for a lock");
    let rlock = RLock::new().expect("there is memory for a lock");
    let semaphore = Semaphore::new(1).expect("there is memory for a semaphore");
    let value = Value::new(0_u64).expect("there is memory for a value");
    let mut group = criterion.benchmark_group("uncontended");
    for turn in 1..=3 {
        group.bench_function(format!("mutex/{turn}"), |bencher| {
            bencher.iter(|| drop(black_box(&mutex).lock()));
        });
        group.bench_function(format!("lock/{turn}"), |bencher| {
            bencher.iter(|| drop(black_box(&lock).lock()));
        });
    }
    group.bench_function("rlock", |bencher| {
        bencher.iter(|| drop(black_box(&rlock).lock()));
    });
    group.bench_function("semaphore", |bencher| {
        bencher.iter(|| drop(black_box(&semaphore).acquire()));
    });
    group.bench_function("value_update", |bencher| {
        bencher.iter(|| black_box(&value).update(|number| *number += 1));
    });
    group.finish();
}

fn contended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("contended");
    group.sample_size(10);
    for turn in 1..=3 {
        group.bench_function(format!("mutex/{turn}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| threads()).sum());
        });
        group.bench_function(format!("lock/{turn}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| processes()).sum());
        });
        group.bench_function(format!("lock_threads/{turn}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| lock_threads()).sum());
        });
    }
    group.finish();
}

/// How long threads take for one lock and unlock among them.
fn threads() -> Duration {
    let count = Mutex::new(0_u64);
    among_threads(|| *count.lock().expect("nobody panics") += 1)
}

/// How long threads take with the lock for processes.
fn lock_threads() -> Duration {
    let lock = Lock::new().expect("there is memory for a lock");
    let count = Value::unlocked(0_u64).expect("there is memory for a value");
    among_threads(|| {
        let _held = lock.lock();
        count.set(count.get() + 1);
    })
}

/// How long a step takes when threads do it at the same time, once all are there.
fn among_threads(step: impl Fn() + Sync) -> Duration {
    let gate = std::sync::Barrier::new(CONTENDERS as usize + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CONTENDERS)
            .map(|_| {
                scope.spawn(|| {
                    gate.wait();
                    for _ in 0..TIMES {
                        step();
                    }
                })
            })
            .collect();
        gate.wait();
        let began = Instant::now();
        for worker in workers {
            worker.join().expect("it does not panic");
        }
        each(began.elapsed())
    })
}

/// How long processes take, once all are there, for one lock and unlock among them.
fn processes() -> Duration {
    let lock = Lock::new().expect("there is memory for a lock");
    let count = Value::unlocked(0_u64).expect("there is memory for a value");
    let gate = Barrier::new(CONTENDERS + 1).expect("there is memory for a barrier");
    let parcel = Parcel::encode(&(&lock, &count, &gate)).expect("they can be sent");
    let descriptors: Vec<_> = parcel
        .descriptors
        .iter()
        .map(std::os::fd::AsFd::as_fd)
        .collect();
    let children: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            start(Program {
                bytes: &parcel.bytes,
                descriptors: &descriptors,
                ..Program::new("contends", Entry::new(contend))
            })
            .expect("a process starts")
        })
        .collect();
    gate.wait().expect("all come");
    let began = Instant::now();
    gate.wait().expect("all have done it");
    let took = began.elapsed();
    for child in children {
        child.wait().expect("its status is known");
    }
    assert_eq!(count.get(), u64::from(CONTENDERS) * TIMES);
    each(took)
}

fn contend(start: Start) -> u8 {
    let parcel = Parcel {
        bytes: start.bytes,
        descriptors: start.descriptors,
    };
    let (lock, count, gate): (Lock, Value<u64>, Barrier) =
        parcel.decode().expect("the bench sends them");
    gate.wait().expect("all come");
    for _ in 0..TIMES {
        let _held = lock.lock();
        count.set(count.get() + 1);
    }
    gate.wait().expect("all have done it");
    0
}

fn each(took: Duration) -> Duration {
    took / (CONTENDERS * u32::try_from(TIMES).expect("the number is small"))
}
