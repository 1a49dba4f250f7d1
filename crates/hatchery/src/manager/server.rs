//! The manager's process: it listens, and passes requests to the store and answers to clients.
//!
//! It has one thread, and a task for each connection. What its clients send is checked before it is
//! used; whoever sends what is no request is hung up on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener as StdUnixListener};
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use hatchery_process::Start;
use rustix::process::geteuid;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::address::{Address, tune_tcp};
use super::error::{Rejection, SnapshotError};
use super::frames::Frames;
use super::handshake::{Answer, Greeting, Role, Terms, VERSION, Verdict, random};
use super::plan::{Plan, Report, SnapshotPlan};
use super::protocol::{
    GREETING_BYTES_MAX, LENGTH_BYTES, OVERHEAD_BYTES, Refusal, Reply, decode, encode,
};
use super::snapshot;
use super::store::{ClientId, Outbox, Store};

/// The exit code of a manager that could not start or met a bug of ours.
const FAILED: u8 = 70;

/// How many connections the kernel holds that have not been accepted.
const BACKLOG: i32 = 1024;

/// How long nothing is accepted when there is no room for another descriptor.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(20);

/// Runs a manager until it is told to end; the function of its process.
pub(super) fn run(start: Start) -> u8 {
    let Ok(plan) = postcard::from_bytes::<Plan>(&start.bytes) else {
        return FAILED;
    };
    let Some(control) = start.descriptors.into_iter().next() else {
        return FAILED;
    };
    end_on_panic();
    crate::log::install_default(&crate::config::LogConfig::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return FAILED;
    };
    let control = std::os::unix::net::UnixStream::from(control);
    let served = LocalSet::new().block_on(&runtime, serve(plan, control));
    match served {
        Ok(()) => 0,
        Err(_) => FAILED,
    }
}

/// Has a panic end the process: half of a change must not be what everybody sees.
fn end_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        hatchery_os::exit_now(FAILED)
    }));
}

/// All that the tasks share.
struct Manager {
    plan: Plan,
    store: RefCell<Store>,
    /// Where each connection's task takes its answers.
    clients: RefCell<HashMap<ClientId, mpsc::UnboundedSender<Reply>>>,
}

async fn serve(plan: Plan, control: std::os::unix::net::UnixStream) -> io::Result<()> {
    control.set_nonblocking(true)?;
    let mut control = UnixStream::from_std(control)?;
    let store = match restored(&plan)? {
        Ok(store) => store,
        Err(problem) => return tell(&mut control, &Report::BadSnapshot(problem)).await,
    };
    let listener = match Listener::bind(&plan.address) {
        Ok(listener) => listener,
        Err(error) => return tell(&mut control, &Report::CannotListen(error.to_string())).await,
    };
    tell(&mut control, &Report::Ready).await?;
    let manager = Rc::new(Manager {
        plan,
        store: RefCell::new(store),
        clients: RefCell::default(),
    });
    let (stop, stopped) = watch::channel(());
    let keeping = tokio::task::spawn_local(keep_snapshots(Rc::clone(&manager), stopped));
    tokio::select! {
        () = accept_all(&manager, &listener) => {}
        () = told_to_end(&mut control) => {}
    }
    drop((listener, stop));
    let kept = keeping.await.map_err(io::Error::other)?;
    // Whoever started this may be gone.
    let _unheard = tell(&mut control, &Report::Ended(kept)).await;
    Ok(())
}

/// Makes the store, with what the snapshot holds if there is one.
fn restored(plan: &Plan) -> io::Result<Result<Store, SnapshotError>> {
    // No manager at this address has numbered objects from here before.
    let first = u64::from_le_bytes(random()?);
    let bytes_max = plan.frame_bytes_max - OVERHEAD_BYTES;
    let mut store = Store::new(first, bytes_max);
    let Some(SnapshotPlan { path, .. }) = &plan.snapshot else {
        return Ok(Ok(store));
    };
    Ok(snapshot::read(path).map(|image| {
        if let Some(image) = image {
            store.restore(image);
        }
        store
    }))
}

async fn tell(control: &mut UnixStream, report: &Report) -> io::Result<()> {
    control.write_all(&encode(report)).await
}

/// Waits until whoever started the manager says a word or hangs up, or until `SIGTERM`.
async fn told_to_end(control: &mut UnixStream) {
    let mut word = [0];
    let told = async {
        let _word_or_end = control.read(&mut word).await;
    };
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            () = told => {}
            _ = terminate.recv() => {}
        },
        Err(_) => told.await,
    }
}

/// Writes a snapshot after changes, at the interval, and when all is over.
async fn keep_snapshots(
    manager: Rc<Manager>,
    mut stopped: watch::Receiver<()>,
) -> Result<(), SnapshotError> {
    let Some(plan) = &manager.plan.snapshot else {
        return Ok(());
    };
    let mut interval = tokio::time::interval(plan.interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept = manager.store.borrow().changes();
    loop {
        let is_over = tokio::select! {
            _ = interval.tick() => false,
            _ = stopped.changed() => true,
        };
        let changes = manager.store.borrow().changes();
        let mut outcome = Ok(());
        if changes != kept {
            outcome = keep(&manager, plan).await;
            match &outcome {
                Ok(()) => kept = changes,
                Err(error) => tracing::error!(%error, "a snapshot of a manager was not written"),
            }
        }
        if is_over {
            return outcome;
        }
    }
}

async fn keep(manager: &Manager, plan: &SnapshotPlan) -> Result<(), SnapshotError> {
    let bytes = snapshot::encode(&manager.store.borrow().image());
    let path = plan.path.clone();
    let written = tokio::task::spawn_blocking(move || snapshot::write(&path, &bytes)).await;
    written.unwrap_or_else(|error| Err(SnapshotError::Os(error.to_string())))
}

/// The listening socket.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(name) => {
                let address = UnixAddr::from_abstract_name(name)?;
                let listener = StdUnixListener::bind_addr(&address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
            Address::Tcp(address) => {
                let socket = tcp_socket(&SockAddr::from(*address))?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                let listener = StdTcpListener::from(socket);
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
        }
    }
}

/// Binds a TCP socket that shares its address with the one that keeps it for a successor.
pub(super) fn tcp_socket(address: &SockAddr) -> io::Result<Socket> {
    let domain = if address.is_ipv6() {
        Domain::IPV6
    } else {
        Domain::IPV4
    };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Only sockets of one user share an address, and only those that listen get connections.
    socket.set_reuse_port(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept_all(manager: &Rc<Manager>, listener: &Listener) {
    let mut next = 0;
    loop {
        next += 1;
        let client = ClientId(next);
        let accepted = match listener {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let is_ours = stream
                    .peer_cred()
                    .is_ok_and(|peer| peer.uid() == geteuid().as_raw());
                let door = if is_ours { Door::Open } else { Door::Shut };
                tokio::task::spawn_local(attend(Rc::clone(manager), client, stream, door));
            }),
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let _untuned = tune_tcp(&stream);
                tokio::task::spawn_local(attend(Rc::clone(manager), client, stream, Door::Locked));
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "a manager cannot accept a connection");
            tokio::time::sleep(NO_ROOM_PAUSE).await;
        }
    }
}

/// How a connection may be let in.
#[derive(Clone, Copy, Debug)]
enum Door {
    Open,
    /// It is opened by the authkey.
    Locked,
    /// The kernel says that somebody else is there.
    Shut,
}

/// Serves one connection until it is closed.
async fn attend<S>(manager: Rc<Manager>, client: ClientId, stream: S, door: Door)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut line = Line {
        stream,
        frames: Frames::default(),
    };
    let (answers, mut answered) = mpsc::unbounded_channel();
    let is_crowded = manager.clients.borrow().len() >= manager.plan.connections_max;
    // Those who have not been let in count too: each holds a descriptor.
    manager.clients.borrow_mut().insert(client, answers);
    let let_in = async {
        if is_crowded {
            return line.reject(Rejection::Crowded).await;
        }
        line.let_in(&manager.plan, door).await
    };
    let let_in = tokio::time::timeout(manager.plan.handshake_timeout, let_in).await;
    if matches!(let_in, Ok(Ok(()))) {
        // However it ends, it has ended.
        let _how = converse(&manager, client, &mut line, &mut answered).await;
    }
    manager.clients.borrow_mut().remove(&client);
    let mut outbox = Outbox::default();
    manager.store.borrow_mut().leave(client, &mut outbox);
    manager.deliver(outbox);
}

async fn converse<S>(
    manager: &Manager,
    client: ClientId,
    line: &mut Line<S>,
    answered: &mut mpsc::UnboundedReceiver<Reply>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes_max = manager.plan.frame_bytes_max;
    loop {
        tokio::select! {
            // Nothing more is read from who does not read.
            biased;
            Some(reply) = answered.recv() => {
                line.stream.write_all(&frame(&reply, bytes_max)).await?;
            }
            request = line.receive(bytes_max) => {
                let mut outbox = Outbox::default();
                let handled = manager.store.borrow_mut().handle(client, request?, &mut outbox);
                manager.deliver(outbox);
                handled.map_err(|_| invalid())?;
            }
        }
    }
}

/// Encodes an answer, or that it is too large.
fn frame(reply: &Reply, bytes_max: usize) -> Vec<u8> {
    let frame = encode(reply);
    let bytes = frame.len() - LENGTH_BYTES;
    if bytes <= bytes_max {
        return frame;
    }
    encode(&Reply::Refused(Refusal::TooLarge {
        bytes: bytes as u64,
        bytes_max: bytes_max as u64,
    }))
}

impl Manager {
    fn deliver(&self, outbox: Outbox) {
        let clients = self.clients.borrow();
        for (client, reply) in outbox.0 {
            if let Some(answers) = clients.get(&client) {
                // One whose task is ending is about to leave.
                let _leaving = answers.send(reply);
            }
        }
    }
}

/// A connection, and what arrived on it.
struct Line<S> {
    stream: S,
    frames: Frames,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Receives a message. Dropped before it is there, nothing of it is lost.
    async fn receive<T: serde::de::DeserializeOwned>(&mut self, bytes_max: usize) -> io::Result<T> {
        loop {
            if let Some(body) = self.frames.take(bytes_max).map_err(|_| invalid())? {
                return decode(&body).map_err(|_| invalid());
            }
            if self.stream.read_buf(self.frames.room()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        self.stream.write_all(&encode(message)).await
    }

    async fn reject(&mut self, why: Rejection) -> io::Result<()> {
        self.send(&Greeting::Rejected(why)).await?;
        Err(io::ErrorKind::PermissionDenied.into())
    }

    async fn let_in(&mut self, plan: &Plan, door: Door) -> io::Result<()> {
        let terms = Terms {
            version: VERSION,
            frame_bytes_max: plan.frame_bytes_max as u64,
        };
        let key = match (door, &plan.authkey) {
            (Door::Open, _) => return self.send(&Greeting::Welcome(terms)).await,
            (Door::Locked, Some(key)) => key,
            (Door::Locked, None) | (Door::Shut, _) => {
                return self.reject(Rejection::Stranger).await;
            }
        };
        let nonce = random()?;
        self.send(&Greeting::Challenge(nonce)).await?;
        let answer: Answer = self.receive(GREETING_BYTES_MAX).await?;
        if !key.verify(&answer.proof, Role::Client, &nonce, &answer.nonce) {
            self.send(&Verdict::Rejected(Rejection::WrongAuthkey))
                .await?;
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let proof = key.prove(Role::Manager, &nonce, &answer.nonce);
        self.send(&Verdict::Welcome { proof, terms }).await
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
