//! A dict that processes share.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    add, at_key, calls, compare_and_swap, decode, done, encode, proxy, read_bool, read_count,
    read_option, read_value, read_values,
};
use crate::manager::error::ManagerError;
use crate::manager::number::ManagedNumber;
use crate::manager::protocol::{CellOperation, MapOperation, Operation, Reply};

proxy! {
    /// A dict that processes share; it keeps the order in which keys came, as Python's does.
    ManagedDict<K, V>
}

impl<K, V> ManagedDict<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    calls! {
        /// Returns the value under `key`.
        fn get / get_async(&self, key: &K) -> Option<V> {
            at_key(key, CellOperation::Get) => read_option
        }

        /// Sets the value under `key`, and returns the one that was there.
        fn insert / insert_async(&self, key: &K, value: &V) -> Option<V> {
            encode(value).and_then(|value| at_key(key, CellOperation::Swap(value))) => read_option
        }

        /// Removes `key`, and returns its value; Python's `pop`.
        fn remove / remove_async(&self, key: &K) -> Option<V> {
            at_key(key, CellOperation::Remove) => read_option
        }

        /// Returns the value under `key`, which is `value` if there was none; Python's `setdefault`.
        fn get_or_insert / get_or_insert_async(&self, key: &K, value: &V) -> V {
            encode(value)
                .and_then(|value| at_key(key, CellOperation::GetOrInsert(value))) => read_value
        }

        /// Sets the value under `key` if it is `expected`, and tells whether it was.
        ///
        /// `None` is no value: expected, the key must be missing; new, it is removed.
        fn compare_and_swap / compare_and_swap_async(
            &self,
            key: &K,
            expected: Option<&V>,
            new: Option<&V>,
        ) -> bool {
            compare_and_swap(expected, new)
                .and_then(|operation| at_key(key, operation)) => read_bool
        }

        /// Sets many values at once: nobody sees some of them without the others.
        fn update / update_async(&self, pairs: &[(K, V)]) -> () {
            update(pairs) => done
        }

        /// Tells whether there is a value under `key`.
        fn contains_key / contains_key_async(&self, key: &K) -> bool {
            encode(key).map(|key| Operation::Map(MapOperation::Contains(key))) => read_bool
        }

        /// Counts the keys.
        fn len / len_async(&self) -> usize {
            Ok(Operation::Map(MapOperation::Len)) => read_count
        }

        /// Tells whether there is no key.
        fn is_empty / is_empty_async(&self) -> bool {
            Ok(Operation::Map(MapOperation::Len)) => |reply| read_count(reply).map(|len| len == 0)
        }

        /// Lists the keys.
        fn keys / keys_async(&self) -> Vec<K> {
            Ok(Operation::Map(MapOperation::Keys)) => read_values
        }

        /// Lists the values.
        fn values / values_async(&self) -> Vec<V> {
            Ok(Operation::Map(MapOperation::Values)) => read_values
        }

        /// Lists keys and values, as they are at one moment.
        fn items / items_async(&self) -> Vec<(K, V)> {
            Ok(Operation::Map(MapOperation::Items)) => read_pairs
        }

        /// Removes the key that came last, and returns it with its value.
        fn pop_item / pop_item_async(&self) -> Option<(K, V)> {
            Ok(Operation::Map(MapOperation::PopItem)) => read_pair
        }

        /// Removes everything.
        fn clear / clear_async(&self) -> () {
            Ok(Operation::Map(MapOperation::Clear)) => done
        }
    }
}

impl<K, N> ManagedDict<K, N>
where
    K: Serialize + DeserializeOwned,
    N: ManagedNumber + DeserializeOwned,
{
    calls! {
        /// Adds `more` to the number under `key`, in one step, and returns the sum.
        ///
        /// A missing number is zero. A sum that has no room in its type is an error, and changes
        /// nothing.
        fn add / add_async(&self, key: &K, more: N) -> N {
            add(&more).and_then(|operation| at_key(key, operation)) => read_value
        }
    }
}

impl<K, T> ManagedDict<K, Vec<T>>
where
    K: Serialize + DeserializeOwned,
    T: Serialize,
{
    calls! {
        /// Appends `item` to the vector under `key`, in one step, and returns its new length.
        ///
        /// A missing vector is empty.
        fn push / push_async(&self, key: &K, item: &T) -> usize {
            encode(item).and_then(|item| at_key(key, CellOperation::Push(item))) => read_count
        }
    }
}

fn update<K: Serialize, V: Serialize>(pairs: &[(K, V)]) -> Result<Operation, ManagerError> {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(key, value)| Ok((encode(key)?, encode(value)?)));
    let pairs: Result<Vec<_>, ManagerError> = pairs.collect();
    Ok(Operation::Map(MapOperation::Update(pairs?)))
}

fn read_pairs<K: DeserializeOwned, V: DeserializeOwned>(
    reply: &Reply,
) -> Result<Vec<(K, V)>, ManagerError> {
    let Reply::Pairs(pairs) = reply else {
        return Err(ManagerError::Protocol);
    };
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| Ok((decode(key)?, decode(value)?)))
        .collect()
}

fn read_pair<K: DeserializeOwned, V: DeserializeOwned>(
    reply: &Reply,
) -> Result<Option<(K, V)>, ManagerError> {
    match reply {
        Reply::Pair(Some((key, value))) => Ok(Some((decode(key)?, decode(value)?))),
        Reply::Pair(None) => Ok(None),
        _ => Err(ManagerError::Protocol),
    }
}
