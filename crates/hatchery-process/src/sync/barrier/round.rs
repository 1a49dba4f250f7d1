//! The rounds of a barrier: who has arrived, and how a round ended.
//!
//! ```text
//! word 0    changes whenever a round ends, and is what everybody waits for
//! word 1 …  the records of those who wait: see `waiters`
//! wide 0    the round, whether the barrier is broken, how the last round ended
//! wide 1    how many parties there are
//! wide 2 …  the rest of the records
//! ```
//!
//! A round ends by one write, that of wide 0. What each party is told follows from it, so a
//! process that is killed in between is no matter: the next one in the critical section goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

use hatchery_os::Layout;

use super::super::monitor::{Acquired, Entered, Member, Monitor, ShareError};
use super::super::wait::{ALL, Attempt, Look, Place};
use super::super::waiters::{self, WAITERS_MAX, Waiters};
use super::super::word::{Word, get, put};

/// The most parties that a barrier can have.
pub(super) const PARTIES_MAX: u32 = 1024;

/// A barrier's memory.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    monitor: Monitor,
}

/// The state of a barrier, as it is in its wide word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    round: u64,
    is_broken: bool,
    /// Whether the last round ended well.
    has_passed: bool,
}

/// A party that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) record: usize,
    /// How many were there before it.
    pub(super) index: usize,
    /// Whether it is the last.
    pub(super) is_last: bool,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Broken,
}

impl Rounds {
    pub(super) fn create(parties: u32) -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, has_claims)?;
        put(&monitor.wides()[1], parties.into());
        Ok(Self { monitor })
    }

    pub(super) fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, has_claims)?;
        Ok(Self { monitor })
    }

    pub(super) fn parties(&self) -> usize {
        // Whoever sent the memory may have written anything.
        let parties = get(&self.monitor.wides()[1]).clamp(1, PARTIES_MAX.into());
        usize::try_from(parties).expect("the number is small")
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state().is_broken
    }

    /// How many have arrived in this round.
    pub(super) fn arrived(&self) -> usize {
        let round = self.state().round;
        let waiters = self.waiters();
        let waiting = waiters.waiting();
        waiting.filter(|waiter| waiter.ticket == round).count()
    }

    /// The word that changes whenever a round ends.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.monitor.words()[0]
    }

    pub(super) fn place(&self) -> Place {
        self.monitor.place(0)
    }

    /// Arrives, or finds the barrier broken; waits while a round is full that has not ended.
    pub(super) fn arrive(&self, look: Look) -> Attempt<Result<Arrival, Outcome>> {
        let _entered = self.enter();
        let seen = self.word().read();
        let state = self.state();
        if state.is_broken {
            return Attempt::Done(Err(Outcome::Broken));
        }
        let index = self.arrived();
        if index >= self.parties() {
            // Those of this round may all be dead, and then nobody else would notice.
            if look.is_due() && self.breaks_for_the_dead() {
                return Attempt::Done(Err(Outcome::Broken));
            }
            return Attempt::Wait(seen);
        }
        let is_last = index + 1 == self.parties();
        if is_last && self.breaks_for_the_dead() {
            return Attempt::Done(Err(Outcome::Broken));
        }
        let own = self.monitor.own().0;
        match self.waiters().enlist(own, state.round, self.is_alive()) {
            Some(record) => Attempt::Done(Ok(Arrival {
                record,
                index,
                is_last,
            })),
            None => Attempt::Wait(seen),
        }
    }

    /// Says how the round of an arrival ended; if it is time, looks first whether the next is dead.
    pub(super) fn attempt(&self, record: usize, look: Look) -> Attempt<Outcome> {
        let seen = self.word().read();
        if let Some(outcome) = self.outcome(record) {
            return Attempt::Done(outcome);
        }
        if look.is_due() {
            let _entered = self.enter();
            if self.outcome(record).is_none() {
                self.break_if_next_is_dead(record);
            }
            return match self.outcome(record) {
                Some(outcome) => Attempt::Done(outcome),
                None => Attempt::Wait(self.word().read()),
            };
        }
        Attempt::Wait(seen)
    }

    /// Ends the round of the last to arrive well, unless it has ended by now.
    pub(super) fn pass(&self, record: usize) -> Outcome {
        let _entered = self.enter();
        if self.outcome(record).is_none() {
            self.end(State {
                round: self.state().round + 1,
                is_broken: false,
                has_passed: true,
            });
        }
        self.outcome(record).unwrap_or(Outcome::Broken)
    }

    /// Leaves for good, which breaks the round unless it has ended.
    pub(super) fn leave(&self, record: usize) -> Outcome {
        let _entered = self.enter();
        if self.outcome(record).is_none() {
            self.break_now();
        }
        let outcome = self.outcome(record).unwrap_or(Outcome::Broken);
        self.waiters().finish(record);
        outcome
    }

    /// Breaks the barrier, for those who wait and those who come.
    pub(super) fn abort(&self) {
        let _entered = self.enter();
        if !self.is_broken() {
            self.break_now();
        }
    }

    /// Makes the barrier whole; those who wait find their round broken.
    pub(super) fn reset(&self) {
        let _entered = self.enter();
        if self.is_broken() || self.arrived() > 0 {
            self.end(State {
                round: self.state().round + 1,
                is_broken: false,
                has_passed: false,
            });
        }
    }

    /// Breaks the barrier if one who has arrived in this round is dead; true if it did.
    fn breaks_for_the_dead(&self) -> bool {
        let round = self.state().round;
        let is_alive = self.is_alive();
        let waiters = self.waiters();
        let is_dead = |waiter: waiters::Waiter| waiter.ticket == round && !is_alive(waiter.member);
        let has_dead = waiters.waiting().any(is_dead);
        if has_dead {
            self.break_now();
        }
        has_dead
    }

    /// Breaks the barrier if the party after this one is dead.
    ///
    /// Each that waits watches one other, all the way round, so the one before a dead party
    /// that lives itself finds it. If each watched all, a hundred would look ten thousand times.
    fn break_if_next_is_dead(&self, record: usize) {
        let round = self.state().round;
        let waiters = self.waiters();
        let parties = waiters.waiting().filter(|waiter| waiter.ticket == round);
        let next = parties.min_by_key(|waiter| (waiter.record <= record, waiter.record));
        if next.is_some_and(|next| !self.monitor.is_alive(Member(next.member))) {
            self.break_now();
        }
    }

    fn break_now(&self) {
        self.end(State {
            round: self.state().round + 1,
            is_broken: true,
            has_passed: false,
        });
    }

    /// Ends the round by one write, and tells everybody.
    fn end(&self, next: State) {
        put(self.state_wide(), next.packed());
        self.tell_outcome();
    }

    /// Tells all of earlier rounds how the last one ended, and wakes them.
    fn tell_outcome(&self) {
        let state = self.state();
        let outcome = if state.has_passed {
            Outcome::Passed
        } else {
            Outcome::Broken
        };
        for waiter in self.waiters().waiting() {
            if waiter.ticket != state.round {
                self.waiters().words[waiter.record].write(outcome.mark());
            }
        }
        self.word().write(self.word().read().wrapping_add(1));
        self.word().wake(ALL);
    }

    /// Enters the critical section; if the last owner died in it, ends what it began.
    fn enter(&self) -> Entered<'_> {
        let entered = self.monitor.enter();
        if entered.acquired != Acquired::Free {
            self.tell_outcome();
        }
        entered
    }

    /// How the round of an arrival ended, if it has.
    fn outcome(&self, record: usize) -> Option<Outcome> {
        let mark = self.waiters().words[record].read();
        [Outcome::Passed, Outcome::Broken]
            .into_iter()
            .find(|outcome| outcome.mark() == mark)
    }

    fn state(&self) -> State {
        State::unpacked(get(self.state_wide()))
    }

    fn state_wide(&self) -> &AtomicU64 {
        &self.monitor.wides()[0]
    }

    fn waiters(&self) -> Waiters<'_, AtomicU32> {
        waiters_of(&self.monitor)
    }

    fn is_alive(&self) -> impl Fn(u32) -> bool {
        |member| self.monitor.is_alive(Member(member))
    }
}

impl AsFd for Rounds {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

impl Outcome {
    /// What stands for it in a record's word.
    fn mark(self) -> u32 {
        match self {
            Self::Passed => waiters::NOTIFIED,
            Self::Broken => waiters::NOTIFIED + 1,
        }
    }
}

impl State {
    /// The bits below the round.
    const BITS: u32 = 2;

    fn packed(self) -> u64 {
        self.round << Self::BITS | u64::from(self.is_broken) << 1 | u64::from(self.has_passed)
    }

    fn unpacked(packed: u64) -> Self {
        Self {
            round: packed >> Self::BITS,
            is_broken: packed & 2 != 0,
            has_passed: packed & 1 != 0,
        }
    }
}

const LAYOUT: Layout = Layout {
    words: 1 + WAITERS_MAX,
    wides: 2 + waiters::WIDES,
};

fn waiters_of(monitor: &Monitor) -> Waiters<'_, AtomicU32> {
    Waiters {
        words: &monitor.words()[1..],
        wides: &monitor.wides()[2..],
    }
}

fn has_claims(monitor: &Monitor, member: Member) -> bool {
    waiters_of(monitor).has_record_of(member.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    /// A member that no process ever was.
    const DEAD: u32 = 9;

    #[test]
    fn a_round_that_one_ended_who_died_before_telling_is_told_by_who_looks() {
        let rounds = Rounds::create(2).unwrap();
        let Attempt::Done(Ok(first)) = rounds.arrive(Look::First) else {
            panic!("the barrier is empty and whole");
        };
        let passed = State {
            round: 1,
            is_broken: false,
            has_passed: true,
        };
        put(rounds.state_wide(), passed.packed());
        // No process has this place in the table.
        rounds.monitor.gate().word.store(77, Relaxed);

        let told = rounds.attempt(first.record, Look::Due);

        assert!(matches!(told, Attempt::Done(Outcome::Passed)), "{told:?}");
    }

    #[test]
    fn a_dead_party_is_found_by_the_one_before_it_wherever_that_is() {
        for place in 0..4 {
            let rounds = Rounds::create(5).unwrap();
            let own = rounds.monitor.own().0;
            let members = (0..4).map(|at| if at == place { DEAD } else { own });
            let enlist = |member| rounds.waiters().enlist(member, 0, |_| true).unwrap();
            let records: Vec<usize> = members.map(enlist).collect();

            let found = (0..4).filter(|&at| at != place).find(|&at| {
                let attempt = rounds.attempt(records[at], Look::Due);
                matches!(attempt, Attempt::Done(Outcome::Broken))
            });

            assert_eq!(found, Some((place + 3) % 4), "the dead one is at {place}");
            assert!(rounds.is_broken());
        }
    }

    #[test]
    fn one_that_lives_finds_that_all_others_are_dead() {
        let rounds = Rounds::create(5).unwrap();
        let enlist = |member| rounds.waiters().enlist(member, 0, |_| true).unwrap();
        let records = [DEAD, rounds.monitor.own().0, DEAD].map(enlist);

        let attempt = rounds.attempt(records[1], Look::Due);

        assert!(matches!(attempt, Attempt::Done(Outcome::Broken)));
    }
}
