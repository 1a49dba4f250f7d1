//! An end of a pipe, for asynchronous code.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Sink, Stream};
use hatchery_process::{Outgoing, PacketRecvError, PacketSendError, Packets, Parcel};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;
use tokio::time::Sleep;

use super::direction::{CanReceive, CanSend, Direction, Duplex};
use super::end::{decoded, outgoing};
use super::{PipeEnd, PipeRecvError, PipeSendError};
use crate::watch::watch_for;

/// The pause before a send is tried again for which the kernel had no room, and tells of none.
const LOOK: Duration = Duration::from_millis(1);

/// One end of a pipe, for asynchronous code.
///
/// It is what [`PipeEnd`] is, and any number of tasks may share it. As a [`Stream`] it ends when
/// the pipe is closed; as a [`Sink`] it holds at most one message that the pipe had no room for,
/// which is lost if the sink is dropped before it was flushed.
///
/// Serialising and copying a message happens in the task that sends or receives it, so one of
/// many megabytes holds up the thread for as long as that takes.
pub struct AsyncPipeEnd<T, D = Duplex> {
    packets: AsyncFd<Packets>,
    /// What the sink could not send yet.
    pending: Option<Outgoing<'static>>,
    /// Runs while the sink waits for what nothing tells of.
    pause: Option<Pin<Box<Sleep>>>,
    carries: PhantomData<fn(T, D) -> T>,
}

impl<T, D: Direction> AsyncPipeEnd<T, D> {
    pub(super) fn new(packets: Packets) -> io::Result<Self> {
        let interest = match (D::SENDS, D::RECEIVES) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::WRITABLE,
            (false, _) => Interest::READABLE,
        };
        Ok(Self {
            packets: watch_for(packets, interest)?,
            pending: None,
            pause: None,
            carries: PhantomData,
        })
    }

    /// Makes an end for blocking code of this one.
    ///
    /// A message that the sink could not send yet is lost.
    #[must_use]
    pub fn into_blocking(self) -> PipeEnd<T, D> {
        PipeEnd::new(self.packets.into_inner())
    }
}

impl<T: Serialize, D: CanSend> AsyncPipeEnd<T, D> {
    /// Sends a message, waiting while the pipe is full.
    ///
    /// # Errors
    ///
    /// See [`PipeSendError`]; it is never `Full` or `Timeout`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nothing was sent.
    pub async fn send(&self, message: &T) -> Result<(), PipeSendError> {
        self.send_outgoing(&outgoing(message)?).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// As [`AsyncPipeEnd::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`AsyncPipeEnd::send`].
    pub async fn send_bytes(&self, bytes: &[u8]) -> Result<(), PipeSendError> {
        self.send_outgoing(&Outgoing::new(bytes, Vec::new())?).await
    }

    async fn send_outgoing(&self, message: &Outgoing<'_>) -> Result<(), PipeSendError> {
        consume_budget().await;
        loop {
            let mut guard = self.packets.writable().await.map_err(PipeSendError::Os)?;
            match guard.get_inner().try_send(message) {
                Err(PacketSendError::Full) => guard.clear_ready(),
                Err(PacketSendError::Busy(_)) => {
                    drop(guard);
                    tokio::time::sleep(LOOK).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }
}

impl<T: DeserializeOwned, D: CanReceive> AsyncPipeEnd<T, D> {
    /// Receives a message, waiting for it.
    ///
    /// # Errors
    ///
    /// See [`PipeRecvError`]; it is never `Empty` or `Timeout`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no message was taken.
    pub async fn recv(&self) -> Result<T, PipeRecvError> {
        decoded(self.recv_parcel().await?)
    }
}

impl<T, D: CanReceive> AsyncPipeEnd<T, D> {
    /// Receives the bytes of a message as they are, waiting for them.
    ///
    /// # Errors
    ///
    /// As [`AsyncPipeEnd::recv`]; it is never `Codec`.
    ///
    /// # Cancel safety
    ///
    /// As [`AsyncPipeEnd::recv`].
    pub async fn recv_bytes(&self) -> Result<Vec<u8>, PipeRecvError> {
        Ok(self.recv_parcel().await?.bytes)
    }

    async fn recv_parcel(&self) -> Result<Parcel, PipeRecvError> {
        // Whoever receives what is always there lets others run now and then.
        consume_budget().await;
        loop {
            let mut guard = self.packets.readable().await.map_err(PipeRecvError::Os)?;
            match guard.get_inner().try_recv() {
                Err(PacketRecvError::Empty) => guard.clear_ready(),
                outcome => return Ok(outcome?),
            }
        }
    }
}

impl<T: DeserializeOwned, D: CanReceive> Stream for AsyncPipeEnd<T, D> {
    type Item = Result<T, PipeRecvError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let budget = ready!(tokio::task::coop::poll_proceed(context));
        loop {
            let mut guard = match ready!(self.packets.poll_read_ready(context)) {
                Ok(guard) => guard,
                Err(error) => return Poll::Ready(Some(Err(PipeRecvError::Os(error)))),
            };
            match guard.get_inner().try_recv() {
                Err(PacketRecvError::Empty) => guard.clear_ready(),
                outcome => {
                    budget.made_progress();
                    return Poll::Ready(match outcome {
                        Ok(parcel) => Some(decoded(parcel)),
                        Err(PacketRecvError::Closed) => None,
                        Err(error) => Some(Err(error.into())),
                    });
                }
            }
        }
    }
}

impl<T: Serialize, D: CanSend> Sink<T> for AsyncPipeEnd<T, D> {
    type Error = PipeSendError;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PipeSendError>> {
        self.get_mut().poll_send_pending(context)
    }

    fn start_send(self: Pin<&mut Self>, message: T) -> Result<(), PipeSendError> {
        let this = self.get_mut();
        assert!(this.pending.is_none(), "a sink is asked for room first");
        let message = outgoing(&message)?;
        match this.packets.get_ref().try_send(&message) {
            Err(PacketSendError::Full | PacketSendError::Busy(_)) => this.pending = Some(message),
            outcome => outcome?,
        }
        Ok(())
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PipeSendError>> {
        self.get_mut().poll_send_pending(context)
    }

    /// Sends what is left; the pipe itself closes when this end is dropped.
    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PipeSendError>> {
        self.get_mut().poll_send_pending(context)
    }
}

impl<T, D> AsyncPipeEnd<T, D> {
    fn poll_send_pending(&mut self, context: &mut Context<'_>) -> Poll<Result<(), PipeSendError>> {
        while let Some(message) = &self.pending {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let guard = ready!(self.packets.poll_write_ready(context));
            let mut guard = guard.map_err(PipeSendError::Os)?;
            match guard.get_inner().try_send(message) {
                Err(PacketSendError::Full) => guard.clear_ready(),
                Err(PacketSendError::Busy(_)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(LOOK)));
                }
                outcome => {
                    self.pending = None;
                    outcome?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T, D> AsFd for AsyncPipeEnd<T, D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.get_ref().as_fd()
    }
}

impl<T, D> fmt::Debug for AsyncPipeEnd<T, D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AsyncPipeEnd")
            .field("descriptor", &self.packets.get_ref().as_fd())
            .finish_non_exhaustive()
    }
}
