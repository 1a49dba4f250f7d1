//! Pipes: typed messages between two processes, or within one.
//!
//! A pipe has two ends, and an end is a value like any other: it is given to a process among its
//! arguments, or sent through another pipe. What a message may hold is anything that serde can
//! serialise, with descriptors, sockets and further ends in it.

mod asynchronous;
pub mod direction;
mod end;
mod error;

use std::io;

use hatchery_process::Packets;

use direction::{Receives, Sends};

pub use asynchronous::AsyncPipeEnd;
pub use end::PipeEnd;
pub use error::{PipeRecvError, PipeSendError};

/// Makes a pipe whose two ends both send and receive.
///
/// # Errors
///
/// Returns the error of `socketpair(2)`.
///
/// # Examples
///
/// ```
/// let (here, there) = hatchery::pipe::<String>()?;
/// here.send(&"hello".to_owned())?;
/// assert_eq!(there.recv()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<T>() -> io::Result<(PipeEnd<T>, PipeEnd<T>)> {
    let (here, there) = Packets::pair()?;
    Ok((PipeEnd::new(here), PipeEnd::new(there)))
}

/// Makes a pipe of which one end sends and the other receives.
///
/// # Errors
///
/// Returns the error of `socketpair(2)`.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = hatchery::one_way_pipe::<u32>()?;
/// sender.send(&7)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 7);
/// assert!(matches!(receiver.recv(), Err(hatchery::PipeRecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn one_way_pipe<T>() -> io::Result<(PipeSender<T>, PipeReceiver<T>)> {
    let (here, there) = Packets::pair()?;
    Ok((PipeEnd::new(here), PipeEnd::new(there)))
}

/// The end of a one-way pipe that sends.
pub type PipeSender<T> = PipeEnd<T, Sends>;

/// The end of a one-way pipe that receives.
pub type PipeReceiver<T> = PipeEnd<T, Receives>;

/// The end of a one-way pipe that sends, for asynchronous code.
pub type AsyncPipeSender<T> = AsyncPipeEnd<T, Sends>;

/// The end of a one-way pipe that receives, for asynchronous code.
pub type AsyncPipeReceiver<T> = AsyncPipeEnd<T, Receives>;

#[cfg(test)]
mod tests;
