//! A server's answers as people read them.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

/// The bytes of a mebibyte.
const MIB: f64 = 1024.0 * 1024.0;

/// A line for each thing that a server says of itself.
pub(super) fn status(status: &Value) -> String {
    let Value::Object(fields) = status else {
        return format!("{status}\n");
    };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let lines = fields.iter().map(|(name, value)| {
        let (name, value) = match name.strip_suffix("_ms") {
            Some(name) => (name, time(value)),
            None => (name.as_str(), plain(value)),
        };
        format!("{name:width$}  {value}\n")
    });
    lines.collect()
}

/// A line for each worker.
pub(crate) fn workers(workers: &Value) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "ID",
        "GENERATION",
        "PID",
        "STATE",
        "CONNECTIONS",
        "SERVED",
        "AGE",
        "MEMORY",
    ]);
    for worker in workers.as_array().into_iter().flatten() {
        table.add_row([
            plain(&worker["worker"]),
            plain(&worker["generation"]),
            plain(&worker["pid"]),
            plain(&worker["state"]),
            plain(&worker["connections"]),
            plain(&worker["served"]),
            time(&worker["age_ms"]),
            memory(&worker["memory_bytes"]),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.lines();
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What happens to the workers that an answer names.
pub(super) fn about(what: &str, ok: &Value) -> String {
    let workers = ok["workers"].as_array().into_iter().flatten();
    let workers: Vec<String> = workers.map(plain).collect();
    if workers.is_empty() {
        return format!("no worker is {what} that was not before\n");
    }
    format!("{what}: {}\n", workers.join(", "))
}

/// One event, on a line: what happened, then its particulars. The line before the first says nothing.
pub(super) fn event(event: &Value) -> String {
    let Value::Object(fields) = event else {
        return String::new();
    };
    let mut line = plain(&event["type"]);
    let particulars = fields.iter().filter(|(name, _)| *name != "type");
    for (name, value) in particulars.filter(|(_, value)| !value.is_null()) {
        line.push_str(&format!(" {name}={value}"));
    }
    line.push('\n');
    line
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(members) => members.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A time in milliseconds.
pub(crate) fn time(millis: &Value) -> String {
    let Some(millis) = millis.as_u64() else {
        return plain(millis);
    };
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", millis % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A size in bytes.
pub(crate) fn memory(bytes: &Value) -> String {
    let mib = bytes.as_f64().map(|bytes| bytes / MIB);
    mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.1} MiB"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_a_line_for_each_thing() {
        let shown = status(&json!({ "pid": 7, "uptime_ms": 61_500, "addresses": ["a", "b"] }));

        assert_eq!(shown, "addresses  a b\npid        7\nuptime     1m01s\n");
    }

    #[test]
    fn an_event_is_one_line() {
        let shown = event(&json!({ "type": "worker-exited", "worker": 3, "pid": null }));

        assert_eq!(shown, "worker-exited worker=3\n");
    }

    #[test]
    fn workers_are_a_table() {
        let shown = workers(&json!([{ "worker": 0, "pid": 12, "state": "ready",
            "memory_bytes": 3 * 1024 * 1024, "age_ms": 5_250, "served": 9 }]));

        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("GENERATION"), "{shown}");
        assert!(lines[1].contains("ready"), "{shown}");
        assert!(lines[1].ends_with("5.2s  3.0 MiB"), "{shown}");
    }
}
