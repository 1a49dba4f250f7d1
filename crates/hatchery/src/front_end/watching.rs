//! Watching connections that nobody has: thousands of them cost memory alone.
//!
//! They are in an epoll set of their own, which the runtime watches as one descriptor. The set is
//! level-triggered: a connection for which there is no worker yet is simply left in it, and found
//! again. A connection that is taken out is removed before, since its socket lives on elsewhere.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;
use tokio::io::unix::AsyncFd;

use super::Accepted;
use super::idle::{Idle, IdleKey};
use crate::watch::watch;

/// How many connections one look finds at most.
const FOUND_MAX: usize = 64;

/// The answer to a look is wanted now.
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Connections that wait for their clients.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: AsyncFd<OwnedFd>,
    idle: Idle<Accepted>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: watch(epoll::create(CreateFlags::CLOEXEC)?)?,
            idle: Idle::new(),
        })
    }

    /// How many connections wait.
    pub(super) fn len(&self) -> usize {
        self.idle.len()
    }

    /// Watches a connection from now on; one that cannot be watched is given back.
    pub(super) fn add(&mut self, accepted: Accepted, now: Duration) -> Result<(), Accepted> {
        let key = self.idle.put(accepted, now);
        let accepted = self.idle.get(key).expect("it was put there");
        let flags = EventFlags::IN | EventFlags::RDHUP;
        let data = EventData::new_u64(key.to_bits());
        match epoll::add(&self.epoll, &accepted.socket, data, flags) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.idle.take(key).expect("it was put there")),
        }
    }

    /// Finds some of the connections whose clients have sent something or have ended.
    ///
    /// If there are none, the task is woken when there is one.
    pub(super) fn look(&self, context: &mut Context<'_>) -> Vec<IdleKey> {
        loop {
            let Poll::Ready(Ok(mut guard)) = self.epoll.poll_read_ready(context) else {
                return Vec::new();
            };
            let mut room = [MaybeUninit::<Event>::uninit(); FOUND_MAX];
            let found = rustix::io::retry_on_intr(|| {
                let (found, _) = epoll::wait(&self.epoll, &mut room[..], Some(&AT_ONCE))?;
                Ok(found.iter().map(key_of).collect::<Vec<_>>())
            });
            match found {
                Ok(found) if !found.is_empty() => return found,
                // Registers for the next event, or finds one that came in between.
                Ok(_) => guard.clear_ready(),
                Err(error) => {
                    tracing::error!(%error, "the connections that wait cannot be looked at");
                    return Vec::new();
                }
            }
        }
    }

    /// Takes a connection out, to be watched no more.
    pub(super) fn take(&mut self, key: IdleKey) -> Option<Accepted> {
        let accepted = self.idle.take(key)?;
        self.forget(&accepted);
        Some(accepted)
    }

    /// Takes all connections out.
    pub(super) fn take_all(&mut self) -> Vec<Accepted> {
        let all = self.idle.take_all();
        all.iter().for_each(|accepted| self.forget(accepted));
        all
    }

    /// Takes a connection out that has been silent for `timeout`, if there is one.
    pub(super) fn take_silent(&mut self, timeout: Duration, now: Duration) -> Option<Accepted> {
        loop {
            let key = self.idle.expired(now, timeout)?;
            let accepted = self.idle.get(key)?;
            if !has_spoken(accepted) {
                return self.take(key);
            }
            // It is not the client that is waited for.
            self.idle.renew(key, now);
        }
    }

    /// When one may have been silent for `timeout`.
    pub(super) fn next_expiry(&self, timeout: Duration) -> Option<Duration> {
        self.idle.next_expiry(timeout)
    }

    fn forget(&self, accepted: &Accepted) {
        let removed = epoll::delete(&self.epoll, &accepted.socket);
        debug_assert!(removed.is_ok(), "it was in the set: {removed:?}");
    }
}

fn key_of(event: &Event) -> IdleKey {
    IdleKey::from_bits(event.data.u64())
}

/// Whether something is there to be read from a connection.
pub(super) fn has_spoken(accepted: &Accepted) -> bool {
    rustix::io::ioctl_fionread(&accepted.socket).is_ok_and(|bytes| bytes > 0)
}
