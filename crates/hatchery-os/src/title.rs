//! The title under which `ps` shows this process.
//!
//! The kernel reads a command line from the memory of its process. That memory is what
//! `std::env::args` reads too, so it is left alone: the kernel is pointed to a page of our own.
#![expect(unsafe_code, reason = "prctl(PR_SET_MM) and brk(2) have no safe form")]

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::ptr::null_mut;
use std::sync::{Mutex, OnceLock, PoisonError};

use memmap2::MmapMut;
use rustix::process::{PrctlMmMap, configure_virtual_memory_map};

use crate::fork::thread_count;

/// The longest title; more is cut off.
const TITLE_BYTES_MAX: usize = 254;

/// A title, the zero after it, and the [`OVERWRITTEN`] end.
const PAGE_BYTES: usize = TITLE_BYTES_MAX + 2;

/// A command line that does not end in zero has been overwritten, the kernel takes it, and shows it
/// up to the first zero only.
const OVERWRITTEN: u8 = b'.';

/// The title of this process, or of the one that it was forked from, once that is claimed.
static TITLE: OnceLock<ProcessTitle> = OnceLock::new();

/// A title that this process shows instead of its command line, for as long as it lives.
///
/// A process that is forked from one with a title has a title of its own, at first the same. One that executes
/// a program has a command line again.
#[derive(Debug)]
pub struct ProcessTitle {
    page: Mutex<MmapMut>,
}

/// Why a process has no title.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TitleError {
    /// The process has this many threads, and another one may be allocating memory.
    #[error("the process has {0} threads and may only claim a title while it has one")]
    Threads(usize),
    /// The kernel refused, or does not say where the process has what.
    #[error("the kernel gives no title")]
    Os(#[source] io::Error),
}

impl ProcessTitle {
    /// Has this process show a title from now on, which is empty at first.
    ///
    /// Where it has one already, its own or by fork, that is returned. No privilege is needed. The arguments of the
    /// program, as `std::env::args` returns them, stay as they are.
    ///
    /// # Errors
    ///
    /// Returns [`TitleError::Threads`] if the process has more than one thread, and
    /// [`TitleError::Os`] where the kernel was built without `CONFIG_CHECKPOINT_RESTORE`, a sandbox
    /// forbids it, or `/proc` is not mounted.
    pub fn claim() -> Result<&'static Self, TitleError> {
        if let Some(title) = TITLE.get() {
            return Ok(title);
        }
        let threads = thread_count().map_err(TitleError::Os)?;
        if threads != 1 {
            return Err(TitleError::Threads(threads));
        }
        let mut page = MmapMut::map_anon(PAGE_BYTES).map_err(TitleError::Os)?;
        page[PAGE_BYTES - 1] = OVERWRITTEN;
        show_instead_of_arguments(&page).map_err(TitleError::Os)?;
        // From here on the page is never given back.
        Ok(TITLE.get_or_init(|| Self {
            page: Mutex::new(page),
        }))
    }

    /// The title of this process, if it or the one that it was forked from has claimed one.
    #[must_use]
    pub fn claimed() -> Option<&'static Self> {
        TITLE.get()
    }

    /// Shows another title, or what of it fits into 254 bytes.
    ///
    /// Nothing is allocated, and no system call is made. Whoever looks meanwhile may see a part of both.
    pub fn set(&self, title: fmt::Arguments<'_>) {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = &mut page[..TITLE_BYTES_MAX];
        // It fails where there is no room for all of it.
        let _cut = room.write_fmt(title);
        let end = TITLE_BYTES_MAX - room.len();
        page[end] = 0;
    }
}

/// Has the kernel look for the command line here; this process has one thread.
fn show_instead_of_arguments(page: &MmapMut) -> io::Result<()> {
    let mut map = memory_map()?;
    map.arg_start = page.as_ptr() as u64;
    map.arg_end = map.arg_start + PAGE_BYTES as u64;
    // SAFETY: asked for no address, the call only returns where the heap ends.
    let end_of_heap = unsafe { libc::syscall(libc::SYS_brk, 0) };
    map.brk = end_of_heap.cast_unsigned();
    // SAFETY: the call changes what the kernel notes of this process's memory, and of that only the
    // end of the heap is ever acted upon. That is as the kernel has just said: the only thread is
    // this one, and it has allocated nothing since.
    unsafe { configure_virtual_memory_map(&map) }?;
    Ok(())
}

/// Reads where this process has what, but for the end of its heap.
fn memory_map() -> io::Result<PrctlMmMap> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name may hold anything; the first field after it is field 3.
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| {
        let missing = || io::Error::from(io::ErrorKind::Unsupported);
        fields.get(number - 3).copied().ok_or_else(missing)
    };
    Ok(PrctlMmMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: 0,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        // Both stay as they are.
        auxv: null_mut(),
        auxv_size: 0,
        exe_fd: -1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_that_is_too_long_is_cut_and_a_shorter_one_leaves_nothing_of_it() {
        let title = ProcessTitle {
            page: Mutex::new(MmapMut::map_anon(PAGE_BYTES).unwrap()),
        };
        let shown = || {
            let page = title.page.lock().unwrap();
            let end = page.iter().position(|&byte| byte == 0).unwrap();
            String::from_utf8(page[..end].to_vec()).unwrap()
        };

        title.set(format_args!("{}", "a".repeat(300)));
        assert_eq!(shown(), "a".repeat(TITLE_BYTES_MAX));

        title.set(format_args!("worker {}", 3));
        assert_eq!(shown(), "worker 3");
    }

    #[test]
    fn a_process_with_threads_gets_no_title() {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let refused = ProcessTitle::claim().unwrap_err();
                assert!(matches!(refused, TitleError::Threads(2..)), "{refused}");
            });
        });

        assert!(ProcessTitle::claimed().is_none());
    }
}
