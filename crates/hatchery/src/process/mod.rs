//! Processes that run a function of this program, and give back what it returned.
//!
//! They are started by the fork server, so no thread and no lock of the starter is in them. What
//! they are given and what they return is serialised; descriptors, sockets and pipe ends may be in
//! it. A process may start further ones.

mod arguments;
mod body;
mod builder;
mod current;
mod error;
mod failure;
mod handle;
mod panics;
mod registry;
mod started;
mod waiting;

pub use arguments::IntoArguments;
pub(crate) use body::wind_up;
pub use builder::ProcessBuilder;
pub(crate) use builder::prepare_fork_server;
pub use current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub(crate) use current::{Identity, become_child};
pub use error::{CloseError, JoinError, SpawnError};
pub use failure::{ChildError, ChildResult};
pub use handle::ProcessHandle;
pub(crate) use panics::{PanicNote, note_panics};
pub use registry::active_children;
pub(crate) use registry::finish_children;
pub use started::Process;
pub use waiting::{Waitable, WakeSource, wait};

/// Counts the CPUs that this process may use.
///
/// That is fewer than the machine has where the process's affinity or its control group says so.
#[must_use]
pub fn cpu_count() -> usize {
    num_cpus::get()
}
