//! Values in memory that processes share.
//!
//! They are words that are read and written atomically, or bytes that are copied by the kernel:
//! nothing here is a reference into memory that another process may change.

mod array;
mod atomic;
mod cell;
mod guarding;
mod memory;
mod value;

pub use array::{Array, ArrayGuard, OutOfBounds};
pub use atomic::{AtomicInteger, AtomicPrimitive, AtomicValue};
pub use cell::Plain;
pub use memory::{AccessError, SharedMemory, SharedMemoryError};
pub use value::{Value, ValueGuard};
