//! Looking at workers that have work: whether their loops turn, and whether handlers take too long.

use std::time::Duration;

use hatchery_process::monotonic;

use super::FrontEnd;
use super::pulse::{Finding, Lapse, pace};
use super::roster::{Seat, Stage};
use crate::control::ServerEvent;
use crate::whereabouts::Whereabouts;

impl FrontEnd {
    /// Looks at all workers, if it is time to.
    pub(super) fn look_round(&mut self, now: Duration) {
        self.hear_pulses();
        let watched = [self.stall_timeout(), self.plan.workers.hard_deadline];
        let has_work = || self.crew.seats().any(|seat| self.is_watched(seat));
        let pace = pace(&watched).filter(|_| has_work());
        let Some(lapse) = self.crew.rounds.begin(pace, now) else {
            return;
        };
        for seat in self.crew.seats() {
            self.feel_pulse(seat, lapse);
            self.check_deadlines(seat, lapse);
        }
    }

    /// After what time a loop that stands still is given up; a worker that blocks has no loop.
    fn stall_timeout(&self) -> Duration {
        if self.plan.body.is_blocking {
            Duration::ZERO
        } else {
            self.plan.workers.stall_timeout
        }
    }

    /// Whether a worker has work, or was asked while it had.
    fn is_watched(&self, seat: Seat) -> bool {
        let Some(member) = self.crew.get(seat) else {
            return false;
        };
        // What a worker has that accepts for itself is not known here.
        let has_work = self.plan.is_direct() || self.roster.connections_of(seat) > 0;
        let is_set_up = !matches!(self.roster.stage(seat), None | Some(Stage::Starting));
        (is_set_up && has_work) || !member.pulse.is_quiet()
    }

    /// Takes in which loops have answered; one that was passed over gets connections again.
    fn hear_pulses(&mut self) {
        for seat in self.crew.seats() {
            let asked = self
                .crew
                .get_mut(seat)
                .filter(|member| !member.pulse.is_quiet());
            let Some(member) = asked else {
                continue;
            };
            if member.pulse.heard(member.ledger.beat()) == Finding::TakeBack {
                tracing::debug!(worker = seat.0, "a worker's loop turns again");
                self.roster.pass_over(seat, false);
                self.tell_of(seat, |worker, generation| ServerEvent::WorkerTurning {
                    worker,
                    generation,
                });
            }
        }
    }

    fn feel_pulse(&mut self, seat: Seat, lapse: Lapse) {
        let timeout = self.stall_timeout();
        let is_watched = !timeout.is_zero() && self.is_watched(seat);
        let Some(member) = self.crew.get_mut(seat).filter(|_| is_watched) else {
            return;
        };
        match member.pulse.wait(lapse, timeout) {
            Finding::PassOver => self.pass_over(seat),
            Finding::GiveUp => self.give_up_on(seat, timeout),
            _ if member.pulse.is_quiet() => member.ask(),
            _ => {}
        }
    }

    fn pass_over(&mut self, seat: Seat) {
        if self.plan.is_direct() {
            tracing::warn!(worker = seat.0, "a worker's loop does not turn");
        } else {
            tracing::warn!(
                worker = seat.0,
                "a worker's loop does not turn; it gets nothing until it does"
            );
        }
        self.roster.pass_over(seat, true);
        self.tell_of(seat, |worker, generation| ServerEvent::WorkerStalled {
            worker,
            generation,
        });
    }

    /// Kills a worker one of whose handlers is past its hard deadline.
    fn check_deadlines(&mut self, seat: Seat, lapse: Lapse) {
        let has_deadlines = !self.plan.workers.hard_deadline.is_zero();
        let Some(member) = self.crew.get_mut(seat).filter(|_| has_deadlines) else {
            return;
        };
        let handlers = member.ledger.deadlines();
        let Some(place) = member.overdue.look(handlers, monotonic(), lapse) else {
            return;
        };
        let connection = member.ledger.holder(place).unwrap_or_default();
        let pid = member.pid();
        let place = pid.map(Whereabouts::of).unwrap_or_default().to_string();
        let is_news = member.complaint.is_none();
        let complaint = &mut member.complaint;
        complaint.get_or_insert_with(|| {
            format!("the handler of connection {connection} was past its hard deadline")
        });
        member.kill();
        if is_news {
            tracing::error!(
                worker = seat.0,
                pid,
                connection,
                "a handler is past its hard deadline, and its worker is killed; it {place}"
            );
            self.tell_of(seat, |worker, generation| ServerEvent::HardDeadline {
                worker,
                generation,
                connection,
                place,
            });
        }
    }

    /// Kills a worker whose loop stands still.
    fn give_up_on(&mut self, seat: Seat, timeout: Duration) {
        let Some(member) = self.crew.get_mut(seat) else {
            return;
        };
        let pid = member.pid();
        let place = pid.map(Whereabouts::of).unwrap_or_default().to_string();
        tracing::error!(
            worker = seat.0,
            pid,
            ?timeout,
            "a worker's loop stands still, and it is killed; it {place}"
        );
        let complaint = &mut member.complaint;
        complaint.get_or_insert_with(|| format!("its loop stood still for {timeout:?}"));
        member.kill();
        self.tell_of(seat, |worker, generation| ServerEvent::StallTimeout {
            worker,
            generation,
            place,
        });
    }
}
