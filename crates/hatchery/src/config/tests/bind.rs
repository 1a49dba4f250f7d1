//! What is an address to listen on, and what is wrong with what is none.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::any_address;
use crate::config::{BindAddress, BindAddressProblem};

#[test]
fn every_form_of_address_is_read() {
    let unix = |path: &str, mode| BindAddress::Unix {
        path: path.into(),
        mode,
    };
    for (text, address) in [
        (
            "127.0.0.1:8080",
            BindAddress::Tcp(([127, 0, 0, 1], 8080).into()),
        ),
        ("[::1]:0", BindAddress::Tcp((Ipv6Addr::LOCALHOST, 0).into())),
        ("unix:/run/echo.sock", unix("/run/echo.sock", None)),
        ("unix:/run/a b,c?mode=0660", unix("/run/a b,c", Some(0o660))),
        ("unix:./@echo", unix("./@echo", None)),
        ("unix:@echo", BindAddress::Abstract("echo".to_owned())),
        ("fd:3", BindAddress::Inherited(3)),
        ("fd:http", BindAddress::Named("http".to_owned())),
        ("fd:a-b.socket", BindAddress::Named("a-b.socket".to_owned())),
        ("systemd", BindAddress::Systemd),
    ] {
        assert_eq!(text.parse(), Ok(address.clone()), "{text}");
        assert_eq!(address.to_string(), text);
    }
}

#[test]
fn a_refusal_says_which_part_is_wrong() {
    use BindAddressProblem as Problem;

    let long = "x".repeat(108);
    for (text, problem) in [
        ("localhost:8080", Problem::Host),
        (":8080", Problem::Host),
        ("*:8080", Problem::Host),
        ("tcp://127.0.0.1:80", Problem::Host),
        ("", Problem::MissingPort),
        ("8080", Problem::MissingPort),
        ("127.0.0.1", Problem::MissingPort),
        ("127.0.0.1:", Problem::MissingPort),
        ("[::1]", Problem::MissingPort),
        ("::1", Problem::Brackets),
        ("::1:8080", Problem::Brackets),
        ("127.0.0.1:65536", Problem::Port),
        ("127.0.0.1:+80", Problem::Port),
        ("127.0.0.1:http", Problem::Port),
        ("unix:", Problem::EmptyPath),
        ("unix:?mode=0660", Problem::EmptyPath),
        ("unix:@", Problem::EmptyPath),
        ("unix:/a\0b", Problem::ZeroByte),
        (&format!("unix:{long}"), Problem::LongPath(108)),
        (&format!("unix:@{long}"), Problem::LongPath(108)),
        ("unix:/a?", Problem::Mode),
        ("unix:/a?mode=0888", Problem::Mode),
        ("unix:/a?mode=1777", Problem::Mode),
        ("unix:/a?mode=+777", Problem::Mode),
        ("unix:/a?owner=me", Problem::Mode),
        ("unix:@a?mode=0660", Problem::AbstractMode),
        ("fd:2", Problem::Descriptor),
        ("fd:-3", Problem::Descriptor),
        ("fd:+3", Problem::Descriptor),
        ("fd:99999999999", Problem::Descriptor),
        ("fd:", Problem::Descriptor),
        ("fd:3a", Problem::Descriptor),
        ("fd:a:b", Problem::Descriptor),
    ] {
        assert_eq!(BindAddress::parse(text), Err(problem), "{text}");
    }
}

#[test]
fn a_name_of_107_bytes_has_room() {
    let name = "x".repeat(107);
    assert!(format!("unix:{name}").parse::<BindAddress>().is_ok());
    assert!(format!("unix:@{name}").parse::<BindAddress>().is_ok());
}

#[test]
fn the_error_says_what_is_allowed() {
    let error = "localhost:8080".parse::<BindAddress>().unwrap_err();
    assert_eq!(
        error.to_string(),
        r#""localhost:8080" is not an address to listen on, what stands before the port is not an IP address; allowed: "127.0.0.1:8080", "[::1]:8080", "unix:/run/echo.sock", "unix:/run/echo.sock?mode=0660", "unix:@echo", "fd:3", "fd:http" or "systemd""#
    );
}

proptest! {
    #[test]
    fn a_shown_address_reads_the_same(address in any_address()) {
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn no_text_panics(text in "\\PC*|(unix:@?|fd:|\\[)?[0-9a-f:.?=mode]*") {
        let _ = text.parse::<BindAddress>();
    }
}
