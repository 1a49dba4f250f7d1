//! Names with values of any type, which processes share.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    add, at_key, calls, compare_and_swap, done, encode, proxy, read_bool, read_count, read_option,
    read_value, read_values,
};
use crate::manager::number::ManagedNumber;
use crate::manager::protocol::{CellOperation, MapOperation, Operation, Reply};

proxy! {
    /// Names with values of any type, which processes share.
    ///
    /// Whoever reads a value says its type. One that was stored as another type is an error where
    /// its bytes have no meaning, and another value where they do: give each name one type.
    ManagedNamespace
}

impl ManagedNamespace {
    calls! {
        /// Returns the value called `name`.
        fn get / get_async[T: DeserializeOwned](&self, name: &str) -> Option<T> {
            at_key(name, CellOperation::Get) => read_option
        }

        /// Sets the value called `name`.
        fn set / set_async[T: Serialize + ?Sized](&self, name: &str, value: &T) -> () {
            encode(value).and_then(|value| at_key(name, CellOperation::Set(value))) => done
        }

        /// Sets the value called `name`, and returns the one that was there.
        fn swap / swap_async[T: Serialize + DeserializeOwned](
            &self,
            name: &str,
            value: &T,
        ) -> Option<T> {
            encode(value).and_then(|value| at_key(name, CellOperation::Swap(value))) => read_option
        }

        /// Returns the value called `name`, which is `value` if there was none.
        fn get_or_insert / get_or_insert_async[T: Serialize + DeserializeOwned](
            &self,
            name: &str,
            value: &T,
        ) -> T {
            encode(value)
                .and_then(|value| at_key(name, CellOperation::GetOrInsert(value))) => read_value
        }

        /// Sets the value called `name` if it is `expected`, and tells whether it was.
        ///
        /// `None` is no value: expected, the name must be missing; new, it is removed.
        fn compare_and_swap / compare_and_swap_async[T: Serialize](
            &self,
            name: &str,
            expected: Option<&T>,
            new: Option<&T>,
        ) -> bool {
            compare_and_swap(expected, new)
                .and_then(|operation| at_key(name, operation)) => read_bool
        }

        /// Adds `more` to the number called `name`, in one step, and returns the sum.
        ///
        /// A missing number is zero. A sum that has no room in its type is an error, and changes
        /// nothing.
        fn add / add_async[N: ManagedNumber + DeserializeOwned](&self, name: &str, more: N) -> N {
            add(&more).and_then(|operation| at_key(name, operation)) => read_value
        }

        /// Appends `item` to the vector called `name`, in one step, and returns its new length.
        ///
        /// A missing vector is empty.
        fn push / push_async[T: Serialize + ?Sized](&self, name: &str, item: &T) -> usize {
            encode(item).and_then(|item| at_key(name, CellOperation::Push(item))) => read_count
        }

        /// Removes `name`, and tells whether it was there.
        fn remove / remove_async(&self, name: &str) -> bool {
            at_key(name, CellOperation::Remove) => |reply: &Reply| match reply {
                Reply::Blob(removed) => Ok(removed.is_some()),
                _ => Err(crate::ManagerError::Protocol),
            }
        }

        /// Tells whether there is a value called `name`.
        fn contains / contains_async(&self, name: &str) -> bool {
            encode(name).map(|name| Operation::Map(MapOperation::Contains(name))) => read_bool
        }

        /// Lists the names.
        fn names / names_async(&self) -> Vec<String> {
            Ok(Operation::Map(MapOperation::Keys)) => read_values
        }
    }
}
