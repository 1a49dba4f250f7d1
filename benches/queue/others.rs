//! Contestants that are no processes of ours: threads, and Python.

use std::process::Command;
use std::thread::scope;
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::time::{ClockId, clock_gettime};

use crate::means::{BOUND, Sum, each, item_of};
use crate::parties::{Case, Taken};
use crate::timed;

/// What Python's queue is measured with; its arguments are parties, messages and bytes.
const SCRIPT: &str = r#"
import multiprocessing, sys, time
parties, messages, size = map(int, sys.argv[1:])
share = messages // parties

def produce(queue, go):
    message = b"x" * size
    go.wait()
    for _ in range(share):
        queue.put(message)

def consume(queue, go):
    go.wait()
    for _ in range(share):
        assert len(queue.get()) == size

if __name__ == "__main__":
    queue = multiprocessing.Queue(1024)
    go = multiprocessing.Barrier(2 * parties + 1)
    works = [produce, consume] * parties
    processes = [multiprocessing.Process(target=work, args=(queue, go)) for work in works]
    for process in processes:
        process.start()
    go.wait()
    start = time.monotonic()
    for process in processes:
        process.join()
    print(time.monotonic() - start)
"#;

/// Runs a case between threads of this process.
pub(crate) fn run_threads(case: Case) -> Taken {
    let (sender, receiver) = bounded::<Vec<u8>>(BOUND as usize);
    let share = case.messages / case.parties;
    let before = cpu_time();
    let consume = || {
        let mut sum = Sum {
            size: case.size,
            sum: 0,
        };
        for _ in 0..share {
            sum.add(&receiver.recv().expect("somebody sends"));
        }
        sum.sum
    };
    let send = |message: &[u8]| {
        let sent = sender.send(item_of(message));
        sent.expect("somebody receives");
    };
    let produce = |index: u64| each(index * share, share, case.size, send);
    let (sum, wall) = timed(|| {
        scope(|threads| {
            let consumers: Vec<_> = (0..case.parties).map(|_| threads.spawn(consume)).collect();
            for index in 0..case.parties {
                threads.spawn(move || produce(index));
            }
            let sums = consumers.into_iter().map(|consumer| consumer.join());
            sums.map(|sum| sum.expect("a consumer does not panic"))
                .fold(0_u64, u64::wrapping_add)
        })
    });
    let expected = (0..case.messages).fold(0_u64, u64::wrapping_add);
    assert_eq!(sum, expected, "every message arrives once");
    Taken {
        wall,
        cpu: cpu_time() - before,
        messages: case.messages,
    }
}

/// Runs a case with Python's queue; `None` where there is no Python.
pub(crate) fn run_python(case: Case) -> Option<Taken> {
    let numbers = [case.parties, case.messages, case.size as u64].map(|n| n.to_string());
    let before = children_cpu_time();
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .args(&numbers)
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    let seconds: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .ok()?;
    Some(Taken {
        wall: Duration::from_secs_f64(seconds),
        // With the start of the interpreter, which is little beside the rest.
        cpu: children_cpu_time().saturating_sub(before),
        messages: case.messages,
    })
}

/// The CPU time of this process.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The CPU time of the children of this process that were collected.
fn children_cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // The state is field 3, the times are fields 16 and 17.
    let times = fields.split_whitespace().skip(13).take(2);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
