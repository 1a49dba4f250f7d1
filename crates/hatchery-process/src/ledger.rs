//! What a worker has done with its connections, written in memory that the front end reads.
//!
//! A worker takes, claims and finishes connections far too often to send a message each time: a
//! message is a system call, and waking its reader is several. So the worker writes two counters
//! and a ring of events, and the front end reads them whenever it is awake. Only where the front
//! end has nothing else to wake it does it ask, by a flag, to be told through the channel.
//!
//! The worker is not trusted: the reader checks every number it takes out of the ledger.
//!
//! ```text
//! word 0         received: connections taken from the channel   (worker writes)
//! word 1         head: events written                           (worker writes)
//! word 2         beat: the last question that was answered      (worker writes)
//! word 3         declining: 1 while it declines what it is sent (worker writes)
//! word 16        wanted: tell me of the next event              (front end sets, worker clears)
//! word 17        asked: the number of the last question         (front end writes)
//! word 18        farewell: 1 finish what you have, 2 break off  (front end writes)
//! word 32 …      ring of events, a power of two                 (worker writes)
//! wide 2n        deadline of the handler in place n, or 0       (worker writes)
//! wide 2n + 1    the number of its connection                   (worker writes)
//! ```
//!
//! A deadline is a time of `CLOCK_MONOTONIC`, which all processes of a machine share. Its place is
//! the worker's own choice, and is not the slot of the connection: a worker that accepts for itself
//! has no slots.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hatchery_os::{Layout, MapError, SharedMemory};

const RECEIVED: usize = 0;
const HEAD: usize = 1;
const BEAT: usize = 2;
const DECLINING: usize = 3;
/// On a cache line of its own: the front end writes it while the worker writes the others.
const WANTED: usize = 16;
const ASKED: usize = 17;
const FAREWELL: usize = 18;
const RING: usize = 32;

/// The bit of an event that tells a finished connection from a claimed one.
const FINISHED: u32 = 1 << 31;

/// What a worker did with the connection in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerEvent {
    /// Its handler read or wrote: the connection cannot be given to another worker any more.
    Claimed(u32),
    /// It is over, and the slot is free.
    Finished(u32),
}

/// How far a worker is on its way out; a later one includes those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Farewell {
    /// It is not.
    #[default]
    No,
    /// It is to finish what it has.
    Finish,
    /// It is to break off what it has, and close cleanly.
    BreakOff,
}

/// What is wrong with a ledger.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// More events are said to be unread than can have happened.
    #[error("a worker's ledger says that {0} events are unread, which cannot be")]
    Overrun(u32),
}

/// The worker's end of a ledger.
#[derive(Debug)]
pub struct LedgerWriter {
    memory: SharedMemory,
    /// The events and the connections counted so far.
    counts: Mutex<Counts>,
    mask: u32,
}

#[derive(Debug, Default)]
struct Counts {
    events: u32,
    received: u32,
}

impl LedgerWriter {
    /// Maps a ledger of `slots` connections that a [`LedgerReader`] made.
    ///
    /// # Errors
    ///
    /// Returns [`MapError`] if the memory is not such a ledger.
    pub fn map(memory: OwnedFd, slots: u32) -> Result<Self, MapError> {
        let ring = ring_size(slots);
        let memory = SharedMemory::map(memory, layout(ring, slots))?;
        Ok(Self {
            memory,
            counts: Mutex::default(),
            mask: ring - 1,
        })
    }

    /// Writes that `count` more connections were taken, and says whether the front end asked to
    /// be told.
    #[must_use]
    pub fn received(&self, count: u32) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.received = counts.received.wrapping_add(count);
        let received = &self.memory.words()[RECEIVED];
        received.store(counts.received, Ordering::Release);
        drop(counts);
        self.is_wanted()
    }

    /// Writes `event`, and says whether the front end asked to be told.
    ///
    /// There is always room: a slot has two events, and is given out again only when the front
    /// end has read both.
    #[must_use]
    pub fn write(&self, event: LedgerEvent) -> bool {
        let word = match event {
            LedgerEvent::Claimed(slot) => slot,
            LedgerEvent::Finished(slot) => slot | FINISHED,
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let place = RING + (counts.events & self.mask) as usize;
        self.memory.words()[place].store(word, Ordering::Relaxed);
        counts.events = counts.events.wrapping_add(1);
        self.memory.words()[HEAD].store(counts.events, Ordering::Release);
        drop(counts);
        self.is_wanted()
    }

    /// Answers the front end's question whether this worker's loop still turns, and says whether
    /// the front end asked to be told.
    ///
    /// Only the loop itself calls this, so that a loop that stands still answers nothing.
    #[must_use]
    pub fn beat(&self) -> bool {
        let words = self.memory.words();
        words[BEAT].store(words[ASKED].load(Ordering::Acquire), Ordering::Release);
        self.is_wanted()
    }

    /// Writes whether this worker declines what it is sent, and says whether the front end asked to
    /// be told that it no longer does.
    #[must_use]
    pub fn set_declining(&self, is_declining: bool) -> bool {
        let declining = &self.memory.words()[DECLINING];
        declining.store(u32::from(is_declining), Ordering::Release);
        // Who waits for room is not helped by hearing that there is less.
        !is_declining && self.is_wanted()
    }

    /// How far this worker is on its way out.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        match self.memory.words()[FAREWELL].load(Ordering::Acquire) {
            0 => Farewell::No,
            1 => Farewell::Finish,
            _ => Farewell::BreakOff,
        }
    }

    /// Writes by when the handler in `place` has to be done with its connection.
    ///
    /// # Panics
    ///
    /// Panics if the ledger has no such place.
    pub fn hold(&self, place: u32, connection: u64, deadline: Duration) {
        let at = 2 * place as usize;
        let micros = u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX);
        let wides = self.memory.wides();
        wides[at + 1].store(connection, Ordering::Relaxed);
        wides[at].store(micros.max(1), Ordering::Release);
    }

    /// Writes that the handler in `place` is done.
    ///
    /// # Panics
    ///
    /// Panics if the ledger has no such place.
    pub fn let_go(&self, place: u32) {
        self.memory.wides()[2 * place as usize].store(0, Ordering::Release);
    }

    /// Takes the front end's wish to be told, if there is one.
    ///
    /// The fence pairs with the one in [`LedgerReader::want`]: either the front end sees the event
    /// that was written before, or this sees the wish.
    fn is_wanted(&self) -> bool {
        fence(Ordering::SeqCst);
        let wanted = &self.memory.words()[WANTED];
        wanted.load(Ordering::Relaxed) != 0 && wanted.swap(0, Ordering::Relaxed) != 0
    }
}

/// The front end's end of a ledger.
#[derive(Debug)]
pub struct LedgerReader {
    memory: SharedMemory,
    read: u32,
    ring: u32,
    slots: u32,
}

impl LedgerReader {
    /// Makes a ledger for a worker with `slots` places.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn create(slots: u32) -> Result<Self, MapError> {
        let ring = ring_size(slots);
        Ok(Self {
            memory: SharedMemory::create(layout(ring, slots))?,
            read: 0,
            ring,
            slots,
        })
    }

    /// How many connections the worker says it has taken, modulo 2³².
    #[must_use]
    pub fn received(&self) -> u32 {
        self.memory.words()[RECEIVED].load(Ordering::Acquire)
    }

    /// Asks, by a number, whether the worker's loop still turns; the caller rings for it.
    pub fn ask(&self, number: u32) {
        self.memory.words()[ASKED].store(number, Ordering::Release);
    }

    /// The number of the last question that the worker's loop has answered.
    #[must_use]
    pub fn beat(&self) -> u32 {
        self.memory.words()[BEAT].load(Ordering::Acquire)
    }

    /// Whether the worker declines what it is sent.
    #[must_use]
    pub fn is_declining(&self) -> bool {
        self.memory.words()[DECLINING].load(Ordering::Acquire) != 0
    }

    /// Tells the worker how far it is on its way out; the caller rings for it.
    pub fn tell_farewell(&self, farewell: Farewell) {
        self.memory.words()[FAREWELL].store(farewell as u32, Ordering::Release);
    }

    /// Lists the handlers that have a deadline: their places, and by when each has to be done.
    pub fn deadlines(&self) -> impl Iterator<Item = (u32, Duration)> {
        let wides = self.memory.wides();
        (0..self.slots).filter_map(|place| {
            let micros = wides[2 * place as usize].load(Ordering::Acquire);
            (micros > 0).then(|| (place, Duration::from_micros(micros)))
        })
    }

    /// The number of the connection that the worker says it has in `place`.
    #[must_use]
    pub fn holder(&self, place: u32) -> Option<u64> {
        let number = self.memory.wides().get(2 * place as usize + 1)?;
        Some(number.load(Ordering::Relaxed))
    }

    /// Takes the next event, if there is one.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Overrun`] if the worker has scribbled over its counter.
    pub fn take(&mut self) -> Result<Option<LedgerEvent>, LedgerError> {
        let head = self.memory.words()[HEAD].load(Ordering::Acquire);
        let unread = head.wrapping_sub(self.read);
        if unread == 0 {
            return Ok(None);
        }
        if unread > self.ring {
            return Err(LedgerError::Overrun(unread));
        }
        let place = RING + (self.read & (self.ring - 1)) as usize;
        let word = self.memory.words()[place].load(Ordering::Relaxed);
        self.read = self.read.wrapping_add(1);
        let slot = word & !FINISHED;
        Ok(Some(if word & FINISHED == 0 {
            LedgerEvent::Claimed(slot)
        } else {
            LedgerEvent::Finished(slot)
        }))
    }

    /// Asks the worker to ring when it next writes an event.
    ///
    /// The caller reads once more after this, before it goes to sleep.
    pub fn want(&self) {
        self.memory.words()[WANTED].store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl AsFd for LedgerReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// The words of a ledger whose ring has this many places.
fn layout(ring: u32, slots: u32) -> Layout {
    Layout {
        words: RING + ring as usize,
        wides: 2 * slots as usize,
    }
}

/// Two events a slot, rounded up to a power of two.
fn ring_size(slots: u32) -> u32 {
    (slots * 2).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;
    use std::sync::atomic::AtomicU32;
    use std::thread::{scope, yield_now};
    use std::time::{Duration, Instant};

    use super::*;

    fn ledger(slots: u32) -> (LedgerReader, LedgerWriter) {
        let reader = LedgerReader::create(slots).unwrap();
        let memory = reader.as_fd().try_clone_to_owned().unwrap();
        (reader, LedgerWriter::map(memory, slots).unwrap())
    }

    #[test]
    fn events_are_read_in_the_order_in_which_they_were_written() {
        let (mut reader, writer) = ledger(3);
        for round in 0..100 {
            let slot = round % 3;
            assert!(!writer.write(LedgerEvent::Claimed(slot)));
            assert!(!writer.write(LedgerEvent::Finished(slot)));

            assert_eq!(reader.take(), Ok(Some(LedgerEvent::Claimed(slot))));
            assert_eq!(reader.take(), Ok(Some(LedgerEvent::Finished(slot))));
            assert_eq!(reader.take(), Ok(None));
        }
    }

    #[test]
    fn a_wish_to_be_told_is_granted_once() {
        let (reader, writer) = ledger(4);
        reader.want();

        assert!(writer.write(LedgerEvent::Claimed(0)));
        assert!(!writer.write(LedgerEvent::Finished(0)));
    }

    #[test]
    fn a_beat_answers_the_last_question_and_no_other() {
        let (reader, writer) = ledger(4);
        for number in [1, 2, u32::MAX, 0] {
            let before = reader.beat();
            reader.ask(number);
            assert_eq!(reader.beat(), before);

            assert!(!writer.beat());

            assert_eq!(reader.beat(), number);
        }
    }

    #[test]
    fn the_front_end_is_told_of_a_worker_that_no_longer_declines_and_not_of_one_that_does() {
        let (reader, writer) = ledger(1);
        reader.want();

        assert!(!writer.set_declining(true));
        assert!(reader.is_declining());

        assert!(writer.set_declining(false));
        assert!(!reader.is_declining());
    }

    #[test]
    fn a_worker_learns_how_far_it_is_on_its_way_out() {
        let (reader, writer) = ledger(1);
        assert_eq!(writer.farewell(), Farewell::No);

        for farewell in [Farewell::Finish, Farewell::BreakOff] {
            reader.tell_farewell(farewell);
            assert_eq!(writer.farewell(), farewell);
        }
    }

    #[test]
    fn only_handlers_that_hold_something_have_a_deadline() {
        let (reader, writer) = ledger(3);
        writer.hold(0, 7, Duration::from_micros(70));
        writer.hold(2, 9, Duration::MAX);
        writer.hold(1, 8, Duration::ZERO);

        writer.let_go(0);

        let deadlines: Vec<_> = reader.deadlines().map(|(place, _)| place).collect();
        assert_eq!(deadlines, [1, 2]);
        assert_eq!(
            [1, 2, 3].map(|place| reader.holder(place)),
            [Some(8), Some(9), None]
        );
    }

    #[test]
    fn a_counter_that_cannot_be_is_an_error() {
        let (mut reader, writer) = ledger(4);
        writer.memory.words()[HEAD].store(9, Ordering::Relaxed);

        assert_eq!(reader.take(), Err(LedgerError::Overrun(9)));
    }

    #[test]
    fn counting_goes_on_past_the_end_of_the_counter() {
        let (mut reader, writer) = ledger(2);
        reader.read = u32::MAX;
        writer.counts.lock().unwrap().events = u32::MAX;

        assert!(!writer.write(LedgerEvent::Claimed(1)));
        assert!(!writer.write(LedgerEvent::Finished(1)));

        assert_eq!(reader.take(), Ok(Some(LedgerEvent::Claimed(1))));
        assert_eq!(reader.take(), Ok(Some(LedgerEvent::Finished(1))));
        assert_eq!(reader.take(), Ok(None));
    }

    /// Takes what there is, and counts it with what was taken from the channel.
    fn hear(reader: &mut LedgerReader, events: &mut u32) -> u32 {
        while reader.take().unwrap().is_some() {
            *events += 1;
        }
        *events + reader.received()
    }

    fn spin_until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            (0..50).for_each(|_| spin_loop());
            yield_now();
            assert!(Instant::now() < deadline, "nobody rang");
        }
    }

    /// Writes a piece of news, and rings with its number if that is wanted.
    fn write_news(writer: &LedgerWriter, news: u32, bell: &AtomicU32) {
        let is_wanted = match news % 3 {
            0 => writer.received(1),
            1 => writer.write(LedgerEvent::Claimed(0)),
            _ => writer.write(LedgerEvent::Finished(0)),
        };
        if is_wanted {
            bell.store(news, Ordering::Release);
        }
    }

    /// The writer does not wait for the reader, so a ring that was lost would be made up for by
    /// the next one: it is told by the number of the news for which it came.
    #[test]
    fn a_reader_that_sleeps_is_rung_for_the_first_news_after_what_it_heard() {
        const NEWS: u32 = 3 << 19;
        const RING: u32 = 1 << 16;
        let (mut reader, writer) = ledger(RING / 2);
        let (heard, bell) = (AtomicU32::new(0), AtomicU32::new(0));
        let mut silent = None;

        scope(|threads| {
            threads.spawn(|| {
                for news in 1..=NEWS {
                    spin_until(|| news - heard.load(Ordering::Acquire) <= RING);
                    write_news(&writer, news, &bell);
                }
            });
            let mut events = 0;
            loop {
                let so_far = hear(&mut reader, &mut events);
                heard.store(so_far, Ordering::Release);
                if so_far == NEWS {
                    break;
                }
                reader.want();
                if hear(&mut reader, &mut events) == so_far {
                    spin_until(|| bell.load(Ordering::Acquire) != 0);
                    let rung = bell.swap(0, Ordering::Acquire);
                    let is_late = rung > so_far + 1;
                    silent = silent.or(is_late.then_some(so_far + 1));
                }
            }
        });

        assert_eq!(silent, None);
    }
}
