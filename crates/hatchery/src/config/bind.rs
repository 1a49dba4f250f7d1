//! Addresses to listen on, as text: `127.0.0.1:8080`, `unix:/run/echo.sock`, `fd:3`, `fd:http`,
//! `systemd`.
//!
//! Nothing is bound or resolved here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{ValueError, ValueProblem};

/// An address to listen on.
///
/// Displayed, it reads as it would be written in a `hatchery.toml`.
///
/// # Examples
///
/// ```
/// use hatchery::BindAddress;
///
/// let address: BindAddress = "unix:/run/echo.sock?mode=0660".parse()?;
/// assert!(matches!(address, BindAddress::Unix { mode: Some(0o660), .. }));
/// assert_eq!(address.to_string(), "unix:/run/echo.sock?mode=0660");
/// # Ok::<(), hatchery::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BindAddress {
    /// A TCP port, such as `127.0.0.1:8080` or `[::1]:8080`; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A socket file, such as `unix:/run/echo.sock` or `unix:/run/echo.sock?mode=0660`.
    Unix {
        /// The file; at most 107 bytes, without `?` in it and without `@` in front.
        path: PathBuf,
        /// Its permissions; `None` leaves them to the umask.
        mode: Option<u32>,
    },
    /// A name in Linux's abstract socket namespace, such as `unix:@echo`, without the `@`.
    Abstract(String),
    /// A listening socket that whoever started the program has opened, such as `fd:3`.
    Inherited(RawFd),
    /// The sockets that systemd has passed under a name, such as `fd:http`: letters, digits, `.`, `_`,
    /// `-` and `@`, with a letter in front.
    Named(String),
    /// All sockets that systemd has passed in `LISTEN_FDS`: `systemd`.
    Systemd,
}

/// The most bytes that a path or an abstract name has room for in a `sockaddr_un`.
const PATH_BYTES_MAX: usize = 107;

/// The first descriptor that is not standard input, output or error.
const FIRST_FD: RawFd = 3;

/// The longest name that systemd gives a descriptor.
const NAME_BYTES_MAX: usize = 255;

impl BindAddress {
    pub(super) const ALLOWED: &str = r#""127.0.0.1:8080", "[::1]:8080", "unix:/run/echo.sock", "unix:/run/echo.sock?mode=0660", "unix:@echo", "fd:3", "fd:http" or "systemd""#;

    pub(super) const ALLOWED_LIST: &str = r#"a list of "127.0.0.1:8080", "[::1]:8080", "unix:/run/echo.sock", "unix:/run/echo.sock?mode=0660", "unix:@echo", "fd:3", "fd:http" or "systemd""#;

    pub(super) fn parse(text: &str) -> Result<Self, BindAddressProblem> {
        if text == "systemd" {
            Ok(Self::Systemd)
        } else if let Some(number) = text.strip_prefix("fd:") {
            parse_fd(number).or_else(|problem| parse_named(number).ok_or(problem))
        } else if let Some(name) = text.strip_prefix("unix:@") {
            parse_abstract(name)
        } else if let Some(path) = text.strip_prefix("unix:") {
            parse_unix(path)
        } else {
            parse_tcp(text)
        }
    }

    /// Says whether only one of the two can be listened on.
    pub(crate) fn is_same_socket(&self, other: &Self) -> bool {
        match (self, other) {
            // The kernel chooses a new port for each of them.
            (Self::Tcp(one), Self::Tcp(_)) if one.port() == 0 => false,
            (Self::Unix { path: one, .. }, Self::Unix { path: two, .. }) => one == two,
            _ => self == other,
        }
    }

    /// Whether a socket that was opened for this address serves for `wanted` as well.
    pub(crate) fn serves_for(&self, wanted: &Self) -> bool {
        self == wanted || self.is_same_socket(wanted)
    }

    /// Says whether both may own the same descriptor, which depends on what systemd passes.
    pub(super) fn may_share_descriptor(&self, other: &Self) -> bool {
        let kinds = [self, other].map(Self::passed);
        kinds[0].is_some() && kinds[1].is_some() && kinds[0] != kinds[1]
    }

    /// How it names what systemd passes, if it does.
    fn passed(&self) -> Option<u8> {
        match self {
            Self::Inherited(_) => Some(0),
            Self::Named(_) => Some(1),
            Self::Systemd => Some(2),
            _ => None,
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, mode } => {
                write!(f, "unix:{}", path.display())?;
                match mode {
                    Some(mode) => write!(f, "?mode={mode:04o}"),
                    None => Ok(()),
                }
            }
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Inherited(number) => write!(f, "fd:{number}"),
            Self::Named(name) => write!(f, "fd:{name}"),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

impl FromStr for BindAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::parse(text).map_err(|problem| {
            ValueError::of_text(text, ValueProblem::Address(problem), Self::ALLOWED)
        })
    }
}

/// Why a text is not an address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindAddressProblem {
    /// What stands before the port is no IP address; names are not resolved.
    #[error("what stands before the port is not an IP address")]
    Host,
    /// An IPv6 address stands without the brackets that tell it from the port.
    #[error("an IPv6 address stands in brackets before the port")]
    Brackets,
    /// There is no port.
    #[error("the port is missing")]
    MissingPort,
    /// The port is no number or too large.
    #[error("the port is not 0 to 65535")]
    Port,
    /// The path or the abstract name is empty.
    #[error("the name of the socket is empty")]
    EmptyPath,
    /// The path or the abstract name has this many bytes, and 107 have room.
    #[error("the name of the socket has {0} bytes, and at most 107 have room")]
    LongPath(usize),
    /// The path or the abstract name contains a zero byte, which would end it.
    #[error("the name of the socket contains a zero byte")]
    ZeroByte,
    /// What follows the `?` is not `mode=` and octal permissions.
    #[error("after the ? stands only mode= and an octal number from 0 to 0777")]
    Mode,
    /// An abstract name is followed by permissions, and it has none.
    #[error("an abstract name has no mode, for it is not a file")]
    AbstractMode,
    /// Others than this machine's own could connect to it.
    #[error("it is neither a loopback address nor a socket file")]
    NotLocal,
    /// The descriptor is neither a number, but for the standard three, nor a name.
    #[error("the descriptor is neither a number from 3 nor a name")]
    Descriptor,
}

fn parse_fd(number: &str) -> Result<BindAddress, BindAddressProblem> {
    Some(number)
        .filter(|number| is_number(number))
        .and_then(|number| number.parse().ok())
        .filter(|&number| number >= FIRST_FD)
        .map(BindAddress::Inherited)
        .ok_or(BindAddressProblem::Descriptor)
}

fn parse_named(name: &str) -> Option<BindAddress> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_name = begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain);
    is_name.then(|| BindAddress::Named(name.to_owned()))
}

/// Says whether `text` is digits alone; the parsers of numbers would take a sign as well.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_abstract(name: &str) -> Result<BindAddress, BindAddressProblem> {
    check_name(name)?;
    if name.contains("?mode=") {
        return Err(BindAddressProblem::AbstractMode);
    }
    Ok(BindAddress::Abstract(name.to_owned()))
}

fn parse_unix(text: &str) -> Result<BindAddress, BindAddressProblem> {
    let (path, mode) = match text.split_once('?') {
        Some((path, option)) => (path, Some(parse_mode(option)?)),
        None => (text, None),
    };
    check_name(path)?;
    let path = PathBuf::from(path);
    Ok(BindAddress::Unix { path, mode })
}

fn parse_mode(option: &str) -> Result<u32, BindAddressProblem> {
    option
        .strip_prefix("mode=")
        .filter(|digits| is_number(digits))
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|&mode| mode <= 0o777)
        .ok_or(BindAddressProblem::Mode)
}

pub(super) fn check_name(name: &str) -> Result<(), BindAddressProblem> {
    match name.len() {
        0 => Err(BindAddressProblem::EmptyPath),
        _ if name.contains('\0') => Err(BindAddressProblem::ZeroByte),
        length if length > PATH_BYTES_MAX => Err(BindAddressProblem::LongPath(length)),
        _ => Ok(()),
    }
}

fn parse_tcp(text: &str) -> Result<BindAddress, BindAddressProblem> {
    text.parse()
        .map(BindAddress::Tcp)
        .map_err(|_| tcp_problem(text))
}

/// Finds out what is wrong with an address that the standard library refuses without a reason.
fn tcp_problem(text: &str) -> BindAddressProblem {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if text.parse::<Ipv6Addr>().is_ok() {
        return BindAddressProblem::Brackets;
    }
    if bare.parse::<IpAddr>().is_ok() {
        return BindAddressProblem::MissingPort;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return BindAddressProblem::MissingPort;
    };
    if port.is_empty() {
        BindAddressProblem::MissingPort
    } else if !is_number(port) || port.parse::<u16>().is_err() {
        BindAddressProblem::Port
    } else if host.parse::<Ipv6Addr>().is_ok() {
        BindAddressProblem::Brackets
    } else {
        BindAddressProblem::Host
    }
}
