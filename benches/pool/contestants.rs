//! Who runs the tasks.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::channel;

use hatchery::Pool;
use hatchery_process::{Entry, Program, Start, start};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use tokio::runtime::Runtime;

use crate::others::{Python, python};
use crate::{each, p50};

/// Somebody who runs tasks: so many, and says how long each took; `None` if it is not here.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// It is given this much less to do.
    pub(crate) slowness: u64,
    pub(crate) run: Box<dyn FnMut(u64) -> Option<f64>>,
}

impl Contestant {
    fn new(
        name: &'static str,
        slowness: u64,
        run: impl FnMut(u64) -> Option<f64> + 'static,
    ) -> Self {
        let run = Box::new(run);
        Self {
            name,
            slowness,
            run,
        }
    }
}

/// The task.
fn increment(number: u64) -> u64 {
    number + 1
}

pub(crate) fn all_one_by_one() -> Vec<Contestant> {
    let pool = Arc::new(two_workers());
    let of_futures = Arc::clone(&pool);
    let procspawn = procspawn::Pool::new(2).ok();
    let threads = two_threads();
    let (runtime, blocking) = (runtime(), runtime());
    let mut socket = ping_pong();
    vec![
        Contestant::new("socketpair", 1, move |count| {
            Some(p50(count, |_| {
                let mut byte = [0];
                socket.write_all(b"x").expect("the other end reads");
                socket.read_exact(&mut byte).expect("the other end writes");
            }))
        }),
        Contestant::new("pool.apply", 1, move |count| {
            Some(p50(count, |number| {
                assert_eq!(pool.apply(increment, number), Ok(number + 1));
            }))
        }),
        Contestant::new("pool.apply_async", 1, move |count| {
            Some(p50(count, |number| {
                let result = runtime.block_on(of_futures.apply_async(increment, number));
                assert_eq!(result, Ok(number + 1));
            }))
        }),
        Contestant::new("(rayon)", 1, move |count| {
            Some(p50(count, |number| {
                let (sender, receiver) = channel();
                threads.spawn(move || sender.send(increment(number)).expect("it is awaited"));
                assert_eq!(receiver.recv(), Ok(number + 1));
            }))
        }),
        Contestant::new("(spawn_blocking)", 1, move |count| {
            Some(p50(count, |number| {
                let task = blocking.spawn_blocking(move || increment(number));
                let result = blocking.block_on(task);
                assert_eq!(result.expect("it does not panic"), number + 1);
            }))
        }),
        Contestant::new("procspawn", 4, move |count| {
            let pool = procspawn.as_ref()?;
            Some(p50(count, |number| {
                let task = procspawn::spawn!(in pool, (number) || increment(number));
                assert_eq!(task.join().expect("it does not panic"), number + 1);
            }))
        }),
        Contestant::new("Python executor", 4, |count| {
            python(Python::ExecutorOne, count)
        }),
        Contestant::new("Python Pool", 4, |count| python(Python::PoolOne, count)),
    ]
}

pub(crate) fn all_at_once() -> Vec<Contestant> {
    let pool = Arc::new(two_workers());
    let (lazy, single) = (Arc::clone(&pool), Arc::clone(&pool));
    let procspawn = procspawn::Pool::new(2).ok();
    let threads = two_threads();
    let blocking = runtime();
    vec![
        Contestant::new("pool.map", 1, move |count| {
            let results = || pool.map(increment, 0..count).into_iter();
            Some(each(count, || {
                results().map(|result| result.expect("it is there")).sum()
            }))
        }),
        Contestant::new("pool.imap", 1, move |count| {
            let results = || lazy.imap(increment, 0..count);
            Some(each(count, || {
                results().map(|result| result.expect("it is there")).sum()
            }))
        }),
        Contestant::new("pool.submit", 1, move |count| {
            Some(each(count, || {
                let handles: Vec<_> = (0..count)
                    .map(|number| single.submit(increment, number))
                    .collect();
                let results = handles.into_iter().map(|handle| handle.wait());
                results.map(|result| result.expect("it is there")).sum()
            }))
        }),
        Contestant::new("(rayon)", 1, move |count| {
            Some(each(count, || {
                threads.install(|| {
                    let numbers = (0..count as usize).into_par_iter().with_max_len(1);
                    numbers.map(|number| increment(number as u64)).sum()
                })
            }))
        }),
        Contestant::new("(spawn_blocking)", 4, move |count| {
            Some(each(count, || {
                let tasks: Vec<_> = (0..count)
                    .map(|number| blocking.spawn_blocking(move || increment(number)))
                    .collect();
                blocking.block_on(async {
                    let mut sum = 0;
                    for task in tasks {
                        sum += task.await.expect("it does not panic");
                    }
                    sum
                })
            }))
        }),
        Contestant::new("procspawn", 200, move |count| {
            let pool = procspawn.as_ref()?;
            Some(each(count, || {
                let tasks: Vec<_> = (0..count)
                    .map(|number| procspawn::spawn!(in pool, (number) || increment(number)))
                    .collect();
                let results = tasks.into_iter().map(|task| task.join());
                results
                    .map(|result| result.expect("it does not panic"))
                    .sum()
            }))
        }),
        Contestant::new("Python executor", 200, |count| {
            python(Python::ExecutorMany, count)
        }),
        Contestant::new("Python Pool.imap", 20, |count| {
            python(Python::PoolMany, count)
        }),
    ]
}

fn two_workers() -> Pool {
    let mut builder = Pool::builder();
    let pool = builder.workers(2).build();
    pool.expect("workers can be started")
}

fn two_threads() -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(2);
    builder.build().expect("threads can be started")
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(2).build();
    runtime.expect("a runtime can be built")
}

/// The end of a socket whose other end, in another process, sends everything back.
fn ping_pong() -> UnixStream {
    let (here, there) = UnixStream::pair().expect("there are descriptors left");
    let there = OwnedFd::from(there);
    let echo = Program {
        descriptors: &[there.as_fd()],
        ..Program::new("echo", Entry::new(echo))
    };
    start(echo).expect("a process can be started");
    here
}

fn echo(mut start: Start) -> u8 {
    let socket = start.descriptors.pop().expect("it was given its end");
    let (mut socket, mut byte) = (UnixStream::from(socket), [0]);
    while socket.read_exact(&mut byte).is_ok() && socket.write_all(&byte).is_ok() {}
    0
}
