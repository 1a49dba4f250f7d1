//! Reading a request of HTTP/1.1: its first line, and whose name the client used for us.
//!
//! Plain code over bytes. Only what the admin pages need is understood, and everything else refused.

/// The longest head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A request for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// What is asked for, without the query.
    pub(super) path: &'a str,
    /// The name that the client knows this server by, if it said so.
    pub(super) host: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no request.
    Malformed,
    /// It asks to do something else than to be shown a page.
    Method,
    /// It has a body, of which nobody has use.
    Body,
    /// It is of another version of HTTP.
    Version,
}

/// Finds where the head of a request ends, if all of it is there.
pub(super) fn head_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// Reads the head of a request.
pub(super) fn parse(head: &[u8]) -> Result<Request<'_>, Refusal> {
    let head = str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target, version) = (first.next(), first.next(), first.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, first.next())
    else {
        return Err(Refusal::Malformed);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(Refusal::Version);
    }
    if method != "GET" {
        return Err(Refusal::Method);
    }
    if !target.starts_with('/') {
        return Err(Refusal::Malformed);
    }
    let mut host = None;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Refusal::Malformed)?;
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("host") {
            host = Some(value.trim());
        }
        if is("transfer-encoding") || (is("content-length") && value.trim() != "0") {
            return Err(Refusal::Body);
        }
    }
    let path = target.split('?').next().unwrap_or_default();
    Ok(Request { path, host })
}

/// Whether a name is one that only means this machine: a page of somebody else's, whose name was made
/// to lead here, comes with that name.
pub(super) fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_path_and_the_name_that_was_used() {
        let head = b"GET /status.json?x=1 HTTP/1.1\r\nhost: localhost:9180\r\nAccept: */*\r\n\r\n";

        assert_eq!(head_len(head), Some(head.len()));
        assert_eq!(
            parse(head),
            Ok(Request {
                path: "/status.json",
                host: Some("localhost:9180")
            })
        );
    }

    #[test]
    fn what_is_no_request_for_a_page_is_refused() {
        for (head, refusal) in [
            ("POST / HTTP/1.1\r\n\r\n", Refusal::Method),
            ("GET / HTTP/2\r\n\r\n", Refusal::Version),
            ("GET /\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1 x\r\n\r\n", Refusal::Malformed),
            ("GET http://a/ HTTP/1.1\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Refusal::Body),
            ("\r\n\r\n", Refusal::Malformed),
        ] {
            assert_eq!(parse(head.as_bytes()), Err(refusal), "{head:?}");
        }
        assert_eq!(parse(b"\xFF\xFE"), Err(Refusal::Malformed));
    }

    #[test]
    fn only_addresses_and_localhost_are_names_of_this_machine_alone() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:9180",
            "[::1]:9180",
            "[::1]",
        ] {
            assert!(is_own_name(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com:80",
            "",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_own_name(host), "{host}");
        }
    }
}
