//! The header that a proxy puts before a connection to say whose it is (PROXY protocol, 1 and 2).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::connection::Connection;

/// What a header of version 2 begins with. No header of version 1 is shorter.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end.
const LINE_BYTES_MAX: usize = 107;

/// The longest rest of a header of version 2 that is read.
const REST_BYTES_MAX: usize = 4096;

/// Whose connection it is that a proxy passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    addresses: Option<(SocketAddr, SocketAddr)>,
}

impl ProxyHeader {
    const UNKNOWN: Self = Self { addresses: None };

    /// Who connected to the proxy; `None` if the proxy speaks for itself or does not say.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.addresses.map(|(source, _)| source)
    }

    /// Which address of the proxy the client connected to.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.addresses.map(|(_, destination)| destination)
    }
}

/// Why no header was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The connection begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// The header does not keep to the protocol.
    #[error("the PROXY header cannot be read")]
    Malformed,
    /// The connection ended or failed before the header did.
    #[error("the connection ended within its PROXY header")]
    Os(#[from] io::Error),
}

impl Connection {
    /// Reads the PROXY header, of version 1 or 2, that this connection begins with.
    ///
    /// Call it first, where only proxies that are trusted can connect: anybody else could claim to be
    /// anybody. Nothing behind the header is read. It waits as long as the peer lets it: give it a
    /// limit with `tokio::time::timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`ProxyHeaderError`]; the connection is of no further use then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a cancelled call may have read a part.
    pub async fn proxy_header(&mut self) -> Result<ProxyHeader, ProxyHeaderError> {
        let mut start = [0; SIGNATURE.len()];
        self.read_exact(&mut start).await?;
        if start == *SIGNATURE {
            let mut head = [0; 4];
            self.read_exact(&mut head).await?;
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            if len > REST_BYTES_MAX {
                return Err(ProxyHeaderError::Malformed);
            }
            let mut rest = vec![0; len];
            self.read_exact(&mut rest).await?;
            return decode_binary(head[0], head[1], &rest).ok_or(ProxyHeaderError::Malformed);
        }
        if !start.starts_with(WORD) {
            return Err(ProxyHeaderError::Missing);
        }
        let line = self.read_line(&start).await?;
        decode_line(&line).ok_or(ProxyHeaderError::Malformed)
    }

    /// Reads the rest of a line, and not a byte more.
    async fn read_line(&mut self, start: &[u8]) -> Result<Vec<u8>, ProxyHeaderError> {
        let mut line = start.to_vec();
        while !line.ends_with(b"\r\n") {
            // Where there is no end in sight, there are two bytes more.
            let missing = if line.ends_with(b"\r") { 1 } else { 2 };
            let len = line.len();
            if len + missing > LINE_BYTES_MAX {
                return Err(ProxyHeaderError::Malformed);
            }
            line.resize(len + missing, 0);
            self.read_exact(&mut line[len..]).await?;
        }
        Ok(line)
    }
}

/// Decodes a header of version 1.
fn decode_line(line: &[u8]) -> Option<ProxyHeader> {
    let line = line.strip_prefix(WORD)?.strip_suffix(b"\r\n")?;
    let line = str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let is_of_kind: fn(&IpAddr) -> bool = match words.next()? {
        "UNKNOWN" => return Some(ProxyHeader::UNKNOWN),
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return None,
    };
    let mut ip = || words.next()?.parse().ok().filter(is_of_kind);
    let (source, destination) = (ip()?, ip()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    let addresses = (
        SocketAddr::new(source, source_port),
        SocketAddr::new(destination, destination_port),
    );
    words.next().is_none().then_some(ProxyHeader {
        addresses: Some(addresses),
    })
}

fn port(word: &str) -> Option<u16> {
    // A sign would be taken for a part of the number.
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}

/// Decodes a header of version 2 from what follows its signature.
fn decode_binary(version_and_command: u8, family: u8, rest: &[u8]) -> Option<ProxyHeader> {
    match version_and_command {
        // The proxy itself, which looks whether somebody is here.
        0x20 => return Some(ProxyHeader::UNKNOWN),
        0x21 => {}
        _ => return None,
    }
    let addresses = match family >> 4 {
        1 => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let (destination, ports) = rest.split_first_chunk::<4>()?;
            let [source, destination] = [source, destination].map(|it| Ipv4Addr::from(*it).into());
            with_ports(source, destination, ports)?
        }
        2 => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let (destination, ports) = rest.split_first_chunk::<16>()?;
            let [source, destination] = [source, destination].map(|it| Ipv6Addr::from(*it).into());
            with_ports(source, destination, ports)?
        }
        // A Unix socket, or what is not said.
        0 | 3 => return Some(ProxyHeader::UNKNOWN),
        _ => return None,
    };
    Some(ProxyHeader {
        addresses: Some(addresses),
    })
}

fn with_ports(
    source: IpAddr,
    destination: IpAddr,
    ports: &[u8],
) -> Option<(SocketAddr, SocketAddr)> {
    let &[a, b, c, d] = ports.first_chunk::<4>()?;
    let source = SocketAddr::new(source, u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(destination, u16::from_be_bytes([c, d]));
    Some((source, destination))
}

/// Shows who connected.
impl fmt::Display for ProxyHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Some(source) => source.fmt(formatter),
            None => formatter.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(source: &str, destination: &str) -> Option<ProxyHeader> {
        let addresses = Some((source.parse().unwrap(), destination.parse().unwrap()));
        Some(ProxyHeader { addresses })
    }

    #[test]
    fn a_line_names_client_and_proxy() {
        let four = decode_line(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
        let six = decode_line(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");

        assert_eq!(four, header("192.0.2.1:56324", "192.0.2.2:443"));
        assert_eq!(six, header("[2001:db8::1]:1", "[2001:db8::2]:65535"));
    }

    #[test]
    fn a_proxy_may_not_know() {
        let line = decode_line(b"PROXY UNKNOWN whatever\r\n");
        let local = decode_binary(0x20, 0, &[]);
        let unix = decode_binary(0x21, 0x31, &[0; 216]);

        assert_eq!([line, local, unix], [Some(ProxyHeader::UNKNOWN); 3]);
    }

    #[test]
    fn a_line_that_keeps_to_no_rule_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        ] {
            assert_eq!(decode_line(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_follows_the_addresses_is_skipped() {
        let rest = [192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 0x04, 1, 0xBB, 4, 0, 1, 9];

        let read = decode_binary(0x21, 0x11, &rest);

        assert_eq!(read, header("192.0.2.1:56324", "192.0.2.2:443"));
        assert_eq!(decode_binary(0x21, 0x11, &rest[..11]), None, "it is cut");
        assert_eq!(decode_binary(0x11, 0x11, &rest), None, "another version");
    }

    proptest! {
        #[test]
        fn any_addresses_are_read_from_either_version(
            ips: (u128, u128), is_four: bool, ports: (u16, u16),
        ) {
            let ip = |bits: u128| match is_four {
                true => IpAddr::from(Ipv4Addr::from_bits((bits & 0xFFFF_FFFF) as u32)),
                false => IpAddr::from(Ipv6Addr::from_bits(bits)),
            };
            let (source, destination) = (ip(ips.0), ip(ips.1));
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let kind = if is_four { "TCP4" } else { "TCP6" };
            let line =
                format!("PROXY {kind} {source} {destination} {} {}\r\n", ports.0, ports.1);
            let rest = [
                octets(source),
                octets(destination),
                ports.0.to_be_bytes().to_vec(),
                ports.1.to_be_bytes().to_vec(),
            ];

            let read = decode_line(line.as_bytes());
            let family = if is_four { 0x11 } else { 0x21 };
            let binary = decode_binary(0x21, family, &rest.concat());

            let addresses = (
                SocketAddr::new(source, ports.0),
                SocketAddr::new(destination, ports.1),
            );
            prop_assert!(line.len() <= LINE_BYTES_MAX);
            prop_assert_eq!(read, Some(ProxyHeader { addresses: Some(addresses) }));
            prop_assert_eq!(binary, read);
        }

        #[test]
        fn what_anybody_may_send_does_no_harm(first: u8, family: u8, bytes: Vec<u8>) {
            let _read = decode_binary(first, family, &bytes);
            let _line = decode_line(&[WORD, &bytes, b"\r\n"].concat());
        }
    }
}
