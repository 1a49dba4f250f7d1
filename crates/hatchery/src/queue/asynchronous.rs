//! A queue, for asynchronous code.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{Sink, Stream};
use hatchery_process::{PacketQueue, Ring};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::coop::consume_budget;

use super::blocking::Queue;
use super::carrier::{Carrier, decoded, encode, outgoing, with_buffer, with_encoded};
use super::error::{GetError, PutError, PutFailure};

/// A [`Queue`], for asynchronous code.
///
/// Any number of tasks may share it. One reader is woken for each item, in whatever process it waits. As a [`Stream`] it ends when the queue is
/// closed and empty; as a [`Sink`] it holds at most one item for which there was no room, which
/// is lost if it is dropped before it was flushed. Closing the sink does not close the queue.
pub struct AsyncQueue<T> {
    carrier: AsyncCarrier,
    /// The next item of the stream, once it had to be waited for.
    getting: Pending<Result<T, GetError>>,
    /// The item of the sink, while there is no room for it.
    putting: Pending<Result<(), PutFailure>>,
    carries: PhantomData<fn(T) -> T>,
}

/// What the stream or the sink waits for. Only these use it, and nobody shares them; the rest of
/// the queue is shared.
struct Pending<O>(Mutex<Option<BoxFuture<'static, O>>>);

impl<O> Pending<O> {
    fn get_mut(&mut self) -> &mut Option<BoxFuture<'static, O>> {
        // It is never locked.
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Default for Pending<O> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Clone)]
enum AsyncCarrier {
    Ring(Ring),
    Pipe(PacketQueue),
}

impl AsyncCarrier {
    async fn put<T: Serialize>(&self, item: &T) -> Result<(), PutFailure> {
        consume_budget().await;
        match self {
            Self::Ring(ring) => {
                // Mostly there is room, and then the thread's buffer will do.
                match with_encoded(item, |bytes| ring.try_put(bytes)) {
                    Err(PutFailure::Full) => {}
                    outcome => return outcome,
                }
                let mut bytes = Vec::new();
                encode(item, &mut bytes)?;
                Ok(ring.put_async(&bytes).await?)
            }
            Self::Pipe(queue) => Ok(queue.put_async(&outgoing(item)?).await?),
        }
    }

    async fn get<T: DeserializeOwned>(&self) -> Result<T, GetError> {
        consume_budget().await;
        match self {
            Self::Ring(ring) => {
                if let Some(outcome) = get_at_once(ring) {
                    return outcome;
                }
                let mut buffer = Vec::new();
                let len = ring.get_async(&mut buffer).await?;
                decoded(&buffer[..len])
            }
            Self::Pipe(queue) => queue.get_async().await?.decode().map_err(GetError::Codec),
        }
    }
}

/// Gets an item if there is one now, into the thread's buffer; `None` if there is none.
fn get_at_once<T: DeserializeOwned>(ring: &Ring) -> Option<Result<T, GetError>> {
    let outcome = with_buffer(|buffer| {
        let len = ring.try_get(buffer)?;
        decoded(&buffer[..len])
    });
    match outcome {
        Err(GetError::Empty) => None,
        outcome => Some(outcome),
    }
}

impl<T> AsyncQueue<T> {
    pub(super) fn new(carrier: Carrier) -> Self {
        let carrier = match carrier {
            Carrier::Ring(ring) => AsyncCarrier::Ring(ring),
            Carrier::Pipe(queue) => AsyncCarrier::Pipe(queue),
        };
        Self {
            carrier,
            getting: Pending::default(),
            putting: Pending::default(),
            carries: PhantomData,
        }
    }

    /// Makes a queue for blocking code, which is the same queue.
    #[must_use]
    pub fn to_blocking(&self) -> Queue<T> {
        let carrier = match &self.carrier {
            AsyncCarrier::Ring(ring) => Carrier::Ring(ring.clone()),
            AsyncCarrier::Pipe(queue) => Carrier::Pipe(queue.clone()),
        };
        Queue {
            carrier,
            carries: PhantomData,
        }
    }

    /// Lets nobody put any more; what is there can still be got.
    ///
    /// # Errors
    ///
    /// Returns the error of `shutdown(2)`.
    pub fn close(&self) -> io::Result<()> {
        match &self.carrier {
            AsyncCarrier::Ring(ring) => ring.close(),
            AsyncCarrier::Pipe(queue) => queue.close()?,
        }
        Ok(())
    }

    /// How many items wait to be got, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.carrier {
            AsyncCarrier::Ring(ring) => ring.len(),
            AsyncCarrier::Pipe(queue) => queue.len(),
        }
    }

    /// Whether no item waits to be got, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Serialize> AsyncQueue<T> {
    /// Puts an item, waiting while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put; never because the queue is full.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the item was not put; it is dropped too.
    pub async fn put(&self, item: T) -> Result<(), PutError<T>> {
        let outcome = self.carrier.put(&item).await;
        outcome.map_err(|failure| PutError::new(item, failure))
    }
}

impl<T: DeserializeOwned> AsyncQueue<T> {
    /// Gets the next item, waiting for one.
    ///
    /// # Errors
    ///
    /// See [`GetError`]; it is never [`GetError::Empty`] or [`GetError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no item was taken.
    pub async fn get(&self) -> Result<T, GetError> {
        self.carrier.get().await
    }
}

impl<T: DeserializeOwned + 'static> Stream for AsyncQueue<T> {
    type Item = Result<T, GetError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let pending = this.getting.get_mut();
        let getting = pending.get_or_insert_with(|| {
            let carrier = this.carrier.clone();
            Box::pin(async move { carrier.get().await })
        });
        let outcome = ready!(getting.as_mut().poll(task));
        *pending = None;
        Poll::Ready(match outcome {
            Err(GetError::Closed) => None,
            outcome => Some(outcome),
        })
    }
}

impl<T: Serialize + Send + Sync + 'static> Sink<T> for AsyncQueue<T> {
    type Error = PutFailure;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), PutFailure>> {
        self.poll_flush(task)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), PutFailure> {
        let carrier = self.carrier.clone();
        let pending = self.putting.get_mut();
        assert!(pending.is_none(), "a sink is asked for room first");
        *pending = Some(Box::pin(async move { carrier.put(&item).await }));
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Result<(), PutFailure>> {
        let pending = self.putting.get_mut();
        let Some(putting) = pending else {
            return Poll::Ready(Ok(()));
        };
        let outcome = ready!(putting.as_mut().poll(task));
        *pending = None;
        Poll::Ready(outcome)
    }

    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), PutFailure>> {
        self.poll_flush(task)
    }
}

impl<T> fmt::Debug for AsyncQueue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AsyncQueue")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
