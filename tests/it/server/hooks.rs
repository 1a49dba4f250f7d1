//! Hooks are called in the order of what happens, and hold nobody up.

use rustix::process::Signal;

use super::Server;
use super::client::{Client, Heard};

impl Server {
    /// Waits for the next thing that a hook says.
    #[track_caller]
    fn hook(&mut self) -> String {
        self.line_of("hook")
    }
}

#[test]
fn hooks_are_called_in_the_order_of_what_happens_though_one_panics() {
    let mut server = Server::new("talk hooks", "workers.count=1");
    assert_eq!(server.hook(), "start 1");
    assert_eq!(server.hook(), "worker-start 0");
    assert_eq!(server.hook(), "worker-ready 0");

    server.worker(0).signal(Signal::KILL);

    assert_eq!(
        server.hook(),
        "worker-exit 0 ended with signal: 9 (SIGKILL)"
    );
    assert_eq!(server.hook(), "worker-start 1");
    assert_eq!(server.hook(), "worker-ready 1");
    server.process().signal(Signal::HUP);
    assert_eq!(server.hook(), "reload Begun");
    assert_eq!(server.hook(), "worker-start 2");
    assert_eq!(server.hook(), "worker-ready 2");
    assert_eq!(server.hook(), "reload Done");
    assert_eq!(server.hook(), "drain 1");
    assert_eq!(server.hook(), "worker-exit 1 ended with exit status: 0");
    server.process().signal(Signal::TERM);
    assert_eq!(server.hook(), "drain server");
    assert_eq!(server.hook(), "drain 2");
    assert_eq!(server.hook(), "worker-exit 2 ended with exit status: 0");
    assert_eq!(server.wait().code(), Some(0));
    let log = server.errors();
    assert_eq!(log.matches("a hook panicked").count(), 3, "{log}");
}

#[test]
fn a_hook_that_blocks_holds_up_no_connection() {
    let settings =
        "workers.count=1 workers.max_concurrency=1 server.overload=reset server.queue_length=0";
    let mut server = Server::new("talk hooks", settings);
    let mut client = server.client();
    client.worker();
    let mut too_many = server.client();
    assert!(matches!(too_many.hear(), Heard::End | Heard::Reset));
    assert_eq!(server.line_of("hook overload"), "1");

    // The hook waits for a line, and none comes.
    for _ in 0..100 {
        assert_eq!(client.ask("on"), "ON");
    }

    drop(client);
    let mut another = loop {
        let mut another = Client::connect(&server.addresses[0]);
        another.say("on");
        if another.try_hear() == Some(Heard::Line("ON".to_owned())) {
            break another;
        }
    };
    another.close();
    // Once there will be no line, it waits no more, however often it is called.
    server.hang_up();
    server.end();
    assert_eq!(server.line_of("hook drain"), "server");
}
