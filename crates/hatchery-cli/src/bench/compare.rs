//! Measuring several servers against each other.
//!
//! All servers are started and warmed up first and run until the end; one that is not measured has
//! nothing to do and costs nothing. Then all take their turns, round after round, so that whatever
//! else the machine does falls on all of them.

use std::mem;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::BenchError;
use super::args::BenchArgs;
use super::contestant::{Contestant, Server};
use super::load::Load;
use super::plot::{self, Chart};
use super::progress::Progress;
use super::report::Ranking;
use super::summary::Summary;
use super::table;
use super::tally::{SharedTally, Tally};
use super::target::{Interrupt, Measurement, Target};

/// How long each contestant is warmed up before the first round of a phase.
const WARM_UP: Duration = Duration::from_millis(300);

/// Starts the servers, measures them in turn and prints how they did.
///
/// # Errors
///
/// Returns [`BenchError`] if a server does not start or cannot be measured, or if the result
/// cannot be written.
pub(super) async fn run(args: &BenchArgs) -> Result<ExitCode, BenchError> {
    let loads = args.phases();
    let rounds = args.rounds.get();
    // Before the servers, which Ctrl-C does not reach: it must not end us without them.
    let interrupt = Interrupt::new()?;
    let mut racers = args
        .contestants()
        .into_iter()
        .map(|contestant| Racer::start(contestant, args.workers))
        .collect::<Result<Vec<_>, _>>()?;
    let turns = rounds * u32::try_from(racers.len()).expect("contestants are few");
    let total: Duration = loads.iter().map(|load| load.duration * turns).sum();
    let mut course = Course {
        progress: Progress::new(total),
        interrupt,
        interrupted: false,
    };
    let mut phases = Vec::new();
    for load in loads {
        course.run_phase(&load, rounds, &mut racers).await?;
        let phase = Phase::of(load, &mut racers);
        if phase.ranking.rounds() > 0 {
            phases.push(phase);
        }
    }
    // The servers stop and the bar goes before anything is printed.
    drop(racers);
    course.progress.clear();

    if args.json {
        println!("{}", serde_json::to_string_pretty(&phases)?);
    } else {
        phases.iter().for_each(print);
    }
    if course.interrupted {
        eprintln!("Stopped early: what is missing was not measured.");
    }
    let good = !phases.is_empty() && phases.iter().all(|phase| phase.ranking.is_good());
    if let Some(path) = &args.plot {
        let charts: Vec<Chart> = phases.into_iter().map(|phase| phase.chart).collect();
        plot::draw(path, &charts)?;
    }
    Ok(super::exit_code(good))
}

/// A contestant in the race.
#[derive(Debug)]
struct Racer {
    contestant: Contestant,
    target: Target,
    /// Of the phase that is run.
    rounds: Vec<Summary>,
    /// Of all those rounds.
    tally: Tally,
    /// Last, so that it is stopped last.
    _server: Server,
}

impl Racer {
    fn start(contestant: Contestant, workers: u16) -> Result<Self, BenchError> {
        let server = contestant.start(workers)?;
        Ok(Self {
            contestant,
            target: Target::new(server.address().clone(), Some(server.pid())),
            rounds: Vec::new(),
            tally: Tally::new(),
            _server: server,
        })
    }
}

/// What the race goes on under.
#[derive(Debug)]
struct Course {
    progress: Progress,
    interrupt: Interrupt,
    interrupted: bool,
}

impl Course {
    /// Runs all rounds of a phase, or as many as the user lets us.
    async fn run_phase(
        &mut self,
        load: &Load,
        rounds: u32,
        racers: &mut [Racer],
    ) -> Result<(), BenchError> {
        let warm_up = Load {
            duration: WARM_UP.min(load.duration),
            idle: 0,
            ..load.clone()
        };
        for racer in &mut *racers {
            self.measure(&warm_up, racer, &SharedTally::new()).await?;
            racer.rounds.clear();
            racer.tally = Tally::new();
        }
        for round in 1..=rounds {
            for racer in &mut *racers {
                let title = format!("round {round} of {rounds}, {}: ", racer.contestant);
                self.take_turn(title, load, racer).await?;
            }
        }
        Ok(())
    }

    /// Measures a racer for one round, which counts unless it was interrupted.
    async fn take_turn(
        &mut self,
        title: String,
        load: &Load,
        racer: &mut Racer,
    ) -> Result<(), BenchError> {
        let tally = SharedTally::new();
        let bar = self.progress.clone();
        let turn = self.measure(load, racer, &tally);
        let Some(measurement) = bar.during(title, load.duration, &tally, turn).await? else {
            return Ok(());
        };
        racer.tally.merge(&measurement.tally);
        racer.rounds.push(Summary::of(&measurement));
        Ok(())
    }

    /// Measures a racer, or returns `None` if the user has had enough.
    async fn measure(
        &mut self,
        load: &Load,
        racer: &mut Racer,
        tally: &SharedTally,
    ) -> Result<Option<Measurement>, BenchError> {
        if self.interrupted {
            return Ok(None);
        }
        let measuring = racer.target.measure(load, tally, &mut self.interrupt);
        let measurement = measuring.await?;
        self.interrupted = measurement.interrupted;
        Ok((!self.interrupted).then_some(measurement))
    }
}

/// How a phase went.
#[derive(Debug, Serialize)]
struct Phase {
    load: Load,
    #[serde(flatten)]
    ranking: Ranking,
    #[serde(skip)]
    chart: Chart,
}

impl Phase {
    /// Takes the figures of the phase that the racers have run.
    fn of(load: Load, racers: &mut [Racer]) -> Self {
        let curves = racers
            .iter()
            .map(|racer| (racer.contestant.to_string(), racer.tally.clone()));
        let chart = Chart {
            title: load.to_string(),
            curves: curves.collect(),
        };
        let rounds = racers
            .iter_mut()
            .map(|racer| (racer.contestant, mem::take(&mut racer.rounds)));
        Self {
            load,
            ranking: Ranking::of(rounds.collect()),
            chart,
        }
    }
}

fn print(phase: &Phase) {
    let rounds = phase.ranking.rounds();
    println!("{} (medians; rounds: {rounds})", phase.load);
    println!("{}", table::of_ranking(&phase.ranking, &phase.load));
    for standing in &phase.ranking.contestants {
        if standing.failures.total() > 0 {
            println!("{}: {}", standing.name, table::describe(&standing.failures));
        }
    }
    println!();
}
