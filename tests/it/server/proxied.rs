//! A server behind a proxy that says whose connections it passes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::fixture;

#[test]
fn a_proxy_says_whose_connection_it_is() {
    let mut server = fixture!("proxied").start();
    let address = server.line_of("main");
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    binary.extend([192, 0, 2, 7, 192, 0, 2, 8, 0, 80, 0, 81]);
    let cases: [(&[u8], &str); 4] = [
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.8 80 81\r\n",
            "192.0.2.7:80: hello",
        ),
        (&binary, "192.0.2.7:80: hello"),
        (
            b"PROXY TCP4 nonsense\r\n",
            "the PROXY header cannot be read",
        ),
        (
            b"GET / HTTP/1.1\r\n",
            "the connection does not begin with a PROXY header",
        ),
    ];
    for (header, expected) in cases {
        let mut client = TcpStream::connect(&address).unwrap();

        client.write_all(&[header, b"hello"].concat()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();

        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
}
