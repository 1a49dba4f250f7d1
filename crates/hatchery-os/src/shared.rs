//! Memory that processes share, as words that are read and written atomically.
//!
//! Every bit pattern is a valid word and every index is checked, so a process may share words
//! with one that it does not trust: the worst that can happen is a wrong number.
#![expect(
    unsafe_code,
    reason = "a mapping is memory that the compiler cannot see"
)]

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// Why memory was not mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The descriptor is not memory of a size that can no longer change.
    #[error("the descriptor is not sealed memory")]
    Unsealed,
    /// The memory holds this many bytes, which is not what was asked for.
    #[error("the memory has {0} bytes, which is not the size asked for")]
    Size(u64),
    /// The kernel refused.
    #[error("the kernel refused to map memory")]
    Os(#[from] io::Error),
}

/// A fixed number of words in memory that other processes may map as well.
pub struct SharedWords {
    mapping: MmapRaw,
    len: usize,
    file: File,
}

impl SharedWords {
    /// Makes `len` words, all zero, in a memfd whose size is sealed.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn create(len: usize) -> Result<Self, MapError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("hatchery-words", flags).map_err(io::Error::from)?;
        rustix::fs::ftruncate(&file, byte_count(len)).map_err(io::Error::from)?;
        fcntl_add_seals(&file, sealed_size()).map_err(io::Error::from)?;
        Self::map(file, len)
    }

    /// Maps the `len` words behind a descriptor that another process made.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Unsealed`] if the memory could shrink under the mapping,
    /// [`MapError::Size`] if it does not hold exactly `len` words, and [`MapError::Os`] for any
    /// error of the kernel.
    pub fn map(memory: OwnedFd, len: usize) -> Result<Self, MapError> {
        let seals = fcntl_get_seals(&memory).map_err(|_| MapError::Unsealed)?;
        if !seals.contains(sealed_size()) {
            return Err(MapError::Unsealed);
        }
        let file = File::from(memory);
        let size = file.metadata()?.len();
        if size != byte_count(len) {
            return Err(MapError::Size(size));
        }
        let mapping = MmapOptions::new().map_raw(&file)?;
        Ok(Self { mapping, len, file })
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lends the word at `index`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such word.
    #[must_use]
    #[inline]
    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.len, "word {index} of {}", self.len);
        // The mapping starts at a page, so every word of it is aligned.
        let word = self.mapping.as_mut_ptr().cast::<AtomicU32>();
        // SAFETY: the mapping holds `len` words and `index` is less.
        let word = unsafe { word.add(index) };
        // SAFETY: the word is mapped for as long as `self` lives, its size cannot shrink, every
        // bit pattern is an `AtomicU32`, and nobody accesses it but atomically.
        unsafe { &*word }
    }
}

impl AsFd for SharedWords {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for SharedWords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedWords")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

fn byte_count(len: usize) -> u64 {
    (len * size_of::<AtomicU32>()) as u64
}

fn sealed_size() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn two_mappings_see_the_same_words() {
        let words = SharedWords::create(5).unwrap();
        let other = words.as_fd().try_clone_to_owned().unwrap();
        let other = SharedWords::map(other, 5).unwrap();

        words.word(4).store(77, Ordering::Relaxed);

        assert_eq!(other.word(4).load(Ordering::Relaxed), 77);
        assert_eq!(other.word(0).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn memory_that_may_shrink_or_has_another_size_is_refused() {
        let open = memfd_create("open", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&open, 4096).unwrap();
        assert!(matches!(
            SharedWords::map(open, 1024),
            Err(MapError::Unsealed)
        ));

        let words = SharedWords::create(8).unwrap();
        let other = words.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(
            SharedWords::map(other, 9),
            Err(MapError::Size(32))
        ));
    }

    #[test]
    #[should_panic(expected = "word 3 of 3")]
    fn a_word_beyond_the_end_is_a_panic() {
        let words = SharedWords::create(3).unwrap();

        let _word = words.word(3);
    }
}
