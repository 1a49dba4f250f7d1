//! Measuring one server that runs already.

use std::num::NonZeroU32;
use std::process::ExitCode;

use serde::Serialize;

use super::BenchError;
use super::args::BenchArgs;
use super::load::Load;
use super::plot::{self, Chart};
use super::progress::Progress;
use super::stream::Address;
use super::summary::Summary;
use super::table;
use super::tally::SharedTally;
use super::target::{Interrupt, Target};

/// Measures the server at `address` and prints what came of it.
///
/// # Errors
///
/// Returns [`BenchError`] if there is nothing to measure, or the result cannot be written.
pub(super) async fn run(args: &BenchArgs, address: &Address) -> Result<ExitCode, BenchError> {
    let load = args.load();
    let pid = args.pid.map(NonZeroU32::get);
    let mut target = Target::new(address.clone(), pid);
    let tally = SharedTally::new();
    let mut interrupt = Interrupt::new()?;
    let progress = Progress::new(load.duration);
    let measuring = target.measure(&load, &tally, &mut interrupt);
    let outcome = progress
        .during(String::new(), load.duration, &tally, measuring)
        .await;
    progress.clear();
    let measurement = outcome?;
    let summary = Summary::of(&measurement);

    if args.json {
        print_json(&load, address, &summary)?;
    } else {
        print_table(&load, address, &summary);
    }
    if let Some(path) = &args.plot {
        let chart = Chart {
            title: load.to_string(),
            curves: vec![(address.to_string(), measurement.tally)],
        };
        plot::draw(path, &[chart])?;
    }
    Ok(super::exit_code(summary.is_good()))
}

fn print_json(load: &Load, address: &Address, summary: &Summary) -> Result<(), BenchError> {
    #[derive(Serialize)]
    struct Report<'a> {
        address: String,
        load: &'a Load,
        result: &'a Summary,
    }
    let report = Report {
        address: address.to_string(),
        load,
        result: summary,
    };
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn print_table(load: &Load, address: &Address, summary: &Summary) {
    println!("{address}: {load}");
    println!("{}", table::of_summary(summary, load));
    if let Some(refusal) = &summary.first_refusal {
        println!("The first refusal: {refusal}.");
    }
    if summary.interrupted {
        println!("Stopped early, after {:.1} s.", summary.elapsed_s);
    }
}
