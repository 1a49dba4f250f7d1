//! Asking a running server, and telling it what to do: from the program, or through a socket.
//!
//! What is asked travels as one [`Order`] to the front end, which answers it between two of its
//! turns and never waits for whoever asked. The [`socket`] is a task beside it: lines of JSON in,
//! lines of JSON out, over the same [`Control`] that a program can have.

mod answer;
mod error;
mod event;
mod exit;
mod handle;
mod request;
mod socket;

pub use self::answer::{
    Accepted, BreakerState, Phase, ServerStatus, Upgraded, WorkerState, WorkerStatus,
};
pub use self::error::ControlError;
pub use self::event::{Retirement, ServerEvent};
pub use self::exit::WorkerExit;
pub use self::handle::{Control, Events};

pub(crate) use self::answer::Answer;
pub(crate) use self::handle::{Exchange, Order, channel};
pub(crate) use self::request::{Request, Which};
pub(crate) use self::socket::serve;
