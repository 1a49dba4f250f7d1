//! The options of `hatchery bench`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::contestant::Contestant;
use super::duration;
use super::load::Load;
use super::stream::Address;

/// How long to measure a server that runs already.
const CONNECT_DURATION: Duration = Duration::from_secs(5);
/// How long to measure each contestant in each round.
const COMPARE_DURATION: Duration = Duration::from_secs(2);
/// The largest message.
const SIZE_BYTES_MAX: u64 = 64 << 20;

const ABOUT: &str = "\
Puts load on an echo server and checks every byte of its replies.

The server answers every message with the same bytes in ASCII upper case. With --connect, a server \
that runs already is measured. Without it, Hatchery is compared with servers made without it: all \
of them are started and warmed up first and run until the end, for a server that has nothing to \
do costs nothing; then they are measured in turn, round after round, and what is reported are \
medians over the rounds.

Requests are sent in a closed loop, in which each connection waits for the reply before it sends \
again, or with --rate in an open loop, in which latency counts from when a request was to be \
sent.";

const EXAMPLES: &str = "\
Examples:
  hatchery bench                                        compare all servers
  hatchery bench --only tokio,reuseport --phase churn   compare two, with short connections
  hatchery bench --connect 127.0.0.1:7000 --pid 4711    measure a server, and its CPU time
  hatchery bench --connect unix:/run/echo.sock --rate 5000 --plot latency.svg

Exit code 1 means that connections were refused or lost before a handler had them, that bytes
were wrong, or that nothing was answered at all.";

/// Measure an echo server, or compare several.
#[derive(Debug, Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Measure the server that runs at ip:port or unix:/path.
    #[arg(long, value_name = "ADDR")]
    pub(super) connect: Option<Address>,
    /// Connections that send at the same time.
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_count,
        allow_negative_numbers = true)]
    connections: NonZeroU32,
    /// Send so many requests per second in all (open loop).
    #[arg(long, value_name = "R", value_parser = parse_rate,
        allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Open a new connection for each request; when comparing, the same as --phase churn.
    #[arg(long)]
    churn: bool,
    /// Hold so many more connections open and silent, and see at the end whether they live.
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..))]
    idle: u32,
    /// Length of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 64, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(1..=SIZE_BYTES_MAX))]
    size: u64,
    /// How long to send, as in 500ms, 5s or 1m [default: 5s, or 2s each when comparing].
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    duration: Option<Duration>,
    /// How long to wait for a reply.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,
    /// Pid of the server's main process, to account for the CPU time of it and its descendants.
    #[arg(long, value_name = "PID", requires = "connect", value_parser = parse_count,
        allow_negative_numbers = true)]
    pub(super) pid: Option<NonZeroU32>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
    /// Draw the distribution of the latency.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<PathBuf>,
    /// How often to measure each contestant.
    #[arg(
        long,
        value_name = "N",
        default_value = "7",
        value_parser = parse_count,
        allow_negative_numbers = true,
        conflicts_with = "connect"
    )]
    pub(super) rounds: NonZeroU32,
    /// Worker processes, or threads, of each contestant.
    #[arg(long, value_name = "N", default_value_t = 2, conflicts_with = "connect",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) workers: u16,
    /// Compare with connections that last, with one for each request, or both.
    #[arg(long, value_enum, default_value = "both", conflicts_with_all = ["connect", "churn"])]
    phase: Phases,
    /// Compare these only.
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with = "connect"
    )]
    only: Vec<Contestant>,
}

impl BenchArgs {
    /// Returns the load on a server that runs already.
    pub(super) fn load(&self) -> Load {
        Load {
            connections: self.connections.get(),
            rate: self.rate,
            churn: self.churn,
            idle: self.idle,
            size_bytes: usize::try_from(self.size).expect("the size was checked to be small"),
            duration: self.duration.unwrap_or(CONNECT_DURATION),
            timeout: self.timeout,
        }
    }

    /// Returns the loads to compare under, one for each phase.
    pub(super) fn phases(&self) -> Vec<Load> {
        let churns: &[bool] = match self.phase {
            _ if self.churn => &[true],
            Phases::Persistent => &[false],
            Phases::Churn => &[true],
            Phases::Both => &[false, true],
        };
        let phase = |&churn| Load {
            churn,
            duration: self.duration.unwrap_or(COMPARE_DURATION),
            ..self.load()
        };
        churns.iter().map(phase).collect()
    }

    /// Returns who is compared, in the order of their turns.
    pub(super) fn contestants(&self) -> Vec<Contestant> {
        let is_in =
            |contestant: &Contestant| self.only.is_empty() || self.only.contains(contestant);
        Contestant::value_variants()
            .iter()
            .copied()
            .filter(is_in)
            .collect()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Phases {
    Persistent,
    Churn,
    Both,
}

fn parse_count(text: &str) -> Result<NonZeroU32, ParseCountError> {
    text.parse().map_err(|_| ParseCountError)
}

#[derive(Debug, thiserror::Error)]
#[error("allowed: a whole number from 1 to {}", u32::MAX)]
struct ParseCountError;

fn parse_rate(text: &str) -> Result<f64, ParseRateError> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err(ParseRateError),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a rate is a number above zero")]
struct ParseRateError;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> Result<BenchArgs, clap::Error> {
        Command::try_parse_from(line.split(' ')).map(|command| command.bench)
    }

    #[test]
    fn both_phases_are_compared_unless_one_is_chosen() {
        for (line, churns) in [
            ("bench", [false, true].as_slice()),
            ("bench --churn", &[true]),
            ("bench --phase persistent", &[false]),
        ] {
            let phases = parse(line).unwrap().phases();
            let seen: Vec<bool> = phases.iter().map(|load| load.churn).collect();
            assert_eq!(seen, churns);
        }
    }

    #[test]
    fn chosen_contestants_keep_the_order_of_turns() {
        let args = parse("bench --only reuseport,tokio").unwrap();
        assert_eq!(
            args.contestants(),
            [Contestant::Tokio, Contestant::Reuseport]
        );
        assert_eq!(parse("bench").unwrap().contestants().len(), 4);
    }

    #[test]
    fn a_number_out_of_range_is_named_with_what_is_allowed() {
        for line in [
            "bench --connections 0",
            "bench --rounds 0",
            "bench --rounds -1",
            "bench --connect 127.0.0.1:7000 --pid 0",
            "bench --idle -1",
            "bench --size 0",
            "bench --workers -1",
            "bench --rate -1",
        ] {
            let (_, value) = line.rsplit_once(' ').unwrap();

            let message = parse(line).unwrap_err().to_string();

            let first = message.lines().next().unwrap();
            assert!(first.contains(&format!("'{value}'")), "{line}: {message}");
            let words = ["from 1", "not in 1", "not in 0", "above zero"];
            let names_range = words.iter().any(|words| first.contains(words));
            assert!(names_range, "{line}: {message}");
        }
    }

    #[test]
    fn options_of_one_mode_are_refused_in_the_other() {
        assert!(parse("bench --pid 7").is_err());
        assert!(parse("bench --connect 127.0.0.1:7000 --pid 7").is_ok());
        assert!(parse("bench --connect 127.0.0.1:7000 --rounds 3").is_err());
        assert!(parse("bench --connect localhost").is_err());
        assert!(parse("bench --rate 0").is_err());
        assert!(parse("bench --rate NaN").is_err());
    }
}
