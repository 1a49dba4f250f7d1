//! Replacing workers that have served enough or grown too large: the successor comes first.

use std::time::Duration;

use super::roster::{Seat, Stage, mix};
use super::{FrontEnd, Phase};
use crate::config::ByteSize;
use crate::error::{Error, Result};

impl FrontEnd {
    /// Retires a worker that has served as many connections as it may.
    pub(super) fn retire_if_served(&mut self, seat: Seat, now: Duration) {
        let served = u64::from(self.roster.served(seat));
        self.retire_at(seat, served, now);
    }

    fn retire_at(&mut self, seat: Seat, served: u64, now: Duration) {
        let Some(member) = self.member(seat) else {
            return;
        };
        if member.retire_after == 0 || served < member.retire_after || member.is_retiring {
            return;
        }
        self.retire(seat, now, "it has served its connections");
    }

    /// Starts a successor; the worker drains once that is ready.
    fn retire(&mut self, seat: Seat, now: Duration, why: &str) {
        let Some(member) = self.member(seat) else {
            return;
        };
        member.is_retiring = true;
        let group = member.group;
        tracing::info!(worker = seat.0, "a worker retires: {why}");
        self.vacancies.push((group, now));
    }

    /// Looks for workers that have grown too large or, where they accept, served enough.
    pub(super) fn check_up_on_workers(&mut self) {
        let now = self.born.elapsed();
        let memory_max = self.plan.workers.max_memory.bytes();
        for seat in (0..self.crew.len()).map(Seat) {
            let Some(member) = self.member(seat) else {
                continue;
            };
            let received = u64::from(member.ledger.received());
            let memory = member.pid().and_then(resident_bytes).unwrap_or(0);
            // One that is too large from its start on, or becomes so by itself, would have a
            // successor that does too.
            let is_small_at_start = member.bytes_at_start.is_some_and(|it| it <= memory_max);
            let may_retire = is_small_at_start && received > 0 && !member.is_retiring;
            if self.plan.is_direct() {
                self.retire_at(seat, received, now);
            }
            if memory_max > 0 && memory > memory_max && may_retire {
                self.retire(seat, now, "it uses more memory than it may");
            }
        }
    }

    /// Notes how much memory a worker takes that is ready, where there is a limit.
    pub(super) fn weigh(&mut self, seat: Seat) {
        let memory_max = self.plan.workers.max_memory.bytes();
        let is_ready = self.roster.stage(seat) == Some(Stage::Ready);
        let announced = self.announced;
        let Some(member) = self.member(seat) else {
            return;
        };
        if memory_max == 0 || !is_ready || member.bytes_at_start.is_some() {
            return;
        }
        member.bytes_at_start = member.pid().and_then(resident_bytes);
        let is_large = member.bytes_at_start.is_some_and(|it| it > memory_max);
        if is_large && announced {
            let bytes = member.bytes_at_start;
            tracing::warn!(
                worker = seat.0,
                bytes,
                "a worker takes more than max_memory when it starts, and is not replaced for that"
            );
        }
    }

    /// Checks that a worker may grow before it is replaced: else none would last.
    pub(super) fn check_memory(&self) -> Result<()> {
        let limit = self.plan.workers.max_memory;
        let crew = self.crew.iter().flatten();
        let largest = crew.filter_map(|member| member.bytes_at_start).max();
        match largest {
            Some(bytes) if limit.bytes() > 0 && bytes > limit.bytes() => {
                Err(Error::MemoryTooSmall {
                    origin: self.plan.memory_origin.clone(),
                    limit,
                    at_start: ByteSize::new(bytes),
                })
            }
            _ => Ok(()),
        }
    }

    /// Lets retiring workers go for whom a successor is ready.
    pub(super) fn let_retire(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        while self.ready_count() > self.plan.count {
            let retiring = self.crew.iter().flatten().find(|member| {
                member.is_retiring
                    && member.outbox.is_empty()
                    && self.roster.stage(member.key.seat) == Some(Stage::Ready)
            });
            let Some(seat) = retiring.map(|member| member.key.seat) else {
                return;
            };
            if !self.drain(seat) {
                return;
            }
        }
    }

    /// After how many connections a worker retires, up to a tenth more than configured, so that
    /// workers that started together do not end together.
    pub(super) fn retirement(&self, generation: u32) -> u64 {
        let after = self.plan.workers.max_connections;
        if after == 0 {
            return 0;
        }
        after.saturating_add(mix(u64::from(generation)) % (after / 10 + 1))
    }
}

/// The resident memory of a process.
fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
