//! A function that another process of the same program can run.
//!
//! A function pointer means nothing in a process with another memory layout, but its distance
//! from a fixed point of the executable does: every process that runs the same file has the
//! same code at the same distance. So an [`Entry`] travels as an offset from [`anchor`], needs no
//! registry, and works for every generic instantiation. The technique is procspawn's.
#![expect(
    unsafe_code,
    reason = "a function is named by its place in the executable, which no safe type expresses"
)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use crate::order::OrderQueue;

/// What a process is given when it starts to run an [`Entry`].
#[derive(Debug, Default)]
pub struct Start {
    /// The serialised arguments.
    pub bytes: Vec<u8>,
    /// The descriptors that were passed, in the order in which they were sent.
    pub descriptors: Vec<OwnedFd>,
    /// The functions that were passed, in the order in which they were sent.
    pub functions: Vec<Entry>,
    /// By which further functions will come, if one was passed.
    pub orders: Option<OrderQueue>,
}

/// A function item, or a closure that captures nothing, that can be run in another process.
///
/// The function's result is the exit code of the process that runs it.
#[derive(Clone, Copy)]
pub struct Entry(fn(Start) -> u8);

impl Entry {
    /// Names `function`, which must capture nothing.
    ///
    /// That it captures nothing is checked when the program is compiled: captured values are in
    /// this process's memory, and the function will run in another.
    pub fn new<F>(_function: F) -> Self
    where
        F: Fn(Start) -> u8 + Copy + Send + Sync + 'static,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "a function that runs in another process must capture nothing: \
                 pass values as arguments or as state"
            );
        }
        Self(conjure_and_call::<F>)
    }

    /// Runs the function in this process.
    #[must_use]
    pub fn run(self, start: Start) -> u8 {
        (self.0)(start)
    }

    /// Where the function is, as a distance that is the same in every process of this program.
    pub(crate) fn offset(self) -> u64 {
        offset_of(self.0 as usize)
    }

    /// Finds the function at `offset`.
    ///
    /// # Safety
    ///
    /// `offset` was returned by [`Entry::offset`] in a process that runs this executable.
    pub(crate) unsafe fn from_offset(offset: u64) -> Self {
        let address = address_of(offset) as *const ();
        // SAFETY: by this function's contract the address is that of a `fn(Start) -> u8`.
        Self(unsafe { std::mem::transmute::<*const (), fn(Start) -> u8>(address) })
    }
}

/// Two entries are equal if they are the same code.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.offset() == other.offset()
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.offset().hash(state);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Entry({:#x})", self.offset())
    }
}

/// The distance of the code at `address` from the fixed point.
pub(crate) fn offset_of(address: usize) -> u64 {
    address.wrapping_sub(anchor as fn() as usize) as u64
}

/// The address of the code at `offset` from the fixed point.
pub(crate) fn address_of(offset: u64) -> usize {
    (anchor as fn() as usize).wrapping_add(offset as usize)
}

/// The fixed point of the executable from which functions are measured.
#[inline(never)]
fn anchor() {}

/// Makes an `F` out of nothing and calls it.
///
/// Only [`Entry::new`] names an instance of this function, so it runs only in a program that had
/// an `F` in its hands, in this process or in the one that executed the same file. `F` is `Send`
/// and `Sync`, so it does not matter in which thread.
fn conjure_and_call<F>(start: Start) -> u8
where
    F: Fn(Start) -> u8 + Copy + Send + Sync + 'static,
{
    // SAFETY: `F` has no bytes, so an aligned pointer is all a reference needs; and it has a
    // value: `Entry::new` was given one, which may be had once more since `F` is `Copy`.
    let function = unsafe { NonNull::<F>::dangling().as_ref() };
    function(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "an entry has this signature")]
    fn double(start: Start) -> u8 {
        start.bytes[0] * 2
    }

    #[test]
    fn an_entry_is_found_again_by_its_offset() {
        let entry = Entry::new(double);

        // SAFETY: the offset was just taken from an entry of this process.
        let found = unsafe { Entry::from_offset(entry.offset()) };

        let start = Start {
            bytes: vec![21],
            ..Start::default()
        };
        assert_eq!(found.run(start), 42);
    }

    #[test]
    fn a_closure_that_wraps_a_function_item_is_an_entry() {
        fn wrap<F: Fn(u8) -> u8 + Copy + Send + Sync + 'static>(f: F) -> Entry {
            Entry::new(move |start: Start| f(start.bytes[0]))
        }
        let start = Start {
            bytes: vec![4],
            ..Start::default()
        };

        assert_eq!(wrap(|n| n + 1).run(start), 5);
    }
}
