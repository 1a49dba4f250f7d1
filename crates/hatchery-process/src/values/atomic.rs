//! Numbers that processes change without a lock.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use hatchery_os::{Layout, SharedMemory};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sync::ShareError;

/// A number or a flag in shared memory, each of whose changes is whole.
///
/// All processes see all changes in one order.
pub struct AtomicValue<T> {
    memory: Arc<SharedMemory>,
    holds: PhantomData<T>,
}

/// What an [`AtomicValue`] can hold: `u32`, `u64`, `i64`, `bool`, and what else says how.
pub trait AtomicPrimitive: Copy {
    /// Its bits, by which it is also compared.
    fn to_bits(self) -> u64;

    /// The value of such bits, or some value for bits that no value has.
    fn from_bits(bits: u64) -> Self;
}

/// An [`AtomicPrimitive`] to reckon with.
pub trait AtomicInteger: AtomicPrimitive {
    /// The sum; beyond the largest number comes the smallest.
    #[must_use]
    fn plus(self, other: Self) -> Self;

    /// The difference; below the smallest number comes the largest.
    #[must_use]
    fn minus(self, other: Self) -> Self;
}

impl<T: AtomicPrimitive> AtomicValue<T> {
    /// Makes such a value.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new(value: T) -> Result<Self, ShareError> {
        let made = Self::of(SharedMemory::create(LAYOUT)?);
        made.store(value);
        Ok(made)
    }

    fn of(memory: SharedMemory) -> Self {
        Self {
            memory: Arc::new(memory),
            holds: PhantomData,
        }
    }

    /// Reads it.
    #[must_use]
    pub fn load(&self) -> T {
        T::from_bits(self.word().load(SeqCst))
    }

    /// Writes it.
    pub fn store(&self, value: T) {
        self.word().store(value.to_bits(), SeqCst);
    }

    /// Writes it, and returns what it was.
    pub fn swap(&self, value: T) -> T {
        T::from_bits(self.word().swap(value.to_bits(), SeqCst))
    }

    /// Writes `new` if it is `current`, and returns what it was.
    ///
    /// # Errors
    ///
    /// Returns what it is, if that is not `current`.
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        let (current, new) = (current.to_bits(), new.to_bits());
        let exchanged = self.word().compare_exchange(current, new, SeqCst, SeqCst);
        exchanged.map(T::from_bits).map_err(T::from_bits)
    }

    /// Changes it, and returns what it was; `change` is called again if another was faster.
    pub fn fetch_update(&self, mut change: impl FnMut(T) -> T) -> T {
        let change = |bits| Some(change(T::from_bits(bits)).to_bits());
        match self.word().fetch_update(SeqCst, SeqCst, change) {
            Ok(former) | Err(former) => T::from_bits(former),
        }
    }

    fn word(&self) -> &AtomicU64 {
        &self.memory.wides()[0]
    }
}

impl<T: AtomicInteger> AtomicValue<T> {
    /// Adds to it, and returns what it was; beyond the largest number comes the smallest.
    pub fn fetch_add(&self, addend: T) -> T {
        self.fetch_update(|value| value.plus(addend))
    }

    /// Subtracts from it, and returns what it was; below the smallest number comes the largest.
    pub fn fetch_sub(&self, subtrahend: T) -> T {
        self.fetch_update(|value| value.minus(subtrahend))
    }
}

impl<T> Clone for AtomicValue<T> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            holds: PhantomData,
        }
    }
}

impl<T: AtomicPrimitive + fmt::Debug> fmt::Debug for AtomicValue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.load();
        formatter.debug_tuple("AtomicValue").field(&value).finish()
    }
}

/// The memory in which it lives.
impl<T> AsFd for AtomicValue<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl<T> Serialize for AtomicValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::descriptor::serialize(&*self.memory, serializer)
    }
}

impl<'de, T: AtomicPrimitive> Deserialize<'de> for AtomicValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let memory: OwnedFd = crate::descriptor::deserialize(deserializer)?;
        let memory = SharedMemory::map(memory, LAYOUT).map_err(D::Error::custom)?;
        Ok(Self::of(memory))
    }
}

const LAYOUT: Layout = Layout { words: 0, wides: 1 };

macro_rules! integer {
    ($integer:ident) => {
        impl AtomicPrimitive for $integer {
            fn to_bits(self) -> u64 {
                self as u64
            }

            fn from_bits(bits: u64) -> Self {
                bits as Self
            }
        }

        impl AtomicInteger for $integer {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    };
}

integer!(u32);
integer!(u64);
integer!(i64);

impl AtomicPrimitive for bool {
    fn to_bits(self) -> u64 {
        self.into()
    }

    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parcel;

    #[test]
    fn a_number_that_was_sent_is_the_same_number() {
        let number = AtomicValue::new(u32::MAX).unwrap();
        let received: AtomicValue<u32> = Parcel::encode(&number).unwrap().decode().unwrap();

        assert_eq!(received.fetch_add(3), u32::MAX);

        assert_eq!(number.load(), 2);
        assert_eq!(number.compare_exchange(1, 9), Err(2));
        assert_eq!(number.compare_exchange(2, 9), Ok(2));
        assert_eq!(received.swap(4), 9);
        assert_eq!(received.fetch_sub(5), 4);
        assert_eq!(number.load(), u32::MAX);
    }

    #[test]
    fn negative_numbers_and_flags_are_what_they_were() {
        let number = AtomicValue::new(-5_i64).unwrap();
        let flag = AtomicValue::new(false).unwrap();

        number.fetch_add(2);

        assert_eq!(number.load(), -3);
        assert_eq!(flag.compare_exchange(false, true), Ok(false));
        assert!(flag.load());
    }

    #[test]
    fn threads_that_add_lose_nothing() {
        let number = AtomicValue::new(0_u64).unwrap();
        let add = || {
            for _ in 0..10_000 {
                number.fetch_add(1);
            }
        };

        std::thread::scope(|threads| (0..4).for_each(|_| drop(threads.spawn(add))));

        assert_eq!(number.load(), 40_000);
    }
}
