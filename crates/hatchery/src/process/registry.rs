//! The processes that this one has started.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{RawPid, getpid};

use super::ProcessHandle;
use super::current::current_process;

/// What this process has started, as far as it may still be running or is still held.
static CHILDREN: Mutex<Registry> = Mutex::new(Registry {
    owner: 0,
    children: Vec::new(),
    named: 0,
});

struct Registry {
    /// The process whose children these are.
    owner: RawPid,
    children: Vec<ProcessHandle>,
    /// How many have been given a name for want of one.
    named: u32,
}

/// Lists the processes that this one has started and that are running.
#[must_use]
pub fn active_children() -> Vec<ProcessHandle> {
    let mut registry = lock();
    registry.forget_ended();
    let children = registry.children.iter();
    children.filter(|child| child.is_alive()).cloned().collect()
}

/// Waits for all that were not started as daemons, also those that are started meanwhile.
pub(crate) fn finish_children() {
    loop {
        let mut registry = lock();
        registry.children.retain(|child| !child.has_ended());
        let waits_for = registry.children.iter().find(|child| !child.is_daemon());
        let Some(child) = waits_for.cloned() else {
            return;
        };
        drop(registry);
        if child.wait().is_err() {
            // It has ended, or it can never be waited for.
            forget(&child);
        }
    }
}

/// Forgets the children of the process that this one was forked from.
pub(super) fn start_anew() {
    drop(lock());
}

pub(super) fn add(child: ProcessHandle) {
    let mut registry = lock();
    registry.forget_ended();
    registry.children.push(child);
}

/// Forgets a process that nobody will ask about again, if it has ended.
pub(super) fn forget_if_ended(child: &ProcessHandle) {
    if child.has_ended() {
        forget(child);
    }
}

/// Makes up a name for a process, as unique as this process's own.
pub(super) fn next_name() -> String {
    let mut registry = lock();
    registry.named += 1;
    let number = registry.named;
    drop(registry);
    let starter = current_process();
    match starter.name() {
        "main" => format!("process-{number}"),
        name => format!("{name}:{number}"),
    }
}

fn forget(child: &ProcessHandle) {
    let mut registry = lock();
    // The last of it is dropped once the lock is free.
    let place = registry
        .children
        .iter()
        .position(|other| other.is_same(child));
    let _forgotten = place.map(|place| registry.children.swap_remove(place));
    drop(registry);
}

impl Registry {
    /// Forgets what has ended and is held by nobody else.
    fn forget_ended(&mut self) {
        self.children
            .retain(|child| !child.is_only_one() || !child.has_ended());
    }
}

fn lock() -> MutexGuard<'static, Registry> {
    let mut registry = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let this = getpid().as_raw_pid();
    if registry.owner != this {
        // This process was forked from one that had children. Their descriptors were closed here,
        // and the numbers may be others' by now: they are not to be closed again.
        let theirs = std::mem::take(&mut registry.children);
        let _never_dropped = theirs.leak();
        registry.owner = this;
        registry.named = 0;
    }
    registry
}
