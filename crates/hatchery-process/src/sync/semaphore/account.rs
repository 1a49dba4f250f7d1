//! Who holds how many permits of a semaphore, such that the dead hold none for long.
//!
//! ```text
//! word 0    the free permits, to wait for: see `permits`
//! word 1    how many permits are kept, over all members
//! wide 0    how many permits there are
//! wide 1 …  what each member holds: how many are kept, how many have a guard
//! ```
//!
//! Wide words are the truth and words follow from them. Each operation changes one wide word by
//! one write (`forget` two, and after the first the permit has come back), so a process that is
//! killed has done it or has not; the next one in the critical section puts the words right.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Instant;

use hatchery_os::Layout;

use super::super::monitor::{Acquired, Entered, MEMBERS_MAX, Member, Monitor, ShareError};
use super::super::permits::{PERMITS_MAX, PermitsWord, WakesOne};
use super::super::wait::{Attempt, Look, Wake, wait_async, wait_until};
use super::super::word::{Word, get, put};

/// The account of every member of a semaphore.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    monitor: Monitor,
}

/// What a member holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    /// Permits held without a guard.
    kept: u32,
    guarded: u32,
}

impl Accounts {
    pub(super) fn create(permits: u32) -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, has_claims)?;
        let accounts = Self { monitor };
        put(accounts.total(), permits.into());
        accounts.free().0.write(permits);
        Ok(accounts)
    }

    pub(super) fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, has_claims)?;
        Ok(Self { monitor })
    }

    /// Takes a permit, waiting for it until the deadline; false if there was none.
    pub(super) fn acquire_until(&self, deadline: Option<Instant>) -> bool {
        wait_until(self.free().0, deadline, |look| self.attempt(look)).is_some()
    }

    /// Takes a permit if there is one, also one whose holder is dead.
    pub(super) fn try_acquire(&self) -> bool {
        let _entered = self.enter();
        if self.free().value() == 0 {
            self.collect_from_the_dead();
        }
        let is_free = self.free().try_take();
        if is_free {
            self.hold_one();
        }
        is_free
    }

    pub(super) async fn acquire_async(&self) {
        let place = self.monitor.place(FREE);
        wait_async(place, Wake::One, |look| self.attempt(look)).await;
    }

    fn attempt(&self, look: Look) -> Attempt<()> {
        let entered = self.enter();
        if look.is_due() && self.free().value() == 0 {
            self.collect_from_the_dead();
        }
        let wakes = match self.free().take(look) {
            Attempt::Done(wakes) => wakes,
            Attempt::Wait(seen) => return Attempt::Wait(seen),
        };
        self.hold_one();
        self.leave(entered, wakes);
        Attempt::Done(())
    }

    /// Enters a permit that was taken into this process's account.
    fn hold_one(&self) {
        let own = self.monitor.own();
        let held = self.held(own);
        let guarded = held.guarded + 1;
        self.set_held(own, Held { guarded, ..held });
    }

    /// Returns the permit of a guard.
    pub(super) fn give_back(&self) {
        let entered = self.enter();
        let own = self.monitor.own();
        let held = self.held(own);
        let Some(guarded) = held.guarded.checked_sub(1) else {
            // The guard was inherited by a fork: the permit is the parent's.
            return;
        };
        self.set_held(own, Held { guarded, ..held });
        let wakes = self.free().give();
        self.leave(entered, wakes);
    }

    /// Holds a permit on without its guard.
    pub(super) fn keep(&self) {
        let _entered = self.enter();
        let own = self.monitor.own();
        let held = self.held(own);
        if let Some(guarded) = held.guarded.checked_sub(1) {
            let kept = held.kept + 1;
            self.set_held(own, Held { kept, guarded });
            self.kept().write(self.kept().read() + 1);
        }
    }

    /// Destroys the permit of a guard.
    pub(super) fn forget(&self) {
        let _entered = self.enter();
        let own = self.monitor.own();
        let held = self.held(own);
        if let Some(guarded) = held.guarded.checked_sub(1) {
            self.set_held(own, Held { guarded, ..held });
            put(self.total(), get(self.total()).saturating_sub(1));
        }
    }

    /// Returns a permit that is kept; false if none is.
    pub(super) fn return_kept(&self) -> bool {
        let entered = self.enter();
        self.collect_from_the_dead();
        let Some(member) = self.keeper() else {
            return false;
        };
        let held = self.held(member);
        let kept = held.kept - 1;
        self.set_held(member, Held { kept, ..held });
        self.kept().write(self.kept().read().saturating_sub(1));
        let wakes = self.free().give();
        self.leave(entered, wakes);
        true
    }

    /// Returns a permit that is kept, or else makes a new one; false if there are too many.
    pub(super) fn return_kept_or_add(&self) -> bool {
        if self.kept().read() > 0 && self.return_kept() {
            return true;
        }
        let entered = self.enter();
        let total = get(self.total());
        if total >= PERMITS_MAX.into() {
            return false;
        }
        put(self.total(), total + 1);
        let wakes = self.free().give();
        self.leave(entered, wakes);
        true
    }

    /// How many permits are free.
    pub(super) fn value(&self) -> u32 {
        let entered = self.enter();
        if u64::from(self.free().value()) < get(self.total()) {
            self.collect_from_the_dead();
        }
        let value = self.free().value();
        drop(entered);
        value
    }

    /// Enters the critical section; if the last owner died in it, puts the words right.
    fn enter(&self) -> Entered<'_> {
        let entered = self.monitor.enter();
        if entered.acquired != Acquired::Free {
            self.settle();
        }
        entered
    }

    fn leave(&self, entered: Entered<'_>, wakes: WakesOne) {
        drop(entered);
        if wakes.0 {
            self.free().0.wake(1);
        }
    }

    /// Takes back what dead members hold.
    fn collect_from_the_dead(&self) {
        let mut has_found = false;
        for member in members() {
            if self.held(member) != Held::default() && !self.monitor.is_alive(member) {
                self.set_held(member, Held::default());
                has_found = true;
            }
        }
        if has_found {
            self.settle();
        }
    }

    /// Writes what follows from the accounts.
    fn settle(&self) {
        let (mut kept, mut held) = (0_u64, 0_u64);
        for member in members() {
            let of_member = self.held(member);
            kept += u64::from(of_member.kept);
            held += u64::from(of_member.kept) + u64::from(of_member.guarded);
        }
        let free = get(self.total()).saturating_sub(held);
        self.kept().write(u32::try_from(kept).unwrap_or(u32::MAX));
        let free = u32::try_from(free).unwrap_or(PERMITS_MAX).min(PERMITS_MAX);
        if self.free().reset(free).0 {
            // Whoever wakes waits for the critical section first.
            self.free().0.wake(1);
        }
    }

    /// A member that keeps a permit, this process before others.
    fn keeper(&self) -> Option<Member> {
        let own = self.monitor.own();
        let mut candidates = std::iter::once(own).chain(members());
        candidates.find(|&member| self.held(member).kept > 0)
    }

    fn held(&self, member: Member) -> Held {
        held(&self.monitor, member)
    }

    fn set_held(&self, member: Member, held: Held) {
        let packed = u64::from(held.kept) << 32 | u64::from(held.guarded);
        put(account(&self.monitor, member), packed);
    }

    /// How many permits there are, free and held.
    pub(super) fn total_permits(&self) -> u32 {
        u32::try_from(get(self.total())).unwrap_or(PERMITS_MAX)
    }

    fn free(&self) -> PermitsWord<'_, AtomicU32> {
        PermitsWord(&self.monitor.words()[FREE])
    }

    fn kept(&self) -> &AtomicU32 {
        &self.monitor.words()[KEPT]
    }

    fn total(&self) -> &AtomicU64 {
        &self.monitor.wides()[0]
    }
}

impl AsFd for Accounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

const LAYOUT: Layout = Layout {
    words: 2,
    wides: 1 + MEMBERS_MAX,
};

/// The word of free permits.
const FREE: usize = 0;

/// The word that counts kept permits.
const KEPT: usize = 1;

fn has_claims(monitor: &Monitor, member: Member) -> bool {
    held(monitor, member) != Held::default()
}

fn held(monitor: &Monitor, member: Member) -> Held {
    let packed = get(account(monitor, member));
    Held {
        kept: (packed >> 32) as u32,
        guarded: packed as u32,
    }
}

/// Members count from 1, and the first wide word is none of theirs.
fn account(monitor: &Monitor, member: Member) -> &AtomicU64 {
    &monitor.wides()[member.0 as usize]
}

fn members() -> impl Iterator<Item = Member> {
    let max = u32::try_from(MEMBERS_MAX).expect("the table is short");
    (1..=max).map(Member)
}
