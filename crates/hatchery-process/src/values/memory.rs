//! Bytes that processes share, by descriptor or by name.
//!
//! The kernel copies them in and out (`pread(2)`, `pwrite(2)`): no process has a mapping that
//! another could pull from under it, and no reference into bytes that change.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{
    FileType, MemfdFlags, Mode, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::shm;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Passed;

/// A fixed number of bytes in memory that processes share.
///
/// Without a name it lives as long as somebody has it, and is sent inside messages. With a name
/// others find it by that, and it stays until it is [unlinked](Self::unlink) or the machine is
/// restarted.
///
/// A read or write is one system call. Two at once may mix in the bytes that they have in common;
/// a [`Lock`](crate::Lock) keeps them apart.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    file: Arc<File>,
    len: usize,
    name: Option<String>,
}

/// Why there is no such memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedMemoryError {
    /// There is memory of this name already.
    #[error("there is shared memory named {name} already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no memory of this name, or it is only just being made.
    #[error("there is no shared memory named {name}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// This cannot be a name.
    #[error("{name:?} is no name of shared memory: that is \"/\" and 1 to 254 bytes without \"/\"")]
    InvalidName {
        /// What was given.
        name: String,
    },
    /// Memory with a name has at least one byte.
    #[error("shared memory with a name has at least one byte")]
    Empty,
    /// The kernel refused.
    #[error("the kernel refused shared memory")]
    Os(#[from] io::Error),
}

/// Why bytes were not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The bytes are not all within the memory; none was read or written.
    #[error("{count} bytes from {offset} on are not within memory of {len} bytes")]
    OutOfBounds {
        /// Where they begin.
        offset: usize,
        /// How many there are.
        count: usize,
        /// How many bytes the memory has.
        len: usize,
    },
    /// Another process has made the memory smaller, which is possible if it has a name.
    #[error("another process has made the memory smaller")]
    Shrunk,
    /// The kernel refused.
    #[error("the kernel refused to copy bytes")]
    Os(#[from] io::Error),
}

impl SharedMemory {
    /// Makes memory without a name, all zero, whose size can never change.
    ///
    /// # Errors
    ///
    /// Returns [`SharedMemoryError::Os`] for any error of the kernel.
    pub fn new(len: usize) -> Result<Self, SharedMemoryError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("hatchery-bytes", flags).map_err(io::Error::from)?;
        resize(&memory, len)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&memory, seals).map_err(io::Error::from)?;
        Ok(Self::of(memory, len, None))
    }

    /// Makes memory with a name such as `"/scores"`, all zero, for this user alone.
    ///
    /// The size of such memory cannot be sealed. A process of the same user may shrink it, and
    /// then reading and writing is an error ([`AccessError::Shrunk`]), never a signal.
    ///
    /// # Errors
    ///
    /// Returns [`SharedMemoryError::Exists`] if the name is taken,
    /// [`SharedMemoryError::InvalidName`] if it is none, [`SharedMemoryError::Empty`] for no
    /// bytes at all, and [`SharedMemoryError::Os`] for any error of the kernel.
    pub fn create_named(name: &str, len: usize) -> Result<Self, SharedMemoryError> {
        check(name)?;
        if len == 0 {
            return Err(SharedMemoryError::Empty);
        }
        let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
        let memory = shm::open(name, flags, Mode::RUSR | Mode::WUSR);
        let memory = memory.map_err(|errno| named(errno, name))?;
        if let Err(error) = resize(&memory, len) {
            // Nobody has found it yet: without a size it does not count.
            let _unlinked = shm::unlink(name);
            return Err(error.into());
        }
        Ok(Self::of(memory, len, Some(name.to_owned())))
    }

    /// Opens memory that another process made with this name.
    ///
    /// # Errors
    ///
    /// Returns [`SharedMemoryError::NotFound`] if there is none,
    /// [`SharedMemoryError::InvalidName`] if this cannot be a name, and
    /// [`SharedMemoryError::Os`] for any error of the kernel.
    pub fn open_named(name: &str) -> Result<Self, SharedMemoryError> {
        check(name)?;
        let memory = shm::open(name, shm::OFlags::RDWR, Mode::empty());
        let memory = memory.map_err(|errno| named(errno, name))?;
        match len_of(&memory)? {
            // Its maker has not come to give it a size.
            0 => Err(named(Errno::NOENT, name)),
            len => Ok(Self::of(memory, len, Some(name.to_owned()))),
        }
    }

    /// Takes a name away; who has the memory keeps it.
    ///
    /// # Errors
    ///
    /// As [`open_named`](Self::open_named).
    pub fn unlink(name: &str) -> Result<(), SharedMemoryError> {
        check(name)?;
        shm::unlink(name).map_err(|errno| named(errno, name))
    }

    fn of(memory: OwnedFd, len: usize, name: Option<String>) -> Self {
        Self {
            file: Arc::new(File::from(memory)),
            len,
            name,
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Reads bytes from `offset` on, until `buffer` is full.
    ///
    /// # Errors
    ///
    /// Returns [`AccessError::OutOfBounds`] if there are fewer, [`AccessError::Shrunk`] if
    /// another process has taken them away, and [`AccessError::Os`] for any error of the kernel.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> Result<(), AccessError> {
        self.check_range(offset, buffer.len())?;
        let read = self.file.read_exact_at(buffer, offset as u64);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => AccessError::Shrunk,
            _ => AccessError::Os(error),
        })
    }

    /// Writes bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// Returns [`AccessError::OutOfBounds`] if there is no room for all,
    /// [`AccessError::Shrunk`] if another process has made the memory smaller, and
    /// [`AccessError::Os`] for any error of the kernel.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        self.check_range(offset, bytes.len())?;
        // Writing beyond the end of memory with a name would make it larger again, with a hole.
        if self.name.is_some() && len_of(&self.file)? < self.len {
            return Err(AccessError::Shrunk);
        }
        Ok(self.file.write_all_at(bytes, offset as u64)?)
    }

    fn check_range(&self, offset: usize, count: usize) -> Result<(), AccessError> {
        let len = self.len;
        let is_within = offset.checked_add(count).is_some_and(|end| end <= len);
        if is_within {
            return Ok(());
        }
        Err(AccessError::OutOfBounds { offset, count, len })
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Passed(&*self.file), &self.name).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, name): (Passed, Option<String>) = Deserialize::deserialize(deserializer)?;
        let memory = OwnedFd::from(memory);
        // Anything else might make whoever reads it wait.
        let is_memory = fstat(&memory)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if !is_memory {
            return Err(D::Error::custom("the descriptor is not memory"));
        }
        let len = len_of(&memory).map_err(D::Error::custom)?;
        Ok(Self::of(memory, len, name))
    }
}

/// The most bytes of a name, with its stroke.
const NAME_BYTES_MAX: usize = 255;

fn check(name: &str) -> Result<(), SharedMemoryError> {
    let rest = name.strip_prefix('/').unwrap_or_default();
    let is_name = !rest.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !rest.contains(['/', '\0'])
        && rest != "."
        && rest != "..";
    if is_name {
        return Ok(());
    }
    Err(SharedMemoryError::InvalidName {
        name: name.to_owned(),
    })
}

fn named(errno: Errno, name: &str) -> SharedMemoryError {
    let name = name.to_owned();
    match errno {
        Errno::EXIST => SharedMemoryError::Exists { name },
        Errno::NOENT => SharedMemoryError::NotFound { name },
        other => SharedMemoryError::Os(other.into()),
    }
}

fn resize(memory: &OwnedFd, len: usize) -> io::Result<()> {
    Ok(ftruncate(memory, len as u64)?)
}

fn len_of(memory: &impl AsFd) -> io::Result<usize> {
    let size = fstat(memory)?.st_size;
    usize::try_from(size).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parcel;

    fn name(of: &str) -> String {
        format!("/hatchery-test-{of}-{}", std::process::id())
    }

    #[test]
    fn memory_that_was_sent_has_the_same_bytes() {
        let memory = SharedMemory::new(10).unwrap();
        let received: SharedMemory = Parcel::encode(&memory).unwrap().decode().unwrap();

        memory.write_at(7, b"egg").unwrap();

        let mut bytes = [9; 4];
        received.read_at(6, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0egg");
        assert_eq!((received.len(), received.name()), (10, None));
    }

    #[test]
    fn no_byte_beyond_the_end_is_read_or_written() {
        let memory = SharedMemory::new(10).unwrap();

        for (offset, count) in [(8, 3), (11, 0), (usize::MAX, 2)] {
            let written = memory.write_at(offset, &vec![1; count]);
            let read = memory.read_at(offset, &mut vec![1; count]);

            for access in [written, read] {
                let Err(AccessError::OutOfBounds { len: 10, .. }) = access else {
                    panic!("{access:?}");
                };
            }
        }
        assert!(memory.write_at(10, &[]).is_ok());
    }

    #[test]
    fn memory_is_found_by_its_name_until_it_is_unlinked() {
        let name = name("found");
        let memory = SharedMemory::create_named(&name, 3).unwrap();
        memory.write_at(0, b"egg").unwrap();
        let again = SharedMemory::create_named(&name, 3);
        assert!(matches!(again, Err(SharedMemoryError::Exists { .. })));

        let found = SharedMemory::open_named(&name).unwrap();
        SharedMemory::unlink(&name).unwrap();

        let mut bytes = [0; 3];
        found.read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"egg");
        let gone = SharedMemory::open_named(&name);
        assert!(matches!(gone, Err(SharedMemoryError::NotFound { .. })));
        let gone = SharedMemory::unlink(&name);
        assert!(matches!(gone, Err(SharedMemoryError::NotFound { .. })));
    }

    #[test]
    fn memory_that_another_made_smaller_is_an_error_and_no_signal() {
        let name = name("smaller");
        let memory = SharedMemory::create_named(&name, 8192).unwrap();
        SharedMemory::unlink(&name).unwrap();

        ftruncate(&memory, 100).unwrap();

        let read = memory.read_at(50, &mut [0; 51]);
        assert!(matches!(read, Err(AccessError::Shrunk)), "{read:?}");
        let written = memory.write_at(0, &[1]);
        assert!(matches!(written, Err(AccessError::Shrunk)), "{written:?}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("/{}", "x".repeat(255));
        for name in ["", "/", "scores", "/a/b", "/..", "/a\0b", &long] {
            let made = SharedMemory::create_named(name, 1);
            assert!(
                matches!(made, Err(SharedMemoryError::InvalidName { .. })),
                "{name:?}: {made:?}"
            );
        }
        let empty = SharedMemory::create_named("/hatchery-test-empty", 0);
        assert!(matches!(empty, Err(SharedMemoryError::Empty)));
    }
}
