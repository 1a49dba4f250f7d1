//! The examples that are servers and clients.
//!
//! Each listens on a port of the kernel's choice, but for `hello`, whose port may be taken: then it
//! is left out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;

use super::example;
use crate::support::{Deadline, Fixture, eventually};

/// Where the example `hello` listens.
const HELLO: &str = "127.0.0.1:8080";

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Characters of one to four bytes, and some of which the upper case is longer or shorter.
const TEXT: &str = "aé ßŉ €\u{10428}ı";

#[test]
fn hello_answers_in_upper_case() {
    // Holding the UDP port of that number keeps other runs of this test away.
    let (Ok(_alone), Ok(free)) = (UdpSocket::bind(HELLO), TcpListener::bind(HELLO)) else {
        eprintln!("left out: {HELLO} is taken");
        return;
    };
    drop(free);
    let mut hello = example("hello").start();
    let mut client = None;
    eventually(Deadline::usual(), "hello listens", || {
        client = TcpStream::connect(HELLO).ok();
        client.is_some()
    });

    let answer = client.map(|client| exchange(&client, b"hello\n"));

    assert_eq!(answer.as_deref(), Some(&b"HELLO\n"[..]));
    interrupt(&mut hello);
}

#[test]
fn uppercase_server_breaks_no_character_wherever_the_stream_is_cut() {
    let (mut server, address) = serve("uppercase_server", "4");
    for cut in 0..=TEXT.len() {
        let (first, second) = TEXT.as_bytes().split_at(cut);
        let whole = TEXT[..TEXT.floor_char_boundary(cut)].to_uppercase();
        let mut client = connect(&address);

        client.write_all(first).unwrap();
        let mut answer = vec![0; whole.len()];
        client.read_exact(&mut answer).unwrap();
        answer.extend(exchange(&client, second));

        assert!(answer.starts_with(whole.as_bytes()), "cut at {cut}");
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer, TEXT.to_uppercase(), "cut at {cut}");
    }
    interrupt(&mut server);
}

#[test]
fn uppercase_server_passes_what_is_not_utf8() {
    let (mut server, address) = serve("uppercase_server", "2");
    let cases: [(&[u8], &[u8]); 5] = [
        (b"", b""),
        (b"a\xFFb", b"A\xFFB"),
        // The beginning of a character, in the middle and at the end.
        (b"a\xE2\x82b", b"A\xE2\x82B"),
        (b"a\xE2\x82", b"A\xE2\x82"),
        // Half of a surrogate pair.
        (b"a\xED\xA0\x80b", b"A\xED\xA0\x80B"),
    ];
    for (sent, expected) in cases {
        let answer = exchange(&connect(&address), sent);

        assert_eq!(answer, expected, "{sent:?}");
    }
    interrupt(&mut server);
}

#[test]
fn uppercase_client_prints_the_answer_to_each_line() {
    let (mut server, address) = serve("uppercase_server", "1");
    let mut client = example("uppercase_client").args(&address).start();

    client.say("grün\n\nstraße");
    client.hang_up();

    assert_eq!(client.rest(), ["GRÜN", "STRASSE"]);
    assert_eq!(client.wait().code(), Some(0), "{}", client.errors());
    interrupt(&mut server);
}

#[test]
fn uppercase_client_says_that_the_server_has_gone_while_it_waits_for_a_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = example("uppercase_client").args(&address).start();
    let (mut server, _) = listener.accept().unwrap();
    client.say("hello");
    server.read_exact(&mut [0; 6]).unwrap();
    server.write_all(b"HELLO\n").unwrap();
    assert_eq!(client.line(), "HELLO");

    drop(server);

    assert_eq!(client.wait().code(), Some(1));
    let complaint = format!("error: the server at {address} has closed the connection\n");
    assert_eq!(client.errors(), complaint);
}

#[test]
fn uppercase_client_says_that_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);

    let mut client = example("uppercase_client").args(&address).start();

    assert_eq!(client.wait().code(), Some(1));
    let errors = client.errors();
    let complaint = format!("error: cannot connect to {address}: ");
    assert!(errors.starts_with(&complaint), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn preload_has_the_table_in_memory_once() {
    let mut server = example("preload").args("127.0.0.1:0").start();
    let table = kib(&server.line_of("table:"));
    let shares: Vec<u64> = (0..4)
        .map(|_| kib(server.line_of("worker").rsplit(": ").next().unwrap()))
        .collect();
    let address = server.line_of("listening on");

    let answer = exchange(&connect(&address), b"4999998\n97\n1\nseven\n");

    let refusal = "not a number from 2 to 4999999\n";
    let expected = format!("2 × 3 × 191 × 4363\n97\n{refusal}{refusal}");
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
    // The fork server has it too: five share it.
    assert!(shares.iter().all(|&share| share > table / 5), "{shares:?}");
    assert!(shares.iter().all(|&share| share < table / 2), "{shares:?}");
    interrupt(&mut server);
}

#[test]
fn worker_body_counts_for_each_worker_and_says_goodbye() {
    let (mut server, address) = serve("worker_body", "");
    let clients = (0..4).map(|_| BufReader::new(connect(&address)));
    let mut clients: Vec<BufReader<TcpStream>> = clients.collect();
    let mut welcomes: Vec<String> = clients.iter_mut().map(read_line).collect();

    server.process().signal(Signal::INT);
    let farewells: Vec<String> = clients.iter_mut().map(read_line).collect();
    let said = server.rest();

    welcomes.sort();
    let expected = [(1, 0), (1, 1), (2, 0), (2, 1)];
    let expected =
        expected.map(|(client, worker)| format!("Welcome, client {client} of worker {worker}!"));
    assert_eq!(welcomes, expected);
    assert_eq!(farewells, ["The server ends. Goodbye!"; 4]);
    for worker in 0..2 {
        let goodbye = format!("worker {worker}: goodbye after 2 clients");
        assert!(said.contains(&goodbye), "{said:?}");
    }
    assert!(!said.iter().any(|line| line.contains("so far")), "{said:?}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn tower_layers_has_two_clients_in_each_worker_and_none_for_longer_than_it_may() {
    let (mut server, address) = serve("tower_layers", "3");
    let clients = (0..4).map(|_| BufReader::new(connect(&address)));
    let mut clients: Vec<BufReader<TcpStream>> = clients.collect();
    let mut welcomes: Vec<String> = clients.iter_mut().map(read_line).collect();
    let mut fifth = BufReader::new(connect(&address));
    let silence = Some(Duration::from_millis(100));
    fifth.get_ref().set_read_timeout(silence).unwrap();
    assert!(fifth.read(&mut [0; 1]).is_err(), "there is no place");
    fifth.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();

    let left = clients.remove(0);
    assert_eq!(exchange(left.get_ref(), b"bye\n"), b"BYE\n");

    assert_eq!(read_line(&mut fifth), welcomes[0]);
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "its time is up");
    }
    welcomes.sort();
    let expected = [0, 0, 1, 1].map(|worker| format!("Welcome to worker {worker}!"));
    assert_eq!(welcomes, expected);
    drop(fifth);
    interrupt(&mut server);
}

/// Starts an example that says where it listens.
pub(super) fn serve(name: &str, arguments: &str) -> (Fixture, String) {
    let mut server = example(name).args("127.0.0.1:0").args(arguments).start();
    let address = server.line_of("listening on");
    (server, address)
}

/// Tells a server to end, as Ctrl-C does, and waits until it has.
#[track_caller]
pub(super) fn interrupt(server: &mut Fixture) {
    server.process().signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

pub(super) fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("the server listens");
    let limited = client.set_read_timeout(Some(PATIENCE));
    limited.expect("the time is not zero");
    client
}

/// Sends bytes and the end, and returns what comes until the server's end.
#[track_caller]
pub(super) fn exchange(mut client: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).expect("the server reads");
    let ended = client.shutdown(Shutdown::Write);
    ended.expect("the server waits for the end");
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    read.expect("the server answers and ends");
    answer
}

#[track_caller]
fn read_line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).expect("the server writes text");
    line.trim_end().to_owned()
}

fn kib(size: &str) -> u64 {
    let number = size.strip_suffix(" KiB").and_then(|kib| kib.parse().ok());
    number.unwrap_or_else(|| panic!("{size} is not a number of KiB"))
}
