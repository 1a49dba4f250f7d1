//! Connections that wait for their clients, on their way from an old program to a new one.
//!
//! The old program sends what it keeps when it has handed the server over, and what its handlers park
//! while it drains. So a connection between two requests outlives the program, and its client notices
//! nothing. If the next upgrade comes before the old program has ended, they are passed through. A new program that does not take them, or dies, gets none: then they end as in any drain.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_os::Obstacle;
use tokio::io::unix::AsyncFd;

use super::crew::SEND_RETRY;
use super::life::Phase;
use super::watching::has_spoken;
use super::{Accepted, FrontEnd};
use crate::upgrade::{Message, Parked, receive, send};

/// How many connections are taken from the old program in a turn.
const TAKEN_PER_TURN: usize = 32;

/// A new program that gets the connections that wait for their clients.
#[derive(Debug)]
pub(super) struct Successor {
    channel: OwnedFd,
    /// What was not sent yet.
    waiting: VecDeque<Accepted>,
    /// When to try again, if there was no room.
    retry: Option<Duration>,
}

/// An old program that sends them.
#[derive(Debug)]
pub(super) struct Testator {
    pub(super) channel: AsyncFd<OwnedFd>,
    /// The places of its addresses among those of this program.
    pub(super) places: Vec<(usize, u16)>,
}

impl Successor {
    pub(super) fn new(channel: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&channel, true)?;
        Ok(Self {
            channel,
            waiting: VecDeque::new(),
            retry: None,
        })
    }

    /// Whether all that it is to have is sent.
    pub(super) fn has_all(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }
}

impl Testator {
    /// The place among this program's addresses; of one that it does not have, the first.
    fn place_of(&self, group: usize) -> u16 {
        let place = self.places.iter().find(|(number, _)| *number == group);
        place.map_or(0, |(_, place)| *place)
    }
}

impl FrontEnd {
    /// Has a connection go to the new program, if there is one that takes it.
    pub(super) fn bequeath_parked(&mut self, accepted: Accepted) -> Result<(), Accepted> {
        let Some(successor) = &mut self.upgrade.successor else {
            return Err(accepted);
        };
        successor.waiting.push_back(accepted);
        self.alarm.turn_again();
        Ok(())
    }

    /// Sends what there is for the new program.
    pub(super) fn send_parked(&mut self, now: Duration) {
        let Some(successor) = &mut self.upgrade.successor else {
            return;
        };
        if successor.retry.is_some_and(|at| now < at) {
            return;
        }
        successor.retry = None;
        while let Some(accepted) = successor.waiting.front() {
            let connection = Parked {
                group: usize::from(self.listeners.place_of(accepted.listener)),
                peer: accepted.peer,
                state: accepted.state.clone(),
            };
            let message = Message::Parked { connection };
            match send(&successor.channel, &message, &[accepted.socket.as_fd()]) {
                Ok(()) => drop(successor.waiting.pop_front()),
                Err(error) if Obstacle::of(&error).passes() => {
                    // A pause of its own: a worker that takes nothing is not to hold this up.
                    successor.retry = Some(now + SEND_RETRY);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the new program takes no more connections");
                    return self.forget_successor(now);
                }
            }
        }
    }

    /// Does with what the new program does not take what every drain does.
    fn forget_successor(&mut self, now: Duration) {
        let Some(successor) = self.upgrade.successor.take() else {
            return;
        };
        for accepted in successor.waiting {
            if has_spoken(&accepted) {
                self.queue.push_anyway(accepted, now);
            }
        }
    }

    /// Takes over the connections that the old program sends.
    pub(super) fn take_bequeathed(&mut self, context: &mut Context<'_>, now: Duration) {
        if self.life.phase == Phase::Ending {
            self.upgrade.testator = None;
        }
        for _ in 0..TAKEN_PER_TURN {
            if self.upgrade.testator.is_none() || !self.has_room_for_one(now) {
                return;
            }
            match self.next_bequeathed(context) {
                Poll::Pending => return,
                Poll::Ready(None) => {
                    self.upgrade.testator = None;
                    return;
                }
                Poll::Ready(Some((connection, socket, place))) => {
                    self.take_over_parked(connection, socket, place, now);
                }
            }
        }
        self.alarm.turn_again();
    }

    /// Receives the next connection; `None` if there will be none.
    fn next_bequeathed(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(Parked, OwnedFd, u16)>> {
        let Some(testator) = &self.upgrade.testator else {
            return Poll::Ready(None);
        };
        while let Poll::Ready(Ok(mut guard)) = testator.channel.poll_read_ready(context) {
            match receive(guard.get_inner()) {
                Ok(Some((Message::Parked { connection }, mut descriptors))) => {
                    let place = testator.place_of(connection.group);
                    let socket = descriptors.pop().expect("its number was checked");
                    return Poll::Ready(Some((connection, socket, place)));
                }
                Ok(Some(_)) => {}
                Ok(None) => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(None);
                }
                Err(error) => {
                    tracing::error!(%error, "a connection of the old program is lost");
                    return Poll::Ready(None);
                }
            }
        }
        Poll::Pending
    }
}
