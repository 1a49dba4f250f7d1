//! The `[workers]` section: how many worker processes there are, and how long one may live.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::error::{ValueError, ValueProblem};
use super::given::integer;
use super::size::ByteSize;
use super::value::Choice;

/// The worker processes, and how long one may live.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkersConfig {
    /// How many workers there are.
    pub count: WorkerCount,
    /// How many connections one worker may have at once.
    pub max_concurrency: NonZeroU32,
    /// After how many connections, give or take some jitter, a worker is recycled; 0 is never.
    pub max_connections: u64,
    /// Above how much memory a worker is recycled; 0 is never.
    ///
    /// A server whose workers take more than that when they start does not start.
    pub max_memory: ByteSize,
    /// What of a worker's memory counts for [`max_memory`](Self::max_memory).
    pub memory_measure: MemoryMeasure,
    /// After what time, give or take some jitter, a worker is recycled; zero is never.
    pub max_age: Duration,
    /// Above how many open descriptors, besides its connections, a worker is recycled; 0 is never.
    pub max_descriptors: u32,
    /// How many workers may be in the middle of being replaced: a successor on its way, or what
    /// they have still to be finished.
    pub max_unavailable: NonZeroU32,
    /// After how many deaths within [`restart_window`](Self::restart_window) no more workers are
    /// started for a while; 0 is never.
    pub restart_intensity: u32,
    /// Within what time [`restart_intensity`](Self::restart_intensity) deaths are too many; never
    /// zero.
    pub restart_window: Duration,
    /// How long no more workers are started then, and how long the one that is tried afterwards has
    /// to last before all are; never zero.
    pub restart_pause: Duration,
    /// How long a worker may take to become ready; never zero.
    pub start_timeout: Duration,
    /// After what time a worker is killed whose event loop stands still; zero is never.
    ///
    /// Time counts only while the front end itself runs on time: not while the machine sleeps or
    /// everything is stopped. Workers that block have no event loop.
    pub stall_timeout: Duration,
    /// After what time it is told that a handler still has its connection; zero is never.
    pub soft_deadline: Duration,
    /// After what time a worker is killed one of whose handlers still has its connection; zero is
    /// never.
    pub hard_deadline: Duration,
    /// How long a worker may take to finish what it has in hand; zero kills it at once.
    pub drain_timeout: Duration,
    /// How long a worker that did not finish may take to break off and close, before it is killed;
    /// zero kills it at once.
    pub kill_timeout: Duration,
    /// Whether `ps` shows what a process is, and of a worker its number and how many connections it has.
    pub titles: bool,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            count: WorkerCount::Auto,
            max_concurrency: const { NonZeroU32::new(1024).expect("1024 is not zero") },
            max_connections: 0,
            max_memory: ByteSize::new(0),
            memory_measure: MemoryMeasure::Resident,
            max_age: Duration::ZERO,
            max_descriptors: 0,
            max_unavailable: NonZeroU32::MIN,
            restart_intensity: 100,
            restart_window: Duration::from_secs(10),
            restart_pause: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            soft_deadline: Duration::ZERO,
            hard_deadline: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            kill_timeout: Duration::from_secs(5),
            titles: true,
        }
    }
}

/// What of a process's memory counts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum MemoryMeasure {
    /// All that is resident (RSS), whoever else has it.
    #[default]
    Resident,
    /// Of what several processes share only a share (PSS): what was preloaded counts once, over all
    /// processes.
    ///
    /// The kernel looks at every page to find that out. So it is asked only about workers with more
    /// than the limit resident, and about one of them a second; the front end accepts nothing
    /// meanwhile, which takes about 30 ms for each GiB.
    Proportional,
}

impl Choice for MemoryMeasure {
    const ALL: &'static [Self] = &[Self::Resident, Self::Proportional];
    const WHAT: &'static str = "a measure of memory";
    const ALLOWED: &'static str = r#""rss" or "pss""#;

    fn name(self) -> &'static str {
        match self {
            Self::Resident => "rss",
            Self::Proportional => "pss",
        }
    }
}

impl fmt::Display for MemoryMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MemoryMeasure {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::from_name(text)
    }
}

/// How many workers there are: `auto`, `2x` or `4`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WorkerCount {
    /// One for each CPU that the affinity and the cgroup allow.
    #[default]
    Auto,
    /// This many for each such CPU.
    Times(NonZeroU32),
    /// This many.
    Fixed(NonZeroU32),
}

impl WorkerCount {
    /// The most workers that any server has.
    pub const MAX: NonZeroU32 = NonZeroU32::new(1024).expect("1024 is not zero");

    pub(super) const ALLOWED: &str = r#""auto", a multiple of the CPUs such as "2x", or 1 to 1024"#;

    /// Returns the number of workers on this machine, at most [`WorkerCount::MAX`].
    pub fn resolve(self) -> NonZeroU32 {
        let cpus = u32::try_from(num_cpus::get()).unwrap_or(u32::MAX);
        self.resolve_for(NonZeroU32::new(cpus).unwrap_or(NonZeroU32::MIN))
    }

    fn resolve_for(self, cpus: NonZeroU32) -> NonZeroU32 {
        let count = match self {
            Self::Auto => cpus,
            Self::Times(times) => cpus.saturating_mul(times),
            Self::Fixed(count) => count,
        };
        count.min(Self::MAX)
    }

    pub(super) fn parse(text: &str) -> Result<Self, ValueProblem> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (number, make): (_, fn(NonZeroU32) -> Self) = match text.strip_suffix('x') {
            Some(times) => (times, Self::Times),
            None => (text, Self::Fixed),
        };
        let number = integer(number).ok_or(ValueProblem::Malformed("a number of workers"))?;
        u32::try_from(number)
            .ok()
            .and_then(NonZeroU32::new)
            .filter(|&number| number <= Self::MAX)
            .map(make)
            .ok_or(ValueProblem::OutOfRange)
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Times(times) => write!(f, "{times}x"),
            Self::Fixed(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for WorkerCount {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::parse(text).map_err(|problem| ValueError::of_text(text, problem, Self::ALLOWED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_for(text: &str, cpus: u32) -> u32 {
        let count: WorkerCount = text.parse().unwrap();
        count.resolve_for(NonZeroU32::new(cpus).unwrap()).get()
    }

    #[test]
    fn auto_is_the_cpus_and_a_multiple_multiplies_them() {
        assert_eq!(count_for("auto", 6), 6);
        assert_eq!(count_for("2x", 6), 12);
        assert_eq!(count_for("4", 6), 4);
        assert_eq!(count_for("1_000", 6), 1000);
    }

    #[test]
    fn no_count_passes_the_maximum() {
        assert_eq!(count_for("auto", u32::MAX), 1024);
        assert_eq!(count_for("1024x", u32::MAX), 1024);
        assert_eq!(
            WorkerCount::Fixed(NonZeroU32::MAX).resolve(),
            WorkerCount::MAX
        );
    }

    #[test]
    fn a_count_out_of_range_is_told_from_one_that_is_none() {
        for text in [
            "0",
            "0x",
            "-1",
            "1025",
            "1025x",
            "99999999999999999999999999999999999999999",
        ] {
            let error = text.parse::<WorkerCount>().unwrap_err();
            assert_eq!(error.problem, ValueProblem::OutOfRange, "{text}");
        }
        for text in ["", "x", "two", "2X", "2 x", "1.5x", "Auto", " 4"] {
            let error = text.parse::<WorkerCount>().unwrap_err();
            assert!(
                matches!(error.problem, ValueProblem::Malformed(_)),
                "{text}"
            );
        }
    }
}
