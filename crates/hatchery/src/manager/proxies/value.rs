//! A value that processes share.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{add, calls, compare_and_swap, done, encode, proxy, read_bool, read_count, read_value};
use crate::manager::error::ManagerError;
use crate::manager::number::ManagedNumber;
use crate::manager::protocol::{CellOperation, Operation, Place};

proxy! {
    /// A value that processes share.
    ManagedValue<T>
}

impl<T: Serialize + DeserializeOwned> ManagedValue<T> {
    calls! {
        /// Returns the value.
        fn get / get_async(&self) -> T {
            whole(Ok(CellOperation::Get)) => read_value
        }

        /// Sets the value.
        fn set / set_async(&self, value: &T) -> () {
            whole(encode(value).map(CellOperation::Set)) => done
        }

        /// Sets the value, and returns the one that was there.
        fn swap / swap_async(&self, value: &T) -> T {
            whole(encode(value).map(CellOperation::Swap)) => read_value
        }

        /// Sets the value if it is `expected`, and tells whether it was.
        fn compare_and_swap / compare_and_swap_async(&self, expected: &T, new: &T) -> bool {
            whole(compare_and_swap(Some(expected), Some(new))) => read_bool
        }
    }
}

impl<N: ManagedNumber + DeserializeOwned> ManagedValue<N> {
    calls! {
        /// Adds `more` to the number, in one step, and returns the sum.
        ///
        /// A sum that has no room in its type is an error, and changes nothing.
        fn add / add_async(&self, more: N) -> N {
            whole(add(&more)) => read_value
        }
    }
}

impl<T: Serialize> ManagedValue<Vec<T>> {
    calls! {
        /// Appends `item` to the vector, in one step, and returns its new length.
        fn push / push_async(&self, item: &T) -> usize {
            whole(encode(item).map(CellOperation::Push)) => read_count
        }
    }
}

fn whole(operation: Result<CellOperation, ManagerError>) -> Result<Operation, ManagerError> {
    Ok(Operation::Cell(Place::Whole, operation?))
}
