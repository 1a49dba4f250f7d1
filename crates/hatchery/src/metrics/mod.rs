//! What all processes of a server count, in one place.
//!
//! Each worker writes to a page of its own, in memory that it shares with the front end; the
//! [`Board`] reads them all whenever somebody asks. What a dead worker has counted stays in the
//! totals. Nothing here waits, and nobody is told: whoever wants to know looks.

mod board;
#[cfg(test)]
mod chapter;
mod histogram;
mod history;
mod page;
#[cfg(feature = "metrics")]
mod recorder;
#[cfg(any(test, feature = "metrics"))]
mod registering;
mod series;
mod table;
mod text;
mod totals;

pub(crate) use self::board::{Board, Sight};
pub(crate) use self::histogram::Histogram;
pub(crate) use self::history::LoggedEvent;
pub(crate) use self::page::{Page, Tally};
#[cfg(feature = "metrics")]
pub(crate) use self::recorder::install;
pub(crate) use self::text::exposition;

/// The time of a clock that all processes share, in nanoseconds.
pub(crate) fn clock_nanos() -> u64 {
    u64::try_from(hatchery_process::monotonic().as_nanos()).unwrap_or(u64::MAX)
}
