//! Listening sockets: binding them, and accepting from them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use hatchery_process::Peer;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, acceptfrom_with};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{BindAddress, Origin};
use crate::error::BindError;
use crate::server::SocketKind;
use crate::systemd::{passed_as, passed_descriptors};

/// The permissions of the control socket.
const CONTROL_MODE: u32 = 0o600;

/// How many may wait to control the server.
const CONTROL_BACKLOG: u32 = 16;

/// How many may wait to look at the server.
const ADMIN_BACKLOG: u32 = 128;

/// A bound socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    address: String,
    kind: SocketKind,
    /// Where the address was set.
    origin: Origin,
    /// The address as it was set.
    configured: Option<BindAddress>,
    /// Its number among all listeners that this server ever has.
    serial: u16,
    /// Removed with the listener.
    file: Option<SocketFile>,
}

/// How sockets are to be bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindOptions {
    /// How many connections the kernel holds that nobody has accepted.
    pub(crate) backlog: u32,
    /// How many sockets share each TCP address, with `SO_REUSEPORT` if more than one.
    pub(crate) sharers: usize,
}

/// What `accept` answered.
#[derive(Debug)]
pub(crate) enum AcceptOutcome {
    /// A connection.
    Connection(OwnedFd, Peer),
    /// There is none waiting.
    None,
    /// This one was gone before it was accepted; there may be others.
    Gone,
    /// There is no room for another descriptor or socket; it stays in the kernel's queue.
    NoRoom(io::Error),
}

impl Listener {
    /// Binds every address, each as `sharers` sockets or as one that is shared.
    ///
    /// The origins are those of the addresses.
    pub(crate) fn bind_all(
        addresses: &[BindAddress],
        origins: &[Origin],
        options: BindOptions,
    ) -> Result<Vec<Vec<Self>>, BindError> {
        let mut groups = Vec::new();
        for (address, origin) in addresses.iter().zip(origins) {
            let bound = Self::bind_groups(address, options).map_err(|error| BindError {
                origin: origin.clone(),
                ..error
            })?;
            for mut group in bound {
                for listener in &mut group {
                    listener.origin = origin.clone();
                    listener.configured = Some(address.clone());
                }
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// Binds an address, of which systemd may make several.
    fn bind_groups(
        address: &BindAddress,
        options: BindOptions,
    ) -> Result<Vec<Vec<Self>>, BindError> {
        let numbers = match address {
            BindAddress::Systemd => passed_descriptors(),
            BindAddress::Named(name) => passed_as(name),
            _ => return Ok(vec![Self::bind(address, options)?]),
        };
        let numbers: Vec<RawFd> = numbers.map_err(|error| refused(address, error))?;
        let inherited = numbers.into_iter();
        let inherited = inherited.map(|number| Ok(vec![Self::inherit(number, address)?]));
        inherited.collect()
    }

    fn bind(address: &BindAddress, options: BindOptions) -> Result<Vec<Self>, BindError> {
        match address {
            BindAddress::Tcp(tcp) => {
                bind_tcp(*tcp, options).map_err(|error| refused(address, error))
            }
            BindAddress::Unix { path, mode } => {
                let listener = bind_unix(path, *mode, options.backlog);
                Ok(vec![listener.map_err(|error| refused(address, error))?])
            }
            BindAddress::Abstract(name) => {
                let path = format!("\0{name}");
                let socket = SockAddr::unix(path)
                    .and_then(|name| listen_unix(&name, None, options.backlog))
                    .map_err(|error| refused(address, error))?;
                Ok(vec![Self::of_unix(socket, address.to_string(), None)])
            }
            BindAddress::Inherited(number) => Ok(vec![Self::inherit(*number, address)?]),
            other => Err(refused(other, io::ErrorKind::Unsupported.into())),
        }
    }

    fn inherit(number: RawFd, address: &BindAddress) -> Result<Self, BindError> {
        let socket = hatchery_os::inherit_listener(number)
            .map_err(|error| refused(address, io::Error::other(error)))?;
        let socket = Socket::from(socket);
        let prepared = socket
            .set_nonblocking(true)
            .and_then(|()| socket.local_addr());
        let local = prepared.map_err(|error| refused(address, error))?;
        Ok(match local.as_socket() {
            Some(tcp) => Self::of_tcp(socket, tcp),
            None => Self::of_unix(socket, format!("fd:{number}"), None),
        })
    }

    /// Takes over a socket of a program that listened on `address` before; its file stays with that one.
    ///
    /// # Errors
    ///
    /// Returns an error if it is no socket that could listen there.
    pub(crate) fn take_over(
        socket: OwnedFd,
        (address, shown): (&BindAddress, &str),
        origin: &Origin,
    ) -> Result<Self, BindError> {
        let refused = |source| BindError {
            origin: origin.clone(),
            ..refused(address, source)
        };
        let socket = Socket::from(socket);
        let local = socket
            .set_nonblocking(true)
            .and_then(|()| socket.local_addr());
        let mut listener = match local.map_err(refused)?.as_socket() {
            Some(tcp) => Self::of_tcp(socket, tcp),
            None => Self::of_unix(socket, shown.to_owned(), None),
        };
        listener.origin = origin.clone();
        listener.configured = Some(address.clone());
        Ok(listener)
    }

    /// Goes on with a socket that listens at `address` and that systemd has kept.
    ///
    /// # Errors
    ///
    /// As [`take_over`](Self::take_over), and the error of `listen(2)`.
    pub(crate) fn resume(
        socket: OwnedFd,
        address: &BindAddress,
        origin: &Origin,
        options: BindOptions,
    ) -> Result<Self, BindError> {
        let shown = address.to_string();
        let mut listener = Self::take_over(socket, (address, &shown), origin)?;
        let adapted = listener.adapt(address, options.backlog);
        adapted.map_err(|source| BindError {
            origin: origin.clone(),
            ..refused(address, source)
        })?;
        Ok(listener)
    }

    /// Takes over a control socket at `path`; its file stays with whom it was taken over from.
    pub(crate) fn take_over_control(socket: OwnedFd, path: &Path) -> Self {
        Self {
            configured: Some(BindAddress::Unix {
                path: path.to_owned(),
                mode: Some(CONTROL_MODE),
            }),
            ..Self::of_unix(socket.into(), format!("unix:{}", path.display()), None)
        }
    }

    /// Leaves its socket file to another program that listens there.
    pub(crate) fn leave_file(&mut self) {
        if let Some(file) = self.file.take() {
            file.leave();
        }
    }

    /// Owns its socket file from now on, if it has one.
    pub(crate) fn claim_file(&mut self) {
        if let Some(BindAddress::Unix { path, .. }) = &self.configured {
            // Without a file nobody can connect, and nothing has to be removed.
            self.file = SocketFile::at(path).ok();
        }
    }

    /// The address as it was set.
    pub(crate) fn configured(&self) -> Option<&BindAddress> {
        self.configured.as_ref()
    }

    fn of_tcp(socket: Socket, address: SocketAddr) -> Self {
        // AcceptOutcome sockets inherit it, which saves a system call for each.
        let _unsupported = socket.set_tcp_nodelay(true);
        Self {
            socket: socket.into(),
            address: address.to_string(),
            kind: SocketKind::Tcp,
            origin: Origin::Program,
            configured: None,
            serial: 0,
            file: None,
        }
    }

    fn of_unix(socket: Socket, address: String, file: Option<SocketFile>) -> Self {
        Self {
            socket: socket.into(),
            address,
            kind: SocketKind::Unix,
            origin: Origin::Program,
            configured: None,
            serial: 0,
            file,
        }
    }

    /// Where it listens, in the form that a client can use.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Binds the control socket, for nobody but this user.
    pub(crate) fn control(path: &Path, origin: Origin) -> Result<Self, BindError> {
        bind_unix(path, Some(CONTROL_MODE), CONTROL_BACKLOG).map_err(|source| BindError {
            origin,
            key: "control.socket",
            address: format!("unix:{}", path.display()),
            source,
        })
    }

    /// Binds the admin listener; a socket file is for nobody but this user, unless it says so.
    pub(crate) fn admin(address: &BindAddress, origin: Origin) -> Result<Self, BindError> {
        let mut address = address.clone();
        if let BindAddress::Unix { mode, .. } = &mut address {
            mode.get_or_insert(CONTROL_MODE);
        }
        let options = BindOptions {
            backlog: ADMIN_BACKLOG,
            sharers: 1,
        };
        let bound = Self::bind(&address, options).map_err(|error| BindError {
            origin,
            key: "admin.bind",
            ..error
        })?;
        let listener = bound.into_iter().next();
        Ok(Self {
            configured: Some(address),
            ..listener.expect("an address that is not shared has one socket")
        })
    }

    /// Whether it was bound for this address.
    pub(crate) fn is_for(&self, address: &BindAddress) -> bool {
        let configured = self.configured.as_ref();
        configured.is_some_and(|it| it.serves_for(address))
    }

    /// Takes over what may change about an address that stays.
    ///
    /// # Errors
    ///
    /// Returns the errors of `chmod(2)` and `listen(2)`.
    pub(crate) fn adapt(&mut self, address: &BindAddress, backlog: u32) -> io::Result<()> {
        if let BindAddress::Unix {
            path,
            mode: Some(mode),
        } = address
        {
            rustix::fs::chmod(path, Mode::from_raw_mode(*mode))?;
        }
        self.configured = Some(address.clone());
        rustix::net::listen(&self.socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(())
    }

    /// Stops listening, if the socket is this server's alone, whoever else may have it.
    pub(crate) fn stop(&self) {
        let is_own = matches!(
            self.configured,
            Some(BindAddress::Tcp(_) | BindAddress::Abstract(_))
        );
        if is_own {
            // It is about to be closed anyway.
            let _stopped = rustix::net::shutdown(&self.socket, Shutdown::Read);
        }
    }

    pub(crate) fn serial(&self) -> u16 {
        self.serial
    }

    pub(crate) fn set_serial(&mut self, serial: u16) {
        self.serial = serial;
    }

    /// Where its address was set.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Which kind of socket it accepts.
    pub(crate) fn kind(&self) -> SocketKind {
        self.kind
    }

    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Accepts one connection from a socket that listens.
///
/// # Errors
///
/// Returns the errors of `accept4(2)` that mean that the listener is of no use any more.
pub(crate) fn accept(listener: BorrowedFd<'_>, flags: SocketFlags) -> io::Result<AcceptOutcome> {
    match acceptfrom_with(listener, flags | SocketFlags::CLOEXEC) {
        Ok((socket, from)) => {
            let peer = from.and_then(|address| SocketAddr::try_from(address).ok());
            Ok(AcceptOutcome::Connection(
                socket,
                peer.map_or(Peer::Unix, Peer::Inet),
            ))
        }
        Err(Errno::WOULDBLOCK) => Ok(AcceptOutcome::None),
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
            Ok(AcceptOutcome::NoRoom(error.into()))
        }
        Err(error @ (Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP)) => {
            Err(error.into())
        }
        // Everything else is an error of the connection that was about to be accepted.
        Err(_) => Ok(AcceptOutcome::Gone),
    }
}

fn refused(address: &BindAddress, source: io::Error) -> BindError {
    BindError {
        origin: Origin::Program,
        key: "server.bind",
        address: address.to_string(),
        source,
    }
}

fn bind_tcp(address: SocketAddr, options: BindOptions) -> io::Result<Vec<Listener>> {
    // Sharing is only with ourselves: whoever else has the port makes this fail.
    let first = bound_tcp(address, false)?;
    let bound = local_address(&first)?;
    let sockets = if options.sharers <= 1 {
        vec![first]
    } else {
        drop(first);
        let sharers = (0..options.sharers).map(|_| bound_tcp(bound, true));
        sharers.collect::<io::Result<_>>()?
    };
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    let listeners = sockets.into_iter().map(|socket| {
        socket.listen(backlog)?;
        Ok(Listener::of_tcp(socket, bound))
    });
    listeners.collect()
}

fn bound_tcp(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // An IPv4 address is bound where one is asked for, and only there.
        socket.set_only_v6(true)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address
        .as_socket()
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn bind_unix(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<Listener> {
    let name = SockAddr::unix(path)?;
    remove_stale(path, &name)?;
    let socket = listen_unix(&name, mode, backlog)?;
    if let Some(mode) = mode {
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    }
    let file = SocketFile::at(path)?;
    let address = format!("unix:{}", path.display());
    Ok(Listener::of_unix(socket, address, Some(file)))
}

fn listen_unix(name: &SockAddr, mode: Option<u32>, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    if let Some(mode) = mode {
        // The file must never be open to more than it should be, not even for a moment.
        rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
    }
    socket.bind(name)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Removes a socket file that a dead server has left; one that is in use stays, and any other file.
fn remove_stale(path: &Path, name: &SockAddr) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        // Binding says what is wrong, if anything is.
        return Ok(());
    }
    // A server whose queue is full would make a blocking connect wait.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket, which goes when the listener does.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            inode: fs::symlink_metadata(path)?.st_ino(),
        })
    }

    /// Leaves the file to somebody else.
    fn leave(mut self) {
        // No file has this number.
        self.inode = 0;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path);
        if now.is_ok_and(|file| file.st_ino() == self.inode) {
            // Somebody may have been faster; the file is gone either way.
            let _gone = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(sharers: usize) -> BindOptions {
        BindOptions {
            backlog: 16,
            sharers,
        }
    }

    fn bind(address: &str, sharers: usize) -> Result<Vec<Listener>, BindError> {
        Listener::bind(&address.parse().unwrap(), options(sharers))
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_even_among_sharers() {
        let first = bind("127.0.0.1:0", 3).unwrap();

        let error = bind(first[0].address(), 3).unwrap_err();

        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let address = format!("unix:{}?mode=0640", path.display());

        let listeners = bind(&address, 1).unwrap();

        let mode = fs::metadata(&path).unwrap().st_mode();
        assert_eq!(mode & 0o777, 0o640);
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_file_of_a_dead_server_is_taken_over_and_that_of_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix:{}/s", folder.path().display());
        let mut dead = bind(&address, 1).unwrap();
        let left = dead[0].file.take().unwrap();
        left.leave();
        drop(dead);

        let alive = bind(&address, 1).unwrap();
        let error = bind(&address, 1).unwrap_err();

        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(alive.len(), 1);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, "precious").unwrap();

        let error = bind(&format!("unix:{}", path.display()), 1).unwrap_err();

        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_connection_is_accepted_with_its_peer() {
        let listeners = bind("127.0.0.1:0", 1).unwrap();
        let listener = listeners[0].as_fd();
        let none = accept(listener, SocketFlags::NONBLOCK).unwrap();
        assert!(matches!(none, AcceptOutcome::None));

        let client = std::net::TcpStream::connect(listeners[0].address()).unwrap();

        let AcceptOutcome::Connection(_, peer) = accept(listener, SocketFlags::NONBLOCK).unwrap()
        else {
            panic!("the client has connected");
        };
        assert_eq!(peer, Peer::Inet(client.local_addr().unwrap()));
    }
}
