//! Closing the connections of handlers that were broken off, so that their clients see an end.
//!
//! A socket that is closed with something unread in it resets the connection, and the client loses
//! what was written last. So each is read until its client hangs up, for a little while.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use super::connection::ConnectionGuard;
use super::context::Context;

/// How long clients have to hang up.
const LINGER: Duration = Duration::from_secs(1);

/// Closes what handlers had that were broken off; returns when all clients have hung up, or late.
pub(super) fn close_all(context: &Context) {
    let mut broken_off = context
        .broken_off
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut sockets = std::mem::take(&mut *broken_off);
    drop(broken_off);
    if sockets.is_empty() {
        return;
    }
    tracing::warn!(
        worker = context.seat,
        connections = sockets.len(),
        "not finished in time: handlers were broken off"
    );
    for (socket, _) in &sockets {
        let _already_ended = shutdown(socket, Shutdown::Write);
    }
    let deadline = Instant::now() + LINGER;
    sockets.retain(|(socket, _)| !is_over(socket));
    while !sockets.is_empty() && wait(&sockets, deadline) {
        sockets.retain(|(socket, _)| !is_over(socket));
    }
}

/// Keeps a socket whose handler was broken off.
pub(super) fn keep(context: &Context, socket: OwnedFd, guard: ConnectionGuard) {
    let mut broken_off = context
        .broken_off
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    broken_off.push((socket, guard));
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
fn wait(sockets: &[(OwnedFd, ConnectionGuard)], deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|(socket, _)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
        .collect();
    let left = Timespec::try_from(left).expect("it is about a second");
    match poll(&mut polled, Some(&left)) {
        Ok(0) => false,
        Ok(_) | Err(rustix::io::Errno::INTR) => true,
        Err(_) => false,
    }
}
