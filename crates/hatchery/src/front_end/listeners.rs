//! The addresses of the server, in their order: the sockets of each, and how they are accepted from.
//!
//! A listener has a serial number for as long as the server lives, for connections remember by which
//! they came. A reload may put the addresses into another order: the place of a listener is looked up
//! by its serial number when somebody is told of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;

use super::listener::{AcceptOutcome, Listener, accept};
use crate::config::BindAddress;
use crate::error::{Error, Result};
use crate::server::Plan;
use crate::watch::watch;

/// What the server listens on.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Each address's sockets: one, or one a worker where workers accept themselves.
    groups: Vec<Vec<Listener>>,
    /// The sockets that the front end accepts from; none where workers do.
    watched: Vec<AsyncFd<OwnedFd>>,
    /// The place of each listener among the addresses, by its serial number.
    places: Vec<u16>,
    /// Which of them comes first in this turn.
    first: usize,
}

/// An address by a new configuration.
pub(super) enum Address {
    /// One that the server has already, and where it is among the old ones.
    Kept(usize, BindAddress),
    /// A new one.
    New(Vec<Listener>, AsyncFd<OwnedFd>),
}

/// A listener that goes: what the kernel has queued for it is accepted before it is closed.
pub(super) struct Leaving {
    pub(super) socket: AsyncFd<OwnedFd>,
    pub(super) serial: u16,
    /// Its file goes with it.
    group: Vec<Listener>,
}

impl Leaving {
    /// Has nobody connect any more, also where systemd still has the socket.
    pub(super) fn stop(&self) {
        self.group.iter().for_each(Listener::stop);
    }
}

impl Listeners {
    /// Has the front end accept from all of them, unless workers do.
    pub(super) fn new(plan: &Plan, mut groups: Vec<Vec<Listener>>) -> Result<Self> {
        let watched = if plan.is_direct() {
            Vec::new()
        } else {
            let sockets = groups.iter().flatten();
            let sockets = sockets.map(|listener| watch(listener.try_clone()?));
            let sockets: io::Result<Vec<_>> = sockets.collect();
            sockets.map_err(Error::os("listeners cannot be watched"))?
        };
        let mut places = Vec::new();
        for listener in groups.iter_mut().flatten() {
            let place = u16::try_from(places.len()).unwrap_or(u16::MAX);
            listener.set_serial(place);
            places.push(place);
        }
        Ok(Self {
            groups,
            watched,
            places,
            first: 0,
        })
    }

    /// Where the server listens.
    pub(super) fn addresses(&self) -> Vec<String> {
        let groups = self.groups.iter();
        groups.map(|group| group[0].address().to_owned()).collect()
    }

    /// The sockets of each address.
    pub(super) fn groups(&self) -> &[Vec<Listener>] {
        &self.groups
    }

    /// The first socket of each address.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &Listener> {
        self.groups.iter().map(|group| &group[0])
    }

    /// The place among the addresses of the listener with this serial number.
    pub(super) fn place_of(&self, serial: u16) -> u16 {
        self.places[usize::from(serial)]
    }

    /// The serial number of the listener at this place; of none, the first that there ever was.
    pub(super) fn serial_at(&self, place: u16) -> u16 {
        let serial = self.places.iter().position(|&other| other == place);
        let serial = serial.and_then(|serial| u16::try_from(serial).ok());
        serial.unwrap_or(0)
    }

    /// Whether the front end accepts.
    pub(super) fn accepts(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Those that are accepted from in this turn; each turn begins with another, so that none takes
    /// all the room.
    pub(super) fn in_turn(&mut self) -> impl Iterator<Item = usize> + use<> {
        let count = self.watched.len();
        let first = self.first.wrapping_add(1);
        self.first = first;
        (0..count).map(move |offset| first.wrapping_add(offset) % count)
    }

    /// Accepts a connection from one of them, and says by which listener it comes.
    ///
    /// If nothing is waiting, the task is woken when something is.
    pub(super) fn poll_accept(
        &self,
        index: usize,
        flags: SocketFlags,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(AcceptOutcome, u16)>> {
        // The readiness is tokio's memory of the last event; asking costs no system call.
        let Poll::Ready(Ok(mut guard)) = self.watched[index].poll_read_ready(context) else {
            return Poll::Pending;
        };
        let outcome = accept(guard.get_inner().as_fd(), flags)?;
        if matches!(outcome, AcceptOutcome::None) {
            guard.clear_ready();
            // Registers for the next event, or finds one that came in between.
            if self.watched[index].poll_read_ready(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok((outcome, self.groups[index][0].serial())))
    }

    /// Duplicates the socket of one of them, and says which listener it is.
    pub(super) fn duplicate(&self, index: usize) -> io::Result<(OwnedFd, u16)> {
        let listener = &self.groups[index][0];
        Ok((listener.try_clone()?, listener.serial()))
    }

    /// What a worker in this post accepts from, where workers do.
    pub(super) fn of_post(&self, post: usize) -> impl Iterator<Item = BorrowedFd<'_>> {
        let groups = self.groups.iter();
        groups.map(move |group| group[post % group.len()].as_fd())
    }

    /// Closes all of them.
    pub(super) fn close(&mut self) {
        self.watched.clear();
        self.groups.clear();
    }

    /// Puts the addresses into their new order, and returns those that go.
    pub(super) fn rearrange(&mut self, addresses: Vec<Address>, backlog: u32) -> Vec<Leaving> {
        let groups = std::mem::take(&mut self.groups).into_iter();
        let watched = std::mem::take(&mut self.watched).into_iter();
        let mut old: Vec<_> = groups.zip(watched).map(Some).collect();
        for (place, address) in addresses.into_iter().enumerate() {
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            let (group, watched) = match address {
                Address::New(mut group, watched) => {
                    let serial = self.next_serial(place);
                    group[0].set_serial(serial);
                    (group, watched)
                }
                Address::Kept(index, address) => {
                    let (mut group, watched) = old[index].take().expect("an address is kept once");
                    if let Err(error) = group[0].adapt(&address, backlog) {
                        tracing::warn!(%address, %error, "an address stays as it was");
                    }
                    self.places[usize::from(group[0].serial())] = place;
                    (group, watched)
                }
            };
            self.groups.push(group);
            self.watched.push(watched);
        }
        let gone = old.into_iter().flatten();
        let gone = gone.map(|(group, socket)| Leaving {
            serial: group[0].serial(),
            group,
            socket,
        });
        gone.collect()
    }

    /// Returns those that were new, and are not to be.
    pub(super) fn give_back(&mut self, addresses: Vec<Address>) -> Vec<Leaving> {
        let mut gone = Vec::new();
        for (place, address) in addresses.into_iter().enumerate() {
            if let Address::New(group, socket) = address {
                gone.push(Leaving {
                    serial: self.next_serial(u16::try_from(place).unwrap_or(u16::MAX)),
                    group,
                    socket,
                });
            }
        }
        gone
    }

    /// The serial number of a listener that is new at this place.
    fn next_serial(&mut self, place: u16) -> u16 {
        self.places.push(place);
        u16::try_from(self.places.len() - 1).expect("a server has fewer than 65,536 listeners")
    }

    /// Closes those that are another program's now; what the kernel has queued there is its affair.
    pub(super) fn give_away(&mut self, numbers: &[usize]) {
        let groups = std::mem::take(&mut self.groups);
        let mut watched = std::mem::take(&mut self.watched).into_iter();
        for (number, mut group) in groups.into_iter().enumerate() {
            let watched = watched.next();
            if numbers.contains(&number) {
                group.iter_mut().for_each(Listener::leave_file);
                continue;
            }
            self.groups.push(group);
            self.watched.extend(watched);
        }
    }

    /// Makes those this program's that were another's, with their files.
    pub(super) fn claim(&mut self, backlog: u32) {
        for listener in self.groups.iter_mut().flatten() {
            listener.claim_file();
            let configured = listener.configured().cloned();
            let adapted = configured.map(|address| listener.adapt(&address, backlog));
            if let Some(Err(error)) = adapted {
                let address = listener.address();
                tracing::warn!(address, %error, "an address stays as it was");
            }
        }
    }
}
