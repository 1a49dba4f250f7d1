//! Replacing workers that have served enough or grown too large: the successor comes first.

use std::time::Duration;

use super::FrontEnd;
use super::roster::{Seat, Stage, mix};
use crate::config::{ByteSize, MemoryMeasure};
use crate::control::{Retirement, ServerEvent};
use crate::error::{Error, Result};
use crate::server::Plan;

impl FrontEnd {
    /// Retires a worker that has served as many connections as it may.
    pub(super) fn retire_if_served(&mut self, seat: Seat) {
        let served = u64::from(self.roster.served(seat));
        self.retire_at(seat, served);
    }

    fn retire_at(&mut self, seat: Seat, served: u64) {
        let Some(member) = self.crew.get_mut(seat) else {
            return;
        };
        if member.retire_after > 0 && served >= member.retire_after {
            self.retire(seat, Retirement::Connections);
        }
    }

    /// Has a worker replaced: it drains once a successor is ready.
    pub(super) fn retire(&mut self, seat: Seat, why: Retirement) -> bool {
        let is_news = self.staff.retire(seat);
        if is_news {
            tracing::info!(worker = seat.0, "a worker retires: {}", why.words());
            self.tell_of(seat, |worker, generation| ServerEvent::WorkerRetiring {
                worker,
                generation,
                why,
            });
        }
        is_news
    }

    /// Looks for workers that have grown too large or, where they accept, served enough.
    pub(super) fn check_up_on_workers(&mut self) {
        for seat in self.crew.seats() {
            let Some(member) = self.crew.get_mut(seat) else {
                continue;
            };
            let received = u64::from(member.ledger.received());
            if self.plan.is_direct() {
                self.retire_at(seat, received);
            }
            // One that becomes too large by itself would have a successor that does too.
            if received > 0 {
                self.retire_if_too_open(seat);
            }
        }
        self.retire_the_too_heavy();
    }

    /// Retires workers that have grown too large.
    fn retire_the_too_heavy(&mut self) {
        let seats = self.crew.seats();
        let mut large: Vec<Seat> = seats.filter(|&seat| self.has_grown_large(seat)).collect();
        if self.plan.workers.memory_measure == MemoryMeasure::Proportional {
            // It takes long to find out, so it is one at a time: who was weighed the longest time ago.
            large.sort_by_key(|&seat| self.crew.get(seat).map(|it| it.weighed));
            large.truncate(1);
            large.retain(|&seat| self.is_too_heavy(seat));
        }
        for seat in large {
            self.retire(seat, Retirement::Memory);
        }
    }

    /// Whether more than the limit of a worker is resident, which was less when it started.
    fn has_grown_large(&self, seat: Seat) -> bool {
        let memory_max = self.plan.workers.max_memory.bytes();
        let member = self.crew.get(seat).filter(|_| memory_max > 0);
        member.is_some_and(|member| {
            // One that becomes too large by itself would have a successor that does too.
            let has_served = member.ledger.received() > 0;
            let is_small_at_start = member.bytes_at_start.is_some_and(|it| it <= memory_max);
            let resident = || member.pid().and_then(resident_bytes).unwrap_or(0);
            has_served && is_small_at_start && resident() > memory_max
        })
    }

    /// Whether the share of a worker in what is resident of it is too large.
    fn is_too_heavy(&mut self, seat: Seat) -> bool {
        let now = self.alarm.now();
        let memory_max = self.plan.workers.max_memory.bytes();
        self.crew.get_mut(seat).is_some_and(|member| {
            member.weighed = now;
            let share = member.pid().and_then(proportional_bytes);
            share.is_some_and(|bytes| bytes > memory_max)
        })
    }

    fn retire_if_too_open(&mut self, seat: Seat) {
        let open_max = self.plan.workers.max_descriptors;
        let held = self.roster.connections_of(seat);
        let Some(member) = self.crew.get_mut(seat).filter(|_| open_max > 0) else {
            return;
        };
        let open = member.pid().and_then(open_descriptors).unwrap_or(0);
        let is_few_at_start = member.open_at_start.is_some_and(|it| it <= open_max);
        if open.saturating_sub(held) > open_max && is_few_at_start {
            self.retire(seat, Retirement::Descriptors);
        }
    }

    /// Retires workers that are old enough.
    pub(super) fn expire_ages(&mut self, now: Duration) {
        for seat in self.crew.seats() {
            let Some(member) = self.crew.get_mut(seat) else {
                continue;
            };
            if member.retire_by.take_if(|by| *by <= now).is_some() {
                self.retire(seat, Retirement::Age);
            }
        }
    }

    /// Notes what a worker takes that is ready, where there is a limit.
    pub(super) fn weigh(&mut self, seat: Seat) {
        self.count_descriptors(seat);
        let (measure, limit) = (
            self.plan.workers.memory_measure,
            self.plan.workers.max_memory,
        );
        let memory_max = limit.bytes();
        let is_ready = self.roster.stage(seat) == Some(Stage::Ready);
        let announced = self.outside.is_announced();
        let Some(member) = self.crew.get_mut(seat) else {
            return;
        };
        if memory_max == 0 || !is_ready || member.bytes_at_start.is_some() {
            return;
        }
        member.bytes_at_start = member
            .pid()
            .and_then(|pid| bytes_at_start(pid, measure, limit));
        if member.bytes_at_start.is_none() && member.pid().is_some() {
            tracing::warn!(
                worker = seat.0,
                "a worker's memory cannot be measured, so it is not replaced for what it takes"
            );
        }
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

    fn count_descriptors(&mut self, seat: Seat) {
        let open_max = self.plan.workers.max_descriptors;
        let is_ready = self.roster.stage(seat) == Some(Stage::Ready);
        let Some(member) = self.crew.get_mut(seat).filter(|_| open_max > 0 && is_ready) else {
            return;
        };
        if member.open_at_start.is_none() {
            member.open_at_start = member.pid().and_then(open_descriptors);
            if let Some(open) = member.open_at_start.filter(|&open| open > open_max) {
                tracing::warn!(
                    worker = seat.0,
                    open,
                    "a worker has more than max_descriptors open when it starts, and is not replaced for that"
                );
            }
        }
    }

    /// Checks that a worker may grow before it is replaced: else none would last.
    pub(super) fn check_memory(&self) -> Result<()> {
        let crew = self.crew.iter();
        let largest = crew.filter_map(|member| member.bytes_at_start).max();
        largest.map_or(Ok(()), |bytes| check_at_start(&self.plan, bytes))
    }

    /// After how many connections a worker retires.
    pub(super) fn retirement(&self, generation: u32) -> u64 {
        spread(self.plan.workers.max_connections, generation)
    }

    /// When a worker retires that starts now.
    pub(super) fn retirement_age(&self, generation: u32, now: Duration) -> Option<Duration> {
        let age = u64::try_from(self.plan.workers.max_age.as_micros()).unwrap_or(u64::MAX);
        let age = spread(age, generation);
        (age > 0).then(|| now.saturating_add(Duration::from_micros(age)))
    }
}

/// Checks that a worker that takes so many bytes when it starts may grow.
pub(super) fn check_at_start(plan: &Plan, bytes: u64) -> Result<()> {
    let limit = plan.workers.max_memory;
    if limit.bytes() == 0 || bytes <= limit.bytes() {
        return Ok(());
    }
    Err(Error::MemoryTooSmall {
        origin: plan.memory_origin.clone(),
        limit,
        at_start: ByteSize::new(bytes),
    })
}

/// Up to a tenth more, so that workers that started together do not end together; 0 stays 0.
fn spread(limit: u64, generation: u32) -> u64 {
    if limit == 0 {
        return 0;
    }
    limit.saturating_add(mix(u64::from(generation)) % (limit / 10 + 1))
}

/// The resident memory of a process.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The memory of a process, of which what it shares counts in part.
fn proportional_bytes(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// What a worker that has just started takes; what it shares is looked at only if that matters.
pub(super) fn bytes_at_start(pid: u32, measure: MemoryMeasure, limit: ByteSize) -> Option<u64> {
    let resident = resident_bytes(pid)?;
    if measure == MemoryMeasure::Resident || resident <= limit.bytes() {
        return Some(resident);
    }
    proportional_bytes(pid)
}

/// How many descriptors a process has open.
fn open_descriptors(pid: u32) -> Option<u32> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    u32::try_from(descriptors.count()).ok()
}
