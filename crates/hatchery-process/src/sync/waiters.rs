//! Who waits, one by one: for objects that wake a certain number, or need to know who is there.
//!
//! Each has a record: a word to sleep on, who it is, and its ticket. Records change inside the
//! object's critical section, each by one write to its word, so one who dies at it leaves
//! nothing half done. Records of the dead are found by whoever comes upon them.

use std::sync::atomic::AtomicU64;

use super::wait::Attempt;
use super::word::{Word, get, put};

/// How many can wait for one object at a time.
pub(super) const WAITERS_MAX: usize = 4096;

/// The wide words that this many records take.
pub(super) const WIDES: usize = 1 + 2 * WAITERS_MAX;

/// A record that nobody uses.
const FREE: u32 = 0;

/// A record of somebody who waits.
const WAITING: u32 = 1;

/// A record of somebody who was told to go on; what is above means it too, for other reasons.
pub(super) const NOTIFIED: u32 = 2;

/// The bits of a member's number.
const MEMBER_BITS: u32 = 11;

/// The records of those who wait for an object.
#[derive(Debug)]
pub(super) struct Waiters<'a, W> {
    /// One for each record.
    pub(super) words: &'a [W],
    /// How many records were ever used, and then two for each: who it is, and until which ticket
    /// its notification may be handed on.
    pub(super) wides: &'a [AtomicU64],
}

/// Somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) member: u32,
    pub(super) record: usize,
}

impl<W: Word> Waiters<'_, W> {
    /// Makes a record of one who waits from now on; `None` if there is no room.
    pub(super) fn enlist(
        &self,
        member: u32,
        ticket: u64,
        is_alive: impl Fn(u32) -> bool,
    ) -> Option<usize> {
        let used = self.used();
        let is_free = |&record: &usize| self.words[record].read() == FREE;
        let is_new = || (used < self.words.len()).then_some(used);
        let is_left = |&record: &usize| !is_alive(self.who(record).member);
        let record = (0..used).find(is_free).or_else(is_new);
        let record = record.or_else(|| (0..used).find(is_left))?;
        if record == used {
            put(&self.wides[0], used as u64 + 1);
        }
        put(
            self.who_wide(record),
            ticket << MEMBER_BITS | u64::from(member),
        );
        self.words[record].write(WAITING);
        Some(record)
    }

    /// Those who wait, in no order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Waiter> {
        let records = 0..self.used();
        let waiting = records.filter(|&record| self.words[record].read() == WAITING);
        waiting.map(|record| self.who(record))
    }

    /// Tells up to `count` living ones who wait, the longest waiting first; returns their records.
    ///
    /// Whoever is told and gives up may hand it on to one whose ticket is below `until`.
    pub(super) fn notify(
        &self,
        count: usize,
        until: u64,
        is_alive: impl Fn(u32) -> bool,
    ) -> Vec<usize> {
        let waiting = self.waiting().filter(|waiter| waiter.ticket < until);
        let mut waiting: Vec<Waiter> = waiting.collect();
        waiting.sort_unstable();
        let mut told = Vec::new();
        for waiter in waiting {
            if told.len() == count {
                break;
            }
            if !is_alive(waiter.member) {
                self.words[waiter.record].write(FREE);
                continue;
            }
            put(self.until_wide(waiter.record), until);
            self.words[waiter.record].write(NOTIFIED);
            told.push(waiter.record);
        }
        told
    }

    /// Succeeds once it was told.
    pub(super) fn attempt(&self, record: usize) -> Attempt<()> {
        if self.is_notified(record) {
            Attempt::Done(())
        } else {
            // Reading the word once more might find what must not be slept through.
            Attempt::Wait(WAITING)
        }
    }

    fn is_notified(&self, record: usize) -> bool {
        self.words[record].read() == NOTIFIED
    }

    /// Ends a wait; true if it was told.
    pub(super) fn finish(&self, record: usize) -> bool {
        let is_notified = self.is_notified(record);
        self.words[record].write(FREE);
        is_notified
    }

    /// Ends a wait that is given up, and hands on what it was told; returns to whom.
    pub(super) fn give_up(&self, record: usize, is_alive: impl Fn(u32) -> bool) -> Vec<usize> {
        let until = get(self.until_wide(record));
        let told = if self.is_notified(record) {
            self.notify(1, until, is_alive)
        } else {
            Vec::new()
        };
        self.words[record].write(FREE);
        told
    }

    /// Whether a member has a record.
    pub(super) fn has_record_of(&self, member: u32) -> bool {
        let mut records = 0..self.used();
        records.any(|record| self.words[record].read() != FREE && self.who(record).member == member)
    }

    fn who(&self, record: usize) -> Waiter {
        let who = get(self.who_wide(record));
        Waiter {
            ticket: who >> MEMBER_BITS,
            member: who as u32 & ((1 << MEMBER_BITS) - 1),
            record,
        }
    }

    fn used(&self) -> usize {
        let used = usize::try_from(get(&self.wides[0])).unwrap_or(usize::MAX);
        used.min(self.words.len())
    }

    fn who_wide(&self, record: usize) -> &AtomicU64 {
        &self.wides[1 + 2 * record]
    }

    fn until_wide(&self, record: usize) -> &AtomicU64 {
        &self.wides[2 + 2 * record]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// The number of a member that is dead.
    const DEAD: u32 = 9;

    fn is_alive(member: u32) -> bool {
        member != DEAD
    }

    fn memory(records: usize) -> (Vec<AtomicU32>, Vec<AtomicU64>) {
        let words = (0..records).map(|_| AtomicU32::new(0)).collect();
        let wides = (0..=2 * records).map(|_| AtomicU64::new(0)).collect();
        (words, wides)
    }

    #[test]
    fn the_longest_waiting_are_told_and_the_dead_do_not_count() {
        let (words, wides) = memory(8);
        let waiters = Waiters {
            words: &words,
            wides: &wides,
        };
        for (ticket, member) in [(13, 1), (11, DEAD), (12, 2), (14, 3)] {
            waiters.enlist(member, ticket, is_alive).unwrap();
        }

        let told = waiters.notify(2, 15, is_alive);

        assert_eq!(told, [2, 0]);
        assert_eq!(waiters.waiting().count(), 1);
    }

    #[test]
    fn what_one_was_told_that_gives_up_goes_to_one_that_waited_then() {
        let (words, wides) = memory(8);
        let waiters = Waiters {
            words: &words,
            wides: &wides,
        };
        let first = waiters.enlist(1, 1, is_alive).unwrap();
        let second = waiters.enlist(2, 2, is_alive).unwrap();
        assert_eq!(waiters.notify(1, 3, is_alive), [first]);
        let later = waiters.enlist(3, 3, is_alive).unwrap();

        assert_eq!(waiters.give_up(first, is_alive), [second]);
        assert_eq!(waiters.give_up(second, is_alive), [0; 0]);

        assert!(!waiters.is_notified(later), "it came too late for that");
    }

    #[test]
    fn a_full_table_has_room_where_somebody_died() {
        let (words, wides) = memory(2);
        let waiters = Waiters {
            words: &words,
            wides: &wides,
        };
        assert_eq!(waiters.enlist(1, 1, is_alive), Some(0));
        assert_eq!(waiters.enlist(DEAD, 2, is_alive), Some(1));

        assert_eq!(waiters.enlist(2, 3, is_alive), Some(1));

        assert_eq!(waiters.enlist(3, 4, is_alive), None);
    }
}
