//! A process that the fork server started, as its owner sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hatchery_os::{RecvError, collect_ended};
use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, pidfd_send_signal};

use crate::fork_server::Report;
use crate::own_child::OwnChild;
use crate::packets::{PacketRecvError, receive_as, unpack};
use crate::parcel::Parcel;
use crate::readiness::wait_until;
use crate::usage::Usage;

/// Room for the longest report: a reason why a child was not started.
const REPORT_BYTES_MAX: usize = 4096;

/// How long an orphan whose fork server was killed may take to reach its new parent.
const ADOPTION_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no fork server.
    #[error(
        "there is no fork server: use #[hatchery::main], or call hatchery::init() first in main"
    )]
    NotInitialised,
    /// The fork server died before it answered.
    #[error("the fork server died before it answered")]
    ForkServerLost,
    /// The fork server refused, for this reason.
    #[error("the fork server refused: {0}")]
    Refused(String),
    /// The kernel refused.
    #[error("the kernel refused to start a process")]
    Os(#[source] io::Error),
}

/// Why the exit status of a process is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The process has ended, and its status went with the fork server that was killed.
    #[error("the process has ended, and its exit status died with the fork server")]
    StatusLost,
    /// The process did not end in time.
    #[error("the process has not ended in time")]
    Timeout,
    /// The kernel refused.
    #[error("the kernel refused to wait")]
    Os(#[source] io::Error),
}

/// A process that has been asked for.
#[derive(Debug)]
pub struct Starting {
    /// Where the fork server answers; the child has it once it is there.
    report: Option<OwnedFd>,
}

impl Starting {
    pub(crate) fn new(report: OwnedFd) -> Self {
        Self {
            report: Some(report),
        }
    }

    /// Returns the child if the fork server has answered, and `None` if it has not yet.
    ///
    /// # Errors
    ///
    /// Returns [`StartError::ForkServerLost`] if it never will, and [`StartError::Refused`] with
    /// its reason.
    pub fn try_finish(&mut self) -> Result<Option<Child>, StartError> {
        let mut descriptors = Vec::with_capacity(1);
        match self.read(&mut descriptors)? {
            None => Ok(None),
            Some(Report::Started { pid }) => {
                let (Some(pid), Some(pidfd)) = (Pid::from_raw(pid), descriptors.pop()) else {
                    return Err(StartError::Refused("its answer is incomplete".to_owned()));
                };
                let report = self.report.take().expect("the answer came through it");
                Ok(Some(Child {
                    pid,
                    pidfd,
                    report,
                    heard: Mutex::new(Heard {
                        ending: Ending::Reported,
                        words: Ok(None),
                    }),
                    _own: OwnChild::new(pid),
                }))
            }
            Some(other) => Err(StartError::Refused(format!("it answered {other:?}"))),
        }
    }

    /// The descriptor on which the answer will be readable, until it has been read.
    #[must_use]
    pub fn wait_source(&self) -> Option<BorrowedFd<'_>> {
        self.report.as_ref().map(AsFd::as_fd)
    }

    /// Waits for the child.
    ///
    /// # Errors
    ///
    /// As [`Starting::try_finish`].
    pub fn finish(mut self) -> Result<Child, StartError> {
        loop {
            self.wait().map_err(StartError::Os)?;
            if let Some(child) = self.try_finish()? {
                return Ok(child);
            }
        }
    }

    pub(crate) fn finish_preload(mut self) -> Result<(), StartError> {
        loop {
            match self.read(&mut Vec::new())? {
                Some(Report::Preloaded) => return Ok(()),
                Some(other) => {
                    return Err(StartError::Refused(format!("it answered {other:?}")));
                }
                None => self.wait().map_err(StartError::Os)?,
            };
        }
    }

    /// Waits until there is an answer.
    fn wait(&self) -> io::Result<bool> {
        self.report
            .as_ref()
            .map_or(Ok(true), |report| wait_readable(report.as_fd(), None))
    }

    fn read(&mut self, descriptors: &mut Vec<OwnedFd>) -> Result<Option<Report>, StartError> {
        let mut buffer = [0; REPORT_BYTES_MAX];
        let Some(report) = &self.report else {
            return Ok(None);
        };
        let received = match hatchery_os::recv(report, &mut buffer, descriptors) {
            Ok(received) => received,
            Err(RecvError::Empty) => return Ok(None),
            Err(RecvError::Os(error)) => return Err(StartError::Os(error)),
            Err(_) => return Err(StartError::ForkServerLost),
        };
        if received.descriptors_lost {
            return Err(StartError::Os(rustix::io::Errno::MFILE.into()));
        }
        match Report::decode(&buffer[..received.len]) {
            Some(Report::Failed { reason }) => Err(StartError::Refused(reason)),
            Some(report) => Ok(Some(report)),
            None => Err(StartError::Refused("its answer cannot be read".to_owned())),
        }
    }
}

/// A running process, or one whose exit status is still to be had.
///
/// Any number of threads may wait for it at once. Dropping it leaves the process running; it dies
/// with this program.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// Where the fork server reports the end.
    report: OwnedFd,
    heard: Mutex<Heard>,
    /// It may become a child of this process.
    _own: OwnChild,
}

/// What came through the channel of the reports.
#[derive(Debug)]
struct Heard {
    ending: Ending,
    /// What the process said, until it is asked for, or why that was lost.
    words: Result<Option<Parcel>, PacketRecvError>,
}

/// What is known of how a process ended, and who will say.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The fork server will report it.
    Reported,
    /// That fork server is gone, and the kernel is asked.
    Adopted,
    /// It is known.
    Known(ExitStatus, Usage),
    /// Nobody will ever know.
    Lost,
}

impl Child {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The process id as a number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The descriptor that becomes readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The descriptor to wait on before asking [`Child::try_wait`] again.
    ///
    /// It is another one after the fork server has died.
    #[must_use]
    pub fn wait_source(&self) -> BorrowedFd<'_> {
        match self.heard().ending {
            Ending::Reported => self.report.as_fd(),
            _ => self.pidfd.as_fd(),
        }
    }

    /// Returns how the process ended, or `None` while it runs.
    ///
    /// # Errors
    ///
    /// Returns [`WaitError::StatusLost`] if the process and its fork server were killed at once,
    /// and [`WaitError::Os`] for any error of the kernel.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, WaitError> {
        // The lock is held while the report is read: whoever comes second finds the status.
        let mut heard = self.heard();
        if matches!(heard.ending, Ending::Reported) {
            heard.ending = self.read_report(&mut heard.words)?;
        }
        if matches!(heard.ending, Ending::Adopted) {
            heard.ending = self.ask_kernel()?;
        }
        match heard.ending {
            Ending::Known(status, _) => Ok(Some(status)),
            Ending::Lost => Err(WaitError::StatusLost),
            Ending::Reported | Ending::Adopted => Ok(None),
        }
    }

    /// Takes what the process said last, if it was started to [speak](crate::Program::speaks) and
    /// has; [`try_wait`](Self::try_wait) has to be called before.
    ///
    /// # Errors
    ///
    /// Returns why it was lost.
    pub fn take_words(&self) -> Result<Option<Parcel>, PacketRecvError> {
        std::mem::replace(&mut self.heard().words, Ok(None))
    }

    /// What the process has used, once it is known how it ended.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self.heard().ending {
            Ending::Known(_, usage) => Some(usage),
            Ending::Reported | Ending::Adopted | Ending::Lost => None,
        }
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    ///
    /// As [`Child::try_wait`].
    pub fn wait(&self) -> Result<ExitStatus, WaitError> {
        self.wait_until(None)
    }

    /// Waits until the process has ended, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`WaitError::Timeout`] if it runs on; otherwise as [`Child::try_wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<ExitStatus, WaitError> {
        // A time too long to be reckoned with is for ever.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Asks the process to end, with `SIGTERM`.
    ///
    /// # Errors
    ///
    /// Returns the error of `pidfd_send_signal(2)`; a process that has ended is no error.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends the process, with `SIGKILL`.
    ///
    /// # Errors
    ///
    /// As [`Child::terminate`].
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Interrupts the process, with `SIGINT`.
    ///
    /// # Errors
    ///
    /// As [`Child::terminate`].
    pub fn interrupt(&self) -> io::Result<()> {
        self.signal(Signal::INT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<ExitStatus, WaitError> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let ready = wait_readable(self.wait_source(), left).map_err(WaitError::Os)?;
            if !ready && left == Some(Duration::ZERO) {
                return Err(WaitError::Timeout);
            }
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Each change to it is one assignment, so a panic elsewhere leaves it whole.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the fork server reports, and before that what the process says.
    fn read_report(
        &self,
        words: &mut Result<Option<Parcel>, PacketRecvError>,
    ) -> Result<Ending, WaitError> {
        loop {
            let message = receive_as(
                self.report.as_fd(),
                |bytes, descriptors| match Report::decode(bytes) {
                    Some(report) => Ok(Message::Report(report)),
                    None => unpack(bytes, descriptors).map(Message::Words),
                },
            );
            match message {
                Ok(Message::Report(Report::Exited { status, usage })) => {
                    return Ok(Ending::Known(ExitStatus::from_raw(status), usage));
                }
                Ok(Message::Report(_)) => return Ok(Ending::Lost),
                Ok(Message::Words(parcel)) => *words = Ok(Some(parcel)),
                Err(PacketRecvError::Empty) => return Ok(Ending::Reported),
                Err(PacketRecvError::Closed) => return Ok(Ending::Adopted),
                Err(PacketRecvError::Os(error)) => return Err(WaitError::Os(error)),
                Err(lost) => *words = Err(lost),
            }
        }
    }

    /// Asks the kernel, since the fork server is dead and this process has adopted the child.
    fn ask_kernel(&self) -> Result<Ending, WaitError> {
        let deadline = Instant::now() + ADOPTION_TIMEOUT;
        loop {
            match collect_ended(self.pidfd()) {
                Ok(None) => return Ok(Ending::Adopted),
                Ok(Some(ended)) => {
                    let status = ExitStatus::from_raw(ended.status);
                    return Ok(Ending::Known(status, ended.usage.into()));
                }
                Err(error) if is_not_ours(&error) => {}
                Err(error) => return Err(WaitError::Os(error)),
            }
            // Not ours yet: a dying process closes its sockets before it gives up its children.
            let ended = wait_readable(self.pidfd(), Some(Duration::ZERO)).map_err(WaitError::Os)?;
            if !ended {
                return Ok(Ending::Adopted);
            }
            if Instant::now() >= deadline {
                return Ok(Ending::Lost);
            }
            std::thread::yield_now();
        }
    }
}

/// What comes through the channel of the reports.
enum Message {
    Report(Report),
    Words(Parcel),
}

/// Waits until `source` is readable or closed, and says whether it is.
pub(crate) fn wait_readable(source: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    // A time too long to be reckoned with is for ever.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    wait_until(source, PollFlags::IN, deadline)
}

/// Whether a process is not, or not yet, a child of this one.
fn is_not_ours(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::CHILD.raw_os_error())
}
