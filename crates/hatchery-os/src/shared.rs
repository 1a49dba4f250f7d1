//! Memory that processes share, as words that are read and written atomically.
//!
//! Every bit pattern is a valid word and every index is checked, so a process may share words
//! with one that it does not trust: the worst that can happen is a wrong number. There are words
//! of two sizes, 32 bits for what processes wait on and 64 bits for everything else, and each
//! place in memory has one size only.
#![expect(
    unsafe_code,
    reason = "a mapping is memory that the compiler cannot see"
)]

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals,
    memfd_create,
};

/// The distance that keeps two areas from sharing a cache line, in bytes.
const LINE_BYTES: usize = 64;

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

/// How many words of each size a memory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Words of 32 bits, which come first.
    pub words: usize,
    /// Words of 64 bits, which begin on a cache line of their own.
    pub wides: usize,
}

impl Layout {
    /// Where the wide words begin, in bytes.
    fn wides_at(self) -> usize {
        (self.words * size_of::<AtomicU32>()).next_multiple_of(LINE_BYTES)
    }

    fn bytes(self) -> usize {
        self.wides_at() + self.wides * size_of::<AtomicU64>()
    }
}

/// Words in memory that other processes may map as well.
///
/// The kernel provides each page when it is first written, so memory that is never used costs
/// nothing.
pub struct SharedMemory {
    mapping: MmapRaw,
    layout: Layout,
    file: File,
}

impl SharedMemory {
    /// Makes words, all zero, in a memfd whose size is sealed.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn create(layout: Layout) -> Result<Self, MapError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("hatchery-words", flags).map_err(io::Error::from)?;
        rustix::fs::ftruncate(&file, layout.bytes() as u64).map_err(io::Error::from)?;
        fcntl_add_seals(&file, sealed_size()).map_err(io::Error::from)?;
        Self::map(file, layout)
    }

    /// Maps the words behind a descriptor that another process made.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Unsealed`] if the memory could shrink under the mapping,
    /// [`MapError::Size`] if it does not hold exactly these words, and [`MapError::Os`] for any
    /// error of the kernel.
    pub fn map(memory: OwnedFd, layout: Layout) -> Result<Self, MapError> {
        let seals = fcntl_get_seals(&memory).map_err(|_| MapError::Unsealed)?;
        if !seals.contains(sealed_size()) {
            return Err(MapError::Unsealed);
        }
        let file = File::from(memory);
        let size = file.metadata()?.len();
        if size != layout.bytes() as u64 {
            return Err(MapError::Size(size));
        }
        let mapping = MmapOptions::new().map_raw(&file)?;
        Ok(Self {
            mapping,
            layout,
            file,
        })
    }

    /// Lends the words of 32 bits.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &[AtomicU32] {
        // The mapping starts at a page, so every word of it is aligned.
        let first = self.mapping.as_ptr().cast::<AtomicU32>();
        // SAFETY: the words are mapped for as long as `self` lives, the size cannot shrink, every
        // bit pattern is an `AtomicU32`, and nobody accesses these bytes but through this slice.
        unsafe { slice::from_raw_parts(first, self.layout.words) }
    }

    /// Lends the words of 64 bits.
    #[must_use]
    #[inline]
    pub fn wides(&self) -> &[AtomicU64] {
        let start = self.layout.wides_at();
        // SAFETY: the mapping holds the whole layout, of which this is the second part.
        let first = unsafe { self.mapping.as_ptr().add(start) };
        // SAFETY: as above; the part begins at a multiple of 64 bytes.
        unsafe { slice::from_raw_parts(first.cast::<AtomicU64>(), self.layout.wides) }
    }

    /// Gives the memory of wide words back to the kernel; they are zero from now on.
    ///
    /// # Errors
    ///
    /// Returns the error of `fallocate(2)`; the words are unchanged then.
    ///
    /// # Panics
    ///
    /// Panics if there are no such words.
    pub fn discard(&self, first: usize, count: usize) -> io::Result<()> {
        assert!(
            first
                .checked_add(count)
                .is_some_and(|end| end <= self.layout.wides),
            "words {first} and {count} more of {}",
            self.layout.wides
        );
        let start = (self.layout.wides_at() + first * size_of::<AtomicU64>()) as u64;
        let length = (count * size_of::<AtomicU64>()) as u64;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, flags, start, length)?)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedMemory")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

fn sealed_size() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    const LAYOUT: Layout = Layout { words: 5, wides: 7 };

    fn twice(layout: Layout) -> (SharedMemory, SharedMemory) {
        let memory = SharedMemory::create(layout).unwrap();
        let other = memory.as_fd().try_clone_to_owned().unwrap();
        (memory, SharedMemory::map(other, layout).unwrap())
    }

    #[test]
    fn two_mappings_see_the_same_words() {
        let (memory, other) = twice(LAYOUT);

        memory.words()[4].store(77, Relaxed);
        memory.wides()[6].store(u64::MAX - 1, Relaxed);

        assert_eq!(other.words()[4].load(Relaxed), 77);
        assert_eq!(other.wides()[6].load(Relaxed), u64::MAX - 1);
        assert_eq!(other.words()[0].load(Relaxed), 0);
    }

    #[test]
    fn words_of_the_two_sizes_do_not_overlap() {
        let (memory, _other) = twice(LAYOUT);
        for word in memory.words() {
            word.store(u32::MAX, Relaxed);
        }

        let wides: Vec<u64> = memory
            .wides()
            .iter()
            .map(|wide| wide.load(Relaxed))
            .collect();

        assert_eq!(wides, [0; 7]);
    }

    #[test]
    fn memory_that_may_shrink_or_has_another_size_is_refused() {
        let open = memfd_create("open", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&open, 4096).unwrap();
        assert!(matches!(
            SharedMemory::map(open, LAYOUT),
            Err(MapError::Unsealed)
        ));

        let memory = SharedMemory::create(LAYOUT).unwrap();
        let other = memory.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(
            SharedMemory::map(other, Layout { wides: 8, ..LAYOUT }),
            Err(MapError::Size(120))
        ));
    }

    #[test]
    fn what_is_discarded_is_zero_for_everybody_and_the_rest_stays() {
        let layout = Layout {
            words: 1,
            wides: 4096,
        };
        let (memory, other) = twice(layout);
        for wide in memory.wides() {
            wide.store(9, Relaxed);
        }

        memory.discard(1024, 1024).unwrap();

        let of = |index: usize| other.wides()[index].load(Relaxed);
        assert_eq!([of(1023), of(1024), of(2047), of(2048)], [9, 0, 0, 9]);
    }

    #[test]
    #[should_panic(expected = "words 6 and 2 more of 7")]
    fn discarding_beyond_the_end_is_a_panic() {
        let memory = SharedMemory::create(LAYOUT).unwrap();

        let _refused = memory.discard(6, 2);
    }
}
