//! Accepting connections, and what happens to those that nobody has room for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_process::Peer;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::complaints::Complaint;
use super::listener::{AcceptOutcome, accept};
use super::{Accepted, FrontEnd};
use crate::config::Overload;

/// How many connections one turn accepts from one listener before others have theirs.
const ACCEPTS_PER_TURN: usize = 64;

/// The wait after the first refusal for want of room; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest wait for room.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a rejected client may take to hang up.
const LINGER: Duration = Duration::from_secs(1);

/// How many rejected clients are waited for at once.
const LINGERING_MAX: usize = 256;

/// Who has come in, and until when nobody else does.
#[derive(Debug, Default)]
pub(super) struct Door {
    pause: Pause,
    /// How many connections have got a number.
    numbered: u64,
    /// Held by every rejected client that is still being told so.
    lingering: Arc<()>,
}

/// Not accepting for a while, because this process or the machine is out of descriptors.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Duration>,
    last: Duration,
}

impl Door {
    /// How many connections have come, ever.
    pub(super) fn numbered(&self) -> u64 {
        self.numbered
    }

    /// When it opens again, if it is closed for a while.
    pub(super) fn due(&self) -> Option<Duration> {
        self.pause.until
    }

    pub(super) fn expire(&mut self, now: Duration) {
        if self.pause.until.is_some_and(|until| until <= now) {
            self.pause.until = None;
        }
    }
}

impl Pause {
    fn begin(&mut self, now: Duration) {
        self.last = (self.last * 2).clamp(PAUSE, PAUSE_MAX);
        self.until = Some(now + self.last);
    }

    fn went_well(&mut self) {
        self.last = Duration::ZERO;
    }
}

/// Why a listener was left alone.
enum Left {
    /// Nothing is waiting.
    Empty,
    /// Something may be waiting, and is accepted in the next turn.
    More,
    /// Something may be waiting, and there is no room for it.
    NoRoom,
}

impl FrontEnd {
    /// Accepts what is waiting and has room; true if a listener has more.
    pub(super) fn accept(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        let may_accept = self.life.is_serving() && !self.upgrade.is_waiting();
        if !may_accept || self.door.pause.until.is_some() {
            return false;
        }
        let mut more = false;
        for index in self.listeners.in_turn() {
            match self.accept_from(index, context, now) {
                Left::Empty => {}
                Left::More => more = true,
                Left::NoRoom => return more,
            }
        }
        more
    }

    fn accept_from(&mut self, index: usize, context: &mut Context<'_>, now: Duration) -> Left {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.has_room(now) {
                return Left::NoRoom;
            }
            let flags = self.plan.accept_flags();
            let Poll::Ready(polled) = self.listeners.poll_accept(index, flags, context) else {
                return Left::Empty;
            };
            match polled {
                Ok((AcceptOutcome::Connection(socket, peer), serial)) => {
                    self.door.pause.went_well();
                    let accepted = self.welcome(serial, socket, peer);
                    if let Err(accepted) = self.await_first_bytes(accepted, now) {
                        self.admit(accepted, now);
                    }
                }
                Ok((AcceptOutcome::None | AcceptOutcome::Gone, _)) => {}
                Ok((AcceptOutcome::NoRoom(error), _)) => {
                    self.make_room(&error, now);
                    return Left::NoRoom;
                }
                Err(error) => {
                    tracing::error!(%error, "a listener failed");
                    self.door.pause.begin(now);
                    return Left::NoRoom;
                }
            }
        }
        Left::More
    }

    /// Whether another connection would be welcome.
    fn has_room(&self, now: Duration) -> bool {
        match self.plan.server.overload {
            Overload::Wait if self.plan.server.wait_for_data => {
                self.queue.is_empty() && !self.roster.is_full()
            }
            Overload::Wait => self.queue.is_empty() && self.roster.has_credit(now),
            // Whoever finds no room is told so.
            Overload::Reject | Overload::Reset => true,
        }
    }

    /// Places a new connection, lets it wait, or turns it away.
    pub(super) fn admit(&mut self, accepted: Accepted, now: Duration) {
        let Some(accepted) = self.pass(accepted, now) else {
            return;
        };
        let accepted = match self.place_if_first(accepted, now) {
            Ok(()) => return,
            Err(accepted) => accepted,
        };
        if let Err(accepted) = self.queue.push(accepted, now) {
            self.turn_away(accepted, Complaint::QueueFull, now);
        }
    }

    /// Finds a place for a connection, unless others have waited longer.
    fn place_if_first(&mut self, accepted: Accepted, now: Duration) -> Result<(), Accepted> {
        if !self.queue.is_empty() {
            return Err(accepted);
        }
        self.place(accepted, now)
    }

    /// Turns away whoever has waited too long.
    pub(super) fn expire_waiting(&mut self, now: Duration) {
        if self.plan.server.overload == Overload::Wait {
            return;
        }
        while let Some(accepted) = self.queue.pop_expired(now) {
            self.turn_away(accepted, Complaint::WaitedTooLong, now);
        }
    }

    fn turn_away(&mut self, accepted: Accepted, why: Complaint, now: Duration) {
        self.outside.exchange.board.rejected();
        if self.outside.complain(why, 1, now) {
            tracing::warn!(connection = accepted.id, peer = %accepted.peer, "{}", why.words());
        }
        match self.plan.server.overload {
            Overload::Reject => self.reject(accepted.socket),
            _ => reset(&accepted.socket),
        }
    }

    /// Writes the message and closes, in its own time if there is not too much of that already.
    fn reject(&self, socket: OwnedFd) {
        let message = self.plan.server.reject_message.clone();
        if Arc::strong_count(&self.door.lingering) > LINGERING_MAX {
            // The socket's buffer is empty and the message short: it fits, and may be lost only if
            // the client is sending.
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _full = send(&socket, message.as_bytes(), flags);
            return;
        }
        let counted = Arc::clone(&self.door.lingering);
        tokio::spawn(async move {
            // A client that does not listen is not waited for.
            let _timeout = tokio::time::timeout(LINGER, say_no(socket, message)).await;
            drop(counted);
        });
    }

    /// Frees descriptors that are held only in case a worker dies, then waits a little.
    ///
    /// The connection that found no room stays in the kernel's queue.
    fn make_room(&mut self, error: &io::Error, now: Duration) {
        self.free_descriptors(error, now);
        self.door.pause.begin(now);
    }

    /// Frees descriptors that are held only in case a worker dies.
    pub(super) fn free_descriptors(&mut self, error: &io::Error, now: Duration) {
        let released = self.roster.release_received();
        let why = Complaint::FrontEndFull;
        if self.outside.complain(why, 1, now) {
            tracing::warn!(%error, released = released.len(), "{}", why.words());
        }
    }

    /// Accepts all that the kernel has queued, before the listeners are closed.
    pub(super) fn accept_the_last(&mut self, now: Duration) {
        if self.upgrade.is_waiting() {
            // It is another program's.
            return;
        }
        for index in self.listeners.in_turn() {
            // Without a descriptor nothing could be accepted either.
            if let Ok((socket, serial)) = self.listeners.duplicate(index) {
                self.accept_the_last_of(&socket, serial, now);
            }
        }
    }

    /// Accepts all that the kernel has queued for a listener that is about to be closed.
    pub(super) fn accept_the_last_of(&mut self, listener: &OwnedFd, serial: u16, now: Duration) {
        loop {
            match accept(listener.as_fd(), self.plan.accept_flags()) {
                Ok(AcceptOutcome::Connection(socket, peer)) => {
                    let accepted = self.welcome(serial, socket, peer);
                    self.queue.push_anyway(accepted, now);
                }
                Ok(AcceptOutcome::Gone) => {}
                Ok(AcceptOutcome::NoRoom(_)) if !self.roster.release_received().is_empty() => {}
                Ok(AcceptOutcome::None | AcceptOutcome::NoRoom(_)) | Err(_) => return,
            }
        }
    }

    /// Counts a connection that was just accepted.
    fn welcome(&mut self, listener: u16, socket: OwnedFd, peer: Peer) -> Accepted {
        self.outside.exchange.board.accepted();
        self.enroll(listener, socket, peer)
    }

    /// Gives a connection that is new to this program its number.
    pub(super) fn enroll(&mut self, listener: u16, socket: OwnedFd, peer: Peer) -> Accepted {
        self.door.numbered += 1;
        self.room.note(&socket);
        Accepted {
            socket,
            id: self.door.numbered,
            listener,
            peer,
            deaths: 0,
            first: None,
            state: None,
            consumed: 0,
        }
    }
}

/// Writes the message, and waits for the client to have read it.
async fn say_no(socket: OwnedFd, message: String) -> io::Result<()> {
    // A Unix socket is read and written by the same system calls.
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    let mut unsent = message.as_bytes();
    while !unsent.is_empty() {
        stream.writable().await?;
        match stream.try_write(unsent) {
            Ok(written) => unsent = &unsent[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    SockRef::from(&stream).shutdown(std::net::Shutdown::Write)?;
    // Closing with unread bytes would reset the connection and take the message with it.
    let mut sink = [0; 4096];
    loop {
        stream.ready(Interest::READABLE).await?;
        match stream.try_read(&mut sink) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Closes so that the client sees a reset.
fn reset(socket: &OwnedFd) {
    // A Unix socket has no linger, and closes as it always does.
    let _unsupported = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
