//! Messages that are leased to those who got them, and come back when these die.
//!
//! A leased message stays in the ring; its state says whose it is and how often it was given out.
//! Handing it out, giving it back and being done with it are one store each.

use std::sync::atomic::Ordering::Relaxed;

use super::ends::End;
use super::frames::{Frames, Header, Scribbled};
use super::getting::Getting;
use super::parts::{Parts, Sleepers};
use crate::sync::{ALL, Member, Monitor, written};

/// The holder of a message with which somebody is done.
const DONE: u32 = 0x7ff;

/// What a message's state says: its holder, or 0, in the lower half, and how often it was given
/// out in the upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    holder: u32,
    deliveries: u32,
}

/// A message that this process has on lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLease {
    position: u32,
    /// Its length, in bytes.
    pub len: usize,
    /// How often it was given out, this time included.
    pub deliveries: u32,
}

/// A message was given up that this process does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not on lease to this process")]
pub struct NotLeased;

impl State {
    pub(super) const READY: Self = Self {
        holder: 0,
        deliveries: 0,
    };

    pub(super) const fn word(self) -> u32 {
        let deliveries = if self.deliveries > 0xffff {
            0xffff
        } else {
            self.deliveries
        };
        deliveries << 16 | self.holder
    }

    pub(super) const fn from_word(word: u32) -> Self {
        Self {
            holder: word & 0xffff,
            deliveries: word >> 16,
        }
    }

    /// The same, on lease to another.
    #[cfg(test)]
    pub(super) const fn of(self, holder: u32) -> Self {
        Self { holder, ..self }
    }

    pub(super) const fn is_ready(self) -> bool {
        self.holder == 0
    }

    pub(super) const fn is_done(self) -> bool {
        self.holder == DONE
    }

    /// Whose it is, if it is on lease.
    fn holder(self) -> Option<Member> {
        (!self.is_ready() && !self.is_done()).then_some(Member(self.holder))
    }
}

impl Getting<'_> {
    /// Leases the first message that waits; `None` if none does.
    pub(super) fn lease(&mut self, buffer: &mut Vec<u8>) -> Result<Option<RingLease>, Scribbled> {
        let frames = self.parts.frames();
        let tail = self.tail();
        let mut position = self.next_waiting(tail);
        while let Some(header) = frames.header(position, tail)? {
            let behind = Frames::behind(position, header);
            let state = State::from_word(header.state);
            if state.is_ready() {
                frames.read(position, header, buffer);
                let leased = State {
                    holder: self.parts.monitor.own().0,
                    deliveries: state.deliveries + 1,
                };
                frames.set_state(position, with_state(header, leased));
                self.set_next(behind);
                self.count_got(1);
                self.calls.call_awaiting(Sleepers::Putters);
                return Ok(Some(RingLease {
                    position,
                    len: header.bytes as usize,
                    deliveries: leased.deliveries,
                }));
            }
            position = behind;
        }
        self.set_next(position);
        Ok(None)
    }

    /// Is done with a message of this process.
    pub(super) fn finish(&mut self, lease: RingLease) -> Result<(), NotLeased> {
        let frames = self.parts.frames();
        let header = self.own_header(&frames, lease)?;
        let state = State {
            holder: DONE,
            ..State::from_word(header.state)
        };
        frames.set_state(lease.position, with_state(header, state));
        self.count_finished();
        self.remove_done(&frames);
        let is_closed = self.parts.is_closed();
        if self.parts.get_end().own().position == self.tail() {
            self.give_back();
            if is_closed {
                // Nothing can come back any more.
                self.calls.call(Sleepers::Getters, ALL);
            }
        }
        Ok(())
    }

    /// Gives a message of this process back, for another to get.
    pub(super) fn give_up(&mut self, lease: RingLease) -> Result<(), NotLeased> {
        let frames = self.parts.frames();
        let header = self.own_header(&frames, lease)?;
        self.put_back(&frames, lease.position, header);
        Ok(())
    }

    /// Takes back what is on lease to processes that are dead; true if there was anything.
    pub(super) fn bury_dead(&mut self) -> bool {
        let frames = self.parts.frames();
        let mut known: Vec<(Member, bool)> = Vec::new();
        let mut any = false;
        let tail = self.tail();
        let mut position = self.parts.get_end().own().position;
        while let Ok(Some(header)) = frames.header(position, tail) {
            if let Some(holder) = State::from_word(header.state).holder() {
                let verdict = known.iter().find(|(member, _)| *member == holder);
                let is_alive = verdict.map_or_else(
                    || self.parts.monitor.is_alive(holder),
                    |&(_, is_alive)| is_alive,
                );
                known.push((holder, is_alive));
                if !is_alive {
                    self.put_back(&frames, position, header);
                    any = true;
                }
            }
            position = Frames::behind(position, header);
        }
        any
    }

    fn put_back(&mut self, frames: &Frames<'_>, position: u32, header: Header) {
        let state = State {
            holder: 0,
            ..State::from_word(header.state)
        };
        // First, so that it is found whenever this process dies.
        let head = self.parts.get_end().own().position;
        let next = self.next_waiting(self.tail());
        if position.wrapping_sub(head) < next.wrapping_sub(head) {
            self.set_next(position);
        }
        frames.set_state(position, with_state(header, state));
        self.count_got(-1);
        self.calls.call_awaiting(Sleepers::Getters);
    }

    /// Where messages end, at this moment.
    fn tail(&self) -> u32 {
        self.parts.put_end().others().position
    }

    /// Counts messages that do not wait any more, or do again.
    fn count_got(&self, more: i32) {
        let end = self.parts.get_end().own();
        self.parts.get_end().set(End {
            count: end.count.wrapping_add_signed(more),
            ..end
        });
    }

    /// Counts a message that is done with.
    fn count_finished(&mut self) {
        self.set_finished(self.finished().wrapping_add(1));
        self.calls.call_awaiting(Sleepers::Joiners);
    }

    /// Where to look for a message that waits: none before it does.
    fn next_waiting(&self, tail: u32) -> u32 {
        let head = self.parts.get_end().own().position;
        let next = self.parts.next().load(Relaxed) as u32;
        let is_inside = next.wrapping_sub(head) <= tail.wrapping_sub(head);
        if is_inside { next } else { head }
    }

    fn set_next(&self, position: u32) {
        self.parts.next().store(position.into(), Relaxed);
        written();
    }

    fn own_header(&self, frames: &Frames<'_>, lease: RingLease) -> Result<Header, NotLeased> {
        let (head, tail) = (self.parts.get_end().own().position, self.tail());
        // What is outside of the ring now was this process's long ago, if ever.
        let is_inside = lease.position.wrapping_sub(head) < tail.wrapping_sub(head);
        let header = frames.header(lease.position, tail).ok().flatten();
        let own = self.parts.monitor.own();
        header
            .filter(|header| is_inside && State::from_word(header.state).holder() == Some(own))
            .ok_or(NotLeased)
    }

    /// Removes what is done with, up to the first message that is not.
    fn remove_done(&self, frames: &Frames<'_>) {
        let tail = self.tail();
        let end = self.parts.get_end().own();
        let mut position = end.position;
        while let Ok(Some(header)) = frames.header(position, tail)
            && State::from_word(header.state).is_done()
        {
            position = Frames::behind(position, header);
        }
        if position != end.position {
            self.parts.get_end().set(End { position, ..end });
        }
    }
}

/// Whether a member has something on lease, as far as that can be seen without the lock.
pub(super) fn has_leases(monitor: &Monitor, member: Member) -> bool {
    let parts = Parts::of(monitor);
    let frames = parts.frames();
    let mut position = parts.get_end().others().position;
    let tail = parts.put_end().others().position;
    loop {
        match frames.header(position, tail) {
            Ok(Some(header)) if State::from_word(header.state).holder() == Some(member) => {
                return true;
            }
            Ok(Some(header)) => position = Frames::behind(position, header),
            Ok(None) => return false,
            // It changed meanwhile, or is none of ours: in doubt it has.
            Err(Scribbled) => return true,
        }
    }
}

fn with_state(header: Header, state: State) -> Header {
    Header {
        state: state.word(),
        ..header
    }
}
