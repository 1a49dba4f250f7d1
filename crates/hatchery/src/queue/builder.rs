//! Describing a queue, and making it.

use std::marker::PhantomData;

use hatchery_process::{PacketQueue, Ring};

use super::blocking::Queue;
use super::carrier::Carrier;
use super::error::QueueError;

/// What carries the items of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// A ring in shared memory: the fast one. It carries up to 1 GiB, and no descriptors.
    #[default]
    Ring,
    /// The kernel: items may hold descriptors, sockets, other queues and locks.
    ///
    /// The kernel itself holds a few hundred items at most, and a put waits for it too.
    Pipe,
}

/// Describes a queue; [`build`](Self::build) makes it.
#[derive(Clone, Debug, Default)]
pub struct QueueBuilder {
    bound: Option<usize>,
    transport: Transport,
}

impl QueueBuilder {
    /// Lets `items` wait in the queue, and a put wait for room beyond that.
    ///
    /// # Default
    ///
    /// Any number.
    pub fn bound(&mut self, items: usize) -> &mut Self {
        self.bound = Some(items);
        self
    }

    /// Chooses what carries the items.
    ///
    /// # Default
    ///
    /// [`Transport::Ring`].
    pub fn transport(&mut self, transport: Transport) -> &mut Self {
        self.transport = transport;
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError::NoRoom`] and [`QueueError::TooManyItems`] for a bound that cannot be,
    /// and otherwise why the memory or the descriptors were not to be had.
    pub fn build<T>(&self) -> Result<Queue<T>, QueueError> {
        let count_max = count_max(self.bound)?;
        let carrier = match self.transport {
            Transport::Ring => Carrier::Ring(Ring::new(count_max)?),
            Transport::Pipe => Carrier::Pipe(PacketQueue::new(count_max)?),
        };
        Ok(Queue {
            carrier,
            carries: PhantomData,
        })
    }
}

/// The bound as the carriers have it: 0 for none.
pub(super) fn count_max(bound: Option<usize>) -> Result<u32, QueueError> {
    let max = u32::MAX;
    match bound {
        None => Ok(0),
        Some(0) => Err(QueueError::NoRoom { max }),
        Some(asked) => u32::try_from(asked).map_err(|_| QueueError::TooManyItems { asked, max }),
    }
}
