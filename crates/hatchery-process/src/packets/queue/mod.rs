//! A queue of messages in the kernel, for any number of processes.
//!
//! The messages are in a socket; how many they are is counted in shared memory, since the kernel
//! does not tell. Sending and counting are done under one lock, and so are receiving and counting.
//! Before either, it is written down how many there will be and how much the socket holds: if the
//! process dies, whoever takes the lock over can tell by the socket whether it did happen.
//!
//! ```text
//! word 0     how many messages there are
//! word 1     how many there may be; 0 for any number
//! word 2     whether a message is about to come or go
//! word 3     how many there will be then
//! word 4     how much the socket held before
//! word 5, 6  putters: a number that changes when they are woken, and whether any sleep
//! word 7, 8  getters: the same
//! ```
//!
//! Who waits sleeps on such a number and not on the socket, for the kernel would wake all who do. What is
//! waited for changes and is seen under the one lock, so this needs no [`Bell`](crate::sync::Bell),
//! which is for what is seen without.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use hatchery_os::{Layout, bytes_queued};
use rustix::net::{Shutdown, shutdown};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Outgoing, PacketRecvError, PacketSendError, Packets};
use crate::parcel::{Parcel, Passed};
use crate::sync::{
    ALL, Acquired, Attempt, Look, Monitor, ShareError, Wake, wait_async, wait_until, wake, written,
};

const COUNT: usize = 0;
const COUNT_MAX: usize = 1;
const IS_MOVING: usize = 2;
const COUNT_NEXT: usize = 3;
const BEFORE: usize = 4;

const LAYOUT: Layout = Layout { words: 9, wides: 0 };

/// Those who wait for the same, by their words.
#[derive(Clone, Copy, Debug)]
struct Sleepers {
    /// The number that changes when they are woken.
    number: usize,
    /// Whether any sleep who were not woken.
    flag: usize,
}

/// Those who wait for room.
const PUTTERS: Sleepers = Sleepers { number: 5, flag: 6 };

/// Those who wait for a message.
const GETTERS: Sleepers = Sleepers { number: 7, flag: 8 };

/// A queue of messages, with their descriptors, in the kernel's memory.
///
/// The kernel holds a few hundred small messages (`wmem_default`), whatever the limit of the queue:
/// a put waits for room in both. It becomes readable when there is a message to get. A clone is the
/// same queue, through the same descriptors.
#[derive(Clone, Debug)]
pub struct PacketQueue {
    socket: Arc<Socket>,
    monitor: Monitor,
}

/// Where the messages are.
#[derive(Debug)]
struct Socket {
    sender: Packets,
    receiver: Packets,
}

impl PacketQueue {
    /// Makes an empty queue of up to `count_max` messages; 0 for as many as the kernel holds.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError`] for any error of the kernel.
    pub fn new(count_max: u32) -> Result<Self, ShareError> {
        let (sender, receiver) = Packets::pair().map_err(hatchery_os::MapError::Os)?;
        let monitor = Monitor::create(LAYOUT, |_, _| false)?;
        monitor.words()[COUNT_MAX].store(count_max, Relaxed);
        let socket = Arc::new(Socket { sender, receiver });
        Ok(Self { socket, monitor })
    }

    /// Puts a message, if there is room before the deadline.
    ///
    /// # Errors
    ///
    /// See [`PacketSendError`]; it is [`PacketSendError::Timeout`] when the time is up.
    pub fn put(
        &self,
        message: &Outgoing<'_>,
        deadline: Option<Instant>,
    ) -> Result<(), PacketSendError> {
        let outcome = wait_until(self.word(PUTTERS.number), deadline, |look| {
            self.put_attempt(message, look)
        });
        outcome.unwrap_or(Err(PacketSendError::Timeout))
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// See [`PacketSendError`]; it is [`PacketSendError::Full`] if there is none.
    pub fn try_put(&self, message: &Outgoing<'_>) -> Result<(), PacketSendError> {
        self.enter()
            .put(message)
            .unwrap_or(Err(PacketSendError::Full))
    }

    /// Puts a message once there is room, without holding a thread.
    ///
    /// # Errors
    ///
    /// See [`PacketSendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has put nothing.
    pub async fn put_async(&self, message: &Outgoing<'_>) -> Result<(), PacketSendError> {
        let place = self.monitor.place(PUTTERS.number);
        wait_async(place, Wake::One, |look| self.put_attempt(message, look)).await
    }

    /// Gets the next message, if there is one before the deadline.
    ///
    /// # Errors
    ///
    /// See [`PacketRecvError`]; it is [`PacketRecvError::Timeout`] when the time is up.
    pub fn get(&self, deadline: Option<Instant>) -> Result<Parcel, PacketRecvError> {
        let outcome = self.wait_to_get(deadline, |look| self.get_attempt(look));
        outcome.unwrap_or(Err(PacketRecvError::Timeout))
    }

    /// Gets the next message once there is one, without holding a thread.
    ///
    /// # Errors
    ///
    /// See [`PacketRecvError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    pub async fn get_async(&self) -> Result<Parcel, PacketRecvError> {
        self.wait_to_get_async(|look| self.get_attempt(look)).await
    }

    /// Gets the next message if there is one now.
    ///
    /// # Errors
    ///
    /// See [`PacketRecvError`]; it is [`PacketRecvError::Empty`] if there is none.
    pub fn try_get(&self) -> Result<Parcel, PacketRecvError> {
        self.enter().get()
    }

    /// Whether [`try_get`](Self::try_get) would not find the queue empty, at this moment.
    ///
    /// # Errors
    ///
    /// Returns the error of `poll(2)`.
    pub fn is_ready(&self) -> io::Result<bool> {
        self.socket.receiver.poll(Some(Instant::now()))
    }

    /// Lets nobody put any more; what is there can still be got.
    ///
    /// # Errors
    ///
    /// Returns the error of `shutdown(2)`.
    pub fn close(&self) -> io::Result<()> {
        let mut now = self.enter();
        shutdown(&self.socket.sender, Shutdown::Write)?;
        now.wake(PUTTERS, ALL);
        now.wake(GETTERS, ALL);
        Ok(())
    }

    /// How many messages there are, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.monitor.take_over_now().is_some() {
            self.entered().settle();
        }
        self.word(COUNT).load(Relaxed) as usize
    }

    /// Whether there is no message, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages there may be; `None` for as many as the kernel holds.
    #[must_use]
    pub fn count_max(&self) -> Option<u32> {
        let count = self.word(COUNT_MAX).load(Relaxed);
        (count > 0).then_some(count)
    }

    fn put_attempt(
        &self,
        message: &Outgoing<'_>,
        look: Look,
    ) -> Attempt<Result<(), PacketSendError>> {
        let mut now = self.enter();
        match now.put(message) {
            Some(outcome) => {
                // Others may wait for room as this one did.
                if look.has_slept() {
                    now.wake(PUTTERS, 1);
                }
                Attempt::Done(outcome)
            }
            None => Attempt::Wait(now.sleep(PUTTERS)),
        }
    }

    fn wait_to_get<T>(
        &self,
        deadline: Option<Instant>,
        attempt: impl FnMut(Look) -> Attempt<T>,
    ) -> Option<T> {
        wait_until(self.word(GETTERS.number), deadline, attempt)
    }

    async fn wait_to_get_async<T>(&self, attempt: impl FnMut(Look) -> Attempt<T> + Unpin) -> T {
        let place = self.monitor.place(GETTERS.number);
        wait_async(place, Wake::One, attempt).await
    }

    fn get_attempt(&self, look: Look) -> Attempt<Result<Parcel, PacketRecvError>> {
        let mut now = self.enter();
        let got = now.get();
        if matches!(got, Err(PacketRecvError::Empty)) {
            return Attempt::Wait(now.sleep(GETTERS));
        }
        if look.has_slept() {
            // Others may wait as this one did: for what there is, or for what will come.
            if got.is_err() || self.word(COUNT).load(Relaxed) > 0 {
                now.wake(GETTERS, 1);
            } else {
                now.sleep(GETTERS);
            }
        }
        Attempt::Done(got)
    }

    fn enter(&self) -> Now<'_> {
        let acquired = self.monitor.acquire();
        let now = self.entered();
        if acquired != Acquired::Free {
            now.settle();
        }
        now
    }

    /// The queue, whose lock this process has taken.
    fn entered(&self) -> Now<'_> {
        Now {
            queue: self,
            putters: 0,
            getters: 0,
        }
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        &self.monitor.words()[index]
    }
}

/// Becomes readable when there is a message to get, or the queue is closed.
impl AsFd for PacketQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.receiver.as_fd()
    }
}

impl AsRawFd for PacketQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.receiver.as_raw_fd()
    }
}

/// The queue while this process holds its lock.
struct Now<'a> {
    queue: &'a PacketQueue,
    /// How many of these are to be woken when the lock has been given up.
    putters: u32,
    getters: u32,
}

impl Now<'_> {
    /// Puts a message; `None` if there is no room.
    fn put(&mut self, message: &Outgoing<'_>) -> Option<Result<(), PacketSendError>> {
        let queue = self.queue;
        let count_max = queue.word(COUNT_MAX).load(Relaxed);
        let count = queue.word(COUNT).load(Relaxed);
        if count_max != 0 && count >= count_max {
            return None;
        }
        let outcome = self.moving(count.saturating_add(1), || {
            queue.socket.sender.try_send(message)
        });
        match outcome {
            Err(PacketSendError::Full | PacketSendError::Busy(_)) => None,
            outcome => {
                self.wake_awaiting(GETTERS);
                Some(outcome)
            }
        }
    }

    fn get(&mut self) -> Result<Parcel, PacketRecvError> {
        let queue = self.queue;
        let count = queue.word(COUNT).load(Relaxed);
        let got = self.moving(count.saturating_sub(1), || queue.socket.receiver.try_recv());
        if !matches!(got, Err(PacketRecvError::Empty)) {
            self.wake_awaiting(PUTTERS);
        }
        got
    }

    /// Says that somebody sleeps, and returns the number for whose change.
    fn sleep(&self, sleepers: Sleepers) -> u32 {
        self.queue.word(sleepers.flag).store(1, Relaxed);
        self.queue.word(sleepers.number).load(Relaxed)
    }

    /// Wakes one of those who said that they sleep, if any did since one was woken.
    fn wake_awaiting(&mut self, sleepers: Sleepers) {
        if self.queue.word(sleepers.flag).load(Relaxed) != 0 {
            self.wake(sleepers, 1);
        }
    }

    /// Wakes so many, once the lock has been given up.
    fn wake(&mut self, sleepers: Sleepers, count: u32) {
        self.queue.word(sleepers.flag).store(0, Relaxed);
        let number = self.queue.word(sleepers.number);
        number.store(number.load(Relaxed).wrapping_add(1), Relaxed);
        let noted = if sleepers.number == PUTTERS.number {
            &mut self.putters
        } else {
            &mut self.getters
        };
        *noted = count.max(*noted);
    }

    /// Sends or receives a message, after which there are `count`.
    fn moving<T>(&self, count: u32, act: impl FnOnce() -> T) -> T {
        let queue = self.queue;
        queue.word(COUNT_NEXT).store(count, Relaxed);
        written();
        let before = bytes_queued(&queue.socket.sender).unwrap_or(0);
        queue.word(BEFORE).store(before, Relaxed);
        written();
        queue.word(IS_MOVING).store(1, Relaxed);
        written();
        let outcome = act();
        written();
        self.settle();
        outcome
    }

    /// Puts the count right, by what became of the last message that was about to come or go.
    fn settle(&self) {
        let queue = self.queue;
        if queue.word(IS_MOVING).load(Relaxed) == 0 {
            return;
        }
        let held = bytes_queued(&queue.socket.sender).unwrap_or(0);
        if held != queue.word(BEFORE).load(Relaxed) {
            let count = queue.word(COUNT_NEXT).load(Relaxed);
            queue.word(COUNT).store(count, Relaxed);
            written();
        }
        queue.word(IS_MOVING).store(0, Relaxed);
        written();
    }
}

impl Drop for Now<'_> {
    fn drop(&mut self) {
        self.queue.monitor.release();
        for (sleepers, count) in [(PUTTERS, self.putters), (GETTERS, self.getters)] {
            if count > 0 {
                wake(self.queue.word(sleepers.number), count);
            }
        }
    }
}

impl Serialize for PacketQueue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Socket { sender, receiver } = &*self.socket;
        (sender, receiver, Passed(self.monitor.as_fd())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PacketQueue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (sender, receiver, memory) = <(Packets, Packets, Passed)>::deserialize(deserializer)?;
        let monitor = Monitor::map(memory.into(), LAYOUT, |_, _| false);
        Ok(Self {
            socket: Arc::new(Socket { sender, receiver }),
            monitor: monitor.map_err(serde::de::Error::custom)?,
        })
    }
}

#[cfg(test)]
mod tests;
