//! One value that processes share.

use std::fmt;
use std::marker::PhantomData;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cell::{Cell, Plain};
use super::guarding::{Guarded, Guarding, Held, locking};
use crate::sync::{Lock, OwnerDied, ShareError};

/// A value in shared memory.
///
/// Reading it never waits, and finds what one writer left; a writer that is killed in the middle
/// leaves the former value. Writers take turns by a lock. Sent to another process, it is the same
/// value there; what is received as another type of the same size is other numbers, and no more.
pub struct Value<T> {
    guarded: Guarded,
    holds: PhantomData<T>,
}

/// A [`Value`] whose lock is held; dropping it gives the lock up.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct ValueGuard<'a, T> {
    value: &'a Value<T>,
    _held: Held<'a>,
}

impl<T: Plain> Value<T> {
    /// Makes a value with a lock of its own.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    ///
    /// # Examples
    ///
    /// ```
    /// let count = hatchery_process::Value::new(0_u64)?;
    /// count.update(|count| *count += 1);
    /// assert_eq!(count.get(), 1);
    /// # Ok::<(), hatchery_process::ShareError>(())
    /// ```
    pub fn new(value: T) -> Result<Self, ShareError> {
        Self::guarded_by(Guarding::Own, value)
    }

    /// Makes a value whose writers use a lock that protects other things too.
    ///
    /// Such a lock cannot be taken twice: who holds it writes through
    /// [`without_lock`](Self::without_lock). A [`set`](Self::set) that finds the lock's holder
    /// dead writes and does not tell; who has to know takes the lock itself.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_lock(value: T, lock: &Lock) -> Result<Self, ShareError> {
        Self::guarded_by(Guarding::Given(lock.clone()), value)
    }

    /// Makes a value without a lock, for one writer at a time.
    ///
    /// Of two that write at once the value is that of either if it has up to eight bytes, and may
    /// be a mixture of both otherwise.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn unlocked(value: T) -> Result<Self, ShareError> {
        Self::guarded_by(Guarding::Nothing, value)
    }

    #[expect(clippy::needless_pass_by_value, reason = "it moves into the memory")]
    fn guarded_by(guarding: Guarding, value: T) -> Result<Self, ShareError> {
        let made = Self {
            guarded: Guarded::create(Cell::<T>::WIDES, guarding)?,
            holds: PhantomData,
        };
        made.cell().set(&value);
        Ok(made)
    }

    /// Reads the value, without waiting for the lock.
    #[must_use]
    pub fn get(&self) -> T {
        self.cell().get()
    }

    /// Writes the value, under the lock.
    #[expect(clippy::needless_pass_by_value, reason = "it moves into the memory")]
    pub fn set(&self, value: T) {
        let _held = self.guarded.enter();
        self.cell().set(&value);
    }

    /// Changes the value under the lock, and returns what `change` does.
    ///
    /// If `change` panics or the process is killed, the value stays as it was.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let _held = self.guarded.enter();
        update(&self.cell(), change)
    }

    fn cell(&self) -> Cell<'_, T> {
        Cell::at(self.guarded.monitor.wides(), 0)
    }
}

locking!(Value, ValueGuard, value);

impl<T: Plain> ValueGuard<'_, T> {
    /// Reads the value.
    #[must_use]
    pub fn get(&self) -> T {
        self.value.cell().get()
    }

    /// Writes the value.
    #[expect(clippy::needless_pass_by_value, reason = "it moves into the memory")]
    pub fn set(&mut self, value: T) {
        self.value.cell().set(&value);
    }

    /// Changes the value, and returns what `change` does.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        update(&self.value.cell(), change)
    }
}

/// Changes a value whose lock is held.
pub(super) fn update<T: Plain, R>(cell: &Cell<'_, T>, change: impl FnOnce(&mut T) -> R) -> R {
    let mut value = cell.get();
    let outcome = change(&mut value);
    cell.set(&value);
    outcome
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self {
            guarded: self.guarded.clone(),
            holds: PhantomData,
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Value").field(&self.get()).finish()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.get();
        formatter.debug_tuple("ValueGuard").field(&value).finish()
    }
}

impl<T> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.guarded.parts().serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = Deserialize::deserialize(deserializer)?;
        let guarded = Guarded::map(parts, Cell::<T>::WIDES).map_err(D::Error::custom)?;
        Ok(Self {
            guarded,
            holds: PhantomData,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    use super::*;
    use crate::Parcel;

    #[test]
    fn a_value_that_was_sent_is_the_same_value() {
        let value = Value::new([1_u32, 2, 3]).unwrap();
        let received: Value<[u32; 3]> = Parcel::encode(&value).unwrap().decode().unwrap();

        received.set([4, 5, 6]);

        assert_eq!(value.get(), [4, 5, 6]);
        let wrong = Parcel::encode(&value).unwrap().decode::<Value<u8>>();
        assert!(wrong.is_err());
    }

    #[test]
    fn threads_that_update_a_value_lose_nothing() {
        let lock = Lock::new().unwrap();
        for value in [
            Value::new([0_u64; 3]).unwrap(),
            Value::with_lock([0; 3], &lock).unwrap(),
        ] {
            let add = || (0..5_000).for_each(|_| value.update(|sum| sum[2] += 1));

            thread::scope(|threads| (0..4).for_each(|_| drop(threads.spawn(add))));

            assert_eq!(value.get(), [0, 0, 20_000]);
        }
    }

    #[test]
    fn what_a_panicking_update_did_is_undone() {
        let value = Value::new(1_u8).unwrap();

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            value.update(|number| {
                *number = 2;
                panic!("no");
            })
        }));

        assert!(panicked.is_err());
        assert_eq!(value.get(), 1);
        value.set(3);
        assert_eq!(value.get(), 3);
    }

    #[test]
    fn who_holds_the_given_lock_writes_without_it() {
        let lock = Lock::new().unwrap();
        let value = Value::with_lock(1_i64, &lock).unwrap();
        let guard = value.lock().unwrap();
        assert!(lock.is_locked());

        value.without_lock().set(2);

        drop(guard);
        assert!(!lock.is_locked());
        assert_eq!(value.lock().unwrap().get(), 2);
    }
}
