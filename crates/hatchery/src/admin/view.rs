//! What `/status.json` says, from which the page is drawn.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::control::{ServerStatus, WorkerStatus};
use crate::metrics::{Histogram, LoggedEvent, Sight, Tally};

/// The version of what is said.
const VERSION: u32 = 1;

/// All that is known of a server at one moment.
pub(super) fn status(
    sight: &Sight,
    server: &ServerStatus,
    workers: &[WorkerStatus],
    events: &[LoggedEvent],
) -> Value {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let counts = &sight.totals.counts;
    json!({
        "v": VERSION,
        "at_ms": since.map_or(0, |since| since.as_millis() as u64),
        "server": server,
        "workers": workers.iter().map(|it| worker(sight, it)).collect::<Vec<_>>(),
        "totals": totals(sight),
        "times": {
            "bounds": Histogram::bounds_seconds().collect::<Vec<_>>(),
            "held": counts.held.buckets(),
            "on_the_way": counts.on_the_way.buckets(),
        },
        "events": events,
    })
}

fn worker(sight: &Sight, status: &WorkerStatus) -> Value {
    let mut value = json!(status);
    value["restarts"] = sight.life.restarts_of(status.worker).into();
    if let Some(counts) = sight.workers.get(&status.generation) {
        value["finished"] = counts.of(Tally::Finished).into();
        value["failed"] = counts.of(Tally::Failed).into();
        value["panicked"] = counts.of(Tally::Panicked).into();
        value["bytes_in"] = counts.of(Tally::BytesIn).into();
        value["bytes_out"] = counts.of(Tally::BytesOut).into();
    }
    value
}

fn totals(sight: &Sight) -> Value {
    let (counts, life) = (&sight.totals.counts, &sight.life);
    json!({
        "accepted": sight.accepted,
        "handed": sight.handed,
        "declined": sight.declined,
        "rejected": sight.rejected,
        "finished": counts.of(Tally::Finished),
        "failed": counts.of(Tally::Failed),
        "panicked": counts.of(Tally::Panicked),
        "bytes_in": counts.of(Tally::BytesIn),
        "bytes_out": counts.of(Tally::BytesOut),
        "lost": life.lost,
        "passed_on": life.passed_on,
        "starts": life.starts,
        "ends": life.ends,
        "deaths": life.deaths,
        "restarts": life.restarts,
        "recycles": life.recycles(),
        "reloads": life.reloads,
    })
}
