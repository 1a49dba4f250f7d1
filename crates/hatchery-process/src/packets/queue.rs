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
//! ```

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
    Acquired, Attempt, Look, Monitor, ShareError, Wake, wait_async, wait_until, wake, written,
};

const COUNT: usize = 0;
const COUNT_MAX: usize = 1;
const IS_MOVING: usize = 2;
const COUNT_NEXT: usize = 3;
const BEFORE: usize = 4;
const BELL: usize = 5;
const FLAG: usize = 6;

const LAYOUT: Layout = Layout { words: 7, wides: 0 };

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

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            sender: self.sender.try_clone()?,
            receiver: self.receiver.try_clone()?,
        })
    }
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

    /// Returns the queue with descriptors that no clone of it has.
    ///
    /// A descriptor can be registered with an epoll only once.
    ///
    /// # Errors
    ///
    /// Returns the error of `fcntl(2)`.
    pub fn into_unshared(self) -> io::Result<Self> {
        let Self { socket, monitor } = self;
        let socket = match Arc::try_unwrap(socket) {
            Ok(socket) => socket,
            Err(shared) => shared.try_clone()?,
        };
        Ok(Self {
            socket: Arc::new(socket),
            monitor,
        })
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
        let outcome = wait_until(self.word(BELL), deadline, |look| {
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
        let place = self.monitor.place(BELL);
        wait_async(place, Wake::One, |look| self.put_attempt(message, look)).await
    }

    /// Gets the next message, if there is one before the deadline.
    ///
    /// # Errors
    ///
    /// See [`PacketRecvError`]; it is [`PacketRecvError::Timeout`] when the time is up.
    pub fn get(&self, deadline: Option<Instant>) -> Result<Parcel, PacketRecvError> {
        loop {
            match self.try_get() {
                Err(PacketRecvError::Empty) => {}
                outcome => return outcome,
            }
            let is_ready = self
                .socket
                .receiver
                .poll(deadline)
                .map_err(PacketRecvError::Os)?;
            if !is_ready {
                return Err(PacketRecvError::Timeout);
            }
        }
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
        now.wakes = true;
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
                now.wakes |= look.has_slept();
                Attempt::Done(outcome)
            }
            None => {
                self.word(FLAG).store(1, Relaxed);
                Attempt::Wait(self.word(BELL).load(Relaxed))
            }
        }
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
            wakes: false,
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
    wakes: bool,
}

impl Now<'_> {
    /// Puts a message; `None` if there is no room.
    fn put(&self, message: &Outgoing<'_>) -> Option<Result<(), PacketSendError>> {
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
            outcome => Some(outcome),
        }
    }

    fn get(&mut self) -> Result<Parcel, PacketRecvError> {
        let queue = self.queue;
        let count = queue.word(COUNT).load(Relaxed);
        let got = self.moving(count.saturating_sub(1), || queue.socket.receiver.try_recv());
        if !matches!(got, Err(PacketRecvError::Empty)) && queue.word(FLAG).load(Relaxed) != 0 {
            queue.word(FLAG).store(0, Relaxed);
            self.wakes = true;
        }
        got
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
        let bell = self.queue.word(BELL);
        if self.wakes {
            bell.store(bell.load(Relaxed).wrapping_add(1), Relaxed);
        }
        self.queue.monitor.release();
        if self.wakes {
            wake(bell, 1);
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
mod tests {
    use super::*;

    fn message(text: &str) -> Outgoing<'_> {
        Outgoing::new(text.as_bytes(), Vec::new()).unwrap()
    }

    fn past() -> Option<Instant> {
        Some(Instant::now())
    }

    #[test]
    fn messages_are_counted_as_they_come_and_go() {
        let queue = PacketQueue::new(2).unwrap();
        queue.try_put(&message("a")).unwrap();
        queue.put(&message("b"), None).unwrap();

        let full = queue.try_put(&message("c"));
        assert!(matches!(full, Err(PacketSendError::Full)));
        let full = queue.put(&message("c"), past());
        assert!(matches!(full, Err(PacketSendError::Timeout)));
        assert_eq!(queue.len(), 2);

        assert_eq!(queue.try_get().unwrap().bytes, b"a");
        assert_eq!(queue.get(None).unwrap().bytes, b"b");
        assert!(matches!(queue.try_get(), Err(PacketRecvError::Empty)));
        assert!(matches!(queue.get(past()), Err(PacketRecvError::Timeout)));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_closed_queue_is_emptied_and_then_closed() {
        let queue = PacketQueue::new(0).unwrap();
        queue.try_put(&message("last")).unwrap();
        queue.close().unwrap();

        let closed = queue.try_put(&message("more"));
        assert!(matches!(closed, Err(PacketSendError::Closed)));
        assert_eq!(queue.try_get().unwrap().bytes, b"last");
        assert!(matches!(queue.get(None), Err(PacketRecvError::Closed)));
    }

    #[test]
    fn what_the_kernel_has_no_room_for_waits_until_it_has() {
        const COUNT: usize = 2_000;
        let queue = PacketQueue::new(0).unwrap();

        let got = std::thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..COUNT {
                    queue
                        .put(&message("some more bytes than none"), None)
                        .unwrap();
                }
                queue.close().unwrap();
            });
            std::iter::from_fn(|| queue.get(None).ok()).count()
        });

        assert_eq!(got, COUNT);
    }

    #[test]
    fn a_queue_that_was_sent_is_the_same_queue_and_carries_descriptors() {
        let queue = PacketQueue::new(1).unwrap();
        let received: PacketQueue = Parcel::encode(&queue).unwrap().decode().unwrap();
        let inner = Parcel::encode(&queue).unwrap();
        let outgoing = Outgoing::try_from(inner).unwrap();
        queue.try_put(&outgoing).unwrap();

        assert_eq!(received.len(), 1);
        let again: PacketQueue = received.try_get().unwrap().decode().unwrap();
        assert!(again.is_empty());
    }
}
