//! Breaking off what handlers have that are not done in time, so that their clients see an end.
//!
//! An asynchronous handler is dropped. One that blocks cannot be: the input of its connection ends
//! instead, as if its client had hung up, and a handler that waits for its client ends by itself.
//!
//! A socket that is closed with something unread in it resets the connection, and the client loses
//! what was written last. So each is read until its client hangs up, for a little while.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use hatchery_process::Farewell;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use super::connection::ConnectionGuard;
use super::context::Context;

/// How long clients have to hang up.
const LINGER: Duration = Duration::from_secs(1);

/// The stack of a thread that does nothing but wait and log.
const STACK_BYTES: usize = 128 << 10;

/// A connection whose handler was broken off.
#[derive(Debug)]
pub(super) struct BrokenOff {
    socket: OwnedFd,
    /// Keeps it counted, where its handler was dropped.
    #[expect(dead_code, reason = "it is kept, to be dropped in time")]
    guard: Option<ConnectionGuard>,
}

/// Closes what dropped handlers had; returns when all clients have hung up, or late.
pub(super) fn close_all(context: &Context) {
    let connections = lock(context).len();
    if connections > 0 {
        tracing::warn!(
            worker = context.seat,
            connections,
            "not finished in time: handlers were broken off"
        );
    }
    close_gently(context);
}

/// Closes what was kept; returns when all clients have hung up, or late.
pub(super) fn close_gently(context: &Context) {
    let mut kept = std::mem::take(&mut *lock(context));
    for it in &kept {
        let _already_ended = shutdown(&it.socket, Shutdown::Write);
    }
    let deadline = Instant::now() + LINGER;
    kept.retain(|it| !is_over(&it.socket));
    while !kept.is_empty() && wait(&kept, deadline) {
        kept.retain(|it| !is_over(&it.socket));
    }
}

/// Keeps a socket whose handler was broken off.
pub(super) fn keep(context: &Context, socket: OwnedFd, guard: ConnectionGuard) {
    let guard = Some(guard);
    lock(context).push(BrokenOff { socket, guard });
}

fn lock(context: &Context) -> MutexGuard<'_, Vec<BrokenOff>> {
    let kept = context.broken_off.lock();
    kept.unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread by which a worker that blocks hears how far it is on its way out.
pub(super) fn listen(context: &'static Context) -> io::Result<()> {
    let bell = context.bell.lock();
    let Some(bell) = bell.unwrap_or_else(PoisonError::into_inner).take() else {
        return Ok(());
    };
    let thread = thread::Builder::new().name("hatchery-bell".to_owned());
    thread.stack_size(STACK_BYTES).spawn(move || {
        while hatchery_process::wait_for_any(&[bell.as_fd()], None).is_ok() {
            // Reading it silences it; that it was rung is all there is to know.
            let _count = rustix::io::read(&bell, &mut [0; 8]);
            context.farewell.send_replace(context.link.farewell());
            break_off_in_hand(context);
        }
    })?;
    Ok(())
}

/// Ends the input of what the blocking handler has, if this worker is to break off.
pub(super) fn break_off_in_hand(context: &Context) {
    if context.link.farewell() < Farewell::BreakOff {
        return;
    }
    // Whoever closes them, when the handler has read the end, waits for this.
    let mut kept = lock(context);
    match context.link.break_off_in_hand() {
        Ok(Some((connection, socket))) => {
            tracing::warn!(
                worker = context.seat,
                connection,
                "not finished in time: the handler gets no more of its client"
            );
            kept.push(BrokenOff {
                socket,
                guard: None,
            });
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(worker = context.seat, %error, "a handler cannot be broken off");
        }
    }
}

/// Reads what is there, and tells whether the client has hung up.
fn is_over(socket: &OwnedFd) -> bool {
    let mut sink = [0; 4096];
    loop {
        match recv(socket, &mut sink, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return true,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error != rustix::io::Errno::AGAIN,
        }
    }
}

/// Waits for something to happen to one of them; false once it is late.
fn wait(kept: &[BrokenOff], deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut polled: Vec<_> = kept
        .iter()
        .map(|it| PollFd::from_borrowed_fd(it.socket.as_fd(), PollFlags::IN))
        .collect();
    let left = Timespec::try_from(left).expect("it is about a second");
    match poll(&mut polled, Some(&left)) {
        Ok(0) => false,
        Ok(_) | Err(rustix::io::Errno::INTR) => true,
        Err(_) => false,
    }
}
