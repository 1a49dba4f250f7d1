//! The proxies: what a program does with objects of a manager, typed.
//!
//! A proxy is an address and an object's id. It encodes what it is given, has the manager do
//! something, and decodes the answer. Every operation has a blocking form and an asynchronous one.

mod barrier;
mod condition;
mod dict;
mod event;
mod joinable_queue;
mod list;
mod lock;
mod make;
mod namespace;
mod queue;
mod semaphore;
mod set;
mod value;

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Asked, Held, deadline, done};
use super::error::ManagerError;
use super::protocol::{Blob, CellOperation, Operation, Place, Reply};

pub use barrier::{BarrierStatus, ManagedBarrier};
pub use condition::{ManagedCondition, ManagedConditionGuard};
pub use dict::ManagedDict;
pub use event::ManagedEvent;
pub use joinable_queue::{ManagedItem, ManagedJoinableQueue};
pub use list::ManagedList;
pub use lock::{ManagedLock, ManagedLockGuard, ManagedRLock};
pub use make::NamedObject;
pub use namespace::ManagedNamespace;
pub use queue::ManagedQueue;
pub use semaphore::{ManagedBoundedSemaphore, ManagedPermit, ManagedSemaphore};
pub use set::ManagedSet;
pub use value::ManagedValue;

/// Defines a proxy type.
macro_rules! proxy {
    ($(#[$doc:meta])* $name:ident $(<$($type:ident),+>)?) => {
        $(#[$doc])*
        ///
        /// It can be cloned, used by any number of threads and tasks at once, and sent to other
        /// processes.
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent, bound = "")]
        pub struct $name $(<$($type),+>)? {
            handle: $crate::manager::client::Handle,
            types: std::marker::PhantomData<fn() -> ($($($type,)+)?)>,
        }

        impl $(<$($type),+>)? $name $(<$($type),+>)? {
            /// The manager that owns the object.
            #[must_use]
            pub fn client(&self) -> &$crate::manager::ManagerClient {
                self.handle.client()
            }
        }

        impl $(<$($type),+>)? From<$crate::manager::client::Handle>
            for $name $(<$($type),+>)?
        {
            fn from(handle: $crate::manager::client::Handle) -> Self {
                let types = std::marker::PhantomData;
                Self { handle, types }
            }
        }

        impl $(<$($type),+>)? Clone for $name $(<$($type),+>)? {
            fn clone(&self) -> Self {
                self.handle.clone().into()
            }
        }

        impl $(<$($type),+>)? std::fmt::Debug for $name $(<$($type),+>)? {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.debug_tuple(stringify!($name)).field(&self.handle).finish()
            }
        }
    };
}

/// Defines methods that are one round trip each, in both forms: what is asked, and how the answer
/// is read.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        fn $name:ident / $name_async:ident $([$($generic:tt)*])?
            (&$self:ident $(, $argument:ident: $type:ty)* $(,)?) -> $output:ty
        { $operation:expr => $read:expr }
    )+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// Returns [`ManagerError::ManagerLost`](crate::ManagerError::ManagerLost) if the manager
        /// is gone, and otherwise why it was not done.
        pub fn $name $(<$($generic)*>)? (&$self $(, $argument: $type)*)
            -> Result<$output, $crate::ManagerError>
        {
            let operation: Result<_, $crate::ManagerError> = $operation;
            ($read)(&$self.handle.call(operation?)?)
        }

        #[doc = concat!("As [`Self::", stringify!($name), "`], without blocking the thread.")]
        ///
        /// # Errors
        ///
        #[doc = concat!("As [`Self::", stringify!($name), "`].")]
        ///
        /// # Cancel safety
        ///
        /// Dropped before it is ready, it may have been done or not, in full or not at all.
        pub fn $name_async $(<$($generic)*>)? (&$self $(, $argument: $type)*)
            -> impl Future<Output = Result<$output, $crate::ManagerError>> + Send
        {
            // What is given is encoded now, so that the future does not hold it.
            let operation: Result<_, $crate::ManagerError> = $operation;
            let handle = &$self.handle;
            async move { ($read)(&handle.call_async(operation?).await?) }
        }
    )+};
}

use {calls, proxy};

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Blob, ManagerError> {
    let bytes = postcard::to_stdvec(value);
    let bytes = bytes.map_err(|error| ManagerError::Encode(error.to_string()))?;
    Ok(bytes.into())
}

fn encode_all<'a, T: Serialize + 'a>(
    values: impl IntoIterator<Item = &'a T>,
) -> Result<Vec<Blob>, ManagerError> {
    values.into_iter().map(encode).collect()
}

fn decode<T: DeserializeOwned>(blob: &Blob) -> Result<T, ManagerError> {
    let wrong = |reason: String| ManagerError::Decode {
        type_name: type_name::<T>(),
        reason,
    };
    match postcard::take_from_bytes(blob.bytes()) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(wrong(format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// What is done to the value under `key`.
fn at_key<K: Serialize + ?Sized>(
    key: &K,
    operation: CellOperation,
) -> Result<Operation, ManagerError> {
    Ok(Operation::Cell(Place::Key(encode(key)?), operation))
}

fn compare_and_swap<V: Serialize>(
    expected: Option<&V>,
    new: Option<&V>,
) -> Result<CellOperation, ManagerError> {
    Ok(CellOperation::CompareAndSwap {
        expected: expected.map(encode).transpose()?,
        new: new.map(encode).transpose()?,
    })
}

fn add<N: super::ManagedNumber>(more: &N) -> Result<CellOperation, ManagerError> {
    Ok(CellOperation::Add(N::KIND, encode(more)?))
}

fn read_bool(reply: &Reply) -> Result<bool, ManagerError> {
    match reply {
        Reply::Bool(answer) => Ok(*answer),
        _ => Err(ManagerError::Protocol),
    }
}

fn read_count(reply: &Reply) -> Result<usize, ManagerError> {
    match reply {
        Reply::Count(count) => usize::try_from(*count).map_err(|_| ManagerError::Protocol),
        _ => Err(ManagerError::Protocol),
    }
}

fn read_option<T: DeserializeOwned>(reply: &Reply) -> Result<Option<T>, ManagerError> {
    match reply {
        Reply::Blob(value) => value.as_ref().map(decode).transpose(),
        _ => Err(ManagerError::Protocol),
    }
}

fn read_value<T: DeserializeOwned>(reply: &Reply) -> Result<T, ManagerError> {
    read_option(reply)?.ok_or(ManagerError::Protocol)
}

fn read_values<T: DeserializeOwned>(reply: &Reply) -> Result<Vec<T>, ManagerError> {
    match reply {
        Reply::Blobs(values) => values.iter().map(decode).collect(),
        _ => Err(ManagerError::Protocol),
    }
}

/// Takes what was asked for, if it was given.
fn take(
    asked: Option<Asked>,
    release: Operation,
    is_async: bool,
) -> Result<Option<Held>, ManagerError> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    if asked.reply == Reply::Bool(true) {
        let (held, _) = asked.hold(release, is_async);
        return Ok(Some(held));
    }
    // A refusal is an error, and nothing but a plain no is left.
    read_bool(&asked.into_reply()?).map(|_| None)
}

/// Takes what was waited for until it was given.
fn take_sure(
    asked: Option<Asked>,
    release: Operation,
    is_async: bool,
) -> Result<Held, ManagerError> {
    take(asked, release, is_async)?.ok_or(ManagerError::Protocol)
}

/// Reads whether what was waited for has happened in time.
fn has_happened(asked: Option<Asked>) -> Result<bool, ManagerError> {
    asked.map_or(Ok(false), |asked| read_bool(&asked.into_reply()?))
}
