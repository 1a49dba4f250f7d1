//! Listeners in systemd's descriptor store: a main process that is killed refuses nobody.

use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::client::Client;
use super::{Server, configure, server};
use crate::support::{Deadline, Process, Setup, eventually, fixture};

/// Ends the thread that keeps descriptors.
const STOP: &str = "STOP";

/// Why a lock is not poisoned.
const INTACT: &str = "nobody panicked who had the store";

/// A service manager with a descriptor store, as systemd has one.
struct Systemd {
    kept: Arc<Mutex<Vec<(String, OwnedFd)>>>,
    folder: TempDir,
    keeper: Option<JoinHandle<()>>,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let socket = UnixDatagram::bind(folder.path().join("notify"));
        let socket = socket.expect("a socket can be bound");
        set_socket_passcred(&socket, true).expect("senders can be known");
        let kept = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::clone(&kept);
        Self {
            kept,
            folder,
            keeper: Some(thread::spawn(move || {
                let mut main = None;
                while take_message(&socket, &store, &mut main) {}
            })),
        }
    }

    /// Sets up a server that has what is in the store.
    fn setup(&self, settings: &str) -> Setup {
        let mut setup = server("talk", "workers.count=1 server.fd_store=true");
        configure(&mut setup, settings);
        setup.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        let kept = self.kept.lock().expect(INTACT);
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        let sockets = kept
            .iter()
            .map(|(_, socket)| socket.try_clone().expect("there are descriptors left"));
        setup
            .env("LISTEN_FDNAMES", names.join(":"))
            .pass(sockets.collect());
        setup
    }

    /// Starts a server that binds what is in a file.
    #[track_caller]
    fn start_configured(&self, bind: &str) -> Server {
        self.configure(bind);
        let mut setup = fixture!("server");
        setup
            .args("talk")
            .env("HATCHERY_CONFIG", self.folder.path().join("hatchery.toml"))
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        Server::start(&setup)
    }

    fn configure(&self, bind: &str) {
        let text = format!("[server]\nbind = [{bind}]\nfd_store = true\n[workers]\ncount = 1\n");
        let written = fs::write(self.folder.path().join("hatchery.toml"), text);
        written.expect("the file can be written");
    }

    #[track_caller]
    fn start(&self, settings: &str) -> Server {
        Server::start(&self.setup(settings))
    }

    /// Starts a server, kills it when its listener is in the store, and returns the address.
    #[track_caller]
    fn outlive_one(&self) -> String {
        let server = self.start("");
        self.wait_for(&[&server.addresses[0]]);
        kill(&server);
        server.addresses[0].clone()
    }

    fn names(&self) -> Vec<String> {
        let kept = self.kept.lock().expect(INTACT);
        let mut names: Vec<_> = kept.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Waits until these addresses are in the store, and no others.
    #[track_caller]
    fn wait_for(&self, addresses: &[&str]) {
        let name = |address: &&str| format!("hatchery/{}", address.replace(':', "%3A"));
        let mut wanted: Vec<_> = addresses.iter().map(name).collect();
        wanted.sort();
        eventually(Deadline::usual(), "the store has what it should", || {
            self.names() == wanted
        });
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let own = UnixDatagram::unbound().expect("a socket can be made");
        let told = own.send_to(STOP.as_bytes(), self.folder.path().join("notify"));
        let ended = self.keeper.take().map(JoinHandle::join);
        let was_well = told.is_ok() && ended.is_some_and(|ended| ended.is_ok());
        assert!(was_well || thread::panicking());
    }
}

/// Does what one message says; false if there will be no more.
fn take_message(
    socket: &UnixDatagram,
    store: &Mutex<Vec<(String, OwnedFd)>>,
    main: &mut Option<Pid>,
) -> bool {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut buffer)];
    let received = recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    let received = received.expect("a message comes");
    let (mut descriptors, mut sender) = (None, None);
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(sent) => descriptors = Some(sent.collect::<Vec<_>>()),
            RecvAncillaryMessage::ScmCredentials(who) => sender = Some(who.pid),
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(&buffer[..received.bytes]).into_owned();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let mut store = store.lock().expect(INTACT);
    let find = |pid: Pid| Process::find(pid.as_raw_nonzero().get());
    let is_alive = main
        .and_then(find)
        .is_some_and(|process| process.is_alive());
    if !is_alive {
        *main = sender;
    }
    if *main != sender {
        // As with NotifyAccess=main.
        return text != STOP;
    }
    if let Some(pid) = value("MAINPID=") {
        *main = pid.parse().ok().and_then(Pid::from_raw);
    }
    if value("FDSTOREREMOVE=").is_some() {
        let name = value("FDNAME=").expect("what is removed has a name");
        store.retain(|(kept, _)| kept != name);
    } else if value("FDSTORE=").is_some() {
        let name = value("FDNAME=").expect("what is kept has a name");
        let sockets = descriptors.expect("there is something to keep");
        let named = sockets.into_iter().map(|socket| (name.to_owned(), socket));
        // systemd does not keep a socket twice.
        let is_there = store.iter().any(|(kept, _)| kept == name);
        store.extend(named.filter(|_| !is_there));
    }
    text != STOP
}

/// Kills all main processes, and waits until nothing of the server is left.
#[track_caller]
fn kill(server: &Server) {
    for process in server.everything() {
        let stat = process.stat();
        if stat.is_some_and(|stat| !stat.name.starts_with("hatchery-")) {
            process.kill();
        }
    }
    eventually(Deadline::usual(), "nothing is left", || {
        server
            .everything()
            .iter()
            .all(|process| !process.is_alive())
    });
}

/// Waits until nobody listens: for a moment a fixture that is just being started by another test has
/// what this program has.
#[track_caller]
fn assert_refused(address: &str) {
    let target = address.parse().expect("it is an address of TCP");
    eventually(Deadline::usual(), &format!("{address} is refused"), || {
        let connected = TcpStream::connect_timeout(&target, Duration::from_secs(1));
        connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn who_comes_while_a_killed_main_process_is_started_again_is_answered() {
    let name = format!("unix:@hatchery-kept-{}", std::process::id());
    let settings = format!("server.bind=127.0.0.1:0,{name}");
    let systemd = Systemd::new();
    let first = systemd.start(&settings);
    let addresses = first.addresses.clone();
    systemd.wait_for(&[&addresses[0], &addresses[1]]);

    for _ in 0..2 {
        kill(&first);
        let waiting: Vec<Client> = addresses.iter().map(|it| Client::connect(it)).collect();
        let second = systemd.start(&settings);

        assert_eq!(second.addresses, addresses);
        for mut client in waiting {
            assert_eq!(client.ask("waited"), "WAITED");
        }
        systemd.wait_for(&[&addresses[0], &addresses[1]]);
        kill(&second);
    }
}

#[test]
fn an_address_that_is_not_configured_any_more_is_refused_after_the_start() {
    let systemd = Systemd::new();
    let first = systemd.start("server.bind=127.0.0.1:0,127.0.0.1:0");
    let [kept, gone] = [&first.addresses[0], &first.addresses[1]];
    systemd.wait_for(&[kept, gone]);
    kill(&first);

    let second = systemd.start(&format!("server.bind={kept}"));

    assert_refused(gone);
    systemd.wait_for(&[kept]);
    assert_eq!(second.client().ask("on"), "ON");
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for_and_what_was_is_served_for_the_last_time() {
    let systemd = Systemd::new();
    let address = &systemd.outlive_one();
    let mut waiting = Client::connect(address);

    let second = systemd.start(&format!("server.bind={address} server.fd_store=false"));

    assert_eq!(waiting.ask("waited"), "WAITED");
    systemd.wait_for(&[]);
    kill(&second);
    assert_refused(address);
}

#[test]
fn workers_that_accept_for_themselves_get_listeners_of_their_own() {
    let systemd = Systemd::new();
    let address = &systemd.outlive_one();

    let settings = format!("server.bind={address} server.dispatch=direct");
    let second = systemd.start(&settings);

    systemd.wait_for(&[]);
    assert_eq!(second.client().ask("on"), "ON");
}

#[test]
fn what_was_kept_is_not_among_what_systemd_passes() {
    let systemd = Systemd::new();
    let address = &systemd.outlive_one();
    let mut setup = systemd.setup("server.bind=systemd");
    let names = format!("http:{}", systemd.names().join(":"));

    let second = Server::start(setup.listen("127.0.0.1:0").env("LISTEN_FDNAMES", names));

    assert_eq!(second.addresses.len(), 1);
    assert_ne!(&second.addresses[0], address);
    assert_refused(address);
    // What systemd has passed is its own already.
    systemd.wait_for(&[]);
    assert_eq!(second.client().ask("on"), "ON");
}

#[test]
fn a_reload_has_new_addresses_kept_and_old_ones_no_longer() {
    let systemd = Systemd::new();
    let mut server = systemd.start_configured(r#""127.0.0.1:0", "127.0.0.2:0""#);
    let [stays, goes] = [server.addresses[0].clone(), server.addresses[1].clone()];
    systemd.wait_for(&[&stays, &goes]);
    let name = format!("unix:@hatchery-new-{}", std::process::id());
    systemd.configure(&format!(r#""127.0.0.1:0", "{name}""#));

    // It is refused before systemd has let go of it.
    let busy = systemd.kept.lock().unwrap();
    server.process().signal(Signal::HUP);
    assert_refused(&goes);
    drop(busy);

    systemd.wait_for(&[&stays, &name]);
    server.end();
}

#[test]
fn after_an_upgrade_the_addresses_of_the_new_program_are_kept() {
    let systemd = Systemd::new();
    let mut server = systemd.start_configured(r#""127.0.0.1:0", "127.0.0.2:0""#);
    let [stays, goes] = [server.addresses[0].clone(), server.addresses[1].clone()];
    systemd.wait_for(&[&stays, &goes]);
    let name = format!("unix:@hatchery-newer-{}", std::process::id());
    systemd.configure(&format!(r#""{name}", "127.0.0.1:0""#));

    server.process().signal(Signal::USR2);

    assert_eq!(server.line_of("addresses"), format!("{name} {stays}"));
    systemd.wait_for(&[&stays, &name]);
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    assert_refused(&goes);
    kill(&server);
    let mut waiting = Client::connect(&stays);
    let second = systemd.start(&format!("server.bind={name},127.0.0.1:0"));
    assert_eq!(second.addresses, [name, stays]);
    assert_eq!(waiting.ask("waited"), "WAITED");
}

#[test]
fn after_an_upgrade_to_a_program_that_keeps_nothing_nothing_is_kept() {
    let systemd = Systemd::new();
    let mut server = systemd.start_configured(r#""127.0.0.1:0""#);
    let address = server.addresses[0].clone();
    systemd.wait_for(&[&address]);
    let file = systemd.folder.path().join("hatchery.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("fd_store = true", "fd_store = false")).unwrap();

    server.process().signal(Signal::USR2);

    assert_eq!(server.line_of("addresses"), address);
    systemd.wait_for(&[]);
    assert_eq!(server.client().ask("on"), "ON");
}

#[test]
fn a_socket_file_is_not_kept() {
    let systemd = Systemd::new();
    let path = systemd.folder.path().join("s");
    let settings = format!("server.bind=unix:{},127.0.0.1:0", path.display());

    let server = systemd.start(&settings);

    systemd.wait_for(&[&server.addresses[1]]);
}
