//! The fork server: the process that forks all the others.
//!
//! It is started before this process has a second thread, and does nothing but fork, run what
//! was preloaded, and report how its children ended. This module is the main process's side of
//! it: [`init`], [`start`], and starting it again when it has died. `server` is the other side.

mod child;
mod report;
mod server;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hatchery_os::{
    Entry, LaunchError, Launched, Obstacle, OrderQueue, launch_forked, launch_spawned,
};
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use crate::child::{Child, StartError, Starting, wait_readable};
use crate::own_child::is_held;

pub use report::panic_text;
pub(crate) use report::{Kind, Rebirth, Report, Request};

/// How long the fork server may take to kill and collect its children.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The fork server of this process, once it has been started.
static FORK_SERVER: Mutex<Option<ForkServer>> = Mutex::new(None);

/// Whether this process was started by a fork server.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// What was preloaded in the fork server that started this process, for one of its own.
static INHERITED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// How the fork server, or a process that it starts, comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartMethod {
    /// By forking. Fast, and shares memory; the process that forks must have one thread.
    #[default]
    Fork,
    /// By executing this program again, with nothing in memory: for a fork server of programs and test
    /// harnesses that have threads, and for processes that are to see nothing preloaded.
    Spawn,
}

/// Why the fork server was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The process has this many threads, and only one would survive in the child.
    #[error(
        "the fork server must start while the process has one thread, and it has {0}: \
         call hatchery::init() first in main, or init_with(StartMethod::Spawn)"
    )]
    Threads(usize),
    /// The kernel refused.
    #[error("the fork server could not be started")]
    Os(#[source] io::Error),
}

/// What a child is to run, and under which name.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The name under which `ps` shows the process; the kernel keeps 15 bytes of it.
    pub name: &'a str,
    /// The function to run.
    pub entry: Entry,
    /// Whether the process is a fork of the fork server, or executes the program anew.
    pub method: StartMethod,
    /// The serialised arguments.
    pub bytes: &'a [u8],
    /// The descriptors to pass, at most 30.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// The functions to pass, at most 3.
    pub functions: &'a [Entry],
    /// Whether the function gets two descriptors before those that are passed: a channel for its
    /// [last words](Child::take_words), and the pidfd of this process.
    pub speaks: bool,
}

impl Program<'_> {
    /// Names a function to run, without arguments, descriptors or further functions.
    #[must_use]
    pub fn new(name: &str, entry: Entry) -> Program<'_> {
        Program {
            name,
            entry,
            method: StartMethod::Fork,
            bytes: &[],
            descriptors: &[],
            functions: &[],
            speaks: false,
        }
    }
}

/// Starts the fork server by forking this process.
///
/// `#[hatchery::main]` calls it first. A second call does nothing.
///
/// # Errors
///
/// Returns [`InitError::Threads`] if this process has a second thread already, and
/// [`InitError::Os`] for any error of the kernel.
pub fn init() -> Result<(), InitError> {
    init_with(StartMethod::Fork)
}

/// Starts the fork server by the given method. Once there is one, this does nothing.
///
/// # Errors
///
/// As [`init`]; [`StartMethod::Spawn`] never returns [`InitError::Threads`].
pub fn init_with(method: StartMethod) -> Result<(), InitError> {
    if is_running() {
        return Ok(());
    }
    let preloads = inherited().clone();
    // Not under the lock: the fork server would inherit it locked, and every child after it. No
    // other thread can be as far with `Fork`, for there is none.
    let launched = ForkServer::launch(method, preloads)?;
    let mut server = lock();
    if server.is_some() {
        // Another thread was faster with `Spawn`.
        drop(server);
        launched.abandon();
        return Ok(());
    }
    *server = Some(launched);
    Ok(())
}

/// Whether [`init`] has been called in this process.
#[must_use]
pub fn is_running() -> bool {
    lock().is_some()
}

/// Starts a process and waits until it is there.
///
/// The child has the signal dispositions of a fresh Rust program, an empty signal mask, a process
/// group of its own, standard input from `/dev/null`, and no descriptor but standard output and
/// error and those that are passed. Executed anew, it has the environment and not the arguments of this
/// program. It dies when this process does. A process that was itself
/// started so gets a fork server of its own at its first start: by fork while it has one thread, and
/// by re-execution later.
///
/// # Errors
///
/// Returns [`StartError::NotInitialised`] before [`init`], and otherwise why the child was not
/// started. A fork server that has died is started again first; if it was killed together with a
/// child that had not yet said that it runs, the function is started twice.
pub fn start(program: Program<'_>) -> Result<Child, StartError> {
    match begin(program)?.finish() {
        Err(StartError::ForkServerLost) => begin(program)?.finish(),
        outcome => outcome,
    }
}

/// Asks for a process and does not wait for it.
///
/// # Errors
///
/// As [`start`].
pub fn begin(program: Program<'_>) -> Result<Starting, StartError> {
    let kind = match program.method {
        StartMethod::Fork => Kind::Fork,
        StartMethod::Spawn => Kind::Spawn,
    };
    begin_request(program, kind, None)
}

/// As [`begin`], and gives the process a queue by which it will get functions.
pub(crate) fn begin_with_orders(
    program: Program<'_>,
    orders: &OrderQueue,
) -> Result<Starting, StartError> {
    begin_request(program, Kind::Fork, Some(orders))
}

/// Starts the fork server again if it has died; children of the dead one run on.
///
/// # Errors
///
/// Returns [`StartError::NotInitialised`] before [`init`], and [`StartError::Os`] if this program
/// could not be executed again.
pub fn ensure_running() -> Result<(), StartError> {
    let mut server = lock();
    let server = server.as_mut().ok_or(StartError::NotInitialised)?;
    server.revive_if_dead()
}

/// Ends the fork server and, with it, every child; returns once they are gone, or after a second.
///
/// It ends by itself when this process does. Calling this before leaves no zombie behind where
/// nobody would collect it, as in a container without an init.
pub fn end() {
    let Some(server) = lock().take() else {
        return;
    };
    let Launched { orders, pidfd, .. } = server.launched;
    drop(orders);
    if wait_readable(pidfd.as_fd(), Some(END_TIMEOUT)).unwrap_or(false) {
        let _status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

/// Duplicates the descriptor that becomes readable when the fork server ends.
///
/// # Errors
///
/// Returns [`StartError::NotInitialised`] before [`init`], and [`StartError::Os`] if this process
/// has no descriptor left.
pub fn fork_server_pidfd() -> Result<OwnedFd, StartError> {
    let server = lock();
    let server = server.as_ref().ok_or(StartError::NotInitialised)?;
    let pidfd = server.launched.pidfd.try_clone();
    pidfd.map_err(StartError::Os)
}

/// Whether somebody waits for this child: it is the fork server, or has a [`Child`] or an
/// [`OwnChild`](crate::OwnChild).
#[must_use]
pub fn is_own_child(pid: Pid) -> bool {
    let server = lock();
    let is_server = server.as_ref().is_some_and(|it| it.launched.pid == pid);
    is_server || is_held(pid)
}

/// Runs `entry` in the fork server, now and whenever there is a new one.
pub(crate) fn run_in_fork_server(entry: Entry) -> Result<(), StartError> {
    begin_request(Program::new("preload", entry), Kind::Preload, None)?.finish_preload()?;
    if let Some(server) = lock().as_mut() {
        server.preloads.push(entry);
    }
    Ok(())
}

/// As [`run_in_fork_server`], unless that has been done with this entry.
pub(crate) fn run_once_in_fork_server(entry: Entry) -> Result<(), StartError> {
    let is_done = lock()
        .as_ref()
        .is_some_and(|server| server.preloads.contains(&entry));
    if is_done {
        return Ok(());
    }
    run_in_fork_server(entry)
}

/// Remembers, in the fork server, what its children would have to preload for theirs.
pub(crate) fn remember_preload(entry: Entry) {
    inherited().push(entry);
}

/// Says that this process was started by a fork server.
pub(crate) fn mark_as_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// Whether this process was started by a fork server.
#[must_use]
pub fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// Starts a fork server for the children of a process that is itself a child.
fn init_in_child() -> Result<(), StartError> {
    let started = match init_with(StartMethod::Fork) {
        Err(InitError::Threads(_)) => init_with(StartMethod::Spawn),
        outcome => outcome,
    };
    started.map_err(|error| StartError::Os(io::Error::other(error)))
}

fn inherited() -> MutexGuard<'static, Vec<Entry>> {
    INHERITED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn begin_request(
    program: Program<'_>,
    kind: Kind,
    orders: Option<&OrderQueue>,
) -> Result<Starting, StartError> {
    if is_child() && !is_running() {
        init_in_child()?;
    }
    let mut server = lock();
    let server = server.as_mut().ok_or(StartError::NotInitialised)?;
    match server.send(program, kind, orders) {
        Err(StartError::ForkServerLost) => {
            server.revive()?;
            server.send(program, kind, orders)
        }
        outcome => outcome,
    }
}

fn lock() -> MutexGuard<'static, Option<ForkServer>> {
    // Each change to it is one assignment, so a panic elsewhere leaves it whole.
    FORK_SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fork server that was started, and what a successor would have to be told.
struct ForkServer {
    launched: Launched,
    preloads: Vec<Entry>,
}

impl ForkServer {
    /// Starts a fork server that has what `preloads` make.
    fn launch(method: StartMethod, preloads: Vec<Entry>) -> Result<Self, InitError> {
        // Children of a fork server that dies become ours, and with them their exit statuses.
        set_child_subreaper(Some(getpid())).map_err(|error| InitError::Os(error.into()))?;
        let launched = match method {
            StartMethod::Fork => launch_forked(server::run),
            StartMethod::Spawn => launch_spawned(server::run),
        };
        let launched = launched.map_err(|error| match error {
            LaunchError::Fork(hatchery_os::ForkError::Threads(count)) => InitError::Threads(count),
            LaunchError::Exec(error) | LaunchError::Os(error) => InitError::Os(error),
            other => InitError::Os(io::Error::other(other)),
        })?;
        let server = Self { launched, preloads };
        // One that was forked has them already, from this process.
        if method == StartMethod::Spawn
            && let Err(error) = server.preload_all()
        {
            server.abandon();
            return Err(InitError::Os(io::Error::other(error)));
        }
        Ok(server)
    }

    fn preload_all(&self) -> Result<(), StartError> {
        for &entry in &self.preloads {
            let program = Program::new("preload", entry);
            self.send(program, Kind::Preload, None)?.finish_preload()?;
        }
        Ok(())
    }

    fn send(
        &self,
        program: Program<'_>,
        kind: Kind,
        orders: Option<&OrderQueue>,
    ) -> Result<Starting, StartError> {
        let (report, theirs) = hatchery_os::pair().map_err(StartError::Os)?;
        let bytes = Request::encode(kind, &program);
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend_from_slice(program.descriptors);
        let mut functions = vec![program.entry];
        functions.extend_from_slice(program.functions);
        let server = &self.launched.orders;
        let sent = match orders {
            Some(queue) => server.send_with_queue(&functions, &bytes, &descriptors, queue),
            None => server.send(&functions, &bytes, &descriptors),
        };
        match sent {
            Ok(()) => Ok(Starting::new(report)),
            Err(error) if Obstacle::of(&error) == Obstacle::Closed => {
                Err(StartError::ForkServerLost)
            }
            Err(error) => Err(StartError::Os(error)),
        }
    }

    fn revive_if_dead(&mut self) -> Result<(), StartError> {
        let ended = waitid(
            WaitId::PidFd(self.launched.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        match ended {
            Ok(None) => Ok(()),
            // Whoever waited for it before us, it has ended.
            Ok(Some(_)) | Err(_) => self.revive(),
        }
    }

    /// Starts a successor, by re-execution: this process has threads by now.
    fn revive(&mut self) -> Result<(), StartError> {
        self.reap();
        *self = Self::launch(StartMethod::Spawn, self.preloads.clone())
            .map_err(|error| StartError::Os(io::Error::other(error)))?;
        Ok(())
    }

    /// Ends a fork server that nobody will use.
    fn abandon(self) {
        let Launched { orders, pidfd, .. } = self.launched;
        drop(orders);
        let _collected_before = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    }

    /// Collects the dead fork server, so that no zombie stays.
    ///
    /// Its socket closes a moment before it can be waited for; this waits that moment.
    fn reap(&self) {
        let pidfd = WaitId::PidFd(self.launched.pidfd.as_fd());
        let _collected_before = waitid(pidfd, WaitIdOptions::EXITED);
    }
}
