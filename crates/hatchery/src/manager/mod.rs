//! A process that owns little shared state, and proxies to it.
//!
//! The manager's process is `server`, which moves bytes, around `store`, which decides. A program
//! has `keeper` for the process, `client` and `connection` for talking to it, and the proxies.

mod address;
mod builder;
mod client;
mod connection;
mod error;
mod frames;
mod handshake;
mod keeper;
mod number;
mod plan;
mod protocol;
mod proxies;
mod server;
mod snapshot;
mod store;

use std::ops::Deref;

pub use builder::ManagerBuilder;
pub use client::ManagerClient;
pub use error::{
    ManagedGetError, ManagedPutError, ManagerError, ManagerShutdownError, ManagerStartError,
    Rejection, SnapshotError,
};
use keeper::Keeper;
pub use number::{ManagedNumber, NumberKind};
pub use proxies::{
    BarrierStatus, ManagedBarrier, ManagedBoundedSemaphore, ManagedCondition,
    ManagedConditionGuard, ManagedDict, ManagedEvent, ManagedItem, ManagedJoinableQueue,
    ManagedList, ManagedLock, ManagedLockGuard, ManagedNamespace, ManagedPermit, ManagedQueue,
    ManagedRLock, ManagedSemaphore, ManagedSet, ManagedValue, NamedObject,
};

/// A process that owns little shared state, and whoever started it.
///
/// It holds dicts, lists, sets, values, namespaces, queues and locks, to which
/// [proxies](ManagerClient) in any process lead. It is for **little** state that many processes
/// change: each operation is a round trip to another process, which costs tens of microseconds,
/// and all of them take turns. For numbers in memory, for large data and for streams of messages
/// there are faster things.
///
/// An object lives as long as the manager, whether or not there are proxies to it; ids are never
/// used twice. Keys and values are any type that serde can serialise. The manager stores their
/// bytes and runs nothing of the program's, so two values are equal if their bytes are: a type
/// whose order of elements varies, such as a `HashMap`, is not a good key.
///
/// The manager ends when this value is dropped or [shut down](Manager::shutdown), and at the latest
/// with the program that started it, by whatever it dies. Dropping waits until it has ended, which
/// takes a moment, or as long as its last snapshot; it reports no error.
///
/// One message has a limit, and so has the number of connections: see [`ManagerBuilder`]. How much
/// there is in all objects together has none.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = hatchery::Manager::start()?;
/// let scores = manager.dict::<String, u64>()?;
/// scores.add(&"alex".to_owned(), 3)?;
/// assert_eq!(scores.get(&"alex".to_owned())?, Some(3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Manager {
    client: ManagerClient,
    /// `None` once it has been told to end.
    keeper: Option<Keeper>,
    /// Keeps a TCP address from everybody else while no manager listens at it.
    _reserved: Option<socket2::Socket>,
}

impl Manager {
    /// Starts a manager that processes of this user can reach.
    ///
    /// # Errors
    ///
    /// As [`ManagerBuilder::start`].
    pub fn start() -> Result<Self, ManagerStartError> {
        Self::builder().start()
    }

    /// Makes a builder, for a manager that is to be otherwise.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new()
    }

    /// The client of this process, which can be sent to others.
    #[must_use]
    pub fn client(&self) -> &ManagerClient {
        &self.client
    }

    /// The process's id; a supervised manager has another after each restart.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.keeper.as_ref().map_or(0, Keeper::pid)
    }

    /// Ends the manager, and waits until it has written its last snapshot.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerShutdownError::ManagerLost`] if it had died, and otherwise what it could
    /// not do.
    pub fn shutdown(mut self) -> Result<(), ManagerShutdownError> {
        let keeper = self.keeper.take();
        keeper.map_or(Ok(()), Keeper::end)
    }

    /// As [`Manager::shutdown`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Manager::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the manager ends all the same.
    pub async fn shutdown_async(self) -> Result<(), ManagerShutdownError> {
        let ended = tokio::task::spawn_blocking(move || self.shutdown()).await;
        ended.unwrap_or(Err(ManagerShutdownError::ManagerLost))
    }

    fn new(client: ManagerClient, keeper: Keeper, reserved: Option<socket2::Socket>) -> Self {
        Self {
            client,
            keeper: Some(keeper),
            _reserved: reserved,
        }
    }
}

impl Deref for Manager {
    type Target = ManagerClient;

    fn deref(&self) -> &ManagerClient {
        &self.client
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            // Whoever wants to know calls `shutdown`.
            let _how = keeper.end();
        }
    }
}
