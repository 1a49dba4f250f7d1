//! A list that processes share.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    add, calls, compare_and_swap, done, encode, encode_all, proxy, read_bool, read_count,
    read_option, read_value, read_values,
};
use crate::manager::error::ManagerError;
use crate::manager::number::ManagedNumber;
use crate::manager::protocol::{CellOperation, ListOperation, Operation, Place, Reply};

proxy! {
    /// A list that processes share.
    ManagedList<T>
}

impl<T: Serialize + DeserializeOwned> ManagedList<T> {
    calls! {
        /// Appends `item`, and returns how many there are; Python's `append`.
        fn push / push_async(&self, item: &T) -> usize {
            encode(item)
                .map(|item| Operation::List(ListOperation::Extend(vec![item]))) => read_count
        }

        /// Appends many items at once, and returns how many there are.
        fn extend / extend_async(&self, items: &[T]) -> usize {
            encode_all(items).map(|items| Operation::List(ListOperation::Extend(items))) => read_count
        }

        /// Removes the last item, and returns it.
        fn pop / pop_async(&self) -> Option<T> {
            Ok(Operation::List(ListOperation::Pop)) => read_option
        }

        /// Inserts `item` before the one at `index`; at the length, it is appended.
        fn insert / insert_async(&self, index: usize, item: &T) -> () {
            encode(item)
                .map(|item| Operation::List(ListOperation::Insert(index as u64, item))) => done
        }

        /// Removes the item at `index`, and returns it.
        fn remove / remove_async(&self, index: usize) -> T {
            at(index, Ok(CellOperation::Remove)) => read_value
        }

        /// Removes the first item that equals `item`, and tells whether there was one.
        fn remove_item / remove_item_async(&self, item: &T) -> bool {
            encode(item).map(|item| Operation::List(ListOperation::RemoveItem(item))) => read_bool
        }

        /// Returns the item at `index`, if there is one.
        fn get / get_async(&self, index: usize) -> Option<T> {
            at(index, Ok(CellOperation::Get)) => read_option
        }

        /// Sets the item at `index`.
        fn set / set_async(&self, index: usize, item: &T) -> () {
            at(index, encode(item).map(CellOperation::Set)) => done
        }

        /// Sets the item at `index`, and returns the one that was there.
        fn swap / swap_async(&self, index: usize, item: &T) -> T {
            at(index, encode(item).map(CellOperation::Swap)) => read_value
        }

        /// Sets the item at `index` if it is `expected`, and tells whether it was.
        fn compare_and_swap / compare_and_swap_async(
            &self,
            index: usize,
            expected: &T,
            new: &T,
        ) -> bool {
            at(index, compare_and_swap(Some(expected), Some(new))) => read_bool
        }

        /// Finds the first item that equals `item`.
        fn index_of / index_of_async(&self, item: &T) -> Option<usize> {
            encode(item).map(|item| Operation::List(ListOperation::IndexOf(item))) => read_index
        }

        /// Tells whether an item equals `item`.
        fn contains / contains_async(&self, item: &T) -> bool {
            encode(item)
                .map(|item| Operation::List(ListOperation::IndexOf(item)))
                => |reply| read_index(reply).map(|index| index.is_some())
        }

        /// Counts the items.
        fn len / len_async(&self) -> usize {
            Ok(Operation::List(ListOperation::Len)) => read_count
        }

        /// Tells whether there is no item.
        fn is_empty / is_empty_async(&self) -> bool {
            Ok(Operation::List(ListOperation::Len)) => |reply| read_count(reply).map(|len| len == 0)
        }

        /// Returns all items, as they are at one moment.
        fn to_vec / to_vec_async(&self) -> Vec<T> {
            Ok(Operation::List(ListOperation::Items)) => read_values
        }

        /// Turns the order of the items round.
        fn reverse / reverse_async(&self) -> () {
            Ok(Operation::List(ListOperation::Reverse)) => done
        }

        /// Removes everything.
        fn clear / clear_async(&self) -> () {
            Ok(Operation::List(ListOperation::Clear)) => done
        }
    }
}

impl<N: ManagedNumber + DeserializeOwned> ManagedList<N> {
    calls! {
        /// Adds `more` to the number at `index`, in one step, and returns the sum.
        ///
        /// A sum that has no room in its type is an error, and changes nothing.
        fn add / add_async(&self, index: usize, more: N) -> N {
            at(index, add(&more)) => read_value
        }
    }
}

fn at(
    index: usize,
    operation: Result<CellOperation, ManagerError>,
) -> Result<Operation, ManagerError> {
    Ok(Operation::Cell(Place::Index(index as u64), operation?))
}

fn read_index(reply: &Reply) -> Result<Option<usize>, ManagerError> {
    match reply {
        Reply::Blob(None) => Ok(None),
        reply => read_count(reply).map(Some),
    }
}
