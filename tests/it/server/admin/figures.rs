//! What is counted, as Prometheus would read it.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::Shown;
use crate::server::client::Client;
use crate::support::{Deadline, eventually};

/// The samples of an exposition, by name and labels as they are written.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads an exposition, which has to follow the rules of the format.
    #[track_caller]
    fn read(text: &str) -> Self {
        let mut types = BTreeMap::new();
        let mut samples = BTreeMap::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is one family");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let name = series.split('{').next().unwrap_or_default();
            let is_valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            assert!(name.chars().all(is_valid), "{line}");
            let family = types.keys().any(|family| {
                let rest = name.strip_prefix(family.as_str());
                let is_histogram = types[family] == "histogram";
                match rest {
                    Some("_bucket" | "_sum" | "_count") => is_histogram,
                    Some("") => !is_histogram,
                    _ => false,
                }
            });
            assert!(family, "{line} belongs to a family before it");
            let is_counter = types.get(name).is_some_and(|kind| kind == "counter");
            assert!(!is_counter || name.ends_with("_total"), "{name}");
            let value: f64 = value.parse().expect("a value is a number");
            let before = samples.insert(series.to_owned(), value);
            assert_eq!(before, None, "{series} is there once");
        }
        Self(samples)
    }

    #[track_caller]
    fn of(&self, series: &str) -> f64 {
        let sample = self.0.get(series);
        *sample.unwrap_or_else(|| panic!("there is no {series} in {:?}", self.0.keys()))
    }

    fn of_or_zero(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }
}

impl Shown {
    #[track_caller]
    fn samples(&self) -> Samples {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("version=0.0.4"), "{}", answer.head);
        Samples::read(&answer.body)
    }

    /// Waits until a series reads as much.
    #[track_caller]
    fn await_sample(&self, series: &str, value: f64) {
        eventually(Deadline::usual(), series, || {
            self.samples().of_or_zero(series) == value
        });
    }
}

#[track_caller]
fn visit(mut client: Client, words: &str) {
    assert_eq!(client.ask(words), words.to_ascii_uppercase());
}

#[test]
fn counts_are_those_of_the_clients() {
    let shown = Shown::new("talk", "workers.count=3");

    for _ in 0..50 {
        visit(shown.server().client(), "on");
    }
    shown.server().client().say("fail on purpose");
    let held = shown.server().clients(2);

    shown.await_sample("hatchery_connections_finished_total", 51.0);
    shown.await_sample("hatchery_connections_total", 53.0);
    let samples = shown.samples();
    assert_eq!(samples.of("hatchery_connections_handed_total"), 53.0);
    assert_eq!(
        samples.of("hatchery_handler_failures_total{kind=\"error\"}"),
        1.0
    );
    // Fifty times "on" with its end of line, and the one that fails.
    assert_eq!(
        samples.of("hatchery_received_bytes_total"),
        50.0 * 3.0 + 16.0
    );
    assert_eq!(samples.of("hatchery_sent_bytes_total"), 50.0 * 3.0);
    assert_eq!(samples.of("hatchery_handler_duration_seconds_count"), 51.0);
    assert_eq!(samples.of("hatchery_handoff_duration_seconds_count"), 53.0);
    assert_eq!(samples.of("hatchery_workers{state=\"ready\"}"), 3.0);
    let in_use = (0..3).map(|worker| {
        samples.of(&format!(
            "hatchery_worker_connections{{worker=\"{worker}\"}}"
        ))
    });
    assert_eq!(in_use.sum::<f64>(), 2.0);
    drop(held);
}

#[test]
fn what_a_killed_worker_has_counted_stays_and_its_death_is_counted() {
    let shown = Shown::new("talk", "workers.count=1");
    visit(shown.server().client(), "on");
    let mut lost = shown.server().client();
    assert_eq!(lost.ask("count 5"), "counted");
    shown.await_sample("hatchery_connections_finished_total", 1.0);

    shown.server().worker(0).signal(Signal::KILL);

    shown.await_sample("hatchery_worker_restarts_total", 1.0);
    let mut next = shown.server().client();
    assert_eq!(next.ask("count 7"), "counted");
    let samples = shown.samples();
    assert_eq!(samples.of("hatchery_worker_deaths_total"), 1.0);
    assert_eq!(samples.of("hatchery_connections_lost_total"), 1.0);
    assert_eq!(samples.of("hatchery_connections_finished_total"), 1.0);
    assert_eq!(samples.of("fixture_eggs_total{nest=\"a \\\"b\\\"\"}"), 12.0);
    assert_eq!(samples.of("fixture_brooding_seconds_count"), 2.0);
    assert_eq!(
        samples.of("fixture_brooding_seconds_bucket{le=\"0.25\"}"),
        2.0
    );
}

#[test]
fn what_the_program_counts_is_summed_over_all_workers() {
    let shown = Shown::new("talk", "workers.count=2 server.dispatch=round-robin");
    let mut clients = shown.server().clients(2);
    assert_ne!(clients[0].worker(), clients[1].worker());

    for client in &mut clients {
        assert_eq!(client.ask("count 4"), "counted");
    }

    let samples = shown.samples();
    assert_eq!(samples.of("fixture_eggs_total{nest=\"a \\\"b\\\"\"}"), 8.0);
}

#[test]
fn whoever_is_turned_away_is_counted() {
    let settings =
        "workers.count=1 workers.max_concurrency=1 server.overload=reject server.queue_length=0";
    let shown = Shown::new("talk", settings);
    let mut held = shown.server().client();
    assert_eq!(held.ask("on"), "ON");

    for _ in 0..5 {
        let _told = shown.server().client().hear();
    }

    shown.await_sample("hatchery_connections_rejected_total", 5.0);
}

#[test]
fn a_server_whose_workers_block_or_accept_counts_as_well() {
    for (body, settings) in [("blocking", ""), ("talk", "server.dispatch=direct")] {
        let shown = Shown::new(body, settings);

        for _ in 0..10 {
            visit(shown.server().client(), "on");
        }

        shown.await_sample("hatchery_connections_finished_total", 10.0);
        let samples = shown.samples();
        assert_eq!(samples.of("hatchery_connections_total"), 10.0, "{body}");
        assert_eq!(samples.of("hatchery_handler_duration_seconds_count"), 10.0);
    }
}
