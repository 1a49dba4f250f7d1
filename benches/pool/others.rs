//! Python's pools, measured by a program of its own.

use std::process::Command;

/// What Python is measured with; its arguments are what to do, and how many tasks.
const SCRIPT: &str = r#"
import concurrent.futures, multiprocessing, statistics, sys, time
what, count = sys.argv[1], int(sys.argv[2])

def increment(number):
    return number + 1

def p50(call):
    times = []
    for number in range(count):
        start = time.perf_counter()
        assert call(number) == number + 1
        times.append(time.perf_counter() - start)
    return statistics.median(times)

def each(results):
    start = time.perf_counter()
    assert sum(results()) == count * (count + 1) // 2
    return (time.perf_counter() - start) / count

if __name__ == "__main__":
    if what.startswith("executor"):
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            pool.submit(increment, 0).result()
            if what == "executor-one":
                print(p50(lambda number: pool.submit(increment, number).result()))
            else:
                print(each(lambda: pool.map(increment, range(count))))
    else:
        with multiprocessing.Pool(2) as pool:
            pool.apply(increment, (0,))
            if what == "pool-one":
                print(p50(lambda number: pool.apply(increment, (number,))))
            else:
                print(each(lambda: pool.imap(increment, range(count))))
"#;

/// What Python is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Python {
    ExecutorOne,
    ExecutorMany,
    PoolOne,
    PoolMany,
}

/// Runs so many tasks; returns the seconds for each, or `None` where there is no Python.
pub(crate) fn python(what: Python, count: u64) -> Option<f64> {
    let what = match what {
        Python::ExecutorOne => "executor-one",
        Python::ExecutorMany => "executor-many",
        Python::PoolOne => "pool-one",
        Python::PoolMany => "pool-many",
    };
    let mut command = Command::new("python3");
    let command = command.args(["-c", SCRIPT, what, &count.to_string()]);
    let output = command.output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
