//! Declining: what was sent to a worker that has no use for it now goes to another.
//!
//! Nothing is lost by it. Until a connection is used the front end holds it as well, and what is
//! declined is as it came.

use std::future::poll_fn;

use hatchery_process::ParkRefusal;
use tokio::time::sleep;

use super::connection::Connection;
use super::incoming::Receiver;
use super::parking::wait_to_send;
use crate::watch::LOOK;

/// Has this worker sent nothing more, until it is dropped.
#[derive(Debug)]
pub(super) struct Declining<'a>(&'a Receiver);

impl<'a> Declining<'a> {
    pub(super) fn begin(receiver: &'a Receiver) -> Self {
        receiver.set_declining(true);
        Self(receiver)
    }
}

impl Drop for Declining<'_> {
    fn drop(&mut self) {
        self.0.set_declining(false);
    }
}

impl Receiver {
    /// Declines all that has come and comes, until nothing more will.
    ///
    /// Where this worker accepts for itself nothing is sent to it, and this never ends.
    pub(super) async fn decline_all(&self) {
        while poll_fn(|task| self.poll_sent(task)).await {
            // The last first, for each goes before those that are back already.
            while let Some(mut connection) = self.take_last() {
                if let Err(refusal) = connection.decline() {
                    self.put_last(connection);
                    self.wait_to_decline(refusal).await;
                }
            }
        }
    }

    async fn wait_to_decline(&self, refusal: ParkRefusal) {
        if wait_to_send(self.context, refusal).await.is_err() {
            // Perhaps it can be used before it can be sent.
            sleep(LOOK).await;
        }
    }
}

impl Connection {
    /// Gives this connection, which nobody has used, back for another worker.
    ///
    /// Once this has succeeded the connection is not this worker's any more.
    fn decline(&mut self) -> Result<(), ParkRefusal> {
        let claim = self.guard.claim.as_mut();
        let claim = claim.expect("what was sent to this worker is leased to it");
        let socket = self.stream.socket();
        let socket = socket.expect("a connection has its socket until it is taken apart");
        claim.try_decline(socket, &mut self.state)?;
        // This copy closes without a word: the peer is to notice nothing.
        drop(self.stream.take());
        self.guard.leave();
        Ok(())
    }
}
