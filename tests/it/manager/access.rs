//! Who may talk to a manager, and what whoever else does to it: nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use hatchery::{
    Manager, ManagerBuilder, ManagerClient, ManagerError, ManagerStartError, Rejection,
};
use rustix::process::geteuid;

use super::{builder, finish, in_thread, manager, patience};
use crate::support::{Deadline, eventually, fixture};

const KEY: &[u8] = b"a key that is long enough";

/// Starts a manager on TCP.
fn remote() -> (Manager, std::net::SocketAddr) {
    let manager = builder().tcp("127.0.0.1:0").authkey(KEY).start();
    let manager = manager.expect("there is a free port");
    let address = manager.tcp_address().expect("it listens on TCP");
    (manager, address)
}

/// The name of a manager's Unix socket, without what stands before it.
fn name(manager: &Manager) -> String {
    let shown = format!("{:?}", manager.client());
    let name = shown.strip_prefix("ManagerClient(unix:@");
    let name = name.and_then(|name| name.strip_suffix(')'));
    name.expect("it listens on a Unix socket").to_owned()
}

fn dial(name: &str) -> UnixStream {
    let address = SocketAddr::from_abstract_name(name).expect("a name is short");
    let stream = UnixStream::connect_addr(&address).expect("the manager listens");
    let set = stream.set_read_timeout(Some(patience()));
    set.expect("it is some time");
    stream
}

/// Reads what comes before the other side hangs up, which it must.
fn drain(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            panic!("it does not hang up: {error}")
        }
        _ => bytes,
    }
}

#[test]
fn whoever_knows_the_key_is_let_in_over_tcp() {
    let (manager, address) = remote();
    let value = manager.named("n").value(&1_u8).unwrap();

    let client = ManagerClient::connect(address, KEY).unwrap();

    assert_eq!(client.named("n").value(&0_u8).unwrap().add(1).unwrap(), 2);
    assert_eq!(value.get().unwrap(), 2);
}

#[test]
fn a_wrong_key_is_refused_by_the_manager() {
    let (manager, address) = remote();

    let refused = ManagerClient::connect(address, b"another key").unwrap_err();

    let rejection = Rejection::WrongAuthkey;
    assert!(matches!(refused, ManagerError::Rejected(why) if why == rejection));
    manager.ping().unwrap();
    ManagerClient::connect(address, KEY).unwrap();
}

#[test]
fn a_proxy_does_not_carry_the_key() {
    let (manager, address) = remote();
    let client = postcard::to_stdvec(manager.client()).unwrap();
    assert!(!client.windows(KEY.len()).any(|window| window == KEY));
    let client: Vec<String> = client.iter().map(u8::to_string).collect();

    let mut other = fixture!("manager")
        .args(&format!("ping {}", client.join("-")))
        .start();

    let expected = format!("error: there is no authkey for the manager at {address}");
    let answer = other.line_of("ping");
    assert!(answer.starts_with(&expected), "{answer}");
}

/// Frames `body`, as a manager does.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a frame is short");
    [&length.to_le_bytes(), body].concat()
}

#[test]
fn a_manager_that_does_not_know_the_key_is_refused_even_if_it_echoes_proofs() {
    for reflects in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let impostor = in_thread(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // A challenge of 32 bytes; the answer is a nonce and a proof of as many.
            stream
                .write_all(&frame(&[&[1][..], &[7; 32]].concat()))
                .unwrap();
            let mut answer = [0; 4 + 64];
            stream.read_exact(&mut answer).unwrap();
            let mut proof = [9; 32];
            if reflects {
                proof.copy_from_slice(&answer[36..]);
            }
            // A welcome, with the version and the limit.
            let verdict = [&[0][..], &proof, &[1, 100]].concat();
            stream.write_all(&frame(&verdict)).unwrap();
            drain(&mut stream)
        });

        let refused = ManagerClient::connect(address, KEY).unwrap_err();

        assert!(matches!(refused, ManagerError::Impostor), "{refused}");
        assert_eq!(finish(impostor), [0; 0], "nothing was entrusted to it");
    }
}

#[test]
fn tcp_without_a_key_is_no_manager() {
    let refused = |builder: &ManagerBuilder| builder.start().unwrap_err();

    let keyless = refused(builder().tcp("127.0.0.1:0"));
    let empty = refused(builder().tcp("127.0.0.1:0").authkey(b""));
    let nowhere = refused(builder().tcp("nowhere").authkey(KEY));
    let zero = refused(builder().connections_max(0));

    assert!(matches!(keyless, ManagerStartError::NoAuthkey));
    assert!(matches!(empty, ManagerStartError::EmptyAuthkey));
    assert!(matches!(nowhere, ManagerStartError::Address(address) if address == "nowhere"));
    assert!(matches!(
        zero,
        ManagerStartError::Limit {
            setting: "connections_max",
            ..
        }
    ));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let error = builder().tcp(&address).authkey(KEY).start().unwrap_err();

    let ManagerStartError::Listen { address: named, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(named, address);
}

#[test]
fn another_user_is_refused_on_both_sides() {
    if !geteuid().is_root() {
        eprintln!("left out: only root can become another user");
        return;
    }
    let manager = manager();
    let nobody = 65534;

    let raw = format!("raw {}", name(&manager));
    let mut raw = fixture!("manager").args(&raw).user(nobody).start();
    let client = postcard::to_stdvec(manager.client()).unwrap();
    let client: Vec<String> = client.iter().map(u8::to_string).collect();
    let ping = format!("ping {}", client.join("-"));
    let mut ping = fixture!("manager").args(&ping).user(nobody).start();

    // A rejection, of a stranger, and the end.
    assert_eq!(raw.line_of("raw"), "[2, 0, 0, 0, 2, 0]");
    assert_eq!(
        ping.line_of("ping"),
        "error: whoever listens at the manager's address is user 0, not this process's user"
    );
    manager.ping().unwrap();
}

#[test]
fn garbage_and_frames_that_are_too_long_end_their_connection_and_nothing_else() {
    let manager = manager();
    let lock = manager.lock().unwrap();
    let _held = lock.lock().unwrap();
    let name = name(&manager);
    let mut noise = vec![0; 100_000];
    let mut state = 1_u32;
    noise.fill_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    });
    let too_long = u32::MAX.to_le_bytes().to_vec();
    let unknown = frame(&[99]);
    let with_rest = frame(&[4, 0]);
    let (long_noise, noise) = (frame(&noise), frame(&noise[..50]));
    for bytes in [&long_noise, &noise, &too_long, &unknown, &with_rest] {
        let mut stream = dial(&name);

        // It may hang up before all is written.
        let _cut = stream.write_all(bytes);

        drain(&mut stream);
        manager.ping().unwrap();
    }
    assert!(lock.is_locked().unwrap());
}

#[test]
fn frames_cut_anywhere_and_half_open_connections_hurt_nobody() {
    let manager = manager();
    let name = name(&manager);
    let request = frame(&[4]);
    let mut open: Vec<UnixStream> = (0..request.len())
        .map(|cut| {
            let mut stream = dial(&name);
            stream.write_all(&request[..cut]).unwrap();
            stream
        })
        .collect();

    manager.ping().unwrap();
    for (cut, stream) in open.iter_mut().enumerate() {
        stream.write_all(&request[cut..]).unwrap();
        let mut welcome = [0; 4];
        stream.read_exact(&mut welcome).unwrap();
        let mut terms = vec![0; u32::from_le_bytes(welcome) as usize];
        stream.read_exact(&mut terms).unwrap();
        let mut done = [0; 5];
        stream.read_exact(&mut done).unwrap();
        assert_eq!(done, [1, 0, 0, 0, 0]);
    }
}

#[test]
fn whoever_does_not_show_who_it_is_in_time_is_hung_up_on() {
    let mut builder = builder();
    let manager = builder
        .tcp("127.0.0.1:0")
        .authkey(KEY)
        .handshake_timeout(Duration::from_millis(50))
        .start()
        .unwrap();
    let mut silent = TcpStream::connect(manager.tcp_address().unwrap()).unwrap();
    silent.set_read_timeout(Some(patience())).unwrap();
    let begun = Instant::now();

    let challenge = drain(&mut silent);

    assert_eq!(challenge.len(), 4 + 33);
    assert!(begun.elapsed() >= Duration::from_millis(40));
    manager.ping().unwrap();
}

#[test]
fn over_tcp_nothing_is_done_for_who_did_not_prove_itself() {
    let (manager, address) = remote();
    for bytes in [frame(&[4]), frame(&[0; 64]), vec![0xff; 1000]] {
        let mut stranger = TcpStream::connect(address).unwrap();
        stranger.set_read_timeout(Some(patience())).unwrap();
        let _cut = stranger.write_all(&bytes);

        let answer = drain(&mut stranger);

        // The challenge, and to the proof that is none at most a rejection.
        let challenge = 4 + 33;
        let rest = answer.get(challenge..).unwrap_or_default();
        assert!(rest.is_empty() || rest == [2, 0, 0, 0, 1, 1], "{rest:?}");
    }
    manager.ping().unwrap();
}

#[test]
fn a_connection_too_many_is_refused_and_there_is_room_again_later() {
    let manager = builder().connections_max(3).start().unwrap();
    let name = name(&manager);
    let greeted = |stream: &mut UnixStream| {
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).unwrap();
        greeting[4]
    };
    let mut open: Vec<UnixStream> = (0..3).map(|_| dial(&name)).collect();
    assert!(open.iter_mut().all(|stream| greeted(stream) == 0));

    let refused = manager.ping().unwrap_err();
    drop(open);

    assert!(matches!(
        refused,
        ManagerError::Rejected(Rejection::Crowded)
    ));
    eventually(Deadline::usual(), "there is room", || {
        manager.ping().is_ok()
    });
}
