//! What a ring is made of in shared memory.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed};

use hatchery_os::Layout;

use super::ends::EndWord;
use super::frames::Frames;
use crate::sync::{Acquired, Bell, Gate, Member, Monitor};

use super::getting::Getting;
use super::putting::Putting;

// What either side writes is on lines that the other does not, two lines apart: CPUs fetch lines in
// pairs.
pub(super) const SPAN_LOG: usize = 0;
const CLOSED: usize = 1;
pub(super) const COUNT_MAX: usize = 2;
pub(super) const IS_LEASING: usize = 9;
const GETTERS: usize = 3;
const PUTTERS: usize = 5;
const JOINERS: usize = 7;
const PUT_LOCK: usize = 16;
const GET_LOCK: usize = 48;
const WORDS: usize = 80;

pub(super) const PUT_END: usize = 0;
const PUT_SEEN: usize = 1;
const GET_END: usize = 16;
const GET_SEEN: usize = 17;
const FINISHED: usize = 18;
const NEXT: usize = 19;
pub(super) const MESSAGES: usize = 32;

/// The words for messages: 1 GiB, of which only what is used takes memory.
pub(super) const CAPACITY_WORDS: usize = 1 << 27;

pub(super) const LAYOUT: Layout = Layout {
    words: WORDS,
    wides: MESSAGES + CAPACITY_WORDS,
};

/// A ring of this many words is not made larger by one who can wait for room: 1 MiB, which the CPU keeps
/// near.
pub(super) const SPAN_EASY: u32 = 1 << 17;

/// How often to look for a moment at which the queue stands still.
const LOOKS: u32 = 16;

/// Those who sleep for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleepers {
    /// For a message.
    Getters,
    /// For room.
    Putters,
    /// For all messages to be done with.
    Joiners,
}

impl Sleepers {
    /// The word that they sleep on.
    #[inline(always)]
    pub(super) const fn bell(self) -> usize {
        match self {
            Self::Getters => GETTERS,
            Self::Putters => PUTTERS,
            Self::Joiners => JOINERS,
        }
    }

    /// The word that says whether any do.
    #[inline(always)]
    const fn is_awaited(self) -> usize {
        self.bell() + 1
    }

    /// The lock that is given up before they are woken.
    #[inline(always)]
    const fn lock(self) -> usize {
        match self {
            Self::Getters => PUT_LOCK,
            Self::Putters | Self::Joiners => GET_LOCK,
        }
    }
}

/// The words of a ring.
///
/// On the way of a message they are kept in the CPU's registers, so what is rarely called is
/// given the monitor only, and finds them anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) monitor: &'a Monitor,
    words: &'a [AtomicU32; WORDS],
    ends: &'a [AtomicU64; MESSAGES],
    messages: &'a [AtomicU64],
}

impl<'a> Parts<'a> {
    #[inline(always)]
    pub(super) fn of(monitor: &'a Monitor) -> Self {
        let words = monitor.words().first_chunk();
        let (ends, messages) = monitor
            .wides()
            .split_first_chunk()
            .expect("the memory was mapped with this layout");
        Self {
            monitor,
            words: words.expect("the memory was mapped with this layout"),
            ends,
            messages,
        }
    }

    /// Does something as the one that puts, and then wakes who is to be woken.
    #[inline(always)]
    pub(super) fn putting<R>(self, work: impl FnOnce(&mut Putting<'a>) -> R) -> R {
        let gate = self.put_gate();
        let acquired = gate.acquire();
        let held = Held(gate);
        let mut putting = Putting::new(self, acquired);
        let outcome = work(&mut putting);
        drop(held);
        putting.calls.make(self);
        outcome
    }

    /// Does something as the one that gets, and then wakes who is to be woken.
    #[inline(always)]
    pub(super) fn getting<R>(self, work: impl FnOnce(&mut Getting<'a>) -> R) -> R {
        self.getting_by(self.get_gate().acquire(), work)
    }

    /// The same for one who has the lock already, and how it was come by.
    #[inline(always)]
    pub(super) fn getting_by<R>(
        self,
        acquired: Acquired,
        work: impl FnOnce(&mut Getting<'a>) -> R,
    ) -> R {
        let held = Held(self.get_gate());
        let mut getting = Getting::new(self, acquired);
        let outcome = work(&mut getting);
        drop(held);
        getting.calls.make(self);
        outcome
    }

    /// The lock of those who put.
    #[inline(always)]
    pub(super) fn put_gate(self) -> Gate<'a> {
        self.monitor.gate_of(&self.words[PUT_LOCK])
    }

    /// The lock of those who get.
    #[inline(always)]
    pub(super) fn get_gate(self) -> Gate<'a> {
        self.monitor.gate_of(&self.words[GET_LOCK])
    }

    /// Whether a member holds one of the locks.
    pub(super) fn is_held_by(self, member: Member) -> bool {
        let holders = [self.put_gate(), self.get_gate()].map(Gate::holder);
        holders.contains(&Some(member))
    }

    /// The end where messages are put.
    #[inline(always)]
    pub(super) fn put_end(self) -> EndWord<'a> {
        EndWord(&self.ends[PUT_END])
    }

    /// What those who put last saw of the other end.
    #[inline(always)]
    pub(super) fn put_seen(self) -> EndWord<'a> {
        EndWord(&self.ends[PUT_SEEN])
    }

    /// The end where messages are got.
    #[inline(always)]
    pub(super) fn get_end(self) -> EndWord<'a> {
        EndWord(&self.ends[GET_END])
    }

    /// What those who get last saw of the other end.
    #[inline(always)]
    pub(super) fn get_seen(self) -> EndWord<'a> {
        EndWord(&self.ends[GET_SEEN])
    }

    /// How many messages somebody was done with.
    pub(super) fn finished(self) -> &'a AtomicU64 {
        &self.ends[FINISHED]
    }

    /// Where to look for a message that waits.
    pub(super) fn next(self) -> &'a AtomicU64 {
        &self.ends[NEXT]
    }

    /// The word on which some sleep.
    #[inline(always)]
    pub(super) fn bell_word(self, sleepers: Sleepers) -> &'a AtomicU32 {
        &self.words[sleepers.bell()]
    }

    #[inline(always)]
    pub(super) fn bell(self, sleepers: Sleepers) -> Bell<'a, AtomicU32> {
        Bell {
            number: self.bell_word(sleepers),
            is_awaited: &self.words[sleepers.is_awaited()],
            lock: &self.words[sleepers.lock()],
        }
    }

    #[inline(always)]
    pub(super) fn frames(self) -> Frames<'a> {
        Frames::new(&self.words[SPAN_LOG], self.messages)
    }

    /// Gives memory for messages back to the kernel.
    pub(super) fn discard(self, first: usize, count: usize) -> io::Result<()> {
        self.monitor.discard(MESSAGES + first, count)
    }

    #[inline(always)]
    pub(super) fn closed(self) -> &'a AtomicU32 {
        &self.words[CLOSED]
    }

    #[inline(always)]
    pub(super) fn is_closed(self) -> bool {
        self.closed().load(Acquire) != 0
    }

    /// How many messages may wait; 0 for any number.
    #[inline(always)]
    pub(super) fn count_max(self) -> u32 {
        self.words[COUNT_MAX].load(Relaxed)
    }

    /// Whether messages are leased, and may come back.
    #[inline(always)]
    pub(super) fn is_leasing(self) -> bool {
        self.words[IS_LEASING].load(Relaxed) != 0
    }

    /// How many messages wait, at this moment.
    pub(super) fn count(self) -> u32 {
        let mut got = self.get_end().others();
        for _ in 0..LOOKS {
            let put = self.put_end().others();
            let now = self.get_end().others();
            if now == got {
                return put.messages_since(got);
            }
            got = now;
        }
        // They come and go so fast that one number is as good as another.
        let count = self.put_end().others().messages_since(got);
        match self.count_max() {
            0 => count,
            max => count.min(max),
        }
    }

    /// How many messages wait or are on lease, if messages are leased.
    pub(super) fn unfinished(self) -> u32 {
        let finished = self.finished().load(Acquire) as u32;
        self.put_end().others().count.wrapping_sub(finished)
    }

    /// Whether so few messages wait that it is worth waking who would put more.
    pub(super) fn has_worthwhile_room(self) -> bool {
        let max = self.count_max();
        max == 0 || max.saturating_sub(self.count()) >= worthwhile_room(max)
    }

    /// Whether there is so much room that it is worth waking who waits for some.
    pub(super) fn is_worth_waking(self) -> bool {
        let is_small = self.frames().span() < SPAN_EASY;
        self.has_worthwhile_room() && (is_small || self.has_easy_room(0))
    }

    /// Whether half of the ring's words are free, and as many as these.
    pub(super) fn has_easy_room(self, words: u32) -> bool {
        let (head, tail) = (self.get_end().others(), self.put_end().others());
        let span = self.frames().span();
        let free = span.saturating_sub(tail.words_since(head));
        free >= words.max(worthwhile_room(span))
    }
}

/// A lock that is held, also if what is done meanwhile panics.
struct Held<'a>(Gate<'a>);

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.release();
    }
}

/// How much room in something full is worth waking somebody for.
///
/// Waking costs more than many messages, so who has filled a long queue sleeps until there is room for
/// some.
fn worthwhile_room(size: u32) -> u32 {
    size.div_ceil(2)
}
