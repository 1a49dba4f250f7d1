//! The chapter of the guide on metrics says what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::board::{Life, Sight};
use super::text::exposition;
use super::totals::Totals;
use crate::control::{BreakerState, Phase, Retirement, ServerStatus, WorkerState, WorkerStatus};

/// Where the chapter is.
const CHAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/observing.md");

/// Before this line the chapter is written by hand, after it by [`table`].
const MARK: &str =
    "<!-- What follows is written by REWRITE_GUIDE=1 cargo test -p hatchery --lib chapter -->\n";

#[test]
fn the_chapter_has_every_metric_that_is_written_and_no_other() {
    let chapter = fs::read_to_string(CHAPTER).unwrap();
    let (by_hand, _) = chapter.split_once(MARK).expect("the chapter has the mark");
    let expected = format!("{by_hand}{MARK}{}", table(&example()));
    if std::env::var_os("REWRITE_GUIDE").is_some() {
        fs::write(CHAPTER, &expected).unwrap();
        return;
    }

    assert!(
        chapter == expected,
        "{CHAPTER} is stale: run REWRITE_GUIDE=1 cargo test -p hatchery --lib chapter"
    );
}

#[test]
fn no_other_metric_is_spoken_of_in_the_chapter() {
    let chapter = fs::read_to_string(CHAPTER).unwrap();
    let written = example();
    let words = chapter.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');

    let spoken_of: BTreeSet<&str> = words
        .filter(|word| word.starts_with("hatchery_") && *word != "hatchery_")
        .collect();

    assert!(spoken_of.len() > 20, "{spoken_of:?}");
    for name in spoken_of {
        let is_written = written
            .lines()
            .any(|line| line.split(['{', ' ']).next() == Some(name))
            || written.contains(&format!("# TYPE {name} "));
        assert!(is_written, "{name}");
    }
}

/// All that a server with a worker writes.
fn example() -> String {
    let mut life = Life::default();
    life.recycled.push((Retirement::Age, 1));
    let sight = Sight {
        accepted: 0,
        handed: 0,
        declined: 0,
        rejected: 0,
        life,
        totals: Totals::default(),
        workers: BTreeMap::new(),
    };
    let status = ServerStatus {
        version: "1.0.0",
        pid: 1,
        phase: Phase::Serving,
        uptime_ms: 0,
        reloads: 0,
        addresses: Vec::new(),
        admin: None,
        wanted: 1,
        ready: 1,
        starting: 0,
        draining: 0,
        connections: 0,
        silent: 0,
        parked: 0,
        waiting: 0,
        breaker: BreakerState::Closed,
        accepted: 0,
        started: 1,
    };
    let worker = WorkerStatus {
        worker: 0,
        generation: 0,
        pid: Some(2),
        state: WorkerState::Ready,
        connections: 0,
        served: 0,
        age_ms: 0,
        memory_bytes: Some(1),
    };
    exposition(&sight, &status, &[worker])
}

/// Writes a table of what is in a text of Prometheus.
fn table(text: &str) -> String {
    let mut table = "\n| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let kind = lines.next().and_then(|line| line.rsplit(' ').next());
        let kind = kind.expect("the type follows");
        let labels = match lines.peek().and_then(|sample| sample.split_once('{')) {
            // The bounds of a histogram's buckets are nothing that one chooses.
            Some((_, labels)) if kind != "histogram" => {
                let label = labels.split('=').next().unwrap_or_default();
                format!("`{label}`")
            }
            _ => String::new(),
        };
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    table
}
