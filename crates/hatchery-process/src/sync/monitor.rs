//! The robust lock in shared memory on which everything else here stands.
//!
//! The lock is one word, which holds the number of its owner. Owners register in a table in the
//! same memory, under an [`Identity`], so whoever waits can tell whether the owner still lives,
//! and take the lock over if it does not. `gate` is how that is done, `lock_word` how the word changes.
//!
//! ```text
//! word 0    the lock: 0, or the owner's number, and a bit if somebody waits
//! word 16 … the object's own words
//! wide 0 …  the table of members: an identity, or 0
//! wide 1024 … the object's own wide words
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use hatchery_os::{Layout, MapError, SharedMemory};

use super::gate::Gate;
use super::wait::{Attempt, Look, Place};
use crate::identity::{Identity, epoch};

/// How many processes can use one object at a time.
pub(crate) const MEMBERS_MAX: usize = 1024;

/// Where the object's own words begin: on a cache line of their own.
const WORDS: usize = 16;

/// A process that uses an object: its place in the table, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member(pub(crate) u32);

/// Why an object in shared memory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The memory behind the descriptor is not such an object.
    #[error("the memory is not that of such an object")]
    Memory(#[from] MapError),
    /// So many processes use it that there is no place for another.
    #[error("{MEMBERS_MAX} processes use it already, and no more can")]
    Full,
}

/// Memory with a lock and a table of those who use it.
#[derive(Debug)]
pub(crate) struct Monitor {
    memory: Arc<SharedMemory>,
    /// This process's place in the table, with the epoch in which that was so.
    own: AtomicU64,
    has_claims: HasClaims,
}

/// Whether the object still says that a member has something of it, apart from the lock.
pub(crate) type HasClaims = fn(&Monitor, Member) -> bool;

/// How a lock was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// Nobody held it.
    Free,
    /// Its owner had died with it.
    OwnerDied(Member),
}

impl Monitor {
    /// Makes the memory for an object with so many words of its own.
    pub(crate) fn create(own: Layout, has_claims: HasClaims) -> Result<Self, ShareError> {
        Self::new(SharedMemory::create(whole(own))?, has_claims)
    }

    /// Maps an object that another process made.
    pub(crate) fn map(
        memory: OwnedFd,
        own: Layout,
        has_claims: HasClaims,
    ) -> Result<Self, ShareError> {
        Self::new(SharedMemory::map(memory, whole(own))?, has_claims)
    }

    fn new(memory: SharedMemory, has_claims: HasClaims) -> Result<Self, ShareError> {
        let monitor = Self {
            memory: Arc::new(memory),
            own: AtomicU64::new(0),
            has_claims,
        };
        monitor.join()?;
        Ok(monitor)
    }

    /// The object's own words.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU32] {
        &self.memory.words()[WORDS..]
    }

    /// The object's own wide words.
    #[inline]
    pub(crate) fn wides(&self) -> &[AtomicU64] {
        &self.memory.wides()[MEMBERS_MAX..]
    }

    /// One of the object's own words, to wait for.
    pub(crate) fn place(&self, word: usize) -> Place {
        Place::new(&self.memory, WORDS + word)
    }

    /// The lock's word, to wait for.
    pub(crate) fn lock_place(&self) -> Place {
        Place::new(&self.memory, 0)
    }

    /// Gives memory of the object's own wide words back to the kernel.
    pub(crate) fn discard(&self, first: usize, count: usize) -> io::Result<()> {
        self.memory.discard(MEMBERS_MAX + first, count)
    }

    /// This process's number in the table.
    #[inline]
    pub(crate) fn own(&self) -> Member {
        let own = self.own.load(Ordering::Relaxed);
        let (seen, member) = ((own >> 32) as u32, own as u32);
        if seen == epoch() && member != 0 {
            return Member(member);
        }
        // A process that was forked from a member is another one. There is a place for it but in
        // a program with more than a thousand processes that share one object.
        self.join()
            .expect("an object that was inherited has a place for the child")
    }

    /// Finds this process's place in the table, or takes one.
    #[cold]
    fn join(&self) -> Result<Member, ShareError> {
        let own = Identity::own();
        let index = self
            .known_place(own)
            .or_else(|| self.place_of_the_dead(own));
        let index = index.ok_or(ShareError::Full)?;
        let member = u32::try_from(index + 1).expect("the table is short");
        let known = u64::from(epoch()) << 32 | u64::from(member);
        self.own.store(known, Ordering::Relaxed);
        Ok(Member(member))
    }

    /// The place that this process has already, or the first free one, which is its own now.
    fn known_place(&self, own: Identity) -> Option<usize> {
        self.table().iter().position(|place| {
            let taken = place.compare_exchange(0, own.word(), Ordering::AcqRel, Ordering::Relaxed);
            taken.is_ok() || taken == Err(own.word())
        })
    }

    /// Takes the place of a process that is dead and left nothing that somebody must see to.
    fn place_of_the_dead(&self, own: Identity) -> Option<usize> {
        (0..MEMBERS_MAX).find(|&index| {
            let member = Member(u32::try_from(index + 1).expect("the table is short"));
            let place = &self.table()[index];
            let dead = place.load(Ordering::Relaxed);
            let is_vacant = !self.is_alive(member)
                && self.holder() != Some(member)
                && !(self.has_claims)(self, member);
            is_vacant
                && place
                    .compare_exchange(dead, own.word(), Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
        })
    }

    fn table(&self) -> &[AtomicU64] {
        &self.memory.wides()[..MEMBERS_MAX]
    }

    /// Whether a member's process still runs.
    pub(crate) fn is_alive(&self, member: Member) -> bool {
        let index = (member.0 as usize).checked_sub(1);
        let place = index.and_then(|index| self.table().get(index));
        let identity = place.and_then(|place| Identity::from_word(place.load(Ordering::Relaxed)));
        identity.is_some_and(Identity::is_alive)
    }

    /// The lock.
    #[inline]
    pub(crate) fn gate(&self) -> Gate<'_> {
        Gate {
            monitor: self,
            word: &self.memory.words()[0],
        }
    }

    /// A further lock, which is one of the object's own words.
    #[inline]
    pub(crate) fn gate_of<'a>(&'a self, word: &'a AtomicU32) -> Gate<'a> {
        Gate {
            monitor: self,
            word,
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        self.gate().try_acquire()
    }

    /// Takes the lock, or says what to wait for; if it is time, from a dead owner too.
    pub(crate) fn attempt(&self, look: Look) -> Attempt<Acquired> {
        self.gate().attempt(look)
    }

    /// Takes the lock from an owner that is dead, if it is.
    pub(crate) fn take_over_now(&self) -> Option<Acquired> {
        self.gate().take_over_now()
    }

    /// Takes the lock, waiting for it until the deadline.
    pub(crate) fn acquire_until(&self, deadline: Option<Instant>) -> Option<Acquired> {
        self.gate().acquire_until(deadline)
    }

    /// Takes the lock, waiting for it as long as it takes.
    #[inline]
    pub(crate) fn acquire(&self) -> Acquired {
        self.gate().acquire()
    }

    /// The lock, which was taken, for a moment.
    #[inline]
    pub(crate) fn entered(&self, acquired: Acquired) -> Entered<'_> {
        Entered {
            monitor: self,
            acquired,
        }
    }

    /// Takes the lock, for a moment.
    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.entered(self.acquire())
    }

    /// Gives the lock up, whoever holds it; false if nobody does.
    #[inline]
    pub(crate) fn release(&self) -> bool {
        self.gate().release()
    }

    /// Who holds the lock, as far as that can be said.
    #[inline]
    pub(crate) fn holder(&self) -> Option<Member> {
        self.gate().holder()
    }
}

impl Clone for Monitor {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            own: AtomicU64::new(self.own.load(Ordering::Relaxed)),
            has_claims: self.has_claims,
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// The lock, held for a moment.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    monitor: &'a Monitor,
    /// Whether the last owner died: what it was about to change may be half done.
    pub(crate) acquired: Acquired,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        self.monitor.release();
    }
}

/// The words of a monitor whose object has words of its own.
fn whole(own: Layout) -> Layout {
    Layout {
        words: WORDS + own.words,
        wides: MEMBERS_MAX + own.wides,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const NOTHING: Layout = Layout { words: 0, wides: 0 };

    fn monitor() -> Monitor {
        Monitor::create(NOTHING, |_, _| false).unwrap()
    }

    fn mapped_again(monitor: &Monitor) -> Monitor {
        let memory = monitor.as_fd().try_clone_to_owned().unwrap();
        Monitor::map(memory, NOTHING, |_, _| false).unwrap()
    }

    /// The identity of a process that is dead.
    fn dead() -> Identity {
        let mut child = Command::new("cat").stdin(Stdio::null()).spawn().unwrap();
        child.wait().unwrap();
        Identity::from_word(u64::from(child.id()) | 1 << 22).unwrap()
    }

    #[test]
    fn a_lock_that_is_held_is_not_taken_and_one_that_was_released_is() {
        let (one, other) = (monitor(), monitor());
        let again = mapped_again(&one);
        assert!(one.try_acquire());

        assert!(!again.try_acquire());
        assert!(other.try_acquire());
        assert!(again.release());

        assert!(again.try_acquire());
        assert!(one.release());
        assert!(!one.release());
    }

    #[test]
    fn the_lock_of_a_dead_owner_is_taken_over_by_whoever_waits() {
        let monitor = monitor();
        monitor.table()[1].store(dead().word(), Ordering::Relaxed);
        monitor.gate().word.store(2, Ordering::Relaxed);

        let entered = monitor.enter();

        assert_eq!(entered.acquired, Acquired::OwnerDied(Member(2)));
    }

    #[test]
    fn a_process_has_one_place_however_often_it_maps_an_object() {
        let one = monitor();

        let again = mapped_again(&one);

        assert_eq!(one.own(), again.own());
    }

    #[test]
    fn a_full_table_has_room_where_somebody_died_and_left_nothing() {
        let dead = dead().word();
        let first = Monitor::create(NOTHING, |_, _| false).unwrap();
        let init = Identity::from_word(1).unwrap();
        for place in first.table() {
            place.store(init.word(), Ordering::Relaxed);
        }
        let memory = || first.as_fd().try_clone_to_owned().unwrap();
        let full = Monitor::map(memory(), NOTHING, |_, _| false);
        assert!(matches!(full, Err(ShareError::Full)));
        first.table()[7].store(dead, Ordering::Relaxed);
        first.table()[9].store(dead, Ordering::Relaxed);

        let claims_seven: HasClaims = |_, member| member == Member(8);
        let monitor = Monitor::map(memory(), NOTHING, claims_seven).unwrap();

        assert_eq!(monitor.own(), Member(10));
    }

    #[test]
    fn threads_that_share_a_lock_exclude_each_other() {
        let monitor = monitor();
        let sum = AtomicU64::new(0);

        let add_one = || {
            let _entered = monitor.enter();
            let seen = sum.load(Ordering::Relaxed);
            sum.store(seen + 1, Ordering::Relaxed);
        };
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..20_000).for_each(|_| add_one()));
            }
        });

        assert_eq!(sum.load(Ordering::Relaxed), 80_000);
    }
}
