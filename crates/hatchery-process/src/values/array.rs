//! A row of values that processes share.

use std::fmt;
use std::marker::PhantomData;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cell::{Cell, Plain};
use super::guarding::{Guarded, Guarding, Held, locking};
use super::value::update;
use crate::sync::{Lock, OwnerDied, ShareError};

/// A fixed number of values in shared memory.
///
/// Each is as a [`Value`](super::Value) of its own, under one lock for all: it is read without
/// waiting, and a writer that is killed leaves it whole. Each takes a multiple of eight bytes, so
/// that writing one never touches its neighbour: an array of a million `u8` takes 8 MB; what is
/// just bytes is better off in a [`SharedMemory`](super::SharedMemory).
pub struct Array<T> {
    guarded: Guarded,
    len: usize,
    holds: PhantomData<T>,
}

/// An [`Array`] whose lock is held; dropping it gives the lock up.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct ArrayGuard<'a, T> {
    array: &'a Array<T>,
    _held: Held<'a>,
}

/// An array was written to beyond its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no value {index} in an array of {len}")]
#[non_exhaustive]
pub struct OutOfBounds {
    /// What was asked for.
    pub index: usize,
    /// How many values there are; the first has index 0.
    pub len: usize,
}

impl<T: Plain> Array<T> {
    /// Makes an array of these values, with a lock of its own.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new(values: &[T]) -> Result<Self, ShareError> {
        Self::filled(Guarding::Own, values)
    }

    /// Makes an array of so many zeros, with a lock of its own.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn zeroed(len: usize) -> Result<Self, ShareError> {
        Self::guarded_by(Guarding::Own, len)
    }

    /// Makes an array whose writers use a lock that protects other things too.
    ///
    /// Such a lock cannot be taken twice: who holds it writes through
    /// [`without_lock`](Self::without_lock). A [`set`](Self::set) that finds the lock's holder
    /// dead writes and does not tell; who has to know takes the lock itself.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_lock(values: &[T], lock: &Lock) -> Result<Self, ShareError> {
        Self::filled(Guarding::Given(lock.clone()), values)
    }

    /// Makes an array without a lock, for one writer at a time of each value.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn unlocked(values: &[T]) -> Result<Self, ShareError> {
        Self::filled(Guarding::Nothing, values)
    }

    fn filled(guarding: Guarding, values: &[T]) -> Result<Self, ShareError> {
        let made = Self::guarded_by(guarding, values.len())?;
        for (index, value) in values.iter().enumerate() {
            made.cell(index).set(value);
        }
        Ok(made)
    }

    fn guarded_by(guarding: Guarding, len: usize) -> Result<Self, ShareError> {
        Ok(Self {
            guarded: Guarded::create(wides::<T>(len), guarding)?,
            len,
            holds: PhantomData,
        })
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads a value, without waiting for the lock; `None` beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        (index < self.len).then(|| self.cell(index).get())
    }

    /// Writes a value, under the lock.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfBounds`] beyond the end.
    #[expect(clippy::needless_pass_by_value, reason = "it moves into the memory")]
    pub fn set(&self, index: usize, value: T) -> Result<(), OutOfBounds> {
        self.check(index)?;
        let _held = self.guarded.enter();
        self.cell(index).set(&value);
        Ok(())
    }

    /// Changes a value under the lock, and returns what `change` does.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfBounds`] beyond the end, and `change` is not called then.
    pub fn update<R>(
        &self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, OutOfBounds> {
        self.check(index)?;
        let _held = self.guarded.enter();
        Ok(update(&self.cell(index), change))
    }

    /// Reads all values, under the lock.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        let _held = self.guarded.enter();
        self.read_all()
    }

    fn check(&self, index: usize) -> Result<(), OutOfBounds> {
        let len = self.len;
        if index < len {
            Ok(())
        } else {
            Err(OutOfBounds { index, len })
        }
    }

    fn read_all(&self) -> Vec<T> {
        (0..self.len).map(|index| self.cell(index).get()).collect()
    }

    fn cell(&self, index: usize) -> Cell<'_, T> {
        Cell::at(self.guarded.monitor.wides(), index)
    }
}

locking!(Array, ArrayGuard, array);

impl<T: Plain> ArrayGuard<'_, T> {
    /// Reads a value; `None` beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.array.get(index)
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfBounds`] beyond the end.
    #[expect(clippy::needless_pass_by_value, reason = "it moves into the memory")]
    pub fn set(&mut self, index: usize, value: T) -> Result<(), OutOfBounds> {
        self.array.check(index)?;
        self.array.cell(index).set(&value);
        Ok(())
    }

    /// Reads all values.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.array.read_all()
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self {
            guarded: self.guarded.clone(),
            len: self.len,
            holds: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Array");
        shown.field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ArrayGuard");
        shown.field("array", &self.array).finish_non_exhaustive()
    }
}

impl<T> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.len, self.guarded.parts()).serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (len, parts) = Deserialize::deserialize(deserializer)?;
        let guarded = Guarded::map(parts, wides::<T>(len)).map_err(D::Error::custom)?;
        Ok(Self {
            guarded,
            len,
            holds: PhantomData,
        })
    }
}

/// The words that so many values take.
fn wides<T: Plain>(len: usize) -> usize {
    len.saturating_mul(Cell::<T>::WIDES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parcel;

    #[test]
    fn an_array_that_was_sent_is_the_same_array() {
        let array = Array::new(&[1_u16, 2, 3]).unwrap();
        let received: Array<u16> = Parcel::encode(&array).unwrap().decode().unwrap();

        received.set(1, 7).unwrap();
        received.update(2, |value| *value *= 10).unwrap();

        assert_eq!(array.to_vec(), [1, 7, 30]);
        assert_eq!((array.get(2), array.get(3)), (Some(30), None));
    }

    #[test]
    fn beyond_the_end_there_is_nothing() {
        let array = Array::<[u8; 20]>::zeroed(2).unwrap();
        let error = OutOfBounds { index: 2, len: 2 };

        assert_eq!(array.set(2, [1; 20]), Err(error));
        assert_eq!(array.update(2, |_| ()), Err(error));
        assert_eq!(array.lock().unwrap().set(2, [1; 20]), Err(error));

        assert_eq!(array.to_vec(), [[0; 20]; 2]);
        assert!(Array::<u64>::zeroed(0).unwrap().is_empty());
    }

    #[test]
    fn more_than_there_can_be_is_an_error() {
        assert!(Array::<u64>::zeroed(usize::MAX / 2).is_err());
        assert!(Array::<[u64; 9]>::zeroed(usize::MAX).is_err());
    }

    #[test]
    fn several_values_are_changed_together_under_the_lock() {
        let array = Array::new(&[10_i32, 0]).unwrap();
        let mut guard = array.lock().unwrap();

        guard.set(0, 9).unwrap();
        guard.set(1, 1).unwrap();

        assert_eq!(guard.to_vec(), [9, 1]);
        drop(guard);
        assert_eq!(array.to_vec(), [9, 1]);
    }
}
