//! What does a request cost an app of axum in pre-forked workers, and in one process of tokio?
//!
//! Run it with `cargo bench -p hatchery-benches --bench http`; `-- --rounds N` says how often each
//! contestant is run, and `-- --seconds N` how long. It needs `wrk` and `h2load` (of nghttp2).
//!
//! The app is one, and so are its settings: in Hatchery's two workers, served by `axum::serve` or by
//! `HttpServer`, and on a tokio runtime of two threads. Contestants take turns in each round, a new process
//! each time, and ratios are medians of those within a round. The CPU time is what the
//! server's processes have used from their start until they are reaped, in user and kernel mode,
//! divided by the requests that the load generator has counted. A round with a single error is no
//! result: the bench ends with it.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints what it measured"
)]

mod loads;
mod servers;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use loads::{LOADS, Load};
use servers::{Kind, Server};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What a contestant has done in a round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    requests_per_second: f64,
    /// CPU time of the server for each request, in microseconds.
    cpu_us: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, serve, kind, ..] if serve == servers::COMMAND => servers::serve(kind),
        _ => match compare() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn argument(name: &str) -> Option<u32> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

/// Runs all contestants in turn under all loads, and prints medians.
fn compare() -> Result<()> {
    let rounds = argument("--rounds").unwrap_or(7);
    let seconds = argument("--seconds").unwrap_or(5);
    let certificates = tempfile::tempdir()?;
    servers::write_certificate(certificates.path())?;
    println!("{rounds} rounds of {seconds} s, 2 workers or 2 threads");
    for load in LOADS {
        let mut all = Kind::ALL.map(|_| Vec::new());
        for _ in 0..rounds {
            for (kind, figures) in Kind::ALL.into_iter().zip(&mut all) {
                figures.push(measure(kind, load, certificates.path(), seconds)?);
            }
        }
        report(load, &all);
    }
    Ok(())
}

/// Prints what all contestants have done under one load.
fn report(load: &Load, all: &[Vec<Figures>; Kind::ALL.len()]) {
    println!("{}", load.name);
    for (kind, figures) in Kind::ALL.into_iter().zip(all) {
        let of = |figure: fn(&Figures) -> f64| median(figures.iter().map(figure));
        println!(
            "  {:20} {:8.0} requests/s {:7.2} µs of CPU a request",
            kind.name(),
            of(|round| round.requests_per_second),
            of(|round| round.cpu_us),
        );
    }
    let [tokio, axum, hyper] = all;
    for (name, these, those) in [
        ("axum::serve in workers to tokio", axum, tokio),
        ("HttpServer in workers to tokio", hyper, tokio),
        ("HttpServer to axum::serve, in workers", hyper, axum),
    ] {
        let ratio = |figure: fn(&Figures) -> f64| {
            let rounds = these.iter().zip(those);
            median(rounds.map(|(this, that)| figure(this) / figure(that)))
        };
        println!(
            "  {name}: {:.2} × the CPU a request, {:.2} × the requests/s",
            ratio(|round| round.cpu_us),
            ratio(|round| round.requests_per_second),
        );
    }
}

/// Runs one contestant under one load.
fn measure(kind: Kind, load: &Load, certificates: &Path, seconds: u32) -> Result<Figures> {
    let server = Server::start(kind, load.is_tls.then_some(certificates))?;
    let requests = load.run(server.port(), seconds)?;
    let cpu = server.stop()?;
    Ok(Figures {
        requests_per_second: requests as f64 / f64::from(seconds),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
    })
}

/// The median, of which there is one where there is a round.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
