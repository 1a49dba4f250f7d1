//! What the servers are put under: load generators of others.

use std::process::Command;

use crate::Result;

/// How many connections are kept alive.
const CONNECTIONS: &str = "64";

/// A load generator, and what it speaks.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) is_tls: bool,
    generator: Generator,
}

#[derive(Clone, Copy, Debug)]
enum Generator {
    /// `wrk` speaks HTTP/1.1, a request at a time on each connection.
    Wrk,
    /// `h2load` speaks HTTP/2, with several streams on each connection.
    H2load,
}

pub(crate) const LOADS: &[Load] = &[
    Load {
        name: "HTTP/1.1, wrk",
        is_tls: false,
        generator: Generator::Wrk,
    },
    Load {
        name: "HTTP/2, h2load, 10 streams a connection",
        is_tls: false,
        generator: Generator::H2load,
    },
    Load {
        name: "HTTP/1.1 over TLS, wrk",
        is_tls: true,
        generator: Generator::Wrk,
    },
    Load {
        name: "HTTP/2 over TLS, h2load, 10 streams a connection",
        is_tls: true,
        generator: Generator::H2load,
    },
];

impl Load {
    /// Loads the server on `port` for so long; returns how many requests it has answered.
    pub(crate) fn run(&self, port: u16, seconds: u32) -> Result<u64> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}/");
        let mut command = match self.generator {
            Generator::Wrk => {
                let mut command = Command::new("wrk");
                command.args(["-t1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
                command
            }
            Generator::H2load => {
                let mut command = Command::new("h2load");
                command.args(["-t1", "-m10", "-c", CONNECTIONS, "-D", &seconds.to_string()]);
                command
            }
        };
        let output = (command.arg(&url).output())
            .map_err(|error| format!("{:?} cannot be run: {error}", command.get_program()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let requests = match self.generator {
            Generator::Wrk => wrk_requests(&text),
            Generator::H2load => h2load_requests(&text),
        };
        requests.ok_or_else(|| format!("{}: not all was answered:\n{text}", self.name).into())
    }
}

/// How many requests `wrk` had answered; `None` if one of them was not, or not well.
fn wrk_requests(text: &str) -> Option<u64> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| line.contains(" requests in "))?;
    line.split(' ')
        .next()?
        .parse()
        .ok()
        .filter(|&count| count > 0)
}

/// How many requests `h2load` had answered; `None` if one of them was not, or not well.
fn h2load_requests(text: &str) -> Option<u64> {
    // requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout
    let line = text.lines().find(|line| line.starts_with("requests: "))?;
    let count = |what: &str| -> Option<u64> {
        let mut parts = line["requests: ".len()..].split(", ");
        parts.find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
    };
    let is_well = ["failed", "errored", "timeout"]
        .iter()
        .all(|what| count(what) == Some(0));
    count("succeeded").filter(|&count| is_well && count > 0)
}
