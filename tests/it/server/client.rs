//! A client that says lines and hears lines.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::support::Deadline;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Client {
    /// A Unix socket is read and written by the same system calls.
    stream: BufReader<TcpStream>,
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Line(String),
    End,
    Reset,
}

/// What a handler says of itself and its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) worker: i32,
    pub(super) listener: usize,
    pub(super) peer: String,
    pub(super) id: u64,
}

impl Client {
    /// Connects to an address as a server announces it.
    #[track_caller]
    pub(super) fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub(super) fn try_connect(address: &str) -> io::Result<Self> {
        let stream = if let Some(name) = address.strip_prefix("unix:@") {
            let name = unix::SocketAddr::from_abstract_name(name)?;
            TcpStream::from(OwnedFd::from(UnixStream::connect_addr(&name)?))
        } else if let Some(path) = address.strip_prefix("unix:") {
            TcpStream::from(OwnedFd::from(UnixStream::connect(path)?))
        } else {
            TcpStream::connect(address)?
        };
        Self::over(stream)
    }

    /// Connects to a TCP address from this address of the machine.
    #[track_caller]
    pub(super) fn connect_from(source: [u8; 4], address: &str) -> Self {
        Self::try_connect_from(source, address).expect("the server listens")
    }

    pub(super) fn try_connect_from(source: [u8; 4], address: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().expect("it is a TCP address");
        // A program that another test starts at this moment must not have it.
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddr::from((source, 0))).expect("127.0.0.0/8 is this machine");
        connect(&socket, &address)?;
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        let patience = Duration::try_from(Deadline::usual().left());
        stream.set_read_timeout(patience.ok())?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    /// Returns the address of this end.
    pub(super) fn address(&self) -> String {
        let address = self.stream.get_ref().local_addr();
        address.expect("the socket has an address").to_string()
    }

    /// Sends a line; what becomes of it, an answer tells.
    pub(super) fn say(&self, line: &str) {
        let _broken = self
            .stream
            .get_ref()
            .write_all(format!("{line}\n").as_bytes());
    }

    /// Sends a part of a line.
    pub(super) fn begin(&self, part: &str) {
        let _broken = self.stream.get_ref().write_all(part.as_bytes());
    }

    /// Sends the end.
    pub(super) fn hang_up(&self) {
        let _broken = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Hangs up, and takes in whatever still comes.
    pub(super) fn close(&mut self) {
        self.hang_up();
        while let Some(Heard::Line(_)) = self.try_hear() {}
    }

    /// Waits for what comes next.
    #[track_caller]
    pub(super) fn hear(&mut self) -> Heard {
        self.try_hear().expect("the server answers in time")
    }

    /// Waits for what comes next; `None` if nothing comes in time.
    pub(super) fn try_hear(&mut self) -> Option<Heard> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Some(Heard::End),
            Ok(_) => Some(Heard::Line(line.trim_end_matches('\n').to_owned())),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(Heard::Reset),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("the client cannot read: {error}"),
        }
    }

    /// Tells whether nothing has come.
    pub(super) fn hears_nothing(&self) -> bool {
        let stream = self.stream.get_ref();
        let set = stream.set_nonblocking(true);
        let seen = stream.peek(&mut [0]);
        let reset = stream.set_nonblocking(false);
        set.and(reset).expect("a socket can be set");
        seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a line and waits for the answer, which has to be a line.
    #[track_caller]
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    /// Waits for a line.
    #[track_caller]
    pub(super) fn line(&mut self) -> String {
        match self.hear() {
            Heard::Line(line) => line,
            other => panic!("the server does not answer: {other:?}"),
        }
    }

    /// Asks who serves this connection.
    #[track_caller]
    pub(super) fn about(&mut self) -> About {
        self.say("who");
        self.hear_about()
    }

    /// Waits for the answer to `who`.
    #[track_caller]
    pub(super) fn hear_about(&mut self) -> About {
        let answer = self.line();
        let words: Vec<&str> = answer.split(' ').collect();
        let [
            "worker",
            worker,
            "listener",
            listener,
            "peer",
            peer,
            "id",
            id,
        ] = words[..]
        else {
            panic!("{answer} is not about a connection");
        };
        About {
            worker: worker.parse().expect("it is a pid"),
            listener: listener.parse().expect("it is a number"),
            peer: peer.to_owned(),
            id: id.parse().expect("it is a number"),
        }
    }

    /// Asks for the worker's pid.
    #[track_caller]
    pub(super) fn worker(&mut self) -> i32 {
        self.about().worker
    }
}
