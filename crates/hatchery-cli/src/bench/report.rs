//! A comparison, boiled down to medians.

use serde::Serialize;

use super::contestant::Contestant;
use super::failure::Failures;
use super::medians::{median, median_ratio};
use super::summary::Summary;

/// Whom the others' CPU time is compared with.
const BASELINES: [Contestant; 2] = [Contestant::Tokio, Contestant::Reuseport];

/// How the contestants did in one phase.
#[derive(Debug, Serialize)]
pub(super) struct Ranking {
    /// Whom the ratios refer to, as far as they took part.
    pub(super) baselines: Vec<Contestant>,
    /// In the order of their turns.
    pub(super) contestants: Vec<Standing>,
}

impl Ranking {
    /// Ranks contestants by their figures of each round.
    pub(super) fn of(rounds: Vec<(Contestant, Vec<Summary>)>) -> Self {
        let (baselines, baseline_cpus): (Vec<_>, Vec<_>) = BASELINES
            .into_iter()
            .filter_map(|baseline| {
                let (_, summaries) = rounds.iter().find(|(name, _)| *name == baseline)?;
                Some((baseline, cpu_of(summaries)))
            })
            .unzip();
        let contestants = rounds
            .into_iter()
            .map(|(name, rounds)| Standing::of(name, rounds, &baseline_cpus))
            .collect();
        Self {
            baselines,
            contestants,
        }
    }

    /// Returns how many rounds were measured in full.
    pub(super) fn rounds(&self) -> usize {
        let rounds = self
            .contestants
            .iter()
            .map(|standing| standing.rounds.len());
        rounds.min().unwrap_or(0)
    }

    /// Returns whether every server did what it must in every round.
    pub(super) fn is_good(&self) -> bool {
        let mut rounds = self
            .contestants
            .iter()
            .flat_map(|standing| &standing.rounds);
        rounds.all(Summary::is_good)
    }
}

/// How one contestant did.
#[derive(Debug, Serialize)]
pub(super) struct Standing {
    pub(super) name: Contestant,
    pub(super) median: Medians,
    /// The medians of the ratios of each round, in the order of the baselines.
    pub(super) cpu_ratios: Vec<Option<f64>>,
    /// All failures of all rounds.
    #[serde(skip)]
    pub(super) failures: Failures,
    pub(super) rounds: Vec<Summary>,
}

impl Standing {
    fn of(name: Contestant, rounds: Vec<Summary>, baseline_cpus: &[Vec<Option<f64>>]) -> Self {
        let cpu = cpu_of(&rounds);
        let mut failures = Failures::default();
        for round in &rounds {
            failures.merge(&round.failures);
        }
        Self {
            name,
            median: Medians::of(&rounds),
            cpu_ratios: baseline_cpus
                .iter()
                .map(|theirs| median_ratio(&cpu, theirs))
                .collect(),
            failures,
            rounds,
        }
    }
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Medians {
    pub(super) throughput_per_s: Option<f64>,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) cpu_us_per_operation: Option<f64>,
}

impl Medians {
    fn of(rounds: &[Summary]) -> Self {
        let over = |figure: fn(&Summary) -> f64| median(rounds.iter().map(figure));
        Self {
            throughput_per_s: over(|round| round.throughput_per_s),
            p50_us: over(|round| round.latency_us.p50),
            p99_us: over(|round| round.latency_us.p99),
            cpu_us_per_operation: median(rounds.iter().filter_map(|it| it.cpu_us_per_operation)),
        }
    }
}

fn cpu_of(rounds: &[Summary]) -> Vec<Option<f64>> {
    rounds
        .iter()
        .map(|round| round.cpu_us_per_operation)
        .collect()
}
