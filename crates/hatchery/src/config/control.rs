//! The `[control]` section: how a server is controlled while it runs.

use std::path::PathBuf;

/// How a server is controlled while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ControlConfig {
    /// The socket file for `hatchery ctl`; `None` makes none.
    pub socket: Option<PathBuf>,
}
