//! The example `redis_server`, with Redis's own clients and with one that does as it likes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;

use super::servers::{connect, exchange, interrupt, serve};
use super::tool;
use crate::support::{Deadline, eventually};

/// Commands for `redis-cli`, and what it prints for each when its output is no terminal.
const DIALOGUE: [(&str, &str); 34] = [
    ("PING", "PONG"),
    ("ECHO hello", "hello"),
    ("GET a", ""),
    ("SET a 1", "OK"),
    ("SET a 2 NX", ""),
    ("SET b 2 XX", ""),
    ("SET a 7 XX", "OK"),
    ("INCR a", "8"),
    ("INCR counter", "1"),
    ("GET a", "8"),
    ("EXISTS a b counter a", "3"),
    ("TTL a", "-1"),
    ("TTL b", "-2"),
    ("EXPIRE a 100", "1"),
    ("EXPIRE b 100", "0"),
    ("TTL a", "100"),
    ("INCR a", "9"),
    ("TTL a", "100"),
    ("SET a x EX 200", "OK"),
    ("TTL a", "200"),
    ("SET a x PX 300000", "OK"),
    ("TTL a", "300"),
    ("INCR a", "ERR value is not an integer or out of range\n"),
    ("EXPIRE a 0", "1"),
    ("EXISTS a", "0"),
    ("LPUSH list 1 2 3", "3"),
    ("LRANGE list 0 -1", "3\n2\n1"),
    ("LRANGE list -2 5", "2\n1"),
    ("LRANGE list 2 1", ""),
    (
        "GET list",
        "WRONGTYPE Operation against a key holding the wrong kind of value\n",
    ),
    ("MSET c 1 d 2", "OK"),
    ("MGET c nothing d", "1\n\n2"),
    ("DEL c d nothing", "2"),
    (
        "MSET c",
        "ERR wrong number of arguments for 'mset' command\n",
    ),
];

#[test]
fn redis_cli_is_answered_as_by_redis() {
    let (mut server, address) = serve("redis_server", "");
    let (_, port) = address.rsplit_once(':').unwrap();

    for (command, expected) in DIALOGUE {
        let words = command.split(' ');
        let arguments: Vec<&str> = ["-p", port].into_iter().chain(words).collect();
        let Some(answer) = tool("redis-cli", &arguments) else {
            break;
        };
        let answer = answer.strip_suffix('\n').unwrap();
        assert!(
            is_as_expected(command, answer, expected),
            "{command}: {answer}"
        );
    }
    interrupt(&mut server);
}

#[test]
fn redis_benchmark_pipelines_without_an_error() {
    let (mut server, address) = serve("redis_server", "");
    let (_, port) = address.rsplit_once(':').unwrap();
    let tests = "ping,set,get,incr,lpush,mset";
    let options = ["-p", port, "-q", "-P", "16", "-n", "4000", "-t", tests];

    let said = tool("redis-benchmark", &options);

    if let Some(said) = said {
        for name in [
            "PING_INLINE",
            "SET",
            "GET",
            "INCR",
            "LPUSH",
            "MSET (10 keys)",
        ] {
            let result = format!("{name}: ");
            assert!(said.contains(&result), "{name} in {said}");
        }
        assert!(said.contains("requests per second"), "{said}");
        assert!(!said.to_lowercase().contains("err"), "{said}");
    }
    interrupt(&mut server);
}

#[test]
fn redis_py_is_content() {
    let (mut server, address) = serve("redis_server", "");
    let (_, port) = address.rsplit_once(':').unwrap();
    let program = "
import redis, sys
client = redis.Redis(port=int(sys.argv[1]), protocol=2, decode_responses=True)
pipe = client.pipeline(transaction=False)
for number in range(1000):
    pipe.set(f'key {number}', number)
    pipe.get(f'key {number}')
    pipe.lpush('list', number)
answers = pipe.execute()
assert answers[1::3] == [str(number) for number in range(1000)], answers
assert client.lrange('list', 0, -1) == [str(number) for number in reversed(range(1000))]
assert client.delete('list') == 1
print('content')
";
    let has_client = Command::new("python3")
        .args(["-c", "import redis"])
        .output();
    if !has_client.is_ok_and(|has| has.status.success()) {
        eprintln!("left out: python3 has no module redis");
        return interrupt(&mut server);
    }

    let said = tool("python3", &["-c", program, port]);

    assert_eq!(said.as_deref(), Some("content\n"));
    interrupt(&mut server);
}

#[test]
fn redis_server_answers_commands_however_they_arrive() {
    let (mut server, address) = serve("redis_server", "");
    let sent = b"PING\r\n*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n\r\n  set key 5 \n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    let expected = "+PONG\r\n$4\r\na\r\nb\r\n+OK\r\n$1\r\n5\r\n";
    for piece in [1, 3, sent.len()] {
        let mut client = connect(&address);
        client.set_nodelay(true).unwrap();

        for bytes in sent.chunks(piece) {
            client.write_all(bytes).unwrap();
        }
        let answer = exchange(&client, b"");

        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
    interrupt(&mut server);
}

#[test]
fn redis_server_says_what_is_wrong_with_bytes_that_are_no_command() {
    let (mut server, address) = serve("redis_server", "");
    let long = vec![b'x'; 70_000];
    let cases: [(&[u8], &str); 7] = [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*99999999\r\n", "invalid multibulk length"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGPONG", "expected the end of a bulk string"),
        (&long, "too big inline request"),
    ];
    for (sent, problem) in cases {
        let mut client = connect(&address);
        client.write_all(b"PING\r\n").unwrap();
        client.write_all(sent).unwrap();

        // The server ends: the client does not.
        let answer = read_to_end(&mut client);

        let expected = format!("+PONG\r\n-ERR Protocol error: {problem}\r\n");
        assert_eq!(answer, expected);
    }
    interrupt(&mut server);
}

#[test]
fn a_killed_redis_server_worker_loses_its_keys_and_a_successor_answers() {
    let (mut server, address) = serve("redis_server", "");
    assert_eq!(exchange(&connect(&address), b"SET a 1\r\n"), b"+OK\r\n");
    let worker = server.line_of("worker");
    let processes = server.everything();
    let worker = processes
        .iter()
        .find(|process| process.pid().to_string() == worker);

    worker.unwrap().signal(Signal::KILL);

    let mut answer = Vec::new();
    eventually(Deadline::usual(), "a successor answers", || {
        answer.clear();
        let mut client = connect(&address);
        // The one that is killed may have had this connection in hand.
        let _lost = client.write_all(b"EXISTS a\r\nQUIT\r\n");
        let _lost = client.read_to_end(&mut answer);
        !answer.is_empty()
    });
    assert_eq!(answer, b":0\r\n+OK\r\n");
    interrupt(&mut server);
}

/// Whether a command was answered as expected, or with less time where time is what is left.
fn is_as_expected(command: &str, answer: &str, expected: &str) -> bool {
    match (answer.parse::<u64>(), expected.parse::<u64>()) {
        (Ok(left), Ok(most)) if command.starts_with("TTL") => left <= most && left + 60 >= most,
        _ => answer == expected,
    }
}

/// Reads until the server ends, which may be abrupt where it has not read everything.
fn read_to_end(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _abrupt = client.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
