//! Queues between processes.
//!
//! [`Queue`] is for blocking code, [`AsyncQueue`] for asynchronous code, and [`JoinableQueue`] for
//! items that somebody has to be done with.

mod asynchronous;
mod blocking;
mod builder;
mod carrier;
mod error;
mod item;
mod iter;
mod joinable;
#[cfg(test)]
mod tests;

pub use asynchronous::AsyncQueue;
pub use blocking::Queue;
pub use builder::{QueueBuilder, Transport};
pub(crate) use carrier::Carrier;
pub use error::{GetError, PutError, PutFailure, QueueError, TaskDoneError};
pub use item::Item;
pub use iter::{JoinableQueueIter, QueueIter};
pub use joinable::JoinableQueue;
