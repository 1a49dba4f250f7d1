//! Linux behind safe owned types.
//!
//! This is the only crate that holds unsafe code; each module that needs it opens it with a
//! reason. It knows processes, descriptors, signals and shared memory, and nothing of servers,
//! workers or tokio.
#![cfg(target_os = "linux")]

mod consumed;
mod copied;
mod ended;
mod entry;
mod environment;
mod fork;
mod inherited;
mod kept;
mod launch;
mod legacy;
mod message;
mod order;
mod queued;
mod scheduling;
mod sealed;
mod shared;
mod signal;
mod socket_number;
mod title;

pub use consumed::bytes_consumed;
pub use copied::{copy_in, copy_out, expect_write};
pub use ended::{Ended, Usage, collect_ended, peek_any_ended};
pub use entry::{Entry, Start};
pub use environment::forget_variables;
pub use fork::{Fork, ForkError, close, exit_now, fork, thread_count};
pub use inherited::{InheritError, inherit_listener};
pub use kept::{KEPT_PREFIX, take_kept_sockets};
pub use launch::{ForkServerBody, LaunchError, Launched, launch_forked, launch_spawned, relaunch};
pub use legacy::{spawn_heir, take_legacy_channel};
pub use message::{DESCRIPTORS_MAX, Obstacle, Received, RecvError, pair, recv, send};
pub use order::{FUNCTIONS_MAX, Order, OrderError, OrderQueue, Orders, order_channel};
pub use queued::bytes_queued;
pub use scheduling::schedule_as_batch;
pub use sealed::SealedMemory;
pub use shared::{Layout, MapError, SharedMemory};
pub use signal::{
    SetParentError, follow_parent, note_signal, reset_signals, take_noted, unblock_signals,
};
pub use socket_number::SocketNumber;
pub use title::{ProcessTitle, TitleError};
