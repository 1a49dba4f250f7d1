//! What a program says about its server: where, how many, and what to do with a connection.

mod builder;
mod handler;
mod hooks;
mod plan;
mod supervision;

pub use builder::{Server, ServerBuilder};
pub use handler::{FromSocket, SocketKind};
pub use hooks::{Draining, Overloaded, ReloadStage, ServerStart, WorkerName};
pub use plan::Ready;

pub(crate) use plan::{Launch, OnReady, Plan};
