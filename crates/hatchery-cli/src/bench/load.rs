//! What load there is.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// How long a message over an idle connection is at most, which bounds the memory of many.
const IDLE_MESSAGE_BYTES_MAX: usize = 64;

/// A load on an echo server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Load {
    /// How many clients there are.
    pub(super) connections: u32,
    /// Requests per second over all clients, or as fast as the replies come.
    pub(super) rate: Option<f64>,
    /// Whether each request has a connection of its own.
    pub(super) churn: bool,
    /// How many connections are open and silent.
    pub(super) idle: u32,
    /// How long a message is.
    pub(super) size_bytes: usize,
    /// How long requests are sent.
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub(super) duration: Duration,
    /// How long a reply may take.
    #[serde(rename = "timeout_s", serialize_with = "seconds")]
    pub(super) timeout: Duration,
}

impl Load {
    /// Returns how many clients there are, idle or not.
    pub(super) fn clients(&self) -> u32 {
        self.connections.saturating_add(self.idle)
    }

    /// Returns what one request is, in the plural.
    pub(super) fn operations_name(&self) -> &'static str {
        if self.churn {
            "connections"
        } else {
            "requests"
        }
    }

    /// Returns the load of the idle connections, which is next to none.
    pub(super) fn of_idle(&self) -> Self {
        Self {
            size_bytes: self.size_bytes.min(IDLE_MESSAGE_BYTES_MAX),
            ..self.clone()
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            size_bytes,
            idle,
            ..
        } = self;
        write!(f, "{connections} connections")?;
        if self.churn {
            f.write_str(" at a time, one for each request")?;
        }
        if *idle > 0 {
            write!(f, ", {idle} idle")?;
        }
        write!(f, ", {size_bytes} B")?;
        match self.rate {
            Some(rate) => write!(f, ", {rate} per second"),
            None => Ok(()),
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
