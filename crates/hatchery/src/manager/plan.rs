//! What a manager's process is told when it starts, and what it tells.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::error::SnapshotError;
use super::handshake::Authkey;

/// All that a manager's process has to know; the same for each that succeeds another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) address: Address,
    pub(super) authkey: Option<Authkey>,
    pub(super) frame_bytes_max: usize,
    pub(super) connections_max: usize,
    pub(super) handshake_timeout: Duration,
    pub(super) snapshot: Option<SnapshotPlan>,
}

/// Where the state is kept, and how long a change may wait to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SnapshotPlan {
    pub(super) path: PathBuf,
    pub(super) interval: Duration,
}

/// What a manager's process tells the one that started it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It listens.
    Ready,
    /// It ends, because its snapshot cannot be used.
    BadSnapshot(SnapshotError),
    /// It ends, because it cannot listen.
    CannotListen(String),
    /// It ends as it was told to, and this is what became of its last snapshot.
    Ended(Result<(), SnapshotError>),
}
