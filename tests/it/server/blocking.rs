//! Workers that block: one connection at a time.

use rustix::process::Signal;

use super::client::{Client, Heard};
use super::{Server, server};

#[test]
fn each_kind_of_stream_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", folder.path().join("s").display());
    for (body, address) in [
        ("blocking", "127.0.0.1:0"),
        ("blocking", unix.as_str()),
        ("blocking-tcp", "127.0.0.1:0"),
        ("blocking-unix", unix.as_str()),
    ] {
        let mut server = Server::new(body, &format!("server.bind={address}"));
        let mut clients = server.clients(20);
        for client in &mut clients {
            assert_eq!(client.ask("hello"), "HELLO", "{body} {address}");
            client.hang_up();
            assert_eq!(client.hear(), Heard::End);
        }
        server.end();
    }
}

#[test]
fn a_handler_knows_its_connection() {
    let server = Server::new("blocking", "server.bind=127.0.0.1:0,127.0.0.1:0");
    let mut client = Client::connect(&server.addresses[1]);

    let about = client.about();

    assert_eq!((about.listener, about.id), (1, 1));
    assert_eq!(about.peer, client.address());
}

#[test]
fn a_handler_that_takes_another_kind_of_stream_is_an_error_at_the_start() {
    for (body, bind, words) in [
        (
            "blocking-tcp",
            "unix:@hatchery-kind",
            "its handler takes no Unix streams",
        ),
        (
            "blocking-unix",
            "127.0.0.1:",
            "its handler takes no TCP streams",
        ),
    ] {
        let port = if bind.ends_with(':') { "0" } else { "" };
        let mut main = server(body, &format!("server.bind={bind}{port}")).start();

        assert_eq!(main.wait().code(), Some(1));

        let errors = main.errors();
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(bind) && errors.contains(words), "{errors}");
        assert!(main.everything().is_empty());
    }
}

#[test]
fn a_blocked_handler_holds_nobody_up() {
    let server = Server::new("blocking", "workers.count=4");
    let mut stuck = server.clients(3);
    for client in &mut stuck {
        assert_eq!(client.ask("spin"), "spinning");
    }

    for _ in 0..50 {
        assert_eq!(server.client().ask("on"), "ON");
    }
}

#[test]
fn a_worker_has_one_connection_at_a_time() {
    let server = Server::new("blocking", "");
    let mut clients = server.clients(2);
    let mut workers = [clients[0].worker(), clients[1].worker()];
    let mut third = server.client();
    third.say("my turn");
    assert!(third.hears_nothing());

    drop(clients.remove(0));

    assert_eq!(third.line(), "MY TURN");
    workers.sort_unstable();
    let mut expected = server.workers;
    expected.sort_unstable();
    assert_eq!(workers[..], expected[..]);
}

#[test]
fn what_was_sent_to_a_stopped_worker_is_served_once_it_is_killed() {
    let server = Server::new("blocking", "");
    let victim = server.worker(0);
    victim.signal(Signal::STOP);
    let clients = server.clients(6);
    clients.iter().for_each(|client| client.say("who"));

    victim.kill();

    for mut client in clients {
        assert_ne!(client.hear_about().worker, victim.pid());
    }
}
