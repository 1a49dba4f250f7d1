//! One connection to a manager, from a proxy's side: a request, then its answer.
//!
//! The socket never blocks; who waits, waits for it to be ready, with `poll(2)` or with tokio. A
//! connection that is closed gives up what was asked for on it and what is held by it, so a future
//! that is dropped just drops its connection.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::geteuid;
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;

use super::address::{Address, tune_tcp};
use super::error::ManagerError;
use super::frames::Frames;
use super::handshake::{Answer, Authkey, Greeting, Role, Terms, VERSION, Verdict, random};
use super::protocol::{GREETING_BYTES_MAX, LENGTH_BYTES, Reply, Request, decode, encode};
use crate::watch::watch_for;

/// How long a manager may take to accept a connection and to say so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// A connection that was accepted on both sides.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    frames: Frames,
    /// The most bytes of a frame, its length not counted.
    bytes_max: usize,
    state: State,
}

/// What a connection can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For a request.
    Idle,
    /// For nothing: a request may have been sent in part.
    Sending,
    /// For the answer to a request.
    Owed,
}

impl Connection {
    /// Connects to the manager at `address`, and waits until it has accepted.
    pub(super) fn open(address: &Address, key: Option<&Authkey>) -> Result<Self, ManagerError> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let socket = match address {
            Address::Unix(name) => connect_unix(name)?,
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECT_TIMEOUT)
                    .and_then(|stream| tune_tcp(&stream).map(|()| stream));
                stream.map_err(connect_error)?.into()
            }
        };
        rustix::io::ioctl_fionbio(&socket, true).map_err(|error| ManagerError::Os(error.into()))?;
        let mut connection = Self {
            socket,
            frames: Frames::default(),
            bytes_max: GREETING_BYTES_MAX,
            state: State::Idle,
        };
        let terms = match (connection.receive(Some(deadline))?, address) {
            (Greeting::Rejected(rejection), _) => return Err(ManagerError::Rejected(rejection)),
            (Greeting::Welcome(terms), Address::Unix(_)) => terms,
            (Greeting::Challenge(nonce), Address::Tcp(_)) => {
                let key = key.ok_or_else(|| ManagerError::NoAuthkey(address.to_string()))?;
                connection.answer(key, &nonce, deadline)?
            }
            // On TCP nobody is trusted unproved.
            _ => return Err(ManagerError::Protocol),
        };
        if terms.version != VERSION {
            return Err(ManagerError::Protocol);
        }
        connection.bytes_max = usize::try_from(terms.frame_bytes_max).unwrap_or(usize::MAX);
        Ok(connection)
    }

    /// Sends a request and waits for the answer; `None` if it does not come by the deadline.
    ///
    /// An answer that is still owed to somebody who no longer waits for it is passed over.
    pub(super) fn exchange(
        &mut self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Option<Reply>, ManagerError> {
        let frame = self.frame(request)?;
        if self.state == State::Owed && self.wait(deadline)?.is_none() {
            return Ok(None);
        }
        self.state = State::Sending;
        let mut rest = &frame[..];
        while !self.try_send(&mut rest)? {
            if !wait_ready(self.socket.as_fd(), PollFlags::OUT, deadline)? {
                return Ok(None);
            }
        }
        self.state = State::Owed;
        self.wait(deadline)
    }

    /// Waits for the answer to a request that was sent; `None` if it does not come by the deadline.
    pub(super) fn wait(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<Reply>, ManagerError> {
        loop {
            if let Some(reply) = self.take()? {
                return Ok(Some(reply));
            }
            if !wait_ready(self.socket.as_fd(), PollFlags::IN, deadline)? {
                return Ok(None);
            }
            self.try_receive()?;
        }
    }

    /// As [`Connection::exchange`], for as long as it takes, with tokio.
    pub(super) async fn exchange_async(
        &mut self,
        request: &Request,
    ) -> Result<Reply, ManagerError> {
        let frame = self.frame(request)?;
        if self.state == State::Owed {
            self.wait_async().await?;
        }
        self.state = State::Sending;
        let mut rest = &frame[..];
        while !self.try_send(&mut rest)? {
            self.ready(Interest::WRITABLE).await?;
        }
        self.state = State::Owed;
        self.wait_async().await
    }

    async fn wait_async(&mut self) -> Result<Reply, ManagerError> {
        loop {
            if let Some(reply) = self.take()? {
                return Ok(reply);
            }
            self.ready(Interest::READABLE).await?;
            self.try_receive()?;
        }
    }

    /// Sends what is not answered, without waiting, and tells whether the connection is still good.
    pub(super) fn tell(&mut self, request: &Request) -> bool {
        let frame = encode(request);
        let mut rest = &frame[..];
        self.state != State::Sending && matches!(self.try_send(&mut rest), Ok(true))
    }

    /// Whether a request can be sent: no answer is owed, and the manager has not hung up.
    pub(super) fn is_fit(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.state == State::Idle
            && self.frames.is_empty()
            && matches!(recv(&self.socket, &mut byte[..], flags), Err(Errno::AGAIN))
    }

    /// Whether the manager still owes an answer, so that nothing else can be asked.
    pub(super) fn is_busy(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether another request can be made once the answer that may be owed has come.
    pub(super) fn is_whole(&self) -> bool {
        self.state != State::Sending
    }

    fn frame(&self, request: &Request) -> Result<Vec<u8>, ManagerError> {
        let frame = encode(request);
        let bytes = frame.len() - LENGTH_BYTES;
        if bytes > self.bytes_max {
            return Err(ManagerError::TooLarge {
                bytes: bytes as u64,
                bytes_max: self.bytes_max as u64,
            });
        }
        Ok(frame)
    }

    fn take(&mut self) -> Result<Option<Reply>, ManagerError> {
        let frame = self.frames.take(self.bytes_max);
        let Some(body) = frame.map_err(|_| ManagerError::Protocol)? else {
            return Ok(None);
        };
        self.state = State::Idle;
        decode(&body).map(Some).map_err(|_| ManagerError::Protocol)
    }

    /// Sends what can be sent at once, and tells whether that was all.
    fn try_send(&self, rest: &mut &[u8]) -> Result<bool, ManagerError> {
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => *rest = &rest[sent..],
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(lost_or(error)),
            }
        }
        Ok(true)
    }

    /// Receives what is there.
    fn try_receive(&mut self) -> Result<(), ManagerError> {
        let room = self.frames.room();
        let filled = room.len();
        room.resize(filled + READ_BYTES, 0);
        let received = recv(&self.socket, &mut room[filled..], RecvFlags::empty());
        let count = received.as_ref().map_or(0, |(count, _)| *count);
        room.truncate(filled + count);
        match received {
            Ok((0, _)) => Err(ManagerError::ManagerLost),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(lost_or(error)),
        }
    }

    async fn ready(&self, interest: Interest) -> Result<(), ManagerError> {
        // Registered for this wait alone: the next one may be in another runtime, or in none.
        let source = watch_for(self.socket.as_fd(), interest).map_err(ManagerError::Os)?;
        let ready = source.ready(interest).await;
        ready.map(drop).map_err(ManagerError::Os)
    }

    /// Proves to know the key, and has the manager prove it.
    fn answer(
        &mut self,
        key: &Authkey,
        theirs: &[u8; 32],
        deadline: Instant,
    ) -> Result<Terms, ManagerError> {
        let nonce = random().map_err(ManagerError::Os)?;
        let proof = key.prove(Role::Client, theirs, &nonce);
        let frame = encode(&Answer { nonce, proof });
        let mut rest = &frame[..];
        while !self.try_send(&mut rest)? {
            if !wait_ready(self.socket.as_fd(), PollFlags::OUT, Some(deadline))? {
                return Err(ManagerError::Unresponsive);
            }
        }
        match self.receive(Some(deadline))? {
            Verdict::Welcome { proof, terms } => {
                if !key.verify(&proof, Role::Manager, theirs, &nonce) {
                    return Err(ManagerError::Impostor);
                }
                Ok(terms)
            }
            Verdict::Rejected(rejection) => Err(ManagerError::Rejected(rejection)),
        }
    }

    /// Receives one message of the handshake.
    fn receive<T: DeserializeOwned>(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<T, ManagerError> {
        loop {
            let frame = self.frames.take(self.bytes_max);
            if let Some(body) = frame.map_err(|_| ManagerError::Protocol)? {
                return decode(&body).map_err(|_| ManagerError::Protocol);
            }
            if !wait_ready(self.socket.as_fd(), PollFlags::IN, deadline)? {
                return Err(ManagerError::Unresponsive);
            }
            self.try_receive()?;
        }
    }
}

/// Connects to a name in the abstract namespace, and makes sure whose it is.
fn connect_unix(name: &str) -> Result<OwnedFd, ManagerError> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The kernel makes whoever finds the manager's queue full wait.
        socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
        socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
        Ok(OwnedFd::from(socket))
    };
    let socket = connect().map_err(connect_error)?;
    let peer = socket_peercred(&socket).map_err(|error| ManagerError::Os(error.into()))?;
    if peer.uid != geteuid() {
        return Err(ManagerError::Stranger(peer.uid.as_raw()));
    }
    Ok(socket)
}

fn connect_error(error: io::Error) -> ManagerError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotFound => ManagerError::ManagerLost,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ManagerError::Unresponsive,
        _ => ManagerError::Os(error),
    }
}

fn lost_or(error: Errno) -> ManagerError {
    match error {
        Errno::PIPE | Errno::CONNRESET | Errno::CONNABORTED | Errno::TIMEDOUT => {
            ManagerError::ManagerLost
        }
        _ => ManagerError::Os(error.into()),
    }
}

/// Waits until the socket is ready, and tells whether it is before the deadline.
fn wait_ready(
    socket: BorrowedFd<'_>,
    events: PollFlags,
    deadline: Option<Instant>,
) -> Result<bool, ManagerError> {
    let mut sockets = [PollFd::from_borrowed_fd(socket, events)];
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(ManagerError::Os(error.into())),
        }
    }
}
