//! Where a server listens, and what a handler knows of who came.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::client::{Client, Heard};
use super::{Server, server};

/// Checks that a client is served by what it came in by.
#[track_caller]
fn assert_served(server: &Server, listener: usize) {
    let mut client = Client::connect(&server.addresses[listener]);
    assert_eq!(client.ask("hello"), "HELLO");
    let about = client.about();
    assert_eq!(about.listener, listener);
    let is_unix = about.peer == "unix";
    assert!(is_unix || about.peer == client.address(), "{about:?}");
    assert!(server.workers.contains(&about.worker));
    client.hang_up();
    assert_eq!(client.hear(), Heard::End);
}

#[test]
fn a_port_of_the_kernels_choice_is_announced_and_served() {
    let mut server = Server::new("talk", "");
    assert!(!server.addresses[0].ends_with(":0"));

    assert_served(&server, 0);

    server.end();
}

#[test]
fn an_ipv6_address_is_served() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("left out: this machine has no ::1");
        return;
    }
    let mut server = Server::new("talk", "server.bind=[::1]:0");

    assert_served(&server, 0);

    server.end();
}

#[test]
fn a_socket_file_has_the_mode_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let setting = format!("server.bind=unix:{}?mode=0640", path.display());
    let mut server = Server::new("talk", &setting);

    assert_served(&server, 0);

    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    server.end();
}

#[test]
fn an_abstract_name_is_served() {
    let name = format!("hatchery-test-{}", std::process::id());
    let mut server = Server::new("talk", &format!("server.bind=unix:@{name}"));
    assert_eq!(server.addresses, [format!("unix:@{name}")]);

    assert_served(&server, 0);

    server.end();
}

#[test]
fn a_socket_that_was_passed_is_served_under_every_dispatch() {
    for dispatch in ["least-loaded", "direct"] {
        let settings = format!("server.bind=fd:3 server.dispatch={dispatch}");
        let mut server = Server::start(server("talk", &settings).listen("127.0.0.1:0"));
        assert!(server.addresses[0].starts_with("127.0.0.1:"));

        assert_served(&server, 0);

        server.end();
    }
}

#[test]
fn all_sockets_that_systemd_passes_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("s").display());
    let mut setup = server("talk", "server.bind=systemd");
    setup.listen("127.0.0.1:0").listen(&path);
    let mut server = Server::start(&setup);
    // A socket that was passed is announced by its number if it has no port.
    assert_eq!(server.addresses[1], "fd:4");
    server.addresses[1] = path;

    assert_served(&server, 0);
    assert_served(&server, 1);

    server.end();
}

#[test]
fn several_addresses_are_served_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let name = format!("hatchery-tests-{}", std::process::id());
    let binds = format!(
        "server.bind=127.0.0.1:0,unix:{},unix:@{name},127.0.0.1:0",
        path.display()
    );
    let mut server = Server::new("talk", &binds);
    assert_eq!(server.addresses.len(), 4);

    for _ in 0..5 {
        for listener in 0..4 {
            assert_served(&server, listener);
        }
    }

    server.end();
}

#[test]
fn connections_are_numbered_from_one() {
    let server = Server::new("talk", "");

    let ids: Vec<u64> = (0..5).map(|_| server.client().about().id).collect();

    assert_eq!(ids, [1, 2, 3, 4, 5]);
}
