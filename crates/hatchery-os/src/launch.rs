//! Starting the process that will fork all the others.
//!
//! A process with one thread starts it by forking. One that has threads already starts it by
//! executing its own file again, and there it takes over before `main` is reached: a function in
//! the executable's list of initialisers looks for [`MARKER`] in the environment. A process that was
//! forked can become a new one in the same way.
#![expect(
    unsafe_code,
    reason = "descriptors nobody owns are closed, and a function runs before main"
)]

use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

use crate::entry::{address_of, offset_of};
use crate::fork::{Fork, ForkError, exit_now, fork};
use crate::message;
use crate::order::{Order, OrderQueue, Orders, order_channel};

/// The environment variable that tells a re-executed program what it is.
const MARKER: &str = "HATCHERY_FORK_SERVER";

/// What the marker must say. A program of another version would read other messages.
const MARKER_VALUE: &str = concat!("stdin-", env!("CARGO_PKG_VERSION"));

/// The exit code of a process that panicked, as Rust's own `main` has it.
const PANICKED: u8 = 101;

/// The exit code of a process whose command line or environment is wrong.
const MISUSED: u8 = 2;

/// What the new process does; its result is the exit code.
pub type ForkServerBody = fn(OrderQueue) -> u8;

/// A process that was started and now waits for orders.
#[derive(Debug)]
pub struct Launched {
    /// Sends it orders. It sees the end of its queue once this is dropped.
    pub orders: Orders,
    /// Names the process.
    pub pidfd: OwnedFd,
    /// Its process id.
    pub pid: Pid,
}

/// Why the process was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// This process cannot fork.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The kernel refused to execute this program again.
    #[error("this program could not be executed again")]
    Exec(#[source] io::Error),
    /// The kernel refused something else.
    #[error("the kernel refused")]
    Os(#[from] io::Error),
}

/// Forks a process that runs `body`.
///
/// The child inherits standard output and error, and nothing else that is open: a static that
/// holds a descriptor holds a closed one there.
///
/// # Errors
///
/// Returns [`LaunchError::Fork`] if this process has more than one thread, and
/// [`LaunchError::Os`] for any other error of the kernel.
pub fn launch_forked(body: ForkServerBody) -> Result<Launched, LaunchError> {
    let (orders, queue) = order_channel()?;
    // What is still buffered would be written twice: once here and once by the child.
    io::stdout().flush()?;
    match fork()? {
        Fork::Parent(pid) => {
            let pidfd = name_child(pid)?;
            Ok(Launched { orders, pidfd, pid })
        }
        Fork::Child => {
            drop(orders);
            run(body, queue)
        }
    }
}

/// Opens the descriptor that names a child of this process, or ends the child.
fn name_child(pid: Pid) -> io::Result<OwnedFd> {
    // The child has not been waited for, so its id cannot have passed to another process.
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
        let _ended = kill_process(pid, Signal::KILL);
        let _collected = waitpid(Some(pid), WaitOptions::empty());
        error.into()
    })
}

/// Executes this program again as a process that runs `body`.
///
/// The arguments of the program are not passed on; its environment is.
///
/// # Errors
///
/// Returns [`LaunchError::Exec`] if the program cannot be executed, and [`LaunchError::Os`] for
/// any other error of the kernel.
pub fn launch_spawned(body: ForkServerBody) -> Result<Launched, LaunchError> {
    let (orders, queue) = order_channel()?;
    let mut program = this_program("hatchery-fork-server", body, &orders, queue)?;
    let child = program.spawn().map_err(LaunchError::Exec)?;
    let pid = Pid::from_child(&child);
    let pidfd = name_child(pid)?;
    Ok(Launched { orders, pidfd, pid })
}

/// Executes this program again in this process, to run `body` with `order` alone in its queue.
///
/// Nothing of this process remains but its id, its parent, its signal mask, its environment, and
/// standard output and error. It returns only if that fails.
pub fn relaunch(body: ForkServerBody, order: &Order) -> LaunchError {
    let prepared = order_channel().and_then(|(orders, queue)| {
        let program = this_program("hatchery-process", body, &orders, queue)?;
        let mut functions = vec![order.entry];
        functions.extend_from_slice(&order.start.functions);
        let descriptors: Vec<_> = order.start.descriptors.iter().map(AsFd::as_fd).collect();
        orders.send(&functions, &order.start.bytes, &descriptors)?;
        Ok(program)
    });
    match prepared {
        Ok(mut program) => LaunchError::Exec(program.exec()),
        Err(error) => LaunchError::Os(error),
    }
}

/// Prepares to execute this program again, as one that takes `queue` over and runs `body`.
fn this_program(
    name: &str,
    body: ForkServerBody,
    orders: &Orders,
    queue: OrderQueue,
) -> io::Result<Command> {
    let offset = offset_of(body as usize).to_le_bytes();
    message::send(orders.raw(), &[IoSlice::new(&offset)], &[])?;
    let mut program = Command::new("/proc/self/exe");
    program
        .arg0(name)
        .env(MARKER, MARKER_VALUE)
        .stdin(Stdio::from(queue.into_socket()));
    Ok(program)
}

/// Runs `body` with nothing open but its queue, and ends the process.
fn run(body: ForkServerBody, queue: OrderQueue) -> ! {
    if silence_stdin().is_err() {
        exit_now(MISUSED);
    }
    close_all_but(queue.as_fd());
    let code = std::panic::catch_unwind(|| body(queue)).unwrap_or(PANICKED);
    exit_now(code)
}

/// Makes standard input empty: the terminal belongs to the main process.
fn silence_stdin() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}

/// Closes every descriptor from 3 on, but `kept`.
fn close_all_but(kept: BorrowedFd<'_>) {
    let kept = kept.as_raw_fd();
    close_range(3, kept - 1);
    close_range(kept + 1, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: this process was just forked or executed and has one thread. What owned these
    // descriptors is in frames that never run again here, or was never made.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if outcome == 0 {
        return;
    }
    // An old kernel does not have the call, and a sandbox may refuse it.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| RawFd::try_from(limit).ok());
    for number in first..=last.min(limit.unwrap_or(RawFd::MAX)) {
        // SAFETY: as above; a number that is not open is refused.
        unsafe { libc::close(number) };
    }
}

/// The initialiser that the dynamic linker runs before `main`, once and in one thread.
///
/// In a fork server it does not return, so initialisers of the executable that would come after
/// it, such as those of C++ statics that are linked into it, do not run there or in its children.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::env::var_os(MARKER).is_none() {
        return;
    }
    // SAFETY: `getauxval` has no precondition.
    let is_privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if is_privileged {
        // The environment is that of a user with fewer rights than this program has.
        return;
    }
    match take_over() {
        Ok((body, queue)) => run(body, queue),
        Err(error) => {
            let text = format!("hatchery: {MARKER} is set, but {error}\n");
            let _closed = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            exit_now(MISUSED)
        }
    }
}

/// Becomes what the process that executed this one asked for.
fn take_over() -> io::Result<(ForkServerBody, OrderQueue)> {
    if std::env::var(MARKER).is_ok_and(|value| value != MARKER_VALUE) {
        return Err(io::Error::other("it is another version's"));
    }
    // SAFETY: this process has one thread.
    unsafe { std::env::remove_var(MARKER) };
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    if !is_from_this_user(&socket)? {
        return Err(io::Error::other("standard input is not a queue of orders"));
    }
    // Rust's `main` would have ignored SIGPIPE by now.
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut offset = [0; 8];
    let received = message::recv(&socket, &mut offset, &mut Vec::new())
        .map_err(|_| io::Error::other("standard input holds no order"))?;
    if received.len != offset.len() {
        return Err(io::Error::other("standard input holds something else"));
    }
    let address = address_of(u64::from_le_bytes(offset)) as *const ();
    // SAFETY: the process at the other end runs this executable as this user, and it sent the
    // offset of a `ForkServerBody` before it executed this one.
    let body = unsafe { std::mem::transmute::<*const (), ForkServerBody>(address) };
    Ok((body, OrderQueue::adopt(socket)))
}

/// Whether `socket` is a message channel whose other end was made by the user of this process.
fn is_from_this_user(socket: &OwnedFd) -> io::Result<bool> {
    // What is no socket has neither.
    let is_channel = sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(socket) == Ok(SocketType::SEQPACKET);
    Ok(is_channel && sockopt::socket_peercred(socket)?.uid == rustix::process::geteuid())
}
