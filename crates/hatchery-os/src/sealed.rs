//! Memory that nobody can change any more, mapped to be read in place.
#![expect(
    unsafe_code,
    reason = "a mapping is memory that the compiler cannot see"
)]

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memmap2::{Mmap, MmapMut, MmapOptions};
use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};

use crate::shared::MapError;

/// Bytes in a memfd that is sealed against writing and against any other size.
///
/// Whoever has the descriptor reads the same bytes, for ever.
pub struct SealedMemory {
    /// `None` for no bytes at all, which cannot be mapped.
    mapping: Option<Mmap>,
    file: File,
}

impl SealedMemory {
    /// Copies bytes into memory and seals it.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn new(bytes: &[u8]) -> Result<Self, MapError> {
        let mut file = create()?;
        file.write_all(bytes)?;
        Self::seal(file)
    }

    /// Makes memory of `len` bytes, which are zero, has `fill` write them in place, and seals it.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn filled(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Self, MapError> {
        let file = create()?;
        ftruncate(&file, len as u64).map_err(io::Error::from)?;
        if len > 0 {
            let mut mapping = map_to_fill(&file)?;
            fill(&mut mapping);
        } else {
            fill(&mut []);
        }
        Self::seal(file)
    }

    /// Maps memory that another process has sealed.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Unsealed`] if it could still change, and [`MapError::Os`] for any error of
    /// the kernel.
    pub fn map(memory: OwnedFd) -> Result<Self, MapError> {
        let seals = fcntl_get_seals(&memory).map_err(|_| MapError::Unsealed)?;
        if !seals.contains(unchanging()) {
            return Err(MapError::Unsealed);
        }
        let file = File::from(memory);
        let len = file.metadata()?.len();
        let mapping = if len == 0 {
            None
        } else {
            // SAFETY: the seals were just looked at: nobody can write these bytes or shorten the file,
            // and seals are never taken away.
            Some(unsafe { MmapOptions::new().map(&file) }?)
        };
        Ok(Self { mapping, file })
    }

    fn seal(file: File) -> Result<Self, MapError> {
        fcntl_add_seals(&file, unchanging() | SealFlags::SEAL).map_err(io::Error::from)?;
        Self::map(file.into())
    }
}

impl Deref for SealedMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.mapping.as_deref().unwrap_or_default()
    }
}

impl AsFd for SealedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for SealedMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SealedMemory")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

fn create() -> Result<File, MapError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("hatchery-buffer", flags).map_err(io::Error::from)?;
    Ok(memory.into())
}

fn map_to_fill(file: &File) -> io::Result<MmapMut> {
    // SAFETY: the file was just made here, and its descriptor is given to nobody before this mapping
    // is gone.
    unsafe { MmapOptions::new().map_mut(file) }
}

fn unchanging() -> SealFlags {
    SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_are_the_same_for_whoever_maps_them() {
        let memory = SealedMemory::new(b"as they were").unwrap();

        let other = memory.as_fd().try_clone_to_owned().unwrap();
        let other = SealedMemory::map(other).unwrap();

        assert_eq!(&*other, b"as they were");
    }

    #[test]
    fn bytes_that_are_filled_in_place_are_sealed_afterwards() {
        let memory = SealedMemory::filled(5, |bytes| bytes[1..4].fill(b'x')).unwrap();

        let written = File::from(memory.as_fd().try_clone_to_owned().unwrap()).write(b"y");

        assert_eq!(&*memory, b"\0xxx\0");
        assert!(written.is_err());
    }

    #[test]
    fn no_bytes_at_all_are_sealed_too() {
        assert_eq!(&*SealedMemory::new(b"").unwrap(), b"");
        assert_eq!(&*SealedMemory::filled(0, |_| ()).unwrap(), b"");
    }

    #[test]
    fn memory_that_may_still_change_is_refused() {
        let file = create().unwrap();
        ftruncate(&file, 10).unwrap();

        let refused = SealedMemory::map(file.into());

        assert!(matches!(refused, Err(MapError::Unsealed)));
    }
}
