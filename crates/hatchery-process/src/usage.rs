//! What a process has used by its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a process has used, with what its own children have that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time in the program.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The most memory that was resident at once, in bytes.
    pub memory_peak: u64,
}

impl From<hatchery_os::Usage> for Usage {
    fn from(usage: hatchery_os::Usage) -> Self {
        Self {
            user: usage.user,
            system: usage.system,
            memory_peak: usage.memory_peak,
        }
    }
}
