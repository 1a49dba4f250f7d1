//! The board in the text format of Prometheus.

use std::fmt::{Display, Write};

use super::board::Sight;
use super::histogram::Histogram;
use super::page::Tally;
use super::series::{BOUNDS, Reading};
use crate::control::{ServerStatus, WorkerState, WorkerStatus};

/// What the names of the server's own metrics begin with; no series of the program's may.
const PREFIX: &str = "hatchery_";

/// Writes all that is known, as `/metrics` answers.
pub(crate) fn exposition(sight: &Sight, status: &ServerStatus, workers: &[WorkerStatus]) -> String {
    let mut text = Text::default();
    text.connections(sight);
    text.life(sight);
    text.now(status);
    text.workers(workers);
    text.histogram(
        "hatchery_handler_duration_seconds",
        "How long connections were in a worker's hands.",
        &sight.totals.counts.held,
    );
    text.histogram(
        "hatchery_handoff_duration_seconds",
        "How long connections were on their way from the front end to a worker.",
        &sight.totals.counts.on_the_way,
    );
    let left_out = text.own_series(sight);
    let left_out = left_out + sight.totals.left_out + sight.totals.counts.of(Tally::Refused);
    text.counter(
        "hatchery_series_left_out_total",
        "Series of the program for which there was no room, or whose name is taken.",
        left_out,
    );
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn connections(&mut self, sight: &Sight) {
        let counts = &sight.totals.counts;
        for (name, help, value) in [
            ("connections", "Connections accepted.", sight.accepted),
            (
                "connections_handed",
                "Connections given to a worker, each time one was.",
                sight.handed,
            ),
            (
                "connections_declined",
                "Connections that a worker had no use for and gave back, each time one was.",
                sight.declined,
            ),
            (
                "connections_finished",
                "Connections that a worker had in its hands and has no more.",
                counts.of(Tally::Finished),
            ),
            (
                "connections_lost",
                "Connections lost with a worker that had used them.",
                sight.life.lost,
            ),
            (
                "connections_passed_on",
                "Connections of dead workers that went to others.",
                sight.life.passed_on,
            ),
            (
                "connections_rejected",
                "Connections turned away for want of room.",
                sight.rejected,
            ),
            (
                "received_bytes",
                "Bytes that asynchronous handlers read.",
                counts.of(Tally::BytesIn),
            ),
            (
                "sent_bytes",
                "Bytes that asynchronous handlers wrote.",
                counts.of(Tally::BytesOut),
            ),
        ] {
            self.counter(&format!("{PREFIX}{name}_total"), help, value);
        }
        let failures = [("error", Tally::Failed), ("panic", Tally::Panicked)];
        self.family(
            "hatchery_handler_failures_total",
            "counter",
            "Handlers that returned an error or panicked.",
        );
        for (kind, tally) in failures {
            let labels = [("kind", kind)];
            self.sample("hatchery_handler_failures_total", &labels, counts.of(tally));
        }
    }

    fn life(&mut self, sight: &Sight) {
        let life = &sight.life;
        for (name, help, value) in [
            ("worker_starts", "Workers started.", life.starts),
            (
                "worker_ends",
                "Workers that ended as they should.",
                life.ends,
            ),
            ("worker_deaths", "Workers that died.", life.deaths),
            (
                "worker_restarts",
                "Workers started in place of one that died.",
                life.restarts,
            ),
            ("reloads", "Reloads that have taken over.", life.reloads),
            (
                "reload_failures",
                "Reloads that have not.",
                life.failed_reloads,
            ),
        ] {
            self.counter(&format!("{PREFIX}{name}_total"), help, value);
        }
        let name = "hatchery_worker_recycles_total";
        self.family(name, "counter", "Workers replaced while they were well.");
        for (why, count) in &life.recycled {
            self.sample(name, &[("reason", why.name())], count);
        }
    }

    fn now(&mut self, status: &ServerStatus) {
        for (name, help, value) in [
            (
                "workers_wanted",
                "Workers that there should be.",
                status.wanted,
            ),
            (
                "queue_length",
                "Accepted connections that wait for a worker with room.",
                status.waiting,
            ),
            (
                "connections_parked",
                "Connections that their handlers have parked.",
                status.parked,
            ),
            (
                "connections_silent",
                "Connections that wait for their clients' first bytes.",
                status.silent,
            ),
        ] {
            let name = format!("{PREFIX}{name}");
            self.family(&name, "gauge", help);
            self.sample(&name, &[], value);
        }
        let name = "hatchery_uptime_seconds";
        self.family(name, "gauge", "How long the server has run.");
        self.sample(name, &[], status.uptime_ms as f64 / 1e3);
        let name = "hatchery_build_info";
        self.family(name, "gauge", "The version of the library.");
        self.sample(name, &[("version", status.version)], 1);
    }

    fn workers(&mut self, workers: &[WorkerStatus]) {
        let name = "hatchery_workers";
        self.family(name, "gauge", "Workers, by where they are in their lives.");
        for (state, label) in [
            (WorkerState::Starting, "starting"),
            (WorkerState::Ready, "ready"),
            (WorkerState::Retiring, "retiring"),
            (WorkerState::Draining, "draining"),
        ] {
            let count = workers.iter().filter(|worker| worker.state == state);
            self.sample(name, &[("state", label)], count.count());
        }
        let in_use = |worker: &WorkerStatus| Some(f64::from(worker.connections));
        let age = |worker: &WorkerStatus| Some(worker.age_ms as f64 / 1e3);
        let memory = |worker: &WorkerStatus| worker.memory_bytes.map(|bytes| bytes as f64);
        self.each_worker("connections", "Connections it has.", workers, in_use);
        self.each_worker("age_seconds", "How long there has been it.", workers, age);
        self.each_worker("memory_bytes", "Its resident memory.", workers, memory);
    }

    fn each_worker(
        &mut self,
        what: &str,
        help: &str,
        workers: &[WorkerStatus],
        value: impl Fn(&WorkerStatus) -> Option<f64>,
    ) {
        let name = format!("hatchery_worker_{what}");
        self.family(&name, "gauge", help);
        for worker in workers {
            if let Some(value) = value(worker) {
                self.sample(&name, &[("worker", &worker.worker.to_string())], value);
            }
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let bounds = Histogram::bounds_seconds();
        self.buckets(name, &[], bounds, histogram.buckets());
        self.sample(&format!("{name}_sum"), &[], histogram.sum_seconds());
        self.sample(&format!("{name}_count"), &[], histogram.count());
    }

    /// Writes buckets, each with all that are below it.
    fn buckets(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: impl Iterator<Item = f64>,
        buckets: &[u64],
    ) {
        let name = format!("{name}_bucket");
        let bounds = bounds.map(|bound| bound.to_string());
        let bounds = bounds.chain(std::iter::once("+Inf".to_owned()));
        let mut below = 0_u64;
        for (bound, &count) in bounds.zip(buckets) {
            below = below.saturating_add(count);
            let labels = [labels, &[("le", &bound)]].concat();
            self.sample(&name, &labels, below);
        }
    }

    /// Writes the program's own series; returns how many cannot be written.
    fn own_series(&mut self, sight: &Sight) -> u64 {
        let mut left_out = 0;
        let mut family = (String::new(), "");
        for ((name, labels), (help, reading)) in &sight.totals.series {
            let written = valid_name(name);
            let is_ours = written.starts_with(PREFIX);
            let is_other_type = family.0 == written && family.1 != reading.kind();
            if is_ours || is_other_type {
                left_out += 1;
                continue;
            }
            if family.0 != written {
                let help = help.as_deref().unwrap_or("Counted by the program.");
                self.family(&written, reading.kind(), help);
                family = (written, reading.kind());
            }
            self.own_sample(&family.0, labels, reading);
        }
        left_out
    }

    fn own_sample(&mut self, name: &str, labels: &[(String, String)], reading: &Reading) {
        let labels: Vec<(String, &str)> = labels
            .iter()
            .map(|(label, value)| (valid_label(label), value.as_str()))
            .collect();
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .map(|(label, value)| (label.as_str(), *value))
            .collect();
        match reading {
            Reading::Counter(value) => self.sample(name, &labels, value),
            Reading::Gauge(value) => self.sample(name, &labels, number(*value)),
            Reading::Histogram(buckets, sum) => {
                self.buckets(name, &labels, BOUNDS.into_iter(), &buckets[..]);
                let count = buckets
                    .iter()
                    .fold(0_u64, |sum, &it| sum.saturating_add(it));
                self.sample(&format!("{name}_sum"), &labels, number(*sum));
                self.sample(&format!("{name}_count"), &labels, count);
            }
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a string cannot fail.
        let _written = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let value = escaped(value);
            let _written = write!(self.0, "{label}=\"{value}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _written = writeln!(self.0, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

/// A number as Prometheus reads it.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        let sign = if value > 0.0 { "+" } else { "-" };
        format!("{sign}Inf")
    } else {
        value.to_string()
    }
}

/// The name, with `_` for what may not be in one.
fn valid_name(name: &str) -> String {
    valid(name, |letter| letter == ':')
}

fn valid_label(name: &str) -> String {
    valid(name, |_| false)
}

fn valid(name: &str, is_allowed_too: impl Fn(char) -> bool) -> String {
    let mut valid: String = name
        .chars()
        .map(|letter| match letter {
            _ if letter.is_ascii_alphanumeric() || is_allowed_too(letter) => letter,
            _ => '_',
        })
        .collect();
    if valid.is_empty() || valid.starts_with(|letter: char| letter.is_ascii_digit()) {
        valid.insert(0, '_');
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_in_a_name_becomes_an_underscore() {
        assert_eq!(valid_name("http.requests:all"), "http_requests:all");
        assert_eq!(valid_name("9lives"), "_9lives");
        assert_eq!(valid_name(""), "_");
        assert_eq!(valid_label("a:b"), "a_b");
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut text = Text::default();

        text.sample("eggs", &[("nest", "a\"b\\c\nd"), ("x", "y")], 3);

        assert_eq!(text.0, "eggs{nest=\"a\\\"b\\\\c\\nd\",x=\"y\"} 3\n");
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_infinity() {
        let mut text = Text::default();

        text.buckets("t", &[], [0.1, 1.0].into_iter(), &[2, 3, 1]);

        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(
            lines,
            [
                "t_bucket{le=\"0.1\"} 2",
                "t_bucket{le=\"1\"} 5",
                "t_bucket{le=\"+Inf\"} 6",
            ]
        );
    }
}
