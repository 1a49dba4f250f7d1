//! Giving a connection back between two requests, for any worker to go on with.

use std::os::fd::AsFd;
use std::{fmt, io};

use hatchery_process::{ParkRefusal, STATE_BYTES_MAX};
use tokio::io::Interest;

use super::blocking::BlockingConnection;
use super::connection::Connection;
use super::context::{self, Context};
use crate::watch::{LOOK, watch_for};

/// Why a connection was not parked, with the connection and the state.
///
/// The connection is as it was: the handler can go on with it.
pub struct ParkError<C>(Box<Unparked<C>>);

struct Unparked<C> {
    connection: C,
    state: Vec<u8>,
    failure: ParkFailure,
}

/// Why a connection was not parked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParkFailure {
    /// The state is longer than 32 KiB.
    #[error("a state of {0} bytes is longer than the {STATE_BYTES_MAX} that there may be")]
    TooLong(usize),
    /// Nobody could take it back: this worker accepts for itself, under direct dispatch.
    #[error("under dispatch = \"direct\" there is nobody to give it to")]
    Direct,
    /// The blocking handler that was given the connection has returned.
    #[error("its handler has ended")]
    HandlerEnded,
    /// The server is gone.
    #[error("the server is gone")]
    ServerGone,
    /// The kernel refused.
    #[error("the kernel refused to send it")]
    Os(#[source] io::Error),
}

impl<C> ParkError<C> {
    /// Why it was not parked.
    pub fn failure(&self) -> &ParkFailure {
        &self.0.failure
    }

    /// Gives the connection back.
    #[must_use]
    pub fn into_connection(self) -> C {
        self.0.connection
    }

    /// Gives the connection back, and the state.
    #[must_use]
    pub fn into_parts(self) -> (C, Vec<u8>) {
        (self.0.connection, self.0.state)
    }

    fn new(connection: C, state: Vec<u8>, failure: ParkFailure) -> Self {
        Self(Box::new(Unparked {
            connection,
            state,
            failure,
        }))
    }
}

impl<C> fmt::Debug for ParkError<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ParkError");
        shown
            .field("failure", &self.0.failure)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Display for ParkError<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection was not parked")
    }
}

impl<C> std::error::Error for ParkError<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.failure)
    }
}

impl From<ParkRefusal> for ParkFailure {
    fn from(refusal: ParkRefusal) -> Self {
        match refusal {
            ParkRefusal::Gone => Self::ServerGone,
            ParkRefusal::NotInHand => Self::HandlerEnded,
            ParkRefusal::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}

impl Connection {
    /// What the handler that parked this connection has left; `None` for a new connection.
    #[must_use]
    pub fn parked_state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// Takes what the handler that parked this connection has left.
    pub fn take_parked_state(&mut self) -> Option<Vec<u8>> {
        self.state.take()
    }

    /// Gives this connection back to the server until its client sends something more.
    ///
    /// Then a handler is started for it anew, in whichever worker is free, and finds `state` in
    /// [`parked_state`](Self::parked_state). Meanwhile it occupies no worker, and outlives them all:
    /// workers may be recycled, reloaded and killed. A client that ends is closed without a handler;
    /// so is one that is silent for `park_timeout`, and all are when the server stops.
    ///
    /// Call it between two requests. What the handler has read and not used belongs into `state`, for
    /// only what is still in the kernel makes the server start a handler. Once this has returned,
    /// nothing is lost that the death of this worker could take.
    ///
    /// # Errors
    ///
    /// Returns [`ParkError`] with the connection, unharmed, if `state` is longer than 32 KiB, under
    /// direct dispatch, or if the server cannot be told.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a cancelled call has closed the connection, or parked it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn read_request(connection: &mut hatchery::Connection) -> std::io::Result<Vec<u8>> {
    /// #     Ok(Vec::new())
    /// # }
    /// /// Counts the requests of a connection, each of which may come to another worker.
    /// async fn count(mut connection: hatchery::Connection) -> hatchery::HandlerResult {
    ///     let before = connection.parked_state().map_or(0, |state| state[0]);
    ///     let request = read_request(&mut connection).await?;
    ///     if request.is_empty() {
    ///         return Ok(());
    ///     }
    ///     let requests = before.wrapping_add(1);
    ///     connection.write_all(format!("{requests}\n").as_bytes()).await?;
    ///     Ok(connection.park([requests]).await?)
    /// }
    /// ```
    pub async fn park(mut self, state: impl Into<Vec<u8>>) -> Result<(), ParkError<Self>> {
        let mut state = state.into();
        if let Err(failure) = self.send_back(&mut state).await {
            return Err(ParkError::new(self, state, failure));
        }
        if let Some(access) = &self.guard.access {
            access.ended("parked");
        }
        // This copy closes without a word: the peer is to notice nothing.
        drop(self.stream.take());
        Ok(())
    }

    async fn send_back(&mut self, state: &mut Vec<u8>) -> Result<(), ParkFailure> {
        check_len(state)?;
        let context = self.guard.context;
        loop {
            let claim = self.guard.claim.as_mut().ok_or(ParkFailure::Direct)?;
            let socket = self.stream.socket().ok_or(ParkFailure::HandlerEnded)?;
            match claim.try_park(socket, state) {
                Ok(()) => return Ok(()),
                Err(refusal) => wait_to_send(context, refusal).await?,
            }
        }
    }
}

impl BlockingConnection {
    /// What the handler that parked this connection has left; `None` for a new connection.
    #[must_use]
    pub fn parked_state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// Takes what the handler that parked this connection has left.
    pub fn take_parked_state(&mut self) -> Option<Vec<u8>> {
        self.state.take()
    }

    /// Gives this connection back to the server until its client sends something more.
    ///
    /// As [`Connection::park`], for a handler that blocks; this call may wait for room.
    ///
    /// # Errors
    ///
    /// Returns [`ParkError`] with the connection, unharmed, if `state` is longer than 32 KiB, if the
    /// handler that was given the connection has returned, or if the server cannot be told.
    pub fn park(self, state: impl Into<Vec<u8>>) -> Result<(), ParkError<Self>> {
        let mut state = state.into();
        match self.send_back(&mut state) {
            Ok(()) => Ok(()),
            Err(failure) => Err(ParkError::new(self, state, failure)),
        }
    }

    fn send_back(&self, state: &mut Vec<u8>) -> Result<(), ParkFailure> {
        check_len(state)?;
        let context = context::current().ok_or(ParkFailure::HandlerEnded)?;
        let link = &context.link;
        Ok(link.park_in_hand(self.id(), self.as_fd(), state)?)
    }
}

fn check_len(state: &[u8]) -> Result<(), ParkFailure> {
    if state.len() > STATE_BYTES_MAX {
        return Err(ParkFailure::TooLong(state.len()));
    }
    Ok(())
}

/// Waits until what was refused may be tried again.
///
/// # Errors
///
/// Returns why it is of no use.
pub(super) async fn wait_to_send(
    context: &Context,
    refusal: ParkRefusal,
) -> Result<(), ParkFailure> {
    match refusal {
        ParkRefusal::Full => room_in_channel(context).await,
        ParkRefusal::Busy => {
            tokio::time::sleep(LOOK).await;
            Ok(())
        }
        refusal => Err(refusal.into()),
    }
}

/// Waits until the front end has read something.
async fn room_in_channel(context: &Context) -> Result<(), ParkFailure> {
    let channel = context.link.as_fd().try_clone_to_owned();
    let watched = channel.and_then(|channel| watch_for(channel, Interest::WRITABLE));
    match watched {
        Ok(watched) => {
            let ready = watched.writable().await;
            ready.map(drop).map_err(ParkFailure::Os)
        }
        // Out of descriptors: the connections of others will end.
        Err(_) => {
            tokio::time::sleep(LOOK).await;
            Ok(())
        }
    }
}
