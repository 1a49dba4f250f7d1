//! A set that processes share.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    calls, done, encode, encode_all, proxy, read_bool, read_count, read_option, read_values,
};
use crate::manager::protocol::{Operation, SetOperation};

proxy! {
    /// A set that processes share; it keeps the order in which members came.
    ManagedSet<T>
}

impl<T: Serialize + DeserializeOwned> ManagedSet<T> {
    calls! {
        /// Adds `member`, and tells whether it is new.
        fn insert / insert_async(&self, member: &T) -> bool {
            encode(member).map(|member| Operation::Set(SetOperation::Insert(member))) => read_bool
        }

        /// Adds many members at once, and returns how many are new.
        fn extend / extend_async(&self, members: &[T]) -> usize {
            encode_all(members)
                .map(|members| Operation::Set(SetOperation::Extend(members))) => read_count
        }

        /// Removes `member`, and tells whether it was there.
        fn remove / remove_async(&self, member: &T) -> bool {
            encode(member).map(|member| Operation::Set(SetOperation::Remove(member))) => read_bool
        }

        /// Tells whether `member` is there.
        fn contains / contains_async(&self, member: &T) -> bool {
            encode(member).map(|member| Operation::Set(SetOperation::Contains(member))) => read_bool
        }

        /// Removes the member that came last, and returns it.
        fn pop / pop_async(&self) -> Option<T> {
            Ok(Operation::Set(SetOperation::Pop)) => read_option
        }

        /// Counts the members.
        fn len / len_async(&self) -> usize {
            Ok(Operation::Set(SetOperation::Len)) => read_count
        }

        /// Tells whether there is no member.
        fn is_empty / is_empty_async(&self) -> bool {
            Ok(Operation::Set(SetOperation::Len)) => |reply| read_count(reply).map(|len| len == 0)
        }

        /// Returns all members, as they are at one moment.
        fn to_vec / to_vec_async(&self) -> Vec<T> {
            Ok(Operation::Set(SetOperation::Items)) => read_values
        }

        /// Removes everything.
        fn clear / clear_async(&self) -> () {
            Ok(Operation::Set(SetOperation::Clear)) => done
        }
    }
}
