//! What a worker's loop does when the front end rings: it answers that it turns, and takes farewell.
//!
//! The loop itself answers, in a task like any other, so a handler that keeps the loop keeps it from
//! answering. A loop that has nothing to do sleeps until it is asked, and is asked only while it has
//! connections.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use tokio::io::unix::AsyncFd;

use super::context::Context;
use crate::watch::watch;

/// Lets the loop of this worker answer from now on.
pub(super) fn start(context: &'static Context) -> io::Result<()> {
    let bell = context
        .bell
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(bell) = bell {
        tokio::spawn(beat(context, watch(bell)?));
    }
    Ok(())
}

async fn beat(context: &'static Context, bell: AsyncFd<OwnedFd>) {
    while let Ok(mut rung) = bell.readable().await {
        // Reading it silences it; that it was rung is all there is to know.
        let _count = rustix::io::read(bell.get_ref(), &mut [0; 8]);
        rung.clear_ready();
        context.link.beat();
        context.farewell.send_replace(context.link.farewell());
    }
}
