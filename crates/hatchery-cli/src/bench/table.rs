//! Figures as tables on a terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::failure::Failures;
use super::load::Load;
use super::report::{Ranking, Standing};
use super::summary::Summary;

const NOT_MEASURED: &str = "–";

/// Returns the table of one measurement, with a line for each figure.
pub(super) fn of_summary(summary: &Summary, load: &Load) -> Table {
    let operations = load.operations_name();
    let latency = &summary.latency_us;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let mut line = |name: &str, value: String| {
        table.add_row([name.into(), right(value)]);
    };
    line(operations, summary.operations.to_string());
    line(
        &format!("{operations}/s"),
        format!("{:.0}", summary.throughput_per_s),
    );
    line("p50", time(latency.p50));
    line("p90", time(latency.p90));
    line("p99", time(latency.p99));
    line("p99.9", time(latency.p99_9));
    line("max", time(latency.max));
    if let Some(cpu) = summary.cpu_us_per_operation {
        let name = format!("server CPU µs/{}", operations.trim_end_matches('s'));
        line(&name, format!("{cpu:.2}"));
    }
    if load.rate.is_some() {
        line("not sent in time", summary.unsent.to_string());
    }
    if load.idle > 0 {
        let value = format!("{} of {}", summary.idle_alive, load.idle);
        line("idle connections alive", value);
    }
    for (failure, count) in summary.failures.iter() {
        line(failure.name(), count.to_string());
    }
    table
}

/// Returns the table of one phase of a comparison, with a line for each contestant.
pub(super) fn of_ranking(ranking: &Ranking, load: &Load) -> Table {
    let operations = load.operations_name();
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let mut header = vec![
        "contestant".to_owned(),
        format!("{operations}/s"),
        "p50".to_owned(),
        "p99".to_owned(),
        "errors".to_owned(),
        format!("CPU µs/\n{}", operations.trim_end_matches('s')),
    ];
    for baseline in &ranking.baselines {
        // On several lines, or the table would be wider than a terminal.
        let name = baseline.to_string().replace(' ', "\n");
        header.push(format!("CPU ×\n{name}"));
    }
    table.set_header(header);
    for standing in &ranking.contestants {
        table.add_row(line_of(standing));
    }
    table
}

/// Returns what went wrong, as in `3 refused, 1 timed out`.
pub(super) fn describe(failures: &Failures) -> String {
    let parts: Vec<String> = failures
        .iter()
        .filter(|&(_, count)| count > 0)
        .map(|(failure, count)| format!("{count} {}", failure.name()))
        .collect();
    parts.join(", ")
}

fn line_of(standing: &Standing) -> Vec<Cell> {
    let median = &standing.median;
    let number = |digits: usize| move |number: f64| format!("{number:.digits$}");
    let mut cells = vec![Cell::new(standing.name)];
    cells.extend(
        [
            median.throughput_per_s.map(number(0)),
            median.p50_us.map(time),
            median.p99_us.map(time),
            Some(standing.failures.total().to_string()),
            median.cpu_us_per_operation.map(number(2)),
        ]
        .into_iter()
        .chain(standing.cpu_ratios.iter().map(|ratio| ratio.map(number(3))))
        .map(|text| right(text.unwrap_or_else(|| NOT_MEASURED.to_owned()))),
    );
    cells
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Returns microseconds in the unit that suits them, with three digits; 0 was not measured.
pub(super) fn time(micros: f64) -> String {
    if micros == 0.0 {
        return NOT_MEASURED.to_owned();
    }
    let (value, unit) = if micros < 1e3 {
        (micros, "µs")
    } else if micros < 1e6 {
        (micros / 1e3, "ms")
    } else {
        (micros / 1e6, "s")
    };
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::super::failure::Failure;
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_the_unit_that_suits_it() {
        assert_eq!(time(7.0), "7.00 µs");
        assert_eq!(time(412.3), "412 µs");
        assert_eq!(time(12_340.0), "12.3 ms");
        assert_eq!(time(2_100_000.0), "2.10 s");
    }

    #[test]
    fn only_failures_that_happened_are_described() {
        let mut failures = Failures::default();
        failures.add(Failure::Refused);
        failures.add(Failure::TimedOut);
        failures.add(Failure::TimedOut);
        assert_eq!(describe(&failures), "1 refused, 2 timed out");
    }
}
