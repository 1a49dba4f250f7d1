//! Starting a manager's process, watching over it, and ending it.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hatchery_process::{Child, Entry, Program, start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

use super::address::Address;
use super::error::{ManagerShutdownError, ManagerStartError};
use super::frames::Frames;
use super::plan::{Plan, Report};
use super::protocol::decode;
use super::server;

/// How long a manager may take to listen; its snapshot is read before.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a manager may take to write its last snapshot and to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a report.
const REPORT_BYTES_MAX: usize = 64 * 1024;

/// The time before a manager that died soon after its start is started again: at first, and at
/// most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A manager's process.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Where it reports, and learns that it is to end.
    control: UnixStream,
    since: Instant,
}

impl Running {
    /// Starts a process, and waits until it listens.
    pub(super) fn launch(plan: &Plan) -> Result<Self, ManagerStartError> {
        let (control, theirs) = UnixStream::pair().map_err(ManagerStartError::Os)?;
        let bytes = postcard::to_stdvec(plan).expect("a plan holds nothing that has no bytes");
        let theirs = OwnedFd::from(theirs);
        let child = start(Program {
            bytes: &bytes,
            descriptors: &[theirs.as_fd()],
            ..Program::new("hatchery-manager", Entry::new(server::run))
        })?;
        drop(theirs);
        let since = Instant::now();
        let mut running = Self {
            child,
            control,
            since,
        };
        match running.ready(plan) {
            Ok(()) => Ok(running),
            Err(error) => {
                running.kill();
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.pid().as_raw_nonzero().get()
    }

    fn ready(&mut self, plan: &Plan) -> Result<(), ManagerStartError> {
        match self.report(START_TIMEOUT) {
            Ok(Report::Ready) => Ok(()),
            Ok(Report::BadSnapshot(source)) => {
                let snapshot = plan.snapshot.as_ref();
                let path = snapshot.map(|snapshot| snapshot.path.clone());
                let path = path.unwrap_or_default();
                Err(ManagerStartError::Snapshot { path, source })
            }
            Ok(Report::CannotListen(reason)) => Err(ManagerStartError::Listen {
                address: plan.address.to_string(),
                reason,
            }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(ManagerStartError::Timeout)
            }
            Ok(Report::Ended(_)) | Err(_) => Err(ManagerStartError::Died),
        }
    }

    /// Waits for what the process has to tell.
    fn report(&mut self, timeout: Duration) -> io::Result<Report> {
        let mut frames = Frames::default();
        let deadline = Instant::now() + timeout;
        loop {
            let frame = frames.take(REPORT_BYTES_MAX);
            if let Some(body) = frame.map_err(|_| io::ErrorKind::InvalidData)? {
                return decode(&body).map_err(|_| io::ErrorKind::InvalidData.into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.control.set_read_timeout(Some(left))?;
            let mut chunk = [0; 1024];
            match self.control.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => frames.room().extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the process to end, and waits until it has.
    pub(super) fn end(mut self) -> Result<(), ManagerShutdownError> {
        let _gone_already = shutdown(&self.control, Shutdown::Write);
        let last = self.report(END_TIMEOUT);
        if self.child.wait_timeout(END_TIMEOUT).is_err() {
            self.kill();
            return Err(ManagerShutdownError::Timeout);
        }
        match last {
            Ok(Report::Ended(kept)) => kept.map_err(ManagerShutdownError::Snapshot),
            _ => Err(ManagerShutdownError::ManagerLost),
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait_timeout(END_TIMEOUT);
    }

    /// Whether the process has ended.
    fn has_ended(&mut self) -> bool {
        // A status that was lost is that of a process that has ended.
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// Whoever keeps a manager's process: its owner, or a thread that starts it again.
#[derive(Debug)]
pub(super) enum Keeper {
    Owner(Running),
    Supervisor {
        thread: JoinHandle<Result<(), ManagerShutdownError>>,
        /// Closing it ends the thread.
        stop: UnixStream,
        pid: Arc<AtomicI32>,
    },
}

impl Keeper {
    pub(super) fn supervise(plan: Plan, running: Running) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let pid = Arc::new(AtomicI32::new(running.pid()));
        let supervisor = Supervisor {
            plan,
            stopped,
            pid: Arc::clone(&pid),
            pause: Duration::ZERO,
        };
        let thread = thread::Builder::new()
            .name("hatchery-manager".to_owned())
            .spawn(move || supervisor.run(running))?;
        Ok(Self::Supervisor { thread, stop, pid })
    }

    /// The process's id, which is another after each restart.
    pub(super) fn pid(&self) -> i32 {
        match self {
            Self::Owner(running) => running.pid(),
            Self::Supervisor { pid, .. } => pid.load(Ordering::Acquire),
        }
    }

    pub(super) fn end(self) -> Result<(), ManagerShutdownError> {
        match self {
            Self::Owner(running) => running.end(),
            Self::Supervisor { thread, stop, .. } => {
                drop(stop);
                thread
                    .join()
                    .unwrap_or(Err(ManagerShutdownError::ManagerLost))
            }
        }
    }
}

/// The thread that starts a manager again.
struct Supervisor {
    plan: Plan,
    stopped: UnixStream,
    pid: Arc<AtomicI32>,
    /// How long to wait before the next start.
    pause: Duration,
}

impl Supervisor {
    fn run(mut self, mut running: Running) -> Result<(), ManagerShutdownError> {
        loop {
            if self.wait_for_end(&mut running) {
                return running.end();
            }
            tracing::warn!(pid = running.pid(), "a manager died and is started again");
            let lived = running.since.elapsed();
            drop(running);
            running = self.start_again(lived)?;
            self.pid.store(running.pid(), Ordering::Release);
        }
    }

    /// Waits until the process has ended, or until it is to: then returns true.
    fn wait_for_end(&self, running: &mut Running) -> bool {
        while !running.has_ended() {
            let mut sources = [
                PollFd::from_borrowed_fd(running.child.wait_source(), PollFlags::IN),
                PollFd::new(&self.stopped, PollFlags::IN),
            ];
            // Interrupted, it looks again.
            let _interrupted = poll(&mut sources, None);
            if !sources[1].revents().is_empty() {
                return true;
            }
        }
        false
    }

    fn start_again(&mut self, mut lived: Duration) -> Result<Running, ManagerShutdownError> {
        loop {
            let (first, longest) = PAUSES;
            self.pause = if lived > longest {
                Duration::ZERO
            } else {
                (self.pause * 2).min(longest)
            };
            if self.is_stopped_within(self.pause) {
                return Err(ManagerShutdownError::ManagerLost);
            }
            self.pause = self.pause.max(first);
            match Running::launch(&self.plan) {
                Ok(running) => return Ok(running),
                Err(error) => tracing::error!(%error, "a manager could not be started again"),
            }
            lived = Duration::ZERO;
        }
    }

    fn is_stopped_within(&self, pause: Duration) -> bool {
        let mut sources = [PollFd::new(&self.stopped, PollFlags::IN)];
        let pause = Timespec::try_from(pause).ok();
        poll(&mut sources, pause.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

/// Binds a TCP address without listening, so that it stays this program's between two managers;
/// returns the address with the port that was found.
pub(super) fn reserve(address: std::net::SocketAddr) -> io::Result<(socket2::Socket, Address)> {
    let socket = server::tcp_socket(&address.into())?;
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, Address::Tcp(address)))
}
