//! Making objects, with a name or without.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    ManagedBarrier, ManagedBoundedSemaphore, ManagedCondition, ManagedDict, ManagedEvent,
    ManagedJoinableQueue, ManagedList, ManagedLock, ManagedNamespace, ManagedQueue, ManagedRLock,
    ManagedSemaphore, ManagedSet, ManagedValue, encode,
};
use crate::manager::client::ManagerClient;
use crate::manager::error::ManagerError;
use crate::manager::protocol::Spec;

/// An object that is found by its name, or made if there is none.
///
/// Names outlive the program where the manager has a snapshot. An object that is found keeps what
/// is in it, whatever it would have been made with.
#[derive(Clone, Debug)]
pub struct NamedObject {
    client: ManagerClient,
    name: String,
}

impl ManagerClient {
    /// Names the object that is made next, or finds the one that has the name.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = hatchery::Manager::builder().snapshot("scores.state").start()?;
    /// let scores = manager.named("scores").dict::<String, u64>()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn named(&self, name: &str) -> NamedObject {
        NamedObject {
            client: self.clone(),
            name: name.to_owned(),
        }
    }
}

/// Defines how objects are made: without a name, and with one; both blocking and not.
macro_rules! makers {
    ($(
        $(#[$doc:meta])*
        fn $name:ident / $name_async:ident $(<$($type:ident: $bound:ident + $other:ident),+>)?
            ($($argument:ident: $given:ty)?) -> $proxy:ty
        { $spec:expr }
    )+) => {
        impl ManagerClient {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Returns [`ManagerError::ManagerLost`] if the manager is gone, and otherwise why it
            /// was not done.
            pub fn $name $(<$($type: $bound + $other),+>)? (&self, $($argument: $given)?)
                -> Result<$proxy, ManagerError>
            {
                let spec: Result<Spec, ManagerError> = $spec;
                Ok(self.make(None, spec?)?.into())
            }

            #[doc = concat!("As [`Self::", stringify!($name), "`], without blocking the thread.")]
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`Self::", stringify!($name), "`].")]
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it may have made an object that nobody knows of.
            pub fn $name_async $(<$($type: $bound + $other),+>)? (&self, $($argument: $given)?)
                -> impl Future<Output = Result<$proxy, ManagerError>> + Send
            {
                let spec: Result<Spec, ManagerError> = $spec;
                async move { Ok(self.make_async(None, spec?).await?.into()) }
            }
        )+}

        impl NamedObject {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Returns [`ManagerError::NameTaken`] if an object of another kind has the name, and
            /// otherwise as the method of [`ManagerClient`].
            pub fn $name $(<$($type: $bound + $other),+>)? (&self, $($argument: $given)?)
                -> Result<$proxy, ManagerError>
            {
                let spec: Result<Spec, ManagerError> = $spec;
                Ok(self.client.make(Some(self.name.clone()), spec?)?.into())
            }

            #[doc = concat!("As [`Self::", stringify!($name), "`], without blocking the thread.")]
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`Self::", stringify!($name), "`].")]
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it may have made the object.
            pub fn $name_async $(<$($type: $bound + $other),+>)? (&self, $($argument: $given)?)
                -> impl Future<Output = Result<$proxy, ManagerError>> + Send
            {
                let spec: Result<Spec, ManagerError> = $spec;
                let name = Some(self.name.clone());
                async move { Ok(self.client.make_async(name, spec?).await?.into()) }
            }
        )+}
    };
}

makers! {
    /// Makes a dict.
    fn dict / dict_async<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned>()
        -> ManagedDict<K, V>
    { Ok(Spec::Dict) }

    /// Makes a list.
    fn list / list_async<T: Serialize + DeserializeOwned>() -> ManagedList<T>
    { Ok(Spec::List) }

    /// Makes a set.
    fn set / set_async<T: Serialize + DeserializeOwned>() -> ManagedSet<T>
    { Ok(Spec::Set) }

    /// Makes a value.
    fn value / value_async<T: Serialize + DeserializeOwned>(value: &T) -> ManagedValue<T>
    { encode(value).map(Spec::Value) }

    /// Makes a namespace.
    fn namespace / namespace_async() -> ManagedNamespace
    { Ok(Spec::Namespace) }

    /// Makes a queue for `maxsize` items; 0 is any number, as in Python.
    fn queue / queue_async<T: Serialize + DeserializeOwned>(maxsize: usize) -> ManagedQueue<T>
    { Ok(Spec::Queue { room: room(maxsize) }) }

    /// Makes a joinable queue for `maxsize` items; 0 is any number, as in Python.
    fn joinable_queue / joinable_queue_async<T: Serialize + DeserializeOwned>(maxsize: usize)
        -> ManagedJoinableQueue<T>
    { Ok(Spec::JoinableQueue { room: room(maxsize) }) }

    /// Makes a lock.
    fn lock / lock_async() -> ManagedLock
    { Ok(Spec::Lock) }

    /// Makes a lock that opens again to its holder.
    fn rlock / rlock_async() -> ManagedRLock
    { Ok(Spec::RLock) }

    /// Makes a semaphore that starts with `permits`.
    fn semaphore / semaphore_async(permits: u64) -> ManagedSemaphore
    { Ok(Spec::Semaphore { permits }) }

    /// Makes a semaphore that starts with `permits` and never has more.
    fn bounded_semaphore / bounded_semaphore_async(permits: u64) -> ManagedBoundedSemaphore
    { Ok(Spec::BoundedSemaphore { permits }) }

    /// Makes an event, which is not set.
    fn event / event_async() -> ManagedEvent
    { Ok(Spec::Event) }

    /// Makes a condition.
    fn condition / condition_async() -> ManagedCondition
    { Ok(Spec::Condition) }

    /// Makes a barrier for `parties`, of which there is at least one.
    fn barrier / barrier_async(parties: usize) -> ManagedBarrier
    { barrier(parties) }
}

fn room(maxsize: usize) -> Option<u64> {
    (maxsize > 0).then_some(maxsize as u64)
}

fn barrier(parties: usize) -> Result<Spec, ManagerError> {
    if parties == 0 {
        return Err(ManagerError::NoParties);
    }
    let parties = parties as u64;
    Ok(Spec::Barrier { parties })
}
