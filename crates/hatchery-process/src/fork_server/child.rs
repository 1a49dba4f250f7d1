//! What a child does before it runs its function.
//!
//! It was forked from the fork server. One that is to be a process of its own executes the program
//! again first; it finds all that it needs in an order that it has given to itself.

use std::error::Error;
use std::ffi::CString;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::catch_unwind;

use hatchery_os::{
    Entry, Order, OrderQueue, Start, close, exit_now, follow_parent, relaunch, reset_signals,
    unblock_signals,
};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, setpgid};

use super::server::fail;
use super::{Rebirth, Report, mark_as_child};
use crate::title;

/// The exit code of a child whose function panicked, as Rust's own `main` has it.
const PANICKED: u8 = 101;

/// The exit code of a child that could not be set up.
pub(super) const NOT_SET_UP: u8 = 71;

/// Room for the report of a start.
const STARTED_BYTES_MAX: usize = 16;

/// What a child does, and whose it is.
pub(super) struct ChildTask {
    /// It is made before the fork: each page that a child touches is copied for it.
    pub(super) name: CString,
    pub(super) entry: Entry,
    pub(super) start: Start,
    /// Where it says that it runs.
    pub(super) report: OwnedFd,
    /// Whether its function is given that too.
    pub(super) speaks: bool,
    pub(super) parent: Pid,
    pub(super) keeper: Pid,
}

impl ChildTask {
    /// Sets the child up, runs its function, and ends the process.
    pub(super) fn run(self) -> ! {
        if !self.name.is_empty() {
            let _unnamed = rustix::thread::set_name(&self.name);
            title::show_name(self.name.to_str().unwrap_or_default());
        }
        let is_set_up = setpgid(None, None).is_ok()
            && unblock_signals().is_ok()
            && follow_parent(self.parent, self.keeper).is_ok();
        if !is_set_up {
            exit_now(NOT_SET_UP);
        }
        if let Err(error) = say_started(&self.report) {
            // Nobody would know of it: better none.
            fail(&self.report, &error.to_string());
            exit_now(NOT_SET_UP);
        }
        mark_as_child();
        let (entry, mut start) = (self.entry, self.start);
        if self.speaks {
            start.descriptors.insert(0, self.report);
        } else {
            drop(self.report);
        }
        let code = catch_unwind(move || entry.run(start)).unwrap_or(PANICKED);
        let _closed = io::stdout().flush();
        exit_now(code)
    }

    /// Executes the program again, and runs the function there.
    pub(super) fn run_anew(self) -> ! {
        // Tied to its parent it will be when it has been executed.
        if setpgid(None, None).is_err() {
            exit_now(NOT_SET_UP);
        }
        let order = self.into_order();
        let error = relaunch(be_reborn, &order);
        if let Some(report) = order.start.descriptors.last() {
            let cause = error.source().map(ToString::to_string);
            fail(report, &format!("{error}: {}", cause.unwrap_or_default()));
        }
        exit_now(NOT_SET_UP)
    }

    fn into_order(self) -> Order {
        let rebirth = Rebirth {
            name: self.name.to_str().unwrap_or_default(),
            parent: self.parent.as_raw_nonzero().get(),
            keeper: self.keeper.as_raw_nonzero().get(),
            speaks: self.speaks,
            bytes: &self.start.bytes,
        };
        let bytes = postcard::to_stdvec(&rebirth).expect("it holds nothing that fails");
        let mut descriptors = self.start.descriptors;
        descriptors.push(self.report);
        Order {
            entry: self.entry,
            start: Start {
                bytes,
                descriptors,
                functions: self.start.functions,
                // Only who is forked can be given functions later.
                orders: None,
            },
        }
    }

    /// Reads what this process was before it executed the program again.
    fn from_order(order: Order) -> Option<Self> {
        let Order { entry, mut start } = order;
        let report = start.descriptors.pop()?;
        let rebirth: Rebirth<'_> = postcard::from_bytes(&start.bytes).ok()?;
        let name = CString::new(rebirth.name).ok()?;
        let speaks = rebirth.speaks;
        let bytes = rebirth.bytes.to_vec();
        let parent = Pid::from_raw(rebirth.parent)?;
        let keeper = Pid::from_raw(rebirth.keeper)?;
        start.bytes = bytes;
        Some(Self {
            name,
            entry,
            start,
            report,
            speaks,
            parent,
            keeper,
        })
    }
}

/// Goes on as the child that this process was before it executed the program again.
fn be_reborn(mut queue: OrderQueue) -> u8 {
    let task = queue.recv().ok().and_then(ChildTask::from_order);
    drop(queue);
    match task {
        Some(task) if reset_signals().is_ok() => task.run(),
        _ => NOT_SET_UP,
    }
}

/// Tells whoever ordered this child that it runs.
///
/// The child says so itself: the fork server may be killed as soon as it has forked, and then the
/// main process has a child that it must know of.
fn say_started(report: &OwnedFd) -> io::Result<()> {
    let pid = getpid();
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let started = Report::Started {
        pid: pid.as_raw_nonzero().get(),
    };
    // Nothing is allocated: each page that a child writes to is copied for it.
    let mut room = [0; STARTED_BYTES_MAX];
    let bytes = postcard::to_slice(&started, &mut room).expect("there is room for it");
    hatchery_os::send(report, &[IoSlice::new(bytes)], &[pidfd.as_fd()])?;
    close(pidfd);
    Ok(())
}
