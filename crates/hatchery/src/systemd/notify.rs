//! Telling systemd how the server is, as `sd_notify(3)` does.
//!
//! The socket is a datagram socket that is never waited for: news that finds no room is lost. What
//! systemd is to keep, or to keep no longer, is waited for a moment.

use std::env;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use hatchery_process::monotonic;

/// How long to wait for room for a descriptor.
const ROOM_TIMEOUT: Duration = Duration::from_millis(100);

/// Where news goes.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

/// Something that systemd is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News<'a> {
    /// The server can be used, for the first time or again.
    Ready,
    /// It reads its configuration again, since this time of the monotonic clock.
    Reloading(Duration),
    Stopping,
    /// It is alive.
    Watchdog,
    /// Another process is the main process now.
    MainPid(u32),
    /// How it is, in words.
    Status(&'a str),
}

impl Notifier {
    /// Finds whom to tell; `None` if nobody wants to know.
    pub(crate) fn from_environment() -> io::Result<Option<Self>> {
        // A worker has not got the variables, but what this process executes may have.
        if hatchery_process::is_child() {
            return Ok(None);
        }
        match env::var_os("NOTIFY_SOCKET") {
            Some(address) if !address.is_empty() => Self::to(&address.to_string_lossy()).map(Some),
            _ => Ok(None),
        }
    }

    fn to(address: &str) -> io::Result<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(std::process::id().into());
        let micros = number("WATCHDOG_USEC").filter(|&micros| micros > 0 && is_ours);
        Ok(Self {
            socket,
            address,
            watchdog: micros.map(Duration::from_micros),
        })
    }

    /// How often it must be said that the server is alive, at the least.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells several things at once.
    pub(crate) fn tell(&self, news: &[News<'_>]) {
        let sent = self
            .socket
            .send_to_addr(text(news).as_bytes(), &self.address);
        if let Err(error) = sent {
            tracing::debug!(%error, "systemd could not be told");
        }
    }
}

/// Keeping descriptors for the next start.
impl Notifier {
    /// Has systemd keep a listening socket under this name.
    ///
    /// One that it keeps already it does not keep twice.
    ///
    /// # Errors
    ///
    /// Returns the error of `sendmsg(2)`. That systemd is not to keep anything, it does not say.
    pub(crate) fn keep(&self, name: &str, socket: BorrowedFd<'_>) -> io::Result<()> {
        // A socket that listens has no end that would have to be watched for.
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}\n"), &[socket])
    }

    /// Has systemd keep what it has under this name no longer.
    ///
    /// # Errors
    ///
    /// Returns the error of `sendmsg(2)`.
    pub(crate) fn forget(&self, name: &str) -> io::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
    }

    fn send(&self, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&self.address)?;
        socket.set_write_timeout(Some(ROOM_TIMEOUT))?;
        hatchery_os::send(&socket, &[IoSlice::new(text.as_bytes())], descriptors)
    }
}

impl News<'_> {
    /// That it reads its configuration from now on.
    pub(crate) fn reloading_now() -> Self {
        Self::Reloading(monotonic())
    }
}

/// The lines of the protocol.
fn text(news: &[News<'_>]) -> String {
    let lines = news.iter().map(|news| match news {
        News::Ready => "READY=1\n".to_owned(),
        News::Reloading(since) => {
            format!("RELOADING=1\nMONOTONIC_USEC={}\n", since.as_micros())
        }
        News::Stopping => "STOPPING=1\n".to_owned(),
        News::Watchdog => "WATCHDOG=1\n".to_owned(),
        News::MainPid(pid) => format!("MAINPID={pid}\n"),
        News::Status(words) => format!("STATUS={}\n", words.replace('\n', " ")),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_a_line_for_each_thing() {
        let news = [
            News::Reloading(Duration::from_millis(2)),
            News::Status("two\nlines"),
            News::MainPid(7),
        ];

        let expected = "RELOADING=1\nMONOTONIC_USEC=2000\nSTATUS=two lines\nMAINPID=7\n";
        assert_eq!(text(&news), expected);
        assert_eq!(text(&[News::Ready]), "READY=1\n");
    }

    #[test]
    fn an_abstract_socket_is_told_too() {
        let name = format!("hatchery-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();

        Notifier::to(&format!("@{name}"))
            .unwrap()
            .tell(&[News::Watchdog]);

        let mut buffer = [0; 64];
        let length = systemd.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"WATCHDOG=1\n");
    }
}
