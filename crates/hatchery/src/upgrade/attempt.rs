//! Starting the new program, and waiting until it is ready.
//!
//! A thread of its own does that, since nearly every step may wait.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hatchery_process::OwnChild;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::task::JoinHandle;

use super::error::UpgradeError;
use super::last_words::LastWords;
use super::message::{Item, Message, receive, send};
use super::program::{command, program};
use crate::kin::children_of;

/// How many items are sent at once.
const ITEMS_PER_MESSAGE: usize = hatchery_process::DESCRIPTORS_MAX;

/// How long the children of a program that was killed may take to end: its fork server kills and
/// collects the others first.
const ORPHANS_END: Duration = Duration::from_secs(2);

/// A new program that is being started; dropping it kills that program.
#[derive(Debug)]
pub(crate) struct Attempt {
    task: JoinHandle<Result<Heir, UpgradeError>>,
    /// Closed, it tells the thread to give up.
    _wanted: OwnedFd,
}

impl Attempt {
    /// Starts this program's file anew, and offers it `items`; it has `timeout` to become ready.
    ///
    /// # Errors
    ///
    /// Returns an error if this process has no descriptors left.
    pub(crate) fn begin(
        items: Vec<(Item, OwnedFd)>,
        timeout: Duration,
    ) -> Result<Self, UpgradeError> {
        let os = UpgradeError::os("the channel to a new program cannot be made");
        let (wanted, cancelled) = hatchery_os::pair().map_err(os)?;
        let task = tokio::task::spawn_blocking(move || start(&items, timeout, cancelled.as_fd()));
        Ok(Self {
            task,
            _wanted: wanted,
        })
    }

    /// Says what became of it, once that is known.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Heir, UpgradeError>> {
        let joined = Pin::new(&mut self.task).poll(context);
        joined.map(|joined| joined.unwrap_or(Err(UpgradeError::Cancelled)))
    }
}

/// A new program that is ready; dropping it kills it, unless it was handed the server.
#[derive(Debug)]
pub(crate) struct Heir {
    running: Running,
    channel: OwnedFd,
    /// The groups of listeners that it has taken.
    pub(crate) groups: Vec<usize>,
    /// Whether it has taken the control socket.
    pub(crate) control: bool,
    /// Whether it has taken the admin listener.
    pub(crate) admin: bool,
    /// Whether it takes connections that wait for their clients.
    pub(crate) parked: bool,
}

impl Heir {
    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        self.running.pid
    }

    /// Says to it that the server is its own; from then on it lives by itself.
    ///
    /// What this returns is the channel on which it can be sent more.
    ///
    /// # Errors
    ///
    /// Returns an error if it has ended.
    pub(crate) fn hand_over(mut self) -> io::Result<OwnedFd> {
        send(&self.channel, &Message::Yours, &[])?;
        self.running.child = None;
        Ok(self.channel)
    }
}

/// A program that was started; dropping it kills it.
#[derive(Debug)]
struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    child: Option<Child>,
    _own: OwnChild,
}

impl Running {
    fn new(mut child: Child) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        // The child has not been waited for, so its id cannot have passed to another process.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                pid,
                pidfd,
                child: Some(child),
                _own: OwnChild::new(pid),
            }),
            Err(error) => {
                let _ended = child.kill();
                let _status = child.wait();
                Err(error.into())
            }
        }
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        let child = self.child.as_mut();
        let status = child.ok_or(io::ErrorKind::NotFound)?.wait();
        self.child = None;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Its children become this process's when it dies, and nobody else would collect them.
        let orphans = children_of(self.pid).into_iter();
        let orphans = orphans.filter_map(|kin| pidfd_open(kin.pid, PidfdFlags::empty()).ok());
        let orphans: Vec<OwnedFd> = orphans.collect();
        let _ended = child.kill();
        let _status = child.wait();
        let deadline = Instant::now() + ORPHANS_END;
        for orphan in orphans {
            let ended = hatchery_process::wait_for_any(&[orphan.as_fd()], Some(deadline));
            if ended.is_ok_and(|ended| !ended.is_empty()) {
                let _status = waitid(WaitId::PidFd(orphan.as_fd()), WaitIdOptions::EXITED);
            }
        }
    }
}

/// Starts the program, and waits until it is ready or has failed.
fn start(
    items: &[(Item, OwnedFd)],
    timeout: Duration,
    cancelled: BorrowedFd<'_>,
) -> Result<Heir, UpgradeError> {
    let begun = Instant::now();
    let program = program().map_err(UpgradeError::NoProgram)?;
    let mut launch = Launch::begin(&program)?;
    launch.offer(items, timeout)?;
    // A time too long to be reckoned with is for ever.
    match launch.wait(begun.checked_add(timeout), cancelled)? {
        Outcome::Ready(ready) => Ok(Heir {
            running: launch.running,
            channel: launch.channel,
            groups: ready.groups,
            control: ready.control,
            admin: ready.admin,
            parked: ready.parked,
        }),
        Outcome::Ended => Err(launch.report_end()),
        Outcome::Late => Err(UpgradeError::NotReady {
            after: timeout,
            last_words: launch.words.take(),
        }),
    }
}

/// A program that is on its way.
struct Launch {
    running: Running,
    channel: OwnedFd,
    /// Whether the program may say something yet.
    is_open: bool,
    words: LastWords,
}

/// What a program says that is ready.
struct Ready {
    groups: Vec<usize>,
    control: bool,
    admin: bool,
    parked: bool,
}

/// What became of the program.
enum Outcome {
    Ready(Ready),
    Ended,
    Late,
}

impl Launch {
    fn begin(path: &Path) -> Result<Self, UpgradeError> {
        let os = UpgradeError::os("the channel to a new program cannot be made");
        // The new program's end is closed here as soon as that has it: its end is heard by this one.
        let (channel, theirs) = hatchery_os::pair().map_err(os)?;
        let mut command = command(path);
        command.stderr(Stdio::piped());
        let spawned = hatchery_os::spawn_heir(&mut command, theirs.as_fd());
        let mut child = spawned.map_err(|source| UpgradeError::Execute {
            program: path.to_owned(),
            source,
        })?;
        let words = LastWords::new(child.stderr.take());
        let os = UpgradeError::os("the new program cannot be watched");
        Ok(Self {
            running: Running::new(child).map_err(os)?,
            channel,
            is_open: true,
            words,
        })
    }

    /// Sends what the program may take.
    fn offer(&self, items: &[(Item, OwnedFd)], timeout: Duration) -> Result<(), UpgradeError> {
        let os = || UpgradeError::os("the new program cannot be given what it is to have");
        // There may be more than the channel has room for; it waits for the program then.
        rustix::io::ioctl_fionbio(&self.channel, false).map_err(|error| os()(error.into()))?;
        let _without = set_socket_timeout(&self.channel, Timeout::Send, Some(timeout));
        let pages = items.chunks(ITEMS_PER_MESSAGE);
        let last = pages.len().saturating_sub(1);
        for (number, page) in pages.enumerate() {
            let message = Message::Items {
                items: page.iter().map(|(item, _)| item.clone()).collect(),
                more: number < last,
            };
            let descriptors: Vec<_> = page.iter().map(|(_, it)| it.as_fd()).collect();
            match send(&self.channel, &message, &descriptors) {
                Ok(()) => {}
                // It has ended, or hangs: that is found out next.
                Err(error) if is_its_doing(&error) => return Ok(()),
                Err(error) => return Err(os()(error)),
            }
        }
        Ok(())
    }

    fn wait(
        &mut self,
        deadline: Option<Instant>,
        cancelled: BorrowedFd<'_>,
    ) -> Result<Outcome, UpgradeError> {
        loop {
            // The end comes after what was said before it.
            let mut sources = vec![cancelled, self.running.pidfd.as_fd()];
            sources.extend(self.words.source());
            let channel = self.is_open.then(|| self.channel.as_fd());
            sources.extend(channel);
            let os = UpgradeError::os("the new program cannot be waited for");
            let ready = hatchery_process::wait_for_any(&sources, deadline).map_err(os)?;
            let channel = channel.map(|_| sources.len() - 1);
            if ready.contains(&0) {
                return Err(UpgradeError::Cancelled);
            }
            if self.words.source().is_some() && ready.contains(&2) {
                self.words.listen();
            }
            if channel.is_some_and(|place| ready.contains(&place))
                && let Some(outcome) = self.hear()?
            {
                return Ok(outcome);
            }
            if ready == [1] {
                return Ok(Outcome::Ended);
            }
            if ready.is_empty() && deadline.is_some_and(|it| it <= Instant::now()) {
                return Ok(Outcome::Late);
            }
        }
    }

    /// Takes in what the program says.
    fn hear(&mut self) -> Result<Option<Outcome>, UpgradeError> {
        match receive(&self.channel) {
            Ok(Some((
                Message::Ready {
                    groups,
                    control,
                    admin,
                    parked,
                },
                _,
            ))) => Ok(Some(Outcome::Ready(Ready {
                groups,
                control,
                admin,
                parked,
            }))),
            Ok(Some((Message::Failed { words }, _))) => {
                self.words.remember(words.as_bytes());
                Ok(None)
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(UpgradeError::NotUnderstood(error.to_string()))
            }
            Err(_) => {
                self.is_open = false;
                Ok(None)
            }
        }
    }

    fn report_end(&mut self) -> UpgradeError {
        match self.running.wait() {
            Ok(status) => UpgradeError::Exited {
                status,
                last_words: self.words.take(),
            },
            Err(error) => UpgradeError::os("the new program cannot be waited for")(error),
        }
    }
}

/// Whether nothing could be sent because the program does not receive.
fn is_its_doing(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionReset | TimedOut | WouldBlock
    )
}
