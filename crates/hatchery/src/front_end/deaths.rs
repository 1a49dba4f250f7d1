//! Telling of deaths: the report of each, and what the breaker makes of many.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use hatchery_process::{StartError, Usage, WaitError};
use rustix::process::Signal;

use super::FrontEnd;
use super::breaker::BreakerNews;
use super::commanding::{millis, number};
use super::member::CrewMember;
use crate::control::{BreakerState, ServerEvent, WorkerExit};
use crate::error::with_causes;

/// How a worker came to be gone.
#[derive(Debug)]
pub(super) enum Gone {
    NotStarted(StartError),
    Exited(Result<ExitStatus, WaitError>, Option<Usage>),
}

/// What became of the connections that a worker had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estate {
    /// Those that it had not used.
    pub(super) leased: usize,
    pub(super) in_hand: u32,
    pub(super) passed_on: usize,
    /// How many it had been given.
    pub(super) served: u32,
    /// When it was last seen to do something.
    pub(super) heard: Option<Duration>,
}

impl FrontEnd {
    /// Tells of a worker's death: quietly if it was meant to end.
    pub(super) fn report_death(
        &mut self,
        member: &CrewMember,
        how: &Gone,
        is_expected: bool,
        estate: Estate,
    ) {
        let now = self.alarm.now();
        let usage = how.usage();
        let exit = WorkerExit {
            worker: number(member.key.seat),
            generation: member.key.generation,
            pid: member.pid(),
            how: how.to_string(),
            exit_code: how.status().and_then(|status| status.code()),
            signal: how.signal(),
            core_dumped: how.status().is_some_and(|status| status.core_dumped()),
            oom_killed: how.is_kill() && !member.is_killed && self.children.oom.take(),
            complaint: member.complaint.clone(),
            is_expected,
            leased: estate.leased,
            in_hand: estate.in_hand,
            passed_on: estate.passed_on,
            served: estate.served,
            age_ms: millis(now.saturating_sub(member.since)),
            quiet_ms: estate.heard.map(|at| millis(now.saturating_sub(at))),
            cpu_user_ms: usage.map(|usage| millis(usage.user)),
            cpu_system_ms: usage.map(|usage| millis(usage.system)),
            memory_peak_bytes: usage.map(|usage| usage.memory_peak),
        };
        log(&exit);
        self.outside.tell(ServerEvent::WorkerExited(exit));
    }

    /// Tells of the breaker, for it concerns whoever looks after the server.
    pub(super) fn tell_of_breaker(&self, news: BreakerNews) {
        let (ready, wanted) = (self.staff.ready_posts(), self.staff.wanted());
        match news {
            BreakerNews::Opened { deaths, pause } => {
                let window = self.plan.workers.restart_window;
                tracing::error!(
                    deaths,
                    ?window,
                    ?pause,
                    ready,
                    wanted,
                    "workers die too often: none is started for a while, and who lives works on"
                );
                self.outside.tell(ServerEvent::BreakerOpened {
                    deaths,
                    pause_ms: millis(pause),
                    ready,
                    wanted,
                });
            }
            BreakerNews::Trying => {
                tracing::warn!(
                    ready,
                    wanted,
                    "one worker is started, to see whether it lasts"
                );
                self.outside.tell(ServerEvent::BreakerTrying);
            }
            BreakerNews::Failed { pause } => {
                tracing::error!(?pause, ready, wanted, "the worker that was tried died too");
                let pause_ms = millis(pause);
                self.outside
                    .tell(ServerEvent::BreakerTrialFailed { pause_ms });
            }
            BreakerNews::Closed => {
                tracing::warn!(ready, wanted, "workers last again, and all are started");
                self.outside.tell(ServerEvent::BreakerClosed);
            }
        }
    }

    /// Whether workers that die are replaced.
    pub(super) fn breaker_state(&self) -> BreakerState {
        let breaker = self.staff.breaker();
        match breaker.trial() {
            Some(_) => BreakerState::HalfOpen,
            None if breaker.is_closed() => BreakerState::Closed,
            None => BreakerState::Open,
        }
    }
}

/// Logs a death as one line.
fn log(exit: &WorkerExit) {
    /// The same fields at either level.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                worker = exit.worker,
                generation = exit.generation,
                pid = exit.pid,
                complaint = exit.complaint,
                core_dumped = exit.core_dumped.then_some(true),
                oom_killed = exit.oom_killed.then_some(true),
                in_hand = exit.in_hand,
                leased = exit.leased,
                passed_on = exit.passed_on,
                served = exit.served,
                age_ms = exit.age_ms,
                quiet_ms = exit.quiet_ms,
                cpu_user_ms = exit.cpu_user_ms,
                cpu_system_ms = exit.cpu_system_ms,
                memory_peak_bytes = exit.memory_peak_bytes,
                "a worker {}",
                exit.how
            )
        };
    }
    if exit.is_expected {
        line!(info);
    } else {
        line!(warn);
    }
}

impl Gone {
    fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Exited(Ok(status), _) => Some(*status),
            Self::Exited(Err(_), _) | Self::NotStarted(_) => None,
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Exited(_, usage) => *usage,
            Self::NotStarted(_) => None,
        }
    }

    fn signal(&self) -> Option<i32> {
        self.status().and_then(|status| status.signal())
    }

    fn is_kill(&self) -> bool {
        self.signal() == Some(Signal::KILL.as_raw())
    }

    pub(super) fn is_success(&self) -> bool {
        self.status().is_some_and(|status| status.success())
    }

    /// Whether the worker chose to end, rather than being killed.
    pub(super) fn is_by_itself(&self) -> bool {
        self.status().is_some_and(|status| status.code().is_some())
    }

    /// Whether there was no worker, or it ended or crashed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self, Self::NotStarted(_)) || self.is_own_doing()
    }

    /// Whether the worker ended or crashed, rather than being told or made to end by others.
    pub(super) fn is_own_doing(&self) -> bool {
        let from_outside = [Signal::KILL, Signal::TERM].map(Signal::as_raw);
        let signal = self.signal();
        self.status().is_some() && signal.is_none_or(|signal| !from_outside.contains(&signal))
    }
}

impl std::fmt::Display for Gone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted(error) => write!(formatter, "was not started: {}", with_causes(error)),
            Self::Exited(Ok(status), _) => write!(formatter, "ended with {status}"),
            Self::Exited(Err(error), _) => write!(formatter, "ended: {error}"),
        }
    }
}
