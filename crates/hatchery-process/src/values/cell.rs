//! One value in shared words, which a reader sees whole and a killed writer leaves whole.
//!
//! A value that fits into a word is that word. A larger one has a version and two copies, of
//! which the version says by its lowest bit which is the value. A writer fills the other copy and
//! then writes the version; a reader that finds the version changed reads again.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::sync::{get, put};

/// A type that can live in shared memory.
///
/// Any bits are a value of it, it has no padding, and no pointer or cell inside: numbers, arrays
/// of them, and structures that derive zerocopy's [`FromBytes`], [`IntoBytes`] and [`Immutable`].
pub trait Plain: FromBytes + IntoBytes + Immutable {}

impl<T: FromBytes + IntoBytes + Immutable> Plain for T {}

/// The bytes of a word.
const WORD_BYTES: usize = size_of::<u64>();

/// The place of a value.
#[derive(Debug)]
pub(super) struct Cell<'a, T> {
    wides: &'a [AtomicU64],
    holds: PhantomData<T>,
}

impl<'a, T: Plain> Cell<'a, T> {
    /// The words of one copy.
    const WORDS: usize = {
        let words = size_of::<T>().div_ceil(WORD_BYTES);
        if words == 0 { 1 } else { words }
    };

    /// The words that a value takes.
    pub(super) const WIDES: usize = if Self::WORDS == 1 {
        1
    } else {
        1 + 2 * Self::WORDS
    };

    /// The place of the value at `index` in a row of them.
    pub(super) fn at(wides: &'a [AtomicU64], index: usize) -> Self {
        Self {
            wides: &wides[index * Self::WIDES..][..Self::WIDES],
            holds: PhantomData,
        }
    }

    /// Reads the value, as one writer left it.
    pub(super) fn get(&self) -> T {
        let [version, copies @ ..] = self.wides else {
            unreachable!("a value takes at least one word")
        };
        if copies.is_empty() {
            return read(self.wides);
        }
        loop {
            let seen = get(version);
            let value = read(Self::copy(copies, seen));
            // Who wrote into this copy wrote a version before, which this finds then.
            if get(version) == seen {
                return value;
            }
            std::hint::spin_loop();
        }
    }

    /// Writes the value; one writer at a time may do so.
    pub(super) fn set(&self, value: &T) {
        let [version, copies @ ..] = self.wides else {
            unreachable!("a value takes at least one word")
        };
        if copies.is_empty() {
            write(self.wides, value);
            return;
        }
        let next = get(version).wrapping_add(1);
        write(Self::copy(copies, next), value);
        put(version, next);
    }

    fn copy(copies: &'a [AtomicU64], version: u64) -> &'a [AtomicU64] {
        let (even, odd) = copies.split_at(Self::WORDS);
        if version & 1 == 0 { even } else { odd }
    }
}

fn read<T: Plain>(words: &[AtomicU64]) -> T {
    let mut value = T::new_zeroed();
    let chunks = value.as_mut_bytes().chunks_mut(WORD_BYTES);
    for (chunk, word) in chunks.zip(words) {
        let bytes = get(word).to_ne_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    value
}

fn write<T: Plain>(words: &[AtomicU64], value: &T) {
    let chunks = value.as_bytes().chunks(WORD_BYTES);
    for (chunk, word) in chunks.zip(words) {
        let mut bytes = [0; WORD_BYTES];
        bytes[..chunk.len()].copy_from_slice(chunk);
        put(word, u64::from_ne_bytes(bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    use super::*;

    #[test]
    fn values_of_every_size_are_read_as_they_were_written() {
        fn check<T: Plain + PartialEq + std::fmt::Debug>(value: &T, wides: usize) {
            let words: Vec<AtomicU64> = (0..3 * wides).map(|_| AtomicU64::new(0)).collect();
            assert_eq!(Cell::<T>::WIDES, wides);
            for index in [2, 1] {
                let cell = Cell::<T>::at(&words, index);
                cell.set(&T::new_zeroed());
                cell.set(value);
                assert_eq!(&cell.get(), value);
            }
            assert_eq!(Cell::<T>::at(&words, 0).get(), T::new_zeroed());
        }
        check(&[(); 1], 1);
        check(&7_u8, 1);
        check(&-1.5_f64, 1);
        check(&[1_u8, 2, 3, 4, 5, 6, 7, 8, 9], 5);
        check(&[u64::MAX, 1, 2], 7);
    }

    #[test]
    fn a_reader_never_sees_half_a_value() {
        let words: Vec<AtomicU64> = (0..9).map(|_| AtomicU64::new(0)).collect();
        let is_over = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                for number in 1..=50_000_u64 {
                    Cell::at(&words, 0).set(&[number; 4]);
                }
                is_over.store(true, Relaxed);
            });

            while !is_over.load(Relaxed) {
                let seen: [u64; 4] = Cell::at(&words, 0).get();
                assert!(seen.iter().all(|&number| number == seen[0]), "{seen:?}");
            }
        });
    }
}
